"""Ratios of lines within families and places of lines, as far as a spectrum tells them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import block_diag

from siftem.energy_axis import EnergyAxis
from siftem.fit.poisson import PoissonFit, fit_poisson
from siftem.fit.spectrum_model import Calibration, SpectrumModel, quantified_family
from siftem.spectrum import Spectrum
from siftem.xray.lines import Line, LineFamily, LineGroup, family_emission, line_groups

#: Groups that change the likelihood by less than this for a standard deviation are left alone.
_SEEN = 0.1
#: What a scale that is fitted leaves of its curvature, relative: it changes over half an octave.
_CURVED, _PER_OCTAVE = 5e-4, 2.0
#: Places that change twice the likelihood by less than this for a standard deviation are kept.
_MOVED = 1.0
#: Farthest from the tables, and farthest in one step, in standard deviations.
_FARTHEST, _STEP = 4.0, 1.5
#: Steps of a logarithm that may be taken for those of the number: off by a twentieth at the most.
_STRAIGHT = 0.3


@dataclass(frozen=True, eq=False)
class LineWeights:
    """Weights of groups of lines against the alpha lines of their families.

    ``weight = tabulated weight * exp(width * away)`` with a prior N(0, 1) of ``away``.

    Parameters
    ----------
    groups : tuple of LineGroup
    owner : ndarray of int, shape (groups,)
        Position of each group's family.
    away : ndarray of shape (groups,)
        How far from the tables, in standard deviations.
    """

    groups: tuple[LineGroup, ...]
    owner: np.ndarray
    away: np.ndarray

    @classmethod
    def tabulated(cls, families: Sequence[LineFamily], thick: Sequence[str] = ()) -> LineWeights:
        """Return the weights of tables; ``thick`` as for `SpectrumModel`."""
        found = [
            (group, i)
            for i, family in enumerate(families)
            for group in line_groups(family, thick=family.element in thick)
        ]
        owner = np.array([i for _, i in found], dtype=int)
        return cls(tuple(g for g, _ in found), owner, np.zeros(owner.size))

    def emitted(self, families: Sequence[LineFamily]) -> tuple[LineFamily, ...]:
        """Return families with these weights; alpha lines keep theirs, so the sum is not 1."""
        factors = {
            (i, line.name): factor
            for group, i, factor in zip(self.groups, self.owner, self._factors, strict=True)
            for line in group.family.lines
        }

        def moved(i: int, line: Line) -> Line:
            factor = factors.get((i, line.name), 1.0)
            return line if factor == 1.0 else replace(line, weight=line.weight * factor)

        return tuple(
            replace(family, lines=tuple(moved(i, line) for line in family.lines))
            for i, family in enumerate(families)
        )

    def ratios(
        self,
        model: SpectrumModel,
        axis: EnergyAxis,
        calibration: Calibration,
        photons: np.ndarray,
        mean: np.ndarray,
        lines: np.ndarray,
        steps: np.ndarray,
    ) -> Ratios:
        """Return the ratios that matter beside the noise of a spectrum.

        Parameters
        ----------
        model : SpectrumModel
        axis : EnergyAxis
        calibration : Calibration
        photons : ndarray of shape (families,)
        mean : ndarray of shape (channels,)
            Expected counts.
        lines : ndarray of shape (channels, families)
            Expected counts of the families whose places are free; none for a scale that is kept.
        steps : ndarray of shape (channels, m)
            See `Ratios`.
        """
        places = _CURVED * _half_octaves(axis)
        shifts = places * _slopes(axis, lines.sum(axis=1, keepdims=True))
        moved = (shifts**2 / mean[:, None]).sum(axis=0) > _MOVED
        size = photons[self.owner] * self.widths * self._factors
        there = np.flatnonzero(size > 0)
        columns = np.zeros((axis.size, 0))
        if there.size:
            families = tuple(self.groups[i].family for i in there)
            whole = replace(model, families=families, emitted=None)
            columns = whole.line_columns(axis, calibration) * size[there]
            seen = (columns**2 / mean[:, None]).sum(axis=0) > _SEEN
            columns, there = columns[:, seen], there[seen]
        return Ratios(self, there, columns, steps, axis, places[:, moved], shifts[:, moved])

    @property
    def widths(self) -> np.ndarray:
        """Standard deviations of the logarithms; (groups,)."""
        return np.array([g.width for g in self.groups])

    @property
    def _factors(self) -> np.ndarray:
        return np.asarray(np.exp(self.widths * self.away))


@dataclass(frozen=True, eq=False)
class Ratios:
    """Ratios of lines that a spectrum feels, places of lines, and steps of its continuum.

    Parameters
    ----------
    weights : LineWeights
    which : ndarray of int, shape (n,)
        Positions of these ratios among the groups.
    lines : ndarray of shape (channels, n)
        Change of the expected counts with ``away``.
    steps : ndarray of shape (channels, m)
        Counts in steps of the continuum, for one standard deviation (`siftem.fit.fit_steps`).
    axis : EnergyAxis
    places : ndarray of shape (channels, s)
        keV that lines near an energy lie higher, for one standard deviation.
    shifts : ndarray of shape (channels, s)
        Change of the expected counts with these.
    """

    weights: LineWeights
    which: np.ndarray
    lines: np.ndarray
    steps: np.ndarray
    axis: EnergyAxis
    places: np.ndarray
    shifts: np.ndarray

    @cached_property
    def columns(self) -> np.ndarray:
        """Steps, then shifts, then ratios; (channels, m + s + n)."""
        return np.hstack([self.steps, self.shifts, self.lines])

    @property
    def size(self) -> int:
        """Number of steps, shifts and ratios."""
        return self._others + self.which.size

    @property
    def away(self) -> np.ndarray:
        """Where they stand, in standard deviations from nothing and from the tables; (size,)."""
        return np.concatenate([np.zeros(self._others), self.weights.away[self.which]])

    @property
    def held(self) -> np.ndarray:
        """What the columns stand for where the ratios are now; (channels,)."""
        return np.asarray(self.columns @ self.away)

    def fitted(
        self, design: np.ndarray, spectrum: Spectrum, start: np.ndarray, penalty: np.ndarray | None
    ) -> PoissonFit:
        """Fit amplitudes and ratios, which tables hold back.

        Parameters
        ----------
        design : ndarray of shape (channels, p)
            Columns with the ratios as they stand.
        spectrum : Spectrum
        start : ndarray of shape (p,)
            First amplitudes.
        penalty : ndarray of shape (p, p), optional

        Returns
        -------
        PoissonFit
            Its amplitudes are those of ``design`` and then the ratios.
        """
        p = design.shape[1]
        return fit_poisson(
            np.hstack([design, self.columns]),
            spectrum.counts,
            offset=spectrum.background - self.held,
            free_sign=np.arange(p + self.size) >= p,
            penalty=self.penalty(p, penalty),
            start=np.concatenate([start, self.away]),
            tol=1e-7,
        )

    def penalty(self, p: int, penalty: np.ndarray | None) -> np.ndarray:
        """Return the inverse covariance of what is known of p columns and these."""
        return np.asarray(
            block_diag(np.zeros((p, p)) if penalty is None else penalty, np.eye(self.size))
        )

    def beyond_reason(self, away: np.ndarray) -> bool:
        """Whether steps among these (size,) must stand for something else, as lines not listed."""
        return bool((np.abs(away[: self.steps.shape[1]]) > _FARTHEST).any())

    def without_steps(self) -> Ratios:
        """Return the ratios alone."""
        return replace(self, steps=self.steps[:, :0])

    def near(self, away: np.ndarray) -> bool:
        """Whether the way to these (size,) can be taken for a straight one."""
        step = self.weights.widths[self.which] * self._of_lines(away - self.away)
        return bool((np.abs(step) < _STRAIGHT).all())

    def moved(self, away: np.ndarray) -> LineWeights:
        """Return the weights with the ratios of these (size,), or on the way there."""
        step = np.clip(self._of_lines(away - self.away), -_STEP, _STEP)
        new = self.weights.away.copy()
        new[self.which] = np.clip(new[self.which] + step, -_FARTHEST, _FARTHEST)
        return replace(self.weights, away=new)

    def folded(self, design: np.ndarray, amplitudes: np.ndarray, continuum: slice) -> np.ndarray:
        """Return the columns with the ratios and steps that were found.

        Parameters
        ----------
        design : ndarray of shape (channels, p)
        amplitudes : ndarray of shape (p + size,)
        continuum : slice
            Its columns; the largest of them takes the steps.
        """
        p, m, lines = design.shape[1], self.steps.shape[1], slice(0, continuum.start)
        out = design.copy()
        step = amplitudes[p:] - self.away
        higher = self.places @ step[m : self._others]
        out[:, lines] += higher[:, None] * _slopes(self.axis, design[:, lines])
        largest = continuum.start + int(np.argmax(amplitudes[continuum]))
        found = [(self.steps, step[:m], [largest] * m)]
        found.append((self.lines, self._of_lines(step), self.weights.owner[self.which]))
        for columns, by, owners in found:
            for column, size, owner in zip(columns.T, by, owners, strict=True):
                if amplitudes[owner] > 0:
                    out[:, owner] += column * (size / amplitudes[owner])
        return out

    def _of_lines(self, values: np.ndarray) -> np.ndarray:
        return values[self._others :]

    @property
    def _others(self) -> int:
        return self.steps.shape[1] + self.shifts.shape[1]


def _half_octaves(axis: EnergyAxis) -> np.ndarray:
    """Hats over the logarithm of the energy, which sum to that energy in keV; (channels, hats)."""
    kev = np.maximum(axis.to_kev().centers, 0.1)
    place = _PER_OCTAVE * np.log2(kev / kev[0])
    away = place[:, None] - np.arange(np.ceil(place[-1]) + 1)
    return kev[:, None] * np.maximum(1.0 - np.abs(away), 0.0)


def _slopes(axis: EnergyAxis, lines: np.ndarray) -> np.ndarray:
    """Change of counts (channels, n) when their lines lie higher, per keV."""
    return -np.gradient(lines, axis.to_kev().scale, axis=0)


#: Photons of a softer family for one of a harder one, relative to tables, that no spectrum exceeds.
#: Yields of soft L lines are known to a factor of two, those of M lines to one of some five
#: (Hubbell et al. 1994, J. Phys. Chem. Ref. Data 23, 339, compare measured ones); in bulk, harder
#: lines are excited less, by a factor of two where the beam has twice their energy.
_MOST = {"L": 5.0, "M": 10.0}
#: Below this many times the energy of harder lines, softer ones may be there alone.
_OVERVOLTAGE = 2.0


def softer_families(
    model: SpectrumModel, axis: EnergyAxis
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the families of elements that are measured by a harder one of theirs.

    An element whose harder lines would be seen can't be there by its soft ones alone: those lie in
    the feet of others, whose tails they would take. Absorption, in the film, thick pieces or a
    window, makes them weaker still.

    Parameters
    ----------
    model : SpectrumModel
    axis : EnergyAxis

    Returns
    -------
    softer, harder : ndarray of int, shape (n,)
        Positions of these families, and of those by which their elements are measured.
    expected, most : ndarray of shape (n,)
        Photons for one of the harder family by tables, and that there can be.
    """
    found = []
    for i, family in enumerate(model.families):
        main = quantified_family(model.families, family.element, axis)
        if main is None or family.alpha_energy >= main.alpha_energy:
            continue
        if model.beam_energy > _OVERVOLTAGE * main.alpha_energy:
            emitted = [family_emission(f, model.beam_energy) for f in (family, main)]
            by_tables = emitted[0] / emitted[1]
            most = _MOST[family.shell[0]] * by_tables
            found.append((i, model.families.index(main), by_tables, most))
    table = np.array(found, dtype=float).reshape(-1, 4)
    return table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2], table[:, 3]
