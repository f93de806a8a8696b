"""Sum peaks: pulses that arrive so close together that the detector takes them for one."""

from __future__ import annotations

import numpy as np

from siftem.energy_axis import EnergyAxis

#: Pulses softer than this (keV) hardly trigger the fast channel that rejects pile-up: they add
#: to others over the whole shaping time.
_UNSEEN = 0.75
_STEEP = 6


def pile_up(
    counts: np.ndarray, axis: EnergyAxis, *, energies: np.ndarray | None = None
) -> np.ndarray:
    """Shapes of the sum peaks; each sums to one, or to zero when there are none.

    The spectrum folded with itself, as far as the axis knows it: soft pulses with any other,
    and hard ones with each other. Which of them pile up more depends on the pulse processor.

    Parameters
    ----------
    counts : ndarray of shape (channels,)
        Measured counts, nothing subtracted.
    axis : EnergyAxis
    energies : ndarray of shape (channels,), optional
        True energies of the channels in keV, rising; by default those of the axis. It is these
        that add up.

    Returns
    -------
    ndarray of shape (channels, 2)
    """
    nominal = axis.to_kev().centers
    true = nominal if energies is None else energies
    even = np.linspace(true[0], true[-1], true.size)
    counts = np.interp(even, true, counts)
    soft = counts / (1.0 + (np.maximum(even, 0.0) / _UNSEEN) ** _STEEP)
    hard = counts - soft
    out = np.empty((true.size, 2))
    # A soft pulse before a hard one and after it make the same sum.
    for i, (one, other) in enumerate(((soft, counts + hard), (hard, hard))):
        folded = np.convolve(one, other)
        sums = np.linspace(2 * even[0], 2 * even[-1], folded.size)
        shape = np.interp(true, sums, folded, left=0.0, right=0.0)
        total = float(shape.sum())
        out[:, i] = shape / total if total > 0 else 0.0
    return out
