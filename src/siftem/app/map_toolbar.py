"""What lies over the map of the step Segment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn

from siftem.app.style import CONTROL_CSS

_OVERLAYS = [
    "None",
    "Regions",
    "Phase map",
    "Left out",
    "Mask",
    "Probability",
    "Uncertainty",
    "Unlike painted",
]
#: Overlays of one phase.
OF_PHASE = ("Mask", "Probability", "Uncertainty")


class MapToolbar:
    """The fields of overlays, above the map."""

    def __init__(self) -> None:
        self.overlay = pn.widgets.Select(
            name="Overlay",
            options=_OVERLAYS,
            value="None",
            width=112,
            stylesheets=[CONTROL_CSS],
            margin=(2, 5),
        )
        self.of_phase = pn.widgets.Select(
            name="Of phase", options=[], width=84, stylesheets=[CONTROL_CSS], margin=(2, 5)
        )
        self.opacity = pn.widgets.FloatSlider(
            name="Opacity",
            start=0.1,
            end=1.0,
            step=0.05,
            value=0.6,
            width=92,
            stylesheets=[CONTROL_CSS],
            margin=(2, 5),
        )
        self.traces = pn.widgets.Checkbox(
            name="Traces", value=True, stylesheets=[CONTROL_CSS], width=58, margin=(26, 4, 0, 4)
        )
        self._all: tuple[Any, ...] = (
            self.overlay,
            self.of_phase,
            self.opacity,
            self.traces,
        )

    @property
    def fields(self) -> tuple[Any, ...]:
        """All fields, from left to right."""
        return self._all

    def watch(self, changed: Callable[[], None]) -> None:
        """Call when any of the fields changes."""
        for widget in self._all:
            widget.param.watch(lambda _event: changed(), "value")
