"""Steps of the continuum at edges: a dead layer is no silicon, and a grid's bar no zinc."""

import numpy as np
import pytest
from foreign_physics import AXIS, expected
from scipy.special import ndtr

from siftem.fit.fit_steps import continuum_steps
from siftem.fit.line_fit import fit_lines
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.lines import line_families

SILICON_EDGE, COPPER_EDGE = 1.839, 8.979  # keV
LINES = {"O": 0.35, "Ca": 0.2, "Fe": 0.15, "Fe L": 0.02, "Cu": 0.03, "Cu L": 0.01}


def stepped(step, edge=SILICON_EDGE, width=0.036):
    """Counts behind what takes this share of the continuum just above an edge."""
    e = AXIS.centers
    above = ndtr((e - edge) / width) * (np.maximum(e, edge) / edge) ** -2.8
    lines = expected(3e6, LINES) - expected(3e6, {})
    return lines + expected(3e6, {}) * (1 - step * above)


def fitted(counts, elements=("O", "Ca", "Fe", "Si"), support=("Cu",), n_continuum=None):
    return fit_lines(
        Spectrum(counts, AXIS),
        elements,
        support=support,
        beam_energy=200.0,
        energy_range=(0.25, None),
        n_continuum=n_continuum,
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


@pytest.mark.parametrize("terms", [None, 5])
def test_a_bar_of_copper_is_no_zinc(terms):
    counts = stepped(0.3, COPPER_EDGE, 0.066)
    fit = fitted(counts, ["O", "Ca", "Fe"], ["Cu", "Zn"], terms)
    specimen = fitted(counts, ["O", "Ca", "Fe", "Cu", "Zn"], [], terms)
    zinc, unstepped = (f.unbounded[f.index("Zn")] for f in (fit, specimen))
    # A specimen's copper makes no step: 690 photons of zinc, 0 with the step.
    assert abs(zinc) < 0.3 * abs(unstepped)
    axis = fit.spectrum.axis.centers
    below, above = (np.abs(axis - COPPER_EDGE - away).argmin() for away in (-0.2, 0.2))
    true = (counts - stepped(0.0) + expected(3e6, {}))[-axis.size :]
    assert fit.continuum[above] / fit.continuum[below] == pytest.approx(
        true[above] / true[below], rel=0.03
    )


def test_columns_with_the_step_found_give_the_mean():
    fit, plain = fitted(stepped(0.08)), fitted(stepped(0.0))
    assert fit.design @ fit.amplitudes == pytest.approx(fit.mean)
    axis = fit.spectrum.axis.centers
    below, above = (np.abs(axis - SILICON_EDGE - away).argmin() for away in (-0.1, 0.1))
    ratio = plain.continuum[above] / plain.continuum[below]
    assert fit.continuum[above] / fit.continuum[below] == pytest.approx(0.93 * ratio, rel=0.02)


def steps(axis=AXIS, height=0.0, **change):
    families = tuple(line_families(["Cu"], beam_energy=200.0, low=0.2, high=10.0))
    model = SpectrumModel(families, 200.0, Detector(), None, **change)
    lines = height * model.line_columns(AXIS, Calibration())[-axis.size :]
    return continuum_steps(model, axis, Calibration(), np.ones(axis.size), lines)


def test_the_step_is_what_silicon_absorbs():
    (column,) = steps().T
    e = AXIS.centers
    assert np.abs(column[e < SILICON_EDGE - 0.3]).sum() < 1e-6
    # Silicon at 2 keV: 2777 cm2/g (NIST XCOM), of which 244 are the outer shells', as before the
    # edge: 309 cm2/g at 1.839 keV, falling by the power -2.8.
    assert column[np.abs(e - 2.0).argmin()] == pytest.approx(3e-5 * (2777 - 244), rel=0.03)
    assert steps(AXIS.cropped(slice(200, 1000))).shape == (800, 0)


def test_thick_copper_steps_as_far_as_its_lines_show():
    assert steps(height=1e9).shape[1] == 1
    e, tall = AXIS.centers, steps(height=1e9, thick=("Cu",))[:, 1]
    assert np.abs(tall[e < COPPER_EDGE - 0.5]).max() < 1e-6
    assert tall[np.abs(e - COPPER_EDGE - 0.3).argmin()] == pytest.approx(0.3, rel=0.1)
    none = steps(height=0.0, thick=("Cu",))
    assert none.shape[1] == 1
