"""Specimens drawn at random: materials, numbers of phases and sizes that nobody chose.

Each seed is another one, so that limits set on the layouts of `foreign_layouts` meet what they were
not set on.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from validation.foreign_layouts import CARBON, Drawing, discs, one_hot, spheres, voronoi
from validation.foreign_physics import Material

#: Atoms and density of what grows side by side, in each other or on films.
_MATERIALS = {
    "olivine": ({"Mg": 1.6, "Fe": 0.4, "Si": 1, "O": 4}, 3.5),
    "anorthite": ({"Ca": 1, "Al": 2, "Si": 2, "O": 8}, 2.75),
    "orthoclase": ({"K": 1, "Al": 1, "Si": 3, "O": 8}, 2.56),
    "albite": ({"Na": 1, "Al": 1, "Si": 3, "O": 8}, 2.62),
    "diopside": ({"Ca": 1, "Mg": 0.9, "Fe": 0.1, "Si": 2, "O": 6}, 3.3),
    "almandine": ({"Fe": 2.2, "Mg": 0.6, "Ca": 0.2, "Al": 2, "Si": 3, "O": 12}, 4.2),
    "magnetite": ({"Fe": 3, "O": 4}, 5.2),
    "chromite": ({"Fe": 0.7, "Mg": 0.3, "Cr": 1.6, "Al": 0.4, "O": 4}, 4.6),
    "rutile": ({"Ti": 1, "O": 2}, 4.25),
    "calcite": ({"Ca": 1, "C": 1, "O": 3}, 2.71),
    "pyrite": ({"Fe": 1, "S": 2}, 5.0),
    "sphalerite": ({"Zn": 0.9, "Fe": 0.1, "S": 1}, 4.0),
    "monazite": ({"Ce": 0.5, "La": 0.25, "Nd": 0.25, "P": 1, "O": 4}, 5.1),
    "zirconia": ({"Zr": 0.92, "Y": 0.08, "O": 1.96}, 6.0),
    "alumina": ({"Al": 2, "O": 3}, 3.95),
    "YAG": ({"Y": 3, "Al": 5, "O": 12}, 4.55),
    "strontium titanate": ({"Sr": 1, "Ti": 1, "O": 3}, 5.1),
    "lanthanum manganite": ({"La": 0.7, "Sr": 0.3, "Mn": 1, "O": 3}, 6.4),
    "lithium-free cathode": ({"Ni": 0.6, "Mn": 0.2, "Co": 0.2, "O": 2}, 4.7),
    "silicon": ({"Si": 1}, 2.33),
    "silicon nitride": ({"Si": 3, "N": 4}, 3.2),
    "silicon carbide": ({"Si": 1, "C": 1}, 3.2),
    "gallium nitride": ({"Ga": 1, "N": 1}, 6.1),
    "indium phosphide": ({"In": 1, "P": 1}, 4.8),
    "cadmium telluride": ({"Cd": 1, "Te": 1}, 5.85),
    "titanium nitride": ({"Ti": 1, "N": 1}, 5.4),
    "tungsten carbide": ({"W": 1, "C": 1}, 15.6),
    "nickel silicide": ({"Ni": 1, "Si": 1}, 5.9),
    "copper": ({"Cu": 1}, 8.9),
    "brass": ({"Cu": 0.65, "Zn": 0.35}, 8.5),
    "austenite": ({"Fe": 0.7, "Cr": 0.19, "Ni": 0.09, "Mn": 0.02}, 7.9),
    "sigma": ({"Fe": 0.5, "Cr": 0.45, "Ni": 0.05}, 7.6),
    "Al-Mg-Si": ({"Al": 0.98, "Mg": 0.01, "Si": 0.01}, 2.7),
    "Mg2Si": ({"Mg": 2, "Si": 1}, 2.0),
    "Ti64": ({"Ti": 0.86, "Al": 0.1, "V": 0.04}, 4.4),
    "gold": ({"Au": 1}, 19.3),
    "Ag-Au": ({"Ag": 0.6, "Au": 0.4}, 13.5),
    "PtCo": ({"Pt": 0.75, "Co": 0.25}, 18.0),
    "tin": ({"Sn": 0.97, "Ag": 0.03}, 7.3),
    "ceria": ({"Ce": 1, "O": 2}, 7.1),
}
#: Smallest share of atoms by which two phases of one specimen differ.
_APART = 0.12


def _materials(k: int, rng: np.random.Generator) -> list[Material]:
    chosen: list[Material] = []
    while len(chosen) < k:
        name = str(rng.choice(list(_MATERIALS)))
        one = Material(name, *_MATERIALS[name])
        if all(_difference(one, other) > _APART for other in chosen):
            chosen.append(one)
    return chosen


def _difference(one: Material, other: Material) -> float:
    elements = {*one.at_percent, *other.at_percent}
    away = [abs(one.at_percent.get(e, 0) - other.at_percent.get(e, 0)) for e in elements]
    return sum(away) / 200


def _layers(n: int, rng: np.random.Generator) -> Drawing:
    k = int(rng.integers(2, 6))
    cuts = np.sort(rng.choice(np.arange(5, n - 5), k - 1, replace=False)) + 0.0
    cuts = 0.6 * cuts + 0.4 * n * np.arange(1, k) / k
    y, x = np.mgrid[:n, :n]
    height = y + rng.uniform(-0.3, 0.3) * (x - n / 2)
    return Drawing(_materials(k, rng), one_hot((height[..., None] > cuts).sum(-1), k))


def _grains(n: int, rng: np.random.Generator) -> Drawing:
    k = int(rng.integers(2, 7))
    return Drawing(_materials(k, rng), one_hot(voronoi(n, rng, 4 * k, k), k))


def _embedded(n: int, rng: np.random.Generator) -> Drawing:
    """Grains of one or two kinds in a matrix, spheres or discs of any thickness."""
    k = int(rng.integers(2, 4))
    draw = discs if rng.random() < 0.5 else spheres
    sizes = list(rng.uniform(0.09, 0.18, 3 * (k - 1)))
    found = draw(n, rng, sizes)
    grains = []
    for i in range(k - 1):
        part = np.max(found[i :: k - 1], axis=0) * rng.uniform(0.3, 1.0)
        grains.append(np.minimum(part, 1 - np.sum(grains, axis=0)) if grains else part)
    return Drawing(_materials(k, rng), np.stack([1 - np.sum(grains, axis=0), *grains]))


def _balls(n: int, rng: np.random.Generator, k: int, largest: float) -> list[np.ndarray]:
    """Three spheres of each kind, none where another kind is already."""
    found = spheres(n, rng, list(rng.uniform(0.08, largest, 3 * k)))
    maps: list[np.ndarray] = []
    for i in range(k):
        part = np.max(found[i::k], axis=0)
        maps.append(part * (np.sum(maps, axis=0) == 0) if maps else part)
    return maps


def _particles(n: int, rng: np.random.Generator) -> Drawing:
    """Particles of one to three kinds on a carbon film."""
    k = int(rng.integers(1, 4))
    maps = _balls(n, rng, k, 0.16)
    materials = [m for m in _materials(k + 4, rng) if "C" not in m.atoms][:k]
    nm = [*rng.uniform(40, 120, k), rng.uniform(8, 30)]
    return Drawing([*materials, CARBON], np.stack([*maps, np.ones((n, n))]), [float(t) for t in nm])


def _loose(n: int, rng: np.random.Generator) -> Drawing:
    """Particles of two or three kinds over nothing."""
    k = int(rng.integers(2, 4))
    maps = _balls(n, rng, k, 0.17)
    return Drawing(_materials(k, rng), np.stack(maps))


#: As `foreign_layouts.LAYOUTS`.
DRAWN: dict[str, tuple[tuple[str, ...], str, Callable[[int, np.random.Generator], Drawing]]] = {
    "drawn_layers": (("side by side", "matrix"), "", _layers),
    "drawn_grains": (("side by side", "matrix"), "", _grains),
    "drawn_embedded": (("matrix", "side by side", "nested"), "", _embedded),
    "drawn_particles": (("particles on a support",), CARBON.name, _particles),
    "drawn_loose": (("particles on a support", "side by side"), "", _loose),
}
