"""Sparse counts of a spectrum image with their axes: what flows through everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.large.rows_of_counts import BlockedCounts, rows_of
from siftem.sparse_rows import checked_rows
from siftem.views import view

#: Below this energy (keV) EDS detectors put their zero (strobe) peak, which is not Poisson.
ZERO_PEAK_END = 0.2
#: No detector counts more in all; sums of whole numbers overflow at twice as many.
MOST_COUNTS = 4e18


def total_of(counts: np.ndarray) -> float:
    """Sum of counts in float64; infinity where even that overflows."""
    with np.errstate(over="ignore"):
        return float(counts.sum(dtype=np.float64))


def refuse_absurd_total(total: float) -> None:
    """Refuse more counts than there can be.

    Parameters
    ----------
    total : float
        All counts of a map, or of a part of it.

    Raises
    ------
    InputError
        Beyond `MOST_COUNTS`.
    """
    if not total <= MOST_COUNTS:
        raise InputError(
            f"the counts add up to {total:.3g}, more than any detector counts "
            f"({MOST_COUNTS:.0e}): the file is damaged, or its numbers have to be scaled down"
        )


@dataclass(frozen=True, eq=False)
class SpectrumImage:
    """Immutable sparse counts (pixels x channels) on a scan grid.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (ny * nx, channels)
        Non-negative counts, row ``y * nx + x``. Integer or float. `BlockedCounts` for a map
        that stays on disk: see `siftem.open_map`.
    shape : tuple of int
        Scan size ``(ny, nx)``.
    axis : EnergyAxis
        The energy axis.
    pixel_size : tuple of float, optional
        Height and width of a pixel in nm; None when the file is not calibrated.
    acquisition : Acquisition
        How the map was taken.
    survey : ndarray of shape (ny, nx), optional
        A simultaneous image such as HAADF.
    survey_name : str
        What ``survey`` is, e.g. "HAADF".
    signal_type : {"EDS_TEM", "EDS_SEM", "EELS", ""}
        As HyperSpy names it.
    title : str
        Title for figures.
    notes : tuple of str
        What was done on the way in (detectors summed, channels cropped, ...).
    doubts : tuple of str
        Those of the notes that put numbers in doubt (counts cut off, wrapped, denoised); a run
        warns of them.
    pedestal : float
        Counts in each channel of each pixel that stand for noise without signal, see
        :func:`siftem.as_counts`; integrated spectra are freed of it.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> si.shape, si.axis.unit
    ((32, 32), 'keV')
    >>> float(si.total_map().sum()) == float(si.sum_spectrum().sum()) == si.total
    True
    >>> si.window_map(1.2, 1.3).shape  # Mg K
    (32, 32)
    >>> si.cropped(high=10.0).axis.last < si.axis.last
    True
    >>> axes = si.plot()
    """

    counts: sp.csr_array
    shape: tuple[int, int]
    axis: EnergyAxis
    pixel_size: tuple[float, float] | None = None
    acquisition: Acquisition = field(default_factory=Acquisition)
    survey: np.ndarray | None = None
    survey_name: str = "HAADF"
    signal_type: str = "EDS_TEM"
    title: str = ""
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    pedestal: float = 0.0

    def __post_init__(self) -> None:
        blocked = self.on_disk
        counts = self.counts if blocked else checked_rows(self.counts)
        ny, nx = (int(n) for n in self.shape)
        if counts.shape != (ny * nx, self.axis.size):
            raise InputError(
                f"counts must have shape ({ny * nx}, {self.axis.size}) for a map of {ny} x {nx} "
                f"pixels and {self.axis.size} channels, got {counts.shape}"
            )
        if not blocked and counts.nnz and not np.isfinite(counts.data).all():
            raise InputError("the counts hold NaN or infinity: mend the file or mask those pixels")
        if not blocked and counts.nnz and counts.data.min() < 0:
            raise InputError(
                "the counts hold negative numbers: this is not a counted signal, "
                "or a background was already subtracted; use the raw counts"
            )
        if not blocked and counts.nnz:
            refuse_absurd_total(total_of(counts.data))
        if self.survey is not None and np.shape(self.survey) != (ny, nx):
            raise InputError(
                f"the survey image must have shape ({ny}, {nx}), got {np.shape(self.survey)}"
            )
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "shape", (ny, nx))

    @property
    def on_disk(self) -> bool:
        """Whether the counts stay on disk: the map is larger than memory."""
        return isinstance(self.counts, BlockedCounts)

    @property
    def n_pixels(self) -> int:
        """Number of scan pixels."""
        return self.shape[0] * self.shape[1]

    @property
    def n_channels(self) -> int:
        """Number of energy channels."""
        return self.axis.size

    @property
    def total(self) -> float:
        """All counts of the map."""
        return float(self.counts.sum(dtype=np.float64))

    @property
    def density(self) -> float:
        """Fraction of the cube that is not zero."""
        return self.counts.nnz / (self.n_pixels * self.n_channels)

    def total_map(self) -> np.ndarray:
        """Counts of each pixel over all channels; float64 (ny, nx)."""
        return self._per_pixel(self.counts)

    def window_map(self, low: float, high: float) -> np.ndarray:
        """Counts of each pixel between two energies (axis unit); float64 (ny, nx)."""
        return self._per_pixel(self._columns(self.axis.window(low, high)))

    def sum_spectrum(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Counts of each channel over all pixels or some; float64 (channels,).

        ``rows`` are indices in rising order, or True for each pixel that counts.
        """
        if rows is not None:
            return rows_of(self.counts).sum_of_rows(rows)
        return np.asarray(self.counts.sum(axis=0, dtype=np.float64)).ravel()

    def cropped(self, low: float | None = None, high: float | None = None) -> SpectrumImage:
        """Return the channels between two energies (axis unit; None means open)."""
        window = self.axis.window(low, high)
        if window == slice(0, self.axis.size):
            return self
        return replace(self, counts=self._columns(window), axis=self.axis.cropped(window))

    def without_zero_peak(self) -> SpectrumImage:
        """Crop an X-ray map below 0.2 keV, where the strobe peak of the detector lies.

        That peak is not Poisson and often carries a pattern of the readout: a
        factorisation takes it for a phase. Other signals are returned unchanged.
        """
        if not self.signal_type.startswith("EDS"):
            return self
        end = ZERO_PEAK_END * self.axis.per_kev
        if self.axis.centers[0] >= end:
            return self
        lost = float(self._columns(self.axis.window(None, end)).sum(dtype=np.float64))
        note = f"cropped below {ZERO_PEAK_END} keV (zero peak, {lost:.3g} counts)"
        cropped = self.cropped(low=end)
        return replace(cropped, notes=(*self.notes, note))

    def _columns(self, window: slice) -> sp.csr_array:
        return self.counts[:, window]

    def _per_pixel(self, counts: sp.csr_array) -> np.ndarray:
        return np.asarray(counts.sum(axis=1, dtype=np.float64)).reshape(self.shape)

    def _repr_html_(self) -> str:
        return str(view("spectrum_image_html")(self))

    def plot(self, *, elements: Sequence[str] | None = None) -> np.ndarray:
        """Draw all counts of each pixel, and the spectrum of the whole map.

        Parameters
        ----------
        elements : sequence of str, optional
            Whose lines are labelled; by default those that the file lists.

        Returns
        -------
        ndarray of matplotlib Axes, shape (2,)
            Of the map and of the spectrum.
        """
        named = self.acquisition.elements if elements is None else elements
        return np.asarray(view("plot_spectrum_image")(self, elements=named))

    def __repr__(self) -> str:
        ny, nx = self.shape
        return (
            f"<SpectrumImage {self.title!r} {ny} x {nx} pixels, {self.n_channels} channels "
            f"{self.axis.first:.3g} to {self.axis.last:.4g} {self.axis.unit}, "
            f"{self.total:.4g} counts, {100 * self.density:.3g}% non-zero>"
        )
