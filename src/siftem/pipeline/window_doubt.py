"""What a detector's window that nobody told may have done to compositions in a known film."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from siftem.errors import DoubtWarning
from siftem.quantification.composition import Composition
from siftem.quantification.film_range import window_losses
from siftem.xray.detector import Detector

#: Change of atomic percent from which on it is told.
_TOLD = 0.02


def warn_of_window(compositions: Mapping[str, Composition], detector: Detector) -> None:
    """Warn once, for the phase in which a polymer window would change most.

    Where the film is not known either, intervals reach to a polymer window and say so; in a known
    film the detector is taken for one without, and no error holds what a window takes away.

    Parameters
    ----------
    compositions : mapping of str to Composition
    detector : Detector
        As all were reckoned with.

    Warns
    -----
    DoubtWarning
        When the content of an element would change by more than 2 at%.
    """
    if detector.window is not None:
        return
    most, told = _TOLD, ""
    for name, c in compositions.items():
        if c.film is None and c.film_ends is not None:
            continue
        behind = _behind_a_window(c, detector)
        now, then = c.atomic_fractions, behind.atomic_fractions
        i = int(np.argmax(np.abs(then - now)))
        if abs(then[i] - now[i]) > most:
            most = float(abs(then[i] - now[i]))
            told = f"{name} holds {100 * then[i]:.3g} at% {c.elements[i]} for {100 * now[i]:.3g}"
    if told:
        warnings.warn(
            f"the detector's window is not told: behind a polymer one {told}, which no error bar "
            f"holds: say quantify: {{window: none}} or polymer, or give measured k-factors",
            DoubtWarning,
            stacklevel=3,
        )


def _behind_a_window(c: Composition, detector: Detector) -> Composition:
    """The composition if the detector has a polymer window; absorption is left as it is."""
    families = [c.fit.model.families[i] for i in c.columns]
    lost = window_losses(families, detector, c.k.source)
    amounts = c.k.values * c.fit.amplitudes[list(c.columns)] * lost
    amounts = amounts if c.amount_map is None else c.amount_map @ amounts
    return replace(c, weight_fractions=amounts / amounts.sum())
