"""What the steps of the road have in common on the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import panel as pn

from siftem.app.files import Reports
from siftem.app.jobs import JobRunner
from siftem.app.map_figure import MapRanges
from siftem.app.saved_sessions import SavedSession
from siftem.app.session import Session
from siftem.app.style import COLUMN_CSS, CONTROL_CSS, RESIZED, TEXT_CSS, Room
from siftem.errors import InputError


class StepPage(Protocol):
    """What a step needs of the page that it stands on: see `siftem.app.page.Page`."""

    session: Session
    jobs: JobRunner
    room: Room
    reports: Reports

    def attempt(self, action: Callable[[], Any]) -> None:
        """Do something quick; an error becomes one sentence on the page."""

    def open(self, title: str, work: Callable[[Any], Any]) -> None:
        """Open a map in a job."""

    def go_on(self, saved: SavedSession) -> None:
        """Go on with a session that was kept, in a job."""

    def run(self, title: str, work: Callable[[Any], Any]) -> None:
        """Do a long piece of work in a job, and show what came of it."""

    def map_ranges(self) -> MapRanges:
        """Return what is seen of the map that is open: the same in each step."""


class View:
    """One step of the road: controls on the left, what they give on the right.

    Parameters
    ----------
    page : StepPage
    """

    #: On its button.
    name = ""

    def __init__(self, page: StepPage) -> None:
        self.page = page
        self.session = page.session
        self.jobs = page.jobs
        room = self.room
        self.controls = pn.Column(
            width=room.controls,
            scroll="y",
            height=room.height,
            margin=(0, 4, 0, 0),
            stylesheets=[COLUMN_CSS],
            sizing_mode=RESIZED,
        )
        self.content = pn.Column(width=room.content, min_height=room.height, sizing_mode=RESIZED)
        self.panel = pn.Row(self.controls, self.content, margin=(4, 0, 0, 8))
        self._drawn_in = room

    @property
    def room(self) -> Room:
        """The room on the page."""
        return self.page.room

    def take_room(self) -> None:
        """Draw for the page's present room, unless that is done; called for the step in front."""
        if self._drawn_in != self.room:
            self._drawn_in = self.room
            self.resized()

    def resized(self) -> None:
        """Take the page's present room; what is drawn is drawn again when it is shown."""
        self.controls.param.update(width=self.room.controls, height=self.room.height)
        self.content.param.update(width=self.room.content, min_height=self.room.height)

    def refresh(self) -> None:
        """Show the present state; called when the step comes to the front and after each job."""

    def leave(self) -> None:
        """Take what is typed but not yet entered; called before another step comes to the front."""

    def key(self, key: str) -> None:
        """Take a key that was pressed outside any field."""

    def close(self) -> None:
        """Let go of everything; the view is of no use afterwards."""
        vars(self).clear()

    def button(self, label: str, action: Any, *, kind: str = "default", **options: Any) -> Any:
        """Return a button; errors of its action become a sentence on the page."""
        options = {"width": 120, "stylesheets": [CONTROL_CSS], **options}
        made = pn.widgets.Button(name=label, button_type=kind, **options)
        made.on_click(lambda _event: self.page.attempt(action))
        return made

    @staticmethod
    def text(content: str = "", **options: Any) -> Any:
        """Return a pane of HTML."""
        return pn.pane.HTML(content, stylesheets=[TEXT_CSS], **{"margin": (2, 8), **options})


def put_text(field: Any, text: str) -> None:
    """Fill a text field; what was typed in it before is forgotten, which Panel keeps apart."""
    field.value = field.value_input = text


def listed(text: str) -> tuple[str, ...]:
    """Return the parts of "Mg, Si Fe"."""
    return tuple(dict.fromkeys(part for part in text.replace(",", " ").split() if part))


def numbers(text: str, what: str) -> list[tuple[float, float]]:
    """Return the points of "y, x; y, x".

    Raises
    ------
    InputError
        When the text is something else.
    """
    try:
        points = [tuple(float(n) for n in part.split(",")) for part in text.split(";")]
        return [(y, x) for y, x in points]
    except ValueError:
        raise InputError(
            f"{what} must be like 10, 12; 30, 40 (y, x in pixels), got {text!r}"
        ) from None
