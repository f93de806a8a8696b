from dataclasses import replace

import numpy as np
import pytest

import siftem
from siftem.errors import InputError, ReadError
from siftem.minerals.phase_library import SETTINGS, formula_atoms, read_phases, shipped_phases
from siftem.minerals.structural_formula import Analysis
from siftem.xray.elements import atomic_weight

#: Charges that each element may have in the table's oxides, hydroxides and salts.
CHARGES = {
    "H": (1,), "Li": (1,), "Be": (2,), "B": (3,), "C": (4,), "N": (-3, 5), "O": (-2,), "F": (-1,),
    "Na": (1,), "Mg": (2,), "Al": (3,), "Si": (4,), "P": (5,), "S": (6,), "Cl": (-1,), "K": (1,),
    "Ca": (2,), "Ti": (4,), "V": (3, 4, 5), "Cr": (3,), "Mn": (2, 3, 4), "Fe": (2, 3, 4),
    "Co": (2, 3, 4), "Ni": (2, 3, 4), "Cu": (1, 2, 3), "Zn": (2,), "Ga": (3,), "Sr": (2,),
    "Y": (3,),
    "Zr": (4,), "Nb": (5,), "Mo": (6,), "Ru": (4,), "In": (3,), "Sn": (4,), "Ba": (2,), "La": (3,),
    "Ce": (3, 4), "Nd": (3,), "Sm": (3,), "Gd": (3,), "Dy": (3,), "Er": (3,), "Yb": (3,),
    "Hf": (4,), "Ta": (5,), "W": (6,), "Ir": (4,), "Pb": (2, 4), "Bi": (3,), "Th": (4,), "U": (4,),
}  # fmt: skip


def analysis(atoms, *, relative=0.01, systematic=0.0, name="grain", **more):
    elements = tuple(atoms)
    weights = np.array([n * atomic_weight(e) for e, n in atoms.items()])
    weights = weights / weights.sum()
    closed = np.eye(len(weights)) - weights[:, None]
    noise = closed * (relative * weights + 1e-4)
    shared = closed * (systematic * weights)
    return Analysis(name, elements, weights, noise @ noise.T, shared @ shared.T, **more)


@pytest.mark.parametrize(
    ("atoms", "name"),
    [
        ({"O": 4, "Mg": 1.8, "Fe": 0.2, "Si": 1}, "olivine"),
        ({"O": 8, "Na": 0.4, "Ca": 0.6, "Al": 1.6, "Si": 2.4}, "plagioclase"),
        ({"O": 12, "Fe": 2.1, "Mg": 0.6, "Ca": 0.3, "Al": 2, "Si": 3}, "almandine"),
        ({"O": 6, "Ca": 1, "Mg": 0.95, "Fe": 0.05, "Si": 2}, "diopside"),
        # Hydrogen is not seen: the formula without it.
        ({"O": 12, "K": 1, "Mg": 2.7, "Fe": 0.3, "Al": 1, "Si": 3}, "phlogopite"),
        ({"O": 3, "Ca": 1.0, "Si": 0.0}, "calcite or aragonite"),
        ({"Fe": 1, "S": 2, "O": 0.0}, "pyrite = marcasite"),
        ({"O": 4, "Zr": 0.98, "Hf": 0.02, "Si": 1}, "zircon"),
        ({"O": 13, "Ca": 5, "P": 3}, "hydroxylapatite"),
    ],
)
def test_minerals_are_named(atoms, name):
    found = siftem.identify(analysis(atoms), settings=["rock", "ore"])
    assert found.best in name.split(" = ")
    assert found.candidates[0].distance < 2.5
    assert found.none < 0.1
    assert sum(c.probability for c in found.candidates) + found.none == pytest.approx(1, abs=0.02)


def test_the_phases_of_the_lower_mantle_are_in_the_table():
    deep = {"settings": ["deep"]}
    bridgmanite = {"O": 3, "Mg": 0.86, "Fe": 0.13, "Al": 0.1, "Si": 0.91}
    assert siftem.identify(analysis(bridgmanite), **deep).best == "bridgmanite"
    assert (
        siftem.identify(analysis({"O": 1, "Mg": 0.8, "Fe": 0.2}), **deep).best == "ferropericlase"
    )
    davemaoite = {"O": 3, "Ca": 0.9, "Mg": 0.03, "Al": 0.04, "Si": 0.96, "Nd": 0.04, "Sm": 0.03}
    assert siftem.identify(analysis(davemaoite), **deep).best == "davemaoite"
    post_spinel = {"O": 4, "Na": 0.35, "Mg": 0.6, "Al": 1.6, "Si": 0.4, "Fe": 0.05}
    assert siftem.identify(analysis(post_spinel), **deep).best == "calcium ferrite phase"
    assert siftem.identify(analysis({"Fe": 0.93, "Ni": 0.05, "Si": 0.02}), **deep).best == (
        "Fe-Ni metal"
    )
    melt = {"O": 1.5, "Mg": 0.42, "Si": 0.42, "Fe": 0.12, "Ca": 0.07, "Al": 0.04}
    assert siftem.identify(analysis(melt), **deep).best == "silicate melt ultramafic"


