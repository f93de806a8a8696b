"""Spectrum images with known truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.ndimage import gaussian_filter

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.simulate.counting import poisson_counts
from siftem.simulate.geometry import scatter_blocks, scatter_needles, thickness_fractions
from siftem.simulate.phases import MODEL_CASE, PhaseModel
from siftem.simulate.spectra import Microscope, phase_spectrum
from siftem.spectrum_image import SpectrumImage

#: Energy of the first channel and channel width, keV: those of the real map.
_FIRST, _WIDTH = -0.47, 0.01
_PIXEL = 1.72  # nm


@dataclass(frozen=True, eq=False)
class Phantom:
    """A simulated map and the truth behind it.

    Parameters
    ----------
    spectrum_image : SpectrumImage
    names : tuple of str
        Phases, the matrix first.
    fractions : ndarray of shape (k, ny, nx)
        Share of the film's thickness of each phase; sums to one where there is film.
    abundances : ndarray of shape (k, ny, nx)
        Expected counts of each phase above the zero peak.
    spectra : ndarray of shape (k, channels)
        True spectra, each summing to one, without the zero peak.
    weight_fractions : tuple of mappings
        True composition of each phase.
    densities : tuple of float
        g/cm3.
    microscope : Microscope
        Conditions.
    """

    spectrum_image: SpectrumImage
    names: tuple[str, ...]
    fractions: np.ndarray
    abundances: np.ndarray
    spectra: np.ndarray
    weight_fractions: tuple[Mapping[str, float], ...]
    densities: tuple[float, ...]
    microscope: Microscope

    @property
    def matrix(self) -> str:
        """Name of the matrix phase."""
        return self.names[0]

    def mask(self, name: str, *, at_least: float = 0.15) -> np.ndarray:
        """Return where a phase fills at least a share of the thickness; bool (ny, nx)."""
        if name not in self.names:
            raise InputError(f"the phantom has no phase {name!r}, only {', '.join(self.names)}")
        return self.fractions[self.names.index(name)] >= at_least


def simulate(
    phases: Sequence[PhaseModel] = MODEL_CASE,
    shape: tuple[int, int] = (128, 128),
    *,
    channels: int = 2048,
    dose: float = 300.0,
    seed: int = 0,
    max_fraction: float = 0.8,
    blur: float = 0.6,
    zero_peak: float = 0.02,
    vacuum: float = 0.0,
    energy_shift: float = 0.0,
    microscope: Microscope | None = None,
) -> Phantom:
    """Simulate a spectrum image of overlapping grains in a matrix.

    Geometry, noise and survey have random streams of their own, so that another dose gives
    the same grains.

    Parameters
    ----------
    phases : sequence of PhaseModel
        One matrix and one to five grain phases.
    shape : tuple of int
        (ny, nx).
    channels : int
        Channels of 10 eV from -0.47 keV.
    dose : float
        Mean counts a pixel above the zero peak, where there is film.
    seed : int
        Seed.
    max_fraction : float
        Largest share of the thickness that a grain's body may fill: below one, hardly any
        pixel is pure grain.
    blur : float
        Standard deviation of the probe, in pixels.
    zero_peak : float
        Counts of the zero (strobe) peak, as a share of the dose: not Poisson, with a
        pattern of the readout; 0 leaves it out.
    vacuum : float
        Share of the map, at the upper edge, that holds no film.
    energy_shift : float
        keV by which the nominal axis is wrong.
    microscope : Microscope, optional

    Returns
    -------
    Phantom
        The matrix first, then the grains in the order given.
    """
    phases, matrix = _checked_phases(phases)
    ny, nx = (int(n) for n in shape)
    for label, value, low, high in (
        ("dose", dose, 1e-3, 1e7),
        ("max_fraction", max_fraction, 0.05, 1.0),
        ("blur", blur, 0.0, 20.0),
        ("zero_peak", zero_peak, 0.0, 100.0),
        ("vacuum", vacuum, 0.0, 0.9),
    ):
        if not low <= value <= high:
            raise InputError(f"{label} must be between {low:g} and {high:g}, got {value}")
    if min(ny, nx) < 8 or channels < 16:
        raise InputError(
            f"a phantom needs at least 8 x 8 pixels and 16 channels, got {ny} x {nx} x {channels}"
        )
    microscope = microscope or Microscope()
    geometry, noise, strobe, survey = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4)
    )
    bodies = []
    for phase in phases:
        if phase is matrix:
            continue
        scatter = scatter_blocks if phase.form == "block" else scatter_needles
        bodies.append(scatter(geometry, (ny, nx), coverage=phase.coverage, most=max_fraction))
    # Earlier bodies win where they meet: let the rarer phases come first.
    grains = thickness_fractions((ny, nx), bodies[::-1])[::-1]
    if blur:
        grains = np.array([gaussian_filter(g, blur, mode="nearest") for g in grains])
    fractions = np.concatenate([1 - grains.sum(axis=0, keepdims=True), grains])
    film = np.ones((ny, nx))
    film[: round(vacuum * ny)] = 0.0
    axis = EnergyAxis(_FIRST, _WIDTH, channels)
    true_axis = EnergyAxis(_FIRST - energy_shift, _WIDTH, channels)
    ordered = [matrix, *(p for p in phases if p is not matrix)]
    bright = np.array([phase_spectrum(p, true_axis, microscope) for p in ordered])
    spectra = bright / bright.sum(axis=1, keepdims=True)
    # A wedge of a few percent, as every lamella has.
    y, x = np.mgrid[0:ny, 0:nx]
    wedge = 1 + 0.08 * (x / nx - 0.5) + 0.05 * (y / ny - 0.5)
    abundances = fractions * bright.sum(axis=1)[:, None, None] * wedge * film
    abundances *= dose * film.sum() / abundances.sum()
    counts = poisson_counts(abundances.reshape(len(ordered), -1), spectra, noise)
    if zero_peak:
        counts = sp.csr_array(counts + _strobe((ny, nx), axis, zero_peak * dose, strobe))
    mass = np.tensordot([p.density for p in ordered], fractions, axes=1) * wedge * film
    image = mass * (1 + 0.01 * survey.standard_normal((ny, nx)))
    acquisition = Acquisition(
        beam_energy=microscope.beam_energy,
        take_off_angle=microscope.take_off_angle,
        resolution=microscope.detector.resolution,
        elements=tuple(dict.fromkeys(e for p in ordered for e in p.weight_fractions)),
    )
    si = SpectrumImage(
        counts,
        (ny, nx),
        axis,
        pixel_size=(_PIXEL, _PIXEL),
        acquisition=acquisition,
        survey=image.astype(np.float32),
        survey_name="HAADF (simulated)",
        signal_type="EDS_TEM",
        title="simulated map",
    )
    return Phantom(
        spectrum_image=si,
        names=tuple(p.name for p in ordered),
        fractions=fractions,
        abundances=abundances,
        spectra=spectra,
        weight_fractions=tuple(p.weight_fractions for p in ordered),
        densities=tuple(p.density for p in ordered),
        microscope=microscope,
    )


def simulate_demo(
    shape: tuple[int, int] = (128, 128),
    *,
    channels: int = 2048,
    dose: float = 300.0,
    seed: int = 0,
    max_fraction: float = 0.8,
) -> Phantom:
    """Simulate the model case: bridgmanite with ferropericlase and Ca-perovskite.

    Parameters
    ----------
    shape, channels, dose, seed, max_fraction
        See :func:`simulate`.

    Returns
    -------
    Phantom
    """
    return simulate(
        MODEL_CASE, shape, channels=channels, dose=dose, seed=seed, max_fraction=max_fraction
    )


def _strobe(
    shape: tuple[int, int], axis: EnergyAxis, level: float, rng: np.random.Generator
) -> sp.csr_array:
    """Counts of the zero peak: in pairs (so not Poisson), with a lattice of the readout."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    lattice = 1 + 0.5 * np.cos(2 * np.pi * x / 4) * np.cos(2 * np.pi * y / 4)
    peak = np.exp(-0.5 * (axis.centers / 0.022) ** 2)
    if not peak.sum() > 0:
        return sp.csr_array((shape[0] * shape[1], axis.size), dtype=np.int32)
    pairs = poisson_counts(
        (0.5 * level * lattice).reshape(1, -1), (peak / peak.sum())[None, :], rng
    )
    return sp.csr_array(2 * pairs)


def _checked_phases(phases: Sequence[PhaseModel]) -> tuple[list[PhaseModel], PhaseModel]:
    phases = list(phases)
    matrix = [p for p in phases if p.form == "matrix"]
    if len(matrix) != 1 or not 2 <= len(phases) <= 6:
        raise InputError(
            f"a phantom needs one matrix and one to five grain phases, got {len(matrix)} of "
            f"form 'matrix' among {len(phases)}"
        )
    if len({p.name for p in phases}) != len(phases):
        raise InputError("the phases of a phantom need different names")
    return phases, matrix[0]
