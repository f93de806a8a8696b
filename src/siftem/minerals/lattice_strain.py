"""Partition coefficients against the radii of ions, and the lattice strain that shapes them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files

import numpy as np

from siftem.errors import InputError
from siftem.old_names import takes_old_names
from siftem.quantification.minerals import VALENCES
from siftem.quantification.partition import PartitionCoefficient
from siftem.views import outline

#: Coordination numbers of the table of radii.
COORDINATIONS = (6, 8, 12)
#: 4 pi N_A / R, for E in GPa, radii in angstrom and T in K.
_STRAIN = 4 * np.pi * 6.02214076e23 * 1e9 * 1e-30 / 8.31446262
#: How far beyond the radii that were measured the best one may lie, angstrom.
_BEYOND = 0.2
#: Stiffness E/T, GPa/K: from soft to far stiffer than any site.
_SOFTEST, _STIFFEST = 1e-3, 3.0
#: ln D0 goes no farther than this from 0.
_LOG_MOST = 20.0
_FEWEST = 3
#: Best radii that are tried, and the golden sections by which the best of them is refined.
_TRIED, _SECTIONS = 161, 30
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class OnumaPoint:
    """A partition coefficient at the radius of its ion.

    Parameters
    ----------
    element : str
    charge : int
    radius : float
        Angstrom.
    value, sigma : float
        D by weight, with its error from counting and all else together; NaN for a limit.
    interval_95 : tuple of float
    limit : {"", "above", "below"}
    fitted : bool
        Whether it is one of the points of a curve.
    """

    element: str
    charge: int
    radius: float
    value: float
    sigma: float
    interval_95: tuple[float, float]
    limit: str = ""
    fitted: bool = False


@dataclass(frozen=True, eq=False)
class LatticeStrain:
    """The curve of one charge: ``D = D0 exp(-4 pi E N_A (r0/2 d^2 + d^3/3) / (R T))``, d = r - r0.

    Parameters
    ----------
    charge : int
    elements : tuple of str
        At least three.
    strain_free, best_radius, stiffness : float
        D0, r0 (angstrom) and E/T (GPa/K).
    intervals_95 : dict of str to tuple of float
        Of these three by their names, and of "young_modulus" (GPa) with a temperature.
    young_modulus : float or None
        E in GPa; None without a temperature.
    at_bound : bool
        Whether the best radius may lie as far from those measured as is allowed: then the points
        do not enclose it, and D0 and r0 mean little.
    curves : ndarray of shape (draws, 3)
        ln D0, r0 and ln E/T of points that were moved by their errors.
    """

    __repr__ = outline

    charge: int
    elements: tuple[str, ...]
    strain_free: float
    best_radius: float
    stiffness: float
    intervals_95: dict[str, tuple[float, float]]
    young_modulus: float | None
    at_bound: bool
    curves: np.ndarray

    def at(self, radius: np.ndarray) -> np.ndarray:
        """Return D at some radii in angstrom."""
        best = np.array([np.log(self.strain_free), self.best_radius, np.log(self.stiffness)])
        return np.asarray(np.exp(log_partition(best, np.asarray(radius, dtype=np.float64))))

    def band(self, radius: np.ndarray, level: float = 0.68) -> tuple[np.ndarray, np.ndarray]:
        """Return the band of D at some radii that holds a share of the curves."""
        r = np.asarray(radius, dtype=np.float64)
        drawn = np.exp([log_partition(c, r) for c in self.curves])
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return low, high


@dataclass(frozen=True, eq=False)
class OnumaDiagram:
    """Partition coefficients of one pair of phases against ionic radii.

    Parameters
    ----------
    phases : tuple of str
        Numerator and denominator.
    coordination : int
    points : tuple of OnumaPoint
    curves : tuple of LatticeStrain
        For each charge with at least three measured cations.
    """

    __repr__ = outline

    phases: tuple[str, str]
    coordination: int
    points: tuple[OnumaPoint, ...]
    curves: tuple[LatticeStrain, ...]


@takes_old_names(seed="random_state")
def lattice_strain(
    coefficients: Sequence[PartitionCoefficient],
    *,
    coordination: int = 8,
    temperature: float | None = None,
    draws: int = 200,
    random_state: int = 0,
) -> OnumaDiagram:
    """Set partition coefficients against ionic radii, and fit lattice strain where it is possible.

    Curves are fitted to ln D of the cations of one charge, weighted with all their errors, where
    there are at least three that were measured; limits and ranges are shown but not fitted.

    Parameters
    ----------
    coefficients : sequence of PartitionCoefficient
        Of one pair of phases.
    coordination : {6, 8, 12}
        Of the site.
    temperature : float, optional
        K; gives Young's modulus, else only E/T is known.
    draws : int
        Fits to points moved by their errors, for the intervals.
    random_state : int

    Returns
    -------
    OnumaDiagram

    Raises
    ------
    InputError
        When the coefficients are of several pairs, or a number is impossible.

    References
    ----------
    Onuma et al. 1968, Earth Planet. Sci. Lett. 5, 47; Blundy & Wood 1994, Nature 372, 452; radii of
    Shannon 1976, Acta Cryst. A 32, 751.

    Examples
    --------
    >>> from siftem.quantification.partition import PartitionCoefficient
    >>> measured = [
    ...     PartitionCoefficient(e, ("Ca-Pv", "melt"), d, 0.05 * d, 0.0)
    ...     for e, d in {"La": 8.5, "Nd": 16.0, "Sm": 19.0, "Yb": 13.0, "Lu": 12.0}.items()
    ... ]
    >>> diagram = siftem.lattice_strain(measured, coordination=8, temperature=2300)
    >>> round(diagram.curves[0].best_radius, 2)
    1.0...
    """
    pairs = list(dict.fromkeys(c.phases for c in coefficients))
    if len(pairs) != 1:
        raise InputError(
            f"an Onuma diagram is of the coefficients of one pair of phases, got {len(pairs)}"
        )
    if coordination not in COORDINATIONS:
        raise InputError(
            f"coordination must be one of {', '.join(map(str, COORDINATIONS))}, got {coordination}"
        )
    if temperature is not None and not 0 < temperature < 1e5:
        raise InputError(f"temperature must be in K and positive, got {temperature}")
    points = [p for c in coefficients if (p := _point(c, coordination)) is not None]
    curves = []
    shown: list[OnumaPoint] = []
    for charge in sorted({p.charge for p in points}):
        own = [p for p in points if p.charge == charge]
        usable = [p for p in own if _measured(p)]
        if len(usable) >= _FEWEST:
            curves.append(_fitted(charge, usable, temperature, draws, random_state))
            used = {p.element for p in usable}
            own = [replace(p, fitted=p.element in used) for p in own]
        shown += own
    return OnumaDiagram(pairs[0], coordination, tuple(shown), tuple(curves))


def ionic_radius(element: str, charge: int, coordination: int) -> float | None:
    """Return the radius of an ion in angstrom (Shannon 1976); None when it is not known."""
    return _radii().get((element, charge, coordination))


def log_partition(curve: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Return ln D of a curve (ln D0, r0, ln E/T) at radii in angstrom."""
    off = radius - curve[1]
    strain = curve[1] / 2 * off**2 + off**3 / 3
    return np.asarray(curve[0] - _STRAIN * np.exp(curve[2]) * strain)


