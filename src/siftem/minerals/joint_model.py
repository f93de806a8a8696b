"""Compositions of all phases of a map as functions of what they share: k-factors and film."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri

from siftem.errors import InputError
from siftem.minerals.measured_phase import MeasuredPhase
from siftem.quantification.film import THICKEST
from siftem.views import outline

#: Unknown slopes of the film's thickness.
SLOPES = ("film slope along y", "film slope along x")


def in_map(name: str, of: str) -> str:
    """Name an unknown of one of several maps; a single map has no name."""
    return f"{name} in {of}" if of else name


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the unknowns of all phases stand in one vector, and their priors.

    All have the prior mean zero: noise of each phase's amounts, logarithms of factors on the
    k-factor and on the absorption of each family, the film's mass thickness as a whole and of
    each phase (relative), its slopes along y and x, the detector's window and dead layer, the
    share of Fe3+ (less one half), and by what a phase departs in all maps from what is known of it.
    Film, slopes, window, dead layer and departures are in units of their width. Each of several
    maps has its own film with its own slopes.

    Parameters
    ----------
    phases : tuple of MeasuredPhase
    covariance : ndarray of shape (d, d)
        Prior.
    sources : dict of str to ndarray of shape (d, d)
        Parts of it: "noise", "ratios", "k", "attenuation", "film", "detector", "iron",
        "departures".
    names : tuple of str
    positions : dict of str to tuple of float
        Place (y, x) of each phase, from the middle of the map, over its longer side.
    map_of : dict of str to str
        Map of each phase; empty for the only one.
    widths : dict of str to float
        Prior widths: "slope" (relative, across the longer side), "window" (windows), "dead layer"
        (nm).
    """

    __repr__ = outline

    phases: tuple[MeasuredPhase, ...]
    covariance: np.ndarray
    sources: dict[str, np.ndarray]
    names: tuple[str, ...]
    families: tuple[str, ...]
    film: dict[str, tuple[float, float]]
    positions: dict[str, tuple[float, float]]
    map_of: dict[str, str]
    widths: dict[str, float]

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps."""
        return tuple(dict.fromkeys(self.map_of.values()))

    @property
    def unknown_films(self) -> tuple[int, ...]:
        """Positions of the films of which nothing was told."""
        open_in = {self.map_of[n] for n, (base, width) in self.film.items() if not base and width}
        return tuple(self.index(in_map("film", m)) for m in self.maps if m in open_in)

    def unknowns(self, i: int) -> list[int]:
        """Positions of all that the composition of a phase depends on."""
        p = self.phases[i]
        of = self.map_of[p.name]
        names = ["film", *SLOPES]
        shared = [*(in_map(n, of) for n in names), f"film of {p.name}", "window", "dead layer"]
        at = [self.index(n) for n in (*shared, f"Fe3+/Fe of {p.name}")]
        noise = range(*self._noise(i).indices(len(self.names)))
        return [*noise, *self._k(p), *self._a(p), *at]

    def compositions(
        self, z: np.ndarray, of: Collection[str] | None = None
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return fractions and escaping shares of phases (all) for states (states, d)."""
        return {
            p.name: p.fractions(
                z[:, self._noise(i)],
                z[:, self._k(p)] + self.detector_loss(p, z),
                z[:, self._a(p)],
                self.mass(i, z),
            )
            for i, p in enumerate(self.phases)
            if of is None or p.name in of
        }

    def mass(self, i: int, z: np.ndarray) -> np.ndarray:
        """Mass thickness of a phase, never negative; (states,), kg/m2."""
        p = self.phases[i]
        base, spread = self.film[p.name]
        of = self.map_of[p.name]
        at = self.index(in_map("film", of))
        own = 1 + z[:, self.names.index(f"film of {p.name}")]
        plane = 1 + z[:, [self.index(in_map(name, of)) for name in SLOPES]] @ (
            self.widths["slope"] * np.array(self.positions.get(p.name, (0.0, 0.0)))
        )
        even = base * np.exp(spread / base * z[:, at]) if base > 0 else spread * z[:, at]
        return np.maximum(even * np.maximum(plane, 0.05) * np.maximum(own, 0.05), 0.0)

    def window(self, z: np.ndarray) -> np.ndarray:
        """Windows beyond the one that was reckoned with; (states,).

        One that was told may be thicker or thinner; where nothing was told it may be there.
        """
        at = z[:, self.names.index("window")]
        if any(p.window_told for p in self.phases):
            return np.expm1(self.widths["window"] * at)
        return half_normal(self.widths["window"], at)

    def dead_layer(self, z: np.ndarray) -> np.ndarray:
        """Nm of dead layer beyond what was reckoned with; (states,)."""
        at, nm = z[:, self.names.index("dead layer")], self.phases[0].dead_layer_nm
        if nm == 0:
            return half_normal(self.widths["dead layer"], at)
        return np.asarray(nm * np.expm1(self.widths["dead layer"] / nm * at))

    def detector_loss(self, p: MeasuredPhase, z: np.ndarray) -> np.ndarray:
        """Logarithm of what window and dead layer take from each family; (states, n)."""
        if not p.window.size:
            return np.zeros((len(z), len(p.elements)))
        return self.window(z)[:, None] * p.window + self.dead_layer(z)[:, None] * p.dead_layer

    def ferric(self, name: str, z: np.ndarray) -> np.ndarray:
        """Share of Fe3+ in the iron of a phase; (states,)."""
        return np.asarray(0.5 + z[:, self.names.index(f"Fe3+/Fe of {name}")])

    def without_width(self, at: Sequence[int]) -> Layout:
        """Return the same layout where some unknowns have no prior width: they are held."""
        keep = np.ones(len(self.names))
        keep[list(at)] = 0.0
        both = np.outer(keep, keep)
        sources = {key: both * v for key, v in self.sources.items()}
        return replace(self, covariance=both * self.covariance, sources=sources)

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


