"""Derivatives with the detector's response, against differences of the columns of the fit."""

from dataclasses import fields, replace

import numpy as np
import pytest

from siftem.energy_axis import EnergyAxis
from siftem.fit.calibrate import NAMES, slopes_of
from siftem.fit.line_fit import fit_lines
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.lines import line_families
from siftem.xray.response import PeakTails

AXIS = EnergyAxis(0.2, 0.01, 1400)
STEPS = {
    "shift": 1e-4,
    "gain": 1e-6,
    "bend": 1e-7,
    "soft": 1e-4,
    "collection_depth": 1.0,
    "resolution": 1e-2,
    "broadening": 1e-3,
    "escape": 1e-3,
    "near": 1e-3,
    "far": 1e-3,
    "shelf": 1e-3,
    "above": 1e-3,
    "near_soft": 1e-3,
}
PLAIN = Calibration(collection_depth=40.0)
BENT = Calibration(
    shift=0.012, gain=-0.002, collection_depth=90.0, resolution=137.0, bend=3e-5, soft=-0.004,
    broadening=1.1, escape=0.8, near=0.02, far=0.01, shelf=0.01, above=0.003,
    near_soft=0.05,
)  # fmt: skip


@pytest.fixture(scope="module")
def model():
    elements = ["O", "Si", "Fe", "Nd", "Pt"]
    families = line_families(elements, beam_energy=200.0, low=0.2, high=14.0)
    return SpectrumModel(tuple(families), 200.0, Detector(resolution=128.0), 3)


@pytest.mark.parametrize("calibration", [PLAIN, BENT], ids=["plain", "bent"])
@pytest.mark.parametrize("name", NAMES)
def test_slopes_are_what_columns_change_by(model, calibration, name):
    amplitudes = np.geomspace(2e6, 1e5, len(model.families))
    h, value = STEPS[name], getattr(calibration, name)
    bounded = name in (*(f.name for f in fields(PeakTails)), "collection_depth")
    low = value if bounded else value - h

    def seen(at):
        return model.line_columns(AXIS, replace(calibration, **{name: at})) @ amplitudes

    change = (seen(value + h) - seen(low)) / (value + h - low)
    if name == "resolution":  # told relative to the nominal one
        change = change * 128.0
    found = slopes_of(model, AXIS, calibration, amplitudes)[:, NAMES.index(name)]
    assert np.abs(change).max() > 0
    assert found == pytest.approx(change, abs=3e-3 * np.abs(change).max())


def test_columns_do_not_remember_what_was_asked_before(model):
    first = model.line_columns(AXIS, PLAIN)
    model.line_columns(AXIS, BENT)
    again = model.line_columns(AXIS, PLAIN)
    assert np.array_equal(first, again)
    assert not np.allclose(model.line_columns(AXIS, BENT), first)
    # What is returned is the caller's: changing it changes nothing else.
    again[:] = 0.0
    assert np.array_equal(model.line_columns(AXIS, PLAIN), first)


def seen_by(told, at, photons):
    """Fit O, Si and Fe as a detector counts them whose file tells another resolution."""
    elements = ["O", "Si", "Fe"]
    families = tuple(line_families(elements, beam_energy=200.0, low=0.25, high=14.0))
    model = SpectrumModel(families, 200.0, Detector(resolution=told), 3)
    mean = model.line_columns(AXIS, at) @ np.full(len(families), photons)
    mean += model.continuum_columns(AXIS, at) @ [300.0, 100.0, 30.0]
    counts = np.random.default_rng(0).poisson(mean).astype(float)
    detector = Detector(resolution=told)
    return fit_lines(Spectrum(counts, AXIS), elements, beam_energy=200.0, detector=detector)


@pytest.mark.parametrize(("told", "true"), [(134.0, 121.0), (119.0, 118.0)])
def test_a_detector_may_be_sharper_than_its_file_says(told, true):
    """One map's detector was a tenth sharper: held at a bound, lines were left in its residual."""
    fit = seen_by(told, Calibration(resolution=true), 2e5)
    assert fit.calibration.resolution == pytest.approx(true, abs=1.0)
    assert fit.reduced_deviance < 1.15


@pytest.mark.parametrize("escape", [0.2, 1.8])
def test_escape_is_that_of_the_detector(escape):
    """Real maps have 0.4 to 1.6 times that of light along the normal."""
    fit = seen_by(130.0, Calibration(resolution=130.0, escape=escape), 4e4)
    assert fit.calibration.escape == pytest.approx(escape, abs=0.3)
