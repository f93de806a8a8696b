"""Where maps of a joint decomposition lie in their stack, and which channels they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.spectrum_image import SpectrumImage

#: Channels of two maps count as the same when they lie closer than this share of a channel.
_SAME_CHANNEL = 0.05


@dataclass(frozen=True)
class StackLayout:
    """Maps below each other, on the channels that all have.

    Parameters
    ----------
    shape : tuple of int
        Lines and columns of the stack; narrow maps leave pixels on their right empty.
    axis : EnergyAxis
        Of the common channels, as in the first map.
    channels : dict of str to slice
        The common channels as each map counts them.
    places : dict of str to (slice, slice)
        Lines and columns of each map.
    """

    shape: tuple[int, int]
    axis: EnergyAxis
    channels: dict[str, slice]
    places: dict[str, tuple[slice, slice]]

    @classmethod
    def of(cls, images: Mapping[str, SpectrumImage]) -> StackLayout:
        """Lay out maps whose channels coincide.

        Raises
        ------
        InputError
            When they have no channels in common.
        """
        first = next(iter(images.values()))
        shifts = {n: channel_shift(first.axis, si.axis) or 0 for n, si in images.items()}
        low = max(shifts.values())
        high = min(shifts[n] + si.n_channels for n, si in images.items())
        if high <= low:
            raise InputError("the maps have no energy channels in common: leave the odd one out")
        places, top = {}, 0
        for name, si in images.items():
            ny, nx = si.shape
            places[name] = (slice(top, top + ny), slice(0, nx))
            top += ny
        return cls(
            (top, max(si.shape[1] for si in images.values())),
            first.axis.cropped(slice(low, high)),
            {n: slice(low - shift, high - shift) for n, shift in shifts.items()},
            places,
        )


def channel_shift(axis: EnergyAxis, other: EnergyAxis) -> int | None:
    """Return how many channels ``other`` begins after ``axis``; None if they don't coincide."""
    axis, other = axis.to_kev(), other.to_kev()
    size = max(axis.size, other.size)
    if abs(axis.scale - other.scale) * size > _SAME_CHANNEL * axis.scale:
        return None
    shift = (other.offset - axis.offset) / axis.scale
    if abs(shift - round(shift)) > _SAME_CHANNEL or not -other.size < round(shift) < axis.size:
        return None
    return round(shift)


def widened(counts: sp.csr_array, width: int, wanted: int) -> sp.csr_array:
    """Give each line of a map (lines * width, m) empty pixels up to a wider one's width."""
    if width == wanted:
        return counts
    lengths = np.diff(counts.indptr).reshape(-1, width)
    lengths = np.pad(lengths, ((0, 0), (0, wanted - width)))
    ends = np.concatenate([[0], np.cumsum(lengths.ravel(), dtype=np.int64)])
    return sp.csr_array((counts.data, counts.indices, ends), shape=(lengths.size, counts.shape[1]))
