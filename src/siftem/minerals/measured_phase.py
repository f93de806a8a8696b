"""What the spectrum of a phase says before k-factors and film, and what they make of it.

A detector's window and dead layer take their part of each line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from siftem.quantification.composition import Composition
from siftem.quantification.film import WITH_WINDOW
from siftem.views import outline
from siftem.xray.absorption import element_attenuation, escaping_share
from siftem.xray.detector import POLYMER, Detector
from siftem.xray.elements import atomic_weight
from siftem.xray.lines import LineFamily

#: nm over which the depth of the dead layer is taken.
_NM = 10.0


def layer_depths(
    families: Sequence[LineFamily], detector: Detector, source: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the optical depth of one window and of one nm of dead layer for each family.

    Mean over the lines of a family that are seen, so that a window ``w`` times as thick takes
    ``exp(-w depth)`` of it.

    Parameters
    ----------
    families : sequence of LineFamily
    detector : Detector
        As it was reckoned with. Its window is the one that was told, else a polymer one.
    source : sequence of str
        Of each k-factor; a given one was measured through both, whatever they are.

    Returns
    -------
    window, dead_layer : ndarray of shape (families,)
        The second per nm.
    """
    told = detector.window
    bare = replace(detector, window=())
    behind = replace(detector, window=POLYMER if told is None else told)
    more = replace(detector, dead_layer=detector.dead_layer + _NM)
    window, dead = np.zeros(len(families)), np.zeros(len(families))
    for i, family in enumerate(families):
        if source[i] in WITH_WINDOW:
            continue
        seen = family.weights * detector.efficiency(family.energies)
        seen = seen / seen.sum()
        lost = np.log(bare.efficiency(family.energies) / behind.efficiency(family.energies))
        window[i] = seen @ lost
        lost = np.log(detector.efficiency(family.energies) / more.efficiency(family.energies))
        dead[i] = seen @ lost / _NM
    return window, dead


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
    window, dead_layer : ndarray of shape (n,) or (0,)
        Optical depths at the families of one detector window, and of one nm of dead layer; none
        where the k-factors hold the detector.
    dead_layer_nm : float
        That was reckoned with.
    window_told : bool
        Whether a detector's window was told, even that there is none.
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
    window: np.ndarray = field(default_factory=lambda: np.zeros(0))
    dead_layer: np.ndarray = field(default_factory=lambda: np.zeros(0))
    dead_layer_nm: float = 0.0
    window_told: bool = True

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
        detector = c.fit.model.detector
        window, dead_layer = layer_depths(families, detector, c.k.source)
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
            window=window,
            dead_layer=dead_layer,
            dead_layer_nm=detector.dead_layer,
            window_told=detector.window is not None,
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
            Logarithms of factors: on the k-factors with what the detector takes, and on what is
            absorbed of each family.
        mass : ndarray of shape (states,)
            kg/m2.
        """
        seen = (self.amounts + noise) * np.exp(k)
        amounts = seen @ self.amount_map.T
        now = amounts / amounts.sum(axis=1, keepdims=True)
        shares = np.ones_like(now)
        # Half a step at first: more O lets O out, so whole ones can swing. Then as far as the last
        # two changes say (Irons & Tuck 1969).
        part, before = np.full((len(now), 1), 0.5), np.zeros_like(now)
        for _ in range(_ROUNDS):
            shares = self.shares(now, mass)
            born = seen / shares * np.exp(attenuation * (1 - shares))
            amounts = born @ self.amount_map.T
            change = amounts / amounts.sum(axis=1, keepdims=True) - now
            if before.any():
                turn = change - before
                size = np.maximum((turn**2).sum(axis=1, keepdims=True), 1e-300)
                along = (before * turn).sum(axis=1, keepdims=True)
                part = np.clip(-part * along / size, 0.1, 1.0)
            now, before = now + part * change, change
            if np.abs(change).max() < 1e-10:
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
