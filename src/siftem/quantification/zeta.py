"""The zeta-factor method: composition and mass thickness from absolute intensities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from siftem.errors import InputError
from siftem.fit.line_fit import LineFit
from siftem.quantification.k_values import GivenKFactors, KValues, factor_line
from siftem.quantification.minerals import Quantity

#: Mass thickness of films that electrons of 60 to 300 keV go through, kg/m2: from a hundredth
#: of an atomic layer to two micrometres of 5 g/cm3.
_THINNEST, _THICKEST = 1e-8, 1e-2


@dataclass(frozen=True)
class ZetaFactors:
    """Zeta-factors from standards of known composition and mass thickness.

    ``rho t = zeta_i I_i / (C_i D)`` with counts I, weight fraction C and D electrons.

    Parameters
    ----------
    values : mapping of str to float
        Line or element -> zeta in kg electron / (m2 photon), as in `GivenKFactors`. Elements
        that are not given get computed k-factors, tied to ``reference``.
    line : {"alpha", "family"}
        Whether zeta belongs to the counts of the alpha line or of the whole family.
    detector : {"included", "apart"}
        Whether the detector's efficiency is in zeta, as in measured values.
    relative_sigma : mapping of str to float
        Relative standard deviation of each; 0 where it is not given.
    reference : str
        A given element by which the others are tied; the first by default.
    shells : mapping of str to str
        Shell of each lone element in ``values``, where it is known.

    References
    ----------
    Watanabe & Williams 2006, J. Microsc. 221, 89.

    Examples
    --------
    >>> zeta = siftem.ZetaFactors({"Si": 700.0, "Fe": 950.0}, relative_sigma={"Fe": 0.02})
    >>> zeta.line, zeta.detector
    ('alpha', 'included')
    """

    values: Mapping[str, float]
    line: str = "alpha"
    detector: str = "included"
    relative_sigma: Mapping[str, float] = field(default_factory=dict)
    reference: str = ""
    shells: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.values:
            raise InputError("zeta-factors must be given for at least one element")
        if self.reference and self.reference not in {factor_line(k)[0] for k in self.values}:
            raise InputError(
                f"the reference {self.reference!r} must be among the elements with a "
                f"zeta-factor, {', '.join(self.values)}"
            )
        self.as_k_factors()  # checks the rest

    def as_k_factors(self) -> GivenKFactors:
        """Return the same as k-factors, which are ratios of zeta-factors."""
        return GivenKFactors(
            values=self.values,
            line=self.line,
            detector=self.detector,
            relative_sigma=self.relative_sigma,
            reference=self.reference or factor_line(next(iter(self.values)))[0],
            shells=self.shells,
        )


def mass_thickness(
    fit: LineFit, index: Sequence[int], k: KValues, amount_map: np.ndarray, dose: float
) -> Quantity:
    """Return ``rho t = sum_i zeta_i I_i / D`` in kg/m2, with its counting error.

    Parameters
    ----------
    fit : LineFit
        Amplitudes are emitted photons, absorption corrected.
    index : sequence of int
        Families that measure the elements.
    k : KValues
        k-factors of these from zeta-factors: those over ``k.scale`` for emitted photons.
    amount_map : ndarray of shape (n, n)
        From measured amounts to reported ones.
    dose : float
        Electrons.

    Returns
    -------
    Quantity

    Raises
    ------
    InputError
        When no film that electrons go through has this mass thickness: the dose is wrong.
    """
    weights = amount_map.sum(axis=0) * k.values / k.scale / dose
    index = list(index)
    value = float(weights @ fit.amplitudes[index])
    sigma = float(np.sqrt(weights @ fit.covariance[np.ix_(index, index)] @ weights))
    if not value + 3 * sigma > _THINNEST or not value < _THICKEST:
        raise InputError(
            f"a dose of {dose:.3g} electrons gives {fit.spectrum.name or 'the spectrum'} a mass "
            f"thickness of {value:.2g} kg/m2 ({value / 5e-6:.2g} nm of 5 g/cm3), which no film for "
            f"electron microscopy has: give the electrons that hit its pixels (current x live "
            f"time / 1.602e-19 C), and check the unit of the zeta-factors"
        )
    return Quantity(value, sigma)
