from types import SimpleNamespace

import numpy as np
import pytest

from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.unmixing.anchors import Absent, GivenScale, KnownRatio, MostMatrix, Stoichiometry
from siftem.unmixing.conditions import KnownScale, solve_scales
from siftem.xray.elements import atomic_weight
from siftem.xray.k_factors import emission, k_factor_uncertainty
from siftem.xray.lines import line_family


def lines(covariance=None, **photons):
    """A line fit reduced to what anchors look at: photons of K families, with covariance."""
    names = [f"{e} K" for e in photons]
    values = np.array(list(photons.values()), float)
    covariance = np.diag(values) if covariance is None else np.asarray(covariance, float)
    families = [line_family(e, "K", beam_energy=200.0) for e in photons]

    def index(element):
        if f"{element} K" not in names:
            raise InputError(f"element {element} has no fitted K, L or M line")
        return names.index(f"{element} K")

    return SimpleNamespace(
        names=names, amplitudes=values, unbounded=values, covariance=covariance, index=index,
        operator=np.eye(len(names)),
        model=SimpleNamespace(families=families, beam_energy=200.0),
        spectrum=SimpleNamespace(axis=EnergyAxis(0.2, 0.01, 1000)),
        sigma_at_zero=lambda i: 1.0,
    )  # fmt: skip


def atoms(element, photons):
    return photons / emission(element, "K", 200.0) * emission("Si", "K", 200.0)


def test_one_absent_element():
    # a = R1/R2, Var a = a^2 (1/R1 + 1/R2): 300 of 1000 counts.
    scale = Absent("Si").scale(lines(Si=300.0, Mg=500.0), lines(Si=1000.0, Mg=900.0))
    assert scale.value == pytest.approx(0.3)
    assert scale.sigma**2 == pytest.approx(0.09 * (1 / 300 + 1 / 1000))
    assert scale.conflict == 0
    assert scale.systematic == 0


def test_two_absent_elements_are_averaged_by_their_errors():
    mixture, matrix = lines(Si=3100.0, Al=140.0), lines(Si=10000.0, Al=500.0)
    scale = Absent("Si", "Al").scale(mixture, matrix)
    ratios = np.array([0.31, 0.28])
    # Weights at the common scale, where both conditions are compared.
    variance = np.array(
        [(3100 + scale.value**2 * 10000) / 10000**2, (140 + scale.value**2 * 500) / 500**2]
    )
    weights = (1 / variance) / (1 / variance).sum()
    assert scale.value == pytest.approx(weights @ ratios, rel=1e-6)
    assert scale.sigma**2 == pytest.approx(1 / (1 / variance).sum(), rel=1e-6)
    # Off by the weights' lever over what is left of its own variance.
    off = np.abs(ratios - scale.value) / np.sqrt(variance - scale.sigma**2)
    assert scale.conflict == pytest.approx(off.max(), rel=1e-4)
    assert scale.conflict < 2


def test_correlated_lines_count_less():
    correlated = [[3100.0, 600.0], [600.0, 140.0]]
    loose = Absent("Si", "Al").scale(lines(Si=3100.0, Al=150.0), lines(Si=10000.0, Al=500.0))
    tied = Absent("Si", "Al").scale(
        lines(correlated, Si=3100.0, Al=150.0), lines(Si=10000.0, Al=500.0)
    )
    assert tied.value != pytest.approx(loose.value, rel=1e-4)


def test_conflicting_elements_are_told():
    scale = Absent("Si", "Al").scale(lines(Si=30000.0, Al=2500.0), lines(Si=100000.0, Al=5000.0))
    assert scale.conflict > 3


@pytest.mark.parametrize("by", ["atoms", "weight"])
def test_known_ratio(by):
    # 40% matrix and a grain with exactly that ratio.
    weight = atomic_weight("Ca") / atomic_weight("Si") if by == "weight" else 1.0
    per_atom = {e: emission(e, "K", 200.0) / emission("Si", "K", 200.0) for e in ("Ca", "Si")}
    grain = {"Ca": 0.9 / weight * 5000 * per_atom["Ca"], "Si": 5000 * per_atom["Si"]}
    matrix = lines(Ca=500.0, Si=40000.0)
    mixture = lines(Ca=grain["Ca"] + 0.4 * 500, Si=grain["Si"] + 0.4 * 40000)
    scale = KnownRatio("Ca", "Si", 0.9, by=by).scale(mixture, matrix)
    assert scale.value == pytest.approx(0.4)
    # By hand: residual a1 - r b1 - s (a2 - r b2), each photon count with its own variance.
    factor = {"Ca": atoms("Ca", 1.0), "Si": -0.9 / weight * atoms("Si", 1.0)}
    bottom = sum(factor[e] * matrix.amplitudes[matrix.index(e)] for e in factor)
    variance = sum(
        factor[e] ** 2 * (mixture.amplitudes[i] + 0.16 * matrix.amplitudes[i])
        for i, e in enumerate(factor)
    )
    assert scale.sigma == pytest.approx(np.sqrt(variance) / abs(bottom), rel=1e-6)
    # The k-factors of two K lines are 10% uncertain each: apart from counting.
    moved = [0.1 * factor[e] * grain[e] / bottom for e in factor]
    assert k_factor_uncertainty("K") == 0.1
    assert scale.systematic == pytest.approx(np.hypot(*moved), rel=1e-6)