def test_phases_of_one_composition_share_the_probability():
    atoms = {"O": 4, "Mg": 1.8, "Fe": 0.2, "Si": 1}
    found = siftem.identify(analysis(atoms))
    assert {"olivine", "ringwoodite", "wadsleyite"} <= {c.name for c in found.candidates}
    assert found.candidates[0].probability < 0.9


@pytest.mark.parametrize(
    ("atoms", "names"),
    [
        (
            {"O": 4, "Mg": 1.8, "Fe": 0.2, "Si": 1},
            ["olivine", "wadsleyite", "ringwoodite"],
        ),
        ({"O": 8, "Na": 0.98, "Ca": 0.02, "Al": 1.02, "Si": 2.98}, ["albite", "lingunite"]),
        (
            {"O": 3, "Mg": 0.92, "Fe": 0.08, "Si": 1},
            ["orthopyroxene", "akimotoite", "majorite", "bridgmanite", "post-perovskite"],
        ),
    ],
)
def test_polymorphs_share_alike_and_those_of_rocks_come_first(atoms, names):
    """How wide the ranges of a table are says nothing of a structure."""
    found = siftem.identify(analysis(atoms))
    listed = [c for c in found.listed if c.name in names]
    assert found.best == names[0]
    assert len(listed) == len(names)
    shares = np.array([c.probability for c in listed])
    assert np.allclose(shares, shares[0], rtol=1e-3)
    assert shares.sum() > 0.85


def test_what_composition_can_part_is_not_levelled():
    """So much iron no wadsleyite holds: ranges decide wherever they differ."""
    found = siftem.identify(analysis({"O": 4, "Mg": 1.2, "Fe": 0.8, "Si": 1}))
    chances = {c.name: c.probability for c in found.candidates}
    assert chances.get("wadsleyite", 0.0) < 0.05
    assert chances["olivine"] == pytest.approx(chances["ringwoodite"], rel=1e-3)


def test_oxygen_that_was_reckoned_says_nothing():
    """Of serpentine by oxides O lacks that of OH; oxides of iron are alike, and no metal."""
    serpentine = siftem.Analysis.from_oxides({"SiO2": 41.3, "MgO": 41.0, "FeO": 3.0}, sigma=0.3)
    assert siftem.identify(serpentine, settings=["rock"]).best == "serpentine"
    iron = siftem.identify(siftem.Analysis.from_oxides({"FeO": 93.0}, sigma=0.3))
    assert {"hematite", "magnetite"} <= {c.name for c in iron.candidates}
    calcium = siftem.identify(siftem.Analysis.from_oxides({"CaO": 56.0}, sigma=0.3)).candidates
    parts = {c.name: c.probability for c in calcium}
    assert parts["lime"] == pytest.approx(parts["calcite or aragonite"], rel=1e-4)
    assert all("O" in "".join(c.members) for c in iron.candidates)


def test_without_oxygen_a_metal_and_its_oxide_are_alike():
    """On an axis that begins above O K ferropericlase was "magnesium", or nothing."""
    where = {"settings": ["rock", "technical"]}
    found = siftem.identify(analysis({"Mg": 1.0}, unseen=("O", "F")), **where)
    chances = {c.name: c.probability for c in found.candidates}
    assert chances["magnesium"] == pytest.approx(chances["periclase"], abs=0.01)
    assert found.none < 0.5
    mixed = {"Mg": 0.86, "Fe": 0.14}
    assert siftem.identify(analysis(mixed, unseen=("O",))).best == "ferropericlase"
    assert siftem.identify(analysis(mixed)).best is None


