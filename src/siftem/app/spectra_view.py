"""Spectra: subtract the matrix from the mixtures, look at what is left; the fields of anchors."""

from __future__ import annotations

from typing import Any

import panel as pn

from siftem.app.map_images import line_marks, takes_background
from siftem.app.map_step import MapStep
from siftem.app.map_toolbar import PhaseButtons
from siftem.app.overlays import with_matrix
from siftem.app.reliability import CONFLICT, poor_fit
from siftem.app.spectrum_figure import Curve, LineMark, spectrum_figure
from siftem.app.step_view import StepPage, listed, put_text
from siftem.app.style import FIELD, INK, TEXT_CSS, WIDE, paragraph
from siftem.errors import InputError
from siftem.figures.line_labels import line_text
from siftem.fit.line_fit import LineFit
from siftem.pipeline.open_scales import OpenScale
from siftem.pipeline.recipe import AnchorChoice, Phase
from siftem.pipeline.region_spectra import lies_pure, mixture_name
from siftem.pipeline.results import Matched
from siftem.pipeline.steps.spectra import RegionSpectra
from siftem.printed_numbers import with_error
from siftem.segment.regions import Regions
from siftem.unmixing.subtract import PureSpectrum
from siftem.xray.detector import Detector
from siftem.xray.elements import ratio_elements

#: Of mixtures, on a light and on a dark page.
_MIXTURE = ("#555555", "#a3a3ab")
#: What the lower figure shows: the residuals of the whole fit, or one element's lines.
_EVERY = "All: what the fit leaves"
_SUBTRACT, _SUM = "Subtract", "Sum the pixels"
_SUBTRACT_SAYS = (
    "Press Subtract: the spectrum of the pure matrix is taken from the mixture of grain and matrix."
)
_SUM_SAYS = (
    "Press Sum the pixels: each phase is pure in pixels of its own, so their sum is its spectrum."
)
_ALONE = "{} is pure in its own pixels: nothing is taken off their sum. Correct it in Decompose."
#: Widths of a line on each side of it.
_WINDOW = 2.6


