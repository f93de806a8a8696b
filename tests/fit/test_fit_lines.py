from dataclasses import replace

import numpy as np
import pytest

from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.fit.calibrate import design_of, fit_calibration
from siftem.fit.line_fit import fit_lines
from siftem.fit.poisson import fit_poisson
from siftem.fit.spectrum_model import Calibration, SpectrumModel, quantified_family
from siftem.spectrum import Spectrum
from siftem.xray.absorption import thin_film_absorption
from siftem.xray.detector import Detector
from siftem.xray.lines import family_emission, line_families, line_family, valence_lines
from siftem.xray.response import pile_up, spread_exponentially

#: What lies there and is not listed, or is no line, is left on purpose.
leaves_something = pytest.mark.filterwarnings("ignore::siftem.errors.DoubtWarning")
AXIS = EnergyAxis(0.2, 0.01, 900)
ELEMENTS = ["O", "Mg", "Al", "Si", "Fe", "Nd"]
PHOTONS = {
    "O K": 4e4, "Mg K": 3e4, "Al K": 3e3, "Si K": 4e4, "Fe K": 6e3, "Fe L": 4e3, "Nd L": 300,
    "Nd M": 900, "continuum 0": 300, "continuum 1": 30, "continuum 2": 1,
}  # fmt: skip
OFF = Calibration(shift=0.012, gain=0.001, collection_depth=60.0, resolution=134.0)
ON = Calibration()


def model(elements=ELEMENTS, axis=AXIS, **change):
    kev = axis.to_kev()
    families = line_families(elements, beam_energy=200.0, low=kev.first, high=kev.last)
    return SpectrumModel(tuple(families), 200.0, **change)


def expected(calibration=ON, axis=AXIS):
    m = model(axis=axis)
    design = np.hstack([m.line_columns(axis, calibration), m.continuum_columns(axis, calibration)])
    return design @ [PHOTONS[n] for n in m.names]


def amplitudes(fit):
    """Of what the spectra were made of; no pulses pile up in them, and Mg has no Kb."""
    return {
        n: a
        for n, a in zip(fit.names, fit.amplitudes, strict=True)
        if n in PHOTONS or n[:2] not in ("pi", "Mg")
    }


@pytest.fixture(scope="module")
def fitted():
    counts = np.random.default_rng(4).poisson(expected()).astype(float)
    return fit_lines(
        Spectrum(counts, AXIS),
        ELEMENTS,
        beam_energy=200.0,
        n_continuum=3,
        model_error=False,
        calibration=ON,
    )


def test_expected_counts_give_back_every_photon():
    fit = fit_lines(
        Spectrum(expected(), AXIS), ELEMENTS, beam_energy=200.0, n_continuum=3, calibration=ON
    )
    assert amplitudes(fit) == pytest.approx(PHOTONS, rel=1e-3)
    assert fit.deviance < 1e-3
    assert fit.degrees_of_freedom == 900 - 11 - 3


def with_a_tail_of_oxygen(photons, share=0.04):
    """Expected counts of these lines, oxygen's with a tail that the fit knows nothing of."""
    m = model(["O", "Si", "Ti"])
    design = np.hstack([m.line_columns(AXIS, ON), m.continuum_columns(AXIS, ON)])
    amplitudes = np.array([photons.get(n, PHOTONS.get(n, 0.0)) for n in m.names])
    oxygen = design[:, [m.names.index("O K")]] * photons["O K"]
    tail = spread_exponentially(oxygen, AXIS, 0.06) - oxygen
    return design @ amplitudes + share * tail[:, 0]


@leaves_something
def test_soft_lines_of_what_has_no_hard_ones_do_not_take_tails():
    """A tail of O K is no Ti L: titanium would show by its K lines."""
    photons = {"O K": 1e6, "Si K": 1e6}
    counts = np.random.default_rng(3).poisson(with_a_tail_of_oxygen(photons)).astype(float)
    fit = fit_lines(Spectrum(counts, AXIS), ["O", "Si", "Ti"], beam_energy=200.0)
    found = amplitudes(fit)
    assert found["Ti L"] < 1e-3 * photons["O K"]
    assert found["O K"] == pytest.approx(photons["O K"], rel=4e-3)
    assert fit.unbounded[fit.names.index("Ti L")] < 1e-3 * photons["O K"]


