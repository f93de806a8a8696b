"""Phases whose spectra hold another one whole, as where that goes on evenly above or below them."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from itertools import permutations

import numpy as np

from siftem.errors import DoubtWarning
from siftem.printed_numbers import in_words
from siftem.quantification.composition import Composition

#: What of an element in the other phase is looked at, by weight, and in standard deviations.
_MAIN, _SURELY = 0.03, 5.0
#: Ratios are alike to this part of them beside so many standard deviations.
_RATIO, _ALIKE = 0.07, 2.0
#: Shares of the other phase that are told, and what of an element of its own must be left beside.
_LEAST, _MOST, _OWN = 0.05, 0.7, 0.05


def warn_of_even_overlays(
    compositions: Mapping[str, Composition], pairs: Collection[tuple[str, str]]
) -> None:
    """Tell of phases that hold another one's elements in its very ratios, beside their own.

    A grain with as much of another phase above or below it in all its pixels looks pure: no pixel
    tells it from a phase that holds these elements.

    Parameters
    ----------
    compositions : mapping of str to Composition
        Of the pure phases of a map.
    pairs : collection of tuple of str
        Of a phase that may go on, and one in whose pixels it may.

    Warns
    -----
    DoubtWarning
    """
    for host, name in permutations(compositions, 2):
        if (host, name) not in pairs:
            continue
        held = evenly_held(compositions[host], compositions[name])
        if held is not None:
            share, together = held
            warnings.warn(
                f"{name}: {in_words(together)} stand in it in the ratios of {host}, as if that "
                f"went on evenly above or below it: some {100 * share:.0f}% of its mass may be "
                f"{host}, and its numbers those of a mixture, which its intervals do not hold. If "
                f"so, say that it is embedded (lies: embedded), or give an anchor",
                DoubtWarning,
                stacklevel=3,
            )


def evenly_held(host: Composition, phase: Composition) -> tuple[float, tuple[str, ...]] | None:
    """Return how much of another phase a phase may hold, by mass, and the elements that say so.

    All main elements of the other phase must be there, two or more must vanish together when it is
    taken off, and an element of the phase's own must be left. None otherwise.
    """
    if host.elements != phase.elements:
        return None
    there, whole = host.weight_fractions, phase.weight_fractions
    main = (there > _MAIN) & (there > _SURELY * host.sigma)
    if main.sum() < 2 or not (whole > _SURELY * phase.sigma)[main].all():
        return None
    ratio = whole[main] / there[main]
    noise = np.hypot(phase.sigma[main] / whole[main], host.sigma[main] / there[main])
    error = ratio * np.hypot(noise, _RATIO)
    first = int(np.argmin(ratio))
    together = ratio - ratio[first] <= _ALIKE * np.hypot(error, error[first])
    share = float(np.average(ratio[together], weights=error[together] ** -2))
    own = whole - share * there > np.maximum(_OWN, 0.8 * whole)
    if together.sum() < 2 or not _LEAST < share < _MOST or not own.any():
        return None
    names = np.array(host.elements)[main][together]
    return share, tuple(str(e) for e in names)
