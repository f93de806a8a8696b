"""Each step in one line on HyperSpy signals; HyperSpy signals come back.

    from siftem import signals as sft

    maps, spectra, factors = sft.decompose(s, 3)      # also in s.learning_results
    regions = sft.find_regions(s, factors)
    matrix = sft.integrate(s, regions.pure)
    mixture = sft.integrate(s, regions.mixture("E"))
    pure = sft.subtract(mixture, matrix, anchor=siftem.Absent("Si"))
    composition = sft.quantify(pure, ["O", "Mg", "Si", "Fe"])

Axes, units and metadata are kept. A spectrum keeps its covariance in ``metadata.Siftem``.
"""

from __future__ import annotations

from siftem.signals.learning_results import factors_from, store
from siftem.signals.steps import (
    SignalFactors,
    as_counts,
    decompose,
    decompose_together,
    elemental_ratios,
    find_regions,
    integrate,
    line_ratios,
    quantify,
    remove_background,
    run,
    subtract,
)

__all__ = [
    "SignalFactors",
    "as_counts",
    "decompose",
    "decompose_together",
    "elemental_ratios",
    "factors_from",
    "find_regions",
    "integrate",
    "line_ratios",
    "quantify",
    "remove_background",
    "run",
    "store",
    "subtract",
]
