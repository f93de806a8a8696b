"""Drawings of specimens: which materials, and how much of each along the beam in every pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from validation.foreign_physics import Material

_OXIDES = [
    Material("plagioclase", {"Ca": 0.55, "Na": 0.45, "Al": 1.55, "Si": 2.45, "O": 8}, 2.7),
    Material("augite", {"Ca": 0.75, "Mg": 0.95, "Fe": 0.2, "Al": 0.15, "Si": 1.95, "O": 6}, 3.3),
    Material("forsterite", {"Mg": 1.75, "Fe": 0.25, "Si": 1, "O": 4}, 3.3),
    Material("ilmenite", {"Fe": 0.9, "Mg": 0.1, "Ti": 1, "O": 3}, 4.7),
    Material("apatite", {"Ca": 5, "P": 3, "O": 12.5, "F": 1}, 3.2),
    Material("quartz", {"Si": 1, "O": 2}, 2.65),
    Material("pyrrhotite", {"Fe": 0.9, "S": 1}, 4.6),
]
_BY_NAME = {m.name: m for m in _OXIDES}
CARBON = Material("carbon film", {"C": 1}, 1.9)


@dataclass(frozen=True)
class Drawing:
    """What a layout draws.

    Parameters
    ----------
    materials : list of Material
        Phases, among them the support if there is one.
    maps : ndarray of shape (phases, ny, nx)
        Shares of the nominal thickness, before the probe blurs them.
    thicknesses : list of float, optional
        nm at a share of one; `THICKNESS` if not given.
    """

    materials: list[Material]
    maps: np.ndarray
    thicknesses: list[float] | None = None


#: Layouts by name: what siftem should find, the support, and how it is drawn.
LAYOUTS: dict[str, tuple[tuple[str, ...], str, Callable[[int, np.random.Generator], Drawing]]] = {}


def _layout(*kinds: str, support: str = "") -> Callable[[Any], Any]:
    """Register a drawing: what it is, and what else it may be called, since counts can't tell."""

    def keep(draw: Any) -> Any:
        LAYOUTS[draw.__name__.strip("_")] = (kinds, support, draw)
        return draw

    return keep


@_layout("side by side")
def _interface(n: int, rng: np.random.Generator) -> Drawing:
    """Two halves."""
    cut = n * rng.uniform(0.42, 0.58)
    y, x = _grid(n)
    first = (x + 0.15 * y < cut + 0.075 * n).astype(float)
    phases = [
        Material("Al2O3", {"Al": 2, "O": 3}, 3.95),
        Material("NiCr", {"Ni": 80, "Cr": 20}, 8.4),
    ]
    return Drawing(phases, np.stack([first, 1 - first]))


@_layout("side by side")
def _three_layers(n: int, rng: np.random.Generator) -> Drawing:
    """A substrate, an oxide and a film on it."""
    top, middle = n * rng.uniform(0.15, 0.3), n * rng.uniform(0.45, 0.6)
    y, _ = _grid(n)
    labels = (y >= top).astype(int) + (y >= middle)
    phases = [
        Material("TiO2", {"Ti": 1, "O": 2}, 4.2),
        Material("SiO2", {"Si": 1, "O": 2}, 2.2),
        Material("Si", {"Si": 1}, 2.33),
    ]
    return Drawing(phases, one_hot(labels, 3))


