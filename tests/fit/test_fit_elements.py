import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from foreign_physics import peak
from scipy.sparse import csc_array

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.errors import DoubtWarning, InputError
from siftem.fit.calibrate import Known
from siftem.fit.element_search import find_elements, unexplained_lines
from siftem.fit.fitter import fit_response
from siftem.fit.greedy_search import GreedySearch
from siftem.fit.line_fit import fit_lines
from siftem.fit.line_search import Left, families_agree, residual_variance
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.elements import atomic_weight
from siftem.xray.lines import family_emission, line_families, line_family
from siftem.xray.response import pile_up

AXIS = EnergyAxis(0.2, 0.01, 1500)
ROCK = {"O": 0.45, "Mg": 0.18, "Al": 0.03, "Si": 0.21, "Ca": 0.04, "Fe": 0.06, "Nd": 0.02}
OFF = Calibration(shift=0.008, gain=-0.001, collection_depth=80.0, resolution=132.0)


def counts(weights, total, calibration=OFF, seed=0, axis=AXIS, beam_energy=200.0):
    families = line_families(weights, beam_energy=beam_energy, low=0.2, high=15.2)
    model = SpectrumModel(tuple(families), beam_energy, Detector())
    photons = [
        weights[f.element] / atomic_weight(f.element) * family_emission(f, beam_energy)
        for f in families
    ]
    lines = model.line_columns(axis, calibration) @ photons
    smooth = model.continuum_columns(axis, calibration) @ [1.0, 0.05, 0.0]
    mean = total * (0.85 * lines / lines.sum() + 0.15 * smooth / smooth.sum())
    return np.random.default_rng(seed).poisson(mean).astype(float)


def spectrum(values, axis=AXIS, beam_energy=200.0):
    return Spectrum(values, axis, name="rock", acquisition=Acquisition(beam_energy))


def names(found):
    return {f.element for f in found}


def test_a_beam_energy_that_nobody_told_is_told():
    with pytest.warns(DoubtWarning, match="200 keV excite"):
        find_elements(spectrum(counts(ROCK, 1e4), beam_energy=None), candidates=["Mg", "Si"])


@pytest.mark.parametrize("total", [2e5, 5e6])
def test_elements_of_a_rock(total):
    found = find_elements(spectrum(counts(ROCK, total)))
    assert names(found) == set(ROCK)
    assert all(f.significance >= 6 and not f.lacks for f in found)
    assert found[0].element == "O"
    of = {f.element: f for f in found}
    assert of["Fe"].line == "Fe K"
    assert of["Ca"].energy == pytest.approx(3.69, abs=0.01)
    # Most counts first.
    assert [f.counts for f in found] == sorted((f.counts for f in found), reverse=True)


def test_overlapped_alloy():
    # Ni, Cr, Fe, Mo (under S and Pb), Ti and Nb: the superalloy 718.
    alloy = {"Ni": 0.52, "Cr": 0.19, "Fe": 0.19, "Nb": 0.05, "Mo": 0.03, "Ti": 0.015}
    found = names(find_elements(spectrum(counts(alloy, 1e6, seed=1))))
    assert set(alloy) <= found
    assert len(found - set(alloy)) <= 2


def test_beam_of_a_scanning_microscope():
    weights = {"O": 0.48, "Na": 0.03, "Al": 0.1, "Si": 0.28, "K": 0.05, "Ca": 0.03, "Fe": 0.03}
    values = counts(weights, 1e6, beam_energy=15.0, seed=2)
    found = names(find_elements(spectrum(values, beam_energy=15.0)))
    assert set(weights) <= found
    assert len(found - set(weights)) <= 1


def test_few_counts_show_only_what_is_clear():
    found = find_elements(spectrum(counts(ROCK, 2000, seed=3)))
    assert {"O", "Mg", "Si"} <= names(found) <= set(ROCK)


def test_noise_of_a_bare_continuum_shows_nothing():
    model = SpectrumModel((), 200.0, Detector())
    mean = 300 * model.continuum_columns(AXIS, Calibration())[:, 0]
    mean *= 1e5 / mean.sum()
    for seed in range(3):
        drawn = np.random.default_rng(seed).poisson(mean).astype(float)
        assert find_elements(spectrum(drawn)) == ()


