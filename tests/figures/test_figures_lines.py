"""Labels of lines: which ones, and where they go."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from siftem.energy_axis import EnergyAxis
from siftem.figures.line_labels import line_text, place_labels, seen_lines
from siftem.fit.line_fit import fit_lines
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.lines import line_families

AXIS = EnergyAxis(0.21, 0.01, 1000)


def fitted(photons, *, asked, calibration=None, seed=0):
    """Fit a noisy thin-film spectrum with the given photons in each element's families."""
    calibration = calibration or Calibration()
    families = line_families(photons, beam_energy=200.0, low=AXIS.first, high=AXIS.last)
    model = SpectrumModel(tuple(families), 200.0, Detector(), 1)
    mean = model.line_columns(AXIS, calibration) @ [photons[f.element] for f in families]
    continuum = model.continuum_columns(AXIS, calibration)[:, 0]
    mean = mean + 40 * AXIS.size * continuum / continuum.sum()
    counts = np.random.default_rng(seed).poisson(mean)
    return fit_lines(Spectrum(counts, AXIS), asked, beam_energy=200.0)


def test_strong_lines_are_seen_and_absent_ones_are_not():
    fit = fitted({"Mg": 1e5, "Si": 1e5, "Fe": 2e4}, asked=["Mg", "Si", "Fe", "Nd", "Ca"])
    texts = {label.text for label in seen_lines([fit])}
    assert {"Mg Kα", "Si Kα", "Fe Kα", "Fe Kβ", "Fe Lα"} <= texts
    assert not any(t.startswith(("Nd", "Ca")) for t in texts)


def test_a_line_under_a_much_stronger_one_gets_no_label():
    # Ta M (1.71 keV) lies within a width of Si Ka (1.74 keV), 86 eV.
    fit = fitted({"Si": 1e6, "Ta": 2e4}, asked=["Si", "Ta"])
    texts = {label.text for label in seen_lines([fit])}
    assert "Si Kα" in texts
    assert "Ta Mα" not in texts
    assert "Ta Lα" in texts


def test_what_the_error_of_its_amplitude_holds_gets_no_label():
    """A misfit beside Na K looked like Sm M, 2.5 of its errors high, and was labelled."""
    fit = fitted({"Fe": 2e4, "Ca": 5e3}, asked=["Fe", "Ca"])
    ca = [i for i, name in enumerate(fit.names) if name.startswith("Ca")]
    wide = fit.covariance.copy()
    wide[ca, ca] += (0.4 * fit.amplitudes[ca]) ** 2
    assert "Ca Kα" in {label.text for label in seen_lines([fit])}
    texts = {label.text for label in seen_lines([replace(fit, covariance=wide)])}
    assert "Ca Kα" not in texts and "Fe Kα" in texts


def test_labels_of_several_fits_are_merged_and_sorted():
    a = fitted({"Mg": 1e5}, asked=["Mg"])
    b = fitted({"Mg": 1e4, "Ca": 1e5}, asked=["Mg", "Ca"])
    labels = seen_lines([a, b])
    assert [x.text for x in labels].count("Mg Kα") == 1
    assert [x.energy for x in labels] == sorted(x.energy for x in labels)
    strongest = next(x for x in seen_lines([a]) if x.text == "Mg Kα")
    assert next(x for x in labels if x.text == "Mg Kα").prominence == strongest.prominence


def test_labels_stand_where_the_peaks_are_measured():
    shifted = Calibration(shift=0.03)
    fit = fitted({"Fe": 1e5}, asked=["Fe"], calibration=shifted)
    label = next(x for x in seen_lines([fit]) if x.text == "Fe Kα")
    # Fe Ka1 6.4038, Ka2 6.3908 keV (Bearden 1967, Rev. Mod. Phys. 39, 78), 2:1.
    assert label.energy == pytest.approx(6.3995 + 0.03, abs=0.003)


@pytest.mark.parametrize(
    ("element", "line", "text"),
    [
        ("Fe", "Ka", "Fe Kα"),
        ("Nd", "Lb1", "Nd Lβ₁"),
        ("U", "Mg", "U Mγ"),
        ("Cu", "Ll", "Cu Lℓ"),
        ("Ca", "M3-N1", "Ca M3-N1"),
        ("Nd", "L", "Nd L"),
    ],
)
def test_line_names_as_printed(element, line, text):
    assert line_text(element, line) == text


def test_labels_with_room_stay_where_they_belong():
    placed = place_labels([1, 5, 9], [2, 2, 2], [1, 1, 1], low=0, high=10)
    assert placed == [(0, 1.0), (1, 5.0), (2, 9.0)]


def test_two_labels_at_one_place_share_the_move():
    placed = place_labels([5, 5], [2, 2], [1, 1], low=0, high=10)
    assert [p for _, p in placed] == pytest.approx([4, 6])


def test_without_room_the_least_prominent_goes():
    placed = place_labels([1, 2, 3], [4, 4, 4], [3, 1, 2], low=0, high=9)
    assert [i for i, _ in placed] == [0, 2]
    assert place_labels([1.0], [20.0], [1.0], low=0, high=9) == []
    assert place_labels([], [], [], low=0, high=9) == []


def test_a_dropped_label_comes_back_when_its_crowd_has_shrunk():
    crowd = [10.0] * 12
    placed = place_labels(
        [*crowd, 21.0], [2.0] * 13, [*range(10, 22), 1.0], low=0, high=40, farthest=5
    )
    kept = [i for i, _ in placed]
    assert 12 in kept
    assert len(kept) >= 5


LABELS = st.lists(
    st.tuples(st.floats(0, 100), st.floats(0.5, 12), st.floats(0, 10)), min_size=1, max_size=15
)


@given(LABELS)
@settings(max_examples=60, deadline=None)
def test_placed_labels_never_overlap_nor_leave_nor_stray(labels):
    x, w, rank = (np.array(v) for v in zip(*labels, strict=True))
    placed = place_labels(x, w, rank, low=0, high=100, farthest=6)
    index = np.array([i for i, _ in placed], int)
    at = np.array([p for _, p in placed])
    assert len(set(index)) == len(index)
    assert (np.abs(at - x[index]) <= 6 + 1e-9).all()
    assert (at - w[index] / 2 >= -1e-9).all() and (at + w[index] / 2 <= 100 + 1e-9).all()
    assert (np.diff(at) >= 0.5 * (w[index][1:] + w[index][:-1]) - 1e-9).all()
    # The most prominent label is never the one to go while it fits where it belongs.
    best = int(rank.argmax())
    if (rank == rank[best]).sum() == 1 and w[best] / 2 <= x[best] <= 100 - w[best] / 2:
        assert best in index


def test_moves_are_the_least_possible():
    """Against a general solver."""
    x, w = np.array([2.0, 2.5, 4.0, 9.0, 9.2]), np.array([1.5, 2.0, 1.0, 2.0, 1.5])
    placed = np.array([p for _, p in place_labels(x, w, [1] * 5, low=0, high=12)])
    gaps = [
        {"type": "ineq", "fun": lambda p, i=i: p[i + 1] - p[i] - 0.5 * (w[i] + w[i + 1])}
        for i in range(4)
    ]
    ends = [
        {"type": "ineq", "fun": lambda p: p[0] - w[0] / 2},
        {"type": "ineq", "fun": lambda p: 12 - w[-1] / 2 - p[-1]},
    ]
    best = minimize(
        lambda p: ((p - x) ** 2).sum(), np.linspace(1, 11, 5), constraints=[*gaps, *ends]
    )
    assert ((placed - x) ** 2).sum() == pytest.approx(best.fun, abs=1e-5)
