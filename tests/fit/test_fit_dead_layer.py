"""A dead layer's step in the continuum is no silicon."""

import numpy as np
import pytest
from foreign_physics import AXIS, expected
from scipy.special import ndtr

from siftem.fit.dead_layer import dead_layer_step
from siftem.fit.line_fit import fit_lines
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.spectrum import Spectrum

SILICON_EDGE = 1.839  # keV
LINES = {"O": 0.35, "Ca": 0.2, "Fe": 0.15, "Fe L": 0.02, "Cu": 0.03, "Cu L": 0.01}


def stepped(step):
    """Counts behind a dead layer that takes this share of what lies just above silicon's edge."""
    e = AXIS.centers
    above = ndtr((e - SILICON_EDGE) / 0.036) * (np.maximum(e, SILICON_EDGE) / SILICON_EDGE) ** -2.8
    return expected(3e6, LINES) * (1 - step * above)


def fitted(counts):
    return fit_lines(
        Spectrum(counts, AXIS),
        ["O", "Ca", "Fe", "Si"],
        support=["Cu"],
        beam_energy=200.0,
        energy_range=(0.25, None),
    )


@pytest.mark.parametrize("step", [0.0, 0.08])
def test_a_dead_layer_is_no_silicon(step):
    found = []
    for seed in range(3):
        fit = fitted(np.random.default_rng(seed).poisson(stepped(step)).astype(float))
        i = fit.index("Si")
        found.append(fit.amplitudes[i] / fit.sigma_at_zero(i))
    # Without the step it is 1.7 behind the thicker layer.
    assert np.mean(found) < 1.2


def test_columns_with_the_step_found_give_the_mean():
    fit, plain = fitted(stepped(0.08)), fitted(stepped(0.0))
    assert fit.design @ fit.amplitudes == pytest.approx(fit.mean)
    axis = fit.spectrum.axis.centers
    below, above = (np.abs(axis - SILICON_EDGE - away).argmin() for away in (-0.1, 0.1))
    ratio = plain.continuum[above] / plain.continuum[below]
    assert fit.continuum[above] / fit.continuum[below] == pytest.approx(0.93 * ratio, rel=0.02)


def test_the_step_is_what_silicon_absorbs():
    model = SpectrumModel((), 200.0, n_continuum=None)
    column = dead_layer_step(model, AXIS, Calibration(), np.ones(AXIS.size))[:, 0]
    e = AXIS.centers
    assert np.abs(column[e < SILICON_EDGE - 0.3]).sum() < 1e-6
    # Silicon at 2 keV: 2777 cm2/g (NIST XCOM), of which 244 are the outer shells', as before the
    # edge: 309 cm2/g at 1.839 keV, falling by the power -2.8.
    assert column[np.abs(e - 2.0).argmin()] == pytest.approx(3e-5 * (2777 - 244), rel=0.03)
    cut = AXIS.cropped(slice(200, 1000))
    assert dead_layer_step(model, cut, Calibration(), np.ones(800)).shape == (800, 0)
