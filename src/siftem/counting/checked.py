"""Counts that somebody put together by hand, checked before work on them."""

from __future__ import annotations

import warnings

from siftem.counting.door import as_counted
from siftem.counting.outliers import without_outliers
from siftem.errors import DoubtWarning, SiftemWarning
from siftem.spectrum_image import SpectrumImage


def checked_counts(si: SpectrumImage) -> SpectrumImage:
    """Return an X-ray map as counts without outliers, and warn of what was changed.

    What `siftem.load` and a run checked already is not changed again.

    Parameters
    ----------
    si : SpectrumImage
        Without the zero peak.

    Warns
    -----
    SiftemWarning
        One for each thing that was found.
    """
    found = without_outliers(as_counted(si, by_scatter=False))
    for note in found.notes[len(si.notes) :]:
        kind = DoubtWarning if note in found.doubts else SiftemWarning
        warnings.warn(note, kind, stacklevel=3)
    return found
