"""Phases that are not alike everywhere, and two that are one: film, shadow, diffusion.

A wedge, or a detector that the holder or a bent lamella shadows, takes soft lines away from place
to place. One phase then looks like two, or like one that is poor in its light elements.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from itertools import combinations

import numpy as np
import scipy.sparse as sp

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
#: What loses more, in logarithms, lacks the element: 95% are absorbed by no film, nor in a shadow.
_MOST_LOST = 3.0
#: Mean square of the deviations of lines from what attenuation leaves, in units of their errors.
_FITS = 2.0
#: Attenuation between edges goes with about this power of the energy.
_POWER = -2.7
#: Soft and hard X-rays are parted at this energy (keV): where films of 100 nm absorb, and not.
_SOFT = 1.0
#: A change across a phase that is told, and in standard deviations.
_FALLS, FALLS_SURELY = 0.15, 7.0
#: Width of windows (keV) among the hard counts, and of these the least part that tells.
_WINDOW, _STRONG = 0.15, 0.02
#: Extent of a phase: between these parts of its pixels.
EXTENT = (0.05, 0.95)


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
        if _LOSS < abs(lost) < _MOST_LOST:
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


def warn_of_uneven_phases(si: SpectrumImage, insides: Mapping[str, np.ndarray]) -> None:
    """Tell of phases whose spectrum changes across the map.

    Soft counts beside hard ones change with thickness and shadows, lines among the hard ones with
    composition, as in a zone of diffusion.

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
    if not axis.first < axis.last - 1.0 or axis.last < _SOFT + 1.0:
        return
    centers = axis.centers
    bins = np.floor((centers - _SOFT) / _WINDOW).astype(int)
    bins = np.where(centers < _SOFT, 0, 1 + np.maximum(bins, 0))
    windows = sp.csr_array((np.ones(bins.size), (np.arange(bins.size), bins)))
    for name, inside in insides.items():
        places = np.argwhere(inside)
        places = places[:: -(-len(places) // MOST_PIXELS) or 1]
        rows = si.counts[places @ np.array([si.shape[1], 1])]
        held = np.asarray((sp.csr_array(rows) @ windows).todense(), float)
        hard = held[:, 1:].sum(axis=1)
        if hard.sum() < FEWEST_COUNTS:
            continue
        extent = np.diff(np.quantile(places, EXTENT, axis=0), axis=0)[0].clip(1.0)
        away = (places - places.mean(axis=0)) / extent
        soft = held[:, :1]
        if axis.first < 0.5 * _SOFT and soft.sum() > FEWEST_COUNTS:
            part = float(soft.sum() / (soft.sum() + hard.sum()))
            slopes, sigma = _slopes(soft, soft[:, 0] + hard, away)
            # Of the part of all counts that is soft; their ratio to hard ones changes by more.
            odds = [max(part * (1 + e * np.hypot(*slopes[0])), 0.0) for e in (0.5, -0.5)]
            high, low = (o / max(1 - o, 1e-9) for o in odds)
            change = 1.0 - low / high
            if change > _FALLS and np.hypot(*slopes[0]) > FALLS_SURELY * sigma[0]:
                warnings.warn(
                    f"{name}: from {way(slopes[0])} its counts below {_SOFT:g} keV fall by "
                    f"{100 * change:.0f}% beside the harder ones, as where a film becomes thicker, "
                    f"the detector is in a shadow, or the composition changes: its numbers are of "
                    f"the mean, and contents of light elements may be wrong by as much",
                    DoubtWarning,
                    stacklevel=3,
                )
        many = np.flatnonzero(held.sum(axis=0) > _STRONG * hard.sum())
        many = many[many > 0]
        slopes, sigma = _slopes(held[:, many], hard, away)
        changes = np.hypot(*slopes.T)
        told = (changes > _FALLS) & (changes > FALLS_SURELY * sigma)
        if told.any():
            i = int(np.where(told, changes / sigma, 0.0).argmax())
            energy = _SOFT + _WINDOW * (many[i] - 0.5)
            warnings.warn(
                f"{name}: from {way(slopes[i])} its counts at {energy:.2f} keV fall by "
                f"{100 * min(2 * changes[i] / (2 + changes[i]), 1.0):.0f}% beside others above "
                f"{_SOFT:g} keV: its composition changes, as by diffusion, it is "
                f"several phases, or the energy axis drifts: its numbers are of the mean",
                DoubtWarning,
                stacklevel=3,
            )


def _slopes(held: np.ndarray, total: np.ndarray, away: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Relative change of parts of the total over the extent of a region; (windows, 2), (windows,).

    With the standard deviation of each along the way that it changes.
    """
    part = held.sum(axis=0) / total.sum()
    terms = np.column_stack([np.ones(len(away)), away])
    inverse = np.linalg.pinv(terms.T @ (terms * total[:, None]))
    slopes = ((inverse @ (terms.T @ held)) / part)[1:].T
    along = slopes / np.maximum(np.linalg.norm(slopes, axis=1, keepdims=True), 1e-300)
    spread = np.einsum("wi,ij,wj->w", along, inverse[1:, 1:], along)
    return slopes, np.sqrt(np.maximum(spread, 1e-300) * (1 - part).clip(0.0) / part)


def way(slope: np.ndarray) -> str:
    """Return the way that something falls, by its change with rows and columns."""
    vertical = abs(slope[0]) > abs(slope[1])
    ends = ("the top down", "the bottom up") if vertical else ("left to right", "right to left")
    return ends[0 if slope[0 if vertical else 1] < 0 else 1]
