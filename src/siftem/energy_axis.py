"""The uniform energy axis of spectra and spectrum images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from siftem.errors import InputError

#: Energies are kept in the axis' own unit; X-ray physics always asks for keV.
KEV_PER_UNIT = {"keV": 1.0, "eV": 1e-3}
#: Beyond any detector, in either unit; far below where squares overflow.
_MOST_ENERGY = 1e9


@dataclass(frozen=True)
class EnergyAxis:
    """Channel centres ``offset + scale * i``, ``i = 0 ... size - 1``.

    Parameters
    ----------
    offset : float
        Energy of the centre of channel 0, in ``unit``.
    scale : float
        Width of a channel, in ``unit``; positive.
    size : int
        Number of channels.
    unit : {"keV", "eV"}
        Unit of ``offset`` and ``scale``.

    Examples
    --------
    >>> axis = siftem.EnergyAxis(0.2, 0.01, 1800)
    >>> axis.window(1.0, 2.0)
    slice(80, 181, None)
    >>> axis.cropped(axis.window(1.0, 2.0)).size, axis.contains(20.0)
    (101, False)
    >>> losses = siftem.EnergyAxis(400.0, 0.5, 600, "eV")
    >>> losses.to_kev().offset, losses.window_kev(0.4, 0.45) == losses.window(400, 450)
    (0.4, True)
    """

    offset: float
    scale: float
    size: int
    unit: str = "keV"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"an energy axis needs at least one channel, got {self.size}")
        if not (np.isfinite(self.offset) and np.isfinite(self.scale) and self.scale > 0):
            raise InputError(
                f"an energy axis needs a finite offset and a positive channel width, "
                f"got offset={self.offset}, scale={self.scale}"
            )
        if max(abs(self.first), abs(self.last)) > _MOST_ENERGY:
            raise InputError(
                f"an energy axis from {self.first:.3g} to {self.last:.3g} {self.unit} cannot be: "
                "correct its offset and scale"
            )
        if self.unit not in KEV_PER_UNIT:
            raise InputError(f"energy unit must be 'keV' or 'eV', got {self.unit!r}")

    @property
    def centers(self) -> np.ndarray:
        """Channel centres in ``unit``, float64 (size,)."""
        return self.offset + self.scale * np.arange(self.size)

    @property
    def edges(self) -> np.ndarray:
        """Channel edges in ``unit``, float64 (size + 1,)."""
        return self.offset + self.scale * (np.arange(self.size + 1) - 0.5)

    @property
    def first(self) -> float:
        """Lower edge of the first channel, in ``unit``."""
        return self.offset - 0.5 * self.scale

    @property
    def last(self) -> float:
        """Upper edge of the last channel, in ``unit``."""
        return self.offset + (self.size - 0.5) * self.scale

    def contains(self, energy: float) -> bool:
        """Whether ``energy`` (in ``unit``) lies within the axis."""
        return self.first <= energy <= self.last

    def to_kev(self) -> EnergyAxis:
        """Return the same axis in keV."""
        factor = KEV_PER_UNIT[self.unit]
        return EnergyAxis(self.offset * factor, self.scale * factor, self.size, "keV")

    @property
    def per_kev(self) -> float:
        """How many of ``unit`` are a keV."""
        return 1.0 if self.unit == "keV" else 1e3

    def window_kev(self, low: float | None, high: float | None) -> slice:
        """Channels whose centres lie in [low, high], told in keV; see `window`."""
        unit = self.per_kev
        return self.window(
            None if low is None else low * unit, None if high is None else high * unit
        )

    def window(self, low: float | None, high: float | None) -> slice:
        """Channels whose centres lie in [low, high] (in ``unit``; None means open).

        Raises
        ------
        InputError
            When no channel lies in the window.
        """
        low = -np.inf if low is None else low
        high = np.inf if high is None else high
        # A rounding guard: a centre that equals a bound up to 1e-6 channels is inside.
        slack = 1e-6 * self.scale
        inside = np.flatnonzero((self.centers >= low - slack) & (self.centers <= high + slack))
        if inside.size == 0:
            raise InputError(
                f"no channel lies between {low:g} and {high:g} {self.unit}: the axis runs "
                f"from {self.first:g} to {self.last:g} {self.unit}"
            )
        return slice(int(inside[0]), int(inside[-1]) + 1)

    def cropped(self, window: slice) -> EnergyAxis:
        """Return the axis of the channels in ``window``."""
        start, stop, _ = window.indices(self.size)
        return replace(self, offset=self.offset + start * self.scale, size=stop - start)
