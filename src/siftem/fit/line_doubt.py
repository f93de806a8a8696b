"""What is not known of fitted lines: ratios within families, tails and escape peaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.linalg import block_diag

from siftem.energy_axis import EnergyAxis
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.xray.lines import family_emission, line_groups
from siftem.xray.profiles import detected_lines, line_profiles
from siftem.xray.response import spread_exponentially

#: Escape peaks are known to this (relative).
_ESCAPE = 0.5
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
        Counts for one photon; what escapes add and take.
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
    parts = [(g, i) for i, family in enumerate(model.families) for g in line_groups(family)]
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
        with_escape - without,
        np.array([f.alpha_energy for f in model.families]),
        _m_of_l(model),
        kev,
    )


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
