"""Expected spectra of phases in a thin film."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from siftem.energy_axis import EnergyAxis
from siftem.simulate.phases import PhaseModel
from siftem.xray.absorption import SOFTEST, thin_film_absorption
from siftem.xray.continuum import continuum_terms
from siftem.xray.detector import Detector
from siftem.xray.elements import atomic_number, atomic_weight
from siftem.xray.lines import family_emission, line_families
from siftem.xray.profiles import family_profile

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
