"""Whose a peak is: elements that a list holds beside those that it lacks, on the same lines."""

from dataclasses import replace

import numpy as np
import pytest
from foreign_physics import AXIS, expected, peak

from siftem.acquisition import Acquisition
from siftem.errors import DoubtWarning
from siftem.fit.line_fit import LineFitter, fit_lines
from siftem.fit.stand_ins import stand_ins
from siftem.quantification.composition import quantify
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector

ELEMENTS = ["O", "Mg", "Si", "Ca", "Fe"]
#: keV and weights, from public tables of lines.
NICKEL = ((7.472, 0.88), (8.265, 0.12))
COBALT = ((6.925, 0.88), (7.649, 0.12))
YTTERBIUM = ((7.415, 0.5), (8.402, 0.3), (8.758, 0.1), (9.780, 0.06), (6.545, 0.03))


def drawn(lines, counts):
    mean = expected(3e6) + counts * sum(w * peak(e) for e, w in lines)
    values = np.random.default_rng(0).poisson(mean).astype(float)
    return Spectrum(values, AXIS, name="glass", acquisition=Acquisition(200.0, take_off_angle=22.0))


def told(lines, counts, listed, support=("Cu",)):
    fit = LineFitter((*ELEMENTS, listed), support, 200.0, Detector()).fit(drawn(lines, counts))
    return {(s.line, s.other) for s in stand_ins(fit)}


@pytest.mark.parametrize(
    ("lines", "counts", "listed", "found"),
    [
        pytest.param(NICKEL, 5000, "Yb", {("Yb L", "Ni K")}, id="Ni of a holder"),
        pytest.param(COBALT, 2000, "Er", {("Er L", "Co K")}, id="Co of a pole piece"),
        # Its other lines, where Ni has none, tell whose it is.
        pytest.param(YTTERBIUM, 2000, "Yb", set(), id="Yb"),
        pytest.param(NICKEL, 0, "Yb", set(), id="nothing"),
    ],
)
def test_a_peak_may_be_of_what_is_not_listed(lines, counts, listed, found):
    assert told(lines, counts, listed) == found


#: Br L, from public tables of lines: Al K lies at 1.487 keV.
BROMINE = ((1.480, 0.62), (1.526, 0.30), (1.293, 0.05), (1.339, 0.03))


def test_a_rare_element_is_asked_for_where_it_leaves_nothing():
    # The axis ends below Br K.
    assert told(BROMINE, 60000, "Al") == {("Al K", "Br L")}
    assert told(((1.487, 0.99), (1.557, 0.01)), 60000, "Al") == set()


def test_both_listed_leave_no_question():
    assert told(COBALT, 2000, "Er", ("Cu", "Co")) == set()
    # What is named as the support's is asked for by nobody.
    fit = LineFitter(tuple(ELEMENTS), ("Cu", "Er"), 200.0, Detector()).fit(drawn(COBALT, 2000))
    assert stand_ins(fit) == ()


def test_fits_and_compositions_say_so():
    spectrum, listed = drawn(COBALT, 2000), [*ELEMENTS, "Er"]
    message = r"glass: Er L \(6\.9\d keV, \d\.\d sigma\) may be Co K, in no list"
    with pytest.warns(DoubtWarning, match=message):
        fit_lines(spectrum, listed, support=["Cu"], beam_energy=200.0)
    with pytest.warns(DoubtWarning, match=message):
        quantify(spectrum, listed, support=["Cu"], thickness=100, density=3.0)
    # Warnings are errors in tests: who asks for no such looks gets none.
    quantify(spectrum, listed, support=["Cu"], thickness=100, density=3.0, warn_above=None)


def content(lines, counts, listed):
    return quantify(
        drawn(lines, counts), [*ELEMENTS, listed], support=["Cu"], thickness=100, density=3.0,
        warn_above=None,
    )  # fmt: skip


def test_intervals_hold_that_an_element_is_another_one():
    in_doubt, sure = content(COBALT, 2000, "Er"), content(YTTERBIUM, 2000, "Yb")
    (low, high), (sure_low, _) = (c.intervals()[c.index(c.elements[-1])] for c in (in_doubt, sure))
    assert low == 0.0 and sure_low > 0.0 and sure.stand_in_ends is None
    assert high > in_doubt.atomic_fractions[in_doubt.index("Er")] > 0
    # What has no line there keeps its interval.
    without = replace(in_doubt, stand_in_ends=None).intervals()
    at = [in_doubt.index(e) for e in ELEMENTS]
    assert in_doubt.intervals()[at] == pytest.approx(without[at], rel=0.02)
    assert without[in_doubt.index("Er"), 0] > 0
    assert in_doubt.ratio("Er/Fe").range_95[0] == 0.0
    assert in_doubt.ratio("Mg/Si").range_95 is None