def test_what_has_no_line_in_the_fitted_range_is_unseen():
    phantom = siftem.simulate_demo((24, 24), dose=300)
    spectrum = siftem.integrate(phantom.spectrum_image, phantom.mask("Fp", at_least=0.2))
    found = siftem.quantify(
        spectrum,
        ["Mg", "Al", "Si", "Ca", "Fe"],
        support=["Cu"],
        energy_range=(0.83, None),
        thickness=0,
    )
    assert {"O", "F"} <= set(Analysis.of(found).unseen)
    assert not {"Mg", "Na", "Fe", "U"} & set(Analysis.of(found).unseen)


def test_an_end_of_nothing_but_reckoned_oxygen_is_no_composition():
    """The interval of a grain at few counts may end where none of its cations is left."""
    oxides = siftem.Analysis.from_oxides({"FeO": 93.0, "SiO2": 2.0}, sigma=1.0)
    empty = (np.array(oxides.elements) == "O").astype(float)
    open_ended = replace(oxides, ends=np.stack([empty, oxides.weight_fractions]))
    found, closed = siftem.identify(open_ended), siftem.identify(oxides)
    assert found.candidates[0].name == closed.candidates[0].name
    nothing = replace(oxides, weight_fractions=empty)
    assert siftem.identify(nothing).best is None


def test_what_the_table_lacks_is_none_of_these():
    for atoms in ({"O": 3, "Mg": 1, "Si": 2.0}, {"Fe": 1, "Sb": 1}, {"O": 3, "Ca": 1, "Zr": 1.4}):
        found = siftem.identify(analysis(atoms))
        assert found.best is None
        assert found.none > 0.9
        assert str(found).startswith("none of these")
        # The nearest phase is told nevertheless, with its distance, and no list of others.
        assert str(found).count("sigma") == len(found.listed) == 1
        assert found.listed[0].distance == min(c.distance for c in found.candidates)


def test_beyond_its_ranges_a_phase_ends_as_sharply_as_the_errors_allow():
    """Ni3Nb holds up to 15% of Ni3Ti: twice as much Nb missing is many standard deviations."""
    delta = [p for p in shipped_phases() if p.name == "Ni3Nb delta"]
    atoms = {"Ni": 3.0, "Nb": 0.6, "Fe": 0.01}
    found = siftem.identify(analysis(atoms, relative=0.003), table=delta)
    assert found.candidates[0].distance > 5
    assert found.best is None
    assert found.none > 0.99
    within = {"Ni": 2.9, "Nb": 1.0, "Fe": 0.1}
    assert siftem.identify(analysis(within, relative=0.003), table=delta).best == "Ni3Nb delta"


def test_errors_decide_what_can_be_told_apart():
    """One composition, half way between two phases: none with small errors, both with large."""
    atoms = {"O": 1.55, "Mg": 0.9, "Si": 0.33, "Fe": 0.0}
    sharp = siftem.identify(analysis(atoms, relative=0.003), settings=["rock"])
    assert sharp.best is None
    wide = siftem.identify(analysis(atoms, systematic=0.25), settings=["rock"])
    assert wide.best is not None
    assert wide.candidates[0].distance < sharp.candidates[0].distance
    # Both kinds of errors count.
    counted = siftem.identify(analysis(atoms, relative=0.25), settings=["rock"])
    assert counted.candidates[0].distance == pytest.approx(wide.candidates[0].distance, rel=0.2)


def test_correlations_of_the_errors_count():
    """An error of O alone explains too little O, one of Si alone does not."""
    atoms = {"O": 3.3, "Mg": 2, "Si": 1.0}
    weights = np.array([n * atomic_weight(e) for e, n in atoms.items()])
    weights /= weights.sum()
    closed = np.eye(3) - weights[:, None]

    def along(sigmas):
        shared = closed * (np.array(sigmas) * weights)
        return Analysis("x", tuple(atoms), weights, 1e-6 * np.eye(3), shared @ shared.T)

    olivine = [p for p in shipped_phases() if p.name == "olivine"]
    by_oxygen = siftem.identify(along([0.15, 0, 0]), table=olivine).candidates[0].distance
    by_silicon = siftem.identify(along([0, 0, 0.15]), table=olivine).candidates[0].distance
    assert by_oxygen < 2 < 4 < by_silicon


