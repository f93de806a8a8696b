"""Small pictures of maps, each a button that shows its map large."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import param
from bokeh.palettes import Cividis256
from panel.custom import JSComponent
from PIL import Image

from siftem.app.map_images import MapImage, limits_of
from siftem.figures.page import image_aspect

#: Pictures have at most about this many pixels on a side.
_MOST = 160
_COLOURS = [int(c[i : i + 2], 16) for c in Cividis256 for i in (1, 3, 5)]


class Thumbnails(JSComponent):
    """A row of small maps that breaks into further rows.

    Parameters
    ----------
    chosen : callable
        Called with the name of the map that was clicked.
    """

    items = param.List(default=[], doc="Name, picture (data URL), width and height of each map.")
    current = param.String(default="", doc="The map that is shown large.")

    _esm = """
    export function render({ model, el }) {
      const style = document.createElement("style")
      style.textContent = `
        .all { display: flex; flex-wrap: wrap; gap: 6px; padding: 2px 8px; }
        button { display: flex; flex-direction: column; align-items: flex-start; gap: 2px;
          padding: 3px; border: 2px solid transparent; border-radius: 4px; cursor: pointer;
          background: none; font: 12px "Segoe UI", "Helvetica Neue", Arial, sans-serif;
          color: var(--siftem-ink, #1d1d1f); }
        button:hover { background: var(--siftem-stripe, #f0f1f4); }
        button[aria-pressed=true] { border-color: #0072B2; }
        button:focus-visible { outline: 3px solid #E69F00; }
        img { display: block; image-rendering: pixelated; }`
      const all = document.createElement("div")
      all.className = "all"
      el.append(style, all)
      const draw = () => {
        all.replaceChildren(...model.items.map(([name, picture, width, height]) => {
          const button = document.createElement("button")
          const image = new Image(width, height)
          image.src = picture
          image.alt = ""
          const text = document.createElement("span")
          text.textContent = name
          button.append(image, text)
          button.addEventListener("click", () => model.send_msg(name))
          return button
        }))
        press()
      }
      const press = () => [...all.children].forEach((button, i) =>
        button.setAttribute("aria-pressed", String(model.items[i][0] === model.current)))
      model.on("items", draw)
      model.on("current", press)
      draw()
    }
    """

    def __init__(self, chosen: Callable[[str], None], **options: Any) -> None:
        super().__init__(**options)
        self._chosen = chosen

    def show(
        self,
        images: Sequence[MapImage],
        pixel_size: tuple[float, float] | None,
        *,
        height: int,
    ) -> None:
        """Show images as high as this on the screen."""
        found = []
        for image in images:
            pixels = np.asarray(image.pixels())
            aspect = image_aspect((pixels.shape[0], pixels.shape[1]), pixel_size)
            tall = round(min(height, 2 * height * aspect))
            wide = max(12, round(tall / aspect))
            found.append((image.name, picture(image), wide, tall))
        self.items = found

    def _handle_msg(self, message: Any) -> None:
        self._chosen(str(message))


def picture(image: MapImage) -> str:
    """Return an image as a small PNG in a data URL."""
    pixels = np.asarray(image.pixels())
    step = max(1, round(max(pixels.shape) / _MOST))
    low, high = limits_of(image)
    small = np.nan_to_num(pixels[::step, ::step])
    drawn = Image.fromarray(np.uint8(255 * np.clip((small - low) / (high - low), 0, 1)), mode="L")
    drawn.putpalette(_COLOURS)
    out = io.BytesIO()
    drawn.save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
