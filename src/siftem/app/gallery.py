"""Maps side by side: small ones that are zoomed together, and buttons that show one large."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import panel as pn
import param
from bokeh.events import Tap
from bokeh.models import ColumnDataSource, CustomJS
from bokeh.palettes import Cividis256
from panel.custom import JSComponent
from PIL import Image

from siftem.app.map_figure import MapFigure, MapRanges
from siftem.app.map_images import MapImage, limits_of
from siftem.figures.page import image_aspect

#: Small maps are sent with at most about this many pixels on a side.
_MOST_PIXELS = 300
#: Room about a small map, screen pixels: margins, title.
_BESIDE, _ABOVE = 14, 38
#: Maps are not drawn smaller than this, nor so large that one pixel is a tile.
_SMALLEST, _LARGEST = 80, 800


def thumbnail(
    image: MapImage,
    pixel_size: tuple[float, float] | None,
    *,
    box: tuple[int, int],
    bar: bool,
    dark: bool = False,
    ranges: MapRanges | None = None,
) -> MapFigure:
    """Draw one map; of a large one only every n-th pixel is sent."""
    pixels = np.asarray(image.pixels())
    step = max(1, round(max(pixels.shape) / _MOST_PIXELS))
    small = MapFigure(
        pixels.shape, pixel_size, box=box, bar=bar, dark=dark, ranges=ranges, layers=False
    )
    small.show(pixels[::step, ::step], title=image.name, unit=image.unit, limits=limits_of(image))
    return small


class Gallery:
    """Maps without colour bars, as large as they fit, their ranges in the titles.

    Parameters
    ----------
    images : sequence of MapImage
    pixel_size : tuple of float or None
    room : tuple of int
        Width and height on the screen.
    dark : bool
    ranges : tuple of Range1d, optional
        What is seen of each map.
    chosen : callable, optional
        Called with the name of the map that was clicked.
    """

    def __init__(
        self,
        images: Sequence[MapImage],
        pixel_size: tuple[float, float] | None,
        *,
        room: tuple[int, int],
        dark: bool = False,
        ranges: MapRanges | None = None,
        chosen: Callable[[str], None] | None = None,
    ) -> None:
        shape = np.asarray(images[0].pixels()).shape if images else (1, 1)
        self._aspect = image_aspect((shape[0], shape[1]), pixel_size)
        self.maps: list[MapFigure] = []
        box, columns = self._tile(len(images), room)
        for image in images:
            ranges = ranges or (self.maps[0].ranges if self.maps else None)
            one = thumbnail(image, pixel_size, box=box, bar=False, dark=dark, ranges=ranges)
            if chosen is not None:
                tapped = ColumnDataSource({"n": [0]})  # outlives the figure's own callbacks
                tapped.on_change("data", lambda _a, _o, _n, name=image.name: chosen(name))
                count = CustomJS(args={"of": tapped}, code="of.data = {n: [of.data.n[0] + 1]}")
                one.figure.js_on_event(Tap, count)
                one.tapped = tapped
            self.maps.append(one)
        self.grid = pn.GridBox(
            *(pn.pane.Bokeh(one.figure, margin=(2, 4)) for one in self.maps), ncols=columns
        )

    def resize(self, room: tuple[int, int], dark: bool) -> None:
        """Give the same maps another size and other colours."""
        box, self.grid.ncols = self._tile(len(self.maps), room)
        for one in self.maps:
            one.resize(box, dark)

    def _tile(self, n: int, room: tuple[int, int]) -> tuple[tuple[int, int], int]:
        width, columns = tile(n, self._aspect, room)
        return (width, round(width * self._aspect) + _ABOVE), columns


def tile(
    n: int, aspect: float, room: tuple[int, int], *, largest: int = _LARGEST
) -> tuple[int, int]:
    """Return the width of n equal maps in a room, and the columns; aspect is height over width.

    Each has so many pixels beside and above it; where they would be smaller than the smallest, they
    fill the width and are scrolled.
    """
    best, columns = 0, 1
    for across in range(1, max(n, 1) + 1):
        down = -(-max(n, 1) // across)
        wide = room[0] // across - _BESIDE
        high = (room[1] // down - _ABOVE) / aspect
        if min(wide, high) > best:
            best, columns = int(min(wide, high)), across
    if best < _SMALLEST:
        columns = max(1, room[0] // (_SMALLEST + _BESIDE))
        best = room[0] // columns - _BESIDE
    return min(best, largest), columns


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
