"""Grains for which the recipe gives no anchor: what the pixels alone say of them.

A grain that occurs pure is the sum of its own pixels. One that another phase may overlap lies
between two ends: its purest pixels as they are, and as much of the host taken off as leaves
nothing negative. What lies on a support has the support below it, as thick as beside it, within
what the particle's own thickness tells of that (`siftem.decomposition.support`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
from scipy.ndimage import uniform_filter

from siftem.decomposition.purest import purest
from siftem.decomposition.support import ABSORBED, Below
from siftem.errors import InputError
from siftem.fit.line_fit import LineFit
from siftem.printed_numbers import percent
from siftem.quantification.composition import Composition
from siftem.segment.regions import Region
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.anchors import GivenScale
from siftem.unmixing.scale_range import (
    BY_CHANCE,
    ScaleRange,
    matching_scale,
    most_scale,
    vanishing_together,
)
from siftem.unmixing.subtract import PureSpectrum, subtract

#: Side of the blocks by which the evenness of a support is measured, in pixels.
_BLOCK = 5
#: Pixels in which a grain may be purest: its middle, however large its region is.
_FEWEST = 4
#: A support is never known better than this.
_EVENEST = 0.02
#: Relative error of what a shell has above and below its core, since neither is a sphere.
_ROUND = 0.3
#: Width of windows whose sum may not become negative: about a line, a step of an edge (keV).
_WINDOWS = {"EDS": 0.13, "EELS": 0.01}

#: Spectra of hosts, and how much of each may be taken off.
_Taken = list[tuple[Spectrum, ScaleRange]]


@dataclass(frozen=True)
class Host:
    """A phase that a grain's pixels may hold as well.

    Parameters
    ----------
    spectrum : Spectrum
    below : Below or None
        How much of it lies below the grain, for a film that the grain lies on, or may.
    region : Region
        Its own pixels.
    ends : tuple of Spectrum
        What its spectrum may be as well, since it lies in another host itself.
    goes_on : bool
        It goes on below other grains as thick as beside them.
    covers : float
        How much of it lies above and below the grain if it is a shell around it, in units of it
        beside the grain; 0 where it is none.
    """

    spectrum: Spectrum
    below: Below | None
    region: Region
    ends: tuple[Spectrum, ...] = ()
    goes_on: bool = False
    covers: float = 0.0


@dataclass(frozen=True, eq=False)
class OpenScale:
    """What is not known of a grain's spectrum.

    Parameters
    ----------
    grain : str
    hosts : tuple of str
        In the order of ``ranges``.
    ranges : tuple of ScaleRange
        Of each host's scale.
    ends : tuple of PureSpectrum
        The grain's spectrum at the ends of the ranges.
    beside : mapping of str to float
        Phases beside it, and the largest share of its counts that may come from each.
    """

    grain: str
    hosts: tuple[str, ...]
    ranges: tuple[ScaleRange, ...]
    ends: tuple[PureSpectrum, ...] = field(repr=False)
    beside: Mapping[str, float] = field(default_factory=dict)

    def with_ends_of(self, other: OpenScale | None) -> OpenScale:
        """Add the ends of another, of other hosts."""
        if other is None:
            return self
        return replace(
            other,
            hosts=(*other.hosts, *self.hosts),
            ranges=(*other.ranges, *self.ranges),
            ends=(*other.ends, *self.ends),
            beside={**other.beside, **self.beside},
        )

    def goes_on(self, host: str) -> bool:
        """Whether a host is taken to be there as thick as beside."""
        pairs = zip(self.hosts, self.ranges, strict=True)
        return any(name == host and one.as_beside for name, one in pairs)

    def ends_beside(self, hosts: Collection[str]) -> tuple[PureSpectrum, ...]:
        """Its first and last end, if one of these is its host: it holds more or less of it."""
        return self.ends[:: max(len(self.ends) - 1, 1)] if set(hosts) & set(self.hosts) else ()

    def describe_borders(self) -> str:
        """Say how much may come over the borders; empty when it is nothing."""
        parts = [f"{percent(v)} of {n}" for n, v in self.beside.items() if v > 1e-4]
        return f"its counts may hold up to {' and '.join(parts)}" if parts else ""

    def describe(self) -> str:
        """Say what is not known, and what would fix it."""
        parts = []
        for host, one in zip(self.hosts, self.ranges, strict=True):
            low, high = one.ends
            if high - low <= 0.02 * max(high, 1e-9):
                continue
            text = f"{low:.3g} to {high:.3g} times the spectrum of {host}"
            if one.together:
                gone = " and ".join(one.together)
                text += f" (taken: {one.assumed:.3g}, at which {gone} {_vanish(one)})"
            elif one.covers:
                text += (
                    f" (taken: {one.assumed:.3g}, of what a round shell as wide as seen has above "
                    f"and below its core, and what the upper end allows)"
                )
            elif one.assumed:
                text += f" (taken as it is beside: {one.assumed:.3g})"
            if one.vanishes:
                text += f" (at the upper end nothing of {one.vanishes} would be left)"
            parts.append(text)
        if not parts:
            return ""
        return (
            f"{self.grain}: no anchor, so its mixture may hold {' and '.join(parts)}. The "
            f"intervals of its composition hold all of that. Give an anchor to narrow them"
        )


def open_scale(
    si: SpectrumImage,
    grain: str,
    mixture: Spectrum,
    region: Region,
    hosts: Mapping[str, Host],
    *,
    fit: Callable[[Spectrum], LineFit] | None,
    random_state: int,
) -> tuple[PureSpectrum, OpenScale]:
    """Take off a grain's mixture what its purest pixels lack, and tell what is not known.

    Parameters
    ----------
    si : SpectrumImage
    grain : str
    mixture : Spectrum
        Of the grain's region.
    region : Region
    hosts : mapping of str to Host
        What the pixels may hold, the outermost first.
    fit : callable, optional
        Fits all lines of a spectrum; None without elements.
    random_state : int
        Of the halves by which the purest pixels are picked.

    Returns
    -------
    pure : PureSpectrum
        At the lower ends, or where several elements of a host vanish at once, and with a film as
        thick as beside.
    known : OpenScale
    """
    pure, known = _with_spectra(si, grain, mixture, region, hosts, fit, random_state)
    ends = list(known.ends)
    for name, host in hosts.items():
        for spectrum in host.ends:
            other = {**hosts, name: replace(host, spectrum=spectrum)}
            end, its = _with_spectra(si, grain, mixture, region, other, fit, random_state)
            ends += [end, *its.ends]
    return pure, replace(known, ends=tuple(ends))


def _with_spectra(
    si: SpectrumImage,
    grain: str,
    mixture: Spectrum,
    region: Region,
    hosts: Mapping[str, Host],
    fit: Callable[[Spectrum], LineFit] | None,
    random_state: int,
) -> tuple[PureSpectrum, OpenScale]:
    """Do the same with the spectra of hosts as they are given."""
    window = _WINDOWS["EELS" if si.signal_type == "EELS" else "EDS"]

    def without(
        left: Spectrum, rest: tuple[Host, ...], on_film: bool = False
    ) -> tuple[float, _Taken]:
        """Take all of these off; how likely what then vanishes does so by chance."""
        if not rest:
            return 1.0, []
        host, *others = rest
        fits = None if fit is None else (fit(left), fit(host.spectrum))
        high, high_sigma, what = most_scale(left, host.spectrum, fits, window=window)

        def then(found: ScaleRange) -> tuple[float, _Taken]:
            anchor = GivenScale(found.value, found.sigma, of=host.spectrum.name)
            less = subtract(left, host.spectrum, anchor=anchor, name=grain)
            on_it = on_film or found.as_beside or host.below is not None
            chance, more = without(less, tuple(others), on_it)
            return chance, [(host.spectrum, found), *more]

        if host.below is not None:
            return then(_film_scale(si, host, mixture.n_pixels, high + 2 * high_sigma, what))
        purer = _purer(si, region, left, mixture, host.spectrum, random_state)
        low, low_sigma = matching_scale(left, host.spectrum, purer)
        if low > high:  # the two agree within their errors, or the bound is the better one
            low = high
        found = ScaleRange(low, low_sigma, high, high_sigma, what)
        beside = _as_beside(si, host, mixture)
        if host.covers and on_film:
            least = then(_covering(found, host, mixture))
        else:
            least = then(_going_on(found, beside) if host.goes_on else found)
        gone = None if fits is None else vanishing_together(fits, found.ends[1], beside)
        if gone is None or gone.scale < low or (gone.chance > BY_CHANCE and not others):
            return least
        chance, taken = then(
            replace(
                found,
                assumed=gone.scale,
                assumed_sigma=gone.sigma,
                together=gone.elements,
                as_beside=gone.as_beside,
            )
        )
        # What hosts share may vanish with the second only if the right amount of the first is off.
        chance *= gone.chance
        return (chance, taken) if chance <= BY_CHANCE * least[0] else least

    _, taken = without(mixture, tuple(hosts.values()))
    ranges = tuple(one for _, one in taken)
    values = [one.value for one in ranges]
    pure = replace(_at(mixture, taken, values, grain), anchor=_named(ranges))
    # The corners of what is not known, one of which is the pure spectrum itself.
    corners = sorted(set(product(*({one.value, *one.ends} for one in ranges))))
    ends = [_at(mixture, taken, list(c), grain) for c in corners if list(c) != values]
    return pure, OpenScale(grain, tuple(hosts), ranges, tuple(ends))


def _going_on(found: ScaleRange, beside: tuple[float, float] | None) -> ScaleRange:
    """Take a host that goes on below other grains as it is beside this one, if it can be."""
    if beside is None or beside[0] < found.low:
        return found
    scale = min(beside[0], found.ends[1])
    return replace(found, assumed=scale, assumed_sigma=beside[1], as_beside=True)


def _covering(found: ScaleRange, host: Host, mixture: Spectrum) -> ScaleRange:
    """Take what is likeliest of a shell: as much as covers a round core, and nothing negative.

    A particle on a film is whole; a grain of a lamella may be cut, and its shell with it.
    """
    scale = host.covers * mixture.n_pixels / max(host.spectrum.n_pixels, 1)
    sigma = _ROUND * scale
    if scale > found.high:
        weights = np.array([sigma**-2, max(found.high_sigma, 1e-9) ** -2])
        scale = float(weights @ [scale, found.high] / weights.sum())
        sigma = float(weights.sum() ** -0.5)
    low, high = found.ends
    scale = min(max(scale, low), high)
    return replace(found, assumed=scale, assumed_sigma=sigma, covers=True)


def _as_beside(si: SpectrumImage, host: Host, mixture: Spectrum) -> tuple[float, float] | None:
    """Scale of a host that goes on below a grain, and its error.

    What lies on it makes no pixel darker, and takes some of its soft lines away.
    """
    area = mixture.n_pixels / max(host.spectrum.n_pixels, 1)
    if mixture.values.sum() <= area * host.spectrum.values.sum():
        return None
    absorbed = 0.5 * ABSORBED
    return (1 - absorbed) * area, area * float(np.hypot(_unevenness(si, host.region), absorbed))


def _vanish(one: ScaleRange) -> str:
    """What the elements do at the scale that is taken, as a verb."""
    text = "vanish together" if len(one.together) > 1 else "vanishes"
    return f"{text} and it is as thick as beside" if one.as_beside else text


def _film_scale(
    si: SpectrumImage, host: Host, pixels: int, most: float, vanishes: str
) -> ScaleRange:
    """How much of a film a grain's pixels hold; no more than leaves nothing negative."""
    assert host.below is not None
    area = pixels / max(host.spectrum.n_pixels, 1)
    taken = min(area * host.below.amount, most)
    # Where the particles themselves tell, it is of the film below them, not of that beside.
    measured = host.below.low < host.below.high
    sigma = 0.0 if measured else taken * _unevenness(si, host.region)
    low = min(area * host.below.low, most)
    high = min(area * host.below.high, most - 2 * sigma)
    return ScaleRange(
        low, sigma, max(high, low), sigma, vanishes if high < area * host.below.high else "", taken
    )


