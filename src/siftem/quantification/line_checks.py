"""Elements without a line in the fitted range, and lines that no element explains, are told."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from siftem.errors import DoubtWarning, InputError, SiftemWarning
from siftem.fit.element_search import unexplained_lines
from siftem.fit.line_fit import LineFit
from siftem.fit.spectrum_model import quantified_family
from siftem.fit.structure import warn_of_structure

#: Elements that a warning names.
_NAMED = 3


def measurable(fit: LineFit, elements: Sequence[str]) -> tuple[str, ...]:
    """Return the elements that have a line to be quantified by; tell of the others.

    Parameters
    ----------
    fit : LineFit
    elements : sequence of str
        That were asked for.

    Returns
    -------
    tuple of str

    Raises
    ------
    InputError
        When there is none.

    Warns
    -----
    SiftemWarning
        Names the elements that are left out.
    """
    axis, families = fit.spectrum.axis, fit.model.families
    inside = tuple(e for e in elements if quantified_family(families, e, axis) is not None)
    outside = [e for e in elements if e not in inside]
    if not outside:
        return inside
    kev = axis.to_kev().centers
    what = (
        f"{', '.join(outside)}: no line between {kev[0]:.3g} and {kev[-1]:.3g} keV that the "
        f"beam excites"
    )
    if not inside:
        raise InputError(f"{what}: name elements with lines there, or widen the energy range")
    warnings.warn(
        f"{what}: left out, the other elements add up to 100% without", SiftemWarning, stacklevel=4
    )
    return inside


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