class SpectraView(MapStep):
    """Pure spectra and how they came about."""

    name = "Spectra"

    def __init__(self, page: StepPage) -> None:
        super().__init__(page, most=700)
        self._of: object = None
        self.grain = ""
        self.grains = PhaseButtons(self.button, self.choose_grain)
        self.anchor = AnchorForm()
        self.element = pn.widgets.Select(
            name="Fit and residual at the line of", options=[], **FIELD
        )
        self.found = self.text("", **WIDE)
        # A new one each time: a figure that takes another's place may keep its size.
        self.residual = pn.pane.Bokeh(None)
        self.known = pn.Column(
            self.text(
                "<h2>What is known of it</h2>"
                "<p class='hint'>It fixes how much matrix its mixture holds, which the map alone "
                "cannot tell.</p>",
                **WIDE,
            ),
            self.anchor.panel,
        )
        self.alone = self.text("", **WIDE)
        self.do = self.button(_SUBTRACT, self.subtract, kind="success", **WIDE)
        self.controls[:] = [
            self.text("<h2>Phase</h2>"),
            self.grains.grid,
            self.known,
            self.alone,
            self.do,
            self.found,
            self.element,
        ]
        self.element.param.watch(lambda _e: page.attempt(self._draw), "value")

    def choose_grain(self, name: str) -> None:
        """Show this grain and its anchor; what is typed for the one before it counts."""
        self.leave()
        self._show_grain(name)

    def _show_grain(self, name: str) -> None:
        self.grain = name
        self._grain_buttons()
        phase = self.session.recipe.phases.get(name, Phase())
        losses = not takes_background(self.session.spectrum_image)
        self.anchor.suit(losses)
        self.anchor.show(phase)
        matched = self.session.result("match")
        alone = lies_pure(name, matched)
        self.known.visible = name != matched.matrix and not alone
        self.alone.object = paragraph(_ALONE.format(name), "hint") if alone else ""
        self.do.name = _SUBTRACT if with_matrix(matched) else _SUM
        self.element.visible = not losses and not self.session.spectrum_image.acquisition.bulk
        options = list(dict.fromkeys((*anchor_elements(phase), *self.session.elements())))
        self.element.options = [*options, _EVERY]
        self.element.value = options[0] if options else _EVERY
        self._draw()

    def leave(self) -> None:
        """Put an edited anchor into the recipe.

        Raises
        ------
        InputError
            When it cannot be read: the grain then stays in front.
        """
        known = self.session.is_open and self.grain in self.session.recipe.phases
        if known and self.anchor.edited:
            self.session.set_anchor(self.grain, self.anchor.choice())
            self.anchor.show(self.session.recipe.phases[self.grain])
            self.jobs.tell(f"The anchor of {self.grain} is taken; Subtract takes it into account.")

    def subtract(self) -> None:
        """Put the anchor into the recipe, and subtract in a job."""
        workflow = self.session.workflow
        matched = self.session.result("match")
        if self.grain not in matched.factors.names:
            raise InputError("choose a grain first")
        self.leave()
        self.page.run(self.do.name, lambda progress: workflow.run("spectra", progress=progress))

    def refresh(self) -> None:
        """Show the grains and what was subtracted."""
        matched = self.matched()
        if not self.session.is_open:
            self._of = None
            self.no_map()
            return
        if matched is None:
            self._of = None
            self.show_map(of=None)
            self.show(self.text("<p>Decompose the map first.</p>"))
            return
        if matched is not self._of:
            self._of = matched
            known = self.grain in matched.factors.names
            self._show_grain(self.grain if known else (*matched.grains, matched.matrix)[0])
        elif self.element.options:
            named = anchor_elements(self.session.recipe.phases.get(self.grain, Phase()))
            if named:
                self.element.value = named[0]
        self._grain_buttons()
        self._draw()

    def key(self, key: str) -> None:
        """Choose a phase by its number."""
        matched = self.matched()
        phases = () if matched is None else _in_order(matched)
        if key.isdigit() and 0 < int(key) <= len(phases):
            self.choose_grain(phases[int(key) - 1])

    def _grain_buttons(self) -> None:
        colours = self.session.colours()
        phases = _in_order(self.session.result("match"))
        self.grains.show({name: colours[name] for name in phases}, self.grain)

    def _draw(self) -> None:
        if not self.session.is_open:
            return
        spectra: RegionSpectra | None = self.session.workflow.get("spectra")
        if spectra is None:
            self.found.object = ""
            self.show_map(of=None)
            said = _SUBTRACT_SAYS if self.do.name == _SUBTRACT else _SUM_SAYS
            self.show(self.text(paragraph(said)))
            return
        matrix = self.session.result("match").matrix
        colours = self.session.colours()
        mixture = spectra.integrated.get(mixture_name(self.grain, matrix))
        pure = spectra.pure.get(self.grain)
        curves = []
        first = pure if mixture is None else mixture
        share = (lambda _rows: 1.0) if first is None else self.as_counted(first.values)
        if mixture is not None:
            name, colour = f"mixture {self.grain} + {matrix}", _MIXTURE[self.room.dark]
            curves.append(Curve(name, mixture.values, colour, share=share))
        if isinstance(pure, PureSpectrum):
            taken = pure.background
            curves.append(Curve("matrix taken out", taken, colours[matrix], "4 2", share))
        if pure is not None:
            name = f"pure {self.grain}"
            curves.append(Curve(name, pure.values, colours[self.grain], share=share))
        if not curves:
            raise InputError(f"no spectrum of {self.grain} could be made: see the warnings")
        composition = spectra.compositions.get(self.grain)
        known = spectra.open_scales.get(self.grain)
        self.show_map(curves, of=(id(spectra), self.grain, self.room.dark))
        self._draw_residual(None if composition is None else composition.fit, pure, known)
        self.show(*([] if self.residual.object is None else [self.residual]))

    def resized(self) -> None:
        """Draw all in the new room."""
        super().resized()
        if self._of is not None:
            self.page.attempt(self._draw)

    def _below(self) -> tuple[int, int]:
        """Width and height of the lower figure."""
        width, height = self.look.room_below
        return width, height - 6

    def _marks(self) -> list[LineMark]:
        found = line_marks(self.session.spectrum_image, self.session.elements())
        return [LineMark(*mark) for mark in found]

    def _draw_residual(self, fit: LineFit | None, pure: Any, known: OpenScale | None) -> None:
        """Draw the pure spectrum about one line, with its fit."""
        element = self.element.value
        texts = []
        if pure is not None:
            regions: Regions = self.session.result("regions").regions
            alone = self.grain == regions.matrix
            whole = (regions.pure if alone else regions.mixture(self.grain)).n_pixels
            if pure.n_pixels < whole:
                texts.append(
                    f"Its spectrum is the sum of {pure.n_pixels:,} of the {whole:,} pixels of its "
                    f"region: those that hold least of other phases."
                )
        if isinstance(pure, PureSpectrum):
            texts.append(f"Anchor: {pure.anchor}.")
            scale = with_error(pure.scale, pure.scale_sigma)
            if known is not None and known.ranges:  # no anchor: a range, and no value in it
                scale = "{:.3g} to {:.3g}".format(*known.ranges[0].ends)
            texts.append(f"Scale {scale}.")
            if pure.conflict > CONFLICT:
                texts.append(f"Its conditions disagree by {pure.conflict:.1f} sigma.")
        if known is not None and known.describe():
            texts.append(f"{known.describe()}.")
        if fit is not None:
            poor = poor_fit(fit)
            deviance = f"{fit.reduced_deviance:.3g}{f', {poor}' if poor else ''}"
            texts.append(f"Deviance of the fit per degree of freedom: {deviance}.")
        if fit is not None and element == _EVERY:
            self.found.object = _paragraphs(texts)
            self.residual = pn.pane.Bokeh(
                spectrum_figure(
                    fit.spectrum.axis,
                    [Curve(f"pure {self.grain} less its fit", fit.residual, INK[self.room.dark])],
                    marks=self._marks(),
                    size=self._below(),
                    dark=self.room.dark,
                    log=False,
                    value_name="Standard deviations",
                    title=f"{self.grain}: what the fit of all lines leaves",
                )
            )
            return
        if fit is None or element not in {f.element for f in fit.model.families}:
            self.residual = pn.pane.Bokeh(None)
            self.found.object = _paragraphs(texts)
            return
        index = fit.index(element)
        family = fit.model.families[index]
        photons = fit.design[:, index].sum()
        net = float(fit.unbounded[index] * photons)
        # Its own covariance would leave out what the anchor pins.
        sigma = float(fit.sigma_at_zero(index) * photons)
        texts.append(f"{family.name} lines in pure {self.grain}: {with_error(net, sigma)} counts.")
        self.found.object = _paragraphs(texts)
        width = float(Detector(resolution=fit.calibration.resolution).fwhm(family.alpha_energy))
        reach = _WINDOW * width / 1e3
        kev = fit.spectrum.axis.to_kev()
        window = (
            max(kev.first, family.alpha_energy - reach),
            min(kev.last, family.alpha_energy + reach),
        )
        left = fit.spectrum.values
        model = fit.mean - fit.spectrum.background
        without = model - fit.amplitudes[index] * fit.design[:, index]
        self.residual = pn.pane.Bokeh(
            spectrum_figure(
                fit.spectrum.axis,
                [
                    Curve(f"pure {self.grain}", left, self.session.colours()[self.grain]),
                    Curve("fit", model, INK[self.room.dark]),
                    Curve(f"fit without {element}", without, INK[self.room.dark], "3 3"),
                ],
                marks=[
                    LineMark(line_text(line.element, line.name), line.energy)
                    for line in self.session.lines(element, min_weight=0.05)
                ],
                size=self._below(),
                dark=self.room.dark,
                log=False,
                value_name="Counts",
                window=window,
                title=f"{self.grain} at the lines of {element}",
            )
        )


