"""The bremsstrahlung of a thin film, as a few smooth terms."""

from __future__ import annotations

from math import comb

import numpy as np
from scipy.interpolate import BSpline

from siftem.errors import InputError
from siftem.xray.cross_sections import checked_beam_energy

# keV. Fixed, not taken from the axis, so that coefficients of cropped spectra compare.
_ENERGY_SCALE = 1.0
_EXPONENTS = np.array([0.0, -1.0, 1.0, 2.0, 3.0])


def continuum_terms(energy: np.ndarray, beam_energy: float, *, n_terms: int = 3) -> np.ndarray:
    """Return the emitted continuum as a sum of terms for non-negative coefficients.

    ``term_i = (E0 - E) / (E0 E) (E / 1 keV)^i`` with E in keV, and i = 0, -1, 1, 2, 3 in
    this order. The first is Kramers' law, which alone is too stiff: the continuum of a thin
    film falls faster, so the second is steeper. Emitted photons per keV up to a factor:
    multiply by the detector's efficiency, the absorption and the channel width.

    Parameters
    ----------
    energy : ndarray of shape (channels,)
        In keV.
    beam_energy : float
        E0 in keV.
    n_terms : int
        Number of terms, 1 to 5; 2 or 3 are enough from 0.2 to 20 keV.

    Returns
    -------
    ndarray of shape (n_terms, channels)
        float64, close to 1 at 1 keV; zero at E <= 0 and at E >= E0.

    References
    ----------
    Kramers 1923, Phil. Mag. 46, 836.
    """
    beam_energy = checked_beam_energy(beam_energy)
    if not 1 <= n_terms <= 5:
        raise InputError(f"n_terms of the continuum must be 1 to 5, got {n_terms}")
    energy = np.asarray(energy, dtype=np.float64)
    if energy.ndim != 1:
        raise InputError(f"energy must have shape (channels,), got {energy.shape}")
    emitted = (energy > 0) & (energy < beam_energy)
    safe = np.where(emitted, energy, 1.0)
    kramers = np.where(emitted, (beam_energy - safe) / (beam_energy * safe), 0.0)
    return kramers * (safe / _ENERGY_SCALE) ** _EXPONENTS[:n_terms, np.newaxis]


# keV. Between these the logarithm of the energy runs from 0 to 1; fixed, as above.
_LOWEST, _HIGHEST = 0.2, 30.0


def continuum_basis(energy: np.ndarray, beam_energy: float, *, n_terms: int = 3) -> np.ndarray:
    """Return Kramers' law times smooth bumps, for a fit with non-negative coefficients.

    ``term_i = (E0 - E) / (E0 E) B_i(x)`` with ``x = ln(E / 0.2 keV) / ln(150)``, between 0
    and 1, and the Bernstein polynomials ``B_i = C(n, i) x^i (1 - x)^(n - i)``,
    ``n = n_terms - 1``. With equal coefficients the sum is Kramers' law; with unequal ones
    it bends, never below zero. Continua that fall as a power of the energy a little off
    Kramers', which sums of powers with positive coefficients can't follow, lie well inside.

    Parameters
    ----------
    energy : ndarray of shape (channels,)
        In keV.
    beam_energy : float
        E0 in keV.
    n_terms : int
        Number of terms, 1 to 8; 3 are enough from 0.2 to 20 keV.

    Returns
    -------
    ndarray of shape (n_terms, channels)
        float64, not negative; zero at E <= 0 and at E >= E0.

    References
    ----------
    Kramers 1923, Phil. Mag. 46, 836.
    """
    if not 1 <= n_terms <= 8:
        raise InputError(f"n_terms of the continuum must be 1 to 8, got {n_terms}")
    kramers = continuum_terms(energy, beam_energy, n_terms=1)
    place = np.log(np.maximum(energy, _LOWEST) / _LOWEST) / np.log(_HIGHEST / _LOWEST)
    x = np.clip(place, 0.0, 1.0)
    degree = n_terms - 1
    bumps = [comb(degree, i) * x**i * (1 - x) ** (degree - i) for i in range(n_terms)]
    return kramers * np.array(bumps)


class ContinuumSplines:
    """Kramers' law times cubic B-splines.

    Equal coefficients make Kramers' law; a penalty on their second differences holds them
    straight, see `siftem.fit.misfit`. The knots lie a quarter of the energy apart, and some
    peaks' widths at least, so that even without a penalty no line fits between them.

    Parameters
    ----------
    low, high : float
        Energies in keV between which the knots lie.
    """

    def __init__(self, low: float, high: float) -> None:
        self._start = _knots_below(max(low, 0.05))
        length = _knots_below(max(high, 2 * max(low, 0.05))) - self._start
        self._intervals = max(int(np.ceil(length)), 1)
        self._per_interval = float(length) / self._intervals

    @property
    def size(self) -> int:
        """Number of terms."""
        return self._intervals + 3

    def columns(self, energy: np.ndarray, beam_energy: float) -> np.ndarray:
        """Return the terms.

        Parameters
        ----------
        energy : ndarray of shape (channels,)
            In keV.
        beam_energy : float
            E0 in keV.

        Returns
        -------
        ndarray of shape (channels, size)
            float64, not negative; zero at E <= 0 and at E >= E0.
        """
        kramers = continuum_terms(energy, beam_energy, n_terms=1)[0]
        place = (_knots_below(np.maximum(energy, 0.0)) - self._start) / self._per_interval
        place = np.clip(place, 0.0, self._intervals - 1e-9)
        knots = np.arange(-3, self._intervals + 4)
        return np.asarray(kramers[:, None] * BSpline.design_matrix(place, knots, 3).toarray())


#: Distance of the knots, as a share of the energy and in keV at the least.
_RELATIVE, _LEAST = 0.25, 0.35


def _knots_below(energy: float | np.ndarray) -> np.ndarray:
    """Integral of dE over the distance of the knots, ``sqrt(least^2 + (relative E)^2)``."""
    return np.asarray(np.arcsinh(np.asarray(energy) * _RELATIVE / _LEAST) / _RELATIVE)
