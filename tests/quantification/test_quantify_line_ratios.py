"""Bulk specimens: no composition by k-factors, but ratios of net lines."""

from dataclasses import replace

import numpy as np
import pytest

import siftem
from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.fit.line_fit import fit_lines
from siftem.quantification.line_ratios import line_ratios
from siftem.spectrum import Spectrum
from siftem.xray.continuum import continuum_terms
from siftem.xray.detector import Detector
from siftem.xray.lines import line_families
from siftem.xray.profiles import family_profile

AXIS = EnergyAxis(0.0, 0.01, 1000, "keV")
SEM = Acquisition(beam_energy=20.0, resolution=130.0, bulk=True)


def expected(counts):
    """Families of given detected counts on a physical continuum."""
    energy = np.maximum(AXIS.centers, 0.05)
    (smooth,) = continuum_terms(energy, 20.0, n_terms=1)
    out = 60 * smooth / smooth[300] * Detector(resolution=130.0).efficiency(energy)
    out[AXIS.centers < 0.1] = 0
    for element, number in counts.items():
        (family,) = [
            f for f in line_families([element], beam_energy=20.0, low=0.3, high=9.9)
            if f.shell == "K"
        ]  # fmt: skip
        profile = family_profile(family, AXIS, Detector(resolution=130.0))
        out += number * profile / profile.sum()
    return out


@pytest.mark.parametrize("draws", [14, pytest.param(40, marks=pytest.mark.slow)])
def test_ratios_of_net_lines_and_their_errors(draws):
    rng = np.random.default_rng(0)
    truth = expected({"Si": 40000, "Fe": 8000, "Ca": 1000})
    z = []
    for _ in range(draws):
        spectrum = Spectrum(rng.poisson(truth).astype(float), AXIS, acquisition=SEM, name="clay")
        found = line_ratios(spectrum, ["Si", "Fe", "Ca"])
        z.append((found["Ca"] - 1000 / 40000) / found.sigma[2])
        assert found.reference == "Si"
        assert found["Si"] == 1.0
        assert found.sigma[0] == pytest.approx(0, abs=1e-9)
    assert abs(np.mean(z)) < 0.5
    assert 0.75 < np.std(z) < 1.3
    assert found["Fe"] == pytest.approx(0.2, rel=0.05)
    assert found.describe().startswith("net lines relative to Si K: Fe K 0.")


def test_net_counts_are_those_of_the_fit():
    spectrum = Spectrum(expected({"Si": 40000, "Fe": 8000}), AXIS, acquisition=SEM)
    found = line_ratios(spectrum, ["Fe", "Si"], reference="Fe")
    fit = fit_lines(spectrum, ["Fe", "Si"], beam_energy=20.0, detector=Detector(resolution=130.0))
    i = fit.index("Si")
    assert found.counts[1] == pytest.approx(fit.amplitudes[i] * fit.design[:, i].sum(), rel=1e-3)


def test_compositions_of_bulk_specimens_are_refused_and_ratios_offered():
    spectrum = Spectrum(expected({"Si": 40000, "Fe": 8000}), AXIS, acquisition=SEM, name="clay")
    with pytest.raises(siftem.InputError, match=r"clay is of a bulk specimen.*line_ratios"):
        siftem.quantify(spectrum, ["Si", "Fe"])
    film = replace(spectrum, acquisition=replace(SEM, bulk=False))
    assert siftem.quantify(film, ["Si", "Fe"], warn_above=None).elements == ("Si", "Fe")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: line_ratios(s, ["Si"]), "two elements"),
        (lambda s: line_ratios(s, "SiFe"), "list of symbols"),
        (lambda s: line_ratios(s, ["Si", "Fe"], reference="Mg"), "not among"),
        (lambda s: line_ratios(s, ["Si", "Ti"], reference="Ti"), "not found"),
        (lambda s: line_ratios(replace(s, acquisition=Acquisition()), ["Si", "Fe"]), "beam energy"),
    ],
)
def test_wrong_use_is_told(call, message):
    spectrum = Spectrum(expected({"Si": 40000, "Fe": 8000}), AXIS, acquisition=SEM)
    with pytest.raises(siftem.InputError, match=message):
        call(spectrum)
