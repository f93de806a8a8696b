"""Peaks that no listed element explains, in spectra whose makers knew one line an element."""

from dataclasses import replace

import numpy as np
import pytest

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.errors import DoubtWarning
from siftem.fit.element_search import structure_of, warn_of_structure
from siftem.fit.line_fit import LineFitter
from siftem.fit.peaks_left import peaks_left
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector

AXIS = EnergyAxis(0.2, 0.01, 1000)
ALPHA = {"O": 0.525, "Mg": 1.254, "Al": 1.487, "Si": 1.740, "Ca": 3.691, "Fe": 6.40}
ROCK = {"O": 6.0, "Mg": 3.0, "Al": 4.0, "Si": 5.0, "Ca": 1.0, "Fe": 1.0}


def peak(energy, width=1.0):
    sigma = width * 0.0555 * np.sqrt(0.15 + 0.85 * energy / 5.9)
    shape = np.exp(-0.5 * ((AXIS.centers - energy) / sigma) ** 2)
    return shape / shape.sum()


def rock(*more):
    """One Gaussian for each element on a smooth continuum; no K beta, no L lines, no tails."""
    smooth = np.exp(-AXIS.centers / 4)
    lines = sum(amount * peak(ALPHA[e]) for e, amount in ROCK.items())
    mean = lines + 5.0 * smooth / smooth.sum() + sum(more)
    return mean / mean.sum()


def fitted(mean, total, elements, seed=0):
    counts = np.random.default_rng(seed).poisson(total * mean).astype(float)
    spectrum = Spectrum(counts, AXIS, name="rock", acquisition=Acquisition(200.0))
    return LineFitter(tuple(elements), (), 200.0, Detector()).fit(spectrum)


@pytest.mark.parametrize("total", [1e4, 1e7])
def test_an_element_is_named_without_its_k_beta(total):
    fit = fitted(rock(), total, ["O", "Mg", "Al", "Si"])
    found = {p.candidates[0].line: p for p in peaks_left(fit)}
    assert list(found) and set(found) == {"Ca K", "Fe K"}
    for line, energy in (("Ca K", 3.69), ("Fe K", 6.40)):
        assert found[line].energy == pytest.approx(energy, abs=0.03)
        assert found[line].significance > 8
        assert found[line].candidates[0].hidden == "K beta"
    with pytest.warns(DoubtWarning, match=r"at 6\.\d+ keV .*Fe K, whose K beta does not show"):
        assert warn_of_structure(fit)


def test_a_complete_list_leaves_no_peak():
    assert not peaks_left(fitted(rock(), 1e7, list(ROCK)))


def test_a_small_peak_in_many_counts_is_told():
    small = 0.012 * peak(2.80)
    fit = fitted(rock(small), 1e7, list(ROCK))
    assert structure_of(fit) is None
    (left,) = peaks_left(fit)
    assert left.energy == pytest.approx(2.80, abs=0.03)
    assert left.excess < 0.2
    with pytest.warns(DoubtWarning, match=r"rock: .*peaks at 2\.[78]\d keV"):
        assert warn_of_structure(fit)


def test_what_is_wider_than_a_line_is_none():
    assert not peaks_left(fitted(rock(0.3 * peak(5.0, width=4.0)), 1e6, list(ROCK)))


def test_a_spoilt_energy_scale_does_not_hide_what_a_peak_is():
    fit = fitted(rock(), 1e6, ["O", "Mg", "Al", "Si"])
    spoilt = replace(fit, calibration=replace(fit.calibration, gain=0.015, shift=0.0))
    found = {p.candidates[0].line: p.energy for p in peaks_left(spoilt)}
    assert found["Fe K"] == pytest.approx(6.40, abs=0.03)
    assert found["Ca K"] == pytest.approx(3.69, abs=0.03)
