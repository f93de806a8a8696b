"""The composition of a phase from the spectrum of a thin film (Cliff & Lorimer 1975)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from siftem.errors import InputError
from siftem.fit.line_fit import LineFit, fit_lines
from siftem.fit.spectrum_model import Absorption, Calibration
from siftem.quantify.detection_limit import family_limits
from siftem.quantify.film import Film, absorber, checked_angle, checked_film, escaping_shares
from siftem.quantify.k_values import GivenKFactors, KValues, k_values
from siftem.quantify.minerals import (
    ANIONS,
    VALENCES,
    Quantity,
    cation_charges,
    formula_units,
    oxide_name,
    oxides_per_atom,
    parse_ratio,
    ratio,
)
from siftem.quantify.residual_lines import warn_of_unexplained
from siftem.quantify.zeta import ZetaFactors, mass_thickness
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.elements import atomic_weight

__all__ = ["Composition", "Film", "quantify"]

#: Mass attenuation of soft lines differs by this much between tables (relative).
_ATTENUATION_SIGMA = 0.12
#: Rounds of composition and absorption; four digits settle in three.
_ROUNDS = 8


@dataclass(frozen=True, eq=False)
class Composition:
    """Weight fractions with full covariance.

    Values below the critical level are kept as they were fitted; show them as "< LOD".

    Parameters
    ----------
    name : str
        Phase.
    elements : tuple of str
        In the order they were asked for.
    weight_fractions : ndarray of shape (n,)
        Sum to one over the elements, support left out.
    covariance : ndarray of shape (n, n)
        From counting (and from the scale of what was subtracted).
    systematic : ndarray of shape (n, n)
        From k-factors and attenuation, the same for all spectra; apart from ``covariance``.
    critical_levels, detection_limits : ndarray of shape (n,)
        Currie's, as weight fractions.
    families : tuple of str
        Line family by which each element is measured.
    k : KValues
        k-factors, for emitted photons of whole families.
    absorption : ndarray of shape (n,)
        Share of the family's photons that leave the film; ones without a film.
    fit : LineFit
        The fit behind it.
    film : Film or None
        What was assumed for absorption.
    relative_systematic : ndarray of shape (n,)
        Relative standard deviation of each element's amount from its k-factor and
        attenuation, before the sum is set to one; ``systematic`` follows from it.
    mass_thickness : Quantity or None
        kg/m2 with its counting error, from zeta-factors.
    amount_map : ndarray of shape (n, n), optional
        From measured amounts to reported ones: the identity, or with O by stoichiometry.
    """

    name: str
    elements: tuple[str, ...]
    weight_fractions: np.ndarray
    covariance: np.ndarray
    systematic: np.ndarray
    critical_levels: np.ndarray
    detection_limits: np.ndarray
    families: tuple[str, ...]
    k: KValues
    absorption: np.ndarray
    fit: LineFit
    film: Film | None
    relative_systematic: np.ndarray
    mass_thickness: Quantity | None = None
    amount_map: np.ndarray | None = None

    @property
    def sigma(self) -> np.ndarray:
        """Standard deviations of the weight fractions from counting; (n,)."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def systematic_sigma(self) -> np.ndarray:
        """Standard deviations of the weight fractions from k and attenuation; (n,)."""
        return np.sqrt(np.diag(self.systematic))

    @property
    def found(self) -> np.ndarray:
        """Whether each element exceeds its critical level; bool (n,)."""
        return self.weight_fractions > self.critical_levels

    @property
    def atomic_fractions(self) -> np.ndarray:
        """Atomic fractions; (n,), sum to one."""
        atoms = self.weight_fractions / self._weights
        return atoms / atoms.sum()

    @property
    def atomic_covariance(self) -> np.ndarray:
        """Covariance of the atomic fractions from counting; (n, n)."""
        return self._atomic(self.covariance)

    @property
    def atomic_systematic(self) -> np.ndarray:
        """Covariance of the atomic fractions from k and attenuation; (n, n)."""
        return self._atomic(self.systematic)

    def ratio(self, text: str) -> Quantity:
        """Return an atomic ratio such as "(Mg+Fe)/O", with its counting error."""
        top, bottom = parse_ratio(text, self.elements)
        return ratio(self.atomic_fractions, self.atomic_covariance, top, bottom)

    def ratio_systematic(self, text: str) -> float:
        """Return the systematic standard deviation of an atomic ratio."""
        top, bottom = parse_ratio(text, self.elements)
        return ratio(self.atomic_fractions, self.atomic_systematic, top, bottom).sigma

    def oxides(self) -> dict[str, Quantity]:
        """Weight percent of oxides, the sum set to 100, with O by stoichiometry.

        Empty for what is no oxide: no O among the elements, or a metal without a usual charge.
        """
        cations = [e for e in self.elements if e not in ANIONS]
        if not cations or "O" not in self.elements or not set(cations) <= set(VALENCES):
            return {}
        index = [self.elements.index(e) for e in cations]
        atoms = (self.weight_fractions / self._weights)[index]
        per_atom = 1 / self._weights[index]
        covariance = self.covariance[np.ix_(index, index)] * np.outer(per_atom, per_atom)
        molar = oxides_per_atom(cations)
        out = {}
        for i, element in enumerate(cations):
            top = np.zeros(len(cations))
            top[i] = 100 * molar[i]
            out[oxide_name(element)] = ratio(atoms, covariance, top, molar)
        return out

    def formula_units(
        self, oxygens: float, *, by: str = "stoichiometry", systematic: bool = False
    ) -> dict[str, Quantity]:
        """Return the atoms of each element for a number of oxygens.

        Parameters
        ----------
        oxygens : float
            Such as 3 for ABO3 or 1 for (Mg,Fe)O.
        by : {"stoichiometry", "measured"}
            Whether the oxygens are those that the charges of the cations need, or those
            that were measured.
        systematic : bool
            Give the systematic errors (k-factors, attenuation) instead of counting's.

        Returns
        -------
        dict of str to Quantity
            By stoichiometry without the anions.
        """
        covariance = self.atomic_systematic if systematic else self.atomic_covariance
        return formula_units(self.elements, self.atomic_fractions, covariance, oxygens, by=by)

    def with_error(self, element: str) -> Quantity:
        """Return the weight fraction of an element with its counting error."""
        i = self.index(element)
        return Quantity(float(self.weight_fractions[i]), float(self.sigma[i]))

    def index(self, element: str) -> int:
        """Position of an element.

        Raises
        ------
        InputError
            When it was not quantified.
        """
        if element not in self.elements:
            raise InputError(
                f"{element} was not quantified in {self.name!r}; it has {', '.join(self.elements)}"
            )
        return self.elements.index(element)

    @property
    def _weights(self) -> np.ndarray:
        return np.array([atomic_weight(e) for e in self.elements])

    def _atomic(self, covariance: np.ndarray) -> np.ndarray:
        atoms = self.weight_fractions / self._weights
        total = atoms.sum()
        jacobian = (np.diag(1 / self._weights) - np.outer(atoms / total, 1 / self._weights)) / total
        return jacobian @ covariance @ jacobian.T