def _in_order(matched: Matched) -> tuple[str, ...]:
    """Grains, then the matrix; all as they come when there is none."""
    if not with_matrix(matched):
        return matched.factors.names
    rest = [n for n in matched.factors.names if n not in matched.grains]
    return (*matched.grains, *rest)


def _paragraphs(texts: list[str]) -> str:
    """Sentences as HTML, what is wrong in red."""
    return "".join(
        paragraph(t, "error-line" if ", poor: " in t or "disagree" in t else "") for t in texts
    )


_ABSENT = "An element that the grain lacks"
_RATIO = "A known ratio of two elements"
_STOICHIOMETRY = "A known ratio of sums of atoms"
_MOST = "Nothing is known of it"
_SCALE = "A given scale"
_EDGE = "An edge that the grain lacks"
_EDGE_RATIO = "A known ratio of two edges"
_OF_X_RAYS = [_ABSENT, _RATIO, _STOICHIOMETRY, _MOST, _SCALE]
_OF_LOSSES = [_EDGE, _EDGE_RATIO, _MOST, _SCALE]
#: What the field with names is called.
_NAMED = {
    _ABSENT: "Elements",
    _MOST: "Upper limit for (empty: interval)",
    _EDGE: "Edge, such as Ti_L3",
}

#: Ratios, with what an empty field shows.
_EXAMPLES = {_RATIO: "Mg/Ca", _STOICHIOMETRY: "(Ca+Mg+Fe)/(Si+Al)", _EDGE_RATIO: "O_K/Mn_L3"}


