"""Results that are not part of a run, in a shell: what they say, in a few lines."""

import numpy as np

import siftem
from siftem.eels.ratios import ElementalRatios
from siftem.fit.null_elements import NullElements
from siftem.quantification.line_ratios import LineRatios
from siftem.views import outline


def test_net_lines_read_as_ratios_with_errors():
    found = LineRatios(
        "glass", ("Si", "Fe", "Au"), ("Si K", "Fe K", "Au L"), "Si", np.array([100.0, 25.0, 0.1]),
        np.array([1.0, 0.25, 0.001]), np.diag([0.0, 0.0004, 0.0001]),
        np.array([True, True, False]),
    )  # fmt: skip
    assert repr(found).splitlines() == [
        "<LineRatios of glass, net counts>",
        "Fe K/Si K = 0.250 +- 0.020",
        "Au L/Si K: Au L not found",
    ]


def test_ratios_of_edges_read_as_their_table():
    zero = np.diag([0.0, 0.01])
    found = ElementalRatios(("Ti", "O"), "Ti", np.array([1.0, 2.5]), zero, 4 * zero, (), np.ones(2))
    assert repr(found) == f"<ElementalRatios, by atoms>\n{found.table()}"


def test_absent_elements_read_as_their_scatter():
    found = NullElements({f"E{i}": 0.1 * i for i in range(60)})
    assert found.describe() in repr(found)
    assert len(repr(found)) < 200


def test_an_outline_names_arrays_by_their_size():
    phantom = siftem.simulate_elnes((16, 17), counts=20)
    text = repr(phantom)
    assert "abundances=<float64 array of 2 x 16 x 17>" in text
    assert "array(" not in text
    assert len(text) < 800
    assert type(phantom).__repr__ is outline