def test_uncertain_ratio_widens_the_scale():
    matrix, mixture = lines(Ca=500.0, Si=40000.0), lines(Ca=6000.0, Si=21000.0)
    exact = KnownRatio("Ca", "Si", 0.9).scale(mixture, matrix)
    loose = KnownRatio("Ca", "Si", 0.9, sigma=0.05).scale(mixture, matrix)
    step = 1e-4
    moved = KnownRatio("Ca", "Si", 0.9 + step).scale(mixture, matrix).value
    slope = (moved - exact.value) / step
    assert loose.value == pytest.approx(exact.value)
    assert loose.sigma**2 == pytest.approx(exact.sigma**2 + (0.05 * slope) ** 2, rel=1e-3)


def test_stoichiometry_of_one_element_each_is_the_known_ratio():
    matrix, mixture = lines(Ca=500.0, Si=40000.0), lines(Ca=6000.0, Si=21000.0)
    a = KnownRatio("Ca", "Si", 0.9, sigma=0.05).scale(mixture, matrix)
    b = Stoichiometry("Ca/Si", 0.9, sigma=0.05).scale(mixture, matrix)
    assert (a.value, a.sigma, a.systematic) == pytest.approx((b.value, b.sigma, b.systematic))


def test_stoichiometry_of_sums():
    per_atom = {e: emission(e, "K", 200.0) for e in ("Ca", "Mg", "Si", "Al")}
    unit = 3000 / emission("Si", "K", 200.0)
    grain = {
        e: n * unit * per_atom[e] for e, n in {"Ca": 0.9, "Mg": 0.1, "Si": 0.8, "Al": 0.4}.items()
    }
    other = {"Ca": 20.0, "Mg": 9000.0, "Si": 2000.0, "Al": 700.0}
    mixture = lines(**{e: grain[e] + 0.7 * other[e] for e in grain})
    anchor = Stoichiometry("(Ca+Mg)/(Si+Al/2)", 1.0)
    assert anchor.elements == ("Ca", "Mg", "Si", "Al")
    assert anchor.scale(mixture, lines(**other)).value == pytest.approx(0.7)


def test_given_k_factor_takes_over():
    matrix, mixture = lines(Ca=500.0, Si=40000.0), lines(Ca=6000.0, Si=21000.0)
    k = {e: atomic_weight(e) / atomic_weight("Si") * atoms(e, 1.0) for e in ("Ca", "Si")}
    same = Stoichiometry("Ca/Si", 0.9, k_factors=k).scale(mixture, matrix)
    assert same.value == pytest.approx(Stoichiometry("Ca/Si", 0.9).scale(mixture, matrix).value)
    higher = Stoichiometry("Ca/Si", 0.9, k_factors={"Ca": 1.1 * k["Ca"]}).scale(mixture, matrix)
    assert higher.value != pytest.approx(same.value, rel=1e-3)


def test_most_matrix_takes_the_smallest_ratio_of_the_strong_lines():
    mixture = lines(Si=300.0, Mg=700.0, Ca=0.0)
    matrix = lines(Si=1000.0, Mg=900.0, Ca=15.0)
    scale = MostMatrix(("Si", "Mg", "Ca", "Xx")).scale(mixture, matrix)
    assert scale.value == pytest.approx(0.3)  # Ca is too weak to count
    with pytest.raises(InputError, match="strong enough"):
        MostMatrix(("Ca",)).scale(mixture, matrix)


def test_given_scale():
    scale = GivenScale(0.25, 0.01).scale()
    assert (scale.value, scale.sigma) == (0.25, 0.01)


def test_two_contaminants_at_once():
    brg, fp = lines(Mg=5000.0, Al=400.0, Si=6000.0), lines(Mg=9000.0, Al=60.0, Si=0.0)
    mixture = lines(Mg=0.3 * 5000 + 0.05 * 9000, Al=0.3 * 400 + 0.05 * 60, Si=4000.0)
    conditions = Absent("Mg", "Al").conditions(mixture)
    found = solve_scales(mixture, [brg, fp], conditions)
    assert found.values == pytest.approx([0.3, 0.05])
    assert found.conflict == 0
    # Linear propagation with two equations and two unknowns.
    a = np.array([[5000.0, 9000.0], [400.0, 60.0]])
    v = np.diag([1950 + 0.09 * 5000 + 0.0025 * 9000, 123 + 0.09 * 400 + 0.0025 * 60])
    inverse = np.linalg.inv(a)
    assert found.covariance == pytest.approx(inverse @ v @ inverse.T, rel=1e-6)


