"""Soft X-rays that fall for other reasons than composition: thicker film, shadowed detector.

A wedge, or a detector that the holder or a bent lamella shadows, takes soft lines away from place
to place. One phase then looks like two, or like one that is poor in its light elements.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from itertools import combinations

import numpy as np

from siftem.decomposition.purest import FEWEST_COUNTS, MOST_PIXELS
from siftem.errors import DoubtWarning
from siftem.quantification.composition import Composition
from siftem.spectrum_image import SpectrumImage
from siftem.xray.absorption import mass_attenuation

#: Elements of a larger share of atoms must be in both phases, and are compared.
_TELLS = 0.03
#: Lines of more standard deviations are compared. Beside counting they are known to the first part;
#: soft ones, which overlap and of which steep attenuation takes more or less than a film of some
#: mean thickness, to the second.
_CLEAR, _LINE_ERROR, _SOFT_ERROR = 5.0, 0.03, 0.2
#: Softest and hardest lines that differ by this factor of energy tell; a loss of more than this
#: part of the softest, by so many standard deviations, is told.
_APART, _LOSS, _SURELY = 1.5, 0.1, 5.0
#: Mean square of the deviations of lines from what attenuation leaves, in units of their errors.
_FITS = 2.0
#: Attenuation between edges goes with about this power of the energy.
_POWER = -2.7
#: Soft and hard X-rays are parted at this energy (keV): where films of 100 nm absorb, and not.
_SOFT = 1.0
#: A change across a phase that is told: of the ratio of soft to hard, in standard deviations.
_FALLS, _FALLS_SURELY = 0.15, 6.0
#: Extent of a phase: between these parts of its pixels.
_EXTENT = (0.05, 0.95)


def warn_of_dimmed_lines(compositions: Mapping[str, Composition]) -> None:
    """Tell of pairs of phases that may be one, but for its soft lines.

    Parameters
    ----------
    compositions : mapping of str to Composition
        Of the pure phases of a map.

    Warns
    -----
    DoubtWarning
        With the line that differs most.
    """
    for one, other in combinations(compositions, 2):
        found = _dimmed(compositions[one], compositions[other])
        if found is None:
            continue
        soft, hard, ratio = found
        bright, dim = (one, other) if ratio < 1 else (other, one)
        warnings.warn(
            f"{bright} and {dim}: but for soft lines their spectra are alike ({soft} beside {hard} "
            f"is {100 * min(ratio, 1 / ratio):.0f}% of it in {dim}), as of one phase where the "
            f"film is thicker or the detector in a shadow. Their contents of light elements tell "
            f"no two phases unless thickness and detector are the same there",
            DoubtWarning,
            stacklevel=3,
        )


def _dimmed(first: Composition, second: Composition) -> tuple[str, str, float] | None:
    """Line that loses most, and least, and how much of the first the second phase shows by it."""
    if first.elements != second.elements:
        return None
    most = np.maximum(first.atomic_fractions, second.atomic_fractions)
    telling = {e for e, share in zip(first.elements, most, strict=True) if share > _TELLS}
    names, energies, x, variance, seen = [], [], [], [], set()
    for i, family in enumerate(first.fit.model.families):
        if family.element not in telling or family.name not in second.fit.names:
            continue
        pair = [(first.fit, i), (second.fit, second.fit.names.index(family.name))]
        amounts = np.array([fit.amplitudes[j] for fit, j in pair])
        noise = np.array([fit.counting_covariance[j, j] for fit, j in pair])
        if (amounts**2 > _CLEAR**2 * noise).all():
            names.append(family.name)
            energies.append(float(family.energies[0]))
            x.append(float(np.log(amounts[1] / amounts[0])))
            variance.append(float((noise / np.maximum(amounts, 1e-300) ** 2).sum()))
            seen.add(family.element)
    if not telling or seen != telling or max(energies) < _APART * min(energies):
        return None
    at = np.array(energies)
    weights = dict(zip(first.elements, first.weight_fractions, strict=True))
    for attenuation in (at**_POWER, mass_attenuation(weights, at)):
        soft, hard = int(attenuation.argmax()), int(attenuation.argmin())
        more = _attenuated(np.array(x), np.array(variance), attenuation, at)
        lost = more * (attenuation[soft] - attenuation[hard])
        if abs(lost) > _LOSS:
            return names[soft], names[hard], float(np.exp(-lost))
    return None


def _attenuated(
    x: np.ndarray, variance: np.ndarray, attenuation: np.ndarray, energies: np.ndarray
) -> float:
    """How much more attenuation explains the logarithms of lines' ratios; 0 when it does not."""
    design = np.stack([np.ones_like(x), -attenuation / attenuation.max()], axis=1)
    known = variance + np.where(energies < _SOFT, _SOFT_ERROR, _LINE_ERROR) ** 2
    weighted = design / np.sqrt(known)[:, None]
    operator = np.linalg.pinv(weighted) / np.sqrt(known)
    found = operator @ x
    off = float(((x - design @ found) ** 2 / known).sum())
    noise = float(np.sqrt((operator[1] ** 2 * (variance + _LINE_ERROR**2)).sum()))
    alike = off <= _FITS * max(x.size - 2, 0) + 1e-9
    return float(found[1] / attenuation.max()) if alike and abs(found[1]) > _SURELY * noise else 0.0


