"""The zeta-factor method: composition and mass thickness from absolute intensities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from siftem.errors import InputError
from siftem.fit.line_fit import LineFit
from siftem.quantify.k_values import GivenKFactors, KValues, emitted_per_counted
from siftem.quantify.minerals import Quantity
from siftem.xray.detector import Detector


@dataclass(frozen=True)
class ZetaFactors:
    """Zeta-factors from standards of known composition and mass thickness.

    ``rho t = zeta_i I_i / (C_i D)`` with counts I, weight fraction C and D electrons.

    Parameters
    ----------
    values : mapping of str to float
        Element -> zeta in kg electron / (m2 photon). Elements that are not given get
        computed k-factors, tied to ``reference``.
    line : {"alpha", "family"}
        Whether zeta belongs to the counts of the alpha line or of the whole family.
    detector : {"included", "apart"}
        Whether the detector's efficiency is in zeta, as in measured values.
    relative_sigma : mapping of str to float
        Relative standard deviation of each; 0 where it is not given.
    reference : str
        A given element by which the others are tied; the first by default.

    References
    ----------
    Watanabe & Williams 2006, J. Microsc. 221, 89.
    """

    values: Mapping[str, float]
    line: str = "alpha"
    detector: str = "included"
    relative_sigma: Mapping[str, float] = field(default_factory=dict)
    reference: str = ""

    def __post_init__(self) -> None:
        if not self.values:
            raise InputError("zeta-factors must be given for at least one element")
        if self.reference and self.reference not in self.values:
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
            reference=self.reference or next(iter(self.values)),
        )


def mass_thickness(
    zeta: ZetaFactors,
    fit: LineFit,
    index: Sequence[int],
    k: KValues,
    amount_map: np.ndarray,
    detector: Detector,
    dose: float,
) -> Quantity:
    """Return ``rho t = sum_i zeta_i I_i / D`` in kg/m2, with its counting error.

    Parameters
    ----------
    zeta : ZetaFactors
    fit : LineFit
        Amplitudes are emitted photons, absorption corrected.
    index : sequence of int
        Families that measure the elements.
    k : KValues
        k-factors of these, tied to the zeta-factors.
    amount_map : ndarray of shape (n, n)
        From measured amounts to reported ones.
    detector : Detector
    dose : float
        Electrons.

    Returns
    -------
    Quantity
    """
    families = [fit.model.families[i] for i in index]
    given = zeta.as_k_factors()
    names = [f.element for f in families]
    tie = names.index(given.reference if given.reference in names else
                      next(e for e in given.values if e in names))  # fmt: skip
    # zeta of emitted family photons of the tied element, over its k: the common scale.
    emitted = given.values[names[tie]] * emitted_per_counted(families[tie], given, detector)
    weights = amount_map.sum(axis=0) * k.values * (emitted / k.values[tie]) / dose
    index = list(index)
    value = float(weights @ fit.amplitudes[index])
    sigma = float(np.sqrt(weights @ fit.covariance[np.ix_(index, index)] @ weights))
    return Quantity(value, sigma)
