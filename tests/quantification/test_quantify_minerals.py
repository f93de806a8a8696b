import numpy as np
import pytest

from siftem.errors import InputError
from siftem.quantification.minerals import (
    VALENCES,
    Quantity,
    formula_units,
    oxide_name,
    oxides_per_atom,
    parse_ratio,
    ratio,
)

ELEMENTS = ("O", "Mg", "Al", "Si", "Fe")


@pytest.mark.parametrize(
    ("text", "top", "bottom"),
    [
        ("(Mg+Fe)/O", [0, 1, 0, 0, 1], [1, 0, 0, 0, 0]),
        ("Mg/(Mg+Fe)", [0, 1, 0, 0, 0], [0, 1, 0, 0, 1]),
        ("(Mg+Fe+Al/2)/(Si+Al/2)", [0, 1, 0.5, 0, 1], [0, 0, 0.5, 1, 0]),
        (" ( Mg + Fe / 4 ) / Si ", [0, 1, 0, 0, 0.25], [0, 0, 0, 1, 0]),
        ("Mg/Si", [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]),
        ("(Mg+Mg)/Si", [0, 2, 0, 0, 0], [0, 0, 0, 1, 0]),
    ],
)
def test_ratios_in_writing(text, top, bottom):
    got = parse_ratio(text, ELEMENTS)
    assert got[0].tolist() == top
    assert got[1].tolist() == bottom


@pytest.mark.parametrize(
    "text",
    ["Mg", "Mg/Si/O", "(Mg+Fe", "Mg+Fe)/O", "(Mg+Ti)/O", "()/O", "Mg/", "(Mg+Fe/0)/O",
     "(Mg+Fe/x)/O", "(Mg+Fe/-2)/O", ""],
)  # fmt: skip
def test_bad_ratios(text):
    with pytest.raises(InputError, match="ratio"):
        parse_ratio(text, ELEMENTS)


def test_error_of_a_ratio():
    atoms = np.array([3.0, 2.0, 1.0])
    covariance = np.array([[0.09, 0.01, 0.0], [0.01, 0.04, 0.0], [0.0, 0.0, 0.01]])
    top, bottom = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    found = ratio(atoms, covariance, top, bottom)
    relative = 0.09 / 9 + 0.04 / 4 - 2 * 0.01 / 6
    assert found.value == pytest.approx(1.5)
    assert found.sigma == pytest.approx(1.5 * np.sqrt(relative))
    # A part of a sum that holds it: Mg/(Mg+Fe) can't exceed 1.
    part = ratio(atoms, covariance, top, np.array([1.0, 1.0, 0]))
    step = 1e-6
    slope = [(3 + step) / (5 + step) - 0.6, 3 / (5 + step) - 0.6]
    slope = np.array([*slope, 0]) / step
    assert part.sigma == pytest.approx(np.sqrt(slope @ covariance @ slope), rel=1e-4)


def test_ratio_to_nothing_is_no_number():
    found = ratio(np.array([1.0, 0.0]), np.eye(2), np.array([1.0, 0]), np.array([0, 1.0]))
    assert np.isnan(found.value)
    assert np.isnan(found.sigma)


@pytest.mark.parametrize(
    ("element", "oxide", "weight"),
    [
        # Molar masses of the oxides, g/mol (CIAAW 2021 atomic weights), per cation.
        ("Mg", "MgO", 40.304), ("Si", "SiO2", 60.083), ("Al", "Al2O3", 101.961 / 2),
        ("Na", "Na2O", 61.979 / 2), ("P", "P2O5", 141.943 / 2), ("Nd", "Nd2O3", 336.481 / 2),
        ("U", "UO2", 270.027), ("Fe", "FeO", 71.844), ("W", "WO3", 231.837),
    ],
)  # fmt: skip
def test_oxides(element, oxide, weight):
    assert oxide_name(element) == oxide
    assert oxides_per_atom([element])[0] == pytest.approx(weight, rel=5e-4)


def test_no_oxide_of_a_noble_gas():
    with pytest.raises(InputError, match="valence"):
        oxide_name("Ar")


def test_formula_units():
    # (Mg0.9 Fe0.1)(Si0.95 Al0.1)O3: charges 1.8 + 0.2 + 3.8 + 0.3 = 6.1, oxygens 3.05.
    atoms = np.array([3.0, 0.9, 0.1, 0.95, 0.1])
    atoms /= atoms.sum()
    covariance = np.diag((0.01 * atoms) ** 2)
    units = formula_units(ELEMENTS, atoms, covariance, 3.0)
    assert "O" not in units
    factor = 3 / 3.05
    assert units["Mg"].value == pytest.approx(0.9 * factor)
    assert units["Si"].value == pytest.approx(0.95 * factor)
    # The cations of the formula carry exactly the charge of three oxygens.
    charges = {"Mg": 2, "Al": 3, "Si": 4, "Fe": 2}
    assert sum(charges[e] * q.value for e, q in units.items()) == pytest.approx(6)
    measured = formula_units(ELEMENTS, atoms, covariance, 3.0, by="measured")
    assert measured["O"] == Quantity(pytest.approx(3.0), pytest.approx(0.0, abs=1e-12))
    assert measured["Mg"].value == pytest.approx(0.9)
    assert measured["Mg"].sigma == pytest.approx(0.9 * np.hypot(0.01, 0.01))


@pytest.mark.parametrize(("oxygens", "by"), [(0.0, "stoichiometry"), (3.0, "charge")])
def test_bad_formula(oxygens, by):
    with pytest.raises(InputError):
        formula_units(ELEMENTS, np.ones(5) / 5, np.eye(5), oxygens, by=by)


def test_oxides_are_those_of_whole_rock_analyses():
    """Oxides as analyses report them: Deer, Howie & Zussman 2013, with all iron as FeO."""
    groups = {
        "{}2O": ("H", "Li", "Na", "K", "Rb", "Cs"),
        "{}O": ("Be", "Mg", "Ca", "Sr", "Ba", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Pb"),
        "{}2O3": (
            "B", "Al", "Sc", "V", "Cr", "Ga", "Y", "La", "Ce", "Pr", "Nd", "Sm", "Eu", "Gd", "Tb",
            "Dy", "Ho", "Er", "Tm", "Yb", "Lu",
        ),
        "{}O2": ("Si", "Ge", "Ti", "Zr", "Hf", "Th", "U"),
        "{}2O5": ("P", "Nb", "Ta"),
        "{}O3": ("S", "W"),
    }  # fmt: skip
    expected = {e: name.format(e) for name, elements in groups.items() for e in elements}
    assert {e: oxide_name(e) for e in VALENCES} == expected
