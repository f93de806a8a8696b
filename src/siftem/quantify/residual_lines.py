"""Tell the user of lines that the chosen elements do not explain."""

from __future__ import annotations

import warnings

from siftem.errors import DoubtWarning
from siftem.fit.element_search import unexplained_lines
from siftem.fit.line_fit import LineFit
from siftem.fit.structure import warn_of_structure

#: Elements that a warning names.
_NAMED = 3


def warn_of_unexplained(fit: LineFit, name: str, significance: float) -> None:
    """Warn when a residual shows lines of elements that were not fitted.

    Parameters
    ----------
    fit : LineFit
    name : str
        Of the spectrum.
    significance : float
        Standard deviations from which on lines are told.

    Warns
    -----
    SiftemWarning
        With the likely elements, at most three; or that the model does not describe the
        spectrum at all.
    """
    if warn_of_structure(fit, name, stacklevel=5):
        return
    found = unexplained_lines(fit, significance=significance, most=_NAMED)
    if not found:
        return
    lines = ", ".join(f"{f.line} ({f.energy:.2f} keV)" for f in found)
    warnings.warn(
        f"{name or 'the spectrum'}: the fit leaves lines unexplained, likely {lines}: add "
        f"{', '.join(f.element for f in found)} to the elements or to the support",
        DoubtWarning,
        stacklevel=4,
    )
