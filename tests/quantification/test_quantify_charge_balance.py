import numpy as np
import pytest

from siftem.errors import InputError
from siftem.quantification.charge_balance import thickness_from_charge_balance
from siftem.quantification.film import Film

#: Forsterite, Mg2SiO4, by weight.
FORSTERITE = {"O": 0.4548, "Mg": 0.3455, "Si": 0.1996}
DENSITY = 3.22


@pytest.fixture(scope="module")
def film(maker):
    return maker.expected(FORSTERITE, 2e6, Film(180.0, DENSITY, 22.0))


def test_thickness_of_a_neutral_film(maker, film):
    found = thickness_from_charge_balance(
        maker.spectrum(film, "forsterite"), ["O", "Mg", "Si"], density=DENSITY,
        calibration=maker.calibration,
    )  # fmt: skip
    assert found.thickness.value == pytest.approx(180, abs=2)
    assert found.composition.ratio("Mg/Si").value == pytest.approx(2, rel=5e-3)
    assert found.composition.film.thickness == pytest.approx(found.thickness.value)
    # The mass thickness is what counts.
    heavy = thickness_from_charge_balance(
        maker.spectrum(film), ["O", "Mg", "Si"], density=2 * DENSITY, calibration=maker.calibration
    )
    assert heavy.thickness.value == pytest.approx(found.thickness.value / 2, rel=1e-2)
    # 10% of k(O) against the cations': some 10% of O over its change with the thickness.
    assert found.systematic == pytest.approx(0.12 / found.slope, rel=0.4)
    assert found.systematic > 20 * found.thickness.sigma


@pytest.mark.slow
def test_counting_error_by_simulation(maker, film):
    rng = np.random.default_rng(1)
    found = [
        thickness_from_charge_balance(
            maker.spectrum(rng.poisson(film / 10).astype(float)), ["O", "Mg", "Si"],
            density=DENSITY, calibration=maker.calibration,
        ).thickness
        for _ in range(12)
    ]  # fmt: skip
    told = np.mean([q.sigma for q in found])
    # The spread of 12 values is good to 20%.
    assert np.std([q.value for q in found], ddof=1) == pytest.approx(told, rel=0.6)


def test_other_valences(maker, film):
    # With Mg taken as 2.2+, more O is needed: a thicker film.
    found = thickness_from_charge_balance(
        maker.spectrum(film), ["O", "Mg", "Si"], density=DENSITY, valences={"Mg": 2.2},
        calibration=maker.calibration,
    )  # fmt: skip
    assert found.thickness.value > 200


@pytest.mark.parametrize(
    ("elements", "valences", "message"),
    [
        (["Mg", "Si"], None, "needs an oxide"),
        (["O", "Mg", "Si", "N"], None, "needs an oxide"),
        (["O", "Mg", "Si"], {"Ca": 2}, "valence 2 of Ca"),
        (["O", "Mg", "Si"], {"Mg": 0.1}, "even without absorption"),
        (["O", "Mg", "Si"], {"Mg": 40.0}, "even in a film"),
    ],
)
def test_refusals(maker, film, elements, valences, message):
    with pytest.raises(InputError, match=message):
        thickness_from_charge_balance(
            maker.spectrum(film), elements, density=DENSITY, valences=valences,
            calibration=maker.calibration,
        )  # fmt: skip