def half_normal(width: float, at: np.ndarray) -> np.ndarray:
    """Turn normal variates into ones of half a normal density, which never end at a bound."""
    return np.asarray(-width * ndtri(ndtr(-at) / 2))


def layout_of(
    phases: Sequence[MeasuredPhase],
    *,
    attenuation_sigma: float,
    thickness_sigma: float,
    evenness: float,
    densities: Mapping[str, float],
    shared_noise: Mapping[tuple[str, str], np.ndarray],
    positions: Mapping[str, tuple[float, float]] | None = None,
    slope_sigma: float = 0.0,
    window_sigma: float = 0.0,
    dead_layer_sigma: float = 0.0,
    map_of: Mapping[str, str] | None = None,
    departures: Sequence[str] = (),
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
    positions : mapping of str to tuple of float, optional
        Place (y, x) of each phase, from the middle of the map, over its longer side.
    slope_sigma : float
        Relative, of the film's thickness across the longer side.
    window_sigma : float
        Windows: relative to the one that was told, else of polymer ones.
    dead_layer_sigma : float
        nm.
    map_of : mapping of str to str, optional
        Map of each phase; by default all are of one.
    departures : sequence of str
        Names of what may be off in all maps alike.
    """
    map_of = dict(map_of or dict.fromkeys((p.name for p in phases), ""))
    maps = tuple(dict.fromkeys(map_of[p.name] for p in phases))
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
    names += [in_map("film", m) for m in maps] + [f"film of {p.name}" for p in phases]
    names += [in_map(name, m) for m in maps for name in SLOPES] + ["window", "dead layer"]
    names += [f"Fe3+/Fe of {p.name}" for p in phases] + list(departures)
    size = len(names)
    parts = ("noise", "ratios", "k", "attenuation", "film", "detector", "iron", "departures")
    sources = {key: np.zeros((size, size)) for key in parts}
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
    widths = {"slope": slope_sigma, "window": window_sigma, "dead layer": dead_layer_sigma}
    for name, source, width in (
        *((in_map("film", m), "film", 1.0) for m in maps),
        *((in_map(name, m), "film", slope_sigma) for m in maps for name in SLOPES),
        ("window", "detector", window_sigma),
        ("dead layer", "detector", dead_layer_sigma),
        *((name, "departures", 1.0) for name in departures),
    ):
        at = names.index(name)
        sources[source][at, at] = 1.0 if width > 0 else 0.0
    for p in phases:
        at = names.index(f"Fe3+/Fe of {p.name}")
        # As wide as equal chances between 0 and 1.
        sources["iron"][at, at] = 1 / 12
    total = np.sum(list(sources.values()), axis=0)
    return Layout(
        tuple(phases), total, sources, tuple(names), tuple(families), film,
        dict(positions or {}), map_of, widths,
    )  # fmt: skip
