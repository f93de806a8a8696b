"""Masks and pure spectra of the phases, as the second figure of the protocol shows them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import uniform_filter1d

from siftem.figures.legend import Entry
from siftem.figures.page import ImageGrid, image_grid
from siftem.figures.phase_map import Labels
from siftem.figures.spectra import Curve, Strip
from siftem.figures.style import BEHIND_COLOUR
from siftem.segment.regions import Regions
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage

#: Channels over which spectra at the other end of what is possible are averaged.
_END_SMOOTHING = 5


def mask_plans(
    regions: Regions, si: SpectrumImage, phases: Labels | None, width: float
) -> list[tuple[ImageGrid, list[tuple[str, str, np.ndarray]]]]:
    """Grids of titles, phases and masks, side by side where they fit into one row."""
    if phases is not None:
        own = [(n, n, phases.labels == i) for i, n in enumerate(phases.names)]
        return [(image_grid(len(own), si.shape, si.pixel_size, max_height=50.0, width=width), own)]
    names = regions.names
    masks = [(name, name, regions.mask(name).mask) for name in names]
    mixtures = [(f"{n} + {regions.matrix}", n, regions.mixture(n).mask) for n in names]
    if not names:
        return []
    if len(names) <= 2:
        content = masks + mixtures
        return [(image_grid(len(content), si.shape, si.pixel_size, width=width), content)]
    grid = image_grid(len(names), si.shape, si.pixel_size, max_height=50.0, width=width)
    return [(grid, masks), (grid, mixtures)]


def pure_strips(
    matrix: Spectrum,
    grains: Mapping[str, Spectrum],
    hosts: Mapping[str, Spectrum],
    ends: Mapping[str, Spectrum],
    matrix_colour: str,
    colours: Mapping[str, str],
    *,
    smooth: bool,
) -> list[Strip]:
    """Return a panel for each pure spectrum, with what was taken off behind it."""
    strips = []
    for grain, spectrum in grains.items():
        curves = [Curve(spectrum.values, colours[grain], grain, spectrum.standard_deviation)]
        if grain in ends:
            values = ends[grain].values
            if smooth:  # dashes on noise are a cloud
                values = uniform_filter1d(values, _END_SMOOTHING)
            curves.append(Curve(values, colours[grain], bold=False, dashed=True))
        if grain in hosts:
            total, reference = spectrum.values.sum(), hosts[grain].values.sum()
            factor = max(total, 0.0) / reference if reference > 0 else 0.0
            curves.append(Curve(hosts[grain].values * factor, BEHIND_COLOUR, bold=False))
        strips.append(Strip(tuple(curves)))
    if not strips:
        own = Curve(matrix.values, matrix_colour, matrix.name, matrix.standard_deviation)
        strips.append(Strip((own,)))
    return strips


def pure_entries(hosts: Mapping[str, Spectrum], open_ends: bool) -> list[Entry]:
    """Return what the lines of the pure spectra stand for."""
    entries = [Entry("value ± 1σ", "black", "band")]
    if open_ends:
        entries.append(Entry("with as much taken off as may be", "black", "dashed"))
    names = {host.name for host in hosts.values()}
    if names:
        what = next(iter(names)) if len(names) == 1 else "what it lies in or on"
        entries.append(Entry(f"{what}, scaled to the same counts", BEHIND_COLOUR))
    return entries


def strip_height_of(strips: int) -> float:
    """Taller strips when there are few, so that the page stays a page."""
    return float(np.clip(72.0 / max(strips, 1), 13.0, 28.0))
