import numpy as np
import pytest

from siftem.errors import InputError
from siftem.quantification.composition import quantify
from siftem.quantification.film import Film, attenuation_sigma
from siftem.quantification.k_values import GivenKFactors, k_values
from siftem.quantification.standards import ZetaFactors, calibrate_k_factors, calibrate_zeta_factors
from siftem.xray.detector import Detector
from siftem.xray.k_factors import k_factor_alpha, k_factor_family
from siftem.xray.lines import line_family

STANDARD = {"O": 0.42, "Mg": 0.25, "Si": 0.21, "Fe": 0.12}


def families(*elements):
    return [line_family(e, "K", beam_energy=200.0) for e in elements]


def test_computed_k_factors():
    k = k_values(families("O", "Si", "Fe"), 200.0, Detector())
    assert k.values == pytest.approx([k_factor_family(e, "K", 200.0) for e in ("O", "Si", "Fe")])
    assert k.relative_sigma == pytest.approx([0.1, 0.1, 0.1])
    assert set(k.source) == {"computed"}


def test_alpha_factors_become_family_factors():
    # The same physics given as alpha factors without detector must change nothing.
    elements = ("Si", "Fe", "Ca")
    given = GivenKFactors(
        {e: k_factor_alpha(e, "K", 200.0) for e in elements}, line="alpha", detector="apart"
    )
    k = k_values(families(*elements), 200.0, Detector(), given)
    assert k.values == pytest.approx([k_factor_family(e, "K", 200.0) for e in elements])
    assert set(k.source) == {"given"}
    assert (k.relative_sigma == 0).all()


def test_factors_with_the_detector_included():
    # C = k I(detected) with I(detected) = efficiency x I(emitted).
    detector = Detector(dead_layer=200.0)
    elements = ("Si", "O")
    seen = {
        f.element: float(f.weights @ detector.efficiency(f.energies)) for f in families(*elements)
    }
    given = GivenKFactors(
        {e: k_factor_family(e, "K", 200.0) / seen[e] for e in elements}, line="family"
    )
    k = k_values(families(*elements), 200.0, detector, given)
    assert k.values == pytest.approx([k_factor_family(e, "K", 200.0) for e in elements])


def test_only_ratios_of_given_factors_matter():
    one = GivenKFactors({"Si": 1.0, "Fe": 1.5}, line="family", detector="apart")
    ten = GivenKFactors({"Si": 10.0, "Fe": 15.0}, line="family", detector="apart")
    args = families("Si", "Fe", "Mg"), 200.0, Detector()
    assert k_values(*args, one).values == pytest.approx(k_values(*args, ten).values)
    # Mg is not given: it keeps the computed ratio to the reference, Si.
    k = k_values(*args, one)
    assert k.source == ("given", "given", "computed")
    assert k.values[2] / k.values[0] == pytest.approx(k_factor_family("Mg", "K", 200.0))
    assert k.values[1] / k.values[0] == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": {"Xx": 1.0}}, "chemical symbol"),
        ({"values": {"Si": 0.0}}, "must be positive"),
        ({"values": {"Si": float("nan")}}, "must be positive"),
        ({"line": "beta"}, "line must be"),
        ({"detector": "maybe"}, "detector must be"),
        ({"relative_sigma": {"Si": -0.1}}, "must not be negative"),
    ],
)
def test_bad_k_factors(change, message):
    with pytest.raises(InputError, match=message):
        GivenKFactors(**{"values": {"Si": 1.0}, **change})


def test_k_factors_from_a_standard(maker):
    film = Film(80.0, 3.3, 22.0)
    standard = maker.spectrum(maker.expected(STANDARD, 4e6, film), "olivine")
    k = calibrate_k_factors(
        standard, STANDARD, thickness=80.0, density=3.3, calibration=maker.calibration
    )
    assert k.reference == "Si"
    assert k.values == pytest.approx(
        {e: k_factor_family(e, "K", 200.0) for e in STANDARD}, rel=3e-3
    )
    # The error of O's attenuation went into its factor: in a film like the standard's it cancels.
    lost = k.absorbed["O"]
    assert attenuation_sigma(lost, lost) == 0.0
    arguments = {"density": 3.3, "calibration": maker.calibration, "k_factors": k}
    alike, thin, thick = (
        quantify(standard, list(STANDARD), thickness=t, **arguments) for t in (80.0, 8.0, 160.0)
    )
    assert sum(lost.values()) == pytest.approx(1 - alike.absorption[0], rel=1e-2)
    known = k.relative_sigma["O"]
    assert alike.relative_systematic[0] == pytest.approx(known, rel=1e-2)
    # 12% of what the standard took more, or less; the more so the less the same elements took it.
    for other in (thin, thick):
        more = abs(alike.absorption[0] - other.absorption[0])
        by_film = np.sqrt(other.relative_systematic[0] ** 2 - known**2)
        assert 0.08 * more < by_film < 0.12 * more
    # Percent, in any order, give the same.
    percent = {e: 100 * STANDARD[e] for e in reversed(STANDARD)}
    again = calibrate_k_factors(
        standard, percent, thickness=80.0, density=3.3, calibration=maker.calibration
    )
    assert again.values == pytest.approx(k.values, rel=1e-6)


