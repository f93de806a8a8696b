"""Phantoms by other physics: what they call true is true."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
from validation.foreign_layouts import LAYOUTS
from validation.foreign_phantoms import MIXED, VACUUM, phantom
from validation.foreign_physics import Material, film_spectrum, lines, response

from validation import foreign_phantoms, foreign_physics

SIZE = 40


@pytest.fixture(scope="module")
def drawn():
    return {name: phantom(name, size=SIZE, seed=3) for name in LAYOUTS}


@pytest.mark.parametrize("module", ["foreign_physics", "foreign_layouts", "foreign_phantoms"])
def test_nothing_of_siftem_is_in_them(module):
    source = Path(sys.modules[f"validation.{module}"].__file__).read_text()
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert "siftem" not in imported


@pytest.mark.parametrize("name", LAYOUTS)
def test_truth_of_a_layout_is_consistent(drawn, name):
    made = drawn[name]
    assert made.maps.shape == (len(made.names), SIZE, SIZE)
    assert (made.maps >= 0).all()
    assert (made.spectra >= 0).all() and np.isfinite(made.spectra).all()
    for atoms in made.at_percent.values():
        assert sum(atoms.values()) == pytest.approx(100)
    for material in made.materials:
        assert sum(material.weight_fractions.values()) == pytest.approx(1)
    # What the expectation is made of adds up to the phases, thickness for thickness.
    if name != "wedge":
        np.testing.assert_allclose(
            np.tensordot(made.maps, made.spectra.sum(1), axes=(0, 0)), made.total_per_pixel
        )
    share = made.maps / np.maximum(made.maps.sum(0), 1e-9)
    for i, material in enumerate(made.names):
        if material != made.support:
            others = np.delete(share, [made.names.index(made.support)] if made.support else [], 0)
            own = made.maps[i] / np.maximum(others.sum(0) * made.maps.sum(0), 1e-9)
            assert (own[made.labels == i] > 0.8).all()
            assert (made.present[i][made.labels == i]).all()
    assert set(np.unique(made.labels)) <= {VACUUM, MIXED, *range(len(made.names))}


def test_layouts_are_what_they_are_called(drawn):
    for name, made in drawn.items():
        own = [i for i, n in enumerate(made.names) if n != made.support]
        alone = [np.count_nonzero(made.labels == i) for i in own]
        if made.layouts[0] in ("side by side", "single", "particles on a support"):
            assert min(alone) > 0, name
        if made.layouts[0] == "nested":
            assert min(alone) == 0, name
        if made.layouts[0] == "matrix":
            assert max(alone) > 0.3 * SIZE**2, name
            assert (made.maps.sum(0)[1:-1, 1:-1] > 0.99).all(), name
    assert not (drawn["gradient"].maps > 0.86).any()
    cores, shells = drawn["core_shell_vacuum"].maps
    assert (shells[cores > 0.05] > 0.05).all()
    assert np.mean(drawn["one_percent"].maps[1]) == pytest.approx(0.01, rel=0.4)


@pytest.mark.parametrize("dose", [1, 300, 20000])
def test_counts_follow_their_expectation(drawn, dose):
    made = drawn["spheres"]
    expected = made.expected(dose)
    assert expected.sum() / SIZE**2 == pytest.approx(dose)
    counts = made.counts(dose, seed=5)
    assert counts.shape == expected.shape
    total = expected.sum()
    assert abs(counts.sum() - total) < 5 * np.sqrt(total)
    by_channel = expected.sum(0)
    told = by_channel > 20
    chi2 = ((counts.sum(0)[told] - by_channel[told]) ** 2 / by_channel[told]).sum()
    assert abs(chi2 - told.sum()) < 5 * np.sqrt(2 * told.sum())
    assert (made.counts(dose, seed=5) != counts).nnz == 0
    assert (made.counts(dose, seed=6) != counts).nnz > 0


def test_a_wedge_loses_soft_lines_where_it_is_thick(drawn):
    made = drawn["wedge"]
    expected = made.expected(1000).reshape(SIZE, SIZE, -1)
    soft = (made.energies > 0.4) & (made.energies < 0.65)
    hard = (made.energies > 4.2) & (made.energies < 5.2)
    ratio = expected[..., soft].sum((0, 2)) / np.maximum(expected[..., hard].sum((0, 2)), 1e-12)
    assert ratio[-2] < 0.97 * ratio[SIZE // 3]


def test_every_photon_is_counted_once():
    for energy in (0.6, 1.74, 6.4, 11.0):
        assert response(energy).sum() == pytest.approx(1, abs=2e-3)
        x = foreign_physics.energies()
        at = energy * foreign_physics.GAIN + foreign_physics.SHIFT
        assert x[response(energy).argmax()] == pytest.approx(at, abs=0.006)


def test_lines_are_where_and_as_strong_as_atomic_physics_says():
    iron = lines("Fe")
    alpha = sum(s for e, s in iron if 6.35 < e < 6.45)
    beta = sum(s for e, s in iron if 7.0 < e < 7.1)
    assert 0.11 < beta / alpha < 0.15  # tables give 0.12 to 0.14
    # Cross-section of the K shell of Fe at 200 keV: 2 to 5 10^-22 cm2 by any formula.
    assert 1e-22 < foreign_physics.ionisation(26, 0) < 6e-22
    assert foreign_physics.ionisation(6, 0) > foreign_physics.ionisation(26, 0)


def test_twice_the_thickness_gives_less_than_twice_the_soft_counts():
    oxide = Material("MgO", {"Mg": 1, "O": 1}, 3.6)
    thin, thick = film_spectrum(oxide, 50.0), film_spectrum(oxide, 100.0)
    ratio = thick / np.maximum(thin, 1e-30)
    x = foreign_physics.energies()
    assert 1.5 < ratio[np.abs(x - 0.525) < 0.03].mean() < 1.99
    assert ratio[x > 8].mean() == pytest.approx(2, abs=0.01)


def test_another_programs_cases_can_be_asked_for(tmp_path, monkeypatch):
    script = tmp_path / "other.py"
    script.write_text(
        "import numpy as np\n"
        "E0, TOA = 120.0, 20.0\n"
        "class P:\n"
        "    name, at, density = 'x', {'Si': 1.0}, 2.3\n"
        "def axis(): return 0.02 * np.arange(50)\n"
        "def case(name, n, seed):\n"
        "    return dict(phases=[P], maps=np.ones((1, n, n)), spectra=np.ones((1, 50)))\n"
    )
    monkeypatch.setenv("SIFTEM_OTHER_PHANTOMS", str(script))
    foreign_phantoms._other_program.cache_clear()
    made = phantom("other_f", size=8)
    foreign_phantoms._other_program.cache_clear()
    assert "other_f" in foreign_phantoms.names()
    assert made.beam_energy == 120.0 and made.expected(10).sum() == pytest.approx(640)
