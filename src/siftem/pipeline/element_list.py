"""Which elements a run quantifies."""

from __future__ import annotations

import warnings

from siftem.errors import InputError, SiftemWarning
from siftem.fit.element_search import find_elements
from siftem.pipeline.parts import attempted
from siftem.pipeline.recipe import Recipe
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage

#: Lines that a file does not list are quantified from this part of all line counts on: without them
#: a composition would be of something else. Columns and holders add less, as a rule.
_STRONG = 0.003


def run_elements(recipe: Recipe, si: SpectrumImage) -> tuple[str, ...]:
    """Return the elements to quantify: the recipe's, else the file's and those that show.

    A file lists what somebody clicked on, and may lack what makes up most of the specimen.

    Warns
    -----
    SiftemWarning
        Which elements were found, by which lines, when the recipe lists none.
    """
    if not si.signal_type.startswith("EDS"):
        if recipe.elements:
            raise InputError(
                f"elements are quantified by X-ray lines, but this is a signal of type "
                f"{si.signal_type or 'unknown'}: leave the elements out"
            )
        return ()
    if recipe.elements:
        return recipe.elements
    listed = tuple(e for e in si.acquisition.elements if e not in recipe.support)
    found = attempted("a list of elements", lambda: _elements_seen(recipe, si), ())
    return (*listed, *found)


def _elements_seen(recipe: Recipe, si: SpectrumImage) -> tuple[str, ...]:
    """Find the elements whose lines the sum of all pixels shows, beside those of the file."""
    whole = Spectrum(si.sum_spectrum(), si.axis, name="all pixels", acquisition=si.acquisition)
    found = [f for f in find_elements(whole) if f.element not in recipe.support]
    listed = si.acquisition.elements
    if not found and not listed:
        raise InputError("none is named, and no line stands out: name them (--elements)")
    if listed:
        least = _STRONG * sum(f.counts for f in found)
        found = [f for f in found if f.element not in listed and f.counts > least]
        if not found:
            return ()
    lines = ", ".join(f"{f.line} ({f.significance:.0f} sigma)" for f in found)
    told = (
        f"the file lists {', '.join(listed)} only, but strong lines of others stand out in the sum "
        "of all pixels and are quantified as well"
        if listed
        else "no elements are named: those whose lines stand out in the sum of all pixels are "
        "quantified"
    )
    warnings.warn(
        f"{told}, {lines}; name them (--elements), and those of grid and film (--support)",
        SiftemWarning,
        stacklevel=3,
    )
    return tuple(f.element for f in found)
