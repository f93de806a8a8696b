"""Maps of many layouts, by other physics than siftem's, with all that is true about them.

    python -m validation.foreign_phantoms            what there is
    python -m validation.foreign_phantoms core_shell_film map.hspy --dose 300 --size 64 --seed 1

Each layout is a function of the size and a random generator. Spectra come from
`foreign_physics`. With ``SIFTEM_OTHER_PHANTOMS`` set to a Python file that has functions
``case(name, n, seed)`` and ``counts(case, dose, seed)``, its cases a, b, d and f can be asked for
as ``other_a`` and so on.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.ndimage import gaussian_filter
from validation.drawn_layouts import DRAWN
from validation.foreign_layouts import LAYOUTS
from validation.foreign_physics import Material, film_spectrum

from validation import foreign_physics as physics

#: nm; what a share of one of the maps stands for.
THICKNESS = 100.0
#: Standard deviation of the probe, pixels.
PROBE = 0.7
#: A phase is there from this share of the nominal thickness on; alone from this share of all.
PRESENT, ALONE = 0.1, 0.8
#: Labels of pixels that are of no one phase.
MIXED, VACUUM = -1, -2


@dataclass(frozen=True, eq=False)
class Phantom:
    """A layout with its truth, without noise.

    Parameters
    ----------
    name : str
    layouts : tuple of str
        What it may be called, its right name first: "matrix", "side by side", "particles on a
        support", "nested", "single"; "mixed" where no phase is alone.
    materials : tuple of Material
    support : str
        Name of the material that is the support; "" without one.
    maps : ndarray of shape (phases, ny, nx)
        Shares of the nominal thickness.
    spectra : ndarray of shape (phases, channels)
        Expected counts per electron at a share of one.
    part_maps : ndarray of shape (parts, ny, nx)
    part_spectra : ndarray of shape (parts, channels)
        What the expectation is made of: the same, unless a phase is absorbed otherwise where it
        is thicker.
    energies : ndarray of shape (channels,)
        keV, as a file would say.
    beam_energy, take_off_angle, resolution : float
        keV, degrees and eV at Mn Ka, as a file would say.
    """

    name: str
    layouts: tuple[str, ...]
    materials: tuple[Any, ...]
    support: str
    maps: np.ndarray
    spectra: np.ndarray
    part_maps: np.ndarray
    part_spectra: np.ndarray
    energies: np.ndarray
    beam_energy: float
    take_off_angle: float
    resolution: float

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the phases."""
        return tuple(m.name for m in self.materials)

    @property
    def at_percent(self) -> dict[str, Mapping[str, float]]:
        """Atomic percent of every phase."""
        return {m.name: m.at_percent for m in self.materials}

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements of the specimen, without those that are in the support only."""
        own = [m for m in self.materials if m.name != self.support]
        return tuple(dict.fromkeys(e for m in own for e in m.at_percent))

    @property
    def support_elements(self) -> tuple[str, ...]:
        """Elements that are in the support only."""
        under = [m for m in self.materials if m.name == self.support]
        return tuple(e for m in under for e in m.at_percent if e not in self.elements)

    @cached_property
    def total_per_pixel(self) -> np.ndarray:
        """Expected counts per electron; (ny, nx)."""
        return np.tensordot(self.part_spectra.sum(axis=1), self.part_maps, axes=1)

    @cached_property
    def labels(self) -> np.ndarray:
        """Index of the phase that makes more than `ALONE` of a pixel's thickness; (ny, nx).

        The support counts where nothing lies on it. `MIXED` and `VACUUM` are the others.
        """
        own = [i for i, n in enumerate(self.names) if n != self.support]
        there = self.maps[own].sum(axis=0)
        bare = there < PRESENT / 2
        best = np.array(own)[self.maps[own].argmax(axis=0)]
        alone = self.maps[own].max(axis=0) > ALONE * there
        found = np.where(alone & (there > PRESENT), best, MIXED)
        under = self.names.index(self.support) if self.support else VACUUM
        return np.where(bare, under, found)

    @cached_property
    def present(self) -> np.ndarray:
        """Where each phase is, alone or not; bool (phases, ny, nx)."""
        return self.maps > PRESENT

    def expected(self, dose: float) -> np.ndarray:
        """Expected counts at a mean dose per pixel; dense (pixels, channels)."""
        scale = dose / self.total_per_pixel.mean()
        flat = self.part_maps.reshape(len(self.part_maps), -1)
        return scale * (flat.T @ self.part_spectra)

    def counts(self, dose: float, seed: int) -> sp.csr_array:
        """Poisson counts.

        Parameters
        ----------
        dose : float
            Mean counts per pixel of the map.
        seed : int

        Returns
        -------
        scipy.sparse.csr_array of shape (pixels, channels), int32
        """
        rng = np.random.default_rng([seed, 7919])
        return sp.csr_array(rng.poisson(self.expected(dose)).astype(np.int32))


def names() -> tuple[str, ...]:
    """Every layout that can be asked for, but for those that are `DRAWN` anew by each seed."""
    others = tuple(f"other_{c}" for c in "abdf") if os.environ.get("SIFTEM_OTHER_PHANTOMS") else ()
    return (*LAYOUTS, *others)


def phantom(name: str, *, size: int = 64, seed: int = 0) -> Phantom:
    """Draw a layout.

    Parameters
    ----------
    name : str
        One of `names`, or of `DRAWN`.
    size : int
        Pixels on each side.
    seed : int
        Of the places and sizes of grains.
    """
    if name.startswith("other_"):
        return _foreign_case(name, size, seed)
    kinds, support, draw = {**LAYOUTS, **DRAWN}[name]
    drawn = draw(size, np.random.default_rng([seed, 104729]))
    maps = np.stack([gaussian_filter(m, PROBE, mode="nearest") for m in drawn.maps])
    nm = drawn.thicknesses or [THICKNESS] * len(maps)
    spectra = np.stack([film_spectrum(m, t) for m, t in zip(drawn.materials, nm, strict=True)])
    part_maps, part_spectra = maps, spectra
    if name == "wedge":
        part_maps, part_spectra = _by_thickness(drawn.materials[0], maps[0])
    return Phantom(
        name=name,
        layouts=kinds,
        materials=tuple(drawn.materials),
        support=support,
        maps=maps,
        spectra=spectra,
        part_maps=part_maps,
        part_spectra=part_spectra,
        energies=physics.energies(),
        beam_energy=physics.BEAM_ENERGY,
        take_off_angle=physics.TAKE_OFF_ANGLE,
        resolution=physics.TOLD_RESOLUTION,
    )


def standard(elements: dict[str, float], *, thickness: float = THICKNESS) -> np.ndarray:
    """Expected counts per electron of a film of known weight fractions, density 5 g/cm3."""
    atoms = {e: w / physics.atomic_weight(e) for e, w in elements.items()}
    return film_spectrum(Material("standard", atoms, 5.0), thickness)


def _by_thickness(material: Material, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parts of a wedge: spectra at eight thicknesses, and between them by linear interpolation."""
    knots = np.linspace(0.05, max(share.max(), 0.1), 8)
    spectra = np.stack([film_spectrum(material, THICKNESS * k) / k for k in knots])
    weight = np.stack([np.interp(share, knots, row) for row in np.eye(len(knots))])
    return weight * share, spectra


