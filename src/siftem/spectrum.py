"""A spectrum that knows its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.views import view

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum:
    """Values with their covariance on an energy axis.

    The covariance is kept as a diagonal plus a few rank-one terms, because that is
    what counting and subtraction make: counting noise is independent from channel
    to channel, and each subtracted phase adds one common mode (its scale).

        Cov = diag(variance) + modes.T @ modes - pinned.T @ pinned

    Parameters
    ----------
    values : ndarray of shape (channels,)
        Counts, or counts after subtraction (may be negative).
    axis : EnergyAxis
        The energy axis, ``axis.size == channels``.
    variance : ndarray of shape (channels,), optional
        Independent part of the variance, in counts squared. By default the values
        themselves, as for Poisson counts.
    modes : ndarray of shape (modes, channels), optional
        Common modes: each row times itself, transposed, adds to the covariance.
    pinned : ndarray of shape (pinned, channels), optional
        Modes that an anchor keeps from moving: each row times itself, transposed, is taken
        off the covariance. The spectrum can't hold more noise along them than it had.
    background : ndarray of shape (channels,), optional
        What was subtracted to get ``values``. ``values + background`` are then the
        measured Poisson counts, so a fit can use the right likelihood.
    name : str
        Name of the phase or region.
    n_pixels : int
        Number of pixels that were summed; 0 if unknown.
    acquisition : Acquisition
        How it was taken.
    notes : tuple of str
        What was done to it.
    absent : tuple of str
        Elements that an anchor took for absent: their lines say nothing here.

    Examples
    --------
    >>> axis = siftem.EnergyAxis(0.2, 0.01, 4)
    >>> spectrum = siftem.Spectrum([5.0, 9.0, 4.0, 1.0], axis, name="Fp")
    >>> spectrum
    <Spectrum 'Fp' 4 channels 0.195 to 0.235 keV, sum 19>
    >>> float(spectrum.standard_deviation[1])
    3.0
    >>> spectrum.sum(slice(0, 3))
    (18.0, 4.2...)
    >>> spectrum.cropped(0.205, 0.225).values.tolist(), spectrum.sliced(slice(1, 3)).values.tolist()
    ([9.0, 4.0], [9.0, 4.0])
    >>> round(spectrum.angle_to([1.0, 2.0, 1.0, 0.0]))  # degrees
    6
    >>> import numpy as np
    >>> spectrum.propagate(np.array([[1.0, 1.0, 0.0, 0.0]])).tolist()  # of the first two's sum
    [[14.0]]
    >>> spectrum.to_pandas().shape[0]
    4
    >>> ax = spectrum.plot(log=False)
    """

    values: np.ndarray
    axis: EnergyAxis
    # None is what a caller may leave out; __post_init__ turns it into an array.
    variance: np.ndarray = None  # type: ignore[assignment]
    modes: np.ndarray = None  # type: ignore[assignment]
    pinned: np.ndarray = None  # type: ignore[assignment]
    background: np.ndarray = None  # type: ignore[assignment]
    name: str = ""
    n_pixels: int = 0
    acquisition: Acquisition = field(default_factory=Acquisition)
    notes: tuple[str, ...] = field(default=())
    absent: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        channels = self.axis.size
        if values.shape != (channels,):
            raise InputError(
                f"spectrum values must have shape ({channels},) to fit the axis, got {values.shape}"
            )
        variance = values.clip(min=0) if self.variance is None else np.asarray(self.variance, float)
        modes = np.zeros((0, channels)) if self.modes is None else np.atleast_2d(self.modes)
        pinned = np.zeros((0, channels)) if self.pinned is None else np.atleast_2d(self.pinned)
        background = np.zeros(channels) if self.background is None else np.asarray(self.background)
        for label, array in (("variance", variance), ("background", background)):
            if array.shape != (channels,):
                raise InputError(
                    f"spectrum {label} must have shape ({channels},), got {array.shape}"
                )
        for label, array in (("modes", modes), ("pinned", pinned)):
            if array.shape[1] != channels:
                raise InputError(
                    f"spectrum {label} must have {channels} columns, got {array.shape[1]}"
                )
        if not np.isfinite(values).all():
            raise InputError("spectrum values hold NaN or infinity")
        if not (np.isfinite(variance).all() and (variance >= 0).all()):
            raise InputError("spectrum variance must be finite and not negative")
        for label, array in (
            ("values", values),
            ("variance", variance),
            ("modes", np.asarray(modes, float)),
            ("pinned", np.asarray(pinned, float)),
            ("background", np.asarray(background, float)),
        ):
            array = array.copy()
            array.flags.writeable = False
            object.__setattr__(self, label, array)

    def __repr__(self) -> str:
        axis = self.axis
        pixels = f" in {self.n_pixels} pixels" if self.n_pixels else ""
        return (
            f"<{type(self).__name__} {self.name!r} {axis.size} channels {axis.first:.3g} to "
            f"{axis.last:.4g} {axis.unit}, sum {self.values.sum():.6g}{pixels}{self._made()}>"
        )

    def _made(self) -> str:
        """Say for `repr` where it comes from."""
        return ""

    def _repr_html_(self) -> str:
        return str(view("spectrum_html")(self))

    def plot(
        self,
        ax: Axes | None = None,
        *,
        elements: Sequence[str] | None = None,
        log: bool = True,
        colour: str | None = None,
    ) -> Axes:
        """Draw it with its error band; behind it, in grey, the counts it was taken from.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            By default new ones.
        elements : sequence of str, optional
            Whose lines are labelled; by default those that the file lists.
        log : bool
            Logarithmic counts.
        colour : str, optional
            Any of matplotlib's.

        Returns
        -------
        matplotlib Axes
        """
        named = self.acquisition.elements if elements is None else elements
        drawn: Axes = view("plot_spectrum")(self, ax, elements=named, log=log, colour=colour)
        return drawn

    def to_pandas(self) -> DataFrame:
        """Return counts, their errors and what was taken off, one row a channel; index: energy.

        Returns
        -------
        pandas.DataFrame
        """
        return view("spectrum_frame")(self)

    @property
    def counts(self) -> np.ndarray:
        """The measured counts, before any subtraction; (channels,)."""
        return self.values + self.background

    @property
    def standard_deviation(self) -> np.ndarray:
        """One standard deviation of each channel; (channels,)."""
        common = (self.modes**2).sum(axis=0) - (self.pinned**2).sum(axis=0)
        return np.sqrt(np.maximum(self.variance + common, 0.0))

    @property
    def covariance(self) -> np.ndarray:
        """The full covariance; (channels, channels). For 4096 channels this is 134 MB."""
        return np.diag(self.variance) + self.modes.T @ self.modes - self.pinned.T @ self.pinned

    def propagate(self, response: np.ndarray) -> np.ndarray:
        """Covariance of numbers that change with the counts by ``response``.

        Parameters
        ----------
        response : ndarray of shape (n, channels)

        Returns
        -------
        ndarray of shape (n, n)
            ``response @ covariance @ response.T``, without the covariance itself.
        """
        out = (response * self.variance) @ response.T
        if self.modes.size:
            common = response @ self.modes.T
            out = out + common @ common.T
        if self.pinned.size:
            held = response @ self.pinned.T
            out = out - held @ held.T
        return np.asarray(out)

    def sum(self, window: slice = slice(None)) -> tuple[float, float]:
        """Sum over a window of channels, and its standard deviation."""
        total = float(self.values[window].sum())
        variance = self.variance[window].sum() + (self.modes[:, window].sum(axis=1) ** 2).sum()
        variance -= (self.pinned[:, window].sum(axis=1) ** 2).sum()
        return total, float(np.sqrt(max(variance, 0.0)))

    def cropped(self, low: float | None = None, high: float | None = None) -> Spectrum:
        """Return the part between two energies, in the axis' unit."""
        return self.sliced(self.axis.window(low, high))

    def sliced(self, window: slice) -> Spectrum:
        """Return the part in a window of channels."""
        return replace(
            self,
            values=self.values[window],
            axis=self.axis.cropped(window),
            variance=self.variance[window],
            modes=self.modes[:, window],
            pinned=self.pinned[:, window],
            background=self.background[window],
        )

    def angle_to(self, other: np.ndarray | Spectrum) -> float:
        """Angle in degrees to another spectrum, blind to scale (0 means same shape)."""
        b = other.values if isinstance(other, Spectrum) else np.asarray(other, float)
        return spectral_angle(self.values, b)


def spectral_angle(a: np.ndarray, b: np.ndarray) -> float:
    """Angle between two vectors in degrees, ``arccos(a.b / |a||b|)``.

    Parameters
    ----------
    a, b : ndarray of shape (channels,)

    Returns
    -------
    float
        Degrees, 0 to 180; 90 when either vector is zero.
    """
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    if norm == 0:
        return 90.0
    return float(np.degrees(np.arccos(np.clip(np.dot(a, b) / norm, -1.0, 1.0))))
