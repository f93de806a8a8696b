"""Measured compositions and those of phases as coordinates, with what errors and nature allow."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.optimize import least_squares

from siftem.minerals.phase_library import Phase
from siftem.minerals.structural_formula import Analysis

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
#: Compositions between the ends of what is not known, each as likely.
_BETWEEN = 5
#: Price of a share beyond its range, in standard deviations for each unit.
_BOUND = 1e3


def hidden_elements(analysis: Analysis) -> tuple[str, ...]:
    """Elements of which an analysis says nothing."""
    reckoned = ("O",) if analysis.oxygen_by_charges else ()
    return tuple(dict.fromkeys((*UNSEEN, *reckoned, *analysis.unseen)))


def possible_fractions(analysis: Analysis) -> np.ndarray:
    """Atomic fractions that are equally likely estimates: one, or some between open ends."""
    now = analysis.weight_fractions
    steps = np.linspace(0, 1, _BETWEEN)[1:, None]
    ends = () if analysis.ends is None else analysis.ends
    atoms = analysis.as_atoms(np.vstack([now[None], *(now + steps * (e - now) for e in ends)]))
    # At an end nothing may be left but the O that was reckoned.
    atoms = atoms[atoms.sum(axis=1) > 0]
    return np.asarray(atoms / atoms.sum(axis=1, keepdims=True))


class Frame:
    """Atomic fractions of the measured elements and of all others together, as coordinates.

    The largest fraction is left out, since all sum to one.
    """

    def __init__(self, analysis: Analysis) -> None:
        self.elements = analysis.elements
        self.unseen = hidden_elements(analysis)
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
        of_members = member_atoms(phase, self.elements, self.unseen)
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
def member_atoms(phase: Phase, elements: tuple[str, ...], unseen: tuple[str, ...]) -> np.ndarray:
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
