"""A button for each phase in its colour, of which one is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import panel as pn

from siftem.app.style import CONTROLS, phase_button_css


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
        self.grid = pn.GridBox(ncols=2)
        self._make, self._choose = make, choose
        self._shown: tuple[str, ...] = ()

    def show(self, colours: Mapping[str, str], chosen: str) -> None:
        """Show phases in their colours; buttons that are there only change theirs."""
        if self._shown != tuple(colours):
            self._shown = tuple(colours)
            self.grid[:] = [self._button(n, name) for n, name in enumerate(colours, start=1)]
        for button, (name, colour) in zip(self.grid, colours.items(), strict=True):
            button.stylesheets = [phase_button_css(colour, name == chosen)]

    def _button(self, number: int, name: str) -> Any:
        return self._make(
            f"{number}  {name}",
            lambda: self._choose(name),
            width=CONTROLS // 2 - 26,
            margin=(2, 4),
        )
