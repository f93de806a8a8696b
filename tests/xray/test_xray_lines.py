import numpy as np
import pytest
import xraylib

from siftem.errors import InputError
from siftem.xray.lines import line_families, line_family, parse_line, visible_lines

PHANTOM = ["O", "Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "Hf", "Lu", "U", "Cu"]


def weight(family, *names):
    return sum(line.weight for line in family.lines if line.name in names)


@pytest.mark.parametrize("shell", ["K", "L", "M", "L1", "L2", "L3"])
@pytest.mark.parametrize("element", ["Sn", "Nd", "Sm", "Hf", "Pt", "U", "La", "Ce", "Gd"])
def test_weights_sum_to_one_strongest_first(element, shell):
    family = line_family(element, shell, beam_energy=200.0)
    assert family.weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert (np.diff(family.weights) <= 0).all()
    assert (family.energies > 0).all()
    assert not family.energies.flags.writeable


def test_k_family_follows_the_rates():
    family = line_family("Fe", "K", beam_energy=200.0)
    assert family.name == "Fe K"
    rates = {n: xraylib.RadRate(26, getattr(xraylib, n + "_LINE")) for n in ("KL3", "KL2", "KM3")}
    assert weight(family, "Ka1") == pytest.approx(rates["KL3"], rel=1e-3)
    assert weight(family, "Kb1") / weight(family, "Ka1") == pytest.approx(
        rates["KM3"] / rates["KL3"], rel=1e-9
    )
    assert family.alpha_fraction == pytest.approx(rates["KL3"] + rates["KL2"], rel=1e-3)
    # Bearden 1967, Rev. Mod. Phys. 39, 78: Ka1 6.40384, Ka2 6.39084 keV.
    assert family.alpha_energy == pytest.approx((2 * 6.40384 + 6.39084) / 3, abs=0.001)


@pytest.mark.parametrize(("element", "shell"), [("Au", "L3"), ("U", "L3"), ("U", "L1"), ("W", "K")])
def test_grouped_levels_are_not_lost(element, shell):
    # Some rates are tabulated for O4 and O5 together: 3% of the L3 lines of U.
    number = xraylib.SymbolToAtomicNumber(element)
    family = line_family(element, shell, beam_energy=300.0)
    first = {"K": ("KL3", "Ka1"), "L1": ("L1M3", "Lb3"), "L3": ("L3M5", "La1")}[shell]
    rate = xraylib.RadRate(number, getattr(xraylib, first[0] + "_LINE"))
    assert weight(family, first[1]) == pytest.approx(rate, rel=1e-3)


def test_al_kb_is_weak():
    # Kb/Ka of Al 0.0132 (xraylib); some tables say ten times as much.
    family = line_family("Al", "K", beam_energy=200.0)
    assert (1 - family.alpha_fraction) / family.alpha_fraction == pytest.approx(0.0132, rel=0.02)


def test_l_groups_make_up_the_family():
    whole = line_family("Nd", "L", beam_energy=200.0)
    for group in ("L1", "L2", "L3"):
        part = line_family("Nd", group, beam_energy=200.0)
        assert {line.subshell for line in part.lines} == {group}
        inside = [line for line in whole.lines if line.subshell == group]
        share = sum(line.weight for line in inside)
        for got, want in zip(part.lines[:6], inside, strict=False):
            assert (got.name, got.energy) == (want.name, want.energy)
            assert got.weight == pytest.approx(want.weight / share, rel=1e-3)
    assert line_family("Nd", "L1", beam_energy=200.0).alpha_fraction == 0.0


def test_beam_energy_changes_l_but_not_k_ratios():
    low, high = (line_family("U", "L", beam_energy=e) for e in (30.0, 300.0))
    assert weight(low, "La1") > 1.02 * weight(high, "La1")
    low, high = (line_family("Fe", "K", beam_energy=e) for e in (30.0, 300.0))
    assert low.weights == pytest.approx(high.weights, rel=1e-12)
    # Between the L3 and L2 edges of U only L3 is ionised.
    assert {line.subshell for line in line_family("U", "L", beam_energy=18.0).lines} == {"L3"}


@pytest.mark.parametrize(("element", "alpha", "beta"), [("Nd", 0.979, 1.002), ("Sm", 1.078, 1.106)])
def test_m_lines_of_nd_and_sm(element, alpha, beta):
    family = line_family(element, "M", beam_energy=200.0)
    assert family.alpha_energy == pytest.approx(alpha, abs=1e-6)
    assert next(line.energy for line in family.lines if line.name == "Mb") == beta
    assert family.lines[0].name == "Ma1"
    assert 0.3 < weight(family, "Mb") / family.alpha_fraction < 0.7


def test_m_ratios_follow_theory_not_old_tables():
    hf = line_family("Hf", "M", beam_energy=200.0)
    # 0.303 (Hf Mb/Ma) and 0.022 (U Mg/Ma) by theory; 0.594 and 0.335 in a common table.
    assert weight(hf, "Mb") / hf.alpha_fraction == pytest.approx(0.303, abs=0.06)
    u = line_family("U", "M", beam_energy=200.0)
    assert weight(u, "Mg") / u.alpha_fraction == pytest.approx(0.022, abs=0.012)


def test_families_of_the_phantom():
    names = [f.name for f in line_families(PHANTOM, beam_energy=200.0, low=0.2, high=20.0)]
    expected = "O K,Mg K,Al K,Si K,Ca K,Ca L,Fe K,Fe L,Nd L,Nd M,Sm L,Sm M,Hf L,Hf M,Lu L,Lu M"
    assert names == [*expected.split(","), "U L", "U M", "Cu K", "Cu L"]


def test_families_respect_range_and_beam():
    low = line_families(PHANTOM, beam_energy=200.0, low=0.2, high=3.0)
    assert {"Fe L", "Nd M"} <= {f.name for f in low}
    assert not {"Fe K", "Nd L", "Ca K", "U L"} & {f.name for f in low}
    assert [f.name for f in line_families(["Cu"], beam_energy=5.0, low=0.2, high=20.0)] == ["Cu L"]
    soft = line_families(["Ga", "Ni", "C"], beam_energy=200.0, low=0.2, high=2.0)
    assert [f.name for f in soft] == ["Ga L", "Ni L", "C K"]
    # Al L and Si L lie below 0.1 keV: a column of zeros would make a fit singular.
    names = [f.name for f in line_families(["Al", "Si"], beam_energy=200.0, low=0.2, high=20)]
    assert names == ["Al K", "Si K"]


def test_what_is_seen_of_l_lines_beyond_the_end_of_the_axis_is_theirs():
    # Bi Ll (9.42 keV) is where Pt La is; Bi La (10.84 keV) is beyond.
    names = [f.name for f in line_families(["Bi"], beam_energy=200.0, low=0.2, high=10.24)]
    assert names == ["Bi L", "Bi M"]
    names = [f.name for f in line_families(["Bi"], beam_energy=200.0, low=0.2, high=9.3)]
    assert names == ["Bi M"]


def test_split_l_and_repeated_elements():
    families = line_families(["Nd", "Nd"], beam_energy=200.0, low=0.2, high=20.0, split_l=True)
    assert [f.name for f in families] == ["Nd L1", "Nd L2", "Nd L3", "Nd M"]


def test_errors_of_families():
    with pytest.raises(InputError, match="list of symbols"):
        line_families("Fe", beam_energy=200.0, low=0.2, high=20.0)
    with pytest.raises(InputError, match="lower one first"):
        line_families(["Fe"], beam_energy=200.0, low=20.0, high=0.2)
    with pytest.raises(InputError, match="shell"):
        line_family("Fe", "N", beam_energy=200.0)
    with pytest.raises(InputError, match="Fe has no M lines"):
        line_family("Fe", "M", beam_energy=200.0)
    with pytest.raises(InputError, match="did you mean Fe"):
        line_families(["fe"], beam_energy=200.0, low=0.2, high=20.0)


def test_parse_line():
    # Bearden 1967: Nd La1 5.2304, Fe Ka1 6.40384, U Ma1 3.1708 keV.
    assert parse_line("Nd_La") == ("Nd", "L", pytest.approx(5.2304, abs=0.001))
    assert parse_line("Nd La") == parse_line("Nd_La1")
    assert parse_line("Fe_Ka") == ("Fe", "K", pytest.approx(6.4038, abs=0.001))
    assert parse_line("U_Ma") == ("U", "M", pytest.approx(3.1708, abs=0.001))
    assert parse_line("Fe L") == ("Fe", "L", pytest.approx(0.705, abs=0.002))
    assert parse_line("Nd_Lb1")[2] > parse_line("Nd_La")[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Fe", "must be written like"),
        ("Nd_Lq", "has no line 'Lq'"),
        ("fe_Ka", "did you mean Fe"),
        ("Fe_Ma", "no M lines"),
    ],
)
def test_bad_lines(text, message):
    with pytest.raises(InputError, match=message):
        parse_line(text)


def test_visible_lines():
    lines = visible_lines("Fe", beam_energy=200.0, low=0.2, high=20.0)
    assert [line.name for line in lines[:2]] == ["Ka", "La"]
    assert lines[0].weight == 1.0
    assert all(0.05 <= line.weight <= 1 for line in lines)
    # Without the K lines in the range, the L lines are the strongest.
    assert visible_lines("Fe", beam_energy=200.0, low=0.2, high=3.0)[0].name == "La"
    assert visible_lines("H", beam_energy=200.0, low=0.2, high=3.0) == ()
