"""What painted traces say against themselves, and where nothing like them was painted.

A forest that was trained on wrong traces repeats them faithfully: that it classifies its own traces
rightly says nothing of whether they are on the phase that they name. The components do. And where
no class has a stroke, whatever it says is a guess.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import (
    binary_dilation,
    distance_transform_edt,
    gaussian_filter,
    label,
    maximum,
)
from scipy.special import chdtri

#: Smoothing of the components in pixels.
_SIGMA = 1.5
#: Painted pixels hold at least this part of what the brightest pixels of their component hold.
_HARDLY = 0.1
#: Another phase's painted pixels hold more of a component by this part of its range.
_MORE = 0.1
#: Fewer painted pixels say nothing.
_FEWEST = 3
#: Pixels of a class are within this probability of it, as Gaussians go.
_WITHIN = 0.9999
#: The covariance of all classes counts as much as this many painted pixels of a class.
_POOLED = 20.0
#: Borders of two classes that the smoothing blurs are no deeper than this, pixels.
_BORDER = 5.5
#: Smaller patches that are unlike the traces are no place to paint.
_SMALLEST_PATCH = 12


def component_shares(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the smoothed share of each component, and the smoothed counts.

    Parameters
    ----------
    maps : ndarray of shape (k, ny, nx)
        Counts of each component.

    Returns
    -------
    shares : ndarray of shape (k, ny, nx)
    level : ndarray of shape (ny, nx)
    """
    smooth = np.array([gaussian_filter(m.astype(np.float64), _SIGMA) for m in maps])
    level = smooth.sum(axis=0)
    return smooth / np.maximum(level, 1e-12), level


def contradictions(
    shares: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray]
) -> tuple[str, ...]:
    """Say which traces lie where the component that they name is not.

    Parameters
    ----------
    shares : mapping of str to ndarray of shape (ny, nx)
        Of each phase's component, see `component_shares`.
    masks : mapping of str to ndarray of shape (ny, nx), bool
        Painted pixels. Those of several phases say nothing.

    Returns
    -------
    tuple of str
        A sentence for each phase whose traces contradict its component.
    """
    painted = np.sum([m.astype(int) for m in masks.values()], axis=0) if masks else 0
    alone = {n: m & (painted == 1) for n, m in masks.items()}
    alone = {n: m for n, m in alone.items() if n in shares and m.sum() >= _FEWEST}
    said = []
    for name in alone:
        low, high = np.quantile(shares[name], [0.001, 0.999])
        if not high > low:
            continue
        part = {n: float((shares[name][m].mean() - low) / (high - low)) for n, m in alone.items()}
        own = part.pop(name)
        rival = max(part, key=lambda n: part[n]) if part else None
        if own < _HARDLY:
            said.append(
                f"the pixels painted as {name} hold hardly any of its component "
                f"({100 * max(own, 0.0):.0f}% of what its brightest pixels hold): is it painted on "
                f"another phase, or are names exchanged"
            )
        elif rival is not None and part[rival] > own + _MORE:
            said.append(
                f"the pixels painted as {rival} hold more of the component {name} than those "
                f"painted as {name}: are names exchanged"
            )
    return tuple(said)


def unlike_painted(
    shares: np.ndarray, level: np.ndarray, masks: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Find the pixels that are like no painted one, in patches large enough to paint on.

    Each class, that of pixels painted as several phases too, is a Gaussian in the shares and the
    counts; its covariance is mixed with that of all classes, so that few strokes do for a start.

    Parameters
    ----------
    shares : ndarray of shape (k, ny, nx)
    level : ndarray of shape (ny, nx)
    masks : mapping of str to ndarray of shape (ny, nx), bool

    Returns
    -------
    ndarray of shape (ny, nx), bool
        Nothing when nothing is painted.
    """
    code = np.zeros(level.shape, np.int64)
    for i, mask in enumerate(masks.values()):
        code |= mask.astype(np.int64) << i
    kinds = [c for c in np.unique(code) if c and (code == c).sum() >= _FEWEST]
    if not kinds:
        return np.zeros(level.shape, bool)
    # The shares add up to one: the last tells nothing new.
    images = np.concatenate([shares[:-1], level[None]]).reshape(len(shares), -1).T
    rows = {c: images[(code == c).ravel()] for c in kinds}
    total = sum(len(r) for r in rows.values())
    pooled = sum((r - r.mean(axis=0)).T @ (r - r.mean(axis=0)) for r in rows.values()) / total
    floor = np.diag(1e-4 * images.var(axis=0) + 1e-12)
    nearest, which = np.full(len(images), np.inf), np.zeros(len(images), np.int64)
    for i, pixels in enumerate(rows.values()):
        away = pixels - pixels.mean(axis=0)
        own = (away.T @ away + _POOLED * pooled) / (len(pixels) + _POOLED) + floor
        off = images - pixels.mean(axis=0)
        distance = np.einsum("ij,ji->i", off, np.linalg.solve(own, off.T))
        which[distance < nearest] = i
        nearest = np.minimum(nearest, distance)
    far = (nearest > chdtri(images.shape[1], 1 - _WITHIN)).reshape(level.shape)
    like = np.where(far, -1, which.reshape(level.shape))
    patches, number = label(far)
    every = np.arange(number + 1)
    beside = np.zeros(number + 1, np.int64)
    for i in range(len(rows)):
        grown = binary_dilation(like == i, iterations=2)
        beside += np.bincount(patches[grown], minlength=number + 1) > 0
    deep = np.asarray(maximum(distance_transform_edt(far), patches, every))
    # The blurred border of two classes is like neither, but nothing to paint.
    shown = (np.bincount(patches.ravel()) >= _SMALLEST_PATCH) & ((deep > _BORDER) | (beside < 2))
    shown[0] = False
    found: np.ndarray = shown[patches]
    return found


def place_to_paint(unlike: np.ndarray) -> tuple[int, int] | None:
    """Return (y, x) deep inside the largest patch of such pixels; None without one."""
    patches, number = label(unlike)
    if not number:
        return None
    sizes = np.bincount(patches.ravel())
    sizes[0] = 0
    own = (patches == sizes.argmax()).astype(np.float64)
    depth = gaussian_filter(own, 2.0) * own
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(y), int(x)
