from dataclasses import replace

import numpy as np
import pytest

from siftem.errors import InputError, SiftemWarning
from siftem.quantification.composition import quantify
from siftem.quantification.film import Film
from siftem.quantification.k_values import GivenKFactors
from siftem.xray.absorption import thin_film_absorption
from siftem.xray.detector import Detector
from siftem.xray.elements import atomic_weight
from siftem.xray.k_factors import k_factor_family
from siftem.xray.lines import line_family

FILM = Film(150.0, 4.25, 22.0)
THICK = {"thickness": 150.0, "density": 4.25}


@pytest.fixture(scope="module")
def glass(maker):
    return maker.spectrum(maker.expected(maker.glass, 3e6), "glass")


def some(spectrum, elements, maker, **change):
    """Quantify some of the elements; that others are there is known."""
    settings = {"calibration": maker.calibration, "warn_above": None, "thickness": 0, **change}
    return quantify(spectrum, elements, **settings)


def test_known_composition_comes_back(maker, glass):
    c = quantify(glass, list(maker.glass), calibration=maker.calibration, thickness=0)
    assert dict(zip(c.elements, c.weight_fractions, strict=True)) == pytest.approx(
        maker.glass, rel=2e-3
    )
    assert c.weight_fractions.sum() == pytest.approx(1)
    assert c.atomic_fractions.sum() == pytest.approx(1)


def test_cliff_lorimer_by_hand(maker, glass):
    c = some(glass, ["Mg", "Si", "O", "Fe"], maker)
    families = [line_family(e, "K", beam_energy=200.0) for e in c.elements]
    photons = [c.fit.amplitudes[c.fit.names.index(f.name)] for f in families]
    k = [k_factor_family(e, "K", 200.0) for e in c.elements]
    by_hand = np.array(k) * photons
    assert c.weight_fractions == pytest.approx(by_hand / by_hand.sum())
    atoms = c.weight_fractions / [atomic_weight(e) for e in c.elements]
    assert c.atomic_fractions == pytest.approx(atoms / atoms.sum())


def test_order_of_the_elements_does_not_matter(maker, glass):
    forward = quantify(glass, list(maker.glass), calibration=maker.calibration, thickness=0)
    back = quantify(glass, list(maker.glass)[::-1], calibration=maker.calibration, thickness=0)
    assert back.elements == forward.elements[::-1]
    assert back.weight_fractions[::-1] == pytest.approx(forward.weight_fractions, rel=1e-6)
    assert back.sigma[::-1] == pytest.approx(forward.sigma, rel=1e-6)


def test_absorption_is_corrected(maker):
    spectrum = maker.spectrum(maker.expected(maker.glass, 3e6, FILM))
    c = quantify(spectrum, list(maker.glass), calibration=maker.calibration, **THICK)
    assert dict(zip(c.elements, c.weight_fractions, strict=True)) == pytest.approx(
        maker.glass, rel=3e-3
    )
    bare = quantify(spectrum, list(maker.glass), calibration=maker.calibration, thickness=0)
    assert bare.weight_fractions[0] < 0.93 * c.weight_fractions[0]
    energy = line_family("O", "K", beam_energy=200.0).alpha_energy
    share = thin_film_absorption(
        maker.glass, energy, thickness=150.0, density=4.25, take_off_angle=22.0
    )
    assert c.absorption[0] == pytest.approx(float(share), rel=2e-3)
    assert (bare.absorption == 1).all()


def test_counting_errors_spread_as_told(maker):
    mean = maker.expected(maker.glass, 2e5)
    made = [
        quantify(
            maker.spectrum(mean, seed=s),
            list(maker.glass),
            calibration=maker.calibration,
            thickness=0,
        )
        for s in range(80)
    ]
    values = np.array([c.weight_fractions for c in made])
    sigmas = np.mean([c.sigma for c in made], axis=0)
    # A standard deviation from 80 draws is good to 8%.
    assert values.std(axis=0) == pytest.approx(sigmas, rel=0.3)
    held = np.abs(values - list(maker.glass.values())) < [c.sigma for c in made]
    assert held.mean() == pytest.approx(0.683, abs=0.07)
    correlation = np.corrcoef(values.T)
    told = made[0].covariance / np.outer(made[0].sigma, made[0].sigma)
    assert correlation == pytest.approx(told, abs=0.35)