def test_a_known_scale_beside_a_condition():
    brg, fp = lines(Mg=5000.0), lines(Mg=9000.0)
    mixture = lines(Mg=0.3 * 5000 + 0.05 * 9000)
    found = solve_scales(
        mixture, [brg, fp], Absent("Mg").conditions(mixture), [KnownScale(1, 0.05, 0.01)]
    )
    assert found.values == pytest.approx([0.3, 0.05])
    noise = (1950 + 0.09 * 5000 + 0.0025 * 9000) / 5000**2
    assert found.covariance[0, 0] == pytest.approx(noise + (0.01 * 9000 / 5000) ** 2, rel=1e-6)
    assert found.covariance[0, 1] == pytest.approx(-(0.01**2) * 9000 / 5000, rel=1e-6)


def test_weights_are_those_of_the_final_scales():
    """Conditions that disagree, beside a scale that is known and so is right from the start."""
    brg, fp = lines(Mg=5000.0, Al=400.0), lines(Mg=9000.0, Al=60.0)
    mixture = lines(Mg=0.4 * 5000 + 0.05 * 9000, Al=0.7 * 400 + 0.05 * 60)
    found = solve_scales(
        mixture, [brg, fp], Absent("Mg", "Al").conditions(mixture), [KnownScale(1, 0.05, 0.0)]
    )
    scale = found.values[0]
    left = (mixture.amplitudes - 0.05 * fp.amplitudes) / brg.amplitudes
    variance = mixture.amplitudes + scale**2 * brg.amplitudes + 0.05**2 * fp.amplitudes
    weights = brg.amplitudes**2 / variance
    assert scale == pytest.approx(weights @ left / weights.sum(), rel=1e-7)
    assert found.covariance[0, 0] == pytest.approx(1 / weights.sum(), rel=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Absent(), "at least one"),
        (lambda: Absent("Xx"), "chemical symbol"),
        (lambda: KnownRatio("Ca", "Xx", 1.0), "chemical symbol"),
        (lambda: KnownRatio("Ca", "Si", -1.0), "not negative"),
        (lambda: KnownRatio("Ca", "Si", 1.0, sigma=-1.0), "not negative"),
        (lambda: KnownRatio("Ca", "Si", 1.0, by="moles"), "atoms"),
        (lambda: Stoichiometry("Ca+Si"), "ratio must look"),
        (lambda: Stoichiometry("Ca/Xx"), "chemical symbol"),
        (lambda: Stoichiometry("Ca/Si", float("nan")), "not negative"),
        (lambda: Stoichiometry("Ca/Si", k_factors={"Ca": 0.0}), "k-factor of Ca"),
        (lambda: GivenScale(-0.1), "not be negative"),
        (lambda: GivenScale(float("nan")), "not be negative"),
    ],
)
def test_bad_anchors(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("anchor", "message"),
    [
        (Absent("Al"), "no clear Al"),
        (Absent("U"), "U has no fitted"),
        (KnownRatio("Ca", "Si", 0.0125 * 1.2), "choose another anchor"),
        (Stoichiometry("Ca/U"), "U has no fitted"),
    ],
)
def test_anchors_that_cannot_be_applied(anchor, message):
    per_atom = {e: emission(e, "K", 200.0) / emission("Si", "K", 200.0) for e in ("Ca", "Si")}
    matrix = lines(Si=40000.0 * per_atom["Si"], Ca=600.0 * per_atom["Ca"], Al=2.0)
    with pytest.raises(InputError, match=message):
        anchor.scale(lines(Si=20000.0, Ca=6000.0, Al=5.0), matrix)


def test_anchors_need_fits():
    for anchor in (Absent("Si"), KnownRatio("Ca", "Si", 1.0), MostMatrix(("Si",))):
        with pytest.raises(InputError, match="needs fitted lines"):
            anchor.scale(None, None)


def test_conditions_that_cannot_tell_two_contaminants_apart():
    brg, fp = lines(Mg=5000.0, Fe=500.0), lines(Mg=10000.0, Fe=1000.0)
    mixture = lines(Mg=3000.0, Fe=300.0)
    with pytest.raises(InputError, match="from each other"):
        solve_scales(mixture, [brg, fp], Absent("Mg", "Fe").conditions(mixture))
    with pytest.raises(InputError, match="at least as many"):
        solve_scales(mixture, [brg, fp], Absent("Mg").conditions(mixture))