@pytest.mark.parametrize("times", [0.3, 4.0])
def test_soft_lines_beside_hard_ones_are_as_strong_as_they_are(times):
    """Tables may be off by much, films thick: the spectrum tells, and no prior moves it."""
    l_of_k = family_emission(line_family("Ti", "L", beam_energy=200.0), 200.0)
    l_of_k /= family_emission(line_family("Ti", "K", beam_energy=200.0), 200.0)
    photons = {"O K": 1e5, "Si K": 1e5, "Ti K": 1e4, "Ti L": times * l_of_k * 1e4}
    mean = with_a_tail_of_oxygen(photons, share=0.0)
    fit = fit_lines(
        Spectrum(mean, AXIS), ["O", "Si", "Ti"], beam_energy=200.0, n_continuum=3, calibration=ON
    )
    found = amplitudes(fit)
    assert {n: found[n] for n in photons} == pytest.approx(photons, rel=1e-3)


def test_energy_scale_resolution_and_charge_collection_are_found():
    fit = fit_lines(Spectrum(expected(OFF), AXIS), ELEMENTS, beam_energy=200.0, n_continuum=3)
    c = fit.calibration
    assert c.shift == pytest.approx(0.012, abs=2e-5)
    assert c.gain == pytest.approx(0.001, abs=2e-5)
    assert c.resolution == pytest.approx(134.0, abs=0.05)
    assert c.collection_depth == pytest.approx(60.0, abs=0.5)
    found = amplitudes(fit)
    # Tails, which have priors of their own, may take a little of the weakest continuum term.
    assert found.pop("continuum 2") == pytest.approx(PHOTONS["continuum 2"], rel=0.03)
    assert found == pytest.approx({n: PHOTONS[n] for n in found}, rel=5e-3)


def test_a_scale_that_is_50_ev_off():
    # More than half a peak's width: only the coarse search before the fit finds it.
    far = Calibration(shift=-0.05, gain=0.003, resolution=142.0)
    fit = fit_lines(Spectrum(expected(far), AXIS), ELEMENTS, beam_energy=200.0, n_continuum=3)
    assert fit.calibration.shift == pytest.approx(-0.05, abs=1e-3)
    assert amplitudes(fit)["Si K"] == pytest.approx(4e4, rel=0.01)


def test_true_axis_undoes_shift_and_gain():
    # A line of 5 keV appears at 5 (1 + gain) + shift.
    true = Calibration(shift=0.02, gain=0.01).true_axis(EnergyAxis(0.0, 10.0, 1000, "eV"))
    appears = 5.0 * 1.01 + 0.02
    assert np.interp(appears, np.arange(1000) * 0.01, true.centers) == pytest.approx(5.0)


def test_operator_is_the_change_of_the_amplitudes_with_the_counts():
    mean = expected()
    # Sum peaks and Kb of Mg well above their bound at zero.
    kb = model(valence=tuple(valence_lines(["Mg"], low=0.2, high=9.2))).valence_columns(AXIS, ON)
    mean += 2e3 * kb[:, 0] + pile_up(mean, AXIS) @ [2e3, 2e3]
    fit = fit_lines(
        Spectrum(mean, AXIS),
        ELEMENTS,
        beam_energy=200.0,
        n_continuum=3,
        model_error=False,
        calibration=ON,
    )
    for channel in (32, 105, 154, 620):
        nudged = mean.copy()
        nudged[channel] += 0.02 * mean[channel]
        other = fit_lines(
            Spectrum(nudged, AXIS),
            ELEMENTS,
            beam_energy=200.0,
            n_continuum=3,
            model_error=False,
            calibration=ON,
        )
        change = (other.amplitudes - fit.amplitudes) / (0.02 * mean[channel])
        scale = np.sqrt(np.diag(fit.covariance) / mean[channel])
        assert change / scale == pytest.approx(fit.operator[:, channel] / scale, abs=0.02)


