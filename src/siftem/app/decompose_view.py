"""Decompose: how many components, their maps and spectra, their names."""

from __future__ import annotations

import html
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import panel as pn

from siftem.app.gallery import Thumbnails
from siftem.app.map_images import COMPONENT, MapImage
from siftem.app.map_step import MapStep
from siftem.app.overlays import areas_html, with_matrix
from siftem.app.spectrum_figure import Curve, deviance_figure
from siftem.app.step_view import StepPage, put_text
from siftem.app.style import CONTROL_CSS, FIELD, WIDE, paragraph, swatch
from siftem.decomposition.rank import RankChoice
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
#: Height of the small map of a component, and of its row with its fields, screen pixels.
_SMALL, _ROW = 46, 84


class DecomposeView(MapStep):
    """Maps and spectra of the components."""

    name = "Decompose"

    def __init__(self, page: StepPage) -> None:
        super().__init__(page, palette="Cividis", part=0.45)
        self._shown: Matched | None = None
        self._hints: tuple[str, ...] = ()
        self.areas = self.text("", margin=(4, 8))
        self.small: list[Thumbnails] = []
        self._choice: RankChoice | None = None
        self._of: object = None
        self._numbered: object = None
        self.number = pn.widgets.Select(
            name="Number of components", options=_numbers(_MOST), value=AUTO, **FIELD
        )
        self.curve = pn.pane.Bokeh(None)
        self.advice = self.text("", **WIDE)
        self.names: list[Any] = []
        self.lies: list[Any] = []
        self._heads: list[Any] = []
        self._quiet = False
        self.matrix = pn.widgets.Select(name="Matrix: what the others lie in or on", **FIELD)
        self.layout = pn.widgets.Select(name="How the phases lie", options=_LAYOUTS, **FIELD)
        self.lie = self.text("", **WIDE)
        self.components = pn.Column(margin=0)
        self.said = self.text(
            "<p>Press Decompose: each component is a map and a spectrum, and should become a "
            "phase.</p>"
        )
        self.naming = pn.Column(
            self.text("<h2>The phases</h2>"),
            self.text("<p class='hint'>Name them beside their maps.</p>", **WIDE),
            self.matrix,
            self.layout,
            self.lie,
        )
        self.controls[:] = [
            self.text("<h2>Components</h2>"),
            self.number,
            pn.Row(
                self.button("Decompose", self.decompose, kind="success", **WIDE),
                self.button("Compare", self.compare, **WIDE),
            ),
            self.text(
                "<p class='hint'>Compare lets counts that were held out judge 1 to 7 components."
                "</p>",
                **WIDE,
            ),
            self.curve,
            self.advice,
            self.naming,
        ]
        self.look.name.param.watch(lambda _e: self._name_current(), "value")
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
        self.leave()
        super().resized()

    def key(self, key: str) -> None:
        """Show a component by its number."""
        if self._shown is not None and key.isdigit() and 0 < int(key) <= len(self.small):
            self.look.choose(f"{COMPONENT}{self._shown.factors.names[int(key) - 1]}")

    def refresh(self) -> None:
        """Show the components that there are."""
        choice = self._choice
        if choice is not None and self.session.is_open and self._of is self.session.spectrum_image:
            self.curve.object = deviance_figure(
                choice, size=(self.room.controls - 36, 180), dark=self.room.dark
            )
            self.advice.object = paragraph(f"Held-out counts suggest {choice.message}.")
        else:
            self.curve.object, self.advice.object = None, ""
        matched = self.session.workflow.get("match") if self.session.is_open else None
        self._show_number(matched)
        self.naming.visible = matched is not None
        if not self.session.is_open:
            self.no_map()
            return
        if matched is None:
            self._shown = None
            self.show_map(of=None)
            self.show(self.said)
            return
        before, self._shown = self._shown, matched
        factors = matched.factors
        # Other names on the same maps: the fields stay, and so does the cursor in them.
        same = before is not None and np.array_equal(before.factors.maps, factors.maps)
        chosen = self.look.name.value if same else f"{COMPONENT}{factors.names[0]}"
        if same and before is not None:
            again = dict(zip(before.factors.names, factors.names, strict=True))
            name = str(chosen).removeprefix(COMPONENT)
            chosen = f"{COMPONENT}{again[name]}" if name in again else chosen
        self._quiet = True
        try:
            if not same:
                self._make_rows(matched)
            self._put_names(matched)
        finally:
            self._quiet = False
        self.show_map(self._curves(matched), of=factors.names, chosen=chosen)
        self._name_current()
        self.show(self.components, self.areas)

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

    def _make_rows(self, matched: Matched) -> None:
        """Make a row with a small map, name and role for each component."""
        si, factors = self.session.spectrum_image, matched.factors
        self._hints = self.session.component_hints()
        self.small, self.names, self.lies, self._heads = [], [], [], []
        rows = []
        for name, image in zip(factors.names, factors.maps, strict=True):
            small = Thumbnails(self._enlarge, width=92, height=_ROW, margin=0)
            small.show(
                [MapImage(name, "counts", partial(np.asarray, image))],
                si.pixel_size,
                height=_SMALL,
            )
            field = pn.widgets.TextInput(
                name="Name", width=132, stylesheets=[CONTROL_CSS], margin=(0, 6)
            )
            lies = pn.widgets.Select(
                name="Lies",
                options=list(_LIES),
                width=112,
                stylesheets=[CONTROL_CSS],
                margin=0,
                visible=len(factors.names) > 1,
            )
            field.param.watch(lambda _e: self.page.attempt(self._named), "value")
            lies.param.watch(lambda _e: self.page.attempt(self._correct), "value")
            head = self.text("", margin=(0, 6))
            self.small.append(small)
            self.names.append(field)
            self.lies.append(lies)
            self._heads.append(head)
            rows.append(pn.Row(small, pn.Column(head, pn.Row(field, lies, margin=0), margin=0)))
        self.components[:] = rows

    def _enlarge(self, name: str) -> None:
        self.look.choose(f"{COMPONENT}{name}")

    def _name_current(self) -> None:
        shown = str(self.look.name.value).removeprefix(COMPONENT)
        for small in self.small:
            small.current = shown

    def _put_names(self, matched: Matched) -> None:
        """Show names, roles, layout and phase map as the recipe has them."""
        recipe, factors, colours = self.session.recipe, matched.factors, self.session.colours()
        rows = zip(factors.names, self._hints, self.names, self.lies, self._heads, strict=True)
        words = {said: word for word, said in _LIES.items()}
        told = with_matrix(matched)
        for small, (name, hint, field, lies, head) in zip(self.small, rows, strict=True):
            put_text(field, name)
            small.items = [[name, *small.items[0][1:]]]
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
        self.areas.object = "" if shown is None else areas_html(shown, colours)

    def _curves(self, matched: Matched) -> list[Curve]:
        """Spectra of the components, and what part of them each pixel holds."""
        factors, colours = matched.factors, self.session.colours()
        maps = factors.maps.reshape(len(factors.names), -1)
        rows = zip(factors.names, factors.spectra, factors.counts, maps, strict=True)
        return [
            Curve(
                name,
                spectrum * total,
                colours[name],
                share=_part_of(own, total),
            )
            for name, spectrum, total, own in rows
        ]


def _numbers(most: int) -> dict[str, int | str]:
    """Numbers of components by what the page calls them."""
    return {"As many as the counts tell": AUTO, **{str(n): n for n in range(1, most + 1)}}


def _part_of(own: np.ndarray, total: float) -> Callable[[np.ndarray], float]:
    """Return what part of a component some pixels hold."""
    return lambda rows: float(own[rows].sum() / (total or 1.0))
