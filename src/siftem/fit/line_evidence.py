"""Which lines of an element a spectrum shows, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from siftem.energy_axis import EnergyAxis
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.xray.detector import Detector
from siftem.xray.lines import LineFamily, visible_name

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
    """

    element: str
    line: str
    energy: float
    counts: float
    significance: float
    evidence: tuple[SeenLine, ...] = ()
    may_hide: tuple[str, ...] = ()

    def __str__(self) -> str:
        peaks = ", ".join(f"{e.name} {e.significance:.0f}" for e in self.evidence)
        hidden = f"; may hide {', '.join(self.may_hide)}" if self.may_hide else ""
        return (
            f"{self.line} ({self.energy:.3f} keV, {self.counts:.3g} counts; sigma of its peaks: "
            f"{peaks}{hidden})"
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
    model = SpectrumModel(tuple(parts), beam_energy, detector, 1)
    profiles = model.line_columns(axis, calibration)
    counts, owners = profiles.sum(axis=0), np.array(owner, dtype=int)
    strongest = np.zeros(len(families))
    np.maximum.at(strongest, owners, counts)
    kept = counts > _WEAK * strongest[owners]
    return Peaks(
        tuple(p for p, k in zip(parts, kept, strict=True) if k), owners[kept], profiles[:, kept]
    )


def seen_lines(
    peaks: Peaks,
    residual: np.ndarray,
    left: np.ndarray,
    *,
    common: bool,
    lenient: bool = False,
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
        if (sure & missing).any():
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