def test_covariance_of_counts_is_the_inverse_information(fitted):
    # For plain counts the sandwich A diag(mean) A' is the inverse of the Fisher information.
    information = (fitted.design / fitted.mean[:, None]).T @ fitted.design
    inverse = np.linalg.inv(information)
    assert fitted.counting_covariance == pytest.approx(inverse, rel=0.02)


@pytest.mark.parametrize("draws", [100, pytest.param(400, marks=pytest.mark.slow)])
def test_intervals_hold_the_truth(draws):
    # 400 spectra: three standard deviations of a share of 0.683 are 0.07.
    rng = np.random.default_rng(1)
    mean = expected()
    fits = [
        fit_lines(Spectrum(rng.poisson(mean).astype(float), AXIS), ELEMENTS,
                  beam_energy=200.0, n_continuum=3, calibration=ON)
        for _ in range(draws)
    ]  # fmt: skip
    truth = np.array([PHOTONS.get(n, 0.0) for n in fits[0].names])
    # The ratios of lines are here what the tables say: their systematic error does not show.
    z = [(f.amplitudes - truth) / np.sqrt(np.diag(f.covariance - f.ratio_covariance)) for f in fits]
    held = (np.abs(z) < 1).mean(axis=0)
    most = 0.07 * np.sqrt(400 / draws)
    # Sizes of model errors are means of what counts allow: of a model that is true, which this one
    # is, errors of strong lines are somewhat too large.
    told = dict(zip(fits[0].names, held, strict=True))
    assert ((held[:8] > 0.683 - most) & (held[:8] < 0.74 + most)).all(), told
    assert np.abs(np.mean(z, axis=0)[:8]).max() < 0.25


@leaves_something
def test_sigma_at_zero_is_the_noise_of_a_blank():
    blank = dict(PHOTONS, **{"Nd L": 0})
    m = model()
    design = np.hstack([m.line_columns(AXIS, ON), m.continuum_columns(AXIS, ON)])
    mean = design @ [blank[n] for n in m.names]
    rng = np.random.default_rng(2)
    fits = [
        fit_lines(Spectrum(rng.poisson(mean).astype(float), AXIS), ELEMENTS,
                  beam_energy=200.0, n_continuum=3, calibration=ON)
        for _ in range(150)
    ]  # fmt: skip
    index = fits[0].index("Nd")
    values = np.array([f.amplitudes[index] for f in fits])
    # Half of a normal distribution about zero is cut away: the mean square of the rest halves.
    sigma = fits[0].sigma_at_zero(index)
    assert np.sqrt(2 * (values**2).mean()) == pytest.approx(sigma, rel=0.2)
    assert 0.4 < (values < 1e-6 * sigma).mean() < 0.6
    # Without the bound the values scatter about zero with that sigma.
    free = np.array([f.unbounded[index] for f in fits])
    assert abs(free.mean()) < 4 * sigma / np.sqrt(150)
    assert free.std() == pytest.approx(sigma, rel=0.2)
    # Away from the bound both are nearly the same.
    clear = values > sigma
    assert free[clear] == pytest.approx(values[clear], abs=0.3 * sigma)
    # It does not depend on how much was found.
    full = fit_lines(
        Spectrum(expected(), AXIS), ELEMENTS, beam_energy=200.0, n_continuum=3, calibration=ON
    )
    assert full.sigma_at_zero(index) == pytest.approx(sigma, rel=0.05)


