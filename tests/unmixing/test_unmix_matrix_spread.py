"""A matrix that differs from place to place is an error of its subtraction."""

import numpy as np
import pytest

import siftem
from siftem.fit.line_fit import fit_lines
from siftem.unmixing.subtract import half_beside, spread_mode

OPTIONS = {"support": ["Cu"], "beam_energy": 200.0}


@pytest.fixture(scope="module")
def lines():
    """Counts of one million photons of each family, and of a continuum, on one axis."""
    axis = siftem.EnergyAxis(0.1, 0.01, 1000, "keV")
    flat = siftem.Spectrum(np.full(axis.size, 50.0), axis)
    fit = fit_lines(flat, ["O", "Si", "Ca"], **OPTIONS)
    start = axis.size - fit.spectrum.axis.size
    out = {}
    for name, column in zip(fit.names, fit.design.T, strict=True):
        out[name] = np.concatenate([np.zeros(start), 1e6 * column])
    e = axis.centers
    out["continuum"] = 300 / e * np.exp(-0.3 / e)
    return axis, out


def matrix(lines, calcium, seed):
    axis, of = lines
    mean = of["continuum"] + 0.3 * of["O K"] + 0.3 * of["Si K"] + calcium * of["Ca K"]
    counts = np.random.default_rng(seed).poisson(np.maximum(mean + 0.1 * of["Cu K"], 0.0))
    return siftem.Spectrum(counts.astype(float), axis)


@pytest.mark.parametrize(("near", "far", "change"), [(0.10, 0.10, 0.0), (0.08, 0.12, -8e4)])
def test_the_change_of_lines_that_counting_does_not_make_is_a_mode(lines, near, far, change):
    beside, other = matrix(lines, near, 0), matrix(lines, far, 1)
    whole = siftem.Spectrum(beside.values + other.values, beside.axis)
    fit = fit_lines(whole, ["O", "Si", "Ca"], **OPTIONS)
    mode = spread_mode(beside, fit)
    calcium = fit.operator[fit.index("Ca")] @ mode[-fit.spectrum.axis.size :]
    # Twice the near half is all of the matrix, or twice the far one: 1.6e5 and 2.4e5 photons.
    assert calcium == pytest.approx(change, rel=0.15, abs=400)
    silicon = fit.operator[fit.index("Si")] @ mode[-fit.spectrum.axis.size :]
    assert abs(silicon) < 0.06 * fit.amplitudes[fit.index("Si")]


def test_the_half_beside_a_grain_is_nearer_to_it():
    matrix = np.ones((20, 20), bool)
    grain = np.zeros((20, 20), bool)
    grain[:, :2] = True
    near = half_beside(matrix & ~grain, grain)
    assert near[:, 2:11].all()
    assert not near[:, 11:].any() and not near[:, :2].any()
    assert not half_beside(matrix, ~matrix).any()


def test_what_is_left_carries_the_spread(lines):
    beside, other = matrix(lines, 0.08, 0), matrix(lines, 0.12, 1)
    whole = siftem.Spectrum(beside.values + other.values, beside.axis)
    axis, of = lines
    mean = 0.5 * whole.values + 0.3 * of["O K"]
    mixture = siftem.Spectrum(np.random.default_rng(2).poisson(mean).astype(float), axis)
    fit = fit_lines(whole, ["O", "Si", "Ca"], **OPTIONS)
    uneven = siftem.Spectrum(whole.values, axis, modes=spread_mode(beside, fit))
    sigma = []
    for taken in (whole, uneven):
        pure = siftem.subtract(mixture, taken, anchor="Si", elements=["O", "Si", "Ca"], **OPTIONS)
        found = fit_lines(pure, ["O", "Si", "Ca"], calibration=fit.calibration, **OPTIONS)
        sigma.append(np.sqrt(found.covariance[found.index("Ca"), found.index("Ca")]))
    # Half of the matrix was taken off, which differs by 8e4 of 2e5 photons of calcium.
    assert np.sqrt(sigma[1] ** 2 - sigma[0] ** 2) == pytest.approx(0.5 * 8e4, rel=0.3)