@lru_cache(maxsize=1)
def _radii() -> dict[tuple[str, int, int], float]:
    text = files("siftem.minerals").joinpath("ionic_radii.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {
        (row["element"], int(row["charge"]), c): float(row[str(c)])
        for row in csv.DictReader(lines)
        for c in COORDINATIONS
        if row[str(c)]
    }


def _point(c: PartitionCoefficient, coordination: int) -> OnumaPoint | None:
    charge = VALENCES.get(c.element)
    radius = None if charge is None else ionic_radius(c.element, charge, coordination)
    if charge is None or radius is None:
        return None
    sigma = float(np.hypot(c.sigma, c.systematic))
    if c.is_range:
        sigma = float("nan")
    return OnumaPoint(c.element, charge, radius, c.value, sigma, c.interval_95, c.limit)


def _measured(p: OnumaPoint) -> bool:
    return not p.limit and p.value > 0 and np.isfinite(p.sigma) and 0 < p.sigma < p.value


def _fitted(
    charge: int,
    points: Sequence[OnumaPoint],
    temperature: float | None,
    draws: int,
    random_state: int,
) -> LatticeStrain:
    radius = np.array([p.radius for p in points])
    log = np.log([p.value for p in points])
    sigma = np.array([p.sigma / p.value for p in points])
    low, high = radius.min() - _BEYOND, radius.max() + _BEYOND
    best = _best_curves(radius, log[None], sigma, low, high)[0]
    moved = np.random.default_rng(random_state).standard_normal((draws, len(log)))
    drawn = _best_curves(radius, log + sigma * moved, sigma, low, high)
    edges = np.quantile(drawn, [0.025, 0.975], axis=0)
    intervals = {
        "strain_free": (float(np.exp(edges[0, 0])), float(np.exp(edges[1, 0]))),
        "best_radius": (float(edges[0, 1]), float(edges[1, 1])),
        "stiffness": (float(np.exp(edges[0, 2])), float(np.exp(edges[1, 2]))),
    }
    stiffness = float(np.exp(best[2]))
    if temperature is not None:
        soft, stiff = intervals["stiffness"]
        intervals["young_modulus"] = (soft * temperature, stiff * temperature)
    return LatticeStrain(
        charge=charge,
        elements=tuple(p.element for p in points),
        strain_free=float(np.exp(best[0])),
        best_radius=float(best[1]),
        stiffness=stiffness,
        intervals_95=intervals,
        young_modulus=None if temperature is None else stiffness * temperature,
        at_bound=bool(min(edges[0, 1] - low, high - edges[1, 1]) < 2e-3),
        curves=drawn,
    )


