"""Decompose: how many components, their maps and spectra, their names."""

from __future__ import annotations

import html
import math
from functools import partial
from typing import Any

import numpy as np
import panel as pn

from siftem.app.gallery import thumbnail, tile
from siftem.app.map_figure import MapFigure
from siftem.app.map_images import MapImage, line_marks
from siftem.app.overlays import areas_html, phases_overlay, with_matrix
from siftem.app.spectrum_figure import Curve, LineMark, deviance_figure, spectrum_figure
from siftem.app.step_view import StepPage, View, put_text
from siftem.app.style import COLUMN_CSS, CONTROL_CSS, CONTROLS, RESIZED, paragraph, swatch
from siftem.decomposition.rank import RankChoice
from siftem.figures.page import image_aspect
from siftem.pipeline.results import Matched

#: Layouts of a recipe, as the page names them.
_LAYOUTS = {
    "As found from the pixels": "auto",
    "Grains in a matrix": "matrix",
    "Side by side": "side by side",
    "Particles on a support": "particles on a support",
    "A single phase": "single",
}
#: The number of components that is chosen by default, and the largest that is offered.
AUTO, _MOST = "auto", 12
_LIES = {"as found": None, "pure": "pure", "embedded": "embedded"}
#: Room beside and above the map of a component, screen pixels: colour bar; name and title.
_BESIDE, _ABOVE = 84, 122
#: The least width of its fields.
_FIELDS = 200
_FIELD = {"width": CONTROLS - 30, "stylesheets": [CONTROL_CSS], "margin": (2, 8)}


