"""The zeta-factor method, and k- and zeta-factors from standards of known composition.

Absolute intensities give composition and mass thickness together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from siftem.errors import InputError
from siftem.fit.element_search import warn_of_structure
from siftem.fit.line_fit import LineFit, LineFitter
from siftem.fit.spectrum_model import Absorption, Calibration
from siftem.quantification.film import AbsorbingFilm, checked_film, lost_by_absorber
from siftem.quantification.k_values import GivenKFactors, KValues, factor_line
from siftem.quantification.minerals import Quantity
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector

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
    absorbed : mapping of str to (mapping of str to float)
        As in `GivenKFactors`.

    References
    ----------
    Watanabe & Williams 2006, J. Microsc. 221, 89.

    Examples
    --------
    >>> zeta = siftem.ZetaFactors({"Si": 700.0, "Fe": 950.0}, relative_sigma={"Fe": 0.02})
    >>> zeta.line, zeta.detector
    ('alpha', 'included')
    >>> zeta.as_k_factors().reference
    'Si'
    """

    values: Mapping[str, float]
    line: str = "alpha"
    detector: str = "included"
    relative_sigma: Mapping[str, float] = field(default_factory=dict)
    reference: str = ""
    shells: Mapping[str, str] = field(default_factory=dict)
    absorbed: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

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
            absorbed=self.absorbed,
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


#: A line of a standard must exceed its noise this much to calibrate anything.
_CLEAR = 5.0


def calibrate_k_factors(
    standard: Spectrum,
    weight_fractions: Mapping[str, float],
    *,
    reference: str | None = None,
    relative_sigma: Mapping[str, float] | float = 0.0,
    support: Sequence[str] = (),
    beam_energy: float | None = None,
    thickness: float | None = None,
    density: float | None = None,
    take_off_angle: float | None = None,
    detector: Detector | None = None,
    calibration: Calibration | None = None,
    energy_range: tuple[float | None, float | None] = (0.25, None),
    n_continuum: int | None = None,
) -> GivenKFactors:
    """Return k-factors from a standard's spectrum and its known composition.

    ``k_i = (C_i / I_i) (I_ref / C_ref)`` for emitted photons of whole families, fitted and
    corrected for absorption just as :func:`siftem.quantify` does, so that errors of the
    detector's efficiency and of the cross-sections cancel when the results are used there
    with the same detector.

    Parameters
    ----------
    standard : Spectrum
    weight_fractions : mapping of str to float
        Element -> share by weight, in any common unit.
    reference : str, optional
        Element with k = 1; Si if it is among them, else the first.
    relative_sigma : mapping or float
        Relative standard deviation of the known composition, of each element or of all.
    support, beam_energy, thickness, density, take_off_angle, detector, calibration, \
energy_range, n_continuum
        As for :func:`siftem.quantify`.

    Returns
    -------
    GivenKFactors
        For families, detector apart. ``relative_sigma`` holds for each element what follows
        from its own counting error and from the composition's.

    Raises
    ------
    InputError
        When an element of the standard has no clear line in the spectrum.
    """
    fit, index, fractions = _fitted_standard(
        standard, weight_fractions, (thickness, density, take_off_angle), support,
        beam_energy=beam_energy, detector=detector, calibration=calibration,
        energy_range=energy_range, n_continuum=n_continuum,
    )  # fmt: skip
    elements = list(fractions)
    tie = reference or ("Si" if "Si" in fractions else elements[0])
    if tie not in fractions:
        raise InputError(
            f"the reference {tie} must be an element of the standard, {', '.join(elements)}"
        )
    photons = fit.amplitudes[index]
    k = np.array(list(fractions.values())) / photons
    k /= k[elements.index(tie)]
    return GivenKFactors(
        values=dict(zip(elements, k.tolist(), strict=True)),
        line="family",
        detector="apart",
        relative_sigma=_relative(fit, index, elements, relative_sigma),
        reference=tie,
        shells=_shells(fit, index),
        absorbed=_absorbed(fit, index),
    )


