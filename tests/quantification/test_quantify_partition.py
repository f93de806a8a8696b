import numpy as np
import pytest

from siftem.errors import InputError
from siftem.quantification.composition import quantify
from siftem.quantification.partition import PartitionCoefficient, partition_coefficient
from siftem.spectrum import Spectrum

RICH = {"O": 0.38, "Si": 0.22, "Ca": 0.33, "Nd": 0.07}
POOR = {"O": 0.46, "Mg": 0.22, "Si": 0.30, "Nd": 0.02}


def made(maker, weights, counts, name, seed=None, elements=None):
    spectrum = maker.spectrum(maker.expected(weights, counts), name, seed)
    return quantify(spectrum, elements or list(weights), calibration=maker.calibration, thickness=0)


def test_value_and_error(maker):
    a, b = made(maker, RICH, 1e6, "Ca-Pv", 1), made(maker, POOR, 1e6, "Brg", 2)
    d = partition_coefficient(a, b, "Nd")
    assert d.value == pytest.approx(3.5, rel=0.05)
    relative = np.hypot(*(c.with_error("Nd").sigma / c.with_error("Nd").value for c in (a, b)))
    assert d.sigma == pytest.approx(d.value * relative)
    assert d.phases == ("Ca-Pv", "Brg")
    assert d.limit == ""
    assert str(d).startswith("D(Nd, Ca-Pv/Brg) = 3.")


def test_its_own_k_factor_cancels(maker):
    a, b = made(maker, RICH, 1e6, "Ca-Pv"), made(maker, POOR, 1e6, "Brg")
    d = partition_coefficient(a, b, "Nd")
    # By hand: a relative change e of the k of element j moves ln D by e (C_b,j - C_a,j).
    sigma = {"O": 0.1, "Mg": 0.1, "Si": 0.1, "Ca": 0.1, "Nd": 0.175}
    moves = [sigma[e] * (POOR.get(e, 0) - RICH.get(e, 0)) for e in sigma]
    assert d.systematic == pytest.approx(d.value * np.linalg.norm(moves), rel=0.02)
    assert d.systematic < 0.06 * d.value


def test_limits_when_one_phase_has_none(maker):
    a = made(maker, RICH, 1e6, "Ca-Pv", 1)
    without = {"O": 0.47, "Mg": 0.22, "Si": 0.31}
    b = made(maker, without, 1e6, "Brg", 5, elements=[*without, "Nd"])
    d = partition_coefficient(a, b, "Nd")
    assert d.limit == "above"
    assert d.value == pytest.approx(a.with_error("Nd").value / b.detection_limits[-1])
    assert "> " in str(d)
    upside_down = partition_coefficient(b, a, "Nd")
    assert upside_down.limit == "below"
    assert "< " in str(upside_down)
    assert upside_down.value == pytest.approx(1 / d.value)
    with pytest.raises(InputError, match="below its critical level in Brg"):
        partition_coefficient(b, b, "Nd")
    with pytest.raises(InputError, match="U was not quantified"):
        partition_coefficient(a, b, "U")


@pytest.mark.parametrize("draws", [24, pytest.param(60, marks=pytest.mark.slow)])
def test_noise_of_the_subtracted_matrix_is_shared(maker, draws):
    # The grain's spectrum holds -0.8 times the matrix' noise: D spreads more than apart.
    rng = np.random.default_rng(0)
    grain, matrix = maker.expected(RICH, 4e4), maker.expected(POOR, 4e5)
    ratios, apart, shared = [], [], []
    for _ in range(draws):
        mixture, measured = rng.poisson(grain + 0.8 * matrix), rng.poisson(matrix).astype(float)
        pure = Spectrum(
            mixture - 0.8 * measured, maker.axis, name="Ca-Pv",
            variance=mixture + 0.64 * measured, background=0.8 * measured,
            acquisition=maker.spectrum(grain).acquisition,
        )  # fmt: skip
        elements = ["O", "Mg", "Si", "Ca", "Nd"]
        a = quantify(pure, elements, calibration=maker.calibration, thickness=0)
        b = quantify(
            maker.spectrum(measured, "Brg"), elements, calibration=maker.calibration, thickness=0
        )
        d = partition_coefficient(a, b, "Nd", subtracted=0.8)
        ratios.append(d.value)
        shared.append(d.sigma)
        apart.append(partition_coefficient(a, b, "Nd").sigma)
    assert np.mean(shared) > np.mean(apart)
    assert np.std(ratios) == pytest.approx(np.mean(shared), rel=0.3)


@pytest.mark.parametrize(
    ("limit", "end"), [("", "3.2 +- 0.12"), ("above", "> 3.2"), ("below", "< 3.2")]
)
def test_a_limit_has_no_error_beside_it(limit, end):
    d = PartitionCoefficient("Nd", ("Ca-Pv", "Brg"), 3.2, 0.12, 0.3, limit)
    assert str(d) == f"D(Nd, Ca-Pv/Brg) = {end}"
