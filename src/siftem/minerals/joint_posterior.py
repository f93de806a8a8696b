"""The most probable state of all unknowns under soft constraints, and its covariance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from siftem.errors import InputError
from siftem.minerals.constraints import Constraint
from siftem.minerals.joint_model import Layout
from siftem.views import outline

#: Step of numerical derivatives, in prior standard deviations.
_STEP = 1e-4
#: Where an unknown film begins, in its prior's standard deviations: absorbing, not at its bound.
_FILM = 0.8


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
    """Maximise the posterior of all unknowns of a map.

    ``z' P^-1 z + sum ((g_c(z) - t_c) / s_c)^2``, z being noise, k-factors, absorption, film
    and Fe3+ with the prior covariance P, and ``g_c`` the number that a constraint knows to be
    ``t_c +- s_c``. Noise takes part, since all spectra are data of one likelihood.

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
    targets = np.array([c.target for c in constraints])
    widths = np.array([c.sigma for c in constraints])
    values, vectors = np.linalg.eigh(layout.covariance)
    kept = values > 1e-14 * values.max()
    root = vectors[:, kept] * np.sqrt(values[kept])

    def numbers(z: np.ndarray) -> np.ndarray:
        found = layout.compositions(z)
        out = np.empty((len(z), len(constraints)))
        for j, c in enumerate(constraints):
            p = by_name[c.phase]
            atoms = p.as_atoms(found[c.phase][0])
            out[:, j] = c.value(p.elements, atoms, layout.ferric(c.phase, z))
        return out

    def residual(x: np.ndarray) -> np.ndarray:
        return np.concatenate([x, (numbers((root @ x)[None])[0] - targets) / widths])

    def slopes(x: np.ndarray) -> np.ndarray:
        states = root @ x + np.vstack([np.zeros(len(root)), _STEP * root.T])
        found = numbers(states)
        return np.asarray((found[1:] - found[0]).T / _STEP)

    def jacobian(x: np.ndarray) -> np.ndarray:
        return np.vstack([np.eye(len(x)), slopes(x) / widths[:, None]])

    before = numbers(np.zeros((1, len(root))))[0]
    bad = [c.describe() for c, v in zip(constraints, before, strict=True) if not np.isfinite(v)]
    if bad:
        raise InputError(f"{bad[0]}: its number can't be had from the composition")
    start = np.zeros(root.shape[1])
    at = layout.index("film")
    unknown = any(spread > 0 and base == 0 for base, spread in layout.film.values())
    if unknown:
        start = root.T @ (np.eye(len(root))[at] * _FILM) / np.maximum((root**2).sum(axis=0), 1e-300)
    # Without constraints the prior stands.
    x = least_squares(residual, start, jacobian).x if len(constraints) else 0 * start
    g = slopes(x)
    scaled = g / widths[:, None]
    inverse = np.linalg.inv(np.eye(len(x)) + scaled.T @ scaled)
    after = numbers((root @ x)[None])[0]
    leverage = np.clip(np.einsum("ci,ij,cj->c", scaled, inverse, scaled), 0.0, 1 - 1e-12)
    state = root @ x
    # Slopes on the state itself, for unknowns with a width.
    widths_of = np.sqrt(np.diag(layout.covariance))
    steps = state + _STEP * np.diag(np.where(widths_of > 0, widths_of, 1.0))
    on_state = (numbers(steps) - after).T / (_STEP * np.where(widths_of > 0, widths_of, 1.0))
    return Posterior(
        layout=layout,
        state=state,
        covariance=root @ inverse @ root.T,
        gain=root @ inverse @ scaled.T / widths,
        slopes=on_state,
        before=before,
        after=after,
        pull=(targets - after) / widths / np.sqrt(1 - leverage),
        # A target that moves by d takes leverage * d along: all else says what is left.
        spread=widths / np.sqrt(1 - leverage),
        bits=-0.5 * np.log2(1 - leverage),
    )


def state_slopes(
    posterior: Posterior, numbers: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the change of numbers with the state at its mode, (n, d), and the numbers, (n,)."""
    width = np.sqrt(np.maximum(np.diag(posterior.layout.covariance), 0.0))
    step = _STEP * np.where(width > 0, width, 1.0)
    states = np.vstack([posterior.state, posterior.state + np.diag(step)])
    found = numbers(states)
    return np.asarray((found[1:] - found[0]).T / step), np.asarray(found[0])


def phase_fractions(
    posterior: Posterior, i: int, widths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weight fractions of a phase, and their covariances by noise and by all else."""
    name = posterior.layout.phases[i].name

    def fractions(z: np.ndarray) -> np.ndarray:
        return posterior.layout.compositions(z)[name][0]

    slopes, values = state_slopes(posterior, fractions)
    noise, rest = posterior.parts(slopes, widths)
    return values, noise, rest
