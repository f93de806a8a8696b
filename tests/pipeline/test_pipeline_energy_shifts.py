"""Spectra that are shifted against each other are told; real differences are not taken for it."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import nnls

from siftem.decomposition.factors import Factors
from siftem.energy_axis import EnergyAxis
from siftem.errors import DoubtWarning
from siftem.pipeline.energy_shifts import warn_of_drift, warn_of_shifts
from siftem.spectrum_image import SpectrumImage

N = 40
LOSSES = EnergyAxis(400.0, 1.0, 300, "eV")


def said(function, *args):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        function(*args)
    assert all(issubclass(w.category, DoubtWarning) for w in told)
    return [str(w.message) for w in told]


@pytest.mark.parametrize(
    ("drift", "wedge"), [(12.0, 0.0), (-12.0, 0.5), (3.0, 0.0), (0.0, 0.8), (1.0, 0.0)]
)
def test_peaks_that_move_during_the_scan_are_told(drift, wedge):
    """12 eV or 3 from the first row to the last; a wedge, and 1 eV, are no drift."""
    axis = EnergyAxis(0.2, 0.01, 700, "keV")
    energy = axis.centers[None]
    mean = 0.02 + 0.1 * np.exp(-energy)
    for line, height in ((0.525, 3.0), (1.74, 2.0), (6.40, 1.0)):
        at = line + 1e-3 * drift * np.arange(N)[:, None] / N
        left = np.exp(-wedge * np.arange(N)[:, None] / N * (0.525 / line) ** 2.7)
        mean = mean + 0.2 * height * left * np.exp(-0.5 * ((energy - at) / 0.045) ** 2)
    if 0 < abs(drift) < 5:  # what is faint takes more counts
        mean = 20 * mean
    counts = np.random.default_rng(0).poisson(np.repeat(mean[:, None], N, axis=1))
    si = SpectrumImage(sp.csr_array(counts.reshape(N * N, -1)), (N, N), axis)
    told = said(warn_of_drift, si, {"film": np.ones((N, N), bool)})
    if abs(drift) < 2:
        assert told == []
    else:
        (text,) = told
        way = "the bottom up" if drift > 0 else "the top down"
        assert text.startswith(f"film: from {way} its peaks move down by")
        assert float(text.split("by ")[1].split(" eV")[0]) == pytest.approx(
            0.9 * abs(drift), abs=1.5 if abs(drift) > 5 else 0.5
        )


def losses(shift=0.0, oxygen=1.0, valence=0.0):
    """A titanate: a background, an edge of Ti with its white lines, and one of oxygen."""
    energy = LOSSES.centers - shift
    out = 1e3 * (energy / 400) ** -3.0
    for onset, height, at in (
        (456, 150, (458 + valence, 463 + valence)),
        (532, 90 * oxygen, (537,)),
    ):
        out = out + height * (energy / onset) ** -3.0 / (1 + np.exp(-(energy - onset) / 1.0))
        for peak in at:
            out = out + 1.5 * height * np.exp(-0.5 * ((energy - peak) / 1.2) ** 2)
    return out


def loss_map(means, spectra):
    """Counts of these means, and components of these spectra with all their maps."""
    means = np.broadcast_to(means, (N, N, LOSSES.size))
    counts = np.random.default_rng(0).poisson(means).reshape(N * N, -1)
    si = SpectrumImage(sp.csr_array(counts), (N, N), LOSSES, signal_type="EELS")
    shapes = np.array(spectra) / np.sum(spectra, axis=1, keepdims=True)
    weight = 1 / np.sqrt(counts.mean(axis=0))
    maps = np.array([nnls(shapes.T * weight[:, None], row * weight)[0] for row in counts])
    maps = maps.T.reshape(-1, N, N)
    names = ("A", "E", "G")[: len(spectra)]
    return si, Factors(maps, shapes, LOSSES, names, 0.0, 1, True)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"shift": 1.5}, True),
        ({"shift": -3.0, "oxygen": 1.0}, True),
        ({"shift": 0.1}, False),
        ({"oxygen": 0.7}, False),
        ({"valence": 1.5}, False),  # of one of two edges: no axis moves so
    ],
)
def test_components_that_are_one_spectrum_shifted_are_told(other, told):
    half = (np.arange(N) < N / 2)[:, None, None]
    spectra = [losses(), losses(**other)]
    said_of = said(warn_of_shifts, *loss_map(np.where(half, *spectra), spectra))
    assert len(said_of) == told
    if told:
        assert said_of[0].startswith("A and E: their spectra are alike but for a shift by")
        size = float(said_of[0].split("shift by ")[1].split(" eV")[0])
        assert size == pytest.approx(abs(other["shift"]), abs=0.2)


@pytest.mark.parametrize(
    ("scatter", "valence", "told"), [(0.8, 0, True), (0, 0, False), (0, 1.5, False)]
)
def test_losses_that_jump_between_pixels_are_told_though_no_component_shows_it(
    scatter, valence, told
):
    """A third phase that no component holds is no shift."""
    rng = np.random.default_rng(1)
    share = rng.uniform(0, 1, (N, N))
    jumps = scatter * rng.standard_normal((N, N))
    means = np.array(
        [
            [
                (1 - s) * losses(j) + s * losses(j, oxygen=0.5, valence=valence * (k % 7 == 0))
                for k, (s, j) in enumerate(zip(*row, strict=True))
            ]
            for row in zip(share, jumps, strict=True)
        ]
    )
    said_of = said(warn_of_shifts, *loss_map(means, [losses(), losses(oxygen=0.5)]))
    assert len(said_of) == told
    if told:
        assert "root mean square" in said_of[0]
        size = float(said_of[0].split("other by ")[1].split(" eV")[0])
        assert size == pytest.approx(scatter, rel=0.2)


def test_phases_that_one_component_stands_for_are_no_shift():
    """Another valence of one of two edges shifts pixels by .4 eV, but hardly more than else."""
    half = (np.arange(N) < N / 2)[:, None, None]
    other = losses(valence=1.0, oxygen=0.3)
    assert (
        said(warn_of_shifts, *loss_map(np.where(half, losses(), other), [losses() + other])) == []
    )
