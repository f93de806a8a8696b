"""What stands in the place of a step that failed, so that the rest of a run can be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from siftem.pipeline.element_list import run_elements
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.results import Classified, Matched, Quantified, Segmentation
from siftem.pipeline.segmentation import labelled
from siftem.pipeline.spectra import RegionSpectra
from siftem.segment.regions import Regions

#: What a step gives, in words of the reader.
NAMES = {
    "match": "the names of the phases",
    "features": "every image for the classifier",
    "segment": "the classification of the pixels",
    "regions": "the masks of the grains",
    "spectra": "every spectrum of a region",
    "unmix": "the unmixing of all pixels",
    "composition": "every derived quantity",
}


def _matched(recipe: Recipe, done: Mapping[str, Any]) -> Matched:
    factors = done["decompose"].factors
    elements = run_elements(recipe, done["prepare"].spectrum_image)
    return Matched(factors, factors.names[factors.matrix or 0], elements, None)


def _segmentation(recipe: Recipe, done: Mapping[str, Any]) -> Segmentation:
    """The labels of a layout; without one all pixels are the matrix, as no grain was told."""
    matched = done["match"]
    if matched.layout is not None:
        return labelled(recipe, matched, done["segment"])
    shape = matched.factors.maps.shape[1:]
    regions = Regions(shape, matrix=matched.matrix, masks={}, margin=recipe.segment.margin)
    return Segmentation(regions, {}, {}, {}, False, 0.0)


#: Steps that may fail. Without counts and components there is nothing to write.
INSTEAD: dict[str, Callable[[Recipe, Mapping[str, Any]], Any]] = {
    "match": _matched,
    "features": lambda recipe, done: None,
    "segment": lambda recipe, done: Classified({}, {}, {}, False, {}),
    "regions": _segmentation,
    "spectra": lambda recipe, done: RegionSpectra(None, {}, {}, {}),
    "unmix": lambda recipe, done: None,
    "composition": lambda recipe, done: Quantified({}, {}, (), (), (), (), None),
}
