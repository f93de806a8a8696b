"""The most probable state of all unknowns under soft constraints, and its covariance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri

from siftem.errors import InputError
from siftem.minerals.constraints import Constraint, InEachMap
from siftem.minerals.joint_model import Layout, half_normal
from siftem.views import outline

#: Step of numerical derivatives, in prior standard deviations.
_STEP = 1e-4
#: No window, in the unit of its unknown.
_NONE = -8.0
#: Steps at most, how small one is the last, and how small it must be, in prior standard deviations.
_TURNS, _CLOSE, _SETTLED = 60, 1e-5, 1e-2
#: Weight of what need not be settled among thicknesses of an unknown film.
_UNSETTLED = 0.01
#: Thicknesses of an unknown film to sum over, the thickest in prior standard deviations, the finest
#: step, and the weight below which one is left out.
_NODES, _THICKEST, _FINEST, _NEGLIGIBLE = 16, 4.0, 0.02, 1e-4
#: Points in the space of several unknown films, and how many where too few of these count; rounds
#: at most, the share of the points that should count, the fewest that must, and by how much their
#: density is wider than what it is for.
_POINTS, _MANY_POINTS, _ROUNDS, _ALIKE, _FEWEST, _WIDER = 128, 512, 8, 0.6, 10.0, 1.3


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
    none: the posterior is then a sum over thicknesses, normal about the mode for each of them; over
    points of thicknesses where there are several such films.

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
    by_name = {p.name for p in layout.phases}
    for c in constraints:
        if c.phase not in by_name:
            raise InputError(
                f"{c.describe()}: {c.phase!r} is none of the phases {', '.join(by_name)}"
            )
    problem = _Problem(layout, constraints)
    films = layout.unknown_films
    if not films or not constraints:
        start = np.zeros((1, len(layout.covariance)))
        return _settled(problem.posteriors(start), np.ones(1))[0]
    # Films are held in each part: no width of their own.
    apart = _Problem(layout.without_width(films), constraints)
    if len(films) == 1:
        weights, nodes = _over_thickness(apart, films[0])
    else:
        weights, nodes = _over_thicknesses(apart, films)
    kept = np.flatnonzero(weights > _NEGLIGIBLE)
    mixture = tuple((float(weights[i] / weights[kept].sum()), nodes[i]) for i in kept)
    # Constraints are compared about the middle: no film at all is a mode without slopes.
    at = list(films)
    mean = np.sum([w * n.state[at] for w, n in mixture], axis=0)
    middle = min((n for _, n in mixture), key=lambda n: float(((n.state[at] - mean) ** 2).sum()))
    return replace(
        problem.posteriors(middle.state[None], moved=False)[0],
        after=np.sum([w * n.after for w, n in mixture], axis=0),
        mixture=mixture,
    )


def _over_thickness(apart: _Problem, at: int) -> tuple[np.ndarray, list[Posterior]]:
    """Posteriors for a number of thicknesses of one unknown film, and their weights."""
    start = np.zeros((1, len(apart.layout.covariance)))
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
            return weights, nodes
        low, high = max(low + step * (kept[0] - 1), 0.0), low + step * (kept[-1] + 2)


def _over_thicknesses(apart: _Problem, films: Sequence[int]) -> tuple[np.ndarray, list[Posterior]]:
    """Posteriors for points in the space of several unknown films, and their weights.

    The points are drawn from a normal density in the films' normal variates (half a normal density
    ends at no film), which is moved to where the last points weighed most, until they count alike.
    """
    layout, at = apart.layout, list(films)
    n = len(at)
    centre, root = np.zeros(n), np.eye(n)
    for i, film in enumerate(films):
        own = [c for c in apart.constraints if film in layout.unknowns(apart.places[c.phase])]
        if own:
            weights, nodes = _over_thickness(_Problem(layout, own), film)
            z = _normal_variate(np.array([node.state[film] for node in nodes]))
            centre[i] = weights @ z
            root[i, i] = np.sqrt(weights @ (z - centre[i]) ** 2)
    state = np.zeros(len(layout.covariance))
    best: tuple[float, np.ndarray, list[Posterior]] | None = None
    for turn in range(2 * _ROUNDS):
        if turn == _ROUNDS and best is not None and best[0] >= _FEWEST:
            break
        points = _even_normal_points(_POINTS if turn < _ROUNDS else _MANY_POINTS, n)
        zeta = centre + points @ root.T
        starts = np.repeat(state[None], len(zeta), axis=0)
        starts[:, at] = half_normal(1.0, zeta)
        nodes = apart.posteriors(starts)
        # The density of the thickness has the half normal one as its prior.
        logs = np.array([node.log_density for node in nodes]) + 0.5 * (
            (starts[:, at] ** 2).sum(axis=1) - (zeta**2).sum(axis=1) + (points**2).sum(axis=1)
        )
        logs = np.where(np.isfinite(logs), logs, -np.inf)
        weights = np.exp(logs - logs.max())
        weights /= weights.sum()
        count = float(1 / (weights**2).sum())
        alike = count / len(weights)
        if best is None or count > best[0]:
            best = count, weights, nodes
        if alike > _ALIKE:
            break
        state = nodes[int(weights.argmax())].state
        # Weights that are few are flattened, or the width would collapse onto them.
        softer = np.exp((logs - logs.max()) * min(1.0, 2 * alike / _ALIKE))
        softer /= softer.sum()
        centre = softer @ zeta
        away = zeta - centre
        root = _WIDER * np.linalg.cholesky((softer[:, None] * away).T @ away + 1e-6 * np.eye(n))
    assert best is not None
    if best[0] < _FEWEST:
        raise InputError(
            f"the films of {n} maps can't be found together: tell their thickness, or calibrate "
            f"fewer maps at once"
        )
    return best[1], _settled(best[2], best[1])


def _normal_variate(z: np.ndarray) -> np.ndarray:
    """Undo `half_normal` of width one."""
    return np.asarray(-ndtri(2 * ndtr(-z)))


def _even_normal_points(n: int, dimensions: int) -> np.ndarray:
    """Normal variates that fill space more evenly than chance: (n, dimensions).

    Multiples of powers of the generalised golden ratio, modulo one.
    """
    ratio = 2.0
    for _ in range(60):
        ratio = (1 + ratio) ** (1 / (dimensions + 1))
    steps = ratio ** -np.arange(1.0, dimensions + 1)
    return np.asarray(ndtri((0.5 + np.arange(1, n + 1)[:, None] * steps) % 1.0))


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
        self.places = {p.name: i for i, p in enumerate(layout.phases)}
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
        return constraint_numbers(self.layout, self.constraints, z)

    def linear(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers at states, (m, c), and their slopes in all unknowns with a width, (m, c, d)."""
        m, d = states.shape
        found = np.empty((m, len(self.constraints)))
        slopes = np.zeros((m, len(self.constraints), d))
        width = np.sqrt(np.diag(self.layout.covariance))
        for phase in dict.fromkeys(c.phase for c in self.constraints):
            own = [j for j, c in enumerate(self.constraints) if c.phase == phase]
            columns = [u for u in self.layout.unknowns(self.places[phase]) if width[u] > 0]
            step = _STEP * width[columns]
            every = np.repeat(states[:, None], len(columns) + 1, axis=1)
            every[:, np.arange(1, len(columns) + 1), columns] += step
            known = [self.constraints[j] for j in own]
            numbers = constraint_numbers(self.layout, known, every.reshape(-1, d))
            numbers = numbers.reshape(m, len(columns) + 1, -1)
            found[:, own] = numbers[:, 0]
            change = (numbers[:, 1:] - numbers[:, :1]) / step[:, None]
            slopes[:, np.array(own)[:, None], columns] = change.swapaxes(1, 2)
        for j, c in enumerate(self.constraints):
            if isinstance(c, InEachMap):
                slopes[:, j, self.layout.index(c.departure)] = -c.common
        return found, slopes

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
        trial, cost, step = x, np.full(len(x), np.inf), np.zeros_like(x)
        misfit, after = (np.zeros((len(x), len(self.widths))) for _ in range(2))
        scaled = np.zeros((len(x), len(self.widths), x.shape[1]))
        on = np.arange(len(x))  # still on their way
        for turn in range(_TURNS):
            found, slopes = self.linear(fixed[on] + trial[on] @ root.T)
            steep = slopes @ root / self.widths[:, None]
            off = (found - self.targets) / self.widths
            now = (trial[on] ** 2).sum(axis=1) + (off**2).sum(axis=1)
            gain = cost[on] - now
            better = (now <= cost[on]) | (turn == 0)
            at = on[better]
            x[at], after[at], misfit[at] = trial[at], found[better], off[better]
            scaled[at], cost[at] = steep[better], now[better]
            # By how far the step did what the linear problem promised.
            done = np.where(np.isfinite(gain), gain / promised[on], 1.0)
            more, less = np.maximum(4 * damping[on], 0.05), damping[on] / 8
            damp = np.where(done < 0.25, more, np.where(done > 0.75, less, damping[on]))
            damping[on] = damp = np.where(damp < 1e-3, 0.0, damp)
            rows = scaled[on]
            precision = eye + rows.swapaxes(1, 2) @ rows
            down = -x[on] - np.einsum("mci,mc->mi", rows, misfit[on])
            step[on] = np.linalg.solve(precision + damp[:, None, None] * eye, down[..., None])[
                ..., 0
            ]
            promised[on] = np.maximum(
                (step[on] * (damp[:, None] * step[on] + down)).sum(axis=1), 1e-300
            )
            on = on[~(np.abs(step[on]).max(axis=1, initial=0.0) < _CLOSE)]
            if not moved or not on.size:
                break
            trial = x + step
        precision = eye + scaled.swapaxes(1, 2) @ scaled
        # What is not a number is not small.
        settled = np.abs(step).max(axis=1, initial=0.0) <= _SETTLED
        state = fixed + x @ root.T
        left_over = misfit if moved else misfit + np.einsum("mci,mi->mc", scaled, step)
        on_state = self.linear(state)[1]
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


