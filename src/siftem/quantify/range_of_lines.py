"""Elements that were asked for and have no line in the fitted range."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from siftem.errors import InputError, SiftemWarning
from siftem.fit.line_fit import LineFit
from siftem.fit.spectrum_model import quantified_family


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
