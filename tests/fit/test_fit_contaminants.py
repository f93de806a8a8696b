"""Lines of elements that nobody lists, beside faults of the model that look like some."""

import numpy as np
import pytest
from foreign_physics import AXIS, expected, peak

from siftem.errors import DoubtWarning
from siftem.fit.line_fit import LineFitter, fit_lines
from siftem.fit.null_elements import GivingWay, null_elements, null_scatter
from siftem.fit.poisson import covariance_of
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector

ELEMENTS, COUNTS = ["O", "Mg", "Si", "Ca", "Fe"], 3e6
#: keV and weights, from public tables of lines.
CHLORINE = ((2.622, 0.92), (2.816, 0.08))


#: Behind thick matter Lb is twice La, in a film 0.7 of it.
TUNGSTEN = ((8.398, 0.30), (9.672, 0.5), (9.962, 0.2))


def drawn(seed, lines, counts, shift=0.0):
    mean = expected(COUNTS) + counts * sum(w * peak(e + shift) for e, w in lines)
    return Spectrum(np.random.default_rng(seed).poisson(mean).astype(float), AXIS)


def unlisted(*made):
    return null_elements(drawn(*made), ELEMENTS, support=["Cu"], beam_energy=200.0)


def test_chlorine_that_is_there_is_found_named_and_fitted():
    found = unlisted(0, CHLORINE, 2500)
    (chlorine,) = found.contaminants
    assert (chlorine.element, chlorine.line) == ("Cl", "Cl K")
    assert chlorine.energy == pytest.approx(2.622, abs=1e-3)
    # Within its error of what was put there.
    assert chlorine.counts == pytest.approx(2500, abs=3 * 2500 / chlorine.significance)
    assert "Cl" not in found.z and "not listed but there: Cl K" in found.describe()


def test_tungsten_of_an_aperture_is_found_though_its_soft_lines_are_lost():
    (tungsten,) = unlisted(0, TUNGSTEN, 2500).contaminants
    assert (tungsten.element, tungsten.line) == ("W", "W L")
    assert tungsten.energy == pytest.approx(8.39, abs=0.01)


#: An alloy's pole piece; Er La lies on its Ka.
COBALT = ((6.925, 0.88), (7.649, 0.12))


@pytest.fixture(scope="module")
def with_cobalt():
    return drawn(0, COBALT, 2000)


def test_further_columns_are_told_as_by_a_fit_of_all_at_once(with_cobalt):
    fit = LineFitter(tuple(ELEMENTS), ("Cu",), 200.0, Detector()).fit(with_cobalt)
    more = np.column_stack([peak(6.925), peak(2.622)])
    every = np.hstack([fit.design, fit.slopes, more])
    p = every.shape[1] - 2
    weighted, information = fit.misfit.eliminated(every, 1 / fit.mean)
    information[:p, :p] += fit.precision
    covariance = covariance_of(information)
    pull = weighted.T @ (fit.spectrum.counts - fit.mean)
    told = GivingWay.of(fit).beside(more)
    assert np.allclose(covariance_of(told.information), covariance[p:, p:], rtol=1e-6)
    assert np.allclose(told.amounts([0, 1])[0], covariance[p:, p:] @ pull[p:], rtol=1e-6)
    assert np.allclose(-told.taken @ covariance[p:, p:], covariance[:p, p:], rtol=1e-5)


def test_what_is_there_is_told_apart_beside_a_fit_that_is_not_made_anew(with_cobalt):
    fit = LineFitter(tuple(ELEMENTS), ("Cu",), 200.0, Detector()).fit(with_cobalt)
    found = null_scatter(fit)
    (cobalt,) = found.contaminants
    assert (cobalt.element, cobalt.line) == ("Co", "Co K")
    assert cobalt.evidence[0].name == "Ka"
    assert "Co" not in found.z and "not listed but there: Co K" in found.describe()
    # Er, whose strongest line is there, too, stands for it no more.
    alone = null_scatter(fit, ["Er", "Au", "S"])
    assert not alone.contaminants
    assert abs(found.z["Er"]) < 2 < alone.z["Er"]
    assert found.rms < 1.3


def test_nothing_to_try_says_what_is_there(with_cobalt):
    fit = LineFitter(tuple(ELEMENTS), ("Cu",), 200.0, Detector()).fit(with_cobalt)
    only = null_scatter(fit, ["Co"])
    assert only.z == {} and np.isnan(only.rms)
    assert only.describe().startswith("not listed but there: Co K")


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        pytest.param(1400, r"Co K \(6\.9\d keV, \d+\.\d sigma\): in no list", id="faint"),
        pytest.param(4000, r"peaks at 6\.9\d keV .*may be Co K", id="clear"),
    ],
)
def test_a_fit_tells_what_is_not_listed_with_its_energy(counts, told):
    spectrum = drawn(0, COBALT, counts)
    with pytest.warns(DoubtWarning, match=told):
        fit_lines(spectrum, ELEMENTS, support=["Cu"], beam_energy=200.0)
    # Warnings are errors in tests: listed, nothing is told, nor where a model is taken for true.
    fit_lines(spectrum, ELEMENTS, support=["Cu", "Co"], beam_energy=200.0)
    fit_lines(spectrum, ELEMENTS, support=["Cu"], beam_energy=200.0, model_error=False)


@pytest.mark.parametrize(
    ("lines", "counts", "shift"),
    [
        pytest.param(CHLORINE, 0, 0.0, id="nothing"),
        # A peak that lies where no line of a likely element is.
        pytest.param(CHLORINE[:1], 2500, 0.06, id="elsewhere"),
        # One of two peaks that go together.
        pytest.param(((7.478, 0.0), (8.265, 1.0)), 2500, 0.0, id="beta alone"),
    ],
)
def test_what_is_no_element_is_not_named(lines, counts, shift):
    assert unlisted(1, lines, counts, shift).contaminants == ()
