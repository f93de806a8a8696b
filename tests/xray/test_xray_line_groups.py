import numpy as np
import pytest

from siftem.xray.absorption import element_attenuation
from siftem.xray.elements import symbol_of
from siftem.xray.lines import line_family, line_groups

BEAM = 300.0


def groups(element, shell):
    family = line_family(element, shell, beam_energy=BEAM)
    return family, line_groups(family)


@pytest.mark.parametrize(
    ("element", "shell", "leading"),
    [
        ("Fe", "K", ["Kb1"]),
        ("Si", "K", ["Kb1"]),
        ("Mo", "L", ["Lb1", "Lb3", "Lb2", "Ll"]),
        ("W", "M", ["Mb", "Mz1", "Mg", "M2-N4"]),
        ("Nd", "L3", ["Lb2", "Ll"]),
        ("Nd", "L2", []),
        ("Ca", "L", []),  # a free atom of Ca has no alpha line
    ],
)
def test_groups(element, shell, leading):
    assert [g.family.lines[0].name for g in groups(element, shell)[1]] == leading


@pytest.mark.parametrize(("element", "shell"), [("Fe", "K"), ("Ba", "L"), ("U", "L"), ("Pb", "M")])
def test_groups_and_alpha_lines_make_up_the_family(element, shell):
    family, found = groups(element, shell)
    lines = [line for g in found for line in g.family.lines]
    assert len(lines) == len(set(lines))
    assert set(lines) <= set(family.lines)
    rest = set(family.lines) - set(lines)
    assert sum(line.weight for line in rest) < family.alpha_fraction + 0.02
    assert family.alpha_fraction + sum(line.weight for line in lines) == pytest.approx(1, abs=0.02)
    assert all(0 < g.width < 1 for g in found)


@pytest.mark.parametrize(
    ("shell", "line", "first", "measured"),
    [("L", "Lb1", 37, 0.10), ("L", "Ll", 37, 0.11), ("L", "Lb3", 37, 0.25), ("M", "Mb", 57, 0.51)],
)
def test_widths_are_what_tables_differ_by(shell, line, first, measured):
    """eXSpy's weights over xraylib's: the spread that the module tells, within the widths."""
    material = pytest.importorskip("exspy.material")
    away, widths = [], []
    for z in range(first, 93):
        atom = material.elements[symbol_of(z)]["Atomic_properties"].as_dictionary()
        theirs = atom.get("Xray_lines", {}).get(line, {}).get("weight", 0.0)
        if not theirs > 0:
            continue
        family, found = groups(symbol_of(z), shell)
        ours = sum(x.weight for x in family.lines if x.name == line) / family.alpha_fraction
        away.append(np.log(theirs / ours))
        own = [g.width for g in found if line in [x.name for x in g.family.lines]]
        widths.append(own[0])
    assert len(away) > 30
    spread = np.sqrt(np.mean(np.square(away)))
    if line == "Lb3":  # a few are off by ten times
        spread = np.median(np.abs(away))
    assert spread == pytest.approx(measured, abs=0.02)
    # 95% of a normal law lie within two widths.
    assert np.mean(np.abs(away) < 2 * np.array(widths)) > 0.9


def test_the_textbook_weights_of_tungsten_lie_within_two_widths():
    """Ma 1, Mb 0.6, Mg 0.05, Mz 0.06."""
    family, found = groups("W", "M")
    for group, textbook in zip(found[:3], (0.6, 0.06, 0.05), strict=True):
        ours = sum(line.weight for line in group.family.lines) / family.alpha_fraction
        assert abs(np.log(textbook / ours)) < 2 * group.width


def test_from_deep_inside_soft_lines_are_lost():
    """The ratio of two lines from a bulk piece, over that of a film, lies within two widths."""
    for element, shell, soft, hard in (("Cu", "K", 8.041, 8.905), ("Pb", "L", 10.55, 12.61)):
        bulk = np.log(np.divide(*element_attenuation(element, np.array([soft, hard]))))
        family = line_family(element, shell, beam_energy=BEAM)
        film, deep = (
            {g.family.lines[0].name: g.width for g in line_groups(family, thick=thick)}
            for thick in (False, True)
        )
        assert film.keys() == deep.keys()
        strongest = next(iter(film))
        assert deep[strongest] < 1.0
        assert 2 * film[strongest] < bulk < 2.5 * deep[strongest]
