"""Errors of ratios of lines, on the way to compositions and partition coefficients."""

from dataclasses import replace

import numpy as np
import pytest

import siftem
from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.quantification.k_values import GivenKFactors
from siftem.quantification.partition import partition_coefficient
from siftem.spectrum import Spectrum
from siftem.xray.lines import line_families

ELEMENTS = ["O", "Si", "W"]


@pytest.fixture(scope="module")
def silicide():
    axis = EnergyAxis(0.0, 0.01, 1200, "keV")
    families = tuple(line_families(ELEMENTS, beam_energy=200.0, low=0.2, high=12.0))
    m = SpectrumModel(families, 200.0)
    photons = {"O K": 1e4, "Si K": 2e4, "W L": 2e4, "W M": 4e4}
    at = Calibration()
    mean = m.line_columns(axis, at) @ [photons[f.name] for f in families]
    mean += m.continuum_columns(axis, at) @ [2e3, 2e2, 2e1]
    # So few that they hardly tell the ratios.
    counts = np.random.default_rng(5).poisson(0.01 * mean).astype(float)
    spectrum = Spectrum(counts, axis, acquisition=Acquisition(beam_energy=200.0))
    return siftem.quantify(
        spectrum,
        ELEMENTS,
        k_factors=GivenKFactors(dict.fromkeys(ELEMENTS, 1.0)),
        calibration=at,
        thickness=0.0,
    )


@pytest.mark.filterwarnings("ignore::siftem.SiftemWarning")
def test_ratios_are_systematic_errors_of_the_composition(silicide):
    c = silicide
    # k-factors given as exact and no film: nothing else is systematic.
    assert c.relative_systematic == pytest.approx(0.0)
    assert c.systematic == pytest.approx(c.by_ratios, rel=1e-6, abs=1e-12)
    i = c.index("Si")
    assert np.sqrt(c.by_ratios[i, i]) > 0.2 * c.sigma[i]
    # Counting, model and ratios are told apart, and nothing is lost or told twice.
    index = list(c.columns)
    per_photon = c.k.values / (c.k.values @ c.fit.amplitudes[index])
    jacobian = (np.eye(3) - c.weight_fractions[:, None]) * per_photon
    whole = jacobian @ c.fit.covariance[np.ix_(index, index)] @ jacobian.T
    assert c.covariance + c.systematic == pytest.approx(whole, rel=1e-6)


def test_ratios_do_not_cancel_in_partition_coefficients(silicide):
    other = replace(silicide, name="other")
    d = partition_coefficient(silicide, other, "Si")
    exact = partition_coefficient(
        replace(silicide, by_ratios=None), replace(other, by_ratios=None), "Si"
    )
    i = silicide.index("Si")
    relative = silicide.by_ratios[i, i] / silicide.weight_fractions[i] ** 2
    assert exact.systematic == pytest.approx(0.0, abs=1e-9)
    assert d.systematic == pytest.approx(d.value * np.sqrt(2 * relative))
    assert d.interval_95[0] < exact.interval_95[0] < exact.interval_95[1] < d.interval_95[1]


def test_intervals_hold_the_errors_of_ratios(silicide):
    i = silicide.index("Si")
    variance = silicide.covariance[i, i] + silicide.by_ratios[i, i]
    assert variance > 1.02 * silicide.covariance[i, i]
    width = np.diff(silicide.weight_interval_95)[i]
    assert width == pytest.approx(2 * 1.959964 * np.sqrt(variance), rel=0.002)