def test_pinned_noise_is_taken_off_the_covariance(fitted):
    """A mode that holds all the noise of one amplitude leaves it no error."""
    index = fitted.index("Si")
    row = fitted.operator[index]
    sigma = np.sqrt(fitted.covariance[index, index])
    pinned = (fitted.mean * row / sigma)[None, :]
    spectrum = Spectrum(fitted.spectrum.values, AXIS, pinned=pinned)
    fit = fit_lines(
        spectrum, ELEMENTS, beam_energy=200.0, n_continuum=3, model_error=False, calibration=ON
    )
    assert fit.covariance[index, index] < 1e-6 * sigma**2
    others = [i for i in range(len(fit.names)) if i != index]
    kept = (
        fitted.covariance - np.outer(fitted.covariance[index], fitted.covariance[index]) / sigma**2
    )
    block = np.ix_(others, others)
    assert fit.covariance[block] == pytest.approx(kept[block], rel=1e-4, abs=1e-3)
    # What is assumed to be absent has not been seen to be: its limit stays.
    assert fit.sigma_at_zero(index) == pytest.approx(fitted.sigma_at_zero(index))


def test_what_was_subtracted_is_part_of_the_mean():
    # A known background does not move the result, and its noise and scale widen the errors.
    mean, matrix = expected(), 0.5 * expected()
    counts = np.random.default_rng(3).poisson(mean + 0.4 * matrix).astype(float)
    spectrum = Spectrum(
        counts - 0.4 * matrix, AXIS, variance=counts + 0.16 * matrix,
        modes=0.01 * matrix[None, :], background=0.4 * matrix,
    )  # fmt: skip
    fit = fit_lines(
        spectrum, ELEMENTS, beam_energy=200.0, n_continuum=3, model_error=False, calibration=ON
    )
    sigma = np.sqrt(np.diag(fit.covariance))
    truth = np.array([PHOTONS.get(n, 0.0) for n in fit.names])
    assert (np.abs(fit.amplitudes - truth) < 3.5 * sigma).all()
    plain = fit_lines(
        replace(spectrum, variance=counts, modes=np.zeros((0, 900))), ELEMENTS,
        beam_energy=200.0, n_continuum=3, model_error=False, calibration=ON,
    )  # fmt: skip
    assert fit.amplitudes == pytest.approx(plain.amplitudes)
    i = fit.index("Si")
    extra = fit.operator[i] ** 2 @ (0.16 * matrix) + (0.01 * matrix @ fit.operator[i]) ** 2
    assert fit.covariance[i, i] == pytest.approx(plain.covariance[i, i] + extra, rel=1e-6)
    # The common mode is 1% of half the spectrum: it moves Si by 0.5% of its photons.
    assert 0.01 * matrix @ fit.operator[i] == pytest.approx(0.005 * 4e4, rel=0.01)


def test_an_axis_in_ev_gives_the_same(fitted):
    in_ev = Spectrum(fitted.spectrum.values, EnergyAxis(200.0, 10.0, 900, "eV"))
    fit = fit_lines(
        in_ev, ELEMENTS, beam_energy=200.0, n_continuum=3, model_error=False, calibration=ON
    )
    assert fit.amplitudes == pytest.approx(fitted.amplitudes, rel=1e-6, abs=1e-3)


@leaves_something
def test_absorption_gives_emitted_photons():
    def film(energies):
        return thin_film_absorption(
            {"O": 0.5, "Mg": 0.5}, energies, thickness=300, density=4.0, take_off_angle=22
        )

    m = model(["O", "Si"], absorption=film)
    design = np.hstack([m.line_columns(AXIS, ON), m.continuum_columns(AXIS, ON)])
    counts = design @ [1e5, 1e4, 50, 5, 1]
    spectrum = Spectrum(counts, AXIS)
    fit = fit_lines(
        spectrum, ["O", "Si"], beam_energy=200.0, n_continuum=3, calibration=ON, absorption=film
    )
    assert amplitudes(fit)["O K"] == pytest.approx(1e5, rel=1e-3)
    bare = fit_lines(spectrum, ["O", "Si"], beam_energy=200.0, n_continuum=3, calibration=ON)
    o_k = line_family("O", "K", beam_energy=200.0).alpha_energy
    assert amplitudes(bare)["O K"] == pytest.approx(1e5 * float(film(o_k)), rel=0.01)


def test_measured_shapes_are_fitted_beside_the_lines():
    shape = expected() / 2
    fit = fit_lines(
        Spectrum(3 * shape, AXIS), ["Cu"], beam_energy=200.0, calibration=ON,
        templates={"matrix": shape},
    )  # fmt: skip
    assert fit.names[-1] == "matrix"
    assert amplitudes(fit)["matrix"] == pytest.approx(3, rel=1e-4)
    assert fit.index("Cu") == fit.names.index("Cu K")