def border_scale(
    grain: str,
    spectrum: Spectrum,
    beside: Mapping[str, Spectrum],
    most: Mapping[str, float],
    *,
    fit: Callable[[Spectrum], LineFit] | None,
) -> OpenScale:
    """Tell how much of what lies beside a phase its pixels may hold.

    Nothing of it is taken off; at the most, what leaves nothing negative.

    Parameters
    ----------
    grain : str
    spectrum : Spectrum
    beside : mapping of str to Spectrum
        The phases around it.
    most : mapping of str to float
        Largest share of the phase's counts that may be each of them.
    fit : callable, optional
        Fits all lines of a spectrum; None without elements.

    Returns
    -------
    OpenScale
        Without hosts; its end holds as little of what is beside as possible.
    """
    total = max(float(spectrum.values.sum()), 1.0)
    shares: dict[str, float] = {}
    ends = []
    # What is taken first leaves less for the others: of what all pixels may hold, each is first.
    whole = [name for name in beside if most[name] >= 1.0]
    for first in whole or [next(iter(beside))]:
        left = spectrum
        taken: _Taken = []
        for name in (first, *(n for n in beside if n != first)):
            other = beside[name]
            fits = None if fit is None else (fit(left), fit(other))
            high, sigma, what = most_scale(left, other, fits)
            bound = most[name] * total / max(float(other.values.sum()), 1.0)
            if high + 2.0 * sigma > bound:
                high, sigma, what = bound, 0.0, ""
            found = ScaleRange(0.0, 0.0, high, sigma, what)
            taken.append((other, found))
            left = subtract(left, other, anchor=GivenScale(found.ends[1], 0.0, of=other.name))
            share = found.ends[1] * float(other.values.sum()) / total
            shares[name] = max(shares.get(name, 0.0), share)
            if name == first and len(whole) > 1:
                ends.append(_at(spectrum, taken, [found.ends[1]], grain))
        ends.append(_at(spectrum, taken, [one.ends[1] for _, one in taken], grain))
    return OpenScale(grain, (), (), tuple(ends), shares)


