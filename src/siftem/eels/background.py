"""The power law before an edge, and what is left when it is taken off."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.hyperspy_input import as_spectrum
from siftem.spectrum import Spectrum
from siftem.views import outline

#: Channels that a background needs at the least: it has two parameters.
_FEWEST = 5
_ROUNDS = 30


@dataclass(frozen=True, eq=False)
class PowerLaw:
    """``B(E) = amplitude (E / pivot)^-exponent`` with its errors.

    Parameters
    ----------
    amplitude : float
        Counts a channel at ``pivot``.
    exponent : float
        r; 2 to 6 for most thin specimens.
    pivot : float
        Middle of the fitted window, in the unit of the axis: there the two are least
        correlated.
    covariance : ndarray of shape (2, 2)
        Of (ln amplitude, exponent).
    response : ndarray of shape (2, channels)
        Change of (ln amplitude, exponent) with the counts of each channel; zero outside the
        window.
    window : slice
        Channels that were fitted.
    reduced_chi2 : float
        About 1 when the law holds within the noise.
    """

    __repr__ = outline

    amplitude: float
    exponent: float
    pivot: float
    covariance: np.ndarray
    response: np.ndarray
    window: slice
    reduced_chi2: float

    def values(self, axis: EnergyAxis) -> np.ndarray:
        """Counts of each channel, float64 (channels,); not below the window's first channel."""
        start = self.window.start or 0
        energy = np.maximum(axis.centers, axis.centers[start])
        return np.asarray(self.amplitude * (energy / self.pivot) ** -self.exponent)

    def slopes(self, axis: EnergyAxis) -> np.ndarray:
        """Change of `values` with (ln amplitude, exponent); (2, channels)."""
        b = self.values(axis)
        start = self.window.start or 0
        energy = np.maximum(axis.centers, axis.centers[start])
        return np.array([b, -b * np.log(energy / self.pivot)])


def fit_power_law(spectrum: Spectrum, low: float, high: float) -> PowerLaw:
    """Fit a power law between two energies by weighted least squares.

    Weights come from the fitted law and not from the noisy counts, so that the fit is not
    drawn to the low ones; for counts this is the Poisson maximum likelihood (iteratively
    reweighted).

    Parameters
    ----------
    spectrum : Spectrum
    low, high : float
        Window without edges, in the unit of the axis.

    Returns
    -------
    PowerLaw

    Raises
    ------
    InputError
        When the window has under five channels, includes energies of zero or less, or holds
        no positive sum.
    """
    axis = spectrum.axis
    window = axis.window(low, high)
    energy = axis.centers[window]
    if energy.size < _FEWEST:
        raise InputError(
            f"the background window {low:g} to {high:g} {axis.unit} holds {energy.size} channels, "
            f"{_FEWEST} are needed: widen it"
        )
    if energy[0] <= 0:
        raise InputError(
            f"a power law holds for positive energies only, but the window starts at "
            f"{energy[0]:g} {axis.unit}"
        )
    y = spectrum.values[window]
    if y.sum() <= 0:
        raise InputError(
            f"there is no signal between {low:g} and {high:g} {axis.unit}: "
            "the background cannot be fitted"
        )
    # Independent variance as a multiple of the signal, so that it can follow the fit.
    ratio = max(float(spectrum.variance[window].sum()) / float(y.sum()), 1e-12)
    pivot = float(np.sqrt(energy[0] * energy[-1]))
    logs = np.log(energy / pivot)
    theta = np.array([np.log(y.mean()), 3.0])
    for _ in range(_ROUNDS):
        b = np.exp(theta[0] - theta[1] * logs)
        design = np.column_stack([b, -b * logs])
        weight = 1 / (ratio * b)
        normal = design.T @ (weight[:, None] * design)
        step = np.linalg.solve(normal, design.T @ (weight * (y - b)))
        theta = theta + np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-10:
            break
    covariance = np.linalg.inv(normal)
    response = np.zeros((2, axis.size))
    response[:, window] = covariance @ (design * weight[:, None]).T
    freedom = max(energy.size - 2, 1)
    return PowerLaw(
        amplitude=float(np.exp(theta[0])),
        exponent=float(theta[1]),
        pivot=pivot,
        covariance=spectrum.propagate(response),
        response=response,
        window=window,
        reduced_chi2=float((weight * (y - b) ** 2).sum() / freedom),
    )


def remove_background(spectrum: Spectrum, low: float, high: float) -> Spectrum:
    """Take the power law off that fits between two energies.

    The error of the extrapolation goes into the covariance: with J the change of the
    background with its parameters, C their covariance and V that of the spectrum, it is
    ``V + J' C J`` beyond the window and ``V - J' C J`` within it, where the law follows the
    noise.

    Parameters
    ----------
    spectrum : Spectrum
    low, high : float
        Window before the edge, in the unit of the axis.

    Returns
    -------
    Spectrum
        From ``low`` on; ``background`` holds what was taken off.

    Examples
    --------
    >>> import numpy as np
    >>> si = siftem.simulate_elnes((16, 16), counts=200).spectrum_image
    >>> spectrum = siftem.integrate(si, np.ones(si.shape, bool))
    >>> net = siftem.remove_background(spectrum, 402, 452)
    >>> bool(net.values.sum() < spectrum.values.sum())
    True
    """
    spectrum = as_spectrum(spectrum)
    law = fit_power_law(spectrum, low, high)
    axis = spectrum.axis
    taken = law.values(axis)
    values, vectors = np.linalg.eigh(law.covariance)
    rows = (np.sqrt(np.maximum(values, 0))[:, None] * vectors.T) @ law.slopes(axis)
    inside = np.zeros(axis.size, bool)
    inside[law.window] = True
    out = replace(
        spectrum,
        values=spectrum.values - taken,
        background=spectrum.background + taken,
        modes=np.vstack([spectrum.modes, np.where(inside, 0.0, rows)]),
        pinned=np.vstack([spectrum.pinned, np.where(inside, rows, 0.0)]),
        notes=(
            *spectrum.notes,
            f"background E^-{law.exponent:.2f}, fitted from {low:g} to {high:g} {axis.unit}, "
            f"taken off",
        ),
    )
    return out.cropped(low=axis.centers[law.window.start])