def test_pulses_below_the_fitted_range_pile_up_too():
    # Two photons of C K (0.277 keV) lie under O K; a sixth of them lies below 0.25 keV.
    axis = EnergyAxis(0.0, 0.01, 1000)
    m = model(["C", "Fe"], axis=axis, n_continuum=3)
    photons = {"C K": 3e6, "Fe K": 3e4, "Fe L": 1e4}
    arriving = m.line_columns(axis, ON) @ [photons[f.name] for f in m.families]
    arriving += m.continuum_columns(axis, ON) @ [300.0, 30.0, 1.0]
    sums = np.convolve(arriving, arriving)[: axis.size] / arriving.sum()
    oxygen = []
    for seed in range(4):
        counts = np.random.default_rng(seed).poisson(0.98 * arriving + 0.01 * sums).astype(float)
        fit = fit_lines(
            Spectrum(counts, axis), ["Fe", "O"], support=["C"], beam_energy=200.0,
            energy_range=(0.25, None),
        )  # fmt: skip
        i = fit.index("O")
        oxygen.append(fit.amplitudes[i] / fit.sigma_at_zero(i))
    assert np.mean(oxygen) < 1.0


def test_elements_out_of_range_are_dropped_and_named():
    fit = fit_lines(
        Spectrum(expected(), AXIS), [*ELEMENTS, "H", "Zr"], beam_energy=200.0,
        calibration=ON, energy_range=(3.0, None),
    )  # fmt: skip
    assert set(fit.dropped) >= {"H", "O"}
    assert not any(n.startswith("O ") for n in fit.names)
    with pytest.raises(InputError, match="O has no fitted"):
        fit.index("O")


def test_split_l_groups():
    fit = fit_lines(
        Spectrum(expected(), AXIS), ELEMENTS, beam_energy=200.0, calibration=ON, split_l=True
    )
    assert {"Nd L1", "Nd L2", "Nd L3"} <= set(fit.names)
    assert fit.names[fit.index("Nd")] == "Nd L3"


def test_which_family_measures_an_element():
    families = line_families(["Fe", "Nd"], beam_energy=200.0, low=0.2, high=9.2)
    assert quantified_family(families, "Fe", AXIS).name == "Fe K"
    assert quantified_family(families, "Nd", AXIS).name == "Nd L"
    assert quantified_family(families, "Nd", AXIS, "M").name == "Nd M"
    assert quantified_family(families, "Fe", EnergyAxis(0.2, 0.01, 300)).name == "Fe L"
    assert quantified_family(families, "Ca", AXIS) is None


def test_detector_shapes_the_columns():
    thick = model(["O"], detector=Detector(dead_layer=300.0)).line_columns(AXIS, ON)
    assert thick.sum() < 0.9 * model(["O"]).line_columns(AXIS, ON).sum()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"elements": ["Xx"]}, "chemical symbol"),
        ({"beam_energy": 0.0}, "beam_energy"),
        ({"energy_range": (50.0, 60.0)}, "no channel"),
        ({"n_continuum": 9}, "n_terms"),
        ({"templates": {"nothing": np.zeros(900)}}, "no strength"),
    ],
)
def test_bad_input(change, message):
    arguments = {"elements": ["O"], "beam_energy": 200.0, "calibration": ON, **change}
    with pytest.raises(InputError, match=message):
        fit_lines(Spectrum(expected(), AXIS), arguments.pop("elements"), **arguments)


def test_an_empty_spectrum_says_so():
    with pytest.raises(InputError, match="no counts"):
        fit_lines(Spectrum(np.zeros(900), AXIS, name="gap"), ["O"], beam_energy=200.0)


