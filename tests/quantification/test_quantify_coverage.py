"""A small version of validation/quantify_coverage.py; docs/validation.md has the large one."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "validation" / "quantify_coverage.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("quantify_coverage", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def own_errors(script, seeds, method):
    """Errors over told errors of each element of each phase that no anchor fixes."""
    z, failed = script.study(seeds, size=48, channels=1500, methods=(method,))
    assert not failed
    own = {k[1:]: v for k, v in z.items() if k[0] == method and k[1:] not in script.FIXED}
    assert len(own) == 3 * 11 - 1
    return own


def test_errors_of_the_whole_road_are_as_large_as_they_say(script):
    own = own_errors(script, range(4), "subtract")
    within = script.covered(np.concatenate(list(own.values())))
    # The share of 128 values that hang together a little is good to some 5 and 2%.
    assert 55 <= within[68] <= 81
    assert 89 <= within[95] <= 99.5
    assert max(abs(np.mean(v)) for v in own.values()) < 4 / np.sqrt(4)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["subtract", "weighted"])
def test_intervals_hold_the_truth_as_often_as_they_say(script, method):
    own = own_errors(script, range(14), method)
    # 32 elements of phases, 14 maps: the share of 448 values is good to 2.2 and 1%, a
    # little worse because the fractions of a phase sum to one. Scales hold errors of ratios
    # of lines, which are here those of tables: a little is held too often.
    within = script.covered(np.concatenate(list(own.values())))
    assert 60 <= within[68] <= 76
    assert 90 <= within[95] <= 98
    assert max(abs(np.mean(v)) for v in own.values()) < 4 / np.sqrt(14)


def test_coverage_of_known_deviations(script):
    assert script.covered([0.5, -0.99, 1.5, -1.95, 3.0]) == {68: 40.0, 95: 80.0}
