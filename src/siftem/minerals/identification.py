"""Names for compositions: which phases of a table explain them, and whether any does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from siftem.errors import InputError
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

#: Elements that a measurement says nothing of unless they were quantified: no line, or one that
#: comes from the support as well.
UNSEEN = ("H", "He", "Li", "Be", "B", "C", "N")
#: Natural scatter about a formula: traces, and ranges that are not sharp (atomic fraction, and
#: relative to the content).
_TRACE, _SCATTER = 0.003, 0.01
#: What elements that were not looked for may amount to, as atomic fraction.
_OUTSIDE = 0.007
#: How far from the phases of the table those lie that are not in it: the same two numbers.
_ELSEWHERE, _OTHERWISE = 0.02, 0.25
#: Share of the probability, before anything was measured, that no phase of the table is it.
NONE_PRIOR = 0.1
#: Compositions between the ends of what is not known, each as likely.
_BETWEEN = 5
#: So many of the likeliest phases are looked at closely.
_LOOKED_AT = 12
#: Price of a share beyond its range, in standard deviations for each unit.
_BOUND = 1e3
#: Phases within so many standard deviations explain a composition equally well.
_AS_NEAR = 2.0
#: Candidates from this probability on are listed, the first one always.
_LISTED = 0.005


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
    """

    __repr__ = outline

    name: str
    candidates: tuple[Candidate, ...]
    none: float

    @property
    def best(self) -> str | None:
        """The most probable phase; None when "none of these" is more probable than all."""
        named = sum(c.probability for c in self.candidates)
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
    frame = _Frame(analysis)
    points = frame.coordinates(_points(analysis))
    named = np.full(len(phases), -np.inf)
    broad = np.full(len(phases), -np.inf)
    drawn: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
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
    elsewhere = np.logaddexp.reduce(broad)
    if not np.isfinite(elsewhere):
        return Identification(analysis.name, (), 1.0)
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
    among = np.exp(named - np.logaddexp.reduce(named))
    among = _levelled(among, phases, nearest, frame)
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
    return Identification(analysis.name, candidates, none)


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


def _hidden(analysis: Analysis) -> tuple[str, ...]:
    """Elements of which an analysis says nothing."""
    reckoned = ("O",) if analysis.oxygen_by_charges else ()
    return tuple(dict.fromkeys((*UNSEEN, *reckoned, *analysis.unseen)))


def _levelled(
    among: np.ndarray,
    phases: Sequence[Phase],
    nearest: Mapping[int, tuple[np.ndarray, float]],
    frame: _Frame,
) -> np.ndarray:
    """Share probability among phases that no measured element can part.

    Those whose main end members are of one ratio of the atoms that are seen: polymorphs; a metal
    and its oxide without O; an oxide, a carbonate and a hydrate where O was reckoned. How wide
    their ranges are in the table must not decide between olivine and wadsleyite. What holds least
    of what is not seen comes first, then phases of rocks.
    """
    groups: dict[tuple[tuple[str, float], ...], list[int]] = {}
    for i, (shares, _) in nearest.items():
        groups.setdefault(frame.main_member(phases[i], shares), []).append(i)
    out = np.array(among)
    for group in groups.values():
        near = max(_AS_NEAR, min(nearest[i][1] for i in group))
        alike = [i for i in group if nearest[i][1] <= near]
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


def _points(analysis: Analysis) -> np.ndarray:
    """Atomic fractions that are equally likely estimates: one, or some between open ends."""
    now = analysis.weight_fractions
    steps = np.linspace(0, 1, _BETWEEN)[1:, None]
    ends = () if analysis.ends is None else analysis.ends
    atoms = analysis.as_atoms(np.vstack([now[None], *(now + steps * (e - now) for e in ends)]))
    # At an end nothing may be left but the O that was reckoned.
    atoms = atoms[atoms.sum(axis=1) > 0]
    return np.asarray(atoms / atoms.sum(axis=1, keepdims=True))


