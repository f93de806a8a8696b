import dataclasses

import numpy as np
import pytest
from scipy.optimize import nnls

from siftem.errors import InputError
from siftem.xray.continuum import continuum_basis, continuum_terms
from siftem.xray.detector import POLYMER, Detector, escape_fraction


def test_resolution():
    # FWHM^2 = 130^2 + 2.33 (E - 5895): validation/xray_film_and_detector.py
    fwhm = Detector().fwhm(np.array([0.5249, 1.7400, 5.895, 6.3996, 13.600]))
    assert fwhm == pytest.approx([66, 85, 130, 134, 187], abs=0.6)
    assert Detector().sigma(5.895) == pytest.approx(0.130 / 2.35482, rel=1e-5)


def test_efficiency_of_the_default_detector():
    efficiency = Detector().efficiency(np.array([0.5249, 1.7400, 6.3996, 13.600]))
    assert efficiency == pytest.approx([0.9334, 0.9892, 0.9989, 0.7641], abs=5e-4)
    assert ((efficiency > 0) & (efficiency <= 1)).all()


def test_edges_of_the_layers_show():
    # Al K edge 1.5596, Si K edge 1.8389 keV: both lower the efficiency above them.
    detector = Detector(window=(("Al", 200.0),), dead_layer=200.0)
    below, above = detector.efficiency(np.array([1.555, 1.565]))
    assert above < 0.9 * below
    below, above = detector.efficiency(np.array([1.835, 1.845]))
    assert above < 0.95 * below


def test_window_of_a_compound():
    energy = 0.5249
    # 100 nm of Si3N4 at 3.2 g/cm3 is 60.06% Si and 39.94% N by weight.
    compound = Detector(window=(("Si3N4", 100.0, 3.2),), dead_layer=0.0)
    parts = Detector(window=(("Si", 60.06, 3.2), ("N", 39.94, 3.2)), dead_layer=0.0)
    assert compound.efficiency(energy) == pytest.approx(parts.efficiency(energy), rel=1e-4)
    assert compound.efficiency(energy) < Detector(window=(), dead_layer=0.0).efficiency(energy)


def test_lists_from_a_recipe_make_the_same_detector():
    known = Detector(window=(("Al", 10.0),))
    assert Detector(window=[["Al", 10]]) == known
    assert hash(Detector(window=[["Al", 10]])) == hash(known)
    # Not known: reckoned with as no window, and not the same.
    assert Detector() != known
    assert Detector().efficiency(0.5) == known.efficiency(0.5)


def test_a_polymer_window_lets_through_what_its_data_sheet_says():
    """Moxtek AP3, between its ribs: N 42, O 60, F 70% (of what no window stops)."""
    through = Detector(window=POLYMER).efficiency(np.array([0.392, 0.525, 0.677, 6.4]))
    assert through / Detector().efficiency(np.array([0.392, 0.525, 0.677, 6.4])) == pytest.approx(
        [0.42, 0.6, 0.72, 1.0], abs=0.08
    )
    assert dataclasses.replace(Detector(), resolution=125.0).resolution == 125.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolution": 60.0}, "limit of silicon"),
        ({"resolution": float("nan")}, "resolution"),
        ({"dead_layer": -1.0}, "dead_layer"),
        ({"thickness": 0.0}, "thickness"),
        ({"window": "Al"}, "window"),
        ({"window": (("Al",),)}, "window layer"),
        ({"window": (("Al", -3.0),)}, "window layer"),
        ({"window": (("Si3N4", 100.0),)}, "needs its density"),
        ({"window": (("N", 100.0),)}, "needs its density"),
        ({"window": (("kapton", 100.0, 1.4),)}, "formula"),
    ],
)
def test_bad_detectors(change, message):
    with pytest.raises(InputError, match=message):
        Detector(**change)


def test_escape_fractions():
    # Reed & Ware 1972 with xraylib's data: validation/xray_film_and_detector.py
    fractions = escape_fraction(np.array([2.0137, 3.6905, 6.3996]))
    assert fractions == pytest.approx([0.0166, 0.0091, 0.0032], abs=6e-5)
    assert escape_fraction(np.array([0.5249, 1.7400, 1.838])).tolist() == [0.0, 0.0, 0.0]


def test_continuum_terms():
    energy = np.array([-0.4, 0.0, 0.2, 1.0, 5.0, 20.0, 200.0, 250.0])
    terms = continuum_terms(energy, 200.0)
    assert terms.shape == (3, 8)
    assert (terms >= 0).all()
    assert (terms[:, [0, 1, 6, 7]] == 0).all()
    assert terms[:, 3] == pytest.approx(199 / 200)
    # Kramers: (E0 - E)/E; the second term is steeper by 1/E, the third flatter by E.
    assert terms[0, 3] / terms[0, 4] == pytest.approx((199 / 1) / (195 / 5))
    assert terms[1, 2:6] / terms[0, 2:6] == pytest.approx(1 / energy[2:6])
    assert terms[2, 2:6] / terms[0, 2:6] == pytest.approx(energy[2:6])
    more = continuum_terms(energy, 200.0, n_terms=5)
    assert more[:3] == pytest.approx(terms)
    assert more[3, 2:6] / terms[0, 2:6] == pytest.approx(energy[2:6] ** 2)
    assert more[4, 2:6] / terms[0, 2:6] == pytest.approx(energy[2:6] ** 3)


@pytest.mark.parametrize("n_terms", [1, 2, 3, 5])
def test_continuum_basis(n_terms):
    energy = np.array([-0.4, 0.0, 0.1, 0.2, 1.0, 5.0, 30.0, 60.0, 200.0])
    terms = continuum_basis(energy, 200.0, n_terms=n_terms)
    assert terms.shape == (n_terms, 9)
    assert (terms >= 0).all()
    # Bernstein polynomials sum to one: equal coefficients are Kramers' law.
    assert terms.sum(axis=0) == pytest.approx(continuum_terms(energy, 200.0, n_terms=1)[0])
    # At the ends one term alone is left.
    assert (terms[1:, 2:4] == 0).all()
    assert terms[:-1, 6:8] == pytest.approx(np.zeros((n_terms - 1, 2)), abs=1e-15)


def test_continuum_basis_follows_power_laws():
    # Between 0.25 and 20 keV, E^-0.9 to E^-1.2 to better than 1%, with positive coefficients.
    energy = np.geomspace(0.25, 20.0, 200)
    terms = continuum_basis(energy, 200.0)
    for power in (-0.9, -1.08, -1.2):
        wanted = (200 - energy) * energy**power
        coefficients, _ = nnls((terms / wanted).T, np.ones(200))
        assert coefficients @ terms == pytest.approx(wanted, rel=0.01)


def test_bad_continuum():
    with pytest.raises(InputError, match="n_terms"):
        continuum_basis(np.ones(3), 200.0, n_terms=9)
    with pytest.raises(InputError, match="n_terms"):
        continuum_terms(np.ones(3), 200.0, n_terms=0)
    with pytest.raises(InputError, match="shape"):
        continuum_terms(np.ones((3, 3)), 200.0)
