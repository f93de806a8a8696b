"""Decompose: how many components, their maps and spectra, their names."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import panel as pn

from siftem.app.gallery import thumbnail
from siftem.app.map_images import MapImage, mapped_line
from siftem.app.spectrum_figure import Curve, LineMark, deviance_figure, spectrum_figure
from siftem.app.step_view import View
from siftem.app.style import CONTENT, CONTROL_CSS, CONTROLS, paragraph, swatch
from siftem.decompose.rank import RankChoice
from siftem.figures.line_labels import line_text

if TYPE_CHECKING:
    from siftem.app.page import Page

_FIELD = {"width": CONTROLS - 30, "stylesheets": [CONTROL_CSS], "margin": (2, 8)}


class DecomposeView(View):
    """Maps and spectra of the components."""

    name = "Decompose"

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self._shown: object = None
        self._choice: RankChoice | None = None
        self._of: object = None
        self.number = pn.widgets.IntInput(
            name="Number of components", value=3, start=1, end=12, **_FIELD
        )
        self.curve = pn.pane.Bokeh(None)
        self.advice = self.text("", width=CONTROLS - 30)
        self.names: list[Any] = []
        self.matrix = pn.widgets.Select(name="Matrix: the phase that is everywhere", **_FIELD)
        self.log = pn.widgets.Checkbox(
            name="Logarithmic", value=True, stylesheets=[CONTROL_CSS], margin=(2, 8)
        )
        self.components = pn.GridBox(ncols=6)
        self.spectra = pn.pane.Bokeh(None)
        self.naming = pn.Column(
            self.text("<h2>Name the phases</h2>"),
            self.text(
                "<p class='hint'>Write names above the maps, say which is the matrix.</p>",
                width=CONTROLS - 30,
            ),
            self.matrix,
            self.button("Use these names", self.use_names),
        )
        self.controls[:] = [
            self.text("<h2>Components</h2>"),
            self.number,
            pn.Row(
                self.button("Decompose", self.decompose, kind="success"),
                self.button("Compare", self.compare),
            ),
            self.text(
                "<p class='hint'>Compare lets counts that were held out judge 1 to 7 components."
                "</p>",
                width=CONTROLS - 30,
            ),
            self.curve,
            self.advice,
            self.naming,
        ]
        self.log.param.watch(lambda _e: page.attempt(self._draw_spectra), "value")

    def decompose(self) -> None:
        """Decompose in a job."""
        number = int(self.number.value)
        _ = self.session.workflow
        self.page.run(
            "Decompose", lambda progress: self.session.decompose(number, progress=progress)
        )

    def compare(self) -> None:
        """Let held-out counts judge numbers of components, in a job."""
        workflow = self.session.workflow

        def show(choice: RankChoice) -> None:
            self._choice, self._of = choice, self.session.spectrum_image
            self.number.value = choice.n_components
            self.refresh()

        self.jobs.start(
            "Compare",
            lambda progress: workflow.choose_components(range(1, 8), progress=progress),
            show,
        )

    def use_names(self) -> None:
        """Put the names into the recipe."""
        self.session.result("match")
        names = [field.value_input or field.value for field in self.names]
        index = int(self.matrix.value)
        self.session.name_components(names, " ".join(names[index].split()))
        self.refresh()
        self.jobs.tell(f"The phases are {', '.join(self.session.recipe.phases)}.")

    def refresh(self) -> None:
        """Show the components that there are."""
        choice = self._choice
        if choice is not None and self.session.is_open and self._of is self.session.spectrum_image:
            self.curve.object = deviance_figure(choice, size=(CONTROLS - 20, 180))
            self.advice.object = paragraph(f"Held-out counts suggest {choice.message}.")
        else:
            self.curve.object, self.advice.object = None, ""
        matched = self.session.workflow.get("match") if self.session.is_open else None
        self.naming.visible = matched is not None
        if matched is None:
            self._shown = None
            self.content[:] = [
                self.text(
                    "<p>Choose the number of components and press Decompose: each component is "
                    "a map and a spectrum, and should become a phase.</p>",
                    margin=(30, 20),
                )
            ]
            return
        if matched is self._shown:
            return
        self._shown = matched
        si, factors = self.session.spectrum_image, matched.factors
        self.number.value = len(factors.names)
        colours, hints = self.session.colours(), self.session.component_hints()
        width = max(150, min(330, CONTENT // len(factors.names) - 12))
        self.names, cards = [], []
        for name, image, hint in zip(factors.names, factors.maps, hints, strict=True):
            role = " (matrix)" if name == matched.matrix else ""
            field = pn.widgets.TextInput(
                name="Name", value=name, width=width - 80, stylesheets=[CONTROL_CSS], margin=(0, 6)
            )
            self.names.append(field)
            small = thumbnail(
                MapImage(name, "counts", lambda m=image: m),  # type: ignore[misc]
                si.pixel_size,
                box=(width, 236),
                bar=True,
            )
            head = f"{swatch(colours[name])}{html.escape(hint)}{role}"
            cards.append(
                pn.Column(field, self.text(head, width=width - 20), pn.pane.Bokeh(small.figure))
            )
        self.matrix.options = {
            f"{name} ({hint})" if hint else name: i
            for i, (name, hint) in enumerate(zip(factors.names, hints, strict=True))
        }
        self.matrix.value = factors.names.index(matched.matrix)
        self.components[:] = cards
        self._draw_spectra()
        self.content[:] = [self.components, self.log, self.spectra]

    def _draw_spectra(self) -> None:
        matched = self._shown
        if matched is None:
            return
        si, factors = self.session.spectrum_image, matched.factors  # type: ignore[attr-defined]
        colours = self.session.colours()
        marks = []
        for element in self.session.elements():
            found = mapped_line(si, element)
            if found is not None:
                marks.append(LineMark(line_text(element, found[0].name), found[0].energy))
        self.spectra.object = spectrum_figure(
            factors.axis,
            [
                Curve(name, spectrum * total, colours[name])
                for name, spectrum, total in zip(
                    factors.names, factors.spectra, factors.counts, strict=True
                )
            ],
            marks=marks,
            size=(CONTENT - 20, 196),
            log=self.log.value,
            value_name="Counts",
        )
