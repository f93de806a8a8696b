"""Expected spectra of thin films whose composition is known."""

from __future__ import annotations

import numpy as np
import pytest

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.quantification.film import AbsorbingFilm, Film
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.elements import atomic_weight
from siftem.xray.lines import family_emission, line_families

#: A garnet-like glass, by weight.
GLASS = {"O": 0.44, "Mg": 0.15, "Al": 0.06, "Si": 0.22, "Ca": 0.08, "Fe": 0.04, "Nd": 0.01}


class FilmMaker:
    """Spectra of thin films."""

    axis = EnergyAxis(0.2, 0.01, 1000)
    calibration = Calibration()
    glass = GLASS

    def expected(
        self, weights: dict[str, float], counts: float, film: Film | None = None,
        detector: Detector | None = None, photons_per_mass: float | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Counts in each channel: ``counts`` in all, or photons for each kg/m2 of the film."""
        families = line_families(weights, beam_energy=200.0, low=0.2, high=10.2)
        escape = None if film is None else AbsorbingFilm(weights, film)
        model = SpectrumModel(tuple(families), 200.0, detector or Detector(), absorption=escape)
        photons = np.array(
            [weights[f.element] / atomic_weight(f.element) * family_emission(f, 200.0)
             for f in families]
        )  # fmt: skip
        lines = model.line_columns(self.axis, self.calibration) @ photons
        continuum = model.continuum_columns(self.axis, self.calibration) @ [1.0, 0.1, 0.02]
        if photons_per_mass is not None:
            assert film is not None
            lines = lines / photons.sum() * photons_per_mass * film.mass_thickness
            return lines + 0.2 * lines.sum() * continuum / continuum.sum()
        return counts * (0.85 * lines / lines.sum() + 0.15 * continuum / continuum.sum())

    def spectrum(self, mean: np.ndarray, name: str = "", seed: int | None = None) -> Spectrum:
        values = mean if seed is None else np.random.default_rng(seed).poisson(mean)
        return Spectrum(values, self.axis, name=name, acquisition=Acquisition(200.0, 22.0, 130.0))


@pytest.fixture(scope="session")
def maker() -> FilmMaker:
    return FilmMaker()
