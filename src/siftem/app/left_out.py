"""Why a pixel serves no spectrum, of pure matrix or of one grain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siftem.decomposition.layout import MIXED, VACUUM
from siftem.pipeline.layout import by_labels
from siftem.pipeline.results import FeatureImages, Matched
from siftem.segment.regions import Regions

#: Reasons that are the same for all maps; rims bear the names of their grains.
BORDER, INTERSECTION = "border of a mask", "several grains"
VACUUM_REASON, MIXED_REASON, EXCLUDED = "vacuum or a hole", "mixed: blurred border", "excluded"


def rim_of(grain: str) -> str:
    """Return the reason of pixels in which a grain shows, though they are not in its mask."""
    return f"faint rim of {grain}"


@dataclass(frozen=True, eq=False)
class LeftOut:
    """The reason of each pixel that serves no spectrum of pure matrix or of one grain.

    Parameters
    ----------
    reasons : tuple of str
    numbers : ndarray of int64, shape (ny, nx)
        Pixel of ``reasons[i]`` hold i, those in use -1.
    """

    reasons: tuple[str, ...]
    numbers: np.ndarray

    @property
    def pixels(self) -> dict[str, int]:
        """Pixels of each reason that occurs."""
        counts = {r: int((self.numbers == i).sum()) for i, r in enumerate(self.reasons)}
        return {reason: n for reason, n in counts.items() if n}


def left_out(regions: Regions, matched: Matched, features: FeatureImages | None) -> LeftOut:
    """Find for each pixel why it is left out; of several reasons the strongest counts.

    Parameters
    ----------
    regions : Regions
    matched : Matched
    features : FeatureImages or None
        With vacuum and rims; without them those pixels are "excluded".

    Returns
    -------
    LeftOut
        Vacuum goes before overlaps, those before rims and mixed pixels, and borders come last.
    """
    shape, layout = regions.shape, matched.layout
    used = regions.pure.mask.copy()
    for name in regions.names:
        used |= regions.mixture(name).mask
    excluded = np.asarray(regions.excluded)
    vacuum = np.zeros(shape, bool)
    found: list[tuple[str, np.ndarray]] = []
    labelled = layout is not None and by_labels(layout)
    if layout is not None:
        vacuum |= layout.labels == VACUUM
    if features is not None:
        vacuum |= np.asarray(features.shares.vacuum)
    found.append((VACUUM_REASON, vacuum))
    found.append((INTERSECTION, regions.intersection.mask))
    if labelled:
        assert layout is not None
        found.append((MIXED_REASON, excluded & (layout.labels == MIXED)))
        found.append((BORDER, excluded))
    elif features is not None:
        for g, grain in enumerate(matched.grains):
            own = regions.masks.get(grain, np.zeros(shape, bool))
            touched = np.asarray(features.shares.touched[g])
            found.append((rim_of(grain), excluded & touched & ~own))
    found.append((EXCLUDED, excluded))
    found.append((BORDER, np.ones(shape, bool)))
    reasons = tuple(dict.fromkeys(reason for reason, _ in found))
    numbers = np.full(shape, -1)
    for reason, mask in reversed(found):
        numbers[mask] = reasons.index(reason)
    numbers[used] = -1
    return LeftOut(reasons, numbers)


def region_words(regions: Regions, left: LeftOut | None) -> np.ndarray:
    """Say of each pixel whose spectrum it serves, or why none; text (ny, nx)."""
    words = np.full(regions.shape, "in no spectrum", object)
    if left is not None:
        for i, reason in enumerate(left.reasons):
            words[left.numbers == i] = f"left out: {reason}"
    words[regions.pure.mask] = f"pure {regions.matrix}"
    for name in regions.names:
        words[regions.mixture(name).mask] = f"region of {name}"
    words[regions.intersection.mask] = INTERSECTION
    return words
