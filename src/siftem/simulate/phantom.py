"""Spectrum images with known truth, counted by exact Poisson events without a dense cube."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from scipy.ndimage import gaussian_filter

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.old_names import takes_old_names
from siftem.simulate.geometry import scatter_blocks, scatter_needles, thickness_fractions
from siftem.simulate.spectra import MODEL_CASE, Microscope, PhaseModel, phase_spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.views import outline

#: Expected events that are drawn at a time, to bound the memory.
_EVENTS = 2_000_000


def poisson_counts(
    abundances: np.ndarray, spectra: np.ndarray, rng: np.random.Generator
) -> sp.csr_array:
    """Draw counts with the expectation ``abundances.T @ spectra``.

    Each component of each pixel gives a Poisson number of events; each event falls into a
    channel by the component's spectrum. This is the same as an independent Poisson draw
    for every voxel, at a cost of the number of events.

    Parameters
    ----------
    abundances : ndarray of shape (k, pixels)
        Expected counts of each component in each pixel.
    spectra : ndarray of shape (k, channels)
        Each sums to one.
    rng : numpy.random.Generator

    Returns
    -------
    scipy.sparse.csr_array of shape (pixels, channels), int32
    """
    abundances = np.asarray(abundances, float)
    spectra = np.asarray(spectra, float)
    if abundances.ndim != 2 or spectra.ndim != 2 or abundances.shape[0] != spectra.shape[0]:
        raise InputError(
            f"abundances (k, pixels) and spectra (k, channels) must have one k, "
            f"got {abundances.shape} and {spectra.shape}"
        )
    for label, array in (("abundances", abundances), ("spectra", spectra)):
        if not (np.isfinite(array).all() and (array >= 0).all()):
            raise InputError(f"{label} must be finite and not negative")
    if not np.allclose(spectra.sum(axis=1), 1, atol=1e-9):
        raise InputError("each spectrum must sum to one")
    n_pixels, n_channels = abundances.shape[1], spectra.shape[1]
    cumulative = np.cumsum(spectra, axis=1)
    cumulative /= cumulative[:, -1:]
    blocks = []
    for start, stop in _blocks(abundances.sum(axis=0)):
        pixels, channels = [], []
        for expected, table in zip(abundances[:, start:stop], cumulative, strict=True):
            numbers = rng.poisson(expected)
            pixels.append(np.repeat(np.arange(stop - start), numbers))
            channels.append(np.searchsorted(table, rng.random(int(numbers.sum())), side="right"))
        row = np.concatenate(pixels)
        column = np.concatenate(channels)
        block = sp.coo_array(
            (np.ones(row.size, np.int32), (row, column)), shape=(stop - start, n_channels)
        ).tocsr()
        block.sum_duplicates()
        blocks.append(block)
    if not blocks:
        return sp.csr_array((n_pixels, n_channels), dtype=np.int32)
    return sp.csr_array(sp.vstack(blocks, format="csr"))


def _blocks(expected: np.ndarray) -> list[tuple[int, int]]:
    """Cut the pixels into runs of some two million expected events."""
    run = np.floor(np.cumsum(expected) / _EVENTS)
    cuts = np.flatnonzero(np.diff(run)) + 1
    bounds = [0, *cuts.tolist(), expected.size]
    return [(a, b) for a, b in pairwise(bounds) if b > a]


#: Energy of the first channel and channel width, keV: those of the real map.
_FIRST, _WIDTH = -0.47, 0.01
_PIXEL = 1.72  # nm

#: The zero peak, as it is in the 71 GPa map: a clock gated to bands that run obliquely over
#: the scan; in an open pixel nearly every pulse of the detector arrives.
_STROBE_WAVE = (0.094, 0.204)  # cycles a pixel, along y and x
_STROBE_OPEN = 0.5  # share of the pixels
_STROBE_ARRIVES = 0.88
_STROBE_WIDTH = 0.023  # keV, standard deviation


@dataclass(frozen=True, eq=False)
class Phantom:
    """A simulated map and the truth behind it.

    Parameters
    ----------
    spectrum_image : SpectrumImage
    names : tuple of str
        Phases, the matrix first.
    fractions : ndarray of shape (k, ny, nx)
        Share of the film's thickness of each phase; sums to one where there is film and to
        zero in vacuum.
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

    __repr__ = outline

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


