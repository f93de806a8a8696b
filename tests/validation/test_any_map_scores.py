"""Scores of a run against a truth, on cases that can be done by hand."""

import numpy as np
import pytest

from validation import any_map_scores as scores


def test_spectra_are_matched_one_to_one():
    true = np.eye(3)
    found = [np.array([0.1, 1.0, 0.2]), np.array([0.9, 0.8, 0.0])]
    # Both are nearest to the first two; the second one has no other.
    assert scores.matched(found, true) == {0: 1, 1: 0}
    assert scores.angle(np.array([1.0, 1.0]), np.array([1.0, 0.0])) == pytest.approx(45)
    assert scores.angle(np.zeros(2), np.array([1.0, 0.0])) == 90


def test_overlap_and_agreement():
    a = np.array([[True, True, False]])
    b = np.array([[False, True, True]])
    assert scores.overlap(a, b) == pytest.approx(1 / 3)
    right, done = scores.agreement(np.array([[0, 1, -1, 1]]), np.array([[0, 0, 1, -1]]))
    assert (right, done) == (50, pytest.approx(200 / 3))


def test_elements_are_compared_with_their_intervals():
    entries = {
        "Mg": {"at_percent": 12.0, "at_interval_95": [11.0, 12.5]},
        "O": {"at_percent": 88.0, "at_sigma": 0.3, "at_systematic": 0.4, "found": True},
        "Ti": {"at_percent": 0.2, "at_interval_95": [0.1, 0.3], "found": True},
    }
    rows = scores.elements_of(entries, {"Mg": 10, "O": 70, "Si": 20})
    mg, o, ti = rows
    assert ti["false"] and not ti["held"] and not o["false"] and not mg["false"]
    assert mg["truth"] == pytest.approx(12.5) and o["truth"] == pytest.approx(87.5)
    assert mg["held"] and mg["pull"] == pytest.approx(-1.96)
    assert (o["low"], o["high"]) == (87.0, 89.0) and o["pull"] == pytest.approx(0.98)
    pooled = scores.pooled(rows[:2])
    assert pooled == {
        "n": 2, "coverage": 100, "median_width": 1.75, "largest_pull": pytest.approx(1.96)
    }  # fmt: skip


def test_an_end_at_the_value_itself_leaves_no_room():
    assert scores.pull(0.0, 10.5, (0.0, 0.0)) == -scores.NO_WIDTH
    assert scores.pull(5.0, 5.0, (5.0, 5.0)) == 0
    assert scores.pull(6.0, 5.0, (5.5, 9.0)) == pytest.approx(3.92)


def test_a_phase_without_any_of_the_elements_is_not_compared():
    assert scores.elements_of({"Si": {"at_percent": 1.0, "at_interval_95": [0, 2]}}, {"C": 1}) == []
