"""How far a matrix beside a grain differs from what is subtracted: the matrix of all places."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

from siftem.fit.line_fit import LineFit
from siftem.spectrum import Spectrum

#: Standard deviations that counting alone does not make of a difference.
_CLEAR = 2.0


def half_beside(matrix: np.ndarray, grain: np.ndarray) -> np.ndarray:
    """Return the half of a matrix' pixels that lies nearer to a grain.

    Parameters
    ----------
    matrix, grain : ndarray of bool, shape (ny, nx)

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        Pixels of the matrix; none where all lie equally far, or there is no grain.
    """
    if not grain.any() or not matrix.any():
        return np.zeros_like(matrix)
    away = distance_transform_edt(~grain)
    near = matrix & (away <= np.median(away[matrix]))
    return near if near.sum() < matrix.sum() else np.zeros_like(matrix)


def spread_mode(near: Spectrum, fit: LineFit) -> np.ndarray:
    """Return the change of a matrix spectrum from the half that is far off to that beside a grain.

    Both halves are brought to the counts of all, and the change of each line family beyond two
    standard deviations of counting is taken, ``sign(d) sqrt(max(d^2 - 4 var d, 0))``. Where a
    composition changes steadily, the matrix in the grain's own pixels differs from
    the mean by as much as the halves do from each other.

    Parameters
    ----------
    near : Spectrum
        Of the half beside the grain.
    fit : LineFit
        Of all the matrix; its spectrum holds the counts of ``near``.

    Returns
    -------
    ndarray of shape (channels,)
        Counts in all the matrix, on the axis of ``near``: a common mode of its spectrum's errors.
        Zero where places do not differ clearly.
    """
    fitted = fit.spectrum.axis
    start = round((fitted.first - near.axis.first) / near.axis.scale)
    window = slice(start, start + fitted.size)
    own = near.counts[window]
    other = np.maximum(fit.spectrum.counts - own, 0.0)
    total = fit.spectrum.counts.sum()
    mode = np.zeros(near.axis.size)
    if not (own.any() and other.any()):
        return mode
    up, down = total / own.sum(), total / other.sum()
    families = fit.model.families
    rows = fit.operator[: len(families)]
    change = rows @ (up * own - down * other)
    variance = rows**2 @ (up**2 * own + down**2 * other)
    clear = np.sign(change) * np.sqrt(np.maximum(change**2 - _CLEAR**2 * variance, 0.0))
    # What comes from grids and the column is no part of the matrix.
    own_lines = [family.element not in fit.model.thick for family in families]
    clear = np.where(own_lines & (fit.amplitudes[: len(families)] > 0), clear, 0.0)
    mode[window] = fit.design[:, : len(families)] @ clear
    return mode
