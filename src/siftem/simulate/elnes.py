"""A core-loss map of two oxides with different fine structure, and its truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.old_names import takes_old_names
from siftem.spectrum_image import SpectrumImage
from siftem.views import outline

#: eV: onset, strength of the continuum part relative to the background below it.
_TI_L, _O_K, _MN_L = 456.0, 532.0, 640.0
#: Exponent of the background and of the edges' decay (Egerton 2011, Electron Energy-Loss
#: Spectroscopy, 3rd ed., ch. 3 and 4: 2 to 6 and about 3).
_BACKGROUND, _DECAY = 3.2, 3.0


@dataclass(frozen=True, eq=False)
class ElnesPhantom:
    """A simulated core-loss map and its truth.

    Parameters
    ----------
    spectrum_image : SpectrumImage
        Counted electrons.
    data : ndarray of shape (ny, nx, channels)
        The same as a camera records it: ``gain * counts + readout noise + offset``.
    names : tuple of str
        "titanate" (the matrix), "Mn oxide" (grains).
    abundances : ndarray of shape (2, ny, nx)
        Share of the thickness.
    spectra : ndarray of shape (2, channels)
        Expected counts of a pixel that one phase fills.
    edges : ndarray of shape (2, channels)
        The part of ``spectra`` above the background.
    """

    __repr__ = outline

    spectrum_image: SpectrumImage
    data: np.ndarray
    names: tuple[str, ...]
    abundances: np.ndarray
    spectra: np.ndarray
    edges: np.ndarray

    def mask(self, at_least: float = 0.05) -> np.ndarray:
        """Where the grains fill at least this share of the thickness; bool (ny, nx)."""
        return np.asarray(self.abundances[1] >= at_least)


@takes_old_names(seed="random_state")
def simulate_elnes(
    shape: tuple[int, int] = (48, 48),
    *,
    counts: float = 400.0,
    gain: float = 1.0,
    readout: float = 0.0,
    offset: float = 0.0,
    random_state: int = 0,
) -> ElnesPhantom:
    """Simulate grains of Mn oxide in a titanate: Ti L, O K and Mn L edges.

    Both phases have oxygen, with different near-edge structure; only the matrix has Ti, and
    only the grains have Mn. No grain reaches through the whole film.

    Parameters
    ----------
    shape : tuple of int
        Pixels (ny, nx), at least 16.
    counts : float
        Mean electrons in a channel of 1 eV, over the whole range of 400 to 719 eV.
    gain : float
        Units of ``data`` for one electron.
    readout : float
        Standard deviation of the readout noise, in units of ``data``.
    offset : float
        Dark level left in ``data``.
    random_state : int

    Returns
    -------
    ElnesPhantom

    Raises
    ------
    InputError
        When a parameter is out of range.

    Examples
    --------
    >>> phantom = siftem.simulate_elnes((16, 16), counts=50)
    >>> phantom.spectrum_image.signal_type
    'EELS'
    """
    ny, nx = (int(n) for n in shape)
    if min(ny, nx) < 16:
        raise InputError(f"shape must be at least 16 x 16 pixels, got {ny} x {nx}")
    if not (counts > 0 and gain > 0 and readout >= 0):
        raise InputError(
            f"counts and gain must be positive and readout not negative, "
            f"got {counts}, {gain}, {readout}"
        )
    rng = np.random.default_rng(random_state)
    axis = EnergyAxis(400.0, 1.0, 320, "eV")
    energy = axis.centers
    titanate = _edge(energy, _TI_L, 0.25) + _edge(energy, _O_K, 0.16)
    titanate += _peaks(energy, [(458.0, 0.5, 1.0), (460.2, 0.6, 1.2), (463.3, 0.4, 1.3),
                                (465.6, 0.5, 1.6)])  # fmt: skip
    titanate += _peaks(energy, [(533.0, 0.10, 1.2), (536.5, 0.10, 1.6), (544.0, 0.14, 3.0)])
    oxide = _edge(energy, _O_K, 0.12) + _edge(energy, _MN_L, 0.14)
    oxide += _peaks(energy, [(538.5, 0.19, 2.0), (543.5, 0.05, 2.0), (559.0, 0.06, 4.0)])
    oxide += _peaks(energy, [(642.0, 0.40, 1.3), (653.0, 0.18, 1.6)])
    smooth = (energy / energy[0]) ** -_BACKGROUND
    steeper = 1.15 * (energy / energy[0]) ** -(_BACKGROUND + 0.3)
    edges = np.array([titanate, oxide])
    spectra = np.array([smooth, steeper]) + edges
    scale = counts / spectra[0].mean()
    thickness = _grains(ny, nx)
    abundances = np.array([1 - thickness, thickness])
    expected = np.einsum("kyx,kc->yxc", abundances, scale * spectra)
    events = rng.poisson(expected)
    data = gain * events + offset
    if readout:
        data = data + rng.normal(0.0, readout, data.shape)
    si = SpectrumImage(
        sp.csr_array(events.reshape(-1, axis.size).astype(np.int32)),
        (ny, nx),
        axis,
        pixel_size=(0.5, 0.5),
        acquisition=Acquisition(beam_energy=200.0, convergence_angle=20.0, collection_angle=40.0),
        signal_type="EELS",
        title="Simulated ELNES map",
    )
    return ElnesPhantom(
        si, data, ("titanate", "Mn oxide"), abundances, scale * spectra, scale * edges
    )


def _grains(ny: int, nx: int) -> np.ndarray:
    """Share of the thickness of three round grains inside the film; (ny, nx)."""
    y, x = np.mgrid[0:ny, 0:nx]
    out = np.zeros((ny, nx))
    for cy, cx, r, depth in ((0.3, 0.3, 0.17, 0.75), (0.68, 0.6, 0.2, 0.6), (0.25, 0.8, 0.1, 0.5)):
        distance = np.hypot(y - cy * ny, x - cx * nx) / (r * min(ny, nx))
        out = np.maximum(out, depth * np.sqrt(np.maximum(1 - distance**2, 0.0)))
    return out


def _edge(energy: np.ndarray, onset: float, height: float) -> np.ndarray:
    """A step of 1 eV width that decays as a power law, in units of the background at 400 eV."""
    step = 1 / (1 + np.exp(-(energy - onset) / 0.6))
    return np.asarray(height * step * (energy / onset) ** -_DECAY)


def _peaks(energy: np.ndarray, peaks: list[tuple[float, float, float]]) -> np.ndarray:
    out = np.zeros_like(energy)
    for centre, height, width in peaks:
        out += height / (1 + ((energy - centre) / width) ** 2)
    # A Lorentzian's tail must not reach below the edge.
    out[energy < peaks[0][0] - 2.5] = 0.0
    return out
