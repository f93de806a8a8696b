"""Compositions of all phases of a map as functions of what they share: k-factors and film."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from siftem.errors import InputError
from siftem.quantification.composition import Composition
from siftem.quantification.film import THICKEST
from siftem.views import outline
from siftem.xray.absorption import element_attenuation, escaping_share
from siftem.xray.elements import atomic_weight

#: Rounds of composition and absorption.
_ROUNDS = 60
#: Take-off angle where none is known, as for the intervals of an unknown film; degrees.
_FLAT = 20.0
#: chi for one cm2/g and one kg/m2 along the beam.
PER_PATH = 0.1


@dataclass(frozen=True, eq=False)
class MeasuredPhase:
    """What the spectrum of a phase says, before k-factors and film.

    Parameters
    ----------
    name : str
    elements : tuple of str
    families : tuple of str
        That measure the elements: phases that share one share its k-factor.
    amounts : ndarray of shape (n,)
        By weight, from the photons that leave the film: k times photons.
    noise : ndarray of shape (n, n)
        Covariance of the amounts from counting and model.
    by_ratios : ndarray of shape (n, n)
        From ratios of lines within families.
    k_sigma : ndarray of shape (n,)
        Relative prior widths of the k-factors.
    attenuation : tuple of ndarray of shape (lines, n)
        cm2/g of each element at the lines of each family.
    weights : tuple of ndarray of shape (lines,)
        Of the lines in their family; sum to one.
    amount_map : ndarray of shape (n, n)
        From measured amounts to reported ones.
    mass_thickness : float or None
        Of the film that was told, kg/m2, 0 for one that does not absorb; None: not known.
    mass_sigma : float
        Its standard deviation where a range was told.
    take_off_angle : float
        Degrees.
    """

    __repr__ = outline

    name: str
    elements: tuple[str, ...]
    families: tuple[str, ...]
    amounts: np.ndarray
    noise: np.ndarray
    by_ratios: np.ndarray
    k_sigma: np.ndarray
    attenuation: tuple[np.ndarray, ...]
    weights: tuple[np.ndarray, ...]
    amount_map: np.ndarray
    mass_thickness: float | None = None
    mass_sigma: float = 0.0
    take_off_angle: float = _FLAT

    @classmethod
    def of(cls, name: str, c: Composition) -> MeasuredPhase:
        """Return what the spectrum behind a composition says."""
        index = list(c.columns)
        block = np.ix_(index, index)
        # Photons that leave the film; k is for those that are born.
        scale = c.k.values * c.absorption
        both = np.outer(scale, scale)
        families = [c.fit.model.families[i] for i in index]
        mass: float | None = None
        sigma, angle = 0.0, c.fit.spectrum.acquisition.take_off_angle or _FLAT
        if c.film is not None:
            mass, angle = c.film.mass_thickness, c.film.take_off_angle
            sigma = _range_sigma(c)
        elif c.film_ends is None:
            mass = 0.0
        return cls(
            name=name,
            elements=c.elements,
            families=tuple(f.name for f in families),
            amounts=scale * c.fit.amplitudes[index],
            noise=both * (c.fit.covariance - c.fit.ratio_covariance)[block],
            by_ratios=both * c.fit.ratio_covariance[block],
            k_sigma=np.asarray(c.k.relative_sigma),
            attenuation=tuple(attenuation_of(c.elements, f.energies) for f in families),
            weights=tuple(np.asarray(f.weights) for f in families),
            amount_map=np.eye(len(index)) if c.amount_map is None else c.amount_map,
            mass_thickness=mass,
            mass_sigma=sigma,
            take_off_angle=angle,
        )

    def shares(self, fractions: np.ndarray, mass: np.ndarray) -> np.ndarray:
        """Share of the photons that leave films; (states, n) for fractions (states, n)."""
        path = PER_PATH * mass / np.sin(np.radians(self.take_off_angle))
        out = np.empty_like(fractions)
        mixed = np.maximum(fractions, 0.0)
        mixed = mixed / mixed.sum(axis=1, keepdims=True)
        for i, (mu, weights) in enumerate(zip(self.attenuation, self.weights, strict=True)):
            out[:, i] = escaping_share((mixed @ mu.T) * path[:, None]) @ weights
        return out

    def fractions(
        self, noise: np.ndarray, k: np.ndarray, attenuation: np.ndarray, mass: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return weight fractions and escaping shares for a number of states; (states, n).

        Parameters
        ----------
        noise : ndarray of shape (states, n)
            To be added to the amounts.
        k, attenuation : ndarray of shape (states, n)
            Logarithms of factors: on the k-factors, and on what is absorbed of each family.
        mass : ndarray of shape (states,)
            kg/m2.
        """
        seen = (self.amounts + noise) * np.exp(k)
        amounts = seen @ self.amount_map.T
        now = amounts / amounts.sum(axis=1, keepdims=True)
        shares = np.ones_like(now)
        for _ in range(_ROUNDS):
            shares = self.shares(now, mass)
            born = seen / shares * np.exp(attenuation * (1 - shares))
            amounts = born @ self.amount_map.T
            new = amounts / amounts.sum(axis=1, keepdims=True)
            change = np.abs(new - now).max()
            # Half a step: more O lets O out, so whole ones can swing.
            now = (now + new) / 2
            if change < 1e-10:
                break
        return now, shares

    def as_atoms(self, fractions: np.ndarray) -> np.ndarray:
        """Atomic fractions of weight fractions; (..., n)."""
        atoms = fractions / np.array([atomic_weight(e) for e in self.elements])
        return np.asarray(atoms / atoms.sum(axis=-1, keepdims=True))


