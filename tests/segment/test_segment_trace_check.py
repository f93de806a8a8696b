"""Traces against the components that they name, and pixels that are like no painted one."""

import numpy as np
import pytest

from siftem.segment.traces import (
    component_shares,
    contradictions,
    place_to_paint,
    unlike_painted,
)

N = 60


@pytest.fixture(scope="module")
def maps():
    """A matrix with two kinds of discs, of 60 to 200 counts a pixel."""
    y, x = np.mgrid[:N, :N]
    first = (y - 18) ** 2 + (x - 18) ** 2 < 100
    second = (y - 42) ** 2 + (x - 42) ** 2 < 100
    true = np.array([np.where(first | second, 60.0, 120.0), 60.0 * first, 60.0 * second])
    return np.random.default_rng(2).poisson(true + 2.0)


def dab(y, x, r=4):
    mask = np.zeros((N, N), bool)
    mask[y - r : y + r + 1, x - r : x + r + 1] = True
    return mask


def by_name(maps):
    return dict(zip(("M", "A", "B"), component_shares(maps)[0], strict=True))


def test_traces_on_their_own_phases_are_not_found_fault_with(maps):
    masks = {"M": dab(10, 45), "A": dab(18, 18), "B": dab(42, 42)}
    assert contradictions(by_name(maps), masks) == ()


def test_matrix_painted_as_a_grain_is_told(maps):
    said = contradictions(by_name(maps), {"M": dab(10, 45), "A": dab(50, 10), "B": dab(42, 42)})
    assert len(said) == 1
    assert "painted as A hold hardly any of its component" in said[0]


def test_a_stroke_on_another_phase_is_told_among_others_that_are_right(maps):
    right = {"M": dab(10, 45), "A": dab(18, 18), "B": dab(42, 42)}
    said = contradictions(by_name(maps), {**right, "A": dab(18, 18) | dab(50, 10, 2)})
    assert len(said) == 1
    assert "painted as A those about y 50, x 10 hold hardly any of its component" in said[0]
    assert contradictions(by_name(maps), {**right, "A": dab(18, 18) | dab(24, 18, 1)}) == ()


def test_the_place_to_paint_is_deep_inside_and_not_at_the_border_of_the_map():
    unlike = np.zeros((N, N), bool)
    unlike[:20] = True
    y, x = place_to_paint(unlike)
    assert 8 <= y <= 11 and 8 <= x <= N - 9


def test_exchanged_names_are_told(maps):
    said = contradictions(by_name(maps), {"M": dab(10, 45), "A": dab(42, 42), "B": dab(18, 18)})
    assert any("painted as A" in s for s in said) and any("painted as B" in s for s in said)


def test_a_grain_painted_as_matrix_is_told_by_those_who_hold_more_of_it(maps):
    shares = by_name(maps)
    shares["M"] = 0.3 + 0.5 * shares["M"]
    masks = {"M": dab(18, 18), "A": dab(10, 45), "B": dab(42, 42)}
    said = contradictions(shares, masks)
    assert any("M" in s for s in said)


def test_pixels_painted_as_several_phases_say_nothing(maps):
    both = dab(50, 10)
    assert contradictions(by_name(maps), {"A": both, "B": both}) == ()
    assert contradictions(by_name(maps), {}) == ()


def test_a_grain_without_a_stroke_is_shown_and_painted_ones_are_not(maps):
    shares, level = component_shares(maps)
    masks = {"M": dab(10, 45) | dab(50, 10), "A": dab(18, 18)}
    unlike = unlike_painted(shares, level, masks)
    assert unlike[dab(42, 42, 6)].mean() > 0.9
    assert unlike[dab(18, 18, 4) | dab(10, 45, 6)].mean() < 0.05
    y, x = place_to_paint(unlike)
    assert (y - 42) ** 2 + (x - 42) ** 2 < 49
    less = unlike_painted(shares, level, {**masks, "B": dab(42, 42)})
    assert less.sum() < 0.1 * unlike.sum()  # nor are borders


def test_nothing_painted_nothing_shown(maps):
    shares, level = component_shares(maps)
    assert not unlike_painted(shares, level, {}).any()
    assert place_to_paint(np.zeros((3, 3), bool)) is None