def calibrate_zeta_factors(
    standard: Spectrum,
    weight_fractions: Mapping[str, float],
    *,
    dose: float,
    thickness: float,
    density: float,
    relative_sigma: Mapping[str, float] | float = 0.0,
    support: Sequence[str] = (),
    beam_energy: float | None = None,
    take_off_angle: float | None = None,
    detector: Detector | None = None,
    calibration: Calibration | None = None,
    energy_range: tuple[float | None, float | None] = (0.25, None),
    n_continuum: int | None = None,
) -> ZetaFactors:
    """Return zeta-factors from a standard of known composition and mass thickness.

    ``zeta_i = rho t C_i D / I_i`` for emitted photons of whole families (Watanabe & Williams
    2006, J. Microsc. 221, 89).

    Parameters
    ----------
    standard : Spectrum
    weight_fractions : mapping of str to float
        Element -> share by weight, in any common unit.
    dose : float
        Electrons that hit the pixels of the spectrum.
    thickness, density : float
        nm and g/cm3.
    relative_sigma : mapping or float
        Relative standard deviation of what is known: composition and mass thickness.
    support, beam_energy, take_off_angle, detector, calibration, energy_range, n_continuum
        As for :func:`siftem.quantify`.

    Returns
    -------
    ZetaFactors
        kg electron / (m2 photon), for families, detector apart.
    """
    if not 0 < dose < np.inf:
        raise InputError(f"dose must be a positive number of electrons, got {dose}")
    fit, index, fractions = _fitted_standard(
        standard, weight_fractions, (thickness, density, take_off_angle), support,
        beam_energy=beam_energy, detector=detector, calibration=calibration,
        energy_range=energy_range, n_continuum=n_continuum,
    )  # fmt: skip
    elements = list(fractions)
    film = checked_film(thickness, density, 90.0)
    assert film is not None
    zeta = film.mass_thickness * np.array(list(fractions.values())) * dose / fit.amplitudes[index]
    return ZetaFactors(
        values=dict(zip(elements, zeta.tolist(), strict=True)),
        line="family",
        detector="apart",
        relative_sigma=_relative(fit, index, elements, relative_sigma),
        shells=_shells(fit, index),
        absorbed=_absorbed(fit, index),
    )


def _shells(fit: LineFit, index: list[int]) -> dict[str, str]:
    families = [fit.model.families[i] for i in index]
    return {f.element: f.shell for f in families}


def _absorbed(fit: LineFit, index: list[int]) -> dict[str, dict[str, float]]:
    lost = lost_by_absorber(fit, index, fit.model.absorption)
    return {fit.model.families[i].element: of for i, of in zip(index, lost, strict=True)}


def _relative(
    fit: LineFit, index: list[int], elements: list[str], known: Mapping[str, float] | float
) -> dict[str, float]:
    counting = np.sqrt(np.diag(fit.covariance)[index]) / fit.amplitudes[index]
    own = [known.get(e, 0.0) if isinstance(known, Mapping) else known for e in elements]
    return dict(zip(elements, np.hypot(counting, own).tolist(), strict=True))


def _fitted_standard(
    standard: Spectrum,
    weight_fractions: Mapping[str, float],
    film_and_angle: tuple[float | None, float | None, float | None],
    support: Sequence[str],
    **settings: Any,
) -> tuple[LineFit, list[int], dict[str, float]]:
    fitter = LineFitter.of(standard.acquisition, weight_fractions, support, **settings)
    thickness, density, angle = film_and_angle
    total = sum(weight_fractions.values())
    bad = [e for e, c in weight_fractions.items() if not (np.isfinite(c) and c > 0)]
    if bad or not weight_fractions:
        raise InputError(
            f"a standard's weight fractions must be positive numbers, "
            f"got {weight_fractions[bad[0]] if bad else 'none'}"
        )
    fractions = {e: c / total for e, c in weight_fractions.items()}
    film = checked_film(thickness, density, angle or standard.acquisition.take_off_angle)
    absorption: Absorption | None = None if film is None else AbsorbingFilm(fractions, film)
    fit = replace(fitter, absorption=absorption).fit(standard)
    warn_of_structure(fit, stacklevel=4)
    index = [fit.index(e) for e in fractions]
    for element, i in zip(fractions, index, strict=True):
        if fit.amplitudes[i] < _CLEAR * fit.sigma_at_zero(i):
            raise InputError(
                f"the standard {standard.name!r} shows no clear {fit.names[i]} line: "
                f"its k-factor can't be calibrated with it; leave {element} out"
            )
    return fit, index, fractions