def test_a_standard_corrects_a_wrong_detector(maker):
    # The real detector has a thick dead layer that nobody knows of.
    real = Detector(dead_layer=400.0)
    standard = maker.spectrum(maker.expected(STANDARD, 4e6, detector=real))
    unknown = maker.spectrum(maker.expected(maker.glass, 4e6, detector=real))
    k = calibrate_k_factors(standard, STANDARD, calibration=maker.calibration)
    elements = ["O", "Mg", "Si", "Fe"]
    true = np.array([maker.glass[e] for e in elements])
    true /= true.sum()
    arguments = {"support": ["Al", "Ca", "Nd"], "calibration": maker.calibration, "thickness": 0}
    bare = quantify(unknown, elements, **arguments)
    calibrated = quantify(unknown, elements, k_factors=k, **arguments)
    assert abs(bare.weight_fractions[0] / true[0] - 1) > 0.03
    # The wrong edge in the continuum still costs weak lines a percent.
    assert calibrated.weight_fractions == pytest.approx(true, rel=0.02)
    # Each is fitted beside the misfit that the wrong detector leaves, and the stiffness of each
    # continuum is its own: 0.4% of O, more than its errors say, since they know no dead layer.
    assert calibrated.weight_fractions[0] == pytest.approx(true[0], rel=5e-3)


def test_error_of_a_calibrated_factor(maker):
    mean = maker.expected(STANDARD, 2e4)
    factors = [
        calibrate_k_factors(maker.spectrum(mean, seed=s), STANDARD, calibration=maker.calibration)
        for s in range(60)
    ]
    values = np.array([f.values["Fe"] for f in factors])
    told = np.hypot(factors[0].relative_sigma["Fe"], factors[0].relative_sigma["Si"])
    # A standard deviation from 60 draws is good to 9%.
    assert values.std() / values.mean() == pytest.approx(told, rel=0.3)
    known = calibrate_k_factors(
        maker.spectrum(mean, seed=1), STANDARD, relative_sigma={"Fe": 0.05},
        calibration=maker.calibration,
    )  # fmt: skip
    own = factors[1].relative_sigma["Fe"]
    assert known.relative_sigma["Fe"] == pytest.approx(np.hypot(own, 0.05))


def test_bad_standards(maker):
    standard = maker.spectrum(maker.expected(STANDARD, 4e5), "olivine", seed=0)
    arguments = {"calibration": maker.calibration}
    with pytest.raises(InputError, match="no clear Ti K"):
        calibrate_k_factors(standard, {**STANDARD, "Ti": 0.01}, **arguments)
    with pytest.raises(InputError, match="must be an element of the standard"):
        calibrate_k_factors(standard, STANDARD, reference="Ca", **arguments)
    with pytest.raises(InputError, match="positive numbers"):
        calibrate_k_factors(standard, {"Si": -1.0}, **arguments)
    with pytest.raises(InputError, match="positive numbers"):
        calibrate_k_factors(standard, {}, **arguments)
    with pytest.raises(InputError, match="dose"):
        calibrate_zeta_factors(
            standard, STANDARD, dose=0.0, thickness=80.0, density=3.3, **arguments
        )


def test_zeta_factors_give_composition_and_mass_thickness(maker):
    known, unknown = Film(80.0, 3.3, 22.0), Film(140.0, 4.0, 22.0)
    per_mass = 1e9
    standard = maker.spectrum(
        maker.expected(STANDARD, 0, known, photons_per_mass=per_mass), "olivine"
    )
    zeta = calibrate_zeta_factors(
        standard, STANDARD, dose=1e12, thickness=80.0, density=3.3,
        calibration=maker.calibration,
    )  # fmt: skip
    # Half the photons for the same mass thickness: half the dose.
    weights = {"O": 0.40, "Mg": 0.32, "Si": 0.20, "Fe": 0.08}
    emitted = {}
    for name, w in (("standard", STANDARD), ("sample", weights)):
        emitted[name] = sum(w[e] / k_factor_family(e, "K", 200.0) for e in w)
        emitted[name] += w["Fe"] / k_factor_family("Fe", "L", 200.0)
    sample = maker.spectrum(
        maker.expected(
            weights, 0, unknown,
            photons_per_mass=per_mass / 2 * emitted["sample"] / emitted["standard"],
        )
    )  # fmt: skip
    c = quantify(sample, list(weights), zeta_factors=zeta, dose=5e11, calibration=maker.calibration)
    assert dict(zip(c.elements, c.weight_fractions, strict=True)) == pytest.approx(
        weights, rel=4e-3
    )
    # 140 nm of 4.0 g/cm3 are 5.6e-4 kg/m2; the absorption was found without being told.
    assert c.mass_thickness.value == pytest.approx(5.6e-4, rel=4e-3)
    assert 0 < c.mass_thickness.sigma < 0.01 * c.mass_thickness.value
    assert c.absorption[0] < 0.9


def test_bad_zeta(maker):
    spectrum = maker.spectrum(maker.expected(STANDARD, 1e5))
    zeta = ZetaFactors({"Si": 1000.0})
    with pytest.raises(InputError, match="dose"):
        quantify(spectrum, ["Si"], zeta_factors=zeta)
    with pytest.raises(InputError, match="replace thickness"):
        quantify(spectrum, ["Si"], zeta_factors=zeta, dose=1e9, thickness=1.0, density=1.0)
    with pytest.raises(InputError, match="at least one"):
        ZetaFactors({})
    with pytest.raises(InputError, match="reference 'O'"):
        ZetaFactors({"Si": 1000.0}, reference="O")
    with pytest.raises(InputError, match="must be positive"):
        ZetaFactors({"Si": -1.0})
