"""The most probable state of all unknowns under soft constraints, and its covariance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from siftem.errors import InputError
from siftem.minerals.constraints import Constraint
from siftem.minerals.joint_model import Layout
from siftem.views import outline

#: Step of numerical derivatives, in prior standard deviations.
_STEP = 1e-4
#: No window, in the unit of its unknown.
_NONE = -8.0
#: Steps at most, how small one is the last, and how small it must be, in prior standard deviations.
_TURNS, _CLOSE, _SETTLED = 60, 1e-7, 1e-2
#: Weight of what need not be settled among thicknesses of an unknown film.
_UNSETTLED = 0.01
#: Thicknesses of an unknown film to sum over, the thickest in prior standard deviations, the finest
#: step, and the weight below which one is left out.
_NODES, _THICKEST, _FINEST, _NEGLIGIBLE = 16, 4.0, 0.02, 1e-4


@dataclass(frozen=True, eq=False)
class Posterior:
    """Normal approximation of the posterior about its mode.

    Parameters
    ----------
    layout : Layout
    state : ndarray of shape (d,)
    covariance : ndarray of shape (d, d)
    gain : ndarray of shape (d, c)
        Change of the state with the number that each constraint knows.
    slopes : ndarray of shape (c, d)
        Change of these numbers with the state.
    before, after : ndarray of shape (c,)
        The numbers at the prior and at the posterior mode.
    pull : ndarray of shape (c,)
        How far each constraint lies from what all else says, in standard deviations of both.
    spread : ndarray of shape (c,)
        These standard deviations together.
    bits : ndarray of shape (c,)
        Information that would be lost without the constraint.
    pull_correlation : ndarray of shape (c, c)
        Of the pulls where all constraints hold.
    log_density : float
        Of all data, up to a constant: what it weighs beside others with other values of what is
        held.
    settled : bool
        Whether the mode was found.
    mixture : tuple of (float, Posterior)
        Parts with their weights, of which it is the sum; all else is then reckoned about their
        middle. None: a single normal density.
    """

    __repr__ = outline

    layout: Layout
    state: np.ndarray
    covariance: np.ndarray
    gain: np.ndarray
    slopes: np.ndarray
    before: np.ndarray
    after: np.ndarray
    pull: np.ndarray
    spread: np.ndarray
    bits: np.ndarray
    pull_correlation: np.ndarray
    log_density: float
    settled: bool
    mixture: tuple[tuple[float, Posterior], ...] = ()

    def parts(self, slopes: np.ndarray, widths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Split the covariance of what follows from the state into that of noise and the rest.

        Parameters
        ----------
        slopes : ndarray of shape (n, d)
        widths : ndarray of shape (c,)
            Standard deviations of the constraints.

        Returns
        -------
        noise, rest : ndarray of shape (n, n)
            Their sum is the posterior covariance.
        """
        left = slopes - slopes @ self.gain @ self.slopes
        noise = left @ self.layout.sources["noise"] @ left.T
        by_widths = slopes @ self.gain * widths
        others = sum(v for key, v in self.layout.sources.items() if key != "noise")
        return noise, left @ others @ left.T + by_widths @ by_widths.T


def constrained_posterior(layout: Layout, constraints: Sequence[Constraint]) -> Posterior:
    """Find the posterior of all unknowns of a map about its mode.

    ``z' P^-1 z + sum ((g_c(z) - t_c) / s_c)^2``, z being noise, k-factors, absorption, film
    and Fe3+ with the prior covariance P, and ``g_c`` the number that a constraint knows to be
    ``t_c +- s_c``. Noise takes part, since all spectra are data of one likelihood.

    A film of which nothing is known acts on soft lines far from linearly, and can't be thinner than
    none: the posterior is then a sum over thicknesses, normal about the mode for each of them.

    Parameters
    ----------
    layout : Layout
    constraints : sequence of Constraint
        On phases of the layout.

    Raises
    ------
    InputError
        When a constraint names a phase or an element that was not quantified, or has no value.
    """
    by_name = {p.name: p for p in layout.phases}
    for c in constraints:
        if c.phase not in by_name:
            raise InputError(
                f"{c.describe()}: {c.phase!r} is none of the phases {', '.join(by_name)}"
            )
    problem = _Problem(layout, constraints)
    at = layout.index("film")
    start = np.zeros((1, len(layout.covariance)))
    unknown = any(spread > 0 and base == 0 for base, spread in layout.film.values())
    if not unknown or not constraints:
        return _settled(problem.posteriors(start), np.ones(1))[0]
    # The film held: no width of its own.
    apart = _Problem(layout.without_width(at), constraints)
    low, high = 0.0, _THICKEST
    while True:
        step = (high - low) / _NODES
        starts = np.repeat(start, _NODES, axis=0)
        starts[:, at] = low + step * (np.arange(_NODES) + 0.5)
        nodes = apart.posteriors(starts)
        logs = np.array([n.log_density for n in nodes])
        weights = np.exp(logs - logs.max())
        weights /= weights.sum()
        nodes = _settled(nodes, weights)
        kept = np.flatnonzero(weights > _NEGLIGIBLE)
        if len(kept) >= _NODES / 2 or step < _FINEST:
            break
        low, high = max(low + step * (kept[0] - 1), 0.0), low + step * (kept[-1] + 2)
    mixture = tuple((float(weights[i] / weights[kept].sum()), nodes[i]) for i in kept)
    # Constraints are compared about the middle: no film at all is a mode without slopes.
    mean = sum(w * n.state[at] for w, n in mixture)
    middle = min((n for _, n in mixture), key=lambda n: abs(n.state[at] - mean))
    return replace(
        problem.posteriors(middle.state[None], moved=False)[0],
        after=np.sum([w * n.after for w, n in mixture], axis=0),
        mixture=mixture,
    )


