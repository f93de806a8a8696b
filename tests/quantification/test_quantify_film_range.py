import warnings

import numpy as np
import pytest

from siftem.errors import InputError, SiftemWarning
from siftem.quantification.composition import quantify
from siftem.quantification.film import Film, film_range
from siftem.quantification.k_values import GivenKFactors
from siftem.quantification.partition import partition_coefficient
from siftem.xray.detector import BARE, POLYMER, Detector
from siftem.xray.elements import atomic_weight

OXIDES = {
    "SrTiO3": ({"Sr": 1, "Ti": 1, "O": 3}, 5.12),
    "MgO": ({"Mg": 1, "O": 1}, 3.58),
    "Fe2O3": ({"Fe": 2, "O": 3}, 5.24),
    "BN on Si": ({"B": 1, "N": 1, "Si": 0.2}, 2.1),
    "TiC": ({"Ti": 1, "C": 1}, 4.9),
}


def by_weight(atoms):
    weights = {e: n * atomic_weight(e) for e, n in atoms.items()}
    return {e: w / sum(weights.values()) for e, w in weights.items()}


def seen(maker, atoms, film, counts=3e6):
    return maker.spectrum(maker.expected(by_weight(atoms), counts, film), "oxide")


def told(maker, spectrum, elements, window=BARE, **film):
    return quantify(
        spectrum, elements, calibration=maker.calibration, warn_above=None,
        energy_range=(None, None), detector=Detector(window=window), **film,
    )  # fmt: skip


@pytest.mark.parametrize("thickness", [30.0, 100.0, 180.0])
@pytest.mark.parametrize("name", OXIDES)
def test_the_interval_of_an_unknown_film_holds_the_truth(maker, name, thickness):
    atoms, density = OXIDES[name]
    film = Film(thickness, density, 22.0)
    elements = [e for e in atoms if e not in ("B", "C")]  # below the fitted range
    atoms = {e: atoms[e] for e in elements}
    if len(elements) < 2:
        pytest.skip("one line in the range")
    c = told(maker, seen(maker, atoms, film), elements)
    true = np.array([atoms[e] for e in elements])
    true = true / true.sum()
    low, high = c.atomic_interval_95.T
    assert ((low <= true) & (true <= high)).all()
    # The reported systematic error reaches as far.
    sigma = np.sqrt(np.diag(c.atomic_systematic))
    assert (np.abs(c.atomic_fractions - true) < 2 * sigma).all()
    given = told(maker, seen(maker, atoms, film), elements, thickness=thickness, density=density)
    assert given.atomic_fractions == pytest.approx(true, rel=0.01)
    assert (np.diff(given.atomic_interval_95) <= np.diff(c.atomic_interval_95)).all()


def test_the_end_of_the_range_is_what_that_film_would_give(maker):
    atoms, _ = OXIDES["SrTiO3"]
    c = told(maker, seen(maker, atoms, Film(100.0, 5.12, 22.0)), list(atoms))
    thick = told(
        maker, seen(maker, atoms, Film(100.0, 5.12, 22.0)), list(atoms), thickness=200, density=5.0
    )
    # The continuum is not fitted anew, which costs a little.
    assert c.film_ends.shape == (1, 3)
    assert c.film_ends[0] == pytest.approx(thick.weight_fractions, rel=0.02)
    assert c.film_ends[0].sum() == pytest.approx(1)
    mode = (c.film_ends[0] - c.weight_fractions) / np.sqrt(3)
    assert c.film_mode() == pytest.approx(mode)
    without = told(
        maker, seen(maker, atoms, Film(100.0, 5.12, 22.0)), list(atoms), thickness=0
    ).systematic
    assert c.systematic == pytest.approx(without + np.outer(mode, mode))


def test_a_range_of_thicknesses(maker):
    atoms, density = OXIDES["SrTiO3"]
    spectrum = seen(maker, atoms, Film(100.0, density, 22.0))
    c = told(maker, spectrum, list(atoms), thickness=(60, 140), density=density)
    middle = told(maker, spectrum, list(atoms), thickness=100, density=density)
    assert c.weight_fractions == pytest.approx(middle.weight_fractions)
    assert c.film.mass_thickness == pytest.approx(100e-6 * density)
    for end, thickness in zip(c.film_ends, (60, 140), strict=True):
        there = told(maker, spectrum, list(atoms), thickness=thickness, density=density)
        assert end == pytest.approx(there.weight_fractions, rel=0.01)
    o = c.index("O")
    low, high = c.weight_interval_95[o]
    assert low < c.film_ends[0, o] < c.film_ends[1, o] < high
    assert c.systematic_sigma[o] > middle.systematic_sigma[o]
    wider = told(maker, spectrum, list(atoms), thickness=(60, 140), density=(4.5, 5.5))
    assert wider.film.mass_thickness == pytest.approx((60 * 4.5 + 140 * 5.5) / 2 * 1e-6)