def constraint_numbers(
    layout: Layout, constraints: Sequence[Constraint], z: np.ndarray
) -> np.ndarray:
    """Return what constraints know of states (states, d), less what departs in all maps."""
    places = {p.name: i for i, p in enumerate(layout.phases)}
    found = layout.compositions(z, {c.phase for c in constraints})
    out = np.empty((len(z), len(constraints)))
    for j, c in enumerate(constraints):
        p = layout.phases[places[c.phase]]
        atoms = p.as_atoms(found[c.phase][0])
        out[:, j] = c.value(p.elements, atoms, layout.ferric(c.phase, z))
        if isinstance(c, InEachMap):
            out[:, j] -= c.common * z[:, layout.index(c.departure)]
    return out


def _slopes_of(
    parts: Sequence[Posterior],
    numbers: Callable[[np.ndarray], np.ndarray],
    columns: Sequence[int] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Change of numbers with the state at each part's mode, (m, n, d), and the numbers, (m, n)."""
    width = np.sqrt(np.maximum(np.diag(parts[0].layout.covariance), 0.0))
    step = _STEP * np.where(width > 0, width, 1.0)
    d = len(step)
    on = np.arange(d) if columns is None else np.array(columns)
    moved = np.diag(step)[on]
    states = np.stack([np.vstack([p.state, p.state + moved]) for p in parts])
    found = numbers(states.reshape(-1, d)).reshape(len(parts), len(on) + 1, -1)
    slopes = np.zeros((len(parts), found.shape[2], d))
    slopes[:, :, on] = (found[:, 1:] - found[:, :1]).swapaxes(1, 2) / step[on]
    return slopes, found[:, 0]


def state_slopes(
    posterior: Posterior, numbers: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the change of numbers with the state at its mode, (n, d), and the numbers, (n,)."""
    slopes, values = _slopes_of([posterior], numbers, None)
    return slopes[0], values[0]


def moments(
    posterior: Posterior,
    numbers: Callable[[np.ndarray], np.ndarray],
    widths: np.ndarray | None = None,
    columns: Sequence[int] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean of numbers (states, n) of a state, and its covariances.

    Parameters
    ----------
    posterior : Posterior
    numbers : callable
    widths : ndarray of shape (c,), optional
        Standard deviations of the constraints, to tell what comes from noise.
    columns : sequence of int, optional
        Positions of all unknowns that the numbers depend on, see `Layout.unknowns`.

    Returns
    -------
    mean : ndarray of shape (n,)
    noise, rest : ndarray of shape (n, n)
        By noise and by all else; without ``widths`` all is in the second.
    """
    mixture = posterior.mixture or ((1.0, posterior),)
    slopes, values = _slopes_of([part for _, part in mixture], numbers, columns)
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
    layout, name = posterior.layout, posterior.layout.phases[i].name
    return moments(
        posterior, lambda z: layout.compositions(z, {name})[name][0], widths, layout.unknowns(i)
    )


def phase_atoms(
    posterior: Posterior, i: int, widths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return atomic fractions of a phase likewise."""
    layout, p = posterior.layout, posterior.layout.phases[i]
    return moments(
        posterior,
        lambda z: p.as_atoms(layout.compositions(z, {p.name})[p.name][0]),
        widths,
        layout.unknowns(i),
    )