class AnchorForm:
    """Fields for one anchor; only those of the chosen kind are seen."""

    def __init__(self) -> None:
        self.kind = pn.widgets.Select(
            name="Anchor",
            options=[*_OF_X_RAYS, _EDGE, _EDGE_RATIO],
            **FIELD,
        )
        self.elements = pn.widgets.TextInput(name="Elements", placeholder="Si", **FIELD)
        self.ratio = pn.widgets.TextInput(name="Ratio of atoms", placeholder="Mg/Ca", **FIELD)
        self.value = pn.widgets.FloatInput(name="Value", value=1.0, start=0.0, **FIELD)
        self.sigma = pn.widgets.FloatInput(name="± its error", value=0.0, start=0.0, **FIELD)
        self.others = pn.pane.HTML("", stylesheets=[TEXT_CSS], **WIDE)
        self._shown: dict[str, Any] = {}
        self.panel = pn.Column(
            self.kind, self.elements, self.ratio, pn.Row(self.value, self.sigma), self.others
        )
        self.kind.param.watch(lambda _e: self._show_fields(), "value")
        self._show_fields()

    def suit(self, losses: bool) -> None:
        """Offer what applies to energy losses, or to X-rays."""
        offered = _OF_LOSSES if losses else _OF_X_RAYS
        if self.kind.options != offered:
            self.kind.options = offered

    def show(self, phase: Phase) -> None:
        """Show the first anchor of a phase; what the fields cannot tell is kept until edited."""
        anchor = phase.anchor[0] if phase.anchor else AnchorChoice()
        if anchor.absent is not None:
            self.kind.value = _ABSENT
            put_text(self.elements, ", ".join(anchor.absent))
        elif anchor.ratio is not None:
            self.kind.value = _RATIO
            put_text(self.ratio, f"{anchor.ratio.numerator}/{anchor.ratio.denominator}")
            self.value.value, self.sigma.value = anchor.ratio.value, anchor.ratio.sigma
        elif anchor.stoichiometry is not None:
            self.kind.value = _STOICHIOMETRY
            put_text(self.ratio, anchor.stoichiometry.ratio)
            self.value.value = anchor.stoichiometry.value
            self.sigma.value = anchor.stoichiometry.sigma
        elif anchor.scale is not None:
            self.kind.value = _SCALE
            self.value.value, self.sigma.value = anchor.scale.value, anchor.scale.sigma
        elif anchor.absent_edge is not None:
            self.kind.value = _EDGE
            put_text(self.elements, anchor.absent_edge.edge)
        elif anchor.edge_ratio is not None:
            r = anchor.edge_ratio
            self.kind.value = _EDGE_RATIO
            put_text(self.ratio, f"{r.numerator.edge}/{r.denominator.edge}")
            self.value.value, self.sigma.value = r.value, r.sigma
        else:
            self.kind.value = _MOST
            put_text(self.elements, ", ".join(anchor.most_matrix or ()))

        self.others.object = ""
        if len(phase.anchor) > 1:
            self.others.object = (
                f"<p class='hint'>The recipe has {len(phase.anchor) - 1} more for this grain. They "
                f"stay until you change the one above, which then stands alone.</p>"
            )
        self._shown = self.choice()

    @property
    def edited(self) -> bool:
        """Whether the fields say something else than when they were filled."""
        return self.choice() != self._shown

    def choice(self) -> dict[str, Any]:
        """Return the anchor as the recipe has it; {} for nothing, which leaves an interval.

        Raises
        ------
        InputError
            When a field is empty or cannot be read.
        """
        elements = list(listed(self.elements.value_input or self.elements.value))
        ratio = (self.ratio.value_input or self.ratio.value).strip()
        known = {"value": self.value.value, "sigma": self.sigma.value or 0.0}
        if self.kind.value == _ABSENT:
            if not elements:
                raise InputError("name an element that the grain lacks, such as Si")
            return {"absent": elements}
        if self.kind.value == _RATIO:
            return {"ratio": {**_two_parts(ratio, "elements, such as Mg/Ca"), **known}}
        if self.kind.value == _EDGE_RATIO:
            return {"edge_ratio": {**_two_parts(ratio, "edges, such as O_K/Mn_L3"), **known}}
        if self.kind.value == _STOICHIOMETRY:
            ratio_elements(ratio)
            return {"stoichiometry": {"ratio": ratio, **known}}
        if self.kind.value == _SCALE:
            return {"scale": known}
        if self.kind.value == _EDGE:
            if len(elements) != 1:
                raise InputError("name one edge that the grain lacks, such as Ti_L3")
            return {"absent_edge": elements[0]}
        return {"most_matrix": elements} if elements else {}

    def _show_fields(self) -> None:
        kind = self.kind.value
        self.elements.visible = kind in _NAMED
        self.elements.name = _NAMED.get(kind, "")
        self.ratio.visible = kind in _EXAMPLES
        self.ratio.placeholder = _EXAMPLES.get(kind, "")
        self.value.visible = self.sigma.visible = kind in _EXAMPLES or kind == _SCALE


def _two_parts(ratio: str, of: str) -> dict[str, str]:
    parts = [part.strip() for part in ratio.split("/")]
    if len(parts) != 2 or not all(parts):
        raise InputError(f"the ratio must be of two {of}, got {ratio!r}")
    return {"numerator": parts[0], "denominator": parts[1]}


def anchor_elements(phase: Phase) -> tuple[str, ...]:
    """Return the elements on whose lines the anchors of a phase stand."""
    return tuple(dict.fromkeys(e for anchor in phase.anchor for e in anchor.elements))
