"""Spectra by subtraction and unmixing against an oracle that knows the true maps."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "validation" / "unmix_oracle.py"


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("unmix_oracle", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("dose", "seed"), [(300.0, 1), (20.0, 2)])
def test_angles_against_the_oracle(study, dose, seed):
    angles = study.angles(dose=dose, seed=seed, size=64)
    for phase, best in angles["oracle"].items():
        assert angles["subtract, weighted"][phase] < 1.3 * best
        assert angles["unmix, physics"][phase] < best
    # Weights help the thin needles, not at the cost of the others.
    plain, weighted = angles["subtract"], angles["subtract, weighted"]
    assert weighted["Ca-Pv"] < plain["Ca-Pv"]
    assert weighted["Brg"] == plain["Brg"]
