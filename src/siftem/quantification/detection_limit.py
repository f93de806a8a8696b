"""From how much on an element counts as found (Currie 1968, Anal. Chem. 40, 586).

Elements without a line in the fitted range, and lines that no element explains, are told.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from siftem.errors import DoubtWarning, InputError, SiftemWarning
from siftem.fit.element_search import unexplained_lines, warn_of_structure
from siftem.fit.line_fit import LineFit
from siftem.fit.spectrum_model import quantified_family

#: One-sided 95% quantile of the normal distribution.
QUANTILE = 1.645


@dataclass(frozen=True)
class Limits:
    """Limits of one line family, in photons emitted towards the detector.

    Parameters
    ----------
    critical : float
        Above it a measured value counts as found: 5% of blanks exceed it.
    detection : float
        A true value that is found with a probability of 95%.
    sigma_at_zero : float
        Standard deviation of the fitted value when the true one is zero.
    """

    critical: float
    detection: float
    sigma_at_zero: float


def currie(sigma_at_zero: float, counts_per_photon: float = 1.0) -> Limits:
    """Return Currie's limits for a fitted amplitude.

    ``L_C = 1.645 s0``, ``L_D = 2.71 + 3.29 s0`` in counts. With ``s0 = sqrt(2 B)`` these are
    the limits of a paired blank, with ``sqrt(B)`` those of a well-known background.

    Parameters
    ----------
    sigma_at_zero : float
        s0 in the unit of the amplitude.
    counts_per_photon : float
        Counts for a unit of the amplitude: 2.71 is a number of counts.

    Returns
    -------
    Limits
        In the unit of the amplitude.
    """
    return Limits(
        critical=QUANTILE * sigma_at_zero,
        detection=QUANTILE**2 / counts_per_photon + 2 * QUANTILE * sigma_at_zero,
        sigma_at_zero=sigma_at_zero,
    )


def family_limits(fit: LineFit, index: int) -> Limits:
    """Return the limits of one fitted family."""
    per_photon = float(fit.design[:, index].sum())
    return currie(fit.sigma_at_zero(index), max(per_photon, 1e-12))


def counts_for_limit(
    spectrum_counts: float, critical: float, detection: float, limit: float
) -> float:
    """Return how many counts a spectrum needs for a wanted detection limit.

    With N times the counts the noise at zero, relative to all counts, falls with
    ``1/sqrt(N)`` and the few counts that are needed at the least with ``1/N``, so
    ``L_D(N) = 2 L_C / sqrt(N) + (L_D - 2 L_C) / N`` with today's limits L_C and L_D.

    Parameters
    ----------
    spectrum_counts : float
        Counts of today's spectrum.
    critical, detection : float
        Today's critical level and detection limit of the element, in any one unit.
    limit : float
        Wanted detection limit, in the same unit.

    Returns
    -------
    float
        Counts. The time of acquisition grows by ``counts / spectrum_counts``.

    Raises
    ------
    InputError
        When a number is not positive.
    """
    for label, value in (
        ("spectrum_counts", spectrum_counts),
        ("critical", critical),
        ("detection", detection),
        ("limit", limit),
    ):
        if not 0 < value < float("inf"):
            raise InputError(f"{label} must be a positive number, got {value}")
    noise = 2 * critical
    rest = max(detection - noise, 0.0)
    # limit x^2 - noise x - rest = 0 with x = sqrt(N)
    root = (noise + math.sqrt(noise**2 + 4 * limit * rest)) / (2 * limit)
    return spectrum_counts * root**2


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
