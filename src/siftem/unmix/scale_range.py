"""How much of a host a grain's mixture may hold when nothing is known of the grain.

No measured line, no continuum and no window of the grain may be negative: that bounds the host's
scale from above. No pixel may hold a negative amount of the host: the mixture cannot hold less of
it than would make its purest pixels pure. In between the counts tell nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from siftem.fit.line_fit import LineFit
from siftem.spectrum import Spectrum

#: Lines of the host that exceed their errors by this factor bound its scale.
_CLEAR = 5.0
#: Standard deviations that are added to a bound before the least one is taken.
_GUARD = 2.0
#: Chance that any of the bounds is missed.
_MISSED = 0.025
#: Bins in which shapes are compared.
_BINS = 100
#: Counts that a window of the host needs to bound its scale.
_FEWEST = 100.0


@dataclass(frozen=True)
class ScaleRange:
    """What is known of a host's scale without an anchor.

    Parameters
    ----------
    low, low_sigma : float
        At which the purest pixels are pure, and its standard deviation.
    high, high_sigma : float
        At which something of the grain vanishes.
    vanishes : str
        What that is, such as "Si K".
    assumed : float, optional
        The scale that is taken, where it is not the lower end: a film as thick as beside.
    """

    low: float
    low_sigma: float
    high: float
    high_sigma: float
    vanishes: str
    assumed: float | None = None

    @property
    def value(self) -> float:
        """The scale that is taken off."""
        return self.low if self.assumed is None else self.assumed

    @property
    def ends(self) -> tuple[float, float]:
        """Lower and upper end with two standard deviations each."""
        low = max(self.low - _GUARD * self.low_sigma, 0.0)
        return low, max(self.high + _GUARD * self.high_sigma, low)


def matching_scale(mixture: Spectrum, host: Spectrum, purer: Spectrum) -> tuple[float, float]:
    """Scale of the host at which a mixture has the shape of its own purer pixels.

    ``purer = u mixture - v host`` by weighted least squares; the scale is ``v / u``.

    Parameters
    ----------
    mixture, host, purer : Spectrum
        On one axis; ``purer`` the sum of some pixels of the mixture.

    Returns
    -------
    scale, sigma : float
        At least 0.
    """
    # In wide bins, since noise of the shapes would make them too small.
    starts = np.arange(0, purer.axis.size, max(purer.axis.size // _BINS, 1))
    target, own, theirs, noise, shared = (
        np.add.reduceat(v, starts)
        for v in (purer.values, mixture.values, host.values, purer.variance, mixture.variance)
    )
    share = max(target.sum(), 1.0) / max(own.sum(), 1.0)
    # The mixture's noise is in part that of the target.
    variance = np.maximum(noise, 1.0) + share**2 * shared
    shapes = np.stack([own, theirs], axis=1)
    weighted = shapes / variance[:, None]
    information = weighted.T @ shapes
    bread = np.linalg.pinv(information, hermitian=True)
    u, v = bread @ (weighted.T @ target)
    if not u > 0:
        return 0.0, 0.0
    scale = -v / u
    slope = np.array([v / u**2, -1 / u])
    return max(float(scale), 0.0), float(np.sqrt(max(slope @ bread @ slope, 0.0)))


def most_scale(
    mixture: Spectrum,
    host: Spectrum,
    fits: tuple[LineFit, LineFit] | None = None,
    *,
    window: float = 0.13,
) -> tuple[float, float, str]:
    """Largest scale of the host that leaves nothing of the grain negative.

    Parameters
    ----------
    mixture, host : Spectrum
    fits : tuple of LineFit, optional
        Lines of the mixture and of the host; without them windows of all counts bound alone.
    window : float
        Width of these windows, keV.

    Returns
    -------
    scale, sigma : float
        Of the bound with the least upper end; half of what is to be added to it so that all
        bounds hold with a probability of 97.5%.
    what : str
        What vanishes there.
    """
    bounds = _windows(mixture, host, window)
    if fits is not None:
        bounds += _lines(*fits)
    if not bounds:
        return np.inf, 0.0, ""
    # The least of many is low by luck as well: what holds for all of them at once is wider.
    wider = NormalDist().inv_cdf(1.0 - _MISSED / len(bounds)) / _GUARD
    bounds = [(scale, max(wider, 1.0) * sigma, what) for scale, sigma, what in bounds]
    scale, sigma, what = min(bounds, key=lambda b: b[0] + _GUARD * b[1])
    return max(scale, 0.0), sigma, what


def _lines(mixture: LineFit, host: LineFit) -> list[tuple[float, float, str]]:
    """Bounds by the family of each element that the host shows best.

    Another family of it vanishes with it; a soft one beside strong neighbours may seem to vanish
    before, by what a model gets wrong there.
    """
    best: dict[str, tuple[float, tuple[float, float, str]]] = {}
    for name in host.model.names:
        if name.startswith("continuum") or name not in mixture.names:
            continue
        i, j = mixture.names.index(name), host.names.index(name)
        theirs, own = float(host.unbounded[j]), float(mixture.unbounded[i])
        error = float(np.sqrt(host.covariance[j, j]))
        if not theirs > _CLEAR * error:
            continue
        ratio = max(own, 0.0) / theirs
        sigma = np.hypot(float(np.sqrt(mixture.covariance[i, i])), ratio * error) / theirs
        element, clear = name.split()[0], theirs / error
        if element not in best or clear > best[element][0]:
            best[element] = (clear, (ratio, float(sigma), name))
    return [bound for _, bound in best.values()]


def _windows(mixture: Spectrum, host: Spectrum, width: float) -> list[tuple[float, float, str]]:
    axis = mixture.axis
    channels = max(round(width / axis.to_kev().scale), 1)
    out = []
    for first in range(0, axis.size - channels + 1, channels):
        window = slice(first, first + channels)
        theirs, error = host.sum(window)
        if theirs < _FEWEST or not theirs > _CLEAR * error:
            continue
        own, noise = mixture.sum(window)
        ratio = max(own, 0.0) / theirs
        # Few counts, or none, may be more than that: Gehrels 1986, Astrophys. J. 303, 336, eq. 7.
        noise = 1.0 + np.sqrt(noise**2 + 0.75)
        what = f"what is counted at {axis.centers[window].mean():.3g} {axis.unit}"
        out.append((ratio, float(np.hypot(noise, ratio * error)) / theirs, what))
    return out
