"""What is seen of the map of the step Segment: which image, what lies over it, in which colours."""

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
    """The fields above the map."""

    def __init__(self) -> None:
        self.background = pn.widgets.Select(
            name="Map", options=["Total counts"], width=170, stylesheets=[CONTROL_CSS]
        )
        self.overlay = pn.widgets.Select(
            name="Overlay", options=_OVERLAYS, value="None", width=150, stylesheets=[CONTROL_CSS]
        )
        self.of_phase = pn.widgets.Select(
            name="Of phase", options=[], width=110, stylesheets=[CONTROL_CSS]
        )
        self.opacity = pn.widgets.FloatSlider(
            name="Opacity",
            start=0.1,
            end=1.0,
            step=0.05,
            value=0.6,
            width=130,
            stylesheets=[CONTROL_CSS],
        )
        self.contrast = pn.widgets.RangeSlider(
            name="Contrast, %",
            start=0,
            end=100,
            value=(0, 100),
            width=130,
            stylesheets=[CONTROL_CSS],
        )
        self.traces = pn.widgets.Checkbox(
            name="Traces", value=True, stylesheets=[CONTROL_CSS], margin=(22, 8, 0, 8)
        )
        self._all: tuple[Any, ...] = (
            self.background,
            self.overlay,
            self.of_phase,
            self.opacity,
            self.contrast,
            self.traces,
        )
        self.row = pn.Row(*self._all)

    def watch(self, changed: Callable[[], None]) -> None:
        """Call when any of the fields changes."""
        for widget in self._all:
            widget.param.watch(lambda _event: changed(), "value")
