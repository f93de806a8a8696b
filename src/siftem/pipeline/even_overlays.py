"""Phases that look pure and hold another one whole, as where that goes on above or below them.

A grain with as much of another phase above or below it in all its pixels looks pure: no pixel tells
it from a phase that holds these elements. That they stand in it in the very ratios of the other
phase does, and the more so where that lies all around it.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
import scipy.sparse as sp

from siftem.decomposition.factors import Factors
from siftem.decomposition.layout import Lies, PhaseLayout, kind_of
from siftem.decomposition.purest import spectra_inside
from siftem.decomposition.support import mostly_around
from siftem.errors import DoubtWarning
from siftem.fit.line_fit import LineFitter
from siftem.pipeline.layout import by_labels
from siftem.printed_numbers import in_words
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage

#: Part of the other phase's line counts from which on an element is looked at, and by how many
#: standard deviations it must be there.
_MAIN, _SURELY = 0.03, 5.0
#: Ratios are alike to this part of them beside so many standard deviations.
_RATIO, _ALIKE = 0.07, 2.0
#: Shares of the other phase that are told, and how much of an element of its own a phase keeps: so
#: much where ratios alone speak; so much where the other phase also lies around it.
_LEAST, _MOST, _OWN, _SOME = 0.05, 0.7, 0.8, 0.4
#: An element of its own makes up this part of its line counts.
_MUCH = 0.05
#: So many elements in one ratio are no chance.
_MANY = 3
#: Elements are in one ratio when that is twice as likely as ratios that agree so well by chance.
_BY_CHANCE = 0.5


def with_even_overlays(
    factors: Factors,
    si: SpectrumImage,
    elements: Sequence[str],
    support: Sequence[str],
    *,
    told: Collection[str] = (),
    anchored: Collection[str] = (),
) -> PhaseLayout | None:
    """Lay phases in others that they hold whole, or say that they may lie there.

    Parameters
    ----------
    factors : Factors
        With their names and layout.
    si : SpectrumImage
    elements, support : sequence of str
    told, anchored : collection of str
        Phases of which the recipe says how they lie, and those with anchors.

    Returns
    -------
    PhaseLayout or None
        That of the factors, but for phases that hold another one's elements in its very ratios
        beside their own: they are embedded in it where it lies around them or three elements or
        more say so, else they may be (`Lies.perhaps`).

    Warns
    -----
    DoubtWarning
    """
    layout, names = factors.layout, factors.names
    bulk = si.acquisition.bulk or si.signal_type == "EDS_SEM"
    if layout is None or bulk or not sp.issparse(si.counts) or not by_labels(layout):
        return layout
    k = len(layout.phases)
    doubtful = {
        c
        for c, lies in enumerate(layout.phases)
        if lies.role in ("pure", "embedded") and names[c] not in told and not layout.is_thin(c)
    }
    pairs = [
        (h, c)
        for h, c in permutations(range(k), 2)
        if c in doubtful and _may_go_on(layout.phases, h, c)
    ]
    if not pairs or len(elements) < 3:
        return layout
    found = _line_counts(si, layout, elements, support)
    around = mostly_around(np.where(layout.labels < 0, k, layout.labels), k + 1)
    phases = list(layout.phases)
    held = [(h, c, one) for h, c in pairs if (one := evenly_held(found[h], found[c])) is not None]
    explained = {c: np.zeros(len(elements), bool) for c in range(k)}
    for h, c, one in sorted(held, key=lambda each: -int(each[2].together.sum())):
        beside = around[c] == h
        mistaken = 0.0 if layout.mistaken is None else 2 * layout.mistaken[c, h]
        many = int(one.together.sum()) >= _MANY
        # Three that agree within large errors are no proof, yet more than nothing.
        likely = one.own >= _OWN and one.chance < (1.0 if many else _BY_CHANCE)
        if one.share < mistaken or not (likely or (beside and one.own >= _SOME)):
            continue
        if (one.together & explained[c]).any():  # of what another one brings with it
            continue
        explained[c] |= one.together
        sure = names[c] in anchored or (
            one.own >= _OWN and (beside or (many and one.chance < _BY_CHANCE))
        )
        lies, together = phases[c], in_words(np.array(elements)[one.together].tolist())
        if sure:
            phases[c] = replace(lies, role="embedded", hosts=(*lies.hosts, h))
            said = f"so it is taken to lie in {names[h]} (if it does not: lies: pure)"
        else:
            phases[c] = replace(lies, perhaps=(*lies.perhaps, h))
            said = (
                "which its intervals hold, but its values do not. If so, say that it is embedded "
                "(lies: embedded), or give an anchor; if not, say that it is pure (lies: pure)"
            )
        warnings.warn(
            f"{names[c]}: {together} stand in it in the ratios of {names[h]}, as if that went on "
            f"evenly above or below it: some {100 * one.share:.0f}% of its line counts may be of "
            f"{names[h]}, {said}",
            DoubtWarning,
            stacklevel=3,
        )
    if any(a.hosts != b.hosts for a, b in zip(phases, layout.phases, strict=True)):
        islands = {c for c, lies in enumerate(phases) if lies.hosts}
        # Labels found these grains, whose shares show nothing: masks by shares would lose them.
        phases = [replace(lies, even=True) for lies in phases]
        layout = replace(layout, kind=kind_of(phases, islands))
    return replace(layout, phases=tuple(phases))


def _may_go_on(phases: Sequence[Lies], host: int, c: int) -> bool:
    """Whether nothing tells yet how a phase lies in another, larger one."""
    theirs = phases[host]
    return (
        theirs.role in ("pure", "embedded")
        and theirs.area > phases[c].area
        and host not in phases[c].hosts
        and c not in theirs.hosts
        and phases[c].below is None
    )


def _line_counts(
    si: SpectrumImage, layout: PhaseLayout, elements: Sequence[str], support: Sequence[str]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Part of each element in the line counts of each phase's purest pixels, and its error."""
    sums, _, _ = spectra_inside(si.counts, layout.insides)
    fitter = LineFitter.of(si.acquisition, elements, support)
    whole = fitter.fit(Spectrum(sums.sum(axis=0), si.axis, acquisition=si.acquisition))
    fitter = replace(fitter, calibration=whole.calibration)
    fits = [fitter.fit(Spectrum(s, si.axis, acquisition=si.acquisition)) for s in sums]
    seen = [np.maximum(fit.unbounded, 0.0) * fit.design.sum(axis=0) for fit in fits]
    shown = np.sum(seen, axis=0)
    # C lies on specimens: what differs by it alone is told elsewhere, as contamination.
    columns = [_best(whole.names, shown, e) if e != "C" else None for e in elements]
    return [
        _parts(values, np.sqrt(np.diag(fit.covariance)) * fit.design.sum(axis=0), columns)
        for values, fit in zip(seen, fits, strict=True)
    ]


