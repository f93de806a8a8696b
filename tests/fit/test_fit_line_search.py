"""What a search asks of one fit again and again is made once, and is the same."""

import numpy as np
import pytest

from siftem.energy_axis import EnergyAxis
from siftem.fit.line_search import Left, LineLibrary
from siftem.fit.spectrum_model import Calibration
from siftem.xray.detector import Detector

AXIS = EnergyAxis(0.2, 0.02, 500)


@pytest.fixture
def library():
    return LineLibrary(["Al", "Si", "Fe"], AXIS, 200.0, Detector(), Calibration())


def left_by(library, photons):
    own = library.of("Si")[0]
    counts = photons * library.profiles[:, own]
    return Left(counts, 1.0 + counts, np.ones((AXIS.size, 1)), np.zeros(1))


def test_a_second_look_at_a_fit_scores_nothing_anew(library, monkeypatch):
    calls = []
    scores = LineLibrary.scores
    monkeypatch.setattr(
        LineLibrary, "scores", lambda self, left: calls.append(left) or scores(self, left)
    )
    left = left_by(library, 1e6)
    first = library.best(left, set(), 6.0, common={"Si"})
    again = library.best(left, set(), 6.0, common={"Si"})
    assert list(first) == ["Si"] and first == again
    assert len(calls) == 1


def test_another_fit_or_another_scale_is_looked_at_for_itself(library):
    faint, clear = left_by(library, 1e2), left_by(library, 1e6)
    for left in (clear, faint, clear):
        known = library.seen("Si", left, common=True)
        fresh = library.seen("Si", Left(*left_arrays(left)), common=True)
        assert known == fresh
    moved = LineLibrary(["Si"], AXIS, 200.0, Detector(), Calibration(shift=0.1))
    assert moved.best(clear, set(), 6.0, common={"Si"}) != library.best(
        clear, set(), 6.0, common={"Si"}
    )


def left_arrays(left):
    return left.residual, left.variance, left.design, left.prior