@takes_old_names(seed="random_state")
def simulate(
    phases: Sequence[PhaseModel] = MODEL_CASE,
    shape: tuple[int, int] = (128, 128),
    *,
    channels: int = 2048,
    dose: float = 300.0,
    random_state: int = 0,
    max_fraction: float = 0.8,
    blur: float = 0.6,
    zero_peak: float = 0.011,
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
    random_state : int
        Seed.
    max_fraction : float
        Largest share of the thickness that a grain's body may fill: below one, hardly any
        pixel is pure grain.
    blur : float
        Standard deviation of the probe, in pixels.
    zero_peak : float
        Counts of the zero (strobe) peak, as a share of the dose: not Poisson, with a
        pattern of the readout, and in vacuum too; 0 leaves it out. The 71 GPa map has 0.011.
    vacuum : float
        Share of the map, at the upper edge, that holds no film.
    energy_shift : float
        keV by which the nominal axis is wrong.
    microscope : Microscope, optional

    Returns
    -------
    Phantom
        The matrix first, then the grains in the order given. Where grains meet in the film,
        the phase given later keeps its place.
    """
    phases, matrix = _checked_phases(phases)
    ny, nx = _checked_size(shape, channels)
    _check_numbers(
        random_state,
        dose=(dose, 1e-3, 1e7),
        max_fraction=(max_fraction, 0.05, 1.0),
        blur=(blur, 0.0, 20.0),
        zero_peak=(zero_peak, 0.0, 100.0),
        vacuum=(vacuum, 0.0, 0.9),
        energy_shift=(energy_shift, -1.0, 1.0),
    )
    microscope = microscope or Microscope()
    geometry, noise, strobe, survey = (
        np.random.default_rng(s) for s in np.random.SeedSequence(random_state).spawn(4)
    )
    others = [p for p in phases if p is not matrix]
    grains = _grains(others, (ny, nx), geometry, max_fraction, blur)
    film = np.ones((ny, nx))
    film[: round(vacuum * ny)] = 0.0
    # Rounding may leave the matrix at -1e-16 where grains fill the film.
    rest = np.maximum(1 - grains.sum(axis=0, keepdims=True), 0.0)
    fractions = np.concatenate([rest, grains]) * film
    axis = EnergyAxis(_FIRST, _WIDTH, channels)
    true_axis = EnergyAxis(_FIRST - energy_shift, _WIDTH, channels)
    ordered = [matrix, *others]
    bright = np.array([phase_spectrum(p, true_axis, microscope) for p in ordered])
    for phase, spectrum in zip(ordered, bright, strict=True):
        if not spectrum.any():
            raise InputError(f"{phase.name} gives no counts on the energy axis: more channels")
    spectra = bright / bright.sum(axis=1, keepdims=True)
    # A wedge of a few percent, as every lamella has.
    y, x = np.mgrid[0:ny, 0:nx]
    wedge = 1 + 0.08 * (x / nx - 0.5) + 0.05 * (y / ny - 0.5)
    abundances = fractions * bright.sum(axis=1)[:, None, None] * wedge
    abundances *= dose * film.sum() / abundances.sum()
    counts = poisson_counts(abundances.reshape(len(ordered), -1), spectra, noise)
    if zero_peak:
        counts = sp.csr_array(counts + _strobe((ny, nx), true_axis, zero_peak * dose, strobe))
    mass = np.tensordot([p.density for p in ordered], fractions, axes=1) * wedge
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
        weight_fractions=tuple(dict(p.weight_fractions) for p in ordered),
        densities=tuple(p.density for p in ordered),
        microscope=microscope,
    )


def _check_numbers(random_state: int, **numbers: tuple[float, float, float]) -> None:
    """Refuse what is no seed, and each number that is not between its two bounds."""
    if (
        isinstance(random_state, bool)
        or not isinstance(random_state, int | np.integer)
        or random_state < 0
    ):
        raise InputError(f"random_state must be a whole number from 0 on, got {random_state!r}")
    for label, (value, low, high) in numbers.items():
        if not low <= value <= high:
            raise InputError(f"{label} must be between {low:g} and {high:g}, got {value}")


def _grains(
    phases: Sequence[PhaseModel],
    shape: tuple[int, int],
    rng: np.random.Generator,
    most: float,
    blur: float,
) -> np.ndarray:
    """Share of the thickness that each phase but the matrix fills; (phases, ny, nx)."""
    bodies = []
    for phase in phases:
        scatter = scatter_blocks if phase.form == "block" else scatter_needles
        bodies.append(scatter(rng, shape, coverage=phase.coverage, most=most))
    # Earlier bodies win where they meet: let the phases given last, the rarer ones, be first.
    grains = thickness_fractions(shape, bodies[::-1])[::-1]
    for phase, grain in zip(phases, grains, strict=True):
        if not grain.any():
            raise InputError(
                f"no grain of {phase.name} is left in the map, others took its place: give it "
                "more coverage or another random_state"
            )
    if blur:
        grains = np.array([gaussian_filter(g, blur, mode="nearest") for g in grains])
    return grains


@takes_old_names(seed="random_state")
def simulate_demo(
    shape: tuple[int, int] = (128, 128),
    *,
    channels: int = 2048,
    dose: float = 300.0,
    random_state: int = 0,
    max_fraction: float = 0.8,
) -> Phantom:
    """Simulate the model case: bridgmanite with ferropericlase and Ca-perovskite.

    Parameters
    ----------
    shape, channels, dose, random_state, max_fraction
        See :func:`simulate`.

    Returns
    -------
    Phantom

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> si.shape, phantom.names
    ((32, 32), ('Brg', 'Fp', 'Ca-Pv'))
    """
    return simulate(
        MODEL_CASE,
        shape,
        channels=channels,
        dose=dose,
        random_state=random_state,
        max_fraction=max_fraction,
    )


def _strobe(
    shape: tuple[int, int], axis: EnergyAxis, level: float, rng: np.random.Generator
) -> sp.csr_array:
    """Draw the counts of the zero peak: pulses in the open bands, none elsewhere.

    Binomial, so less scattered than Poisson in a pixel, and far more from pixel to pixel.
    """
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    phase = _STROBE_WAVE[0] * y + _STROBE_WAVE[1] * x + rng.random()
    is_open = (phase % 1.0) < _STROBE_OPEN
    wanted = level / _STROBE_OPEN
    pulses = int(np.ceil(wanted / _STROBE_ARRIVES))
    numbers = rng.binomial(pulses, wanted / pulses, size=shape) * is_open
    pixel = np.repeat(np.arange(numbers.size), numbers.ravel())
    energy = rng.normal(0.0, _STROBE_WIDTH, pixel.size)
    channel = np.floor((energy - axis.first) / axis.scale).astype(np.int64)
    seen = (channel >= 0) & (channel < axis.size)
    ones = np.ones(int(seen.sum()), np.int32)
    events = sp.coo_array((ones, (pixel[seen], channel[seen])), shape=(numbers.size, axis.size))
    return sp.csr_array(events.tocsr())


def _checked_size(shape: tuple[int, int], channels: int) -> tuple[int, int]:
    sizes = (*shape, channels) if isinstance(shape, list | tuple) else (shape, channels)
    whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in sizes)
    if len(sizes) != 3 or not whole or min(sizes[:2]) < 8 or channels < 64:
        raise InputError(
            "a phantom needs a shape (ny, nx) of at least 8 x 8 pixels and 64 channels or more, "
            f"got shape={shape!r} and channels={channels!r}"
        )
    return int(sizes[0]), int(sizes[1])


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