class _Frame:
    """Atomic fractions of the measured elements and of all others together, as coordinates.

    The largest fraction is left out, since all sum to one.
    """

    def __init__(self, analysis: Analysis) -> None:
        self.elements = analysis.elements
        self.unseen = _hidden(analysis)
        atoms = analysis.atoms
        y = np.append(atoms / atoms.sum(), 0.0)
        self.kept = np.delete(np.arange(len(y)), int(np.argmax(y)))
        per_weight = analysis.as_atoms(np.eye(len(atoms))) / atoms.sum()
        jacobian = per_weight - np.outer(y[:-1], per_weight.sum(axis=0))
        measured = jacobian @ (analysis.covariance + analysis.systematic) @ jacobian.T
        size = np.maximum(y, 0.0)

        def scattered(trace: float, relative: float) -> np.ndarray:
            sigma = trace + relative * size
            sigma[-1] += _OUTSIDE
            closed = (np.eye(len(y)) - y[:, None]) * sigma
            return np.asarray(closed @ closed.T)

        whole = np.zeros((len(y), len(y)))
        whole[:-1, :-1] = measured
        cut = np.ix_(self.kept, self.kept)
        self.natural = scattered(_TRACE, _SCATTER)[cut]
        self.narrow = whole[cut] + self.natural
        self.wide = (whole + scattered(_ELSEWHERE, _OTHERWISE))[cut]
        self.white = whitening(self.narrow)

    def projected(self, phase: Phase, shares: np.ndarray) -> np.ndarray | None:
        """Coordinates of compositions of a phase; None when it shares no element."""
        of_members = _member_atoms(phase, self.elements, self.unseen)
        if not of_members[:, :-1].any():
            return None
        whole = shares @ of_members
        return np.asarray((whole / whole.sum(axis=1, keepdims=True))[:, self.kept])

    def main_member(self, phase: Phase, shares: np.ndarray) -> tuple[tuple[str, float], ...]:
        """Ratio of atoms that are seen in the end member that is most of a composition."""
        seen = [e for e in phase.elements if e in self.elements or e not in self.unseen]
        atoms = phase.atoms(np.eye(len(shares)), seen)
        ratio = atoms[int(np.argmax(shares * atoms.sum(axis=1)))]
        ratio = ratio / max(ratio.sum(), 1e-300)
        return tuple((e, round(float(r), 6)) for e, r in zip(seen, ratio, strict=True) if r)

    def coordinates(self, fractions: np.ndarray) -> np.ndarray:
        """Coordinates of atomic fractions of the measured elements; (points, n)."""
        return np.hstack([fractions, np.zeros((len(fractions), 1))])[:, self.kept]

    def nearest(
        self, phase: Phase, shares: np.ndarray, points: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """Shares of the members at the nearest composition of a phase, and its distance.

        From the nearest of the points that are equally likely estimates.
        """
        x = self.of_phase(phase, shares)
        apart = [((self.white @ (x - y).T) ** 2).sum(axis=0) for y in points]
        at, sample = np.unravel_index(int(np.argmin(apart)), (len(points), len(x)))
        y, best = points[at], shares[sample]

        def away(x: np.ndarray) -> np.ndarray:
            return np.asarray(self.white @ (x - y).T)

        low, high = (np.array([getattr(m, k) for m in phase.members]) for k in ("least", "most"))
        wide = high[1:] > low[1:]
        if wide.any():
            low_free, high_free = low[1:][wide], high[1:][wide]

            def whole(free: np.ndarray) -> np.ndarray:
                part = low.copy()
                part[1:][wide] = free
                part[0] = 1 - part[1:].sum()
                return part

            def residual(free: np.ndarray) -> np.ndarray:
                part = whole(free)
                beyond = part[0] - np.clip(part[0], low[0], high[0])
                part[0] = max(part[0], 1e-9)
                return np.append(away(self.of_phase(phase, part[None])[0]), _BOUND * beyond)

            start = np.clip(best[1:][wide], low_free + 1e-9, high_free - 1e-9)
            best = whole(least_squares(residual, start, bounds=(low_free, high_free)).x)
        distance = float(np.sqrt((away(self.of_phase(phase, best[None])[0]) ** 2).sum()))
        return best, distance

    def inside(self, phase: Phase, shares: np.ndarray, distance: float) -> float:
        """Probability that the true composition lies within the natural scatter of a phase.

        Of compositions that the errors allow, the share under ``exp(-d^2/2)``, d being the
        distance from the phase in natural scatter: ``sqrt(det F / det (F + S))`` at no
        distance, over the directions in which the phase does not extend.
        """
        white = whitening(self.natural)
        step = 1e-4 * np.eye(len(phase.members))
        along = self.of_phase(phase, np.abs(shares) + step) - self.of_phase(
            phase, np.abs(shares)[None]
        )
        tangents = white @ along.T
        left, singular, _ = np.linalg.svd(tangents)
        rank = int((singular > 1e-6 * max(float(singular.max()), 1e-300)).sum())
        across = left[:, rank if singular.max() > 1e-12 else 0 :]
        errors = across.T @ white @ (self.narrow - self.natural) @ white.T @ across
        shrunk = np.linalg.slogdet(np.eye(across.shape[1]) + errors)[1]
        return float(np.exp(-0.5 * (distance**2 + shrunk)))

    def of_phase(self, phase: Phase, shares: np.ndarray) -> np.ndarray:
        """Coordinates of compositions of a phase that shares an element; (compositions, n)."""
        x = self.projected(phase, shares)
        assert x is not None
        return x


@lru_cache(maxsize=4096)
def _member_atoms(phase: Phase, elements: tuple[str, ...], unseen: tuple[str, ...]) -> np.ndarray:
    """Atoms of the elements, and of all others that are seen together, in each member."""
    others = [e for e in phase.elements if e not in elements and e not in unseen]
    alone = np.eye(len(phase.members))
    outside = phase.atoms(alone, others).sum(axis=1, keepdims=True)
    return np.hstack([phase.atoms(alone, elements), outside])


def whitening(covariance: np.ndarray) -> np.ndarray:
    """Return what makes variates of a covariance independent and of unit variance; (n, n)."""
    return np.asarray(np.linalg.inv(np.linalg.cholesky(covariance)))


def log_density(
    points: np.ndarray, x: np.ndarray, covariance: np.ndarray, *, apart: bool = False
) -> np.ndarray:
    """Log of the mean normal density of points (m, n) about compositions (samples, n).

    With ``apart`` of each composition on its own.
    """
    white = whitening(covariance)
    steps = (points @ white.T)[:, None] - (x @ white.T)[None]
    log = -0.5 * (steps**2).sum(axis=2) + np.log(np.diag(white)).sum()
    axis = 0 if apart else None
    return np.asarray(np.logaddexp.reduce(log, axis=axis) - np.log(len(log) if apart else log.size))
