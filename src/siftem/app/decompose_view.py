"""Decompose: how many components, their maps and spectra, their names."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np
import panel as pn

from siftem.app.gallery import thumbnail
from siftem.app.map_figure import MapFigure
from siftem.app.map_images import MapImage, mapped_line
from siftem.app.overlays import phases_overlay
from siftem.app.region_counts import areas_html
from siftem.app.spectrum_figure import Curve, LineMark, deviance_figure, spectrum_figure
from siftem.app.step_view import View, put_text
from siftem.app.style import CONTENT, CONTROL_CSS, CONTROLS, paragraph, swatch
from siftem.decompose.rank import RankChoice
from siftem.figures.line_labels import line_text
from siftem.pipeline.results import Matched

if TYPE_CHECKING:
    from siftem.app.page import Page

#: Layouts of a recipe, as the page names them.
_LAYOUTS = {
    "As found from the pixels": "auto",
    "Grains in a matrix": "matrix",
    "Side by side": "side by side",
    "Particles on a support": "particles on a support",
    "A single phase": "single",
}
_LIES = {"as found": None, "pure": "pure", "embedded": "embedded"}
_FIELD = {"width": CONTROLS - 30, "stylesheets": [CONTROL_CSS], "margin": (2, 8)}


class DecomposeView(View):
    """Maps and spectra of the components."""

    name = "Decompose"

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self._shown: Matched | None = None
        self._hints: tuple[str, ...] = ()
        self.phase_map = pn.Column()
        self._choice: RankChoice | None = None
        self._of: object = None
        self.number = pn.widgets.IntInput(
            name="Number of components", value=3, start=1, end=12, **_FIELD
        )
        self.curve = pn.pane.Bokeh(None)
        self.advice = self.text("", width=CONTROLS - 30)
        self.names: list[Any] = []
        self.lies: list[Any] = []
        self._heads: list[Any] = []
        self._quiet = False
        self.matrix = pn.widgets.Select(name="Matrix: what the others lie in or on", **_FIELD)
        self.layout = pn.widgets.Select(name="How the phases lie", options=_LAYOUTS, **_FIELD)
        self.lie = self.text("", width=CONTROLS - 30)
        self.log = pn.widgets.Checkbox(
            name="Logarithmic", value=True, stylesheets=[CONTROL_CSS], margin=(2, 8)
        )
        self.components = pn.GridBox(ncols=6)
        self.spectra = pn.pane.Bokeh(None)
        self.naming = pn.Column(
            self.text("<h2>The phases</h2>"),
            self.text("<p class='hint'>Name them above the maps.</p>", width=CONTROLS - 30),
            self.matrix,
            self.layout,
            self.lie,
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
        self.matrix.param.watch(lambda _e: page.attempt(self._named), "value")
        self.layout.param.watch(lambda _e: page.attempt(self._lay), "value")

    def decompose(self) -> None:
        """Decompose in a job."""
        number, layout = int(self.number.value), self.layout.value
        _ = self.session.workflow

        def show(said: str) -> None:
            self.refresh()
            if said:
                self.jobs.tell(said, failed=True)

        self.jobs.start(
            "Decompose",
            lambda progress: self.session.decompose(number, layout=layout, progress=progress),
            show,
        )

    def _lay(self) -> None:
        """Take another layout: the components are found by it, too."""
        if not self._quiet and self.layout.value != self.session.recipe.layout:
            self.decompose()

    def _named(self) -> None:
        """Names and the matrix count as soon as they are typed or chosen."""
        if not self._quiet:
            self.use_names()

    def _correct(self) -> None:
        """Lay what the user says of single phases over the layout that was found."""
        if self._quiet:
            return
        names = self.session.result("match").factors.names
        said = [_LIES[field.value] for field in self.lies]
        self.session.set_lies(dict(zip(names, said, strict=True)))
        self.refresh()
        self.jobs.tell(f"Layout: {self.session.layout_sentence()}.")

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
        before = self.session.result("match")
        names = [field.value for field in self.names]
        index = int(self.matrix.value)
        self.session.name_components(names, " ".join(names[index].split()))
        if self.session.result("match") is not before:
            self.refresh()
            self.jobs.tell(f"The phases are {', '.join(self.session.recipe.phases)}.")

    def leave(self) -> None:
        """Take what is typed in a field that still has the cursor."""
        for field in self.names:
            if field.value_input and field.value_input != field.value:
                field.value = field.value_input

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
        before, self._shown = self._shown, matched
        factors = matched.factors
        # Other names on the same maps: the fields stay, and so does the cursor in them.
        same = before is not None and np.array_equal(before.factors.maps, factors.maps)
        self._quiet = True
        try:
            if not same:
                self._make_cards(matched)
            self._put_names(matched)
        finally:
            self._quiet = False
        self._draw_spectra()
        if not same:
            self.content[:] = [self.components, self.log, self.spectra]

    def _make_cards(self, matched: Matched) -> None:
        """Make a card with name, role and map for each component."""
        si, factors = self.session.spectrum_image, matched.factors
        self._hints = self.session.component_hints()
        k = len(factors.names)
        width = max(150, min(330, CONTENT // (k + 1) - 12))
        self.names, self.lies, self._heads, cards = [], [], [], []
        for name, image in zip(factors.names, factors.maps, strict=True):
            field = pn.widgets.TextInput(
                name="Name", width=width - 136, stylesheets=[CONTROL_CSS], margin=(0, 6)
            )
            lies = pn.widgets.Select(
                name="Lies", options=list(_LIES), width=112, stylesheets=[CONTROL_CSS], margin=0
            )
            field.param.watch(lambda _e: self.page.attempt(self._named), "value")
            lies.param.watch(lambda _e: self.page.attempt(self._correct), "value")
            self.names.append(field)
            self.lies.append(lies)
            self._heads.append(self.text("", width=width - 10))
            small = thumbnail(
                MapImage(name, "counts", lambda m=image: m),  # type: ignore[misc]
                si.pixel_size,
                box=(width, 236),
                bar=True,
            )
            small.figure.title = None
            head = pn.Row(field, lies) if k > 1 else field
            cards.append(pn.Column(head, self._heads[-1], pn.pane.Bokeh(small.figure)))
        self.number.value = k
        self.phase_map = pn.Column(width=width)
        self.components[:] = [*cards, self.phase_map]

    def _put_names(self, matched: Matched) -> None:
        """Show names, roles, layout and phase map as the recipe has them."""
        recipe, factors, colours = self.session.recipe, matched.factors, self.session.colours()
        rows = zip(factors.names, self._hints, self.names, self.lies, self._heads, strict=True)
        words = {said: word for word, said in _LIES.items()}
        for name, hint, field, lies, head in rows:
            put_text(field, name)
            phase = recipe.phases.get(name)
            lies.value = words[phase.lies if phase else None]
            role = " (matrix)" if name == matched.matrix else ""
            head.object = f"{swatch(colours[name])}{html.escape(hint)}{role}"
        self.matrix.options = {
            f"{name} ({hint})" if hint else name: i
            for i, (name, hint) in enumerate(zip(factors.names, self._hints, strict=True))
        }
        self.matrix.value = factors.names.index(matched.matrix)
        self.layout.value = recipe.layout
        shown = self.session.phase_map()
        self.lie.object = paragraph(f"Layout: {self.session.layout_sentence()}.") + (
            "" if shown else paragraph("The phase map comes with the regions (Segment).", "hint")
        )
        if shown is None:
            self.phase_map[:] = []
            return
        small = MapFigure(
            shown.labels.shape,
            self.session.spectrum_image.pixel_size,
            box=(self.phase_map.width, 236),
            bar=False,
        )
        small.overlay(phases_overlay(shown, colours))
        self.phase_map[:] = [
            self.text("<p><b>Phase map</b></p>"),
            pn.pane.Bokeh(small.figure),
            self.text(areas_html(shown, colours)),
        ]

    def _draw_spectra(self) -> None:
        matched = self._shown
        if matched is None:
            return
        si, factors = self.session.spectrum_image, matched.factors
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