def _best_curves(
    radius: np.ndarray, values: np.ndarray, sigma: np.ndarray, low: float, high: float
) -> np.ndarray:
    """Fit curves (ln D0, r0, ln E/T) to sets of ln D at the same radii; (sets, 3).

    For a given best radius, ln D is linear in ln D0 and E/T. So only that radius is sought: on a
    grid, which no local minimum can hide, then by golden sections.

    Parameters
    ----------
    radius, sigma : ndarray of shape (m,)
    values : ndarray of shape (sets, m)
    low, high : float
        Between which the best radius lies.
    """
    tried = np.linspace(low, high, _TRIED)
    costs = _given_radius(radius, values, sigma, tried[None])[0]
    at = costs.argmin(axis=1)
    left, right = tried[np.maximum(at - 1, 0)], tried[np.minimum(at + 1, _TRIED - 1)]
    for _ in range(_SECTIONS):
        inner = np.stack([right, left], axis=1) + _GOLDEN * np.outer(right - left, [-1, 1])
        falls = np.diff(_given_radius(radius, values, sigma, inner)[0], axis=1)[:, 0] > 0
        left, right = np.where(falls, left, inner[:, 0]), np.where(falls, inner[:, 1], right)
    best = (0.5 * (left + right))[:, None]
    _, log_d0, stiffness = _given_radius(radius, values, sigma, best)
    return np.concatenate([log_d0, best, np.log(stiffness)], axis=1)


def _given_radius(
    radius: np.ndarray, values: np.ndarray, sigma: np.ndarray, best: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit ln D0 and E/T within their limits at best radii (sets or 1, g); chi2 and both, (sets, g).

    The least of a convex function of two numbers in a box is inside, or on an edge of it.
    """
    off = radius - best[..., None]
    slope = _STRAIN * (best[..., None] / 2 * off**2 + off**3 / 3)
    y, w = values[:, None], 1 / sigma**2
    weight, ws = w.sum(), slope @ w
    wss = np.maximum(slope**2 @ w, 1e-300)
    wy, wsy = y @ w, (w * y * slope).sum(axis=-1)
    spread = np.maximum(weight * wss - ws**2, 1e-12 * weight * wss)

    def log_d0_at(e: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip((wy + ws * e) / weight, -_LOG_MOST, _LOG_MOST))

    def stiffness_at(d: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip((ws * d - wsy) / wss, _SOFTEST, _STIFFEST))

    e = (ws * wy - weight * wsy) / spread
    d = (wy + ws * e) / weight
    inside = (e >= _SOFTEST) & (e <= _STIFFEST) & (np.abs(d) <= _LOG_MOST)
    limits = [np.full_like(e, c) for c in (_SOFTEST, _STIFFEST, -_LOG_MOST, _LOG_MOST)]
    pairs = [(d, e)]
    pairs += [(log_d0_at(c), c) for c in limits[:2]] + [(c, stiffness_at(c)) for c in limits[2:]]
    chi2 = np.stack([(y - d[..., None] + e[..., None] * slope) ** 2 @ w for d, e in pairs])
    chi2[0][~inside] = np.inf
    least = chi2.argmin(axis=0)[None]
    log_d0, stiffness = (
        np.take_along_axis(np.stack(c), least, axis=0)[0] for c in zip(*pairs, strict=True)
    )
    return np.take_along_axis(chi2, least, axis=0)[0], log_d0, stiffness
