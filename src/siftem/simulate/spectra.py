"""Expected spectra of phases in a thin film, and the phases of the model case.

That is a doped pyrolite glass crystallised in the deep mantle. Weight fractions .817 / .116 / .068
of bridgmanite, ferropericlase and Ca-perovskite give pyrolite with 0.300 wt% of each dopant. Which
phase takes up which dopant follows Kato et al. 1988 (Earth Planet. Sci. Lett. 89, 123) and Corgne
et al. 2005 (Geochim. Cosmochim. Acta 69, 485); the amounts are this project's choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.xray.absorption import SOFTEST, thin_film_absorption
from siftem.xray.continuum import continuum_terms
from siftem.xray.detector import Detector
from siftem.xray.elements import atomic_number, atomic_weight
from siftem.xray.lines import family_emission, line_families
from siftem.xray.profiles import family_profile


@dataclass(frozen=True)
class PhaseModel:
    """A phase to simulate.

    Parameters
    ----------
    name : str
    weight_fractions : mapping of str to float
        Normalised to one.
    density : float
        g/cm3.
    form : {"matrix", "block", "needle"}
        The matrix fills what the grains leave.
    coverage : float
        Least share of the map that its grains cover; not used for the matrix.
    """

    name: str
    weight_fractions: Mapping[str, float]
    density: float
    form: str = "block"
    coverage: float = 0.2

    def __post_init__(self) -> None:
        for element, value in self.weight_fractions.items():
            atomic_number(element)
            if not (np.isfinite(value) and value >= 0):
                raise InputError(
                    f"the weight of {element} in {self.name} must be >= 0, got {value}"
                )
        total = float(sum(self.weight_fractions.values()))
        if total <= 0:
            raise InputError(f"phase {self.name} holds no element")
        if self.form not in ("matrix", "block", "needle"):
            raise InputError(
                f"the form of {self.name} must be matrix, block or needle, got {self.form!r}"
            )
        if not self.density > 0:
            raise InputError(f"the density of {self.name} must be positive, got {self.density}")
        normalised = {e: float(w) / total for e, w in self.weight_fractions.items()}
        object.__setattr__(self, "weight_fractions", MappingProxyType(normalised))

    def varied(self, rng: np.random.Generator, spread: float) -> PhaseModel:
        """Return the phase with each weight fraction changed by a random relative spread."""
        factors = np.exp(rng.normal(0, spread, len(self.weight_fractions)))
        changed = {
            e: w * f for (e, w), f in zip(self.weight_fractions.items(), factors, strict=True)
        }
        return replace(self, weight_fractions=changed)


MODEL_CASE = (
    PhaseModel(
        "Brg",
        {"O": 46.07, "Mg": 20.54, "Al": 2.57, "Si": 24.92, "Ca": 0.38, "Fe": 4.53, "Nd": 0.105,
         "Sm": 0.138, "Hf": 0.349, "Lu": 0.314, "U": 0.085},
        4.25,
        "matrix",
    ),
    PhaseModel(
        "Fp",
        {"O": 34.82, "Mg": 43.03, "Al": 0.29, "Fe": 21.83, "Nd": 0.002, "Sm": 0.003, "Hf": 0.010,
         "Lu": 0.006, "U": 0.004},
        4.1,
        "block",
        0.24,
    ),
    PhaseModel(
        "Ca-Pv",
        {"O": 37.32, "Mg": 0.58, "Al": 0.64, "Si": 21.52, "Ca": 29.12, "Fe": 0.66, "Nd": 3.16,
         "Sm": 2.77, "Hf": 0.209, "Lu": 0.629, "U": 3.41},
        4.4,
        "needle",
        0.10,
    ),
)  # fmt: skip


#: Shares of the continuum's terms: what the spectrum of bridgmanite at 200 keV looks like.
_CONTINUUM = np.array([0.95, 0.05])

#: keV: softer pulses are not told from noise, and not registered.
_DISCRIMINATOR = 0.115


@dataclass(frozen=True)
class Microscope:
    """Conditions of a simulated map.

    Parameters
    ----------
    beam_energy : float
        keV.
    take_off_angle : float
        Degrees.
    thickness : float
        nm.
    detector : Detector
    support : mapping of str to float
        Elements of the grid: weight in percent of the film's, as stray radiation.
    continuum : float
        Continuum photons per keV at 5 keV for each photon of Si K of a film of pure Si; it
        sets the peak-to-background ratio.
    """

    beam_energy: float = 200.0
    take_off_angle: float = 22.0
    thickness: float = 100.0
    detector: Detector = field(default_factory=lambda: Detector(collection_depth=80.0))
    support: Mapping[str, float] = field(default_factory=lambda: {"Cu": 0.8})
    continuum: float = 0.009


def phase_spectrum(phase: PhaseModel, axis: EnergyAxis, microscope: Microscope) -> np.ndarray:
    """Return the expected counts of a phase that fills the whole film, on a common scale.

    Lines: ``density C / A`` times emission, profile, efficiency and absorption by the phase
    itself. Continuum: as mass thickness times the mean of Z, with the same efficiency and
    absorption.

    Parameters
    ----------
    phase : PhaseModel
    axis : EnergyAxis
    microscope : Microscope

    Returns
    -------
    ndarray of shape (channels,)
        Relative counts; the ratio of two phases' sums is that of their brightness.
    """
    beam = microscope.beam_energy
    weights = dict(phase.weight_fractions)

    def absorption(energy: np.ndarray) -> np.ndarray:
        return thin_film_absorption(
            weights,
            np.maximum(energy, 1e-3),
            thickness=microscope.thickness,
            density=phase.density,
            take_off_angle=microscope.take_off_angle,
        )

    kev = axis.to_kev()
    reference = sum(
        family_emission(f, beam) for f in line_families(["Si"], beam_energy=beam, low=1.0, high=3.0)
    ) / atomic_weight("Si")
    out = np.zeros(axis.size)
    stray = {e: w / 100 for e, w in microscope.support.items()}
    for element, weight in (*weights.items(), *stray.items()):
        for family in line_families([element], beam_energy=beam, low=0.05, high=kev.last):
            atoms = weight / atomic_weight(element)
            strength = phase.density * atoms * family_emission(family, beam) / reference
            profile = family_profile(family, axis, microscope.detector, absorption=absorption)
            out += strength * profile
    energies = kev.centers
    smooth = _CONTINUUM @ continuum_terms(energies, beam, n_terms=_CONTINUUM.size)
    at_five = _CONTINUUM @ continuum_terms(np.array([5.0]), beam, n_terms=_CONTINUUM.size)
    mean_z = sum(w * atomic_number(e) for e, w in weights.items())
    level = microscope.continuum * phase.density * mean_z / atomic_number("Si") / at_five[0]
    positive = np.maximum(energies, 1e-3)
    seen = microscope.detector.efficiency(positive) * absorption(positive)
    # Softer photons than the attenuation tables know don't get through a window.
    seen[energies < SOFTEST] = 0.0
    out += level * smooth * seen * kev.scale
    out[energies < _DISCRIMINATOR] = 0.0
    return out
