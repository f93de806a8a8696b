"""From how much on an element counts as found (Currie 1968, Anal. Chem. 40, 586)."""

from __future__ import annotations

from dataclasses import dataclass

from siftem.fit.line_fit import LineFit

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