def quantify(
    spectrum: Spectrum,
    elements: Sequence[str],
    *,
    support: Sequence[str] = (),
    beam_energy: float | None = None,
    thickness: float | None = None,
    density: float | None = None,
    take_off_angle: float | None = None,
    detector: Detector | None = None,
    calibration: Calibration | None = None,
    k_factors: GivenKFactors | None = None,
    energy_range: tuple[float | None, float | None] = (0.25, None),
    n_continuum: int = 3,
    split_l: bool = False,
    oxygen: str = "measured",
    zeta_factors: ZetaFactors | None = None,
    dose: float | None = None,
    warn_above: float | None = 15.0,
) -> Composition:
    """Quantify the spectrum of a phase in a thin film.

    ``C_i = k_i I_i / sum(k I)`` over ``elements``; the ``I`` are photons emitted, from a
    fit of all lines and the continuum at once. With thickness and density, absorption in
    the film is corrected, iterated with the composition.

    Parameters
    ----------
    spectrum : Spectrum
        Pure phase: integrated, or with the matrix subtracted.
    elements : sequence of str
        Elements of the phase.
    support : sequence of str
        Elements of the grid, holder or preparation: fitted, but left out of the sum.
    beam_energy, take_off_angle : float, optional
        keV and degrees; by default those of the acquisition.
    thickness, density : float, optional
        nm and g/cm3; both or none. Density is never guessed.
    detector : Detector, optional
        By default one with the acquisition's resolution.
    calibration : Calibration, optional
        Energy scale; fitted by default.
    k_factors : GivenKFactors, optional
        Override computed ones.
    energy_range : tuple
        Fitted range in keV.
    n_continuum : int
        Terms of the continuum.
    split_l : bool
        Free the L1, L2 and L3 groups; L3 then quantifies.
    oxygen : {"measured", "stoichiometry"}
        Take O from its own line, or as much as the usual charges of the cations need.
    zeta_factors : ZetaFactors, optional
        Instead of k-factors: they also give the mass thickness, and with the take-off angle
        the absorption, so that neither thickness nor density is needed.
    dose : float, optional
        Electrons that hit the pixels of the spectrum; with ``zeta_factors``.
    warn_above : float or None
        Significance from which on lines in the residual that no element explains are told;
        None looks for none.

    Returns
    -------
    Composition

    Raises
    ------
    InputError
        When nothing was asked for, an element is unknown or has no line in the range, the
        beam energy is unknown, or only one of thickness and density is given.

    Warns
    -----
    SiftemWarning
        When the residual shows lines of other elements; the likely ones are named.
    """
    if isinstance(elements, str) or not elements:
        raise InputError("name the elements to quantify, for example elements=['O', 'Mg', 'Si']")
    acquisition = spectrum.acquisition
    energy = beam_energy or acquisition.beam_energy
    if energy is None:
        raise InputError("the beam energy is not known: give beam_energy in keV")
    angle = take_off_angle or acquisition.take_off_angle
    film = checked_film(thickness, density, angle)
    if zeta_factors is not None:
        if film is not None or k_factors is not None:
            raise InputError(
                "zeta_factors replace thickness, density and k_factors: give only the dose"
            )
        if dose is None or not 0 < dose < np.inf:
            raise InputError(
                f"zeta_factors need the dose, the number of electrons that hit the region "
                f"(current x live time / 1.602e-19 C), got {dose}"
            )
        k_factors = zeta_factors.as_k_factors()
    if oxygen not in ("measured", "stoichiometry"):
        raise InputError(f"oxygen must be 'measured' or 'stoichiometry', got {oxygen!r}")
    detector = detector or Detector(resolution=acquisition.resolution or 130.0)
    wanted = tuple(dict.fromkeys(elements))
    amount_map = _amount_map(wanted, oxygen)
    absorption: Absorption | None = None
    fractions = np.zeros(0)
    areal: Quantity | None = None
    given = calibration
    for turn in range(_ROUNDS):
        fit = fit_lines(
            spectrum,
            wanted,
            support=[e for e in support if e not in wanted],
            beam_energy=energy,
            detector=detector,
            absorption=absorption,
            calibration=calibration,
            energy_range=energy_range,
            n_continuum=n_continuum,
            split_l=split_l,
        )
        # The energy scale is fitted twice, the second time with an absorption that is about
        # right: without it, scale and charge collection would make up for it.
        calibration = fit.calibration if turn > 0 or film is None else given
        index = [fit.index(e) for e in wanted]
        k = k_values([fit.model.families[i] for i in index], energy, detector, k_factors)
        amounts = amount_map @ (k.values * fit.amplitudes[index])
        if not amounts.sum() > 0:
            raise InputError(
                f"none of the elements {', '.join(wanted)} was found in {spectrum.name!r}"
            )
        new = amounts / amounts.sum()
        if zeta_factors is not None and dose is not None:
            areal = mass_thickness(zeta_factors, fit, index, k, amount_map, detector, dose)
            film = Film(areal.value * 1e6, 1.0, checked_angle(angle))
        settled = fractions.size and np.abs(new - fractions).max() < 1e-5
        fractions = new
        if film is None or settled:
            break
        absorption = absorber(dict(zip(wanted, fractions, strict=True)), film)
    if warn_above is not None:
        warn_of_unexplained(fit, spectrum.name, warn_above)
    total = amounts.sum()
    # dC/dI of C = M k I / sum(M k I), M being the map of amounts.
    closed = (np.eye(len(wanted)) - fractions[:, None]) @ amount_map
    jacobian = closed * k.values / total
    covariance = jacobian @ fit.covariance[np.ix_(index, index)] @ jacobian.T
    shares = escaping_shares(fit, index, absorption)
    relative = np.hypot(k.relative_sigma, _ATTENUATION_SIGMA * (1 - shares))
    by_factor = closed * (k.values * fit.amplitudes[index] / total)
    systematic = (by_factor * relative**2) @ by_factor.T
    limits = [family_limits(fit, i) for i in index]
    scale = k.values / total
    if oxygen == "stoichiometry":
        scale = np.where(np.array(wanted) == "O", 0.0, scale)
    families = [fit.names[i] for i in index]
    if oxygen == "stoichiometry":
        families[wanted.index("O")] = "O by stoichiometry"
    return Composition(
        name=spectrum.name,
        elements=wanted,
        weight_fractions=fractions,
        covariance=covariance,
        systematic=systematic,
        critical_levels=scale * np.array([limit.critical for limit in limits]),
        detection_limits=scale * np.array([limit.detection for limit in limits]),
        families=tuple(families),
        k=k,
        absorption=shares,
        fit=fit,
        film=film,
        relative_systematic=relative,
        mass_thickness=areal,
        amount_map=amount_map,
    )


def _amount_map(elements: tuple[str, ...], oxygen: str) -> np.ndarray:
    """From measured amounts by weight to reported ones; (n, n)."""
    out = np.eye(len(elements))
    if oxygen == "stoichiometry":
        if "O" not in elements:
            raise InputError("oxygen by stoichiometry needs O among the elements")
        charges = cation_charges(elements)
        weights = np.array([atomic_weight(e) for e in elements])
        out[elements.index("O")] = charges / 2 * atomic_weight("O") / weights
    return out
