"""300 ppm of Nd in the matrix of a map of 4e7 counts (validation/quantify_trace.py)."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "validation" / "quantify_trace.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("quantify_trace", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_trace_in_the_matrix(script):
    phantom = script.trace_map(4e7, 300.0, seed=0)
    assert phantom.weight_fractions[0]["Nd"] == pytest.approx(300e-6)
    assert phantom.spectrum_image.counts.sum() == pytest.approx(4e7, rel=0.03)
    _, c = script.of_matrix(phantom, script.true_regions(phantom))
    i = c.index("Nd")
    assert c.found[i]
    assert c.sigma[i] / 300e-6 < 0.3
    assert c.detection_limits[i] < 150e-6
    assert c.weight_fractions[i] == pytest.approx(300e-6, abs=3 * c.sigma[i])
