"""Whether all pixels of a map show one spectrum, from sums of squares of pixels.

A factorisation sees what single pixels tell. Sums of many pixels tell more: where these differ by
more than counting noise does, one spectrum for all of them is a mean.
"""

from __future__ import annotations

import numpy as np

from siftem.spectrum_image import SpectrumImage

#: Windows of the spectrum and, at most, squares on each side of the map.
_WINDOWS, _SQUARES = 40, 10
#: Counts that each window of a square is to hold on average, for its deviance to be chi-squared.
_ENOUGH = 5.0
#: Standard deviations of chi-squared beyond which squares differ.
_CLEAR = 5.0


def unevenness(si: SpectrumImage) -> float:
    """Measure by how much spectra of different places differ beyond counting noise.

    Pearson's chi-squared of squares against windows of about equal counts.

    Parameters
    ----------
    si : SpectrumImage
        Counts.

    Returns
    -------
    float
        Root mean square of the relative differences; 0 where noise explains them.
    """
    whole = np.maximum(si.sum_spectrum(), 0.0)
    side = min(_SQUARES, int(np.sqrt(whole.sum() / (_ENOUGH * _WINDOWS))))
    if side < 2:
        return 0.0
    window = np.minimum((_WINDOWS * np.cumsum(whole) / whole.sum()).astype(int), _WINDOWS - 1)
    ny, nx = si.shape[:2]
    y, x = np.divmod(np.arange(si.n_pixels), nx)
    square = y * side // ny * side + x * side // nx
    sums = np.array(
        [
            np.bincount(window, si.sum_spectrum(np.flatnonzero(square == s)), _WINDOWS)
            for s in np.unique(square)
        ]
    )
    # Squares over vacuum hold too little, and windows that a strong line skipped hold nothing.
    sums = sums[sums.sum(axis=1) >= _ENOUGH * _WINDOWS]
    sums = sums[:, sums.sum(axis=0) > 0]
    if len(sums) < 2:
        return 0.0
    total = sums.sum()
    expected = np.outer(sums.sum(axis=1), sums.sum(axis=0)) / total
    free = (sums.shape[0] - 1) * (sums.shape[1] - 1)
    excess = float(((sums - expected) ** 2 / expected).sum()) - free
    return float(np.sqrt(excess / total)) if excess > _CLEAR * np.sqrt(2.0 * free) else 0.0
