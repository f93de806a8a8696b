from dataclasses import replace

import numpy as np
import pytest

import siftem
from siftem.errors import InputError
from siftem.minerals.groups import GROUPS, group_of
from siftem.minerals.recalculation import recalculate
from siftem.minerals.structural_formula import Analysis
from siftem.xray.elements import atomic_weight


def analysis(atoms, *, counting=0.0, systematic=0.0, name="x", **more):
    """An analysis of so many atoms, with independent relative errors of the amounts."""
    elements = tuple(atoms)
    weights = np.array([n * atomic_weight(e) for e, n in atoms.items()])
    weights = weights / weights.sum()
    scale = np.broadcast_to(counting, weights.shape) * weights
    own = np.broadcast_to(systematic, weights.shape) * weights
    return Analysis(name, elements, weights, np.diag(scale**2), np.diag(own**2), **more)


#: Atoms of a mineral, its group, and ions of a formula unit that follow by definition.
MINERALS = [
    ({"Mg": 1.8, "Fe": 0.2, "Si": 1, "O": 4}, "olivine", {"Fe2+": 0.2}, "forsterite", 0.9),
    ({"Fe": 3, "O": 4}, "spinel", {"Fe2+": 1, "Fe3+": 2}, "magnetite", 1.0),
    ({"Fe": 2.5, "Ti": 0.5, "O": 4}, "spinel", {"Fe2+": 1.5, "Fe3+": 1}, "Fe2TiO4", 0.5),
    ({"Mg": 1, "Al": 2, "O": 4}, "spinel", {"Al": 2}, "aluminate", 1.0),
    ({"Ca": 3, "Fe": 2, "Si": 3, "O": 12}, "garnet", {"Fe3+": 2, "Fe2+": 0}, "andradite", 1.0),
    ({"Mg": 3, "Al": 2, "Si": 3, "O": 12}, "garnet", {"Mg": 3}, "pyrope", 1.0),
    ({"Mg": 4, "Si": 4, "O": 12}, "garnet", {"Mg": 4}, "majorite", 1.0),
    ({"Ca": 1.5, "Fe": 1.5, "Al": 2, "Si": 3, "O": 12}, "garnet", {"Fe2+": 1.5, "Fe3+": 0},
     "almandine", 0.5),
    ({"Na": 1, "Fe": 1, "Si": 2, "O": 6}, "pyroxene", {"Fe3+": 1, "Fe2+": 0}, "aegirine", 1.0),
    ({"Na": 1, "Al": 1, "Si": 2, "O": 6}, "pyroxene", {"Al": 1}, "jadeite", 1.0),
    ({"Ca": 1, "Mg": 0.5, "Fe": 0.5, "Si": 2, "O": 6}, "pyroxene", {"Fe2+": 0.5}, "En", 0.25),
    ({"Ca": 0.4, "Na": 0.6, "Al": 1.4, "Si": 2.6, "O": 8}, "feldspar", {"Al": 1.4}, "albite", 0.6),
    ({"Mg": 0.8, "Fe": 0.2, "O": 1}, "periclase", {"Fe2+": 0.2}, "periclase", 0.8),
    # FeAlO3 in bridgmanite: as much Fe3+ as Al, whose charges balance.
    ({"Mg": 0.9, "Fe": 0.1, "Al": 0.1, "Si": 0.9, "O": 3}, "perovskite",
     {"Fe3+": 0.1, "Fe2+": 0.0}, "FeAlO3", 0.1),
    ({"Fe": 1, "Ti": 1, "O": 3}, "ilmenite", {"Fe2+": 1, "Fe3+": 0}, "ilmenite", 1.0),
    ({"Fe": 1.4, "Ti": 0.6, "O": 3}, "ilmenite", {"Fe2+": 0.6, "Fe3+": 0.8}, "hematite", 0.4),
    ({"Ca": 0.5, "Mg": 0.5, "O": 3}, "carbonate", {"Ca": 0.5}, "calcite", 0.5),
    ({"Ca": 5, "P": 3, "F": 1, "O": 12}, "apatite", {"Ca": 5, "P": 3, "F": 1}, "F of X", 1.0),
    ({"K": 1, "Mg": 3, "Al": 1, "Si": 3, "O": 12}, "mica", {"Mg": 3, "K": 1}, "Mg of M", 1.0),
    ({"K": 1, "Al": 3, "Si": 3, "O": 12}, "mica", {"Al": 3}, "octahedral", 2.0),
    # Magnesio-hastingsite, NaCa2(Mg4Fe3+)Si6Al2O22(OH)2.
    ({"Na": 1, "Ca": 2, "Mg": 4, "Fe": 1, "Al": 2, "Si": 6, "O": 24}, "amphibole",
     {"Fe3+": 1, "Fe2+": 0, "Mg": 4}, "Na on A", 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("atoms", "group", "ions", "number", "value"), MINERALS)
def test_minerals_give_their_own_formulas(atoms, group, ions, number, value):
    found = siftem.structural_formula(analysis(atoms), group)
    for ion, amount in ions.items():
        assert found.ions[ion].value == pytest.approx(amount, abs=1e-9)
    assert found.numbers[number].value == pytest.approx(value, abs=1e-9)
    charges = {"Fe2+": 2, "Fe3+": 3, "Mg": 2, "Al": 3, "Si": 4, "Ca": 2, "Na": 1, "K": 1, "Ti": 4}
    if found.group.oxygens and "P" not in found.ions:
        held = sum(charges[i] * e.value for i, e in found.ions.items())
        assert held == pytest.approx(2 * found.group.oxygens)
    # Every ion is on some site, and none twice.
    for ion, estimate in found.ions.items():
        assert sum(s[ion].value for s in found.sites.values() if ion in s) == pytest.approx(
            estimate.value
        )


def test_sites_fill_in_their_order():
    # Si takes T of a pyroxene, Al what is left of it, and the rest of Al goes to M1.
    atoms = {"Ca": 0.9, "Mg": 0.8, "Fe": 0.1, "Al": 0.4, "Si": 1.8, "O": 6}
    sites = siftem.structural_formula(analysis(atoms), "pyroxene").sites
    assert sites["T"]["Al"].value == pytest.approx(0.2)
    assert sites["M1"]["Al"].value == pytest.approx(0.2)
    assert sites["M1"]["sum"].value == pytest.approx(1.0)
    assert sites["M2"]["Ca"].value == pytest.approx(0.9)
    assert sites["M2"]["sum"].value == pytest.approx(1.0)


def test_carbonates_are_given_as_analysts_give_them():
    dolomite = siftem.Analysis.from_oxides({"CaO": 30.41, "MgO": 21.86, "CO2": 47.73}, sigma=0.3)
    assert dolomite.elements == ("O", "Ca", "Mg", "C")
    atoms = dict(zip(dolomite.elements, dolomite.atoms / dolomite.atoms[1], strict=True))
    assert atoms == pytest.approx({"O": 6, "Ca": 1, "Mg": 1, "C": 2}, rel=1e-3)
    ions = siftem.structural_formula(dolomite, "carbonate").ions
    assert ions["Ca"].value == pytest.approx(0.5, abs=1e-3)
    assert siftem.identify(dolomite, settings=["rock"]).best == "dolomite"


def test_without_enough_charge_missing_no_iron_is_ferric_and_oxygens_rule():
    # Less charge missing than there could be by noise: cations are below four, iron stays Fe2+.
    atoms = {"Ca": 1, "Mg": 0.9, "Fe": 0.1, "Si": 2.1, "O": 6}
    found = siftem.structural_formula(analysis(atoms), "pyroxene")
    assert found.ions["Fe3+"].value == 0
    assert found.numbers["cations"].value < 4
    held = 4 * found.ions["Si"].value + 2 * sum(found.ions[i].value for i in ("Ca", "Mg", "Fe2+"))
    assert held == pytest.approx(12)


@pytest.mark.parametrize(
    ("atoms", "group", "numbers"),
    [
        ({"O": 3, "Mg": 0.85, "Fe": 0.12, "Al": 0.1, "Si": 0.93}, "perovskite",
         ("Mg/(Mg+Fe)", "Fe3+/Fe", "MgSiO3", "cations")),
        ({"O": 12, "Ca": 1.2, "Fe": 2.1, "Al": 1.7, "Si": 3}, "garnet",
         ("Fe3+/Fe", "almandine", "andradite")),
        ({"O": 4, "Mg": 1.8, "Fe": 0.2, "Si": 1}, "olivine", ("forsterite", "cations")),
    ],
)  # fmt: skip
def test_intervals_hold_the_truth(atoms, group, numbers):
    """Coverage of 95% over 400 measurements of one mineral, both kinds of errors at once."""
    truth = analysis(atoms, counting=0.01, systematic=0.02)
    right = siftem.structural_formula(truth, group, draws=200)
    rng = np.random.default_rng(5)
    inside = dict.fromkeys((*numbers, "Si"), 0)
    far = []
    n = 400
    for i in range(n):
        noise = rng.standard_normal((2, len(truth.elements)))
        seen = truth.weight_fractions * (1 + 0.01 * noise[0]) * np.exp(0.02 * noise[1])
        again = Analysis(
            "x", truth.elements, seen, np.diag((0.01 * seen) ** 2), np.diag((0.02 * seen) ** 2)
        )
        found = siftem.structural_formula(again, group, draws=600, random_state=i)
        for name in inside:
            got = found.ions[name] if name == "Si" else found.numbers[name]
            true = (right.ions[name] if name == "Si" else right.numbers[name]).value
            inside[name] += got.interval_95[0] - 1e-9 <= true <= got.interval_95[1] + 1e-9
        of = found.ions["Si"]
        far.append((of.value - right.ions["Si"].value) / np.hypot(of.sigma, of.systematic))
    for name, count in inside.items():
        assert 0.91 <= count / n <= 1.0, name
    assert np.std(far) == pytest.approx(1.0, abs=0.12)
    assert inside["Si"] / n < 0.985  # neither are the intervals too wide


def test_amounts_are_not_negative():
    """Intervals end at zero, of fractions at 1, and hold these as often as they say."""
    atoms = {"O": 4, "Mg": 2, "Fe": 0, "Si": 1, "Ca": 0}
    clean, draws = analysis(atoms), 150
    unit = np.array([0.0, 0.0, 0.001, 0.0, 0.001])
    rng, held = np.random.default_rng(3), np.zeros(2)
    for i in range(draws):
        seen = clean.weight_fractions + unit * rng.standard_normal(5)
        noisy = replace(clean, weight_fractions=seen, covariance=np.diag(unit**2))
        found = siftem.structural_formula(noisy, "olivine", draws=200, random_state=i)
        low, high = found.ions["Ca"].interval_95
        assert 0 <= low < high
        least, most = found.numbers["Mg/(Mg+Fe)"].interval_95
        assert least < most <= 1
        held += low == 0, most == 1
    assert (held >= 0.93 * draws).all()
    assert (held < draws).all()


def test_both_kinds_of_errors_stand_apart():
    atoms = {"O": 4, "Mg": 1.8, "Fe": 0.2, "Si": 1}
    counted = siftem.structural_formula(analysis(atoms, counting=0.01), "olivine").ions["Mg"]
    shared = siftem.structural_formula(analysis(atoms, systematic=0.01), "olivine").ions["Mg"]
    assert counted.systematic == 0 < counted.sigma
    assert shared.sigma == 0 < shared.systematic
    # n_Mg = 8 Mg / (2 Mg + 2 Fe + 4 Si): derivative by hand, relative errors of 1%.
    whole = 2 * 1.8 + 2 * 0.2 + 4
    slope = 8 / whole * np.array([1 - 2 * 1.8 / whole, -1.8 * 2 / whole, -1.8 * 4 / whole])
    by_hand = 0.01 * np.sqrt(((slope * [1.8, 0.2, 1.0]) ** 2).sum())
    assert counted.sigma == pytest.approx(by_hand, rel=0.05)
    assert shared.systematic == pytest.approx(by_hand, rel=0.05)


def test_what_is_not_known_widens_the_interval_alone():
    atoms = {"O": 4, "Mg": 1.8, "Fe": 0.2, "Si": 1}
    end = analysis({"O": 4, "Mg": 1.6, "Fe": 0.4, "Si": 1}).weight_fractions
    found = siftem.structural_formula(
        analysis(atoms, counting=0.001, ends=end[None]), "olivine"
    ).numbers["forsterite"]
    assert found.value == pytest.approx(0.9)
    assert found.interval_95[0] == pytest.approx(0.8, abs=0.01)
    assert found.interval_95[1] == pytest.approx(0.9, abs=0.01)


def test_an_element_that_was_assumed_absent_is_told():
    atoms = {"O": 1, "Mg": 0.8, "Fe": 0.2, "Si": 0.001}
    found = siftem.structural_formula(analysis(atoms, absent=("Si",)), "periclase")
    assert str(found.ions["Si"]) == "assumed absent"
    assert "Si" not in str(found)
    assert str(found) == "(Mg0.80 Fe2+0.20) O1"
    without = siftem.structural_formula(analysis(atoms, absent=("Mg",)), "periclase").numbers
    assert without["Mg/(Mg+Fe)"].assumed_absent
    assert not found.numbers["Mg/(Mg+Fe)"].assumed_absent


def test_the_same_seed_gives_the_same_numbers():
    given = analysis({"O": 4, "Fe": 2.5, "Ti": 0.5}, counting=0.02)
    first, second = (siftem.structural_formula(given, "spinel", random_state=3) for _ in range(2))
    assert first.numbers == second.numbers
    assert siftem.structural_formula(given, "spinel", random_state=4).numbers != first.numbers


@pytest.mark.parametrize(
    ("group", "more", "words"),
    [
        ("felspar", {}, "choose one of"),
        ("oxide", {}, "give oxygens"),
        ("compound", {}, "give atoms"),
        ("olivine", {"oxygens": -4}, "positive"),
        ("olivine", {"iron": "4+"}, "iron must be"),
        ("mica", {"iron": "balance"}, "give both"),
        ("olivine", {"draws": 5}, "draws"),
    ],
)
def test_bad_wishes_say_what_to_do(group, more, words):
    given = analysis({"O": 4, "Mg": 2, "Si": 1})
    with pytest.raises(InputError, match=words):
        siftem.structural_formula(given, group, **more)


def test_compounds_and_other_oxides_are_normalised_as_told():
    pyrite = siftem.structural_formula(analysis({"Fe": 1.02, "S": 1.98}), "compound", atoms=3)
    assert pyrite.ions["Fe"].value == pytest.approx(1.02)
    assert str(pyrite) == "(Fe1.02 S1.98)"
    titanite = analysis({"Ca": 1, "Ti": 1, "Si": 1, "O": 5})
    assert siftem.structural_formula(titanite, "oxide", oxygens=5).ions["Ti"].value == (
        pytest.approx(1.0)
    )
    with pytest.raises(InputError, match="compound"):
        siftem.structural_formula(analysis({"O": 1}), "periclase")


def test_every_group_has_a_source_and_holds_all_cations():
    for group in GROUPS.values():
        assert group.source or group.name == "compound"
    rare = np.array([[3.0, 0.9, 0.02, 0.03, 1.0]])
    for name in GROUPS:
        more = {"oxygens": 3.0} if name == "oxide" else {}
        more |= {"atoms": 5.0} if name == "compound" else {}
        found = recalculate(("O", "Mg", "U", "Ba", "Si"), rare, group_of(name, **more))
        for ion, amount in found.ions.items():
            held = sum(site[ion] for site in found.sites.values() if ion in site)
            assert held == pytest.approx(amount), (name, ion)


def test_oxides_become_elements():
    # Fe2O3 and FeO are both iron; oxygen follows the usual charges, as with Fe2+.
    found = Analysis.from_oxides({"FeO": 50.0, "Fe2O3": 50.0, "F": 1.0}, sigma={"FeO": 1.0})
    iron = found.weight_fractions[found.elements.index("Fe")]
    assert iron == pytest.approx(0.5 * 55.845 / 71.844 + 0.5 * 2 * 55.845 / 159.687, rel=1e-4)
    assert "F" in found.elements
    i = found.elements.index("Fe")
    assert np.sqrt(found.covariance[i, i]) == pytest.approx(0.01 * 55.845 / 71.844, rel=1e-4)
    with pytest.raises(InputError, match="XeO"):
        Analysis.from_oxides({"XeO": 3.0})


@pytest.mark.parametrize(
    ("values", "covariance", "words"),
    [
        ([0.5], np.eye(2), "one finite weight fraction"),
        ([0.5, np.nan], np.eye(2), "finite"),
        ([0.5, 0.5], np.eye(3), "2 x 2"),
        ([0.0, 0.0], np.eye(2), "positive sum"),
    ],
)
def test_bad_analyses(values, covariance, words):
    with pytest.raises(InputError, match=words):
        Analysis("x", ("O", "Mg"), np.array(values), covariance)


def measured(atoms, sigma):
    """An analysis of so many atoms, each with the same relative error."""
    weights = np.array([n * atomic_weight(e) for e, n in atoms.items()])
    return siftem.Analysis("x", tuple(atoms), weights, np.diag((sigma * weights) ** 2))


@pytest.mark.parametrize(
    ("atoms", "group", "words"),
    [
        ({"Fe": 0.9, "Ni": 0.1}, "olivine", "O was not quantified"),
        ({"Fe": 1.0, "S": 1.0, "O": 0.02}, "spinel", "need more O than there is"),
        ({"Mg": 1.0, "O": 1.3}, "periclase", "more O than the charges"),
        ({"Mg": 1.8, "Fe": 0.2, "O": 2.0}, "olivine", "site T holds at most"),
    ],
)
def test_what_can_not_be_of_the_group_is_told(atoms, group, words):
    doubts = siftem.structural_formula(measured(atoms, 0.01), group, draws=500).doubts
    assert any(words in doubt for doubt in doubts)


@pytest.mark.parametrize(
    ("atoms", "group"),
    [
        ({"Mg": 1.0, "O": 1.04}, "periclase"),
        ({"Mg": 2.0, "Si": 1.0, "O": 4.3}, "olivine"),
        ({"Fe": 3.0, "O": 4.0}, "spinel"),
        # OH is no excess, and half-open iron no lack.
        ({"K": 1.0, "Al": 3.0, "Si": 3.0, "O": 12.0}, "mica"),
        ({"Fe": 2.0, "O": 3.0}, "ilmenite"),
        ({"Fe": 0.9, "Ni": 0.1}, "compound"),
    ],
)
def test_what_may_be_of_the_group_is_not_doubted(atoms, group):
    more = {"atoms": 1.0} if group == "compound" else {}
    found = siftem.structural_formula(measured(atoms, 0.03), group, draws=500, **more)
    assert found.doubts == ()
