"""Errors of amplitudes where the model is not true, and where it is."""

from dataclasses import replace

import numpy as np
import pytest
from foreign_physics import AXIS, expected, line_counts

from siftem.errors import InputError, SiftemWarning
from siftem.fit.element_search import structure_of, warn_of_structure
from siftem.fit.line_fit import fit_lines
from siftem.fit.misfit import no_misfit
from siftem.fit.null_elements import NullElements, null_elements, null_scatter
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.lines import line_families

ELEMENTS = ["O", "Mg", "Si", "Ca", "Fe"]


def drawn(mean, seed=0):
    return Spectrum(np.random.default_rng(seed).poisson(mean).astype(float), AXIS, name="brg")


def fitted(spectrum, elements=ELEMENTS, **change):
    arguments = {"support": ["Cu"], "beam_energy": 200.0, "energy_range": (0.25, None)}
    return fit_lines(spectrum, elements, **(arguments | change))


@pytest.fixture(scope="module")
def foreign():
    return fitted(drawn(expected(3e6)))


def test_absent_elements_scatter_by_their_errors_in_a_foreign_spectrum(foreign):
    absent = null_scatter(foreign)
    assert len(absent.z) > 35
    assert 0.6 < absent.rms < 1.3, absent.describe()
    assert absent.beyond_two < 0.13


def test_the_misfit_stands_for_what_the_model_can_not_describe():
    # Ratios of lines that are fitted leave little of it; kept as in the tables they leave much.
    fit = fitted(drawn(expected(3e6)), free_ratios=False)
    assert 0.6 < null_scatter(fit).rms < 1.3
    true = replace(fit, misfit=no_misfit(fit.spectrum.axis, Detector()))
    assert null_scatter(true).rms > 2.5


def test_absent_elements_are_not_found():
    # Three spectra, five elements: with 5% each, three or more of 15 come once in 30.
    trace = ["Al", "P", "S", "Ni", "Zn"]
    found = 0
    for seed in range(3):
        fit = fitted(drawn(expected(3e6), seed), [*ELEMENTS, *trace])
        for element in trace:
            i = fit.index(element)
            found += fit.amplitudes[i] > 1.645 * fit.sigma_at_zero(i)
    assert found <= 3


def test_a_true_model_has_no_misfit():
    axis = AXIS.cropped(slice(5, None))
    families = line_families(ELEMENTS, beam_energy=200.0, low=0.25, high=10.2)
    m = SpectrumModel(tuple(families), 200.0)
    at = Calibration()
    lines = m.line_columns(axis, at) @ np.array([3e5 / (1 + 0.3 * i) for i in range(len(families))])
    mean = lines + m.continuum_columns(axis, at) @ [2000.0, 200.0, 20.0]
    widths = []
    for seed in range(4):
        counts = np.random.default_rng(seed).poisson(mean).astype(float)
        fit = fit_lines(Spectrum(counts, axis), ELEMENTS, beam_energy=200.0)
        n = len(families)
        strong = fit.amplitudes[:n] > 10 * np.sqrt(np.diag(fit.covariance)[:n])
        ratio = np.sqrt(np.diag(fit.covariance) / np.diag(fit.counting_covariance))[:n][strong]
        widths.append(np.median(ratio))
        assert structure_of(fit) is None
    assert np.median(widths) < 1.1


@pytest.mark.parametrize("times", [0, 5, 20])
def test_added_photons_are_found_within_their_errors(times):
    # Ni K between Fe Kb and Cu K, in multiples of its error of 53 counts.
    base, line, added = expected(1e6), line_counts("Ni"), 53.0 * times
    z = []
    for seed in range(8):
        counts = np.random.default_rng(100 + seed).poisson(base + added * line).astype(float)
        fit = fitted(Spectrum(counts, AXIS), [*ELEMENTS, "Ni"])
        i = fit.index("Ni")
        per_photon = fit.design[:, i].sum()
        error = np.sqrt(fit.covariance[i, i]) * per_photon
        assert error < 200
        z.append((fit.unbounded[i] * per_photon - added) / error)
    # Three standard errors of the mean of 8 are 1.06.
    assert abs(np.mean(z)) < 1.06
    assert np.sqrt(np.mean(np.square(z))) < 1.7


def test_the_response_goes_to_the_next_spectrum_with_its_errors(foreign):
    kept = foreign.calibration
    assert foreign.slopes.shape[1] > kept.covariance.shape[0] > 5
    assert kept.near + kept.far == pytest.approx(0.012, abs=0.008)
    small = drawn(expected(1e5), 3)
    fits = [
        fitted(small, calibration=replace(kept, covariance=errors), model_error=False)
        for errors in (None, kept.covariance, 100 * kept.covariance)
    ]
    assert all(f.calibration == kept for f in fits)
    exact, carried, loose = (np.diag(f.covariance) for f in fits)
    assert (carried > exact * (1 - 1e-6)).all()
    assert (loose > carried * (1 - 1e-6)).all()
    i = fits[0].index("Si")
    assert loose[i] > 1.05 * exact[i]


def test_a_missing_element_is_told_with_its_energies():
    fit = fitted(drawn(expected(3e5)), ["O", "Mg", "Si", "Fe"])
    found = structure_of(fit)
    assert found is not None
    assert found.worst == pytest.approx(3.69, abs=0.05)
    assert found.excess > 0.2
    with pytest.warns(
        SiftemWarning, match=r"brg: the model does not describe .* Ca K \(3.69 keV\)"
    ):
        assert warn_of_structure(fit)


def test_a_good_fit_warns_of_nothing(foreign, recwarn):
    assert not warn_of_structure(foreign)
    assert not recwarn.list


def test_an_element_left_out_is_found_among_the_absent():
    absent = null_elements(
        drawn(expected(3e5)), ["O", "Mg", "Si", "Fe"], support=["Cu"], beam_energy=200.0
    )
    assert [f.element for f in absent.contaminants] == ["Ca"]
    assert not {"Ca", "Fe"} & set(absent.z)
    assert absent.rms < 1.5
    assert "absent elements scatter by" in absent.describe()


def test_scatter_of_known_values():
    absent = NullElements({"Ti": 3.0, "V": -1.0, "P": 1.0, "S": -1.0})
    assert absent.rms == pytest.approx(np.sqrt(3))
    assert absent.beyond_two == 0.25
    assert absent.worst[0] == "Ti"
    assert np.isnan(NullElements({}).rms)


def test_null_elements_need_a_beam():
    with pytest.raises(InputError, match="beam_energy"):
        null_elements(drawn(expected(1e5)), ["O"])