def attenuation_of(elements: Sequence[str], energies: np.ndarray) -> np.ndarray:
    """Mass attenuation of each element at some energies (keV), cm2/g; (energies, elements)."""
    return np.stack([element_attenuation(e, np.asarray(energies)) for e in elements], axis=1)


def _range_sigma(c: Composition) -> float:
    """Standard deviation of the mass thickness that the ends of a told range mean.

    The ends are compositions: the film's mode is theirs, and what a thicker film does to the
    composition tells how much thicker it is.
    """
    if c.film_ends is None or c.film is None:
        return 0.0
    measured = MeasuredPhase.of(c.name, replace(c, film_ends=None))
    state = np.zeros((2, len(c.elements)))
    step = 1.01
    mass = c.film.mass_thickness * np.array([1.0, step])
    moved = measured.fractions(state, state, state, mass)[0]
    slope = (moved[1] - moved[0]) / (mass[1] - mass[0])
    if not slope @ slope > 0:
        return 0.0
    return float(abs(slope @ c.film_mode()) / (slope @ slope))


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the unknowns of all phases stand in one vector, and their priors.

    All have the prior mean zero: noise of each phase's amounts, logarithms of factors on the
    k-factor and on the absorption of each family, the film's mass thickness as a whole and of
    each phase (relative), and the share of Fe3+ (less one half).

    Parameters
    ----------
    phases : tuple of MeasuredPhase
    covariance : ndarray of shape (d, d)
        Prior.
    sources : dict of str to ndarray of shape (d, d)
        Parts of it: "noise", "ratios", "k", "attenuation", "film", "iron".
    names : tuple of str
    """

    __repr__ = outline

    phases: tuple[MeasuredPhase, ...]
    covariance: np.ndarray
    sources: dict[str, np.ndarray]
    names: tuple[str, ...]
    families: tuple[str, ...]
    film: dict[str, tuple[float, float]]

    def compositions(self, z: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return fractions and escaping shares of each phase for states (states, d)."""
        return {
            p.name: p.fractions(
                z[:, self._noise(i)], z[:, self._k(p)], z[:, self._a(p)], self.mass(i, z)
            )
            for i, p in enumerate(self.phases)
        }

    def mass(self, i: int, z: np.ndarray) -> np.ndarray:
        """Mass thickness of a phase, never negative; (states,), kg/m2."""
        p = self.phases[i]
        base, spread = self.film[p.name]
        at = self.names.index("film")
        own = 1 + z[:, self.names.index(f"film of {p.name}")]
        return np.maximum((base + spread * z[:, at]) * np.maximum(own, 0.05), 0.0)

    def ferric(self, name: str, z: np.ndarray) -> np.ndarray:
        """Share of Fe3+ in the iron of a phase; (states,)."""
        return np.asarray(0.5 + z[:, self.names.index(f"Fe3+/Fe of {name}")])

    def index(self, name: str) -> int:
        """Position of an unknown."""
        return self.names.index(name)

    def _noise(self, i: int) -> slice:
        start = sum(len(p.elements) for p in self.phases[:i])
        return slice(start, start + len(self.phases[i].elements))

    def _k(self, p: MeasuredPhase) -> list[int]:
        return [self.names.index(f"k of {f}") for f in p.families]

    def _a(self, p: MeasuredPhase) -> list[int]:
        return [self.names.index(f"absorption of {f}") for f in p.families]