def _named(ranges: tuple[ScaleRange, ...]) -> str:
    """What stands where an anchor would."""
    gone = dict.fromkeys(e for one in ranges for e in one.together)
    if not gone:
        return "none: as the purest pixels are"
    return f"none: {' and '.join(gone)} {'vanish together' if len(gone) > 1 else 'vanishes'}"


def with_open_ends(
    composition: Composition,
    known: OpenScale,
    quantified: Callable[[Spectrum], Composition],
) -> Composition:
    """Add to a composition's intervals what is not known of how much to take off."""
    ends = []
    for end in known.ends:
        try:
            found = quantified(end)
        except InputError:  # nothing is left there
            continue
        if found.elements == composition.elements:
            ends.append(found.weight_fractions)
    return composition.with_range(*ends) if ends else composition


def _at(
    mixture: Spectrum,
    taken: _Taken,
    scales: list[float],
    grain: str,
) -> PureSpectrum:
    anchors = [
        GivenScale(scale, one.sigma, of=host.name)
        for scale, (host, one) in zip(scales, taken, strict=True)
    ]
    return subtract(mixture, [host for host, _ in taken], anchor=anchors, name=grain)


def _purer(
    si: SpectrumImage,
    region: Region,
    left: Spectrum,
    mixture: Spectrum,
    host: Spectrum,
    random_state: int,
) -> Spectrum:
    """Sum of the region's purest pixels, with the same taken off as of the whole mixture."""
    shapes = np.maximum([mixture.values, host.values], 0.0) + 1e-9
    shapes = shapes / shapes.sum(axis=1, keepdims=True)
    found = purest(si.counts, region.mask, shapes, 0, fewest=_FEWEST, random_state=random_state)
    pedestal = found.pixels * si.pedestal
    share = found.pixels / max(mixture.n_pixels, 1)
    taken = share * (mixture.values - left.values)
    return Spectrum(
        found.spectrum - pedestal - taken,
        mixture.axis,
        variance=found.spectrum,
        background=np.full(mixture.axis.size, pedestal) + taken,
        name=f"purest {mixture.name}",
        n_pixels=round(found.pixels),
    )


def _unevenness(si: SpectrumImage, region: Region) -> float:
    """Relative standard deviation of a support's counts from place to place, noise taken off."""
    mask = region.mask
    total = np.asarray(si.total_map(), float)
    share = uniform_filter(mask.astype(float), _BLOCK)
    level = uniform_filter(np.where(mask, total, 0.0), _BLOCK)
    whole = share > 0.99
    if whole.sum() < _BLOCK**2:
        return 0.1
    values = level[whole]
    mean = max(float(values.mean()), 1e-9)
    variance = float(values.var()) - mean / _BLOCK**2
    return float(np.hypot(np.sqrt(max(variance, 0.0)) / mean, _EVENEST))
