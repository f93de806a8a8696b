"""Phases beyond those that spectra differ by: places that are alike, one like a mixture of others.

Spectra of k phases differ in k - 1 ways only if none is a mixture of others. The layers of a
diffusion couple or of an oxide scale lie on one line: two spectra would make up all of them, and
one class of pixels would take two layers for one phase. What tells them from a gradient, or from
grains of all thicknesses, is that spectra inside each of them are alike.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import nnls

from siftem.decomposition.evenness import distance_inside, scatter
from siftem.decomposition.initialise import pooled_squares
from siftem.decomposition.layout import MOST_PIXELS, PhaseLayout, find_layout
from siftem.decomposition.pixel_classes import pixel_classes, without_texture
from siftem.decomposition.purest import (
    FEWEST_PIXELS,
    class_spectra,
    purest_spectra,
    share_weights,
)
from siftem.spectrum_image import SpectrumImage

#: Spectra of a plateau scatter by no more than this part of the way to any other one: those of a
#: gradient that is cut in classes do by 0.29, one over the root of 12, and by half of that or less
#: where pixels at the borders of narrow classes are left out.
_ALIKE = 0.08
#: A plateau has this part of its pixels at the least away from its border.
_INSIDE = 0.35
#: A spectrum is a mixture of others when they leave no more than this part of the way to the next.
_MIXTURE = 0.3
#: More phases that are tried, the most first; one where grains of all thicknesses are as likely.
_MORE = 3


def count_plateaus(
    si: SpectrumImage, layout: PhaseLayout, *, random_state: int = 0
) -> tuple[int, bool]:
    """Count the phases of a map in which some class is not alike everywhere.

    Parameters
    ----------
    si : SpectrumImage
        X-ray counts.
    layout : PhaseLayout
        With as many phases as there are ways in which spectra differ, and one.
    random_state : int
        Seed of `siftem.decomposition.pixel_classes`.

    Returns
    -------
    phases : int
        As many as the layout has, where no more classes would all be plateaus.
    perhaps_more : bool
        More classes would be, but one may as well be grains that fill the film in part.
    """
    n = len(layout.phases)
    if all(lies.even for lies in layout.phases):
        return n, False
    si, perhaps = _pooled(si), False
    bulk = si.acquisition.bulk or si.signal_type == "EDS_SEM"
    embedded = _embedded(layout)
    for more in range(n + (1 if layout.overlapping else _MORE), n, -1):
        # All spectra are mixtures of n.
        classes = pixel_classes(si.counts, si.shape, more, n_phases=n, random_state=random_state)
        classes = without_texture(si.counts, si.shape, classes, bulk=bulk)
        finer = find_layout(si.counts, si.shape, classes, bulk=bulk)
        if len(finer.phases) != more or not _all_plateaus(si, finer):
            continue
        if _embedded(finer) <= embedded or not _may_overlap(si, finer):
            return more, False
        perhaps = True
    return n, perhaps


def _pooled(si: SpectrumImage) -> SpectrumImage:
    """Pool the neighbours of a large map, as its layout does."""
    side = int(np.ceil(np.sqrt(si.n_pixels / MOST_PIXELS)))
    if side == 1:
        return si
    ny, nx = si.shape
    small = (-(-ny // side), -(-nx // side))
    counts = pooled_squares(si.counts, si.shape, side)
    return replace(si, counts=counts, shape=small, survey=None, pixel_size=None)


def _embedded(layout: PhaseLayout) -> int:
    return sum(lies.role in ("embedded", "support") for lies in layout.phases)


def _may_overlap(si: SpectrumImage, layout: PhaseLayout) -> bool:
    """Whether what lies in a host is a mixture of others, as grains are that fill a film in part.

    A host that is a mixture of what lies in it is no such grain.
    """
    spectra = class_spectra(si.counts, layout.labels, len(layout.phases))
    total = si.total_map()
    for c, lies in enumerate(layout.phases):
        others = np.delete(spectra, c, axis=0)
        left = nnls(others.T, spectra[c])[1]
        apart = float(np.linalg.norm(others - spectra[c], axis=1).min())
        noise = 1.0 / np.sqrt(max(float(total[layout.labels == c].sum()), 1.0))
        if lies.hosts and left < _MIXTURE * apart + 2.0 * noise:
            return True
    return False


def _all_plateaus(si: SpectrumImage, layout: PhaseLayout) -> bool:
    labels, k = layout.labels, len(layout.phases)
    masks = [labels == c for c in range(k)]
    for own in masks:
        if own.sum() < FEWEST_PIXELS or (distance_inside(own) > 1.5)[own].mean() < _INSIDE:
            return False
    # Pixels of borders belong to no class.
    spectra = purest_spectra(si.counts, np.where(labels < 0, k, labels), k)
    total = si.total_map()
    for c in range(k):
        for other in range(k):
            if other == c:
                continue
            # Along the way to one other class: of all at once, those on a line tell nothing.
            pair = share_weights(si.counts, spectra[[c, other]]).reshape(2, *layout.labels.shape)
            variance, error = scatter(pair, total, masks[c], 0)
            if not variance[0] + 2 * error < _ALIKE**2:
                return False
    return True
