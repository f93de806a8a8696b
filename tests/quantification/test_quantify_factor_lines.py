import warnings

import numpy as np
import pytest

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError, SiftemWarning
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.quantification.composition import quantify
from siftem.quantification.k_values import GivenKFactors, factor_line, usual_shell
from siftem.quantification.standards import ZetaFactors
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.elements import atomic_weight
from siftem.xray.k_factors import k_factor_alpha, k_factor_family
from siftem.xray.lines import family_emission, line_families, line_family

BEAM = 300.0
#: k-factors of a vendor that are right, for alpha lines and this detector.
DETECTOR = Detector()


def vendors(element, shell):
    energy = line_family(element, shell, beam_energy=BEAM).alpha_energy
    seen = DETECTOR.efficiency(np.array([energy]))[0]
    silicon = DETECTOR.efficiency(np.array([1.74]))[0]
    return k_factor_alpha(element, shell, BEAM) / seen * silicon


def film(weights, channels, counts=2e6):
    """A thin film on an axis of 20 eV channels from 0.2 keV."""
    axis = EnergyAxis(0.2, 0.02, channels)
    kev = axis.to_kev()
    families = line_families(weights, beam_energy=BEAM, low=kev.first, high=kev.last)
    model = SpectrumModel(tuple(families), BEAM, DETECTOR)
    photons = np.array(
        [weights[f.element] / atomic_weight(f.element) * family_emission(f, BEAM) for f in families]
    )
    lines = model.line_columns(axis, Calibration()) @ photons
    continuum = model.continuum_columns(axis, Calibration())[:, 0]
    mean = counts * (0.85 * lines / lines.sum() + 0.15 * continuum / continuum.sum())
    return Spectrum(mean, axis, acquisition=Acquisition(BEAM, 22.0, 130.0))


def measured(spectrum, elements, given, **more):
    settings = {"calibration": Calibration(), "warn_above": None, "thickness": 0, **more}
    return quantify(spectrum, elements, k_factors=given, **settings)


@pytest.mark.parametrize(
    ("key", "line"),
    [("Ba", ("Ba", "")), ("Ba La", ("Ba", "L")), ("Ba_L", ("Ba", "L")), ("Na Ka", ("Na", "K"))],
)
def test_keys(key, line):
    assert factor_line(key) == line


@pytest.mark.parametrize("key", ["Ba Lb", "Ba N", "La La La", "Ba-La", ""])
def test_keys_of_no_alpha_line(key):
    with pytest.raises(InputError, match=r"belongs to an element|chemical symbol"):
        factor_line(key)


@pytest.mark.parametrize("element", ["Ba", "Nd", "Sn"])
@pytest.mark.parametrize("channels", [950, 2200])
def test_a_factor_of_l_lines_is_not_taken_for_k_lines(element, channels):
    """Also where the axis reaches the K lines, 44 keV in one case, 19 keV in the other."""
    weights = {element: 0.5, "Ti": 0.3, "O": 0.2}
    spectrum = film(weights, channels)
    factors = {"Ti": vendors("Ti", "K"), "O": vendors("O", "K"), element: vendors(element, "L")}
    c = measured(spectrum, list(weights), GivenKFactors(factors))
    assert c.families[0] == f"{element} L"
    assert c.weight_fractions == pytest.approx([0.5, 0.3, 0.2], rel=2e-3)
    # Factors given as exact leave what is not known of ratios of lines.
    assert c.systematic == pytest.approx(c.by_ratios, abs=1e-15)


@pytest.mark.parametrize("shell", ["K", "L"])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("element", ["Mo", "Ag"])
def test_k_and_l_lines_both_on_the_axis(element, shell, named):
    """The name of the line tells, and without it the size of the factor."""
    weights = {element: 0.4, "Fe": 0.3, "Si": 0.3}
    key = f"{element} {shell}a" if named else element
    factors = {key: vendors(element, shell), "Fe": vendors("Fe", "K"), "Si": 1.0}
    c = measured(film(weights, 2200), list(weights), GivenKFactors(factors))
    assert c.families[0] == f"{element} {shell}"
    assert c.weight_fractions == pytest.approx([0.4, 0.3, 0.3], rel=2e-3)


def test_a_factor_that_may_be_of_either_line_is_refused():
    weights = {"Mo": 0.6, "Nb": 0.4}
    spectrum = film(weights, 1000)
    factors = {"Mo": 1.0, "Nb": vendors("Nb", "L") / vendors("Mo", "L")}
    with pytest.raises(InputError, match="its K or its L lines"):
        measured(spectrum, list(weights), GivenKFactors(factors))
    named = {f"{e} La": k for e, k in factors.items()}
    c = measured(spectrum, list(weights), GivenKFactors(named))
    assert c.weight_fractions == pytest.approx([0.6, 0.4], rel=2e-3)


def test_both_lines_of_a_vendors_table():
    weights = {"Mo": 0.4, "Fe": 0.6}
    table = {"Mo Ka": vendors("Mo", "K"), "Mo La": vendors("Mo", "L"), "Fe": vendors("Fe", "K")}
    for channels, family in ((1000, "Mo K"), (500, "Mo L")):
        c = measured(film(weights, channels), list(weights), GivenKFactors(table))
        assert c.families[0] == family
        assert c.weight_fractions == pytest.approx([0.4, 0.6], rel=2e-3)


def test_a_factor_of_lines_beyond_the_axis_is_refused():
    given = GivenKFactors({"Ba Ka": 30.0, "Ti": 1.0})
    with pytest.raises(InputError, match=r"for its K lines, which are not .* give one for Ba L"):
        measured(film({"Ba": 0.5, "Ti": 0.5}, 950), ["Ba", "Ti"], given)


