"""The composition of a phase from the spectrum of a thin film (Cliff & Lorimer 1975)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from siftem.errors import InputError
from siftem.fit.line_fit import LineFit, fit_lines
from siftem.fit.spectrum_model import Absorption, Calibration
from siftem.quantify.detection_limit import family_limits
from siftem.quantify.k_values import GivenKFactors, KValues, k_values
from siftem.quantify.minerals import Quantity, oxide_name, oxides_per_atom, parse_ratio, ratio
from siftem.spectrum import Spectrum
from siftem.xray.absorption import thin_film_absorption
from siftem.xray.detector import Detector
from siftem.xray.elements import atomic_weight

#: Mass attenuation of soft lines differs by this much between tables (relative).
_ATTENUATION_SIGMA = 0.12


@dataclass(frozen=True)
class Film:
    """Thickness and density, for the absorption in the film itself.

    Parameters
    ----------
    thickness : float
        nm, along the beam.
    density : float
        g/cm3 of this phase.
    take_off_angle : float
        Degrees between the film and the detector.
    """

    thickness: float
    density: float
    take_off_angle: float


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
        """Weight percent of oxides, the sum set to 100, with O by stoichiometry."""
        cations = [e for e in self.elements if e not in ("O", "C", "N", "F", "Cl")]
        if not cations:
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

    Returns
    -------
    Composition

    Raises
    ------
    InputError
        When nothing was asked for, an element is unknown or has no line in the range, the
        beam energy is unknown, or only one of thickness and density is given.
    """
    if isinstance(elements, str) or not elements:
        raise InputError("name the elements to quantify, for example elements=['O', 'Mg', 'Si']")
    acquisition = spectrum.acquisition
    energy = beam_energy or acquisition.beam_energy
    if energy is None:
        raise InputError("the beam energy is not known: give beam_energy in keV")
    film = _film(thickness, density, take_off_angle or acquisition.take_off_angle)
    detector = detector or Detector(resolution=acquisition.resolution or 130.0)
    wanted = tuple(dict.fromkeys(elements))
    absorption: Absorption | None = None
    fractions = np.zeros(0)
    for _ in range(6 if film else 1):
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
        calibration = fit.calibration
        index = [fit.index(e) for e in wanted]
        k = k_values([fit.model.families[i] for i in index], energy, detector, k_factors)
        amounts = k.values * fit.amplitudes[index]
        if not amounts.sum() > 0:
            raise InputError(
                f"none of the elements {', '.join(wanted)} was found in {spectrum.name!r}"
            )
        new = amounts / amounts.sum()
        settled = fractions.size and np.abs(new - fractions).max() < 1e-5
        fractions = new
        if film is None or settled:
            break
        absorption = _absorber(dict(zip(wanted, fractions, strict=True)), film)
    total = amounts.sum()
    # dC/dI of C = k I / sum(k I)
    jacobian = (np.eye(len(wanted)) - fractions[:, None]) * k.values / total
    covariance = jacobian @ fit.covariance[np.ix_(index, index)] @ jacobian.T
    shares = _escaped(fit, index, absorption)
    relative = np.hypot(k.relative_sigma, _ATTENUATION_SIGMA * (1 - shares))
    by_factor = (np.eye(len(wanted)) - fractions[:, None]) * fractions
    systematic = (by_factor * relative**2) @ by_factor.T
    limits = [family_limits(fit, i) for i in index]
    scale = k.values / total
    return Composition(
        name=spectrum.name,
        elements=wanted,
        weight_fractions=fractions,
        covariance=covariance,
        systematic=systematic,
        critical_levels=scale * np.array([limit.critical for limit in limits]),
        detection_limits=scale * np.array([limit.detection for limit in limits]),
        families=tuple(fit.names[i] for i in index),
        k=k,
        absorption=shares,
        fit=fit,
        film=film,
    )


def _film(
    thickness: float | None, density: float | None, take_off_angle: float | None
) -> Film | None:
    if thickness is None and density is None:
        return None
    if thickness is None or density is None:
        raise InputError(
            "absorption needs both thickness (nm) and density (g/cm3): give both or none"
        )
    if take_off_angle is None:
        raise InputError("absorption needs the take-off angle: give take_off_angle in degrees")
    if not (thickness > 0 and density > 0 and 0 < take_off_angle <= 90):
        raise InputError(
            f"thickness, density and take-off angle must be positive, got {thickness} nm, "
            f"{density} g/cm3, {take_off_angle} degrees"
        )
    return Film(thickness, density, take_off_angle)


def _absorber(fractions: dict[str, float], film: Film) -> Absorption:
    def absorbed(energy: np.ndarray) -> np.ndarray:
        return thin_film_absorption(
            fractions,
            energy,
            thickness=film.thickness,
            density=film.density,
            take_off_angle=film.take_off_angle,
        )

    return absorbed


def _escaped(fit: LineFit, index: list[int], absorption: Absorption | None) -> np.ndarray:
    """Share of each family's photons that leave the film; (n,)."""
    if absorption is None:
        return np.ones(len(index))
    families = [fit.model.families[i] for i in index]
    return np.array([float(f.weights @ absorption(f.energies)) for f in families])