def test_a_common_mode_widens_the_limit(fitted):
    """What moves many channels at once, as an uncertain scale does, is noise of a blank too."""
    index = fitted.index("Nd")
    mode = 0.05 * fitted.design[:, index] * fitted.amplitudes[index]
    spectrum = Spectrum(fitted.spectrum.values, AXIS, modes=mode[None, :])
    fit = fit_lines(
        spectrum, ELEMENTS, beam_energy=200.0, n_continuum=3, model_error=False, calibration=ON
    )
    # The mode has the shape of the line: it moves that amplitude by 5%, and no other.
    assert fit.sigma_at_zero(index) ** 2 == pytest.approx(
        fitted.sigma_at_zero(index) ** 2 + (0.05 * fitted.amplitudes[index]) ** 2, rel=1e-6
    )
    assert fit.sigma_at_zero(fit.index("Si")) == pytest.approx(
        fitted.sigma_at_zero(fit.index("Si")), rel=1e-6
    )


@leaves_something
@pytest.mark.parametrize("energy_range", [(0.9, 5.0), (0.9, None), (None, 5.0)])
def test_an_energy_range_is_in_kev_on_any_axis(fitted, energy_range):
    fits = [
        fit_lines(
            Spectrum(fitted.spectrum.values, axis), ["Mg", "Al", "Si"], beam_energy=200.0,
            calibration=ON, energy_range=energy_range,
        )
        for axis in (AXIS, EnergyAxis(200.0, 10.0, 900, "eV"))
    ]  # fmt: skip
    assert fits[1].spectrum.axis.size == fits[0].spectrum.axis.size < 900
    assert fits[1].amplitudes == pytest.approx(fits[0].amplitudes, rel=1e-6, abs=1e-3)
    assert fits[1].amplitudes[fits[1].index("Mg")] > 2.5e4


def test_lines_beside_a_fault_at_the_soft_end_are_not_drawn_along():
    """No noise makes C or Ca L negative by ten standard deviations: it is the efficiency."""
    mean = 30 * expected() + 2e5 * model(["Ca"]).line_columns(AXIS, ON)[:, 0]
    mean *= np.where(AXIS.centers < 0.4, 0.8, 1.0)
    counts = np.random.default_rng(4).poisson(mean).astype(float)
    fit = fit_lines(
        Spectrum(counts, AXIS), [*ELEMENTS, "Ca"], support=["C"], beam_energy=200.0, calibration=ON
    )
    sigma = np.sqrt(np.diag(fit.covariance))
    away = dict(zip(fit.names, (fit.unbounded - fit.amplitudes) / sigma, strict=True))
    assert fit.amplitudes[fit.names.index("Ca L")] == 0
    assert all(abs(away[n]) < 0.03 for n in ("O K", "Mg K", "C K", "Ca L"))


def test_a_spectrum_without_a_continuum_has_no_step_in_it():
    """A clean film of carbon: nothing is counted beyond its line."""
    energies = 0.2 + 0.01 * np.arange(700)
    peak = 2000 * np.exp(-0.5 * ((energies - 0.277) / 0.025) ** 2)
    counts = np.random.default_rng(0).poisson(peak).astype(float)
    spectrum = Spectrum(counts, EnergyAxis(0.2, 0.01, 700))
    fit = fit_lines(spectrum, ["O", "Si"], support=["C"], beam_energy=200.0)
    assert fit.mean.sum() == pytest.approx(fit.spectrum.counts.sum(), rel=0.05)


def test_a_step_that_moves_lines_off_the_axis_is_not_taken(monkeypatch):
    """A soft line at the end of the axis has no column once the scale is moved far enough."""
    off, most = replace(ON, shift=0.02), 0.015

    def cut(model, axis, shapes, calibration):
        columns = design_of(model, axis, shapes, calibration)
        columns[:, 0] *= calibration.shift < most
        return columns

    m, none = model(n_continuum=3), np.zeros((AXIS.size, 0))
    data = Spectrum(expected(off), AXIS)
    start = design_of(m, AXIS, none, ON)
    monkeypatch.setattr("siftem.fit.calibrate.design_of", cut)
    found = fit_calibration(m, data, none, ON, start, fit_poisson(start, data.counts))
    assert 0.005 < found.calibration.shift < most