def test_a_family_factor_holds_for_the_l3_group():
    weights = {"Nd": 0.4, "Fe": 0.6}
    factors = {f: k_factor_family(f, s, BEAM) for f, s in (("Nd", "L"), ("Fe", "K"))}
    given = GivenKFactors(factors, line="family", detector="apart")
    c = measured(film(weights, 950), list(weights), given, split_l=True)
    assert c.families[0] == "Nd L3"
    assert c.weight_fractions == pytest.approx([0.4, 0.6], rel=2e-3)


def test_usual_shells():
    assert [usual_shell(e, BEAM) for e in ("O", "Mo", "Ba", "U")] == ["K", "K", "L", "L"]


@pytest.fixture(scope="module")
def olivine():
    return film({"O": 0.42, "Mg": 0.25, "Si": 0.21, "Fe": 0.12}, 500)


def shares(spectrum, given):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SiftemWarning)
        return measured(spectrum, ["O", "Mg", "Si", "Fe"], given).weight_fractions


def test_without_its_reference_a_factor_still_counts(olivine):
    one, ten = (shares(olivine, GivenKFactors({"Fe": k})) for k in (1.3, 13.0))
    assert ten[3] / ten[0] == pytest.approx(10 * one[3] / one[0])
    assert one == pytest.approx(shares(olivine, GivenKFactors({"Si": 1.0, "Fe": 1.3})))


def test_the_one_with_k_1_is_the_reference(olivine):
    """Relative to Fe, which is given, and not to Si, which is not."""
    given = {"Fe": 1.0, "Mg": vendors("Mg", "K") / vendors("Fe", "K")}
    assert shares(olivine, GivenKFactors(given)) == pytest.approx(
        [0.42, 0.25, 0.21, 0.12], rel=3e-3
    )


@pytest.mark.parametrize("channels", [400, 500])
def test_a_reference_that_the_specimen_lacks(channels):
    """Factors relative to Si, beside a computed one, in an oxide without Si."""
    weights = {"O": 0.4, "Mg": 0.4, "Fe": 0.2}
    given = GivenKFactors(
        {"Si": 5.0, "Mg": 5 * vendors("Mg", "K"), "Fe": 5 * vendors("Fe", "K")}, reference="Si"
    )
    c = measured(film(weights, channels), list(weights), given)
    assert c.weight_fractions == pytest.approx([0.4, 0.4, 0.2], rel=3e-3)
    assert c.k.source == ("computed", "given", "given")


def test_an_assumed_reference_is_told(olivine):
    elements = ["O", "Mg", "Si", "Fe"]
    with pytest.warns(SiftemWarning, match=r"given for Fe, without .* relative to Si = 1"):
        measured(olivine, elements, GivenKFactors({"Fe": 1.3}))
    with warnings.catch_warnings():
        warnings.simplefilter("error", SiftemWarning)
        measured(olivine, elements, GivenKFactors({"Fe": 1.3}, reference="Si"))
        measured(olivine, elements, GivenKFactors({"Fe": 1.3, "Si": 1.0}))


def test_a_factor_that_can_hardly_be_true_is_told(olivine):
    given = {e: vendors(e, "K") for e in ("O", "Mg", "Si")}
    with pytest.warns(SiftemWarning, match=r"far from the computed ones \(Fe K 5 times\)"):
        measured(
            olivine, ["O", "Mg", "Si", "Fe"], GivenKFactors({**given, "Fe": 5 * vendors("Fe", "K")})
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": {"Si Ka": 1.0}, "line": "family"}, "names an alpha line"),
        ({"values": {"Si Ka": 1.0, "Si K": 1.1}}, "given twice"),
        ({"values": {"Si": 1.0}, "reference": "Xx"}, "chemical symbol"),
    ],
)
def test_bad_factors(change, message):
    with pytest.raises(InputError, match=message):
        GivenKFactors(**change)


@pytest.mark.parametrize("dose", [1e6, 1e9, 1e22])
def test_a_dose_out_of_all_bounds_is_refused(maker, dose):
    spectrum = maker.spectrum(maker.expected({"O": 0.4, "Mg": 0.3, "Si": 0.3}, 1e5))
    zeta = ZetaFactors({"O": 600.0, "Mg": 500.0, "Si": 500.0})
    with pytest.raises(InputError, match="which no film for electron microscopy has"):
        quantify(spectrum, ["O", "Mg", "Si"], zeta_factors=zeta, dose=dose)
    c = quantify(spectrum, ["O", "Mg", "Si"], zeta_factors=zeta, dose=1e12)
    photons = c.fit.amplitudes[list(c.columns)]
    seen = [
        f.alpha_fraction * DETECTOR.efficiency(np.array([f.alpha_energy]))[0]
        for f in (c.fit.model.families[i] for i in c.columns)
    ]
    by_hand = (np.array([600.0, 500.0, 500.0]) * photons * seen).sum() / 1e12
    assert c.mass_thickness.value == pytest.approx(by_hand)


def test_plain_numbers_do_not_tell_what_they_are_for():
    axis = EnergyAxis(0.2, 0.01, 1000)
    spectrum = Spectrum(np.ones(1000), axis, acquisition=Acquisition(beam_energy=200.0))
    with pytest.raises(InputError, match=r"must be GivenKFactors, .* got dict"):
        quantify(spectrum, ["O", "Si"], k_factors={"O": 1.2})
