"""The elements that the sum of all pixels shows, and by which lines."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from siftem.fit.element_search import FoundElement, find_elements
from siftem.fit.line_search import CANDIDATES
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.integrate import integrate


def found_elements(si: SpectrumImage, absent: Collection[str] = ()) -> tuple[FoundElement, ...]:
    """Return the elements whose lines are seen, most counts first.

    Parameters
    ----------
    si : SpectrumImage
    absent : collection of str
        Elements that are not there, as the user knows: their lines are given to others.
    """
    whole = integrate(si, np.ones(si.shape, bool), name="all pixels")
    return find_elements(whole, candidates=[e for e in CANDIDATES if e not in absent])
