"""The thickness at which an oxide is neutral."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from siftem.errors import InputError
from siftem.fit.spectrum_model import Calibration
from siftem.quantification.composition import quantify
from siftem.quantification.fractions import Composition
from siftem.quantification.k_values import GivenKFactors
from siftem.quantification.minerals import ANIONS, Quantity, cation_charges, ratio
from siftem.spectrum import Spectrum
from siftem.views import outline
from siftem.xray.detector import Detector
from siftem.xray.elements import element_symbols

#: Thickest film that is looked at, nm: beyond, hardly any O K photon comes out.
_THICKEST = 1000.0
_THINNEST = 0.5
_STEP = 10.0


@dataclass(frozen=True, eq=False)
class NeutralFilm:
    """Thickness of a film from charge balance.

    Parameters
    ----------
    thickness : Quantity
        nm, with the error from counting.
    systematic : float
        Standard deviation of the thickness from k-factors and attenuation, nm. With
        computed k-factors it is about as large as the thickness: use those of a standard.
    composition : Composition
        At this thickness.
    slope : float
        Relative change of O with the thickness, per nm.
    """

    __repr__ = outline

    thickness: Quantity
    systematic: float
    composition: Composition
    slope: float


def thickness_from_charge_balance(
    spectrum: Spectrum,
    elements: Sequence[str],
    *,
    density: float,
    valences: Mapping[str, float] | None = None,
    support: Sequence[str] = (),
    beam_energy: float | None = None,
    take_off_angle: float | None = None,
    detector: Detector | None = None,
    calibration: Calibration | None = None,
    k_factors: GivenKFactors | None = None,
    energy_range: tuple[float | None, float | None] = (0.25, None),
) -> NeutralFilm:
    """Find the thickness at which the measured O balances the charges of the cations.

    O K is absorbed far more than the cations' lines, so the O that the absorption
    correction gives grows with the thickness; an oxide holds as much of it as
    ``2 n_O = sum_i charge_i n_i``. The condition fixes the mass thickness: what is found
    for a wrong density is wrong by the inverse factor.

    Parameters
    ----------
    spectrum : Spectrum
        Pure oxide phase.
    elements : sequence of str
        With O, and no anion besides.
    density : float
        g/cm3.
    valences : mapping of str to float, optional
        Charges that differ from the usual ones (Fe2+, U4+), such as {"Fe": 2.7}.
    support, beam_energy, take_off_angle, detector, calibration, k_factors, energy_range
        As for :func:`siftem.quantify`.

    Returns
    -------
    NeutralFilm

    Raises
    ------
    InputError
        When O is missing, or no thickness up to 1000 nm balances the charges.

    References
    ----------
    Van Cappellen & Doukhan 1994, Ultramicroscopy 53, 343.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> spectrum = siftem.integrate(si, phantom.mask("Brg", at_least=0.99), name="Brg")
    >>> elements = ["O", "Mg", "Al", "Si", "Ca", "Fe"]
    >>> film = siftem.thickness_from_charge_balance(
    ...     spectrum, elements, density=4.2, support=["Cu"]
    ... )  # doctest: +SKIP
    >>> print(film.thickness)  # doctest: +SKIP
    """
    names = element_symbols(elements)
    others = [e for e in names if e in ANIONS and e != "O"]
    if "O" not in names or others:
        raise InputError(
            f"charge balance needs an oxide: O among the elements and no other anion, "
            f"got {', '.join(names)}"
        )
    charges = cation_charges(names)
    for element, charge in (valences or {}).items():
        if element not in names or not charge > 0:
            raise InputError(
                f"the valence {charge} of {element} must be positive, for one of {', '.join(names)}"
            )
        charges[names.index(element)] = charge
    wanted = np.array([1.0 if e == "O" else 0.0 for e in names])

    def at(thickness: float) -> Composition:
        return quantify(
            spectrum, names, support=support, beam_energy=beam_energy, thickness=thickness,
            density=density, take_off_angle=take_off_angle, detector=detector,
            calibration=calibration, k_factors=k_factors, energy_range=energy_range,
            warn_above=None,
        )  # fmt: skip

    def balance(c: Composition, covariance: np.ndarray) -> Quantity:
        return ratio(c.atomic_fractions, covariance, wanted, charges / 2)

    def excess(thickness: float) -> float:
        c = at(thickness)
        return balance(c, c.atomic_covariance).value - 1

    thin, thick = excess(_THINNEST), excess(_THICKEST)
    if not thin < 0 < thick:
        more = "more O than the charges need even without absorption" if thin >= 0 else (
            f"less O than the charges need even in a film of {_THICKEST:g} nm"
        )  # fmt: skip
        raise InputError(
            f"{spectrum.name or 'the spectrum'} shows {more}: k-factors, valences or the "
            f"elements do not hold"
        )
    found = float(brentq(excess, _THINNEST, _THICKEST, xtol=0.05))
    c = at(found)
    low = max(found - _STEP, _THINNEST)
    slope = (excess(found + _STEP) - excess(low)) / (found + _STEP - low)
    counting = balance(c, c.atomic_covariance).sigma
    systematic = balance(c, c.atomic_systematic).sigma
    return NeutralFilm(
        thickness=Quantity(found, counting / slope),
        systematic=systematic / slope,
        composition=c,
        slope=slope,
    )
