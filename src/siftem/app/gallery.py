"""Small maps side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import panel as pn

from siftem.app.map_figure import MapFigure
from siftem.app.map_images import MapImage

#: Small maps are sent with at most about this many pixels on a side.
_MOST_PIXELS = 300


def thumbnail(
    image: MapImage, pixel_size: tuple[float, float] | None, *, box: tuple[int, int], bar: bool
) -> MapFigure:
    """Draw one map; of a large one only every n-th pixel is sent."""
    pixels = np.asarray(image.pixels())
    step = max(1, round(max(pixels.shape) / _MOST_PIXELS))
    pixels = pixels[::step, ::step]
    size = None if pixel_size is None else (pixel_size[0] * step, pixel_size[1] * step)
    small = MapFigure(pixels.shape, size, box=box, bar=bar)
    small.show(pixels, title=image.name, unit=image.unit)
    return small


def gallery(
    images: Sequence[MapImage], pixel_size: tuple[float, float] | None, *, box: tuple[int, int]
) -> list[pn.pane.Bokeh]:
    """Draw maps without colour bars, their ranges in the titles."""
    return [
        pn.pane.Bokeh(thumbnail(image, pixel_size, box=box, bar=False).figure, margin=(2, 4))
        for image in images
    ]
