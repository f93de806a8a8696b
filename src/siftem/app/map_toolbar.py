"""What lies over the map of the step Segment, and the buttons by which a phase is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import panel as pn

from siftem.app.style import CHOSEN, CONTROL_CSS, WIDE, phase_button_css

_OVERLAYS = [
    "None",
    "Regions",
    "Phase map",
    "Left out",
    "Mask",
    "Probability",
    "Uncertainty",
    "Paint next",
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
            width=116,
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
            width=76,
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


class PhaseButtons:
    """Buttons of phases, numbered as the keys that choose them.

    Parameters
    ----------
    make : callable
        Makes a button of a label, an action and options: see `siftem.app.step_view.View.button`.
    choose : callable
        Called with the name of the phase that was clicked.
    """

    def __init__(self, make: Callable[..., Any], choose: Callable[[str], None]) -> None:
        self.grid = pn.GridBox(
            ncols=2,
            sizing_mode="stretch_width",
            stylesheets=[":host { grid-template-columns: 1fr 1fr !important; }"],
        )
        self._make, self._choose = make, choose
        self._shown: dict[str, str] = {}

    def show(self, colours: Mapping[str, str], chosen: str) -> None:
        """Show phases in their colours."""
        if self._shown != dict(colours):
            self._shown = dict(colours)
            self.grid[:] = [self._button(n, name) for n, name in enumerate(colours, start=1)]
        for button, name in zip(self.grid, colours, strict=True):
            # Its own styles: for another class Bokeh lays the whole page out anew.
            button.styles = CHOSEN[name == chosen]

    def _button(self, number: int, name: str) -> Any:
        return self._make(
            f"{number}  {name}",
            lambda: self._choose(name),
            **WIDE,
            margin=(2, 4),
            stylesheets=[phase_button_css(self._shown[name])],
        )