@pytest.mark.parametrize("draws", [25, pytest.param(250, marks=pytest.mark.slow)])
def test_probabilities_are_what_they_say(draws):
    """Names of compositions that were drawn from the table: how often they are right."""
    rng = np.random.default_rng(3)
    table = [p for p in shipped_phases() if p.setting == "rock"]
    said = []
    for _ in range(draws):
        phase = table[int(rng.integers(len(table)))]
        elements = tuple(e for e in phase.elements if e not in "HLiBeBCN") or phase.elements
        atoms = phase.atoms(phase.shares(1, rng), elements)[0]
        weights = atoms * [atomic_weight(e) for e in elements]
        weights = weights / weights.sum()
        seen = weights * np.exp(0.06 * rng.standard_normal(len(weights)))
        seen /= seen.sum()
        closed = (np.eye(len(seen)) - seen[:, None]) * (0.06 * seen)
        found = siftem.identify(
            Analysis("x", elements, seen, closed @ closed.T), table=table, none_prior=0.01
        )
        said += [(c.probability, c.name == phase.name) for c in found.candidates]
    p, right = np.array(said, dtype=float).T
    sure, torn = p > 0.8, (p > 0.2) & (p < 0.8)
    assert sure.sum() > 0.4 * draws
    assert right[sure].mean() == pytest.approx(p[sure].mean(), abs=0.06 if draws > 100 else 0.12)
    assert right.sum() > 0.87 * draws
    if draws > 100:  # of fewer, no share can be told
        assert torn.sum() > 10
        assert right[torn].mean() == pytest.approx(p[torn].mean(), abs=0.2)


def test_open_ends_widen_what_it_may_be():
    olivine, quartz = {"O": 4, "Mg": 2.0, "Si": 1}, {"O": 2, "Mg": 0.0, "Si": 1}
    end = analysis(quartz).weight_fractions
    found = siftem.identify(analysis(olivine, ends=end[None]), settings=["rock"])
    assert {"olivine", "quartz"} <= {c.name for c in found.candidates}
    assert found.too_open
    assert found.best is None
    assert str(found).startswith("composition too open for a name (")


def test_no_phase_lacks_an_element_that_is_surely_there():
    """An oxide on carbon: at one end nothing but the film is left, and its C is hardly known."""
    amounts = {"Fe": 45.0, "O": 56.0, "C": 6.0}
    weights = np.array([n * atomic_weight(e) for e, n in amounts.items()])
    sigma = np.array([5.0, 7.0, 44.0]) * [atomic_weight(e) for e in amounts]  # of the amounts
    total = weights.sum()
    closed = (np.eye(3) - weights[:, None] / total) / total
    thin = np.array([6.0, 7.5, 86.5]) * [atomic_weight(e) for e in amounts]
    seen = Analysis(
        "shell",
        tuple(amounts),
        weights / total,
        closed @ np.diag(sigma**2) @ closed.T,
        ends=(thin / thin.sum())[None],
    )
    # By the errors of the fractions alone it is the film.
    assert siftem.identify(seen).candidates[0].name == "graphite or diamond"
    found = siftem.identify(replace(seen, certain=("Fe", "O")))
    assert "graphite or diamond" not in {c.name for c in found.candidates}
    assert found.candidates[0].name in {"hematite", "maghemite", "magnetite"}


def test_a_name_that_the_value_cannot_be_is_not_put_forward():
    half, platinum = {"Pt": 30.0, "Fe": 30.0, "O": 40.0}, {"Pt": 100.0, "Fe": 0.0, "O": 0.0}
    end = analysis(platinum).weight_fractions
    found = siftem.identify(analysis(half, ends=end[None]))
    assert found.candidates[0].name == "platinum"
    assert found.best is None
    assert found.too_open
    assert siftem.identify(analysis(platinum, ends=analysis(half).weight_fractions[None])).best


def test_the_nearest_composition_is_told():
    atoms = {"O": 8, "Na": 0.4, "Ca": 0.6, "Al": 1.6, "Si": 2.4}
    best = siftem.identify(analysis(atoms), settings=["rock"]).candidates[0]
    assert best.members["CaAl2Si2O8"] == pytest.approx(0.6, abs=0.03)
    assert sum(best.members.values()) == pytest.approx(1)


