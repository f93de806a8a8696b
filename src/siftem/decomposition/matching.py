"""Which component is which phase: by the elements that mark it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from siftem.acquisition import TYPICAL_RESOLUTION
from siftem.decomposition.factors import Factors
from siftem.energy_axis import EnergyAxis
from siftem.errors import DoubtWarning, InputError
from siftem.xray.detector import Detector
from siftem.xray.lines import line_families


@dataclass(frozen=True)
class Markers:
    """What marks a phase among the others.

    Parameters
    ----------
    high : tuple of str
        Elements that this phase has more of than the others.
    absent : tuple of str
        Elements that it lacks.

    Examples
    --------
    >>> phases = {"Brg": siftem.Markers(), "Fp": siftem.Markers(high=("Fe",), absent=("Si",))}
    >>> phases["Fp"].absent
    ('Si',)
    """

    high: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def line_strengths(
    spectra: np.ndarray,
    axis: EnergyAxis,
    elements: Sequence[str],
    *,
    beam_energy: float,
    resolution: float = TYPICAL_RESOLUTION,
) -> np.ndarray:
    """Net share of each element's strongest line in each spectrum.

    A window of one full width at half maximum on each side of the line's energy, less a
    straight background between the medians of the windows' outer neighbours. A quick
    measure for telling components apart, not for quantification.

    Parameters
    ----------
    spectra : ndarray of shape (k, channels)
    axis : EnergyAxis
    elements : sequence of str
    beam_energy : float
        keV.
    resolution : float
        Full width at half maximum at Mn Ka, eV.

    Returns
    -------
    ndarray of shape (k, elements), float64
        Fraction of the spectrum's counts, not below zero.

    Raises
    ------
    InputError
        When an element has no line on the axis.
    """
    kev = axis.to_kev()
    centers = kev.centers
    detector = Detector(resolution=resolution)
    out = np.zeros((spectra.shape[0], len(elements)))
    for e, element in enumerate(elements):
        families = line_families([element], beam_energy=beam_energy, low=kev.first, high=kev.last)
        families = [f for f in families if kev.contains(f.alpha_energy)]
        if not families:
            raise InputError(
                f"element {element} has no line between {kev.first:.3g} and {kev.last:.3g} keV: "
                f"leave it out or widen the energy range"
            )
        best = np.zeros(spectra.shape[0])
        # K above L above M: the hardest shell on the axis is the least overlapped.
        energy = families[0].alpha_energy
        width = 1e-3 * float(detector.fwhm(np.array([energy]))[0])
        inside = np.abs(centers - energy) <= width
        left = (centers < energy - width) & (centers >= energy - 2 * width)
        right = (centers > energy + width) & (centers <= energy + 2 * width)
        sides = [s for s in (left, right) if s.any()]
        for c, values in enumerate(spectra):
            background = np.mean([np.median(values[s]) for s in sides]) if sides else 0.0
            best[c] = max(values[inside].sum() - background * inside.sum(), 0.0)
        out[:, e] = best / np.maximum(spectra.sum(axis=1), 1e-300)
    return out


def match_phases(
    factors: Factors,
    markers: Mapping[str, Markers],
    *,
    beam_energy: float,
    resolution: float = TYPICAL_RESOLUTION,
) -> Factors:
    """Name the components by what marks each phase.

    Each marker element's line strength is taken relative to the component that has most of
    it; a phase scores the mean over its ``high`` elements minus the mean over its
    ``absent`` ones, and the assignment with the highest sum of scores wins (Hungarian
    method).

    Parameters
    ----------
    factors : Factors
    markers : mapping of str to Markers
        For each phase; the result has the phases in this order, then what is left over.
    beam_energy : float
        keV.
    resolution : float
        Full width at half maximum at Mn Ka, eV.

    Returns
    -------
    Factors
        Components reordered and named; unmatched ones keep a letter.

    Warns
    -----
    SiftemWarning
        When another assignment scores nearly as well (within 0.1).

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> from siftem.decomposition.matching import Markers
    >>> factors = siftem.decompose(si, n_components=3)
    >>> marks = {"Brg": Markers(("Si",)), "Fp": Markers(("Fe", "Mg")), "Ca-Pv": Markers(("Ca",))}
    >>> siftem.match_phases(factors, marks, beam_energy=200.0).names
    ('Brg', 'Fp', 'Ca-Pv')
    """
    names = list(markers)
    k = factors.spectra.shape[0]
    if len(names) > k:
        raise InputError(
            f"{len(names)} phases are named but there are only {k} components: "
            f"set the number of phases to {len(names)} or more"
        )
    elements = sorted({e for m in markers.values() for e in (*m.high, *m.absent)})
    strengths = line_strengths(
        factors.spectra, factors.axis, elements, beam_energy=beam_energy, resolution=resolution
    )
    top = strengths.max(axis=0)
    relative = np.divide(strengths, top, out=np.zeros_like(strengths), where=top > 0)
    column = {e: i for i, e in enumerate(elements)}
    scores = np.zeros((len(names), k))
    for p, name in enumerate(names):
        marker = markers[name]
        if marker.high:
            scores[p] += relative[:, [column[e] for e in marker.high]].mean(axis=1)
        if marker.absent:
            scores[p] -= relative[:, [column[e] for e in marker.absent]].mean(axis=1)
    rows, chosen = linear_sum_assignment(-scores)
    best = scores[rows, chosen].sum()
    for p in range(len(names)):
        barred = scores.copy()
        barred[p, chosen[p]] = -1e6
        r, c = linear_sum_assignment(-barred)
        rival = barred[r, c].sum()
        if rival > best - 0.1:
            warnings.warn(
                f"the markers barely tell which component is {names[p]}: "
                f"give it more marker elements",
                DoubtWarning,
                stacklevel=2,
            )
            break
    left = [c for c in range(k) if c not in set(chosen.tolist())]
    order = (*chosen.tolist(), *left)
    spare = iter(n for n in factors.names if n not in names)
    return factors.reordered(order, (*names, *(next(spare) for _ in left)))