def _best(names: Sequence[str], shown: np.ndarray, element: str) -> int | None:
    """Column of an element's family with most counts."""
    own = [i for i, name in enumerate(names) if name.split()[0] == element]
    return max(own, key=lambda i: shown[i], default=None)


def _parts(
    counts: np.ndarray, sigma: np.ndarray, columns: Sequence[int | None]
) -> tuple[np.ndarray, np.ndarray]:
    values, errors = (
        np.array([0.0 if i is None else v[i] for i in columns]) for v in (counts, sigma)
    )
    whole = max(float(values.sum()), 1e-9)
    return values / whole, errors / whole


@dataclass(frozen=True, eq=False)
class Held:
    """What a phase may hold of another one.

    Parameters
    ----------
    share : float
        Of its line counts.
    together : ndarray of bool
        The elements that say so: they would vanish at once.
    own : float
        The largest part of an element that would be left.
    chance : float
        How dense such differences of ratios are if there is none, over those of ratios that are
        anywhere up to twice the lowest, inverted.
    """

    share: float
    together: np.ndarray
    own: float
    chance: float


def evenly_held(
    host: tuple[np.ndarray, np.ndarray], phase: tuple[np.ndarray, np.ndarray]
) -> Held | None:
    """Return how much of another phase a phase may hold.

    Parameters
    ----------
    host, phase : tuple of ndarray
        Parts of elements in the line counts of either, and their standard deviations.

    Returns
    -------
    Held or None
        None unless all main elements of the other phase are there, and two or more of them in one
        ratio, which is the lowest.
    """
    (there, there_sigma), (whole, whole_sigma) = host, phase
    main = np.flatnonzero((there > _MAIN) & (there > _SURELY * there_sigma))
    if main.size < 2 or not (whole > _SURELY * whole_sigma)[main].all():
        return None
    ratio = whole[main] / there[main]
    noise = np.hypot(whole_sigma[main] / whole[main], there_sigma[main] / there[main])
    error = ratio * np.hypot(noise, _RATIO)
    first = int(np.argmin(ratio))
    away, apart = ratio - ratio[first], np.hypot(error, error[first])
    alike = away <= _ALIKE * apart
    share = float(np.average(ratio[alike], weights=error[alike] ** -2))
    if alike.sum() < 2 or not _LEAST < share < _MOST:
        return None
    seen = ratio[first] * np.exp(-0.5 * (away / apart) ** 2) / apart / np.sqrt(2 * np.pi)
    chance = 1.0 / float(np.prod(np.maximum(np.delete(seen, first)[np.delete(alike, first)], 1.0)))
    together = np.zeros(whole.size, bool)
    together[main[alike]] = True
    much = whole > _MUCH
    left = 1.0 - share * there[much] / whole[much]
    return Held(share, together, float(left.max(initial=0.0)), chance)