def test_sum_peaks_are_no_elements():
    # 1% of the pulses arrive together: O + Si at 2.26 keV lies on S, O + O at 1.05 on Na.
    clean = counts(ROCK, 5e6, seed=4)
    mean = clean + clean.sum() * pile_up(clean, AXIS) @ [0.006, 0.004]
    drawn = np.random.default_rng(5).poisson(mean).astype(float)
    assert names(find_elements(spectrum(drawn))) == set(ROCK)


def test_an_axis_in_ev_and_a_subset_of_candidates():
    in_ev = EnergyAxis(200.0, 10.0, 1500, "eV")
    found = find_elements(
        spectrum(counts(ROCK, 1e6), in_ev), candidates=["Fe", "Cu", "O", "Mg", "Si", "Al"]
    )
    assert {"Fe", "O", "Mg", "Si"} <= names(found)
    assert "Cu" not in names(found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candidates": ["Xx"]}, "chemical symbol"),
        ({"candidates": ["H"]}, "none of the candidate"),
        ({"significance": 0.0}, "significance"),
        ({"energy_range": (30.0, 40.0)}, "no channel"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(InputError, match=message):
        find_elements(spectrum(counts(ROCK, 1e4)), **change)
    with pytest.raises(InputError, match="no counts"):
        find_elements(spectrum(np.zeros(1500)))


@pytest.mark.parametrize("total", [1e5, 1e7])
def test_elements_of_one_line_each_are_found_and_their_missing_k_beta_told(total):
    alphas = {"O": (0.525, 6), "Mg": (1.254, 3), "Si": (1.74, 5), "Ca": (3.691, 1), "Fe": (6.4, 1)}
    mean = 4.0 * np.exp(-AXIS.centers / 4) / np.exp(-AXIS.centers / 4).sum()
    for energy, amount in alphas.values():
        line = np.exp(-0.5 * ((AXIS.centers - energy) / (0.03 + 0.004 * energy)) ** 2)
        mean = mean + amount * line / line.sum()
    values = np.random.default_rng(4).poisson(total * mean / mean.sum()).astype(float)
    found = find_elements(spectrum(values))
    assert names(found) == set(alphas)
    assert {f.element for f in found if f.lacks} == {"Ca", "Fe"}
    assert all("its K beta does not show" in str(f) for f in found if f.lacks)


def test_a_line_that_no_element_explains():
    values = counts({**ROCK, "Ga": 0.02}, 2e6)
    with pytest.warns(DoubtWarning, match=r"may be Ga K"):
        fit = fit_lines(spectrum(values), list(ROCK), beam_energy=200.0)
    found = unexplained_lines(fit)
    assert found[0].element == "Ga"
    assert found[0].line == "Ga K"
    assert found[0].energy == pytest.approx(9.24, abs=0.01)
    assert names(found) == {"Ga"}
    with_it = fit_lines(spectrum(values), [*ROCK, "Ga"], beam_energy=200.0)
    assert unexplained_lines(with_it) == ()
    index = with_it.names.index("Ga K")
    fitted = with_it.amplitudes[index] * with_it.design[:, index].sum()
    assert found[0].counts == pytest.approx(fitted, rel=0.05)


def test_hard_lines_must_show_where_soft_ones_are_claimed():
    families = [line_family("Nd", s, beam_energy=200.0) for s in ("L", "M")]
    emission = np.array([2.0, 1.0])

    def agree(found, sigma):
        return families_agree(families, emission, np.array(found), np.array(sigma))

    assert agree([2000.0, 1000.0], [50.0, 50.0])
    assert not agree([0.0, 1000.0], [50.0, 50.0])  # M lines alone
    assert agree([0.0, 1000.0], [500.0, 50.0])  # too noisy to tell
    assert agree([2000.0, 0.0], [50.0, 50.0])  # soft lines are absorbed
    assert agree([400.0, 9000.0], [50.0, 50.0])  # L is clear: the rest of M is another's


def test_an_energy_range_is_in_kev_on_any_axis():
    values = counts(ROCK, 1e6)
    for axis in (AXIS, EnergyAxis(200.0, 10.0, 1500, "eV")):
        found = find_elements(spectrum(values, axis), energy_range=(0.9, 3.0))
        # M lines of Nd are there, too, but alone they are no evidence.
        assert names(found) == {"Mg", "Al", "Si"}


@pytest.mark.parametrize("absent", ["Ag", "Mn", "Zn"])
def test_what_the_others_explain_is_dropped_wherever_it_stands(absent):
    search = GreedySearch(spectrum(counts(ROCK, 1e6)), [*ROCK, absent], 200.0, Detector())
    search.calibrate(list(ROCK))
    chosen = sorted([*ROCK, absent])
    assert search.reconsidered(chosen, 6.0) == sorted(ROCK)


def test_a_set_of_elements_is_fitted_once_in_any_order():
    search = GreedySearch(spectrum(counts(ROCK, 1e6)), list(ROCK), 200.0, Detector())
    first, columns = search._quick_fit(["Mg", "Fe", "Si"])
    again, others = search._quick_fit(["Si", "Mg", "Fe"])
    assert again.mean is first.mean
    assert not np.array_equal(others, columns)
    assert others @ again.amplitudes == pytest.approx(first.mean, rel=1e-9, abs=1e-9)
    assert (others / first.mean[:, None]).T @ others == pytest.approx(again.information, rel=1e-9)


def test_a_response_alone_is_that_of_a_whole_fit():
    axis = EnergyAxis(0.3, 0.01, 800)
    measured = spectrum(counts(ROCK, 1e5, Calibration(shift=0.01), axis=axis), axis)
    about = {"beam_energy": 200.0, "detector": Detector()}
    whole = fit_lines(measured, list(ROCK), energy_range=(None, None), free_ratios=False, **about)
    assert fit_response(measured, list(ROCK), **about) == whole.calibration


def test_a_peak_that_is_not_quite_right_leaves_more_around_it():
    """1.2% of its height, 130 eV to each side, in either unit of the axis."""
    lines = np.zeros(100)
    lines[50] = 1000.0
    for axis in (EnergyAxis(0.2, 0.01, 100), EnergyAxis(200.0, 10.0, 100, "eV")):
        variance = residual_variance(lines + 4.0, lines, axis, 3.0)
        expected = lines + 4.0 + 3.0
        expected[37:64] += (0.012 * 1000) ** 2
        assert variance == pytest.approx(expected)


@pytest.mark.parametrize(
    "shift",
    [-0.15, 0.06, 0.15, *(pytest.param(s, marks=pytest.mark.slow) for s in (-0.1, -0.05, 0.1))],
)
def test_an_axis_that_is_off(shift):
    values = counts(ROCK, 1e6, Calibration(shift=shift, gain=0.001))
    found = find_elements(spectrum(values))
    assert names(found) == set(ROCK)
    of = {f.element: f for f in found}
    assert of["Fe"].energy == pytest.approx(6.4, abs=0.01)


@pytest.mark.parametrize(
    ("weights", "shift"),
    [
        ({"Ce": 0.7, "O": 0.14, "Sr": 0.05, "Ti": 0.03, "Fe": 0.05}, 0.0),
        ({"Ce": 0.4, "La": 0.2, "Nd": 0.15, "P": 0.1, "O": 0.15}, 0.08),
        ({"Hf": 0.6, "O": 0.1, "Lu": 0.3}, 0.08),
    ],
)
def test_what_is_not_common_is_no_shift_of_the_axis(weights, shift):
    """Common elements may explain rare ones, badly, if the axis is moved."""
    found = find_elements(spectrum(counts(weights, 1e6, Calibration(shift=shift))))
    assert names(found) == set(weights)


def test_lines_beside_stronger_ones_are_counted():
    """Cu Ka lies on the flank of Ni Kb, on an axis that is off."""
    sheets = [{"Ni": 0.8, "Cr": 0.17, "Cu": 0.03}, {"Ni": 1.0}]
    values = np.array([counts(w, 3e5, Calibration(shift=0.05)) for w in sheets])
    search = GreedySearch(spectrum(values.sum(axis=0)), ["Ni", "Cr", "Cu"], 200.0, Detector())
    search.calibrate(["Ni", "Cr", "Cu"])
    found = search.line_counts(values, ["Cu", "Ni"])
    atoms = np.array([sheets[0][e] / atomic_weight(e) for e in ("Cu", "Ni")])
    k = [family_emission(line_family(e, "K", beam_energy=200.0), 200.0) for e in ("Cu", "Ni")]
    assert found[0, 0] / found[0, 1] == pytest.approx(
        atoms @ [1, 0] * k[0] / (atoms[1] * k[1]), rel=0.2
    )
    assert found[1, 0] < 0.05 * found[0, 0]


def tail(values, share, length, axis=AXIS):
    """Counts with a share of each channel's spread to lower energies."""
    kernel = np.exp(-axis.scale * np.arange(200) / length)
    spread = np.convolve(values[::-1], kernel / kernel.sum())[: values.size][::-1]
    return (1 - share) * values + share * spread


@pytest.mark.parametrize(
    ("share", "length"),
    [(0.02, 0.3), pytest.param(0.03, 0.08, marks=pytest.mark.slow), (0.01, 1.0)],
)
def test_tails_of_strong_peaks_are_no_rare_earths(share, length):
    iron = {"O": 0.3, "Si": 0.1, "Fe": 0.5, "Cu": 0.1}
    mean = tail(counts(iron, 5e6), share, length)
    drawn = np.random.default_rng(1).poisson(mean).astype(float)
    assert set(iron) <= names(find_elements(spectrum(drawn))) <= {*iron, "Mn"}


@pytest.mark.parametrize(
    ("heavy", "alike"),
    [
        pytest.param("Pt", {"P", "Zr"}, marks=pytest.mark.slow),
        ("W", {"Si", "Ta"}),
        ("Pb", {"S"}),
    ],
)
def test_m_lines_in_other_ratios_are_no_other_element(heavy, alike):
    """Mb twice as strong as in the tables, and Ma as if it were all there is."""
    family = line_family(heavy, "M", beam_energy=200.0)
    for factor in (0.1, 2.0):
        lines = tuple(
            replace(x, weight=x.weight * (factor if x.name.startswith("Mb") else 1.0))
            for x in family.lines
        )
        changed = replace(family, lines=lines)
        others = line_families(["C", heavy], beam_energy=200.0, low=0.2, high=15.2)
        families = [f for f in others if f.name != family.name] + [changed]
        model = SpectrumModel(tuple(families), 200.0, Detector())
        photons = [{"C K": 1e5, f"{heavy} L": 1e5}.get(f.name, 1.2e5) for f in families]
        smooth = model.continuum_columns(AXIS, OFF) @ [1.0, 0.05, 0.0]
        mean = model.line_columns(AXIS, OFF) @ photons + 5e4 * smooth / smooth.sum()
        drawn = np.random.default_rng(2).poisson(mean).astype(float)
        found = names(find_elements(spectrum(drawn)))
        assert heavy in found
        assert not found & alike


def test_what_was_seen_of_each_element():
    found = {f.element: f for f in find_elements(spectrum(counts(ROCK, 5e6)))}
    assert {e.name for e in found["Nd"].evidence} >= {"La", "Lb1"}
    assert found["Fe"].evidence[0].name == "Ka"
    assert all(e.significance > 4 for f in found.values() for e in f.evidence)
    assert "sigma of its peaks: Ka" in str(found["Mg"])


@pytest.mark.parametrize("light", [0.0, pytest.param(0.6, marks=pytest.mark.slow)])
def test_k_lines_in_place_of_m_lines_are_told_as_hidden(light):
    """A peak at Pt Ma and none at Mb: P beside weak M lines fits it better than Pt alone."""
    axis = EnergyAxis(0.16, 0.02, 900)
    e = axis.centers

    def peak(energy, counts):
        sigma = 0.0555 * np.sqrt(0.15 + 0.85 * energy / 5.9)
        shape = np.exp(-0.5 * ((e - energy) / sigma) ** 2)
        return counts * shape / shape.sum()

    lines = {9.442: 32e3, 11.07: 17e3, 12.94: 3e3, 2.05: 29e3, 2.33: 1400, 1.6: 1600}
    smooth = np.exp(-e / 5)
    mean = sum(peak(*line) for line in lines.items()) + 800 * smooth + peak(2.014, 16e3 * light)
    drawn = np.random.default_rng(0).poisson(mean).astype(float)
    found = {f.element: f for f in find_elements(Spectrum(drawn, axis), beam_energy=200.0)}
    assert "Pt" in found and not {"P", "S"} & set(found)
    # Nor can the M lines of Ir, whose L lines are not there, stand for S.
    assert {"P K"} <= set(found["Pt"].may_hide) <= {"P K", "S K"}
    assert f"may hide {', '.join(found['Pt'].may_hide)}" in str(found["Pt"])


def test_what_is_dropped_and_comes_again_does_not_go_on_for_ever(monkeypatch):
    fitted_with = []
    search = "siftem.fit.element_search.GreedySearch."
    monkeypatch.setattr(
        search + "calibrate", lambda _s, chosen, near: fitted_with.append(len(chosen))
    )
    monkeypatch.setattr(search + "next_element", lambda _s, chosen, _z: f"E{len(chosen)}")
    monkeypatch.setattr(
        search + "reconsidered", lambda _s, chosen, _z: chosen[: -1 if len(chosen) < 20 else None]
    )
    monkeypatch.setattr(search + "confirmed", lambda _s, chosen, _z: (tuple(chosen), None))
    found = find_elements(spectrum(counts(ROCK, 1e5)), candidates=["Mg"])
    assert len(found) == 30 - 4  # each of four was dropped once
    assert fitted_with == [2, 5, 10, 18, len(found)]


def test_a_scale_fitted_to_few_elements_takes_no_lines_of_others_for_theirs():
    # By Ni and Ti alone the scale of the energies puts Ti K beta on Ba Lb1.
    weights = {"Ba": 0.45, "Ti": 0.16, "O": 0.16, "Ni": 0.23}
    off = Calibration(shift=-0.004, gain=0.003)
    assert names(find_elements(spectrum(counts(weights, 1e5, off, seed=3)))) == set(weights)


@pytest.mark.parametrize("soft", [0.8, 1.25])
def test_an_element_below_the_l_lines_of_another_is_surely_there_only_beyond_their_doubt(soft):
    """F K lies within a peak's width of Fe L, whose ratio to Fe K is known to some 20%."""
    weights = {"Fe": 0.6, "S": 0.4}
    families = line_families(weights, beam_energy=200.0, low=0.2, high=15.2)
    model = SpectrumModel(tuple(families), 200.0, Detector())
    photons = [
        weights[f.element]
        * family_emission(f, 200.0)
        / atomic_weight(f.element)
        * (soft if f.name == "Fe L" else 1.0)
        for f in families
    ]
    lines = model.line_columns(AXIS, OFF) @ photons
    mean = 1e6 * lines / lines.sum() + 5.0
    sulphide = np.random.default_rng(4).poisson(mean).astype(float)
    fluoride = counts({"Ca": 0.3, "F": 0.4, "Fe": 0.3}, 1e6, seed=5)
    search = GreedySearch(
        spectrum(sulphide + fluoride), ["S", "F", "Ca", "Fe"], 200.0, Detector(resolution=132.0)
    )
    search.calibrate(["S", "F", "Ca", "Fe"])
    every = ["F", "Fe", "S", "Ca"]
    assert search.surely_in(spectrum(sulphide), every, 5.0) == ("Fe", "S")
    assert search.surely_in(spectrum(fluoride), every, 5.0) == ("F", "Fe", "Ca")
    assert search.surely_in(spectrum(fluoride), ["Fe", "Ca"], 5.0) == ("Fe", "Ca")


def test_a_column_that_is_zero_everywhere_takes_nothing_over():
    """Of a spectrum without continuum a term can underflow: that ended in a traceback."""
    rng = np.random.default_rng(0)
    design, residual = rng.random((30, 2)), rng.standard_normal(30)
    columns = rng.random((30, 3))
    plain = Left(residual, np.ones(30), design, np.zeros(2)).of(columns)
    longer = np.column_stack([design, np.zeros(30)])
    assert np.allclose(Left(residual, np.ones(30), longer, np.zeros(3)).of(columns), plain)


def test_columns_that_are_mostly_zero_are_tested_as_any_others():
    rng = np.random.default_rng(1)
    residual, design = rng.normal(size=40), rng.random((40, 3))
    left = Left(residual, rng.uniform(1, 3, 40), design, np.array([0.0, 1.0, 5.0]))
    columns = rng.random((40, 6)) * (rng.random((40, 6)) < 0.2)
    pull, length, alone = left.of_sparse(csc_array(columns))
    told = left.tested(columns, np.zeros((6, 0)))
    assert np.allclose(pull, told[0]) and np.allclose(length, told[1])
    assert np.allclose(alone, (columns**2 / left.variance[:, None]).sum(axis=0))


def test_a_second_search_finds_no_light_element_on_l_lines(monkeypatch):
    """Of a steel it took what the model lacks beside Fe L for F, by 30 standard deviations."""
    asked = []

    def searched(cut, candidates, **how):
        asked.append(tuple(candidates))
        found = (SimpleNamespace(element="O"), SimpleNamespace(element="Fe"))
        return found, SimpleNamespace(reduced_deviance=9.0 / len(asked))

    monkeypatch.setattr("siftem.fit.element_search._searched", searched)
    monkeypatch.setattr("siftem.fit.element_search.structure_of", lambda fit: fit)
    axis = EnergyAxis(0.0, 0.01, 1000)
    find_elements(spectrum(np.ones(1000), axis), candidates=("C", "O", "F", "Ba", "Fe"))
    assert asked == [("C", "O", "F", "Ba", "Fe"), *2 * [("C", "O", "Ba", "Fe")]]


SHORT = EnergyAxis(0.2, 0.01, 880)


@pytest.mark.parametrize("gain", [0.003, 0.006])
def test_few_soft_lines_of_many_counts_take_no_other_scale(gain):
    """Zn, Na, Se and Ag had the lines of Ga, N and In, on a scale that was 10% too long.

    The escape peak of Ga K, which lies beyond the axis, is no Ni.
    """
    weights = {"Ga": 0.8, "N": 0.16, "Al": 0.02, "In": 0.02}
    values = counts(weights, 1e6, Calibration(gain=gain, shift=-0.004), axis=SHORT)
    assert names(find_elements(spectrum(values, SHORT))) == set(weights)


def test_lines_that_tell_no_scale_are_told():
    """L lines of Ga and As lie to each other as those of Ge and Se, and Zn and Ge, do."""
    values = counts({"Ga": 0.48, "As": 0.52}, 1e4, Calibration(), axis=SHORT)
    with pytest.warns(DoubtWarning, match=r"few lines tell.* off by \+0 eV, but with .*90 eV"):
        assert names(find_elements(spectrum(values, SHORT))) == {"Ga", "As"}
    with warnings.catch_warnings():
        warnings.simplefilter("error", DoubtWarning)
        find_elements(spectrum(counts(ROCK, 1e4)), candidates=[*ROCK, "Ni", "Cu", "K"])


#: keV and share of each line of layers of Si, HfO2, TiN and W, and their counts.
GATE = {
    "W L": (1.5, [(8.398, 1.0), (7.388, 0.05)]),
    "W M": (1.5, [(1.775, 0.6), (1.835, 0.4)]),
    "Si": (1.9, [(1.740, 0.98), (1.836, 0.02)]),
    "Ti": (0.56, [(4.510, 0.88), (4.932, 0.12)]),
    "Hf L": (0.24, [(7.899, 1.0), (6.960, 0.05)]),
    "Hf M": (0.26, [(1.645, 0.6), (1.698, 0.4)]),
    "N": (0.17, [(0.392, 1.0)]),
    "O": (0.126, [(0.525, 1.0)]),
}


def gate_stack(total):
    """Counts on an axis that is .6% too long."""
    axis = EnergyAxis(0.2, 0.01, 880)
    mean = 2.0 * np.exp(-axis.centers) / np.exp(-axis.centers).sum()
    for amount, lines in GATE.values():
        for energy, share in lines:
            mean = mean + amount * share * peak(1.006 * energy - 0.004, axis=axis)
    values = np.random.default_rng(0).poisson(total * mean / mean.sum()).astype(float)
    return Spectrum(values, axis, name="gate", acquisition=Acquisition(200.0, take_off_angle=22.0))


def test_silicon_beside_tungsten_is_found_and_nothing_takes_its_place():
    candidates = ["N", "O", "Si", "Ti", "Co", "Ni", "Cu", "Rb", "Ba", "Er", "Hf", "W"]
    found = names(find_elements(gate_stack(1e6), candidates=candidates))
    assert {"Si", "W", "Ti", "Hf"} <= found <= {"Si", "W", "Ti", "Hf", "N", "O"}


def test_a_scale_with_narrow_bounds_is_fitted_from_far_off():
    known = Known.while_searching(130.0, 5)
    found = fit_response(
        gate_stack(1e7), ["W", "Si", "Ti", "Hf", "N"], beam_energy=200.0, detector=Detector(),
        known=known,
    )  # fmt: skip
    # At Ti and W; nothing was fitted at all when every step led to some bound.
    for energy in (4.510, 8.398):
        off = found.shift + found.gain * energy - (0.006 * energy - 0.004)
        assert abs(off) < 0.006