def _settled(parts: list[Posterior], weights: np.ndarray) -> list[Posterior]:
    """Return the parts, unless the mode of one that counts was not found."""
    if any(not w <= _UNSETTLED and not p.settled for p, w in zip(parts, weights, strict=True)):
        raise InputError(
            "the constraints contradict the spectra so much that no state fits best: leave out or "
            "widen what is farthest from the compositions as they were quantified"
        )
    return parts


class _Problem:
    """The least squares behind a posterior; unknowns without a width are held."""

    def __init__(self, layout: Layout, constraints: Sequence[Constraint]) -> None:
        self.layout, self.constraints = layout, constraints
        self.by_name = {p.name: p for p in layout.phases}
        self.targets = np.array([c.target for c in constraints])
        self.widths = np.array([c.sigma for c in constraints])
        values, vectors = np.linalg.eigh(layout.covariance)
        kept = values > 1e-14 * values.max()
        self.root = vectors[:, kept] * np.sqrt(values[kept])
        self.variances = values[kept]
        # As quantified: without a window that was not told.
        before = np.zeros((1, len(self.root)))
        if layout.widths["window"] > 0 and not any(p.window_told for p in layout.phases):
            before[:, layout.index("window")] = _NONE
        self.before = self.numbers(before)[0]
        for c, v in zip(constraints, self.before, strict=True):
            if not np.isfinite(v):
                raise InputError(f"{c.describe()}: its number can't be had from the composition")

    def numbers(self, z: np.ndarray) -> np.ndarray:
        """What constraints know of states (states, d); (states, c)."""
        found = self.layout.compositions(z, {c.phase for c in self.constraints})
        out = np.empty((len(z), len(self.constraints)))
        for j, c in enumerate(self.constraints):
            p = self.by_name[c.phase]
            atoms = p.as_atoms(found[c.phase][0])
            out[:, j] = c.value(p.elements, atoms, self.layout.ferric(c.phase, z))
        return out

    def linear(self, states: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers at states (m, c), and their slopes for steps (n, d) of the state; (m, c, n)."""
        m, d = states.shape
        every = np.concatenate([states[:, None], states[:, None] + _STEP * steps], axis=1)
        found = self.numbers(every.reshape(-1, d)).reshape(m, len(steps) + 1, -1)
        return found[:, 0], (found[:, 1:] - found[:, :1]).swapaxes(1, 2) / _STEP

    def posteriors(self, states: np.ndarray, *, moved: bool = True) -> list[Posterior]:
        """Maximise from each of some states (m, d).

        Levenberg-Marquardt. Without ``moved`` the states stay, and constraints are compared where
        the linear problem about them has its mode.
        """
        root = self.root
        x = states @ root / self.variances
        fixed = states - x @ root.T
        eye = np.eye(x.shape[1])
        damping, promised = np.zeros(len(x)), np.ones(len(x))
        trial, cost = x, np.full(len(x), np.inf)
        for _ in range(_TURNS):
            found, slopes = self.linear(fixed + trial @ root.T, root.T)
            steep = slopes / self.widths[:, None]
            off = (found - self.targets) / self.widths
            now = (trial**2).sum(axis=1) + (off**2).sum(axis=1)
            if not np.isfinite(cost).any():
                after, scaled, misfit = found, steep, off
            gain, better = cost - now, now <= cost
            x = np.where(better[:, None], trial, x)
            after = np.where(better[:, None], found, after)
            misfit = np.where(better[:, None], off, misfit)
            scaled = np.where(better[:, None, None], steep, scaled)
            cost = np.where(better, now, cost)
            # By how far the step did what the linear problem promised.
            done = np.where(np.isfinite(gain), gain / promised, 1.0)
            more, less = np.maximum(4 * damping, 0.05), damping / 8
            damping = np.where(done < 0.25, more, np.where(done > 0.75, less, damping))
            damping = np.where(damping < 1e-3, 0.0, damping)
            precision = eye + scaled.swapaxes(1, 2) @ scaled
            down = -x - np.einsum("mci,mc->mi", scaled, misfit)
            step = np.linalg.solve(precision + damping[:, None, None] * eye, down[..., None])[
                ..., 0
            ]
            promised = np.maximum((step * (damping[:, None] * step + down)).sum(axis=1), 1e-300)
            if not moved or np.abs(step).max(initial=0.0) < _CLOSE:
                break
            trial = x + step
        # What is not a number is not small.
        settled = np.abs(step).max(axis=1, initial=0.0) <= _SETTLED
        state = fixed + x @ root.T
        left_over = misfit if moved else misfit + np.einsum("mci,mi->mc", scaled, step)
        width = np.sqrt(np.diag(self.layout.covariance))
        width = np.where(width > 0, width, 1.0)
        on_state = self.linear(state, np.diag(width))[1] / width
        with np.errstate(invalid="ignore"):
            volume = np.linalg.slogdet(precision)[1]
        logs = -(cost + (fixed**2).sum(axis=1) + volume) / 2
        out = []
        for i in range(len(state)):
            inverse = np.linalg.inv(precision[i])
            # What is left of the constraints' misfits has the covariance 1 - H.
            left = np.eye(len(self.widths)) - scaled[i] @ inverse @ scaled[i].T
            free = np.clip(np.diag(left), 1e-12, 1.0)
            out.append(
                Posterior(
                    layout=self.layout,
                    state=state[i],
                    covariance=root @ inverse @ root.T,
                    gain=root @ inverse @ scaled[i].T / self.widths,
                    slopes=on_state[i],
                    before=self.before,
                    after=after[i],
                    pull=-left_over[i] / np.sqrt(free),
                    # A target that moves by d takes 1 - free of it along: the rest is left.
                    spread=self.widths / np.sqrt(free),
                    bits=-0.5 * np.log2(free),
                    pull_correlation=left / np.sqrt(np.outer(free, free)),
                    log_density=float(logs[i]),
                    settled=bool(settled[i]) or not moved,
                )
            )
        return out


def _slopes_of(
    parts: Sequence[Posterior], numbers: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Change of numbers with the state at each part's mode, (m, n, d), and the numbers, (m, n)."""
    width = np.sqrt(np.maximum(np.diag(parts[0].layout.covariance), 0.0))
    step = _STEP * np.where(width > 0, width, 1.0)
    d = len(step)
    states = np.stack([np.vstack([p.state, p.state + np.diag(step)]) for p in parts])
    found = numbers(states.reshape(-1, d)).reshape(len(parts), d + 1, -1)
    return (found[:, 1:] - found[:, :1]).swapaxes(1, 2) / step, found[:, 0]


def state_slopes(
    posterior: Posterior, numbers: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the change of numbers with the state at its mode, (n, d), and the numbers, (n,)."""
    slopes, values = _slopes_of([posterior], numbers)
    return slopes[0], values[0]


def moments(
    posterior: Posterior,
    numbers: Callable[[np.ndarray], np.ndarray],
    widths: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean of numbers (states, n) of a state, and its covariances.

    Parameters
    ----------
    posterior : Posterior
    numbers : callable
    widths : ndarray of shape (c,), optional
        Standard deviations of the constraints, to tell what comes from noise.

    Returns
    -------
    mean : ndarray of shape (n,)
    noise, rest : ndarray of shape (n, n)
        By noise and by all else; without ``widths`` all is in the second.
    """
    mixture = posterior.mixture or ((1.0, posterior),)
    slopes, values = _slopes_of([part for _, part in mixture], numbers)
    weights = np.array([w for w, _ in mixture])
    mean = weights @ values
    rest = (weights[:, None] * (values - mean)).T @ (values - mean)
    noise = np.zeros_like(rest)
    for (weight, part), slope in zip(mixture, slopes, strict=True):
        if widths is None:
            rest += weight * slope @ part.covariance @ slope.T
        else:
            by_noise, others = part.parts(slope, widths)
            noise += weight * by_noise
            rest += weight * others
    return mean, noise, rest


def phase_fractions(
    posterior: Posterior, i: int, widths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weight fractions of a phase, and their covariances by noise and by all else."""
    name = posterior.layout.phases[i].name

    def fractions(z: np.ndarray) -> np.ndarray:
        return posterior.layout.compositions(z, {name})[name][0]

    return moments(posterior, fractions, widths)
