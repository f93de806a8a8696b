"""Mode and spread of samples of which an unknown part follows another law."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: The mode of a sample is the mean of the last this many values.
_LAST_VALUES = 50
#: Fewer values than this below zero say nothing of the noise.
_FEWEST_BELOW = 10
#: Standard deviation over the median of a half-normal law.
_NORMAL = 1.4826
#: A smooth image is looked at in about this many pixels at the most: more of them, all alike,
#: would take memory and tell no more.
_ENOUGH_PIXELS = 2**19


def grid_step(shape: tuple[int, ...]) -> int:
    """Return the distance in pixels at which a smooth image is looked at; 1 up to 724 x 724.

    Parameters
    ----------
    shape : tuple of int
        (ny, nx).

    Returns
    -------
    int
    """
    return max(1, int(np.ceil(np.sqrt(shape[0] * shape[1] / _ENOUGH_PIXELS))))


def half_sample_mode(values: np.ndarray) -> float:
    """Return the mode of a sample: keep the densest half again and again.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Not empty.

    Returns
    -------
    float
        Mean of the fifty values (or fewer) that are left.

    References
    ----------
    T. Robertson, J. D. Cryer, J. Am. Stat. Assoc. 69 (1974) 1012.
    """
    x = np.sort(values)
    while x.size > _LAST_VALUES:
        half = x.size // 2
        start = int((x[half:] - x[: x.size - half]).argmin())
        x = x[start : start + half]
    return float(x.mean())


def lower_spread(values: np.ndarray) -> float:
    """Return the standard deviation of noise around zero, from the values below it alone.

    What lies above zero may be signal; below it there is only noise, whose median size is
    0.6745 standard deviations.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Noise around zero, and signal of unknown share above it; not empty.

    Returns
    -------
    float
        At least 1e-9. With fewer than ten values below zero (clipped there by a
        factorisation) twice the lower quartile of the absolute values.
    """
    low = -values[values < 0]
    if low.size < _FEWEST_BELOW:
        # The lowest quarter is a quarter to a half of a half-normal's probability.
        return float(max(np.quantile(np.abs(values), 0.25) / 0.5, 1e-9))
    return float(max(_NORMAL * np.median(low), 1e-9))


def most_common_ratio(
    shares: np.ndarray, free: Sequence[int], *, fewest: int
) -> tuple[np.ndarray, float]:
    """Return the most common mixing ratio among pixels, and the part of them that share it.

    Starts from the mode of each component's share and moves to the mean of the pixels
    within two standard deviations (`lower_spread`) of it in all free components, until it
    stands still.

    Parameters
    ----------
    shares : ndarray of shape (k, n)
        Share of each component in each pixel.
    free : sequence of int
        Components by which pixels are compared: all but the matrix.
    fewest : int
        The search ends when fewer pixels than this are near.

    Returns
    -------
    ratio : ndarray of shape (k,)
        Not normalised.
    common : float
        Part of the pixels that are near, 0 to 1; 0 when they became fewer than ``fewest``.
    """
    point = np.array([half_sample_mode(row) for row in shares])
    near = np.zeros(shares.shape[1], bool)
    for _ in range(30):
        near = np.ones(shares.shape[1], bool)
        for c in free:
            near &= np.abs(shares[c] - point[c]) <= 2 * lower_spread(shares[c] - point[c])
        if near.sum() < fewest:
            return point, 0.0
        new = shares[:, near].mean(axis=1)
        if np.abs(new - point).max() < 1e-6:
            break
        point = new
    return point, float(near.mean())
