"""Bulk specimens: no composition by k-factors, but ratios of net lines."""

from dataclasses import replace

import numpy as np
import pytest

import siftem
from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.fit.line_fit import fit_lines
from siftem.quantification.line_ratios import line_ratios, with_one_reference
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


def ratios_of(name, counts):
    spectrum = Spectrum(expected(counts), AXIS, acquisition=SEM, name=name)
    return line_ratios(spectrum, ["Si", "Fe", "Ca"], warn_above=None)


def test_ratios_to_another_reference_are_those_of_asking_for_it():
    counts = {"Si": 40000, "Fe": 8000, "Ca": 1000}
    spectrum = Spectrum(expected(counts), AXIS, acquisition=SEM, name="clay")
    asked = line_ratios(spectrum, ["Si", "Fe", "Ca"], reference="Fe", warn_above=None)
    turned = ratios_of("clay", counts).relative_to("Fe")
    assert turned.reference == "Fe"
    np.testing.assert_allclose(turned.values, asked.values, rtol=1e-10)
    np.testing.assert_allclose(turned.covariance, asked.covariance, rtol=1e-6, atol=1e-15)
    with pytest.raises(siftem.InputError, match="no lines of Mg"):
        turned.relative_to("Mg")


def test_spectra_have_one_reference_where_one_is_strong_in_all():
    rock = {
        "clay": ratios_of("clay", {"Si": 40000, "Fe": 8000, "Ca": 1000}),
        "oxide": ratios_of("oxide", {"Si": 9000, "Fe": 40000, "Ca": 1000}),
    }
    assert {r.reference for r in rock.values()} == {"Si", "Fe"}
    same = with_one_reference(rock)
    assert [r.reference for r in same.values()] == ["Si", "Si"]
    assert same["oxide"]["Fe"] == pytest.approx(40 / 9, rel=0.02)
    # Calcite holds neither: what little there is would make its ratios large and uncertain.
    rock["calcite"] = ratios_of("calcite", {"Si": 300, "Fe": 300, "Ca": 40000})
    assert [r.reference for r in with_one_reference(rock).values()] == ["Si", "Fe", "Ca"]
    assert with_one_reference({}) == {}


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
