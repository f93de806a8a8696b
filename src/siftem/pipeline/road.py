"""The road from a recipe to compositions: the steps of a run in their order.

Each step is one file of `siftem.pipeline.steps`: what it is made of, which fields of the recipe it
owns, what it does, and what stands in its place when it fails.
"""

from __future__ import annotations

from siftem.pipeline.steps import (
    composition,
    decompose,
    features,
    load,
    match,
    prepare,
    regions,
    segment,
    spectra,
    unmix,
)

#: All steps of a run.
ROAD = (
    load.STEP,
    prepare.STEP,
    decompose.STEP,
    match.STEP,
    features.STEP,
    segment.STEP,
    regions.STEP,
    spectra.STEP,
    unmix.STEP,
    composition.STEP,
)
#: Their names.
STEPS = tuple(step.name for step in ROAD)