@_layout("side by side")
def _quantum_well(n: int, rng: np.random.Generator) -> Drawing:
    """Wells of a few pixels between barriers on a substrate."""
    labels = np.zeros((n, n), int)
    start = int(n * 0.25)
    labels[start : int(n * 0.85)] = 1
    for i in range(4):
        at = start + int(n * (0.08 + 0.13 * i))
        labels[at : at + max(3, n // 16)] = 2
    phases = [
        Material("GaAs", {"Ga": 1, "As": 1}, 5.3),
        Material("AlGaAs", {"Al": 0.35, "Ga": 0.65, "As": 1}, 4.8),
        Material("InGaAs", {"In": 0.2, "Ga": 0.8, "As": 1}, 5.4),
    ]
    return Drawing(phases, one_hot(labels, 3))


@_layout("nested")
def _core_shell_vacuum(n: int, rng: np.random.Generator) -> Drawing:
    """Spheres of a core in a shell, over nothing."""
    return Drawing(
        [Material("NiFe", {"Ni": 3, "Fe": 1}, 8.5), Material("ZrO2", {"Zr": 1, "O": 2}, 5.7)],
        _cores_and_shells(n, rng),
    )


@_layout("nested", support="carbon film")
def _core_shell_film(n: int, rng: np.random.Generator) -> Drawing:
    """The same on a carbon film."""
    both = _cores_and_shells(n, rng)
    phases = [
        Material("FePd", {"Fe": 40, "Pd": 60}, 10.0),
        Material("Fe3O4", {"Fe": 3, "O": 4}, 5.2),
        CARBON,
    ]
    return Drawing(phases, np.stack([*both, np.ones((n, n))]), [60.0, 60.0, 20.0])


def _cores_and_shells(n: int, rng: np.random.Generator) -> np.ndarray:
    radii = [n * s * rng.uniform(0.9, 1.1) for s in (0.17, 0.15, 0.13, 0.11)]
    core, whole = np.zeros((n, n)), np.zeros((n, n))
    for at, r in zip(_centres(n, rng, radii), radii, strict=True):
        part = rng.uniform(0.55, 0.7)
        ball = _chord(n, at, r) * r / (0.17 * n)
        inside = _chord(n, at, part * r) * part * r / (0.17 * n)
        core, whole = np.maximum(core, inside), np.maximum(whole, ball)
    return np.stack([core, whole - core])


@_layout("matrix")
def _half_thick(n: int, rng: np.random.Generator) -> Drawing:
    """Grains of half the thickness that share elements with the matrix."""
    grain = 0.5 * np.max(_scattered(n, rng, [0.16, 0.14, 0.12], _disc), axis=0)
    phases = [
        Material("MgAl2O4", {"Mg": 1, "Al": 2, "O": 4}, 3.6),
        Material("YAG", {"Y": 3, "Al": 5, "O": 12}, 4.55),
    ]
    return Drawing(phases, np.stack([1 - grain, grain]))


@_layout("matrix")
def _spheres(n: int, rng: np.random.Generator) -> Drawing:
    """Spheres of several sizes in a matrix; the thickest go through the film."""
    grain = np.max(_scattered(n, rng, [0.18, 0.15, 0.12, 0.1], _chord), axis=0)
    other = 0.8 * np.max(_scattered(n, rng, [0.1, 0.09], _chord), axis=0)
    other = np.minimum(other, 1 - grain)
    phases = [
        Material("enstatite", {"Mg": 0.9, "Fe": 0.1, "Si": 1, "O": 3}, 3.3),
        Material("pyrope", {"Mg": 2.3, "Fe": 0.5, "Ca": 0.2, "Al": 2, "Si": 3, "O": 12}, 3.7),
        Material("chromite", {"Fe": 0.6, "Mg": 0.4, "Cr": 1.4, "Al": 0.6, "O": 4}, 4.4),
    ]
    return Drawing(phases, np.stack([1 - grain - other, grain, other]))


@_layout("side by side", "matrix")
def _full_thickness(n: int, rng: np.random.Generator) -> Drawing:
    """Precipitates as thick as the film: each is pure in its middle."""
    grain = np.max(_scattered(n, rng, [0.17, 0.14, 0.12], _disc), axis=0)
    other = np.max(_scattered(n, rng, [0.1, 0.09], _disc), axis=0) * (1 - grain)
    phases = [
        Material("Al-Cu", {"Al": 98, "Cu": 2}, 2.8),
        Material("Al2Cu", {"Al": 2, "Cu": 1}, 4.35),
        Material("Al6Mn", {"Al": 6, "Mn": 0.8, "Fe": 0.2}, 3.3),
    ]
    return Drawing(phases, np.stack([1 - grain - other, grain, other]))


@_layout("side by side", "matrix")
def _gamma_prime(n: int, rng: np.random.Generator) -> Drawing:
    """Cubes that fill half of the map, as thick as the film."""
    y, x = _grid(n)
    period, shift = n / 4, rng.uniform(0, n / 4, 2)
    inside = [
        np.abs((v + s) % period - period / 2) < 0.36 * period
        for v, s in ((y, shift[0]), (x, shift[1]))
    ]
    cubes = (inside[0] & inside[1]).astype(float)
    phases = [
        Material("gamma", {"Ni": 56, "Co": 13, "Cr": 22, "Al": 5, "W": 4}, 8.6),
        Material("gamma prime", {"Ni": 68, "Co": 6, "Cr": 4, "Al": 15, "Ti": 6, "W": 1}, 8.0),
    ]
    return Drawing(phases, np.stack([1 - cubes, cubes]))


@_layout("side by side", "mixed")
def _couple(n: int, rng: np.random.Generator) -> Drawing:
    """A diffusion couple: pure at both ends, every mixture between."""
    _, x = _grid(n)
    share = 1 / (1 + np.exp(-(x - n * rng.uniform(0.45, 0.55)) / (0.09 * n)))
    return Drawing(_ends(), np.stack([1 - share, share]))


@_layout("mixed")
def _gradient(n: int, rng: np.random.Generator) -> Drawing:
    """A gradient from 15 to 85%: neither end occurs."""
    _, x = _grid(n)
    share = 0.15 + 0.7 * x / (n - 1)
    return Drawing(_ends(), np.stack([1 - share, share]))


def _ends() -> list[Material]:
    return [
        Material("Cu-Zn", {"Cu": 96, "Zn": 4}, 8.9),
        Material("Ni-Mn", {"Ni": 90, "Mn": 10}, 8.8),
    ]


@_layout("side by side", "matrix")
def _one_percent(n: int, rng: np.random.Generator) -> Drawing:
    """A grain on one percent of the map, as thick as the film."""
    r = n * np.sqrt(0.01 / np.pi)
    grain = _disc(n, _centres(n, rng, [r])[0], r)
    phases = [
        Material("glass", {"Si": 62, "Al": 16, "Ca": 10, "Mg": 8, "Na": 6, "O": 190}, 2.6),
        Material("zircon", {"Zr": 1, "Si": 1, "O": 4}, 4.6),
    ]
    return Drawing(phases, np.stack([1 - grain, grain]))


@_layout("side by side")
def _equal_spectra(n: int, rng: np.random.Generator) -> Drawing:
    """Two alloys that differ by 3 at%."""
    cut = n * rng.uniform(0.42, 0.58)
    _, x = _grid(n)
    first = (x < cut).astype(float)
    phases = [
        Material("Fe70Cr30", {"Fe": 70, "Cr": 30}, 7.7),
        Material("Fe73Cr27", {"Fe": 73, "Cr": 27}, 7.7),
    ]
    return Drawing(phases, np.stack([first, 1 - first]))


@_layout("side by side")
def _many_phases(n: int, rng: np.random.Generator) -> Drawing:
    """Seven minerals side by side."""
    return Drawing(_OXIDES, one_hot(voronoi(n, rng, 28, 7), 7))


@_layout("particles on a support", support="carbon film")
def _particles_film(n: int, rng: np.random.Generator) -> Drawing:
    """Two kinds of particles on a carbon film."""
    all_of_them = _scattered(n, rng, [0.14, 0.13, 0.12, 0.1, 0.09], _chord)
    silica = np.max(all_of_them[::2], axis=0)
    ceria = np.max(all_of_them[1::2], axis=0) * (silica == 0)
    phases = [
        Material("SiO2", {"Si": 1, "O": 2}, 2.2),
        Material("Co3O4", {"Co": 3, "O": 4}, 6.1),
        CARBON,
    ]
    return Drawing(phases, np.stack([silica, ceria, np.ones((n, n))]), [80.0, 80.0, 25.0])


@_layout("particles on a support", "side by side")
def _particles_vacuum(n: int, rng: np.random.Generator) -> Drawing:
    """Two kinds of particles over nothing."""
    all_of_them = _scattered(n, rng, [0.15, 0.14, 0.12, 0.11, 0.1], _chord)
    first = np.max(all_of_them[::2], axis=0)
    second = np.max(all_of_them[1::2], axis=0) * (first == 0)
    phases = [
        Material("Fe2O3", {"Fe": 2, "O": 3}, 5.2),
        Material("CaTiO3", {"Ca": 1, "Ti": 1, "O": 3}, 4.0),
    ]
    return Drawing(phases, np.stack([first, second]))


@_layout("single")
def _wedge(n: int, rng: np.random.Generator) -> Drawing:
    """One phase from nothing to twice the nominal thickness; soft lines are absorbed more there."""
    _, x = _grid(n)
    share = np.clip(x / n - 0.15, 0, None) / 0.85 * rng.uniform(1.6, 2.0)
    return Drawing([Material("BaTiO3", {"Ba": 1, "Ti": 1, "O": 3}, 6.0)], share[None])


@_layout("nested")
def _always_overlapped(n: int, rng: np.random.Generator) -> Drawing:
    """In a matrix: grains, and small ones that lie within the large ones only."""
    radii = [n * s * rng.uniform(0.9, 1.1) for s in (0.2, 0.17)]
    at = _centres(n, rng, radii)
    large = 0.7 * np.max([_disc(n, p, r) for p, r in zip(at, radii, strict=True)], axis=0)
    small = 0.3 * np.max([_disc(n, p, 0.5 * r) for p, r in zip(at, radii, strict=True)], axis=0)
    phases = [
        Material("anorthite", {"Ca": 1, "Al": 2, "Si": 2, "O": 8}, 2.75),
        _BY_NAME["forsterite"],
        Material("FeS", {"Fe": 1, "S": 1}, 4.8),
    ]
    return Drawing(phases, np.stack([1 - large, large - small, small]))


def _grid(n: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:n, :n]
    return y, x


def _centres(n: int, rng: np.random.Generator, radii: list[float]) -> list[tuple[float, float]]:
    """Places for discs that don't touch one another, nor the border, as far as there is room."""
    placed: list[tuple[float, float]] = []
    for i, r in enumerate(radii):
        best, gap = (n / 2, n / 2), -np.inf
        for _ in range(200):
            at = rng.uniform(r + 1, max(n - r - 2, r + 2), 2)
            near = min(
                (np.hypot(*(at - p)) - r - radii[j] for j, p in enumerate(placed)), default=np.inf
            )
            if near > gap:
                best, gap = (float(at[0]), float(at[1])), near
            if gap > 3:
                break
        placed.append(best)
        assert len(placed) == i + 1
    return placed


def _disc(n: int, at: tuple[float, float], r: float) -> np.ndarray:
    y, x = _grid(n)
    return ((y - at[0]) ** 2 + (x - at[1]) ** 2 < r**2).astype(float)


def _chord(n: int, at: tuple[float, float], r: float) -> np.ndarray:
    """Length of a sphere along the beam over its diameter."""
    y, x = _grid(n)
    return np.sqrt(np.clip(1 - ((y - at[0]) ** 2 + (x - at[1]) ** 2) / r**2, 0, None))


def _scattered(
    n: int, rng: np.random.Generator, sizes: list[float], shape: Callable[..., np.ndarray]
) -> list[np.ndarray]:
    radii = [n * s * rng.uniform(0.9, 1.1) for s in sizes]
    return [shape(n, at, r) for at, r in zip(_centres(n, rng, radii), radii, strict=True)]


def voronoi(n: int, rng: np.random.Generator, grains: int, phases: int) -> np.ndarray:
    """Labels of polygonal grains; every phase has at least two."""
    at = rng.uniform(0, n, (grains, 2))
    phase = np.concatenate([np.arange(phases), np.arange(phases), rng.integers(0, phases, grains)])
    y, x = _grid(n)
    near = ((y[..., None] - at[:, 0]) ** 2 + (x[..., None] - at[:, 1]) ** 2).argmin(-1)
    return phase[:grains][near]


def one_hot(labels: np.ndarray, k: int) -> np.ndarray:
    return np.stack([(labels == i).astype(float) for i in range(k)])


def discs(n: int, rng: np.random.Generator, sizes: list[float]) -> list[np.ndarray]:
    """Discs as thick as the film, apart as far as there is room; radii in sides of the map."""
    return _scattered(n, rng, sizes, _disc)


def spheres(n: int, rng: np.random.Generator, sizes: list[float]) -> list[np.ndarray]:
    """The same of spheres whose diameters are as thick as the film."""
    return _scattered(n, rng, sizes, _chord)
