"""Errors of what is left of a mixture, whose scales come from the same counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from siftem.spectrum import Spectrum
from siftem.unmixing.conditions import Scales


def scale_covariance(
    found: Scales, mixture: Spectrum, contaminants: Sequence[Spectrum], window: slice
) -> np.ndarray:
    """Covariance of the factors by the noise of all counts and by what was assumed; (n, n).

    Parameters
    ----------
    found : Scales
    mixture : Spectrum
    contaminants : sequence of Spectrum
        The n spectra.
    window : slice
        Channels of the fits.
    """
    if not found.slopes:
        return found.covariance
    total = found.assumed.copy()
    for slopes, s in zip(found.slopes, (mixture, *contaminants), strict=True):
        total += (slopes * s.variance[window]) @ slopes.T
        for part, sign in ((s.modes, 1.0), (s.pinned, -1.0)):
            common = slopes @ part[:, window].T
            total += sign * common @ common.T
    return np.asarray((total + total.T) / 2)


def common_modes(
    found: Scales,
    covariance: np.ndarray,
    mixture: Spectrum,
    contaminants: Sequence[Spectrum],
    window: slice,
) -> tuple[np.ndarray, np.ndarray]:
    """Modes that the factors add to what is left of the mixture, and those they pin.

    What is left moves by ``dS = dM - sum_j a_j dT_j - T' da``. With the independent noise
    ``v`` of the first terms, C the covariance of the factors and U theirs with that noise,

        Cov S = diag(v) + T'CT - T'U - U'T = diag(v) + A'A - B'B,
        A = R T - B,  B = R^-T U,  C = R'R.

    Parameters
    ----------
    found : Scales
    covariance : ndarray of shape (n, n)
        C.
    mixture : Spectrum
    contaminants : sequence of Spectrum
        The n spectra.
    window : slice
        Channels of the fits.

    Returns
    -------
    modes, pinned : ndarray of shape (n, channels)
        A and B.
    """
    shapes = np.array([c.values for c in contaminants])
    shared = np.zeros_like(shapes)
    factors = [1.0, *(-found.values)]
    if found.slopes:
        for slopes, factor, s in zip(found.slopes, factors, (mixture, *contaminants), strict=True):
            shared[:, window] += factor * slopes * s.variance[window]
            shared += factor * (slopes @ s.modes[:, window].T) @ s.modes
            shared -= factor * (slopes @ s.pinned[:, window].T) @ s.pinned
    root, inverse = _roots(covariance)
    pinned = inverse @ shared
    return root @ shapes - pinned, pinned


def _roots(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return R with ``R' R = covariance`` and its inverse transposed; (n, n) each.

    Along directions without variance both are zero.
    """
    scale = np.sqrt(np.clip(np.diag(covariance), 1e-300, None))
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    clear = values > 1e-10
    root = np.sqrt(np.where(clear, values, 0.0))
    inverse = np.where(clear, 1 / np.where(clear, root, 1.0), 0.0)
    return root[:, None] * vectors.T * scale, inverse[:, None] * vectors.T / scale
