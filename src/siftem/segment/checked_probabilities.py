"""Probabilities of classes, checked before they are cut."""

from __future__ import annotations

import numpy as np

from siftem.errors import InputError
from siftem.large.disk_images import strips


def checked_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Return them as an array of floats from 0 to 1, (classes, ny, nx), or refuse them."""
    p = np.asarray(probabilities)
    if p.ndim != 3 or p.shape[0] < 2 or p.size == 0:
        raise InputError(
            f"probabilities must have shape (classes, ny, nx) with two classes or more, "
            f"got {p.shape}"
        )
    if p.dtype.kind != "f":
        raise InputError(f"probabilities must be floats from 0 to 1, got dtype {p.dtype}")
    for strip in strips(p.shape[1:], of=(p,)):
        seen = p[:, strip.lines]
        if not np.isfinite(seen).all():
            raise InputError("probabilities hold NaN or infinity: replace those pixels")
        if seen.min() < 0 or seen.max() > 1 + 1e-6:
            raise InputError(
                f"probabilities must lie between 0 and 1, got {p.min():g} to {p.max():g}: "
                "divide an 8-bit map by 256"
            )
        if not seen.any(axis=0).all():
            raise InputError("some pixels have probability zero for every class: give one a chance")
    return p
