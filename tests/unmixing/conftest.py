"""Phases whose emitted photons are known, and their expected spectra."""

from __future__ import annotations

import numpy as np
import pytest

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.fit.spectrum_model import Absorption, Calibration, SpectrumModel
from siftem.spectrum import Spectrum
from siftem.xray.elements import atomic_weight
from siftem.xray.k_factors import emission
from siftem.xray.lines import family_emission, line_families

AXIS = EnergyAxis(0.2, 0.01, 800)
ELEMENTS = ("O", "Mg", "Al", "Si", "Ca", "Fe")
ON = Calibration()
#: Weight fractions of the model case's phases, without the dopants.
PHASES = {
    "Brg": {"O": 0.466, "Mg": 0.207, "Al": 0.026, "Si": 0.252, "Ca": 0.004, "Fe": 0.045},
    "Fp": {"O": 0.348, "Mg": 0.430, "Al": 0.003, "Fe": 0.219},
    "Ca-Pv": {"O": 0.42, "Al": 0.006, "Si": 0.242, "Ca": 0.332},
}


class PhaseBook:
    """Expected and counted spectra of phases."""

    axis = AXIS
    elements = ELEMENTS
    calibration = ON
    phases = PHASES

    def expected(
        self, weights: dict[str, float], counts: float, absorption: Absorption | None = None
    ) -> np.ndarray:
        """Counts in each channel, ``counts`` in all, of these weight fractions."""
        families = line_families(ELEMENTS, beam_energy=200.0, low=0.2, high=8.2)
        model = SpectrumModel(tuple(families), 200.0, absorption=absorption)
        photons = [
            weights.get(f.element, 0.0) / atomic_weight(f.element)
            * family_emission(f, 200.0) / emission("Si", "K", 200.0)
            for f in families
        ]  # fmt: skip
        lines = model.line_columns(AXIS, ON) @ photons
        continuum = model.continuum_columns(AXIS, ON) @ [1.0, 0.1, 0.02]
        mean = lines / lines.sum() * 0.85 + continuum / continuum.sum() * 0.15
        return counts * mean

    def spectrum(self, mean: np.ndarray, name: str = "", seed: int | None = None) -> Spectrum:
        """Spectrum of expected counts, or of counts drawn around them."""
        values = mean if seed is None else np.random.default_rng(seed).poisson(mean)
        return Spectrum(values, AXIS, name=name, acquisition=Acquisition(200.0, 22.0, 130.0))

    def pure(self, name: str, counts: float) -> np.ndarray:
        """Return the expected counts of one of the phases."""
        return self.expected(PHASES[name], counts)


@pytest.fixture(scope="session")
def book() -> PhaseBook:
    return PhaseBook()