def test_thickness_zero_absorbs_nothing(maker):
    atoms, _ = OXIDES["MgO"]
    c = told(maker, seen(maker, atoms, None), list(atoms), thickness=0)
    assert c.film_ends is None and c.film is None
    assert c.atomic_fractions == pytest.approx([0.5, 0.5], rel=0.01)


def test_an_unknown_film_is_told_when_it_matters(maker):
    atoms, density = OXIDES["SrTiO3"]
    spectrum = seen(maker, atoms, Film(100.0, density, 22.0))
    arguments = {"calibration": maker.calibration}
    with pytest.warns(
        SiftemWarning, match=r"oxide: absorption .* not known: O is .* Give thickness"
    ):
        quantify(spectrum, list(atoms), **arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SiftemWarning)
        quantify(spectrum, list(atoms), thickness=(50, 150), density=density, **arguments)
        # Hard lines leave the film anyhow.
        steel = maker.spectrum(maker.expected({"Fe": 0.8, "Cr": 0.2}, 1e6), "steel")
        quantify(steel, ["Fe", "Cr"], **arguments)


def test_partition_coefficients_share_the_film(maker):
    """The same unknown film moves both phases alike, so that it nearly cancels."""
    film = Film(100.0, 4.0, 22.0)
    a, b = (
        told(maker, maker.spectrum(maker.expected(w, 1e6, film), n), list(w))
        for n, w in (
            ("a", {"O": 0.44, "Mg": 0.36, "Fe": 0.20}),
            ("b", {"O": 0.42, "Mg": 0.40, "Fe": 0.18}),
        )
    )
    d = partition_coefficient(a, b, "Fe")
    alone = abs(a.film_mode()[2] / a.weight_fractions[2])
    assert alone > 0.1
    difference = alone - abs(b.film_mode()[2] / b.weight_fractions[2])
    assert abs(difference) < 0.05
    assert abs(difference) * d.value < d.systematic < 0.3 * alone * d.value + 0.05


@pytest.mark.parametrize(
    ("thickness", "density", "message"),
    [
        (100.0, None, "give both or none"),
        (None, (3.0, 4.0), "give both or none"),
        ((100.0, 50.0), 4.0, "the least and the most"),
        ((-1.0, 50.0), 4.0, "the least and the most"),
        ((10.0, 50.0), (0.0, 4.0), "the least and the most"),
        (-3.0, 4.0, "must be positive"),
    ],
)
def test_impossible_films(thickness, density, message):
    with pytest.raises(InputError, match=message):
        film_range(thickness, density, 22.0)


def test_the_interval_of_an_unknown_window_holds_what_a_polymer_one_would_tell(maker):
    atoms, density = OXIDES["Fe2O3"]
    spectrum = seen(maker, atoms, Film(60.0, density, 22.0))
    c = told(maker, spectrum, list(atoms), window=None)
    bare, polymer = (told(maker, spectrum, list(atoms), window=w) for w in (BARE, POLYMER))
    o = c.index("O")
    assert c.weight_fractions == pytest.approx(bare.weight_fractions, rel=1e-6)
    assert c.film_ends[0] == pytest.approx(polymer.film_ends[0], rel=0.03)
    assert c.atomic_interval_95[o][0] == pytest.approx(bare.atomic_interval_95[o][0], abs=0.05)
    assert c.atomic_interval_95[o][1] > bare.atomic_interval_95[o][1] + 0.03
    assert np.diag(c.systematic)[o] > np.diag(bare.systematic)[o]
    # A given factor was measured behind the window, whatever it is.
    factors = GivenKFactors({"O": 1.5, "Fe": 1.0}, reference="Fe")
    for window in (None, BARE):
        given = told(maker, spectrum, list(atoms), window=window, k_factors=factors)
        assert given.film_ends[0][o] == pytest.approx(
            told(maker, spectrum, list(atoms), k_factors=factors).film_ends[0][o]
        )


def test_what_an_unknown_window_may_do_is_told(maker):
    atoms, density = OXIDES["Fe2O3"]
    spectrum = seen(maker, atoms, Film(60.0, density, 22.0))
    with pytest.warns(SiftemWarning, match="behind a detector's polymer window. The intervals"):
        quantify(spectrum, list(atoms), calibration=maker.calibration)
