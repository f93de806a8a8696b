"""What a detector's window and dead layer take from each line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from siftem.xray.detector import POLYMER, Detector
from siftem.xray.lines import LineFamily

#: nm over which the depth of the dead layer is taken.
_NM = 10.0


def layer_depths(
    families: Sequence[LineFamily], detector: Detector, source: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the optical depth of one window and of one nm of dead layer for each family.

    Mean over the lines of a family that are seen, so that a window ``w`` times as thick takes
    ``exp(-w depth)`` of it.

    Parameters
    ----------
    families : sequence of LineFamily
    detector : Detector
        As it was reckoned with. Its window is the one that was told, else a polymer one.
    source : sequence of str
        Of each k-factor; a given one was measured through both, whatever they are.

    Returns
    -------
    window, dead_layer : ndarray of shape (families,)
        The second per nm.
    """
    told = detector.window
    bare = replace(detector, window=())
    behind = replace(detector, window=POLYMER if told is None else told)
    more = replace(detector, dead_layer=detector.dead_layer + _NM)
    window, dead = np.zeros(len(families)), np.zeros(len(families))
    for i, family in enumerate(families):
        if source[i] in ("given", "calibrated jointly"):
            continue
        seen = family.weights * detector.efficiency(family.energies)
        seen = seen / seen.sum()
        lost = np.log(bare.efficiency(family.energies) / behind.efficiency(family.energies))
        window[i] = seen @ lost
        lost = np.log(detector.efficiency(family.energies) / more.efficiency(family.energies))
        dead[i] = seen @ lost / _NM
    return window, dead
