"""Errors of amplitudes where the model is not true, and where it is."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from foreign_physics import AXIS, COUNTS, expected, line_counts, peak
from scipy.integrate import quad

from siftem.energy_axis import EnergyAxis
from siftem.errors import DoubtWarning, InputError, SiftemWarning
from siftem.fit.calibrate import NAMES, PRIOR
from siftem.fit.element_search import structure_of, warn_of_structure
from siftem.fit.fit_steps import _with_kept
from siftem.fit.line_fit import fit_lines
from siftem.fit.misfit import _mean_share, no_misfit
from siftem.fit.null_elements import NullElements, null_elements, null_scatter
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.lines import line_families

ELEMENTS = ["O", "Mg", "Si", "Ca", "Fe"]


def drawn(mean, seed=0):
    return Spectrum(np.random.default_rng(seed).poisson(mean).astype(float), AXIS, name="brg")


def drawn_on(axis, mean):
    return Spectrum(np.random.default_rng(0).poisson(mean).astype(float), axis, name="drawn")


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


@pytest.mark.parametrize("exact", [False, True])
def test_a_given_scale_that_is_off_is_moved_and_told(foreign, exact):
    """5 eV cost 2 to 7% of Mg, Si and Ca, without a word."""
    given = replace(foreign.calibration, shift=foreign.calibration.shift + 5e-3)
    if exact:
        given = replace(given, covariance=None)
    with pytest.warns(DoubtWarning, match=r"lines of brg lie up to -[45]\.\d eV from where"):
        fit = fitted(foreign.spectrum, calibration=given)
    for element in ELEMENTS:
        i = foreign.index(element)
        assert fit.amplitudes[i] == pytest.approx(foreign.amplitudes[i], rel=2e-3), element
    assert fit.calibration.shift == pytest.approx(foreign.calibration.shift, abs=5e-4)


def test_a_given_scale_that_holds_is_kept(foreign):
    few = drawn(expected(1e6), seed=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fitted(few, calibration=foreign.calibration).calibration is foreign.calibration


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
    # Sizes of errors can't be negative, so that the mean of those that noise allows is not zero.
    assert np.median(widths) < 1.2


def over_counting(fit, name):
    i = fit.names.index(name)
    return np.sqrt(fit.covariance[i, i] / fit.counting_covariance[i, i])


@pytest.mark.filterwarnings("ignore:.*check the elements and the support")
def test_a_scale_may_bend_where_its_errors_are_known(foreign):
    # Ca lies 5 eV above what the lines on both sides of it say.
    def lime(by):
        return 0.885 * peak(3.691 + by) + 0.115 * peak(4.013 + by)

    spectrum = drawn(expected(3e6) + 3e6 * COUNTS["Ca"] * (lime(0.005) - lime(0.0)))
    bent = fitted(spectrum, calibration=foreign.calibration)
    exact = fitted(spectrum, calibration=replace(foreign.calibration, covariance=None))
    assert bent.reduced_deviance < 1.1 < exact.reduced_deviance
    # The bend is a part of the model then, and no error of it.
    assert over_counting(bent, "Ca K") < 1.5 < 2.0 < over_counting(exact, "Ca K")
    assert bent.design @ bent.amplitudes == pytest.approx(bent.mean)


@pytest.mark.filterwarnings("ignore:.*check the elements and the support")
@pytest.mark.parametrize("off", [0.0, 0.001])
def test_a_grain_has_its_own_errors_and_what_was_taken_off_its_own(foreign, off):
    host = expected(3e6, {"O": 0.2, "Si": 0.4, "Mg": 0.1, "Fe": 0.03, "Cu": 0.03, "Cu L": 0.01})
    grain = expected(1e6, {"O": 0.2, "Mg": 0.2, "Fe": 0.3, "Fe L": 0.05, "Cu": 0.03, "Cu L": 0.01})
    # The host that is measured may have its silicon elsewhere, by so many keV.
    moved = 0.4 * 3e6 * (peak(1.740 + off) - peak(1.740))
    matrix, mixture = drawn(host + moved, 8).values, drawn(grain + 0.6 * host, 9).values
    pure = Spectrum(
        mixture - 0.6 * matrix,
        AXIS,
        variance=mixture + 0.36 * matrix,
        background=0.6 * matrix,
    )
    fit = fitted(pure, calibration=foreign.calibration)
    # Without an error of what was taken off it is 1.1, with the silicon elsewhere or not.
    assert (over_counting(fit, "Si K") > 4.0) == (off > 0)
    # It was 3.1 when the host's counts made all lines of the grain weak ones.
    assert over_counting(fit, "O K") < 2.2


@pytest.mark.parametrize(
    ("share", "pull", "known"),
    [(0.0, -3.0, 40.0), (0.3, 0.0, 100.0), (0.1, 5.0, 30.0), (0.0, -1000.0, 1e-30)],
)
def test_mean_of_a_size_that_is_not_negative(share, pull, known):
    def likelihood(x):
        return np.exp(0.5 * pull * (x - share) - 0.25 * known * (x - share) ** 2)

    mean = quad(lambda x: x * likelihood(x), 0, 5)[0] / quad(likelihood, 0, 5)[0]
    assert _mean_share(*np.array([[share], [pull], [known]])) == pytest.approx(mean, rel=1e-6)


def test_what_is_kept_does_not_move_the_others():
    rows = np.random.default_rng(0).normal(size=(9, 4))
    information = rows.T @ rows
    free = [0, 2, 3]
    found = _with_kept(np.linalg.inv(information), np.array([1]))
    assert found[np.ix_(free, free)] == pytest.approx(
        np.linalg.inv(information[np.ix_(free, free)])
    )
    assert np.abs(found[1]).max() < 1e-12


@pytest.mark.parametrize("times", [0, 20])
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


def test_a_strong_line_beside_its_place_keeps_its_area():
    """A scale that is off by an eighth of a width, and known to be right: flanks decide nothing."""
    line = line_families(["Si"], beam_energy=200.0, low=0.2, high=20.0)
    axis = EnergyAxis(0.0, 0.01, 1200, "keV")
    true, told = Calibration(shift=0.01), Calibration(shift=0.0)
    model = SpectrumModel(tuple(line), 200.0, Detector(), 2)
    mean = 2e5 * model.line_columns(axis, true)[:, 0] + 2.0
    spectrum = drawn_on(axis, mean)
    # Ratios that are kept keep the scale, too.
    fit = fit_lines(spectrum, ["Si"], beam_energy=200.0, calibration=told, free_ratios=False)
    # A fifth is lost beside errors of the model, 3% without.
    assert fit.amplitudes[fit.index("Si")] == pytest.approx(2e5, rel=0.05)
    assert fit.misfit.sigma.max() > 0.02 * mean.max()


@pytest.mark.filterwarnings("ignore:.*check the elements and the support")
def test_a_missing_element_is_told_with_its_energies():
    fit = fitted(drawn(expected(3e5)), ["O", "Mg", "Si", "Fe"])
    found = structure_of(fit)
    assert found is not None
    assert found.worst == pytest.approx(3.69, abs=0.05)
    assert found.excess > 0.2
    with pytest.warns(SiftemWarning, match=r"brg: the model does not describe .* may be Ca K\)"):
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


def test_errors_of_a_response_that_is_kept_are_carried_whole(foreign):
    """They were told once more by the very spectrum, of which the response may be."""
    at, size = NAMES.index("near_soft"), 0.05
    covariance = 1e-20 * np.diag(PRIOR**2)
    covariance[at, at] = size**2

    def kept(near_soft, covariance=None):
        given = replace(foreign.calibration, near_soft=near_soft, covariance=covariance)
        return fitted(foreign.spectrum, calibration=given, free_ratios=False)

    fit, less, more = kept(0.1, covariance), kept(0.1 - size), kept(0.1 + size)
    i = fit.index("O")
    alone = kept(0.1).counting_covariance[i, i]
    carried = np.sqrt(fit.counting_covariance[i, i] - alone)
    assert carried > 2 * np.sqrt(alone)  # this many counts would tell it far better
    assert carried == pytest.approx(abs(more.amplitudes[i] - less.amplitudes[i]) / 2, rel=0.15)


@pytest.mark.filterwarnings("ignore::siftem.errors.DoubtWarning")
def test_channels_wider_than_what_the_detector_resolves():
    # Between two of them lie errors of the model that no channel shows.
    axis = EnergyAxis(0.2, 0.1, 150)
    line = np.exp(-0.5 * ((axis.centers - 1.74) / 0.035) ** 2)
    values = np.random.default_rng(0).poisson(200 * np.exp(-axis.centers) + 6000 * line)
    fit = fit_lines(Spectrum(values.astype(float), axis), ["Si"], beam_energy=200.0)
    assert np.isfinite(fit.amplitudes).all() and np.isfinite(fit.covariance).all()