def test_covariance_of_a_closed_composition(maker, glass):
    c = quantify(glass, list(maker.glass), calibration=maker.calibration, thickness=0)
    # Fractions that sum to one have covariances that sum to zero.
    for matrix in (c.covariance, c.systematic, c.atomic_covariance, c.atomic_systematic):
        assert matrix.sum(axis=0) == pytest.approx(np.zeros(7), abs=1e-12)


def test_systematic_errors_by_numerical_derivatives(maker, glass):
    elements = ["O", "Mg", "Si"]
    c = some(glass, elements, maker)
    amounts = c.weight_fractions
    expected = np.zeros((3, 3))
    for i in range(3):
        moved = amounts.copy()
        moved[i] *= 1 + 1e-6
        slope = (moved / moved.sum() - amounts) / 1e-6
        expected += np.outer(slope, slope) * 0.1**2
    # Ratios of lines, which tests of their own look at, come besides.
    assert c.systematic - c.by_ratios == pytest.approx(expected, rel=1e-4)
    assert c.k.relative_sigma.tolist() == [0.1, 0.1, 0.1]
    # With absorption, the uncertainty of the attenuation comes on top.
    film = some(glass, elements, maker, **THICK)
    added = np.hypot(0.1, 0.12 * (1 - film.absorption))
    assert film.relative_systematic == pytest.approx(added)


@pytest.mark.slow
def test_errors_with_absorption_are_their_scatter(maker):
    """The correction follows the composition, which damps errors of O."""
    mean = maker.expected(maker.glass, 3e4, Film(400.0, 4.25, 22.0))
    rng = np.random.default_rng(2)
    z, bare = [], []
    for _ in range(150):
        c = some(maker.spectrum(rng.poisson(mean).astype(float)), list(maker.glass), maker,
                 thickness=400.0, density=4.25)  # fmt: skip
        z.append((c.unbounded - list(maker.glass.values())) / c.sigma)
        i = [c.fit.index(e) for e in c.elements]
        jacobian = (np.eye(len(i)) - c.weight_fractions[:, None]) * c.weight_fractions
        relative = c.fit.covariance[np.ix_(i, i)] / np.outer(*[c.fit.amplitudes[i]] * 2)
        bare.append(np.sqrt(np.diag(jacobian @ relative @ jacobian.T)) / c.sigma)
    # A standard deviation of 150 values is good to 6%.
    assert np.std(z, axis=0) == pytest.approx(1, abs=0.2)
    o = c.index("O")
    assert np.mean(bare, axis=0)[o] > 1.15  # with the absorption held it would be too large


def test_support_is_fitted_but_left_out(maker):
    weights = {**maker.glass, "Cu": 0.05}
    spectrum = maker.spectrum(maker.expected(weights, 3e6))
    c = quantify(
        spectrum, list(maker.glass), support=["Cu"], calibration=maker.calibration, thickness=0
    )
    assert "Cu" not in c.elements
    assert "Cu K" in c.fit.names
    assert dict(zip(c.elements, c.weight_fractions, strict=True)) == pytest.approx(
        maker.glass, rel=3e-3
    )


def test_an_element_that_is_not_there(maker):
    spectrum = maker.spectrum(maker.expected(maker.glass, 3e5), seed=3)
    c = quantify(spectrum, [*maker.glass, "Hf"], calibration=maker.calibration, thickness=0)
    hf = c.index("Hf")
    assert c.weight_fractions[hf] < c.detection_limits[hf]
    assert 0 < c.critical_levels[hf] < c.detection_limits[hf] < 0.01
    assert c.found[c.index("Si")]
    assert c.detection_limits[hf] == pytest.approx(2 * c.critical_levels[hf], rel=0.1)


def test_intervals(maker, glass):
    c = some(glass, list(maker.glass), maker)
    i = c.index("Nd")
    low, high = c.interval("Nd", 0.95)
    assert low == pytest.approx(c.unbounded[i] - 1.959964 * c.sigma[i])
    assert high == pytest.approx(c.unbounded[i] + 1.959964 * c.sigma[i])
    assert c.unbounded == pytest.approx(c.weight_fractions, rel=1e-3)
    narrow = c.interval("Nd", 0.6826895)
    assert narrow[1] - narrow[0] == pytest.approx(2 * c.sigma[i])
    with pytest.raises(InputError, match="level"):
        c.interval("Nd", 1.0)