def warn_of_falling_soft_counts(si: SpectrumImage, insides: Mapping[str, np.ndarray]) -> None:
    """Tell of phases whose soft counts change across the map beside the hard ones.

    Parameters
    ----------
    si : SpectrumImage
        X-ray counts.
    insides : mapping of str to ndarray of bool, shape (ny, nx)
        Pixels of each phase that hold nothing else.

    Warns
    -----
    DoubtWarning
    """
    axis = si.axis.to_kev()
    if not axis.first < 0.5 * _SOFT < _SOFT < axis.last:
        return
    soft_window, hard_window = si.axis.window_kev(None, _SOFT), si.axis.window_kev(_SOFT, None)
    for name, inside in insides.items():
        places = np.argwhere(inside)
        places = places[:: -(-len(places) // MOST_PIXELS) or 1]
        rows = si.counts[places @ np.array([si.shape[1], 1])]
        soft, hard = (
            np.asarray(rows[:, w].sum(axis=1), float).ravel() for w in (soft_window, hard_window)
        )
        if min(soft.sum(), hard.sum()) < FEWEST_COUNTS:
            continue
        change, sigma, way = _change(soft, soft + hard, places.astype(float))
        if change > _FALLS and change > _FALLS_SURELY * sigma:
            warnings.warn(
                f"{name}: from {way} its counts below {_SOFT:g} keV fall by {100 * change:.0f}% "
                f"beside the harder ones, as where a film becomes thicker, the detector is in a "
                f"shadow, or the composition changes: its numbers are of the mean, and contents "
                f"of light elements may be wrong by as much",
                DoubtWarning,
                stacklevel=3,
            )


def _change(soft: np.ndarray, total: np.ndarray, places: np.ndarray) -> tuple[float, float, str]:
    """Fall of soft over hard counts across a region, its error, and the way that it falls."""
    part = soft.sum() / total.sum()
    extent = np.diff(np.quantile(places, _EXTENT, axis=0), axis=0)[0].clip(1.0)
    away = (places - places.mean(axis=0)) / extent
    design = total[:, None] * part * np.column_stack([np.ones(len(away)), away])
    weight = 1.0 / np.maximum(total * part * (1 - part), 1e-9)
    inverse = np.linalg.pinv(design.T @ (design * weight[:, None]))
    slope = (inverse @ design.T @ (weight * soft))[1:]
    size = float(np.linalg.norm(slope))
    along = slope / max(size, 1e-300)
    sigma = float(np.sqrt(max(along @ inverse[1:, 1:] @ along, 0.0)))
    vertical = abs(slope[0]) > abs(slope[1])
    ends = ("the top down", "the bottom up") if vertical else ("left to right", "right to left")
    falls = slope[0 if vertical else 1] < 0
    # Of the soft part of all counts; of their ratio to hard ones it is more.
    ends_of_part = part * (1 + np.array([0.5, -0.5]) * size)
    odds = ends_of_part / np.maximum(1 - ends_of_part, 1e-9)
    change = 1.0 - float(odds[1] / odds[0])
    return change, sigma / max(1 - part, 1e-9), ends[0 if falls else 1]
