"""Which classes of pixels surround which: a class that one other surrounds may lie in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import (
    binary_dilation,
    binary_fill_holes,
    binary_opening,
    distance_transform_edt,
    label,
    sum_labels,
)

#: A host surrounds a class where it has this part of its border; at first sight, this.
_SURROUNDS, _MOSTLY = 0.75, 0.55
#: A class that is at least three pixels wide in this part of its pixels has no thin parts itself.
_THICK = 0.6
#: Threads that hold more of their own class than this are no borders of two others.
_ITS_OWN = 0.4
#: Patches of fewer pixels say nothing of how a class lies.
_SPECK = 8
_EIGHT = np.ones((3, 3), bool)


def hosts_of(labels: np.ndarray, k: int) -> list[tuple[int, ...]]:
    """Return for each class the classes that it is embedded in, the nearest first.

    Parameters
    ----------
    labels : ndarray of int, shape (ny, nx)
        Class of each pixel, 0 ... k - 1.
    k : int
    """
    first = [_surroundings(labels, c, k, _MOSTLY) for c in range(k)]
    # What lies in the same host is no neighbour of its own.
    around = [_surroundings(labels, c, k, _SURROUNDS, first) for c in range(k)]
    out = []
    for c in range(k):
        chain: list[int] = []
        host = around[c]
        while host is not None and host != c and host not in chain:
            chain.append(host)
            host = around[host]
        out.append(tuple(chain))
    return out


def _surroundings(
    labels: np.ndarray, c: int, k: int, least: float, known: Sequence[int | None] = ()
) -> int | None:
    """The class that surrounds the patches of a class; None where there is no single one.

    Holes of the patches count as theirs: a shell is surrounded by what lies outside of it.
    """
    patches, _ = label(labels == c, structure=_EIGHT)
    sizes = np.bincount(patches.ravel())
    large = (
        np.flatnonzero(sizes >= _SPECK)[1:]
        if sizes[0] >= _SPECK
        else np.flatnonzero(sizes >= _SPECK)
    )
    large = large[large > 0]
    if not large.size:
        return None
    spanning = sum(sizes[i] for i in large if _spans(patches == i))
    if spanning > 0.5 * sizes[large].sum():
        return None
    filled = binary_fill_holes(np.isin(patches, large))
    ring = binary_dilation(filled, _EIGHT) & ~filled
    if not ring.any():
        return None
    found = np.bincount(labels[ring], minlength=k)
    host = int(found.argmax())
    for other, its in enumerate(known):
        if its == host and other != c:
            found[other] = 0
    return host if host != c and found[host] >= least * found.sum() else None


def _spans(patch: np.ndarray) -> bool:
    """Whether a patch reaches from one edge of the map to the opposite one."""
    return bool((patch[0].any() and patch[-1].any()) or (patch[:, 0].any() and patch[:, -1].any()))


def thin_parts(labels: np.ndarray, weights: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Threads and specks of classes that are thick elsewhere: blurred borders of two others.

    Parameters
    ----------
    labels : ndarray of int, shape (ny, nx)
        Class of each pixel.
    weights : ndarray of shape (k, ny, nx)
        Counts of each pixel that are of each class, without bias; see
        `siftem.decomposition.purest`. A thread that holds mostly its own class is a
        thin shell or seam, and no border of others.
    total : ndarray of shape (ny, nx)
        Counts of each pixel.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
    """
    out = np.zeros(labels.shape, bool)
    for c, held in enumerate(weights):
        own = labels == c
        thick = binary_opening(np.pad(own, 1, mode="edge"), _EIGHT)[1:-1, 1:-1] & own
        if thick.sum() > _THICK * own.sum():
            patches, n = label(own & ~thick, structure=_EIGHT)
            which = np.arange(1, n + 1)
            counts = np.maximum(sum_labels(total, patches, which), 1e-9)
            share = sum_labels(held, patches, which) / counts
            off = (held - np.append(0.0, share)[patches] * total) ** 2
            sigma = np.sqrt(sum_labels(off, patches, which)) / counts
            speck = np.bincount(patches.ravel(), minlength=n + 1)[1:] < _SPECK
            out |= np.append(False, speck | (share - sigma < _ITS_OWN))[patches]
    return out


def without(labels: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """Give some pixels to the class of the nearest other one."""
    if not gone.any() or gone.all():
        return labels
    nearest = distance_transform_edt(gone, return_distances=False, return_indices=True)
    return np.asarray(labels[tuple(nearest)])