@pytest.mark.parametrize("draws", [40, pytest.param(120, marks=pytest.mark.slow)])
def test_intervals_of_what_is_not_there(maker, draws):
    """They hold a truth of zero at the stated rate, not more often."""
    mean = maker.expected({e: w for e, w in maker.glass.items() if e != "Nd"}, 1e5)
    rng = np.random.default_rng(5)
    z = []
    for _ in range(draws):
        c = some(maker.spectrum(rng.poisson(mean).astype(float)), list(maker.glass), maker)
        i = c.index("Nd")
        low, high = c.interval("Nd", 0.68)
        assert 0 <= low <= high
        assert high == pytest.approx(max(c.unbounded[i] + 0.994458 * c.sigma[i], 0), abs=1e-9)
        z.append(c.unbounded[i] / c.sigma[i])
    # Three standard deviations of a share of 0.68 in 120 draws are 0.13.
    assert (np.abs(z) < 1).mean() == pytest.approx(0.683, abs=0.13 * np.sqrt(120 / draws))
    assert abs(np.mean(z)) < 4 / np.sqrt(draws)


def test_oxygen_by_stoichiometry(maker, glass):
    elements = ["O", "Mg", "Al", "Si", "Ca", "Fe"]
    c = some(glass, elements, maker, oxygen="stoichiometry")
    charge = {"Mg": 2, "Al": 3, "Si": 4, "Ca": 2, "Fe": 2}
    atoms = dict(zip(c.elements, c.atomic_fractions, strict=True))
    assert atoms["O"] == pytest.approx(sum(charge[e] / 2 * atoms[e] for e in charge))
    assert c.families[0] == "O by stoichiometry"
    measured = some(glass, elements, maker)
    assert c.ratio("Mg/Si").value == pytest.approx(measured.ratio("Mg/Si").value)
    # The measured O does not enter: neither its error nor its k-factor.
    units = c.formula_units(12)
    same = measured.formula_units(12)
    assert units["Si"].value == pytest.approx(same["Si"].value)
    assert units["Si"].sigma == pytest.approx(same["Si"].sigma, rel=1e-6)
    oxides = c.oxides()
    assert sum(q.value for q in oxides.values()) == pytest.approx(100)
    silica = 60.083 / 28.085 * c.weight_fractions[c.index("Si")]
    assert oxides["SiO2"].value == pytest.approx(100 * silica, rel=1e-4)


def test_given_k_factors_override(maker, glass):
    plain = some(glass, ["Mg", "Si"], maker)
    k_mg = k_factor_family("Mg", "K", 200.0)
    given = GivenKFactors(
        {"Mg": 1.1 * k_mg, "Si": 1.0}, line="family", detector="apart",
        relative_sigma={"Mg": 0.02},
    )  # fmt: skip
    c = some(glass, ["Mg", "Si"], maker, k_factors=given)
    assert c.ratio("Mg/Si").value == pytest.approx(1.1 * plain.ratio("Mg/Si").value)
    assert c.k.source == ("given", "given")
    exact = replace(c, systematic=c.systematic - c.by_ratios)
    assert exact.ratio_systematic("Mg/Si") == pytest.approx(0.02 * c.ratio("Mg/Si").value)


def test_free_l_groups_measure_by_l3(maker, glass):
    c = quantify(glass, list(maker.glass), calibration=maker.calibration, thickness=0, split_l=True)
    assert c.families[c.index("Nd")] == "Nd L3"
    assert c.weight_fractions[c.index("Nd")] == pytest.approx(0.01, rel=0.03)


def test_values_with_errors_by_name(glass, maker):
    c = some(glass, ["O", "Si"], maker)
    assert c.with_error("Si").value == c.weight_fractions[1]
    assert c.with_error("Si").sigma == c.sigma[1]
    with pytest.raises(InputError, match="U was not quantified in 'glass'"):
        c.with_error("U")


