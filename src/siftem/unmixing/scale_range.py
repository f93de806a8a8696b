"""How much of a host a grain's mixture may hold when nothing is known of the grain.

No measured line, no continuum and no window of the grain may be negative: that bounds the host's
scale from above. No pixel may hold a negative amount of the host: the mixture cannot hold less of
it than would make its purest pixels pure. In between the counts tell nothing, unless two of the
host's elements or more would vanish at one and the same scale, or the first of them where the host
goes on below as thick as beside: that they do so by chance is unlikely, that the grain lacks them
is not.
"""

from __future__ import annotations

from collections.abc import Iterable
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
#: Elements vanish together when that is twice as likely as scales that agree so well by chance;
#: before the measurement both were as likely.
BY_CHANCE = 0.5


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
        The scale that is taken, where it is not the lower end: a film as thick as beside, or that
        at which several elements vanish.
    assumed_sigma : float, optional
        Its standard deviation; that of the lower end by default.
    together : tuple of str
        The elements that vanish at ``assumed``.
    as_beside : bool
        Whether the host is there as thick as beside the grain.
    covers : bool
        Whether ``assumed`` is what a shell as wide as seen has above and below its core.
    """

    low: float
    low_sigma: float
    high: float
    high_sigma: float
    vanishes: str
    assumed: float | None = None
    assumed_sigma: float | None = None
    together: tuple[str, ...] = ()
    as_beside: bool = False
    covers: bool = False

    @property
    def value(self) -> float:
        """The scale that is taken off."""
        return self.low if self.assumed is None else self.assumed

    @property
    def sigma(self) -> float:
        """Standard deviation of the scale that is taken off."""
        return self.low_sigma if self.assumed_sigma is None else self.assumed_sigma

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


@dataclass(frozen=True)
class Vanishing:
    """Where the first of a host's elements vanish from a grain.

    Parameters
    ----------
    scale, sigma : float
        The weighted mean of the scales at which they do.
    elements : tuple of str
        Those whose scales agree with the least within their errors.
    as_beside : bool
        Whether the host is there as thick as beside the grain.
    chance : float
        How likely scales agree so well if the grain lacks none of them, over how likely they do if
        it lacks all; 1 for one element alone.
    """

    scale: float
    sigma: float
    elements: tuple[str, ...]
    as_beside: bool
    chance: float


def vanishing_together(
    fits: tuple[LineFit, LineFit], most: float, beside: tuple[float, float] | None = None
) -> Vanishing | None:
    """Scale of the host at which elements of it vanish from the grain, several at once perhaps.

    Parameters
    ----------
    fits : tuple of LineFit
        Lines of the mixture and of the host.
    most : float
        No scale above this is possible.
    beside : tuple of float, optional
        The scale at which the host is as thick as beside the grain, and its standard deviation,
        for one that may go on below it.

    Returns
    -------
    Vanishing or None
        Nothing where no scale is possible. That elements do vanish there is likely where
        ``chance`` is at most `BY_CHANCE`.
    """
    bounds = sorted(_lines(*fits))
    if not bounds:
        return None
    first, first_sigma, _ = bounds[0]
    near = [
        (scale, sigma, what)
        for scale, sigma, what in bounds
        if scale - first <= _GUARD * np.hypot(sigma, first_sigma)
    ]
    scale, sigma = _mean_of(near)
    if not 0.0 < scale <= most:
        return None
    alike = [(s, e) for s, e, _ in near[1:]]
    goes_on = False
    if beside is not None:
        goes_on = bool(abs(beside[0] - first) <= _GUARD * np.hypot(beside[1], first_sigma))
        alike += [beside] if goes_on else []
    # How dense the differences seen are if there is none, over those of scales that are anywhere up
    # to twice the first.
    chance = 1.0
    for other, error in alike:
        error = float(np.hypot(error, first_sigma))
        seen = NormalDist().pdf((other - first) / error) / error
        chance *= min(1.0 / (first * seen), 1.0) if first > 0 else 1.0
    elements = tuple(what.split()[0] for _, _, what in near)
    return Vanishing(scale, sigma, elements, goes_on, chance)


def _mean_of(bounds: Iterable[tuple[float, float, str]]) -> tuple[float, float]:
    scales, sigmas = np.array([b[:2] for b in bounds]).T
    weights = 1.0 / np.maximum(sigmas, 1e-300) ** 2
    return float(weights @ scales / weights.sum()), float(weights.sum() ** -0.5)


def _lines(mixture: LineFit, host: LineFit) -> list[tuple[float, float, str]]:
    """Bounds by the family of each element that host or mixture show best, if the host has it.

    Another family of it vanishes with it; a soft one beside strong neighbours may seem to vanish
    before, or to be there though it is not, by what a model gets wrong there.
    """
    best: dict[str, tuple[float, float, tuple[float, float, str]]] = {}
    for name in host.model.names:
        if name.startswith("continuum") or name not in mixture.names:
            continue
        i, j = mixture.names.index(name), host.names.index(name)
        theirs, own = float(host.unbounded[j]), float(mixture.unbounded[i])
        error = float(np.sqrt(host.covariance[j, j]))
        noise = float(np.sqrt(mixture.covariance[i, i]))
        element, clear = name.split()[0], theirs / max(error, 1e-300)
        clearest = max(clear, own / max(noise, 1e-300))
        if element not in best or clearest > best[element][0]:
            ratio = max(own, 0.0) / max(theirs, 1e-300)
            sigma = float(np.hypot(noise, ratio * error)) / max(theirs, 1e-300)
            best[element] = (clearest, clear, (ratio, sigma, name))
    return [bound for _, clear, bound in best.values() if clear > _CLEAR]


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