def test_a_table_of_ones_own_comes_first(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("name,members\nzirconia glass,ZrO2 .4:.6; SiO2 .4:.6\nolivine,CaO\n")
    own = siftem.identify(analysis({"O": 2, "Zr": 0.42, "Si": 0.58}), table=path)
    assert own.best == "zirconia glass"
    replaced = siftem.identify(
        analysis({"O": 4, "Mg": 1.8, "Fe": 0.2, "Si": 1}), table=path, settings=["rock"]
    )
    assert "olivine" not in [c.name for c in replaced.candidates]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,formula\nx,MgO\n", "'members' is missing"),
        ("name,members\nx,MgXx\n", "'x' can't be used.*Xx"),
        ("name,members\nx,MgO .5:\n", "'x' can't be used.*range"),
        ("name,members\nx,MgO 1:2\n", "within 0 and 1"),
        ("name,members\nx,MgO .9:1; FeO .5:.6\n", "sum to one"),
        ("name,members\nx,MgO a b\n", "is no member"),
        ("name,setting,members\nx,moon,MgO\n", "setting must be one of"),
        ("name,members\nx,MgO\nx,FeO\n", "twice"),
        ("name,members\n,FeO\n", "no name"),
        ("# nothing\nname,members\n", "holds no phase"),
    ],
)
def test_bad_tables_name_the_line(tmp_path, text, words):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_phases(path)
    with pytest.raises(ReadError, match="can't be read"):
        read_phases(tmp_path / "none.csv")


def test_bad_wishes():
    given = analysis({"O": 1, "Mg": 1})
    with pytest.raises(InputError, match="choose among"):
        siftem.identify(given, settings=["moon"])
    with pytest.raises(InputError, match="none_prior"):
        siftem.identify(given, none_prior=1.0)
    with pytest.raises(InputError, match="no phase of the table"):
        siftem.identify(given, table=shipped_phases()[:1], settings=["ore"])


@pytest.mark.parametrize(
    ("text", "atoms"),
    [
        ("MgO", {"Mg": 1, "O": 1}),
        ("Ca5(PO4)3F", {"Ca": 5, "P": 3, "O": 12, "F": 1}),
        ("Ca6Al2(SO4)3(OH)12(H2O)26", {"Ca": 6, "Al": 2, "S": 3, "O": 50, "H": 64}),
        ("Fe.95O", {"Fe": 0.95, "O": 1}),
        ("((CO3)2)2", {"C": 4, "O": 12}),
    ],
)
def test_formulas_in_writing(text, atoms):
    assert formula_atoms(text) == atoms


@pytest.mark.parametrize(
    "text", ["", "mgo", "Mg(O", "MgO)", "()2", "Mg-O", "3Mg", "(3O)", "Xx2", "O0"]
)
def test_bad_formulas(text):
    with pytest.raises(InputError):
        formula_atoms(text)


def balanced(formula):
    """Whether some choice of usual charges makes it neutral; elements may be of mixed charge."""
    atoms = formula_atoms(formula)
    low = sum(n * min(CHARGES[e]) for e, n in atoms.items())
    high = sum(n * max(CHARGES[e]) for e, n in atoms.items())
    return low - 1e-9 <= 0 <= high + 1e-9


def test_the_table_is_sound():
    table = shipped_phases()
    assert len(table) >= 300
    assert {p.setting for p in table} == set(SETTINGS)
    sources = {"DHZ", "IMA", "PH", "IF", "T14", "T21", "LM", "MC", "RU", "M88"}
    for phase in table:
        assert set(phase.source.split()) <= sources, phase.name
        assert phase.source, phase.name
        for member in phase.members:
            atoms = formula_atoms(member.formula)
            salt = "O" in atoms or "F" in atoms or "Cl" in atoms
            # Oxide nitrides and metals with dissolved oxygen have no charges of salts.
            if salt and set(atoms) <= set(CHARGES) and set(atoms) != {"O"}:
                assert balanced(member.formula), (phase.name, member.formula)
    drawn = table[0].shares(50, np.random.default_rng(0))
    assert drawn.sum(axis=1) == pytest.approx(1)
    for share, member in zip(drawn.T, table[0].members, strict=True):
        assert member.least - 1e-9 <= share.min() <= share.max() <= member.most + 1e-9


def test_members_of_a_solid_solution_are_of_one_size():
    """Shares are of formula units: members with other numbers of atoms would distort them."""
    odd = []
    for phase in shipped_phases():
        oxygens = [formula_atoms(m.formula).get("O", 0) for m in phase.members]
        if min(oxygens) > 0 and max(oxygens) / min(oxygens) > 4:
            odd.append(phase.name)
    assert not odd


def test_what_a_composition_is_known_not_to_be_is_left_out():
    given = Analysis("x", ("C", "O"), np.array([0.99, 0.01]), 1e-4 * np.eye(2))
    assert siftem.identify(given).best == "graphite or diamond"
    named = siftem.identify(given, without=["graphite or diamond"]).candidates
    assert "graphite or diamond" not in [c.name for c in named]