class DecomposeView(View):
    """Maps and spectra of the components."""

    name = "Decompose"

    def __init__(self, page: StepPage) -> None:
        super().__init__(page)
        self._shown: Matched | None = None
        self._hints: tuple[str, ...] = ()
        self.phase_map = pn.Column()
        self._maps: list[MapFigure] = []
        self._phases: MapFigure | None = None
        self._choice: RankChoice | None = None
        self._of: object = None
        self._numbered: object = None
        self.number = pn.widgets.Select(
            name="Number of components", options=_numbers(_MOST), value=AUTO, **_FIELD
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
        self.scrolled = pn.Column(
            self.components,
            scroll="y",
            stylesheets=[COLUMN_CSS],
            sizing_mode=RESIZED,
            width=800,
            height=300,
        )
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
        number, layout = self.number.value, self.layout.value
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
            self.refresh()
            self.number.value = choice.n_components

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

    def resized(self) -> None:
        """Draw all in the new room."""
        super().resized()
        self.leave()
        if self._shown is not None:
            self._fit()

    def _spectrum_height(self) -> int:
        return max(190, int(0.34 * self.room.height))

    def refresh(self) -> None:
        """Show the components that there are."""
        choice = self._choice
        if choice is not None and self.session.is_open and self._of is self.session.spectrum_image:
            self.curve.object = deviance_figure(
                choice, size=(CONTROLS - 20, 180), dark=self.room.dark
            )
            self.advice.object = paragraph(f"Held-out counts suggest {choice.message}.")
        else:
            self.curve.object, self.advice.object = None, ""
        matched = self.session.workflow.get("match") if self.session.is_open else None
        self._show_number(matched)
        self.naming.visible = matched is not None
        if matched is None:
            self._shown = None
            self.content[:] = [
                self.text(
                    "<p>Press Decompose: each component is a map and a spectrum, and should "
                    "become a phase.</p>",
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
        self._fit()
        if not same:
            self.content[:] = [self.scrolled, self.log, self.spectra]

    def _show_number(self, matched: Matched | None) -> None:
        """Show the number of the recipe when it, the map or the components are new."""
        if not self.session.is_open:
            return
        number = self.session.recipe.n_components
        state = (self.session.spectrum_image, matched, number)
        if state != self._numbered:
            self._numbered = state
            most = number if isinstance(number, int) else 0
            self.number.options = _numbers(max(_MOST, most))
            self.number.value = number

    def _make_cards(self, matched: Matched) -> None:
        """Make a card with name, role and map for each component."""
        si, factors = self.session.spectrum_image, matched.factors
        self._hints = self.session.component_hints()
        k = len(factors.names)
        self._maps = []
        self.names, self.lies, self._heads, cards = [], [], [], []
        for name, image in zip(factors.names, factors.maps, strict=True):
            field = pn.widgets.TextInput(
                name="Name",
                width=100,
                sizing_mode=RESIZED,
                stylesheets=[CONTROL_CSS],
                margin=(0, 6),
            )
            lies = pn.widgets.Select(
                name="Lies", options=list(_LIES), width=112, stylesheets=[CONTROL_CSS], margin=0
            )
            field.param.watch(lambda _e: self.page.attempt(self._named), "value")
            lies.param.watch(lambda _e: self.page.attempt(self._correct), "value")
            self.names.append(field)
            self.lies.append(lies)
            self._heads.append(self.text("", width=100, sizing_mode=RESIZED))
            small = thumbnail(
                MapImage(name, "counts", partial(np.asarray, image)),
                si.pixel_size,
                box=(200, 200),
                bar=True,
                dark=self.room.dark,
                ranges=self.page.map_ranges(),
            )
            self._maps.append(small)
            small.figure.title = None
            head = pn.Row(field, lies) if k > 1 else field
            cards.append(pn.Column(head, self._heads[-1], pn.pane.Bokeh(small.figure)))
        self.phase_map = pn.Column()
        self.components[:] = [*cards, self.phase_map]

    def _fit(self) -> None:
        """Make maps and spectrum as large as they fit."""
        room, aspect = self.room, image_aspect(self._maps[0].shape, self.session.pixel_size)
        height = room.height - self._spectrum_height() - 36
        n = len(self._maps) + (self._phases is not None)
        # Of a tall map all is seen, and its fields are wider than the map.
        smallest = max(40, min(130, int((height - _ABOVE) / aspect)))
        width, self.components.ncols = tile(
            n,
            aspect,
            (room.content - 20, height),
            beside=max(_BESIDE, _FIELDS - smallest),
            above=_ABOVE,
            smallest=smallest,
        )
        # What the maps leave free is the spectrum's.
        table = 28 + 21 * self.phase_map[0].object.count("<tr>") if len(self.phase_map) else 0
        card = round(width * aspect) + max(_ABOVE, table) + 24
        height = min(height, math.ceil(n / self.components.ncols) * card)
        self.scrolled.param.update(height=height, width=room.content)
        box = (width + _BESIDE - 12, round(width * aspect) + 32)
        for one, field, head in zip(self._maps, self.names, self._heads, strict=True):
            one.resize(box, room.dark)
            field.width, head.width = max(70, box[0] - 136), box[0] - 10
        if self._phases is not None:
            self._phases.resize((box[0] - 60, box[1]), room.dark)
        self._draw_spectra()

    def _put_names(self, matched: Matched) -> None:
        """Show names, roles, layout and phase map as the recipe has them."""
        recipe, factors, colours = self.session.recipe, matched.factors, self.session.colours()
        rows = zip(factors.names, self._hints, self.names, self.lies, self._heads, strict=True)
        words = {said: word for word, said in _LIES.items()}
        told = with_matrix(matched)
        for name, hint, field, lies, head in rows:
            put_text(field, name)
            phase = recipe.phases.get(name)
            lies.value = words[phase.lies if phase else None]
            role = " (matrix)" if told and name == matched.matrix else ""
            head.object = f"{swatch(colours[name])}{html.escape(hint)}{role}"
        self.matrix.visible = told
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
        self._phases = None
        if shown is None:
            self.phase_map[:] = []
            return
        self._phases = MapFigure(
            shown.labels.shape,
            self.session.pixel_size,
            box=(200, 200),
            bar=False,
            dark=self.room.dark,
            ranges=self._maps[0].ranges,
        )
        self._phases.overlay(phases_overlay(shown, colours))
        self.phase_map[:] = [
            self.text(areas_html(shown, colours)),
            pn.pane.Bokeh(self._phases.figure),
        ]

    def _draw_spectra(self) -> None:
        matched = self._shown
        if matched is None:
            return
        si, factors = self.session.spectrum_image, matched.factors
        colours = self.session.colours()
        marks = [LineMark(*mark) for mark in line_marks(si, self.session.elements())]
        self.spectra.object = spectrum_figure(
            factors.axis,
            [
                Curve(name, spectrum * total, colours[name])
                for name, spectrum, total in zip(
                    factors.names, factors.spectra, factors.counts, strict=True
                )
            ],
            marks=marks,
            size=(self.room.content - 10, self.room.height - int(self.scrolled.height) - 36),
            dark=self.room.dark,
            log=self.log.value,
            value_name="Counts",
        )


def _numbers(most: int) -> dict[str, int | str]:
    """Numbers of components by what the page calls them."""
    return {"As many as the counts tell": AUTO, **{str(n): n for n in range(1, most + 1)}}