def test_unexplained_lines_are_told(maker, glass):
    with pytest.warns(SiftemWarning, match=r"glass: .* at 3.\d+ keV \(.*may be Ca K\)"):
        quantify(
            glass, [e for e in maker.glass if e != "Ca"], calibration=maker.calibration, thickness=0
        )


def test_detector_of_the_user(maker):
    detector = Detector(dead_layer=300.0)
    spectrum = maker.spectrum(maker.expected(maker.glass, 3e6, detector=detector))
    c = quantify(
        spectrum, list(maker.glass), calibration=maker.calibration, thickness=0, detector=detector
    )
    assert c.weight_fractions[0] == pytest.approx(0.44, rel=3e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"elements": []}, "name the elements"),
        ({"elements": "Mg"}, "list of symbols"),
        ({"elements": ["Mgg"]}, "chemical symbol"),
        ({"elements": ["O"], "energy_range": (1.0, 8.0)}, "O: no line between 1 and 8 keV"),
        ({"elements": ["S"]}, "none of the elements"),
        ({"thickness": 100.0}, "both thickness"),
        ({"density": 4.0}, "both thickness"),
        ({"thickness": -1.0, "density": 4.0}, "must be positive"),
        ({"thickness": 100.0, "density": 4.0, "take_off_angle": 91.0}, "take_off_angle"),
        ({"oxygen": "guessed"}, "oxygen must be"),
        ({"elements": ["Si"], "oxygen": "stoichiometry"}, "needs O"),
        ({"elements": ["O", "He"], "oxygen": "stoichiometry"}, "valence"),
        ({"k_factors": GivenKFactors({"Ti": 1.0})}, "none of which"),
    ],
)
def test_bad_input(maker, change, message):
    arguments = {"elements": ["O", "Si"], "calibration": maker.calibration, **change}
    bare = maker.spectrum(maker.expected({"O": 0.5, "Si": 0.5}, 1e5))
    with pytest.raises(InputError, match=message):
        quantify(bare, arguments.pop("elements"), **arguments)


def test_elements_without_a_line_are_left_out_and_told(maker, glass):
    """What lies below the axis' start costs its own number and no other."""
    options = {"calibration": maker.calibration, "energy_range": (1.0, None), "warn_above": None}
    with pytest.warns(SiftemWarning, match=r"O, H: no line between 1 and .* left out"):
        c = quantify(glass, ["O", "H", "Mg", "Si", "Ca"], support=["He"], **options)
    assert c.elements == ("Mg", "Si", "Ca")
    assert c.not_in_range == ("O", "H", "He")
    alone = quantify(glass, ["Mg", "Si", "Ca"], **options)
    np.testing.assert_allclose(c.weight_fractions, alone.weight_fractions, rtol=1e-6)
    with pytest.warns(SiftemWarning, match="O: no line"):
        by_charge = quantify(glass, ["O", "Mg", "Si"], oxygen="stoichiometry", **options)
    assert by_charge.elements == ("Mg", "Si")


def test_elements_as_arrays_are_those_of_lists(maker, glass):
    plain = quantify(glass, ["O", "Mg", "Si"], support=["Ca"], calibration=maker.calibration,
                     thickness=0,
                     warn_above=None)  # fmt: skip
    for wanted in (np.array(["O", "Mg", "Si"]), np.array([b"O", b"Mg", b"Si"])):
        c = quantify(glass, wanted, support=np.array(["Ca"]), calibration=maker.calibration,
                     thickness=0,
                     warn_above=None)  # fmt: skip
        assert c.elements == ("O", "Mg", "Si")
        np.testing.assert_array_equal(c.weight_fractions, plain.weight_fractions)
    with pytest.raises(InputError, match="name the elements"):
        quantify(glass, np.array([], dtype=str))


def test_missing_acquisition(maker):
    from siftem.spectrum import Spectrum

    bare = Spectrum(maker.expected(maker.glass, 1e5), maker.axis)
    with pytest.raises(InputError, match="beam energy"):
        quantify(bare, ["Si"])
    with pytest.raises(InputError, match="take-off angle"):
        quantify(bare, ["Si"], beam_energy=200.0, thickness=1.0, density=1.0)


def test_empty_spectrum(maker):
    with pytest.raises(InputError, match="no counts"):
        quantify(maker.spectrum(np.zeros(1000), "gap"), ["Si"])