def layout_of(
    phases: Sequence[MeasuredPhase],
    *,
    attenuation_sigma: float,
    thickness_sigma: float,
    evenness: float,
    densities: Mapping[str, float],
    shared_noise: Mapping[tuple[str, str], np.ndarray],
) -> Layout:
    """Lay out the unknowns of phases, with their priors.

    Parameters
    ----------
    phases : sequence of MeasuredPhase
    attenuation_sigma : float
        Relative, of tables of mass attenuation.
    thickness_sigma : float
        Relative, of films that were told without a range.
    evenness : float
        Relative spread of the mass thickness from phase to phase about that of an even film,
        where it is not known.
    densities : mapping of str to float
        g/cm3, which part an unknown film of even thickness among the phases.
    shared_noise : mapping of (str, str) to ndarray
        Covariance of the amounts of two phases, where one was subtracted for the other.
    """
    families: dict[str, float] = {}
    for p in phases:
        for family, sigma in zip(p.families, p.k_sigma.tolist(), strict=True):
            if abs(families.setdefault(family, sigma) - sigma) > 1e-9:
                raise InputError(
                    f"the k-factor of {family} has another width in {p.name} than in the phases "
                    f"before it: quantify all with the same k-factors"
                )
    names = [f"{e} of {p.name}" for p in phases for e in p.elements]
    n_noise = len(names)
    names += [f"k of {f}" for f in families] + [f"absorption of {f}" for f in families]
    names += ["film", *(f"film of {p.name}" for p in phases)]
    names += [f"Fe3+/Fe of {p.name}" for p in phases]
    size = len(names)
    sources = {key: np.zeros((size, size)) for key in
               ("noise", "ratios", "k", "attenuation", "film", "iron")}  # fmt: skip
    start = 0
    starts = {}
    for p in phases:
        cut = slice(start, start + len(p.elements))
        starts[p.name] = cut
        sources["noise"][cut, cut], sources["ratios"][cut, cut] = p.noise, p.by_ratios
        start = cut.stop
    for (first, second), shared in shared_noise.items():
        if first in starts and second in starts:
            sources["noise"][starts[first], starts[second]] = shared
            sources["noise"][starts[second], starts[first]] = shared.T
    for j, sigma in enumerate(families.values()):
        at = n_noise + j
        sources["k"][at, at] = sigma**2
        at += len(families)
        sources["attenuation"][at, at] = attenuation_sigma**2
    film: dict[str, tuple[float, float]] = {}
    known = [densities[p.name] for p in phases if p.name in densities]
    mean = sum(known) / len(known) if known else 1.0
    for p in phases:
        own = densities.get(p.name, mean) / mean
        at = names.index(f"film of {p.name}")
        if p.mass_thickness is None:
            film[p.name] = (0.0, own * THICKEST / np.sqrt(3.0))
            sources["film"][at, at] = evenness**2
            continue
        spread = p.mass_sigma or thickness_sigma * p.mass_thickness
        film[p.name] = (p.mass_thickness, spread)
        sources["film"][at, at] = evenness**2 if spread > 0 else 0.0
    at = names.index("film")
    sources["film"][at, at] = 1.0
    for p in phases:
        at = names.index(f"Fe3+/Fe of {p.name}")
        # As wide as equal chances between 0 and 1.
        sources["iron"][at, at] = 1 / 12
    total = np.sum(list(sources.values()), axis=0)
    return Layout(tuple(phases), total, sources, tuple(names), tuple(families), film)
