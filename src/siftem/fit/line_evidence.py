"""Which lines of an element a spectrum shows, and what is not known of fitted lines.

The latter are ratios within families, tails and escape peaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy.linalg import block_diag

from siftem.energy_axis import EnergyAxis
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.xray.detector import Detector
from siftem.xray.lines import (
    LineFamily,
    family_emission,
    line_families,
    line_groups,
    visible_name,
)
from siftem.xray.profiles import detected_lines, line_profiles
from siftem.xray.response import spread_exponentially

#: Lines nearer than this share of the resolution are one peak.
_ONE_PEAK = 0.8
#: Peaks with less than this share of the counts of their family's strongest are left out.
_WEAK = 0.04
#: A peak shows from here on; one that should show far more clearly may not be missing.
_SHOWS, _EXPECTED = 4.0, 10.0
#: Standard deviations from which on one peak can be enough.
_BY_FAR = 20.0
#: Peaks agree within this many standard deviations, and this share of what the family asks for.
_BEYOND, _RATIO = 3.0, 0.25
#: Peaks that are judged: with this share of the counts of the strongest, and not soft (keV).
_MAIN, _SOFT = 0.12, 1.6


@dataclass(frozen=True)
class SeenLine:
    """A peak of an element that a spectrum shows.

    Parameters
    ----------
    name : str
        Such as "La" or "Kb", of its strongest line.
    energy : float
        keV.
    significance : float
        Counts over their standard deviation, errors of the model included.
    """

    name: str
    energy: float
    significance: float


@dataclass(frozen=True)
class FoundElement:
    """An element that a spectrum shows.

    Parameters
    ----------
    element : str
    line : str
        Its clearest family in the spectrum, such as "Fe K".
    energy : float
        Energy of that family's alpha line, keV.
    counts : float
        Fitted counts of the family.
    significance : float
        Counts over their standard deviation, which includes that the peaks of the model
        are not quite right.
    evidence : tuple of SeenLine
        Its peaks that show, clearest first.
    may_hide : tuple of str
        Families of others, such as "P K", that can't be told from its M lines.
    lacks : str
        A line that should show and does not ("K beta"), where nothing else explains the others.
    """

    element: str
    line: str
    energy: float
    counts: float
    significance: float
    evidence: tuple[SeenLine, ...] = ()
    may_hide: tuple[str, ...] = ()
    lacks: str = ""

    @property
    def caveat(self) -> str:
        """What to add where the element is named; empty where all its lines agree."""
        lacks = f", its {self.lacks} does not show" if self.lacks else ""
        return lacks + (f", may hide {', '.join(self.may_hide)}" if self.may_hide else "")

    def __str__(self) -> str:
        peaks = ", ".join(f"{e.name} {e.significance:.0f}" for e in self.evidence)
        return (
            f"{self.line} ({self.energy:.3f} keV, {self.counts:.3g} counts; sigma of its peaks: "
            f"{peaks}{self.caveat})"
        )


@dataclass(frozen=True, eq=False)
class Peaks:
    """The resolved peaks of some families of one element.

    Parameters
    ----------
    parts : tuple of LineFamily
        Lines of each peak, with their weights in the family.
    owner : ndarray of int, shape (peaks,)
        Position of the family that each belongs to.
    profiles : ndarray of shape (channels, peaks)
        Counts for one photon of the family.
    """

    parts: tuple[LineFamily, ...]
    owner: np.ndarray
    profiles: np.ndarray

    @property
    def hard(self) -> np.ndarray:
        """Whether the ratio of each peak to others is known: K lines, and L beyond 1.6 keV."""
        return np.array(
            [
                p.shell == "K" or (p.shell.startswith("L") and p.alpha_energy > _SOFT)
                for p in self.parts
            ]
        )


def peaks_of(
    families: Sequence[LineFamily],
    axis: EnergyAxis,
    beam_energy: float,
    detector: Detector,
    calibration: Calibration,
) -> Peaks:
    """Divide families into the peaks that the detector resolves.

    Parameters
    ----------
    families : sequence of LineFamily
        Of one element.
    axis : EnergyAxis
    beam_energy : float
        keV.
    detector : Detector
    calibration : Calibration

    Returns
    -------
    Peaks
    """
    model, owners = _divided(tuple(families), beam_energy, detector)
    profiles = model.line_columns(axis, calibration)
    counts = profiles.sum(axis=0)
    strongest = np.zeros(len(families))
    np.maximum.at(strongest, owners, counts)
    kept = counts > _WEAK * strongest[owners]
    parts = tuple(p for p, k in zip(model.families, kept, strict=True) if k)
    return Peaks(parts, owners[kept], profiles[:, kept])


# The same for every scale of the energies that a search tries.
@lru_cache(maxsize=128)
def _divided(
    families: tuple[LineFamily, ...], beam_energy: float, detector: Detector
) -> tuple[SpectrumModel, np.ndarray]:
    """Return a model with a column for each peak, and the family that each belongs to."""
    parts: list[LineFamily] = []
    owner: list[int] = []
    for number, family in enumerate(families):
        held: list[list[int]] = []
        order = np.argsort(family.energies)
        for i in order:
            energy = family.energies[i]
            width = 1e-3 * float(detector.fwhm(np.array([energy]))[0])
            if held:
                weights = family.weights[held[-1]]
                centre = weights @ family.energies[held[-1]] / weights.sum()
                if energy - centre < _ONE_PEAK * width:
                    held[-1].append(int(i))
                    continue
            held.append([int(i)])
        for members in held:
            lines = tuple(family.lines[i] for i in sorted(members))
            parts.append(LineFamily(family.element, family.shell, lines))
            owner.append(number)
    return SpectrumModel(tuple(parts), beam_energy, detector, 1), np.array(owner, dtype=int)


def seen_lines(
    peaks: Peaks,
    residual: np.ndarray,
    left: np.ndarray,
    *,
    common: bool,
    lenient: bool = False,
    alone: bool = False,
) -> tuple[SeenLine, ...]:
    """Return the peaks of an element that show; none when the element is not credible.

    Every peak that should show clearly must be there. An element that is rare, or measured by
    L or M lines, must show two peaks that agree with the ratio of its lines: one alone is far
    more often a tail, an escape or sum peak, or a line whose ratio is not known well.

    Parameters
    ----------
    peaks : Peaks
    residual : ndarray of shape (channels,)
        Counts less all else, over their standard deviation with the errors of the model.
    left : ndarray of shape (channels, peaks)
        Profiles of the peaks over the same standard deviation, less what all else could take
        over.
    common : bool
        Whether one peak of K lines is enough.
    lenient : bool
        Whether one peak is enough for what stands out by far.
    alone : bool
        Whether K alpha lines that stand out by far are enough although their K beta is missing.

    Returns
    -------
    tuple of SeenLine
        Clearest first.
    """
    gram = left.T @ left
    scale = np.sqrt(np.maximum(np.diag(gram), 1e-30))
    inverse = np.linalg.pinv(gram / np.outer(scale, scale) + 1e-6 * np.eye(scale.size))
    amplitude = (inverse @ (left.T @ residual / scale)) / scale
    sigma = np.sqrt(np.diag(inverse)) / scale
    z = amplitude / sigma
    counts = peaks.profiles.sum(axis=0)
    agree = np.zeros(z.size, dtype=bool)
    whole_z = 0.0
    for family in np.unique(peaks.owner):
        mine = np.flatnonzero(peaks.owner == family)
        whole = left[:, mine].sum(axis=1)
        norm = max(float(whole @ whole), 1e-30)
        asked = float(whole @ residual) / norm
        whole_z = max(whole_z, asked * np.sqrt(norm))
        away = (amplitude[mine] - asked) / np.hypot(sigma[mine], _RATIO * asked)
        agree[mine] = (np.abs(away) < _BEYOND) & (asked > 0)
        strong = counts[mine] > _MAIN * counts[mine].max()
        sure = strong & (peaks.hard[mine])
        missing = (asked > _EXPECTED * sigma[mine]) & (z[mine] < _SHOWS) & ~agree[mine]
        first = mine[int(np.argmax(counts[mine]))]
        by_far = alone and peaks.parts[first].shell == "K" and z[first] > _BY_FAR
        if (sure & missing).any() and not by_far:
            return ()
    shown = [int(i) for i in np.argsort(-z) if z[i] > _SHOWS]
    if common and any(part.shell == "K" for part in peaks.parts):
        enough = bool(shown) or whole_z > 1.5 * _SHOWS
    else:
        agreeing = sum(agree[i] for i in shown)
        enough = agreeing > 1 or (lenient and agreeing == 1 and whole_z > _BY_FAR)
    if not enough:
        return ()
    return tuple(
        SeenLine(visible_name(peaks.parts[i].lines[0]), peaks.parts[i].alpha_energy, float(z[i]))
        for i in shown or [int(np.argmax(z))]
    )


#: Escape peaks are known to this (relative).
_ESCAPE = 0.5
#: What they lose, keV: the K line of silicon.
_ESCAPED = 1.74
#: Tails: decay length (keV; negative towards high energy, None for a flat shelf below the
#: peak) and the share of the peak that a detector may put there.
_TAILS = ((0.06, 0.03), (0.4, 0.02), (None, 0.02), (-0.15, 0.01))
#: The shares differ from soft to hard lines: borders in keV.
_BANDS = (0.0, 1.2, 2.5, 5.0, np.inf)


@dataclass(frozen=True, eq=False)
class LineDoubt:
    """Shapes of what is not known of the lines of some families.

    Parameters
    ----------
    groups : ndarray of shape (channels, groups)
        Counts of each group of lines for one photon of its family, times the width of its
        prior; see `siftem.xray.lines`.
    owner : ndarray of int, shape (groups,)
        Position of the family of each group.
    lines, escapes : ndarray of shape (channels, families)
        Counts for one photon; what escapes add and take, those of an element's lines beyond the
        axis among them.
    energies : ndarray of shape (families,)
        Of the alpha lines, keV.
    m_of_l : ndarray of shape (families, families)
        Photons of an M family that one photon of the element's L family stands for.
    axis : EnergyAxis
        Of true energies, keV.
    """

    groups: np.ndarray
    owner: np.ndarray
    lines: np.ndarray
    escapes: np.ndarray
    energies: np.ndarray
    m_of_l: np.ndarray
    axis: EnergyAxis

    def columns(self, photons: np.ndarray) -> np.ndarray:
        """Return what ratios, tails and escapes may change, for one standard deviation each.

        Parameters
        ----------
        photons : ndarray of shape (families,)

        Returns
        -------
        ndarray of shape (channels, n)
        """
        # M lines must be about where L lines are, even if another's lines took their place.
        likely = np.maximum(photons, self.m_of_l @ photons)[self.owner]
        present = likely > 0
        columns = [self.groups[:, present] * likely[present]]
        for low, high in pairwise(_BANDS):
            inside = (self.energies > low) & (self.energies <= high)
            peaks = self.lines[:, inside] @ photons[inside]
            columns += [
                (share * (_tail(peaks, self.axis, length) - peaks))[:, None]
                for length, share in _TAILS
            ]
        columns.append(_ESCAPE * (self.escapes @ photons)[:, None])
        out = np.hstack(columns)
        return out[:, out.any(axis=0)]

    @classmethod
    def joined(cls, parts: Sequence[LineDoubt]) -> LineDoubt:
        """Return several as one, in their order."""
        sizes = np.cumsum([0, *(p.energies.size for p in parts)])
        return cls(
            np.hstack([p.groups for p in parts]),
            np.concatenate([p.owner + n for p, n in zip(parts, sizes[:-1], strict=True)]),
            np.hstack([p.lines for p in parts]),
            np.hstack([p.escapes for p in parts]),
            np.concatenate([p.energies for p in parts]),
            block_diag(*(p.m_of_l for p in parts)),
            parts[0].axis,
        )


def line_doubt(model: SpectrumModel, axis: EnergyAxis, calibration: Calibration) -> LineDoubt:
    """Return what is not known of the lines of a model.

    Parameters
    ----------
    model : SpectrumModel
    axis : EnergyAxis
    calibration : Calibration

    Returns
    -------
    LineDoubt
    """
    parts = [
        (group, i)
        for i, family in enumerate(model.families)
        for group in line_groups(family, thick=family.element in model.thick)
    ]
    groups = np.zeros((axis.size, 0))
    if parts:
        whole = replace(model, families=tuple(g.family for g, _ in parts))
        widths = np.array([g.width for g, _ in parts])
        groups = whole.line_columns(axis, calibration) * widths
    kev = calibration.true_axis(axis)
    detector = replace(model.detector, resolution=calibration.resolution)
    with_escape, without = (
        line_profiles(
            detected_lines(model.families, detector, absorption=model.absorption, escape=escape),
            kev,
            detector,
        )
        for escape in (True, False)
    )
    return LineDoubt(
        groups,
        np.array([i for _, i in parts], dtype=int),
        model.line_columns(axis, calibration),
        with_escape - without + _escapes_from_beyond(model, kev, detector) / _ESCAPE,
        np.array([f.alpha_energy for f in model.families]),
        _m_of_l(model),
        kev,
    )


def _escapes_from_beyond(model: SpectrumModel, kev: EnergyAxis, detector: Detector) -> np.ndarray:
    """Escape peaks of lines that lie beyond the axis, by the photons of those that lie on it."""
    out = np.zeros((kev.size, len(model.families)))
    own = [f for f in model.families if kev.contains(f.alpha_energy)]
    for element in dict.fromkeys(f.element for f in own):
        seen = max((f for f in own if f.element == element), key=lambda f: f.alpha_energy)
        beyond = line_families(
            [element], beam_energy=model.beam_energy, low=kev.last, high=kev.last + _ESCAPED
        )
        for family in (f for f in beyond if f.alpha_energy > kev.last):
            ratio = family_emission(family, model.beam_energy) / family_emission(
                seen, model.beam_energy
            )
            with_escape, without = (
                line_profiles(detected_lines((family,), detector, escape=e), kev, detector)
                for e in (True, False)
            )
            escaped = np.maximum(with_escape - without, 0.0)[:, 0]
            out[:, model.families.index(seen)] += ratio * escaped
    return out


def _m_of_l(model: SpectrumModel) -> np.ndarray:
    families = model.families
    emission = [family_emission(f, model.beam_energy) for f in families]
    return np.array(
        [
            [
                emission[i] / emission[j]
                if (m.shell, other.shell, m.element) == ("M", "L", other.element)
                else 0.0
                for j, other in enumerate(families)
            ]
            for i, m in enumerate(families)
        ]
    ).reshape(len(families), len(families))


def _tail(peaks: np.ndarray, axis: EnergyAxis, length: float | None) -> np.ndarray:
    """Peaks spread to one side, exponentially or evenly; (channels,)."""
    reverse = peaks[::-1]
    if length is None:
        channels = np.maximum(np.arange(axis.size), 1.0)
        return np.asarray(np.cumsum(reverse / channels[::-1])[::-1])
    return spread_exponentially(peaks[:, None], axis, length)[:, 0]