# --- another program ------------------------------------------------------------------------


_OTHER_KINDS = {
    "a": ("matrix",),
    "b": ("side by side", "matrix"),
    "d": ("side by side",),
    "f": ("single",),
}


@cache
def _other_program() -> ModuleType:
    path = os.environ["SIFTEM_OTHER_PHANTOMS"]
    found = importlib.util.spec_from_file_location("other_phantoms", path)
    if found is None or found.loader is None:
        raise SystemExit(f"{path} is no Python file")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def _foreign_case(name: str, size: int, seed: int) -> Phantom:
    other = _other_program()
    letter = name.removeprefix("other_")
    case = other.case(letter, n=size, seed=seed)
    materials = tuple(Material(p.name, p.at, p.density) for p in case["phases"])
    return Phantom(
        name=name,
        layouts=_OTHER_KINDS[letter],
        materials=materials,
        support="",
        maps=case["maps"],
        spectra=case["spectra"],
        part_maps=case["maps"],
        part_spectra=case["spectra"],
        energies=other.axis(),
        beam_energy=other.E0,
        take_off_angle=other.TOA,
        resolution=130.0,
    )


def other_standard(elements: dict[str, float]) -> np.ndarray:
    """Expected counts of a standard by the other program; see `standard`."""
    other = _other_program()
    atoms = {e: w / physics.atomic_weight(e) for e, w in elements.items()}
    return np.asarray(other.spectrum(other.Phase("standard", atoms, 5.0), THICKNESS))


def as_signal(phantom: Phantom, counts: sp.csr_array) -> Any:
    """Counts as a HyperSpy signal, with what a file would tell, elements not among it."""
    import hyperspy.api as hs

    cube = counts.toarray().reshape(*phantom.maps.shape[1:], -1)
    kind = np.uint16 if cube.max() < 2**16 else np.uint32
    signal = hs.signals.Signal1D(cube.astype(kind))
    signal.set_signal_type("EDS_TEM")
    axis = signal.axes_manager[-1]
    axis.name, axis.units = "Energy", "keV"
    axis.offset, axis.scale = phantom.energies[0], phantom.energies[1] - phantom.energies[0]
    for i in (0, 1):
        signal.axes_manager[i].units, signal.axes_manager[i].scale = "nm", 2.0
    signal.set_microscope_parameters(
        beam_energy=phantom.beam_energy,
        elevation_angle=phantom.take_off_angle,
        azimuth_angle=0.0,
        tilt_stage=0.0,
        energy_resolution_MnKa=phantom.resolution,
    )
    signal.metadata.General.title = phantom.name
    return signal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("layout", nargs="?", choices=(*names(), *DRAWN))
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--dose", type=float, default=300.0, help="mean counts per pixel")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.layout is None or args.file is None:
        for name in names():
            made = phantom(name, size=48)
            alone = [int((made.labels == i).sum()) for i in range(len(made.names))]
            print(f"{name:18s} {made.layouts[0]:22s} alone in pixels: ", end="")
            print(", ".join(f"{n} {k}" for n, k in zip(made.names, alone, strict=True)))
        return
    made = phantom(args.layout, size=args.size, seed=args.seed)
    as_signal(made, made.counts(args.dose, args.seed)).save(args.file, overwrite=True)


if __name__ == "__main__":
    main()
