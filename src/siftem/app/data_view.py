"""Data: open a map, look at its counts, elements and sum spectrum."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import panel as pn

from siftem.app.files import MAPS, RECIPES, DropZone, RecentFiles
from siftem.app.gallery import Gallery, Thumbnails
from siftem.app.map_figure import length_text
from siftem.app.map_images import MapImage, fitted_images, map_images, takes_background
from siftem.app.map_step import MapStep
from siftem.app.periodic_table import (
    STATES,
    PeriodicTable,
    evidence_html,
    found_elements,
    next_lists,
    states_of,
)
from siftem.app.saved_sessions import SavedSession, SavedSessions
from siftem.app.step_view import StepPage, listed, put_text
from siftem.app.style import COLUMN_CSS, CONTROL_CSS, FIELD, RESIZED, WIDE, paragraph
from siftem.eels.edges import edges_in_windows
from siftem.element_mapping import ElementMaps, element_maps
from siftem.errors import InputError
from siftem.fit.element_search import FoundElement
from siftem.pipeline.parts import recorded_warnings
from siftem.progress import Progress

#: Sessions that are offered.
_EARLIER = 6
_UP = "↑ folder above"
_ONE, _ALL, _ELEMENTS = "Map and spectrum", "All maps", "Elements"
#: Above all maps, and its height.
_ENLARGE, _BACK = "<p class='hint'>A click on a map shows it large.</p>", 44
_QUANTIFIED, _EDGES = "Elements to quantify", "Edges to compare, such as O_K, Mn_L3"
#: Least and largest height of the small maps, screen pixels.
_SMALL, _LARGEST = 74, 130
_NONE = "(choose)"
_WELCOME = (
    "<h2>From a spectrum image to the composition of each phase</h2>"
    "<p>Open a map on the left, or the demo: a simulated doped glass in which three minerals "
    "overlap.</p><p class='hint'>Alt with the arrow keys goes from step to step; all buttons and "
    "fields can be reached with the tab key.</p>"
)


class DataView(MapStep):
    """The map and what is in it."""

    name = "Data"

    def __init__(self, page: StepPage) -> None:
        super().__init__(page, palette="Cividis", part=0.4, most=560, log=False)
        self._of: object = None
        self.size = pn.widgets.Select(
            name="Pixels on each side", options=[64, 128, 256, 512], value=128, **FIELD
        )
        self.dose = pn.widgets.FloatInput(
            name="Counts a pixel", value=300.0, start=1.0, step=50, **FIELD
        )
        self.folder = pn.widgets.TextInput(name="Folder", value=str(Path.cwd()), **FIELD)
        self.listing = pn.widgets.Select(
            name="Files in it", size=6, options=[_NONE], value=_NONE, **FIELD
        )
        self.recent = pn.widgets.Select(name="Opened lately", options=[_NONE], **FIELD)
        self.path = pn.widgets.TextInput(name="File: a map, or a recipe (.yaml)", **FIELD)
        self.elements = pn.widgets.TextAreaInput(name=_QUANTIFIED, rows=2, resizable=False, **FIELD)
        self.support = pn.widgets.TextInput(name="From grid and preparation", **FIELD)
        self.absent = pn.widgets.TextInput(name="Known to be absent (not suggested)", **FIELD)
        self._named = self.text("<h2>Elements</h2>")
        self.searching = self.button("Find elements", self.find_elements, **WIDE)
        self.fitting = self.button("Fit maps of their lines", self.fit_maps, **WIDE)
        self._fitted: tuple[object, ElementMaps] | None = None
        self.table = PeriodicTable(lambda symbol: page.attempt(lambda: self._step_on(symbol)))
        self.evidence = self.text("", sizing_mode="stretch_width")
        self._found: tuple[FoundElement, ...] = ()
        self._of_found: object = None
        self.about = self.text("", **WIDE, visible=False)
        self.earlier = pn.Column()
        self.shown = pn.widgets.RadioButtonGroup(
            name="What is shown",
            options=[_ONE, _ALL, _ELEMENTS],
            value=_ONE,
            stylesheets=[CONTROL_CSS],
            margin=(20, 5, 0, 10),
        )
        self.small = Thumbnails(self._enlarge, sizing_mode="stretch_width")
        self.look.name.param.watch(lambda _e: self._name_current(), "value")
        self.maps: Gallery | None = None
        self.scrolled = pn.Column(
            scroll="y", stylesheets=[COLUMN_CSS], sizing_mode=RESIZED, width=800, height=300
        )
        self.controls[:] = [
            self.about,
            self.text("<h2>Demo</h2>"),
            pn.Row(self.size, self.dose),
            self.button("Open the demo", self.open_demo, kind="success", **WIDE),
            self.text("<h2>File</h2>"),
            DropZone(self._sent, self._not_sent, **WIDE),
            self.path,
            self.button("Open file", self.open_file, kind="success", **WIDE),
            pn.Card(
                self.recent,
                self.folder,
                self.listing,
                title="Recent files and folders",
                collapsed=True,
                **WIDE,
                margin=(4, 8),
            ),
            self._named,
            self.elements,
            self.support,
            self.absent,
            pn.Row(self.button("Use these", self.use_elements, **WIDE), self.searching),
            self.fitting,
        ]
        self.folder.param.watch(lambda _e: page.attempt(self._list_folder), "value")
        self.path.param.watch(lambda _e: page.attempt(self.open_file), "enter_pressed")
        self.recent.param.watch(lambda _e: page.attempt(self._again), "value")
        self.listing.param.watch(lambda _e: page.attempt(self._picked), "value")
        for field in (self.elements, self.support, self.absent):
            field.param.watch(lambda _e: page.attempt(self._show_states), "value")
        self.shown.param.watch(lambda _e: page.attempt(self._arrange), "value")
        self._list_folder()
        self._list_recent()

    def open_demo(self) -> None:
        """Simulate the model case in a job."""
        size, dose = int(self.size.value), self.dose.value
        if dose is None:
            raise InputError("say how many counts a pixel of the demo has")
        self.page.open(
            "Open the demo",
            lambda progress: self.session.open_demo(size=size, dose=dose, progress=progress),
        )

    def open_file(self) -> None:
        """Open the file that is named, in a job."""
        path = (self.path.value_input or self.path.value).strip()
        put_text(self.path, path)

        def work(progress: Progress) -> None:
            self.session.open(path, progress=progress)
            self._recent_files().add(Path(path).expanduser().absolute())

        self.page.open("Open file", work)

    def _recent_files(self) -> RecentFiles:
        kept = self.session.sessions or SavedSessions()
        return RecentFiles(kept.folder)

    def _list_recent(self) -> None:
        self.recent.options = {_NONE: "", **{p.name: str(p) for p in self._recent_files().found()}}

    def _again(self) -> None:
        if self.recent.value:
            put_text(self.path, self.recent.value)
            self.open_file()

    def _sent(self, path: str) -> None:
        """Open a file that came from the browser."""
        put_text(self.path, path)
        self.page.attempt(self.open_file)

    def _not_sent(self, why: str) -> None:
        self.jobs.tell(f"{why[:1].upper()}{why[1:]}.", failed=True)

    def use_elements(self) -> None:
        """Put the elements, of energy losses their edges, into the recipe."""
        if not takes_background(self.session.spectrum_image):
            edges = listed(self.elements.value)
            self.session.set_edges(edges)
            self.refresh()
            held = edges_in_windows(self.session.edges()).values()
            said = "".join(f" No map: {one}; give it windows in Export, Recipe." for one in held)
            self.jobs.tell(f"Edges: {', '.join(edges) or 'none'}.{said}", failed=bool(said))
            return
        self.session.set_elements(listed(self.elements.value), listed(self.support.value))
        self.refresh()
        self.jobs.tell(f"Elements: {', '.join(self.session.elements()) or 'none'}.")

    def find_elements(self) -> None:
        """Look for elements in the sum of all pixels, in a job."""
        if not self.session.spectrum_image.signal_type.startswith("EDS"):
            raise InputError(
                "elements are found by their X-ray lines, which this map does not have"
            )

        def show(seen: tuple[FoundElement, ...]) -> None:
            self._found = seen
            found = [one.element for one in seen]
            # What the file does not list comes from grid and preparation, as a rule.
            listed_in_file = self.session.spectrum_image.acquisition.elements
            apart = [e for e in found if listed_in_file and e not in listed_in_file]
            support = tuple(dict.fromkeys((*listed(self.support.value), *apart)))
            self.elements.value = ", ".join(e for e in found if e not in support)
            self.support.value = ", ".join(support)
            self.jobs.tell("Elements were found by their lines: check them, then use them.")
            self.shown.value = _ELEMENTS
            self._show_states()

        si = self.session.spectrum_image
        absent = listed(self.absent.value)
        self.jobs.start("Find elements", lambda _progress: found_elements(si, absent), show)

    def fit_maps(self) -> None:
        """Fit all lines of the elements to each pixel, in a job; the maps join the others."""
        si, elements = self.session.spectrum_image, self.session.elements()
        support = listed(self.support.value)

        def work(progress: Progress) -> ElementMaps:
            with recorded_warnings():  # of sums over pixels: these maps are for looking at
                return element_maps(si, elements, support=support, progress=progress)

        def show(maps: ElementMaps) -> None:
            self._fitted, self._of = ((si, elements), maps), None
            self.refresh()
            self.jobs.tell("Maps by fit stand behind the others: overlaps and continuum are off.")

        self.jobs.start("Fit maps", work, show)

    def resized(self) -> None:
        """Draw maps and spectrum in the new room."""
        super().resized()
        if self._of is not None:
            self._fit()

    def _fit(self) -> None:
        tall = min(_LARGEST, max(_SMALL, self.look.room_below[0] // 8))
        size = self.session.spectrum_image.pixel_size
        self.small.show(list(self.look.images.values()), size, height=tall)
        if self.maps is not None:
            self.maps.resize(self._room_of_all(), self.room.dark)

    def _room_of_all(self) -> tuple[int, int]:
        """Give all maps the room of the large one, and return what they have of it."""
        width, height = self.look.room_in_front
        self.scrolled.param.update(width=width, height=height)
        return width - 20, height - _BACK

    def first_images(self) -> list[MapImage]:
        """Return nothing: counts stand first here."""
        return []

    def _lists(self) -> dict[str, tuple[str, ...]]:
        fields = zip(STATES, (self.elements, self.support, self.absent), strict=False)
        return {state: listed(field.value or "") for state, field in fields}

    def _step_on(self, symbol: str) -> None:
        """Take an element to its next state."""
        after = next_lists(self._lists(), symbol)
        for state, field in zip(STATES, (self.elements, self.support, self.absent), strict=False):
            put_text(field, ", ".join(after[state]))

    def _show_states(self) -> None:
        self.table.states = states_of(self._lists())
        self.table.seen = {one.element: one.significance for one in self._found}
        self.evidence.object = evidence_html(self._found)

    def _enlarge(self, name: str) -> None:
        """Show a map large."""
        self.look.choose(name)
        self._show_one()

    def _show_one(self) -> None:
        self.shown.value = _ONE

    def _name_current(self) -> None:
        self.small.current = str(self.look.name.value)

    def _arrange(self) -> None:
        """Show one map and the spectrum, or all maps."""
        if self._of is None:
            return
        every = self.shown.value == _ALL
        self.look.in_front(self.scrolled if every else None)
        if every and self.maps is None:
            images, size = list(self.look.images.values()), self.session.spectrum_image.pixel_size
            self.maps = Gallery(
                images,
                size,
                room=self._room_of_all(),
                dark=self.room.dark,
                ranges=self.page.map_ranges(),
                chosen=self._enlarge,
            )
            back = self.button("← Back to one map", self._show_one, width=150)
            self.scrolled[:] = [pn.Row(back, self.text(_ENLARGE), margin=0), self.maps.grid]
        below: list[Any] = [] if every else [self.small]
        if self.shown.value == _ELEMENTS:
            self._show_states()
            below = [self.table, self.evidence]
        self.show(*below, fields=[self.shown])

    def refresh(self) -> None:
        """Show the map that is open."""
        if not self.session.is_open:
            if not len(self.content):  # a button that is just being clicked must stay
                self.content[:] = [self.text(_WELCOME, margin=(30, 20, 10, 20)), self.earlier]
                self._list_earlier()
            return
        si = self.session.spectrum_image
        recipe = self.session.recipe
        state = (si, self.session.elements(), recipe.quantify.edges)
        if state == self._of:
            return
        self._of = state
        self._list_recent()
        x_rays = takes_background(si)
        of_x_rays = [e for e in self.session.elements() if e not in recipe.support]
        named = of_x_rays if x_rays else [e.edge for e in recipe.quantify.edges]
        self._named.object = f"<h2>{'Elements' if x_rays else 'Edges'}</h2>"
        self.elements.name = _QUANTIFIED if x_rays else _EDGES
        self.elements.value = ", ".join(named)
        self.support.value = ", ".join(recipe.support)
        pixel = f" of {length_text(si.pixel_size)}" if si.pixel_size else ""
        beam, each = si.acquisition.beam_energy, si.total / si.n_pixels
        title = html.escape(recipe.title or si.title or "Map")
        self.about.visible = True
        self.about.object = (
            f"<p><b>{title}</b>: {si.shape[0]} × {si.shape[1]} pixels{pixel},"
            f" {si.total:,.0f} counts"
            f" ({each:,.{0 if each > 1000 else 1}f} a pixel)"
            f"{f', {beam:g} keV' if beam else ''}.</p>"
        )
        self._found = self._found if self._of_found is si else ()
        self._of_found = si
        self.shown.options = [_ONE, _ALL, *([_ELEMENTS] if x_rays else [])]
        for field in (self.support, self.absent, self.searching, self.fitting):
            field.visible = x_rays
        edges = self.session.edges()
        images = map_images(si, None, state[1], edges)
        if self._fitted is not None and self._fitted[0] == state[:2]:
            images |= fitted_images(self._fitted[1])
        self.look.open(
            si, images, state[1], room=self.room, ranges=self.page.map_ranges(), edges=edges
        )
        self._name_current()
        self.maps = None
        self._fit()
        self._arrange()

    def _list_earlier(self) -> None:
        """Offer the sessions that were kept."""
        sessions = self.session.sessions
        found, removed = (sessions.found(), sessions.remove_uploads()) if sessions else ([], "")
        rows = [
            pn.Row(
                self.button(
                    f"Go on with {saved.title}, {saved.age()}",
                    lambda chosen=saved: self.page.go_on(chosen),
                    kind="success" if n == 0 else "default",
                    width=430,
                ),
                self.button("Forget", lambda chosen=saved: self._forget(chosen), width=80),
                self.text(paragraph(saved.about, "hint"), margin=(10, 4)),
            )
            for n, saved in enumerate(found[:_EARLIER])
        ]
        heading = [self.text("<h2>Earlier work</h2>", margin=(10, 20, 0, 20))] if rows else []
        said = [self.text(paragraph(removed, "hint"), margin=(0, 20))] if removed else []
        self.earlier[:] = [*heading, pn.Column(*rows, margin=(0, 12)), *said]

    def _forget(self, saved: SavedSession) -> None:
        if self.session.sessions is not None:
            self.session.sessions.forget(saved)
        self._list_earlier()

    def _list_folder(self) -> None:
        folder = Path(self.folder.value).expanduser()
        if not folder.is_dir():
            self.listing.options = [_NONE]
            return
        inside = sorted(folder.iterdir(), key=lambda p: (p.is_file(), p.name.lower()))
        names = [_NONE, _UP]
        names += [f"{p.name}/" for p in inside if p.is_dir() and not p.name.startswith(".")]
        names += [p.name for p in inside if p.is_file() and p.suffix.lower() in (*MAPS, *RECIPES)]
        self.listing.options = names
        self.listing.value = _NONE

    def _picked(self) -> None:
        picked: Any = self.listing.value
        if not picked or picked == _NONE:
            return
        folder = Path(self.folder.value).expanduser()
        if picked == _UP:
            self.folder.value = str(folder.parent)
        elif picked.endswith("/"):
            self.folder.value = str(folder / picked[:-1])
        else:
            put_text(self.path, str(folder / picked))
