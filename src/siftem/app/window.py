"""The browser's window: its size, and whether the page is light or dark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import param
from panel.custom import JSComponent

from siftem.app.style import THEME_CSS


class Window(JSComponent):
    """Tells the size of the window when it is there and when it changes, and sets its colours.

    Parameters
    ----------
    told : callable
        Called with width and height in CSS pixels, and whether the system prefers a dark page.
    """

    dark = param.Boolean(default=False, doc="Whether the page is dark.")
    css = param.String(default=THEME_CSS, doc="Colours of both themes, by custom properties.")

    _esm = """
    export function render({ model }) {
      const style = document.createElement("style")
      style.textContent = model.css
      document.head.append(style)
      const prefers = window.matchMedia("(prefers-color-scheme: dark)")
      const tell = () => model.send_msg({
        width: window.innerWidth, height: window.innerHeight, dark: prefers.matches })
      let waiting
      const later = () => { clearTimeout(waiting); waiting = setTimeout(tell, 250) }
      const paint = () => document.documentElement.classList.toggle("siftem-dark", model.dark)
      window.addEventListener("resize", later)
      model.on("dark", paint)
      paint()
      tell()
      model.on("remove", () => {
        window.removeEventListener("resize", later)
        style.remove()
      })
    }
    """

    def __init__(self, told: Callable[[int, int, bool], None], **options: Any) -> None:
        super().__init__(**{"width": 0, "height": 0, "margin": 0, **options})
        self._told = told

    def _handle_msg(self, message: Any) -> None:
        self._told(int(message["width"]), int(message["height"]), bool(message["dark"]))
