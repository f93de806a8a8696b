"""Names for compositions: which phases of a table explain them, and whether any does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from siftem.errors import InputError
from siftem.minerals.compared_compositions import (
    Frame,
    hidden_elements,
    log_density,
    member_atoms,
    possible_fractions,
)
from siftem.minerals.phase_library import (
    SAMPLES,
    SETTINGS,
    Phase,
    read_phases,
    shipped_phases,
)
from siftem.minerals.structural_formula import Analysis
from siftem.quantification.composition import Composition, behind_a_window
from siftem.views import outline

#: Share of the probability, before anything was measured, that no phase of the table is it.
NONE_PRIOR = 0.1
#: So many of the likeliest phases are looked at closely.
_LOOKED_AT = 12
#: Phases within so many standard deviations explain a composition equally well.
_AS_NEAR = 2.0
#: An element that stands out makes a phase without it impossible when it makes so much of the
#: value, and of every composition that is possible (atomic fractions).
_HOLDS, _ALWAYS = 0.1, 0.03
#: Compositions that differ by less than this part of their atoms are one, whatever their names.
_ONE = 0.05
#: From here on (standard deviations) not even the nearest of many possible compositions is a phase.
_FAR = 3.0
#: Candidates from this probability on are listed, the first one always.
_LISTED = 0.005
#: Shares of a phase's members, their coordinates, and the covariance of its density.
_Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Candidate:
    """A phase that may be it.

    Parameters
    ----------
    name, setting, source : str
        As in the table.
    probability : float
        Posterior.
    distance : float
        From the measured composition to the nearest one of the phase, in standard deviations
        of all errors and the natural scatter together (Mahalanobis); from the nearest of those that
        are possible, where nothing fixes how much of another phase is in it.
    members : dict of str to float
        Shares of the end members at the nearest composition.
    """

    name: str
    setting: str
    source: str
    probability: float
    distance: float
    members: dict[str, float]


@dataclass(frozen=True, eq=False)
class Identification:
    """What a composition may be. A proposal: nothing is renamed by it.

    Parameters
    ----------
    name : str
        Of the phase as it is called in the run.
    candidates : tuple of Candidate
        The most probable first; the first one also when it is improbable.
    none : float
        Probability that no phase of the table explains the composition.
    too_open : bool
        No name can be told, since the compositions that are possible leave too many: no composition
        has half of the probability; or, along a range, the likeliest phase is far from all of it or
        can't be what was estimated.
    """

    __repr__ = outline

    name: str
    candidates: tuple[Candidate, ...]
    none: float
    too_open: bool = False

    @property
    def best(self) -> str | None:
        """The most probable phase; None when "none of these" is more probable, or it is open."""
        named = sum(c.probability for c in self.candidates)
        if self.too_open:
            return None
        return None if self.none > named or not self.candidates else self.candidates[0].name

    @property
    def listed(self) -> tuple[Candidate, ...]:
        """Candidates worth reading: the probable ones, else the nearest one."""
        probable = tuple(c for c in self.candidates if c.probability >= _LISTED)
        return probable or tuple(sorted(self.candidates, key=lambda c: c.distance)[:1])

    def __str__(self) -> str:
        """Return candidates with probabilities and distances in one line."""
        shown = [
            f"{c.name} {_percent(c.probability)} ({c.distance:.1f} sigma)" for c in self.listed
        ]
        none = f"none of these {_percent(self.none)}"
        if self.too_open:
            return f"composition too open for a name ({'; '.join([*shown, none])})"
        return "; ".join([none, *shown] if self.best is None else [*shown, none])


def _percent(probability: float) -> str:
    return "< 1%" if probability < 0.005 else f"{100 * probability:.0f}%"


def identify(
    composition: Composition | Analysis,
    *,
    table: str | Path | Sequence[Phase] | None = None,
    settings: Sequence[str] = (),
    none_prior: float = NONE_PRIOR,
    without: Collection[str] = (),
) -> Identification:
    """Propose what a composition may be, from a table of phases.

    The likelihood of a phase is the mean over compositions within its ranges of a normal
    density with the full covariance of the atomic fractions: counting, model, k-factors,
    attenuation and film, and the natural scatter about formulas. "None of these" is a phase
    that differs from those of the table by some 25% of its contents and lies within the ranges
    of none of them; it wins where all lie several sigma away. Phases of one composition
    share their probability: only ``settings`` can part them. Elements without a line (H to N
    unless quantified, and what has none in the fitted range) are left out of the formulas, and so
    is O where it was not measured but reckoned from the cations: it says nothing of OH, carbonate
    or the charge of iron.

    Parameters
    ----------
    composition : Composition or Analysis
        With O measured, unless it is free of O: of O by stoichiometry and of analyses by oxides the
        cations alone are compared, with phases that hold O.
    table : path or sequence of Phase, optional
        A CSV of your own whose phases come besides those of the package, and in place of those of
        the same name; or all phases that are to be compared.
    settings : sequence of str
        Only phases of these: rock, mantle, deep, meteorite, ore, technical. All by default.
    none_prior : float
        Probability of "none of these" before the measurement.
    without : collection of str
        Names of phases that it is known not to be.

    Returns
    -------
    Identification

    Raises
    ------
    InputError
        When a setting is unknown or leaves no phase, or the prior is no probability.

    Examples
    --------
    >>> analysis = siftem.Analysis.from_oxides(
    ...     {"SiO2": 40.9, "FeO": 9.8, "MgO": 49.1}, sigma=0.5, name="grain"
    ... )
    >>> found = siftem.identify(analysis, settings=["rock"])
    >>> found.best
    'olivine'
    >>> found.none < 0.05
    True
    """
    analysis = _with_window(composition)
    if not 0 < none_prior < 1:
        raise InputError(f"none_prior must lie between 0 and 1, got {none_prior}")
    phases = tuple(p for p in _chosen(table, settings) if p.name not in without)
    measured = [e != "O" or not analysis.oxygen_by_charges for e in analysis.elements]
    if not analysis.weight_fractions[measured].sum() > 0:
        return Identification(analysis.name, (), 1.0)
    if analysis.oxygen_by_charges and len(analysis.elements) > 1:
        analysis = _without_oxygen(analysis)
        phases = tuple(p for p in phases if "O" in p.elements)
    frame = Frame(analysis)
    possible = possible_fractions(analysis)
    points = frame.coordinates(possible)
    held = _surely_held(analysis, possible)
    phases = tuple(p for p in phases if held <= set(p.elements))
    named, broad, drawn = _densities(phases, frame, points)
    elsewhere = np.logaddexp.reduce(broad)
    if not np.isfinite(elsewhere):
        return Identification(analysis.name, (), 1.0)
    nearest = _nearest(phases, frame, points, named, drawn)
    among = np.exp(named - np.logaddexp.reduce(named))
    alike = _alike(phases, nearest, analysis)
    among = _levelled(among, phases, nearest, frame, alike)
    order = [i for i in np.argsort(-among, kind="stable").tolist() if i in nearest]
    kept = [i for i in order if among[i] >= _LISTED] or order[:1]
    nearest = {i: nearest[i] for i in kept}
    inside = max(frame.inside(phases[i], *found) for i, found in nearest.items())
    by_named = np.log(1 - none_prior) + np.logaddexp.reduce(named)
    by_none = np.log(none_prior) + elsewhere + np.log1p(-min(inside, 1 - 1e-12))
    none = float(np.exp(by_none - np.logaddexp(by_named, by_none)))
    candidates = tuple(
        Candidate(
            phases[i].name, phases[i].setting, phases[i].source,
            float(among[i]) * (1 - none), distance,
            {m.formula: float(s) for m, s in zip(phases[i].members, shares, strict=True)},
        )
        for i, (shares, distance) in nearest.items()
    )  # fmt: skip
    most = max(among[alike[i]].sum() for i in kept) * (1 - none)
    best, too_open = order[0], none < 0.5 and most < 0.5
    if none < 0.5 and np.abs(possible - possible[0]).sum(axis=1).max() / 2 > _ONE:
        is_not = _is_not(phases[best], drawn[best][0], analysis)
        too_open = too_open or nearest[best][1] > _FAR or is_not
    return Identification(analysis.name, candidates, none, too_open)


def _densities(
    phases: Sequence[Phase], frame: Frame, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[int, _Drawn]]:
    """Log densities of the phases and of what differs from them, and what was drawn of each."""
    named = np.full(len(phases), -np.inf)
    broad = np.full(len(phases), -np.inf)
    drawn: dict[int, _Drawn] = {}
    for i, phase in enumerate(phases):
        shares = _samples(phase)
        x = frame.projected(phase, shares)
        if x is None:
            continue
        drawn[i] = shares, x, frame.narrow
        if len(x) == 1:
            continue
        # Scott's rule for a kernel that fills the gaps between the samples.
        spread = np.cov(x.T, bias=True) * len(x) ** (-2 / (len(phase.members) + 3))
        drawn[i] = shares, x, frame.narrow + spread
        named[i] = log_density(points, x, frame.narrow + spread)
        broad[i] = log_density(points, x, frame.wide + spread)
    compounds = [i for i, (_, x, _) in drawn.items() if len(x) == 1]
    if compounds:
        x = np.concatenate([drawn[i][1] for i in compounds])
        named[compounds] = log_density(points, x, frame.narrow, apart=True)
        broad[compounds] = log_density(points, x, frame.wide, apart=True)
    return named, broad, drawn


def _nearest(
    phases: Sequence[Phase],
    frame: Frame,
    points: np.ndarray,
    named: np.ndarray,
    drawn: Mapping[int, _Drawn],
) -> dict[int, tuple[np.ndarray, float]]:
    """The nearest composition of the likely phases, by which ``named`` is cut off, and how far."""
    nearest: dict[int, tuple[np.ndarray, float]] = {}
    while ahead := [i for i in np.argsort(-named, kind="stable")[:_LOOKED_AT].tolist()
                    if i in drawn and i not in nearest]:  # fmt: skip
        for i in ahead:
            shares, x, covariance = drawn[i]
            nearest[i] = frame.nearest(phases[i], shares, points)
            # Beyond its ranges a phase ends as sharply as the errors allow, and not as softly as
            # the kernel that joins its samples.
            edge = frame.of_phase(phases[i], nearest[i][0][None])
            most = float(log_density(edge, x, covariance)) - nearest[i][1] ** 2 / 2
            named[i] = min(named[i], most)
    return nearest


def _surely_held(analysis: Analysis, possible: np.ndarray) -> set[str]:
    """Elements that a phase must have: they stand out, and nothing that is possible lacks them.

    The errors of fractions alone don't tell that: where one element is hardly known, all fractions
    may be small.
    """
    much = (possible[0] > _HOLDS) & (possible.min(axis=0) > _ALWAYS)
    return {e for e, yes in zip(analysis.elements, much, strict=True) if yes} & set(
        analysis.certain
    )


def _alike(
    phases: Sequence[Phase], nearest: Mapping[int, tuple[np.ndarray, float]], analysis: Analysis
) -> dict[int, list[int]]:
    """Which of the nearest compositions are one, for each of them."""
    unseen = hidden_elements(analysis)
    atoms = {}
    for i, (shares, _) in nearest.items():
        own = shares @ member_atoms(phases[i], analysis.elements, unseen)
        atoms[i] = own / own.sum()
    return {
        i: [j for j, b in atoms.items() if np.abs(a - b).sum() / 2 < _ONE] for i, a in atoms.items()
    }


def _is_not(phase: Phase, shares: np.ndarray, analysis: Analysis) -> bool:
    """Whether the value holds less than half of what a phase must hold of some element."""
    own = shares @ member_atoms(phase, analysis.elements, hidden_elements(analysis))
    least = (own / own.sum(axis=1, keepdims=True)).min(axis=0)[:-1]
    atoms = analysis.atoms
    closed = analysis.as_atoms(np.eye(len(atoms))) / atoms.sum()
    both = analysis.covariance + analysis.systematic
    jacobian = closed - np.outer(atoms / atoms.sum(), closed.sum(axis=0))
    sigma = np.sqrt(np.maximum(np.diag(jacobian @ both @ jacobian.T), 0.0))
    lacks = atoms / atoms.sum() + _AS_NEAR * sigma < least / 2
    return bool((lacks & (least > _HOLDS)).any())


def _with_window(composition: Composition | Analysis) -> Analysis:
    """What is known of a composition; that behind a window nobody told of is one of its ends."""
    analysis = Analysis.of(composition)
    behind = None if isinstance(composition, Analysis) else behind_a_window(composition)
    if behind is None:
        return analysis
    end = behind.weight_fractions[None]
    ends = end if analysis.ends is None else np.vstack([analysis.ends, end])
    return replace(analysis, ends=ends)


def _without_oxygen(analysis: Analysis) -> Analysis:
    """What was measured of an analysis whose O was reckoned."""
    kept = [i for i, e in enumerate(analysis.elements) if e != "O"]
    cut = np.ix_(kept, kept)
    return replace(
        analysis,
        elements=tuple(analysis.elements[i] for i in kept),
        weight_fractions=analysis.weight_fractions[kept],
        covariance=analysis.covariance[cut],
        systematic=analysis.systematic[cut],
        ends=None if analysis.ends is None else analysis.ends[:, kept],
    )


def _levelled(
    among: np.ndarray,
    phases: Sequence[Phase],
    nearest: Mapping[int, tuple[np.ndarray, float]],
    frame: Frame,
    one: Mapping[int, Collection[int]],
) -> np.ndarray:
    """Share probability among phases that no measured element can part.

    Those whose main end members are of one ratio of the atoms that are seen: polymorphs; a metal
    and its oxide without O; an oxide, a carbonate and a hydrate where O was reckoned. How wide
    their ranges are in the table must not decide between olivine and wadsleyite. What holds least
    of what is not seen comes first, then phases of rocks. Along a range, each may be nearest to
    another composition: then it decides between them.
    """
    groups: dict[tuple[tuple[str, float], ...], list[int]] = {}
    for i, (shares, _) in nearest.items():
        groups.setdefault(frame.main_member(phases[i], shares), []).append(i)
    out = np.array(among)
    for group in groups.values():
        limit = max(_AS_NEAR, min(nearest[i][1] for i in group))
        near = [i for i in group if nearest[i][1] <= limit]
        first = max(near, key=lambda i: among[i])
        alike = [i for i in near if i in one[first]]
        out[alike] = out[alike].mean()
    for i in nearest:
        hidden = len(set(phases[i].elements) & set(frame.unseen))
        out[i] *= 1 - 1e-6 * (hidden + 0.1 * SETTINGS.index(phases[i].setting))
    return out


@lru_cache(maxsize=4096)
def _samples(phase: Phase) -> np.ndarray:
    """Shares of the members, always the same; (samples, members)."""
    return phase.shares(SAMPLES, np.random.default_rng(0))


def _chosen(
    table: str | Path | Sequence[Phase] | None, settings: Sequence[str]
) -> tuple[Phase, ...]:
    unknown = [s for s in settings if s not in SETTINGS]
    if unknown:
        raise InputError(f"no setting {unknown[0]!r}: choose among {', '.join(SETTINGS)}")
    if table is None:
        phases = shipped_phases()
    elif isinstance(table, str | Path):
        own = {p.name: p for p in read_phases(table)}
        phases = (*own.values(), *(p for p in shipped_phases() if p.name not in own))
    else:
        phases = tuple(table)
    chosen = tuple(p for p in phases if not settings or p.setting in settings)
    if not chosen:
        raise InputError(f"no phase of the table has the setting {' or '.join(settings)}")
    return chosen
