"""Lines at the start of the fitted range, against the photons that were put in."""

import numpy as np
import pytest
from foreign_physics import peak

from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.fit.line_fit import fit_lines
from siftem.spectrum import Spectrum

AXIS = EnergyAxis(0.1, 0.01, 500)
LINES = {"Be": 0.108, "B": 0.183, "C": 0.277, "N": 0.392, "O": 0.525, "Si": 1.740}


def counted(photons, zero_peak=0.0):
    """Counts of peaks with tails over a continuum that falls."""
    mean = 300.0 / (0.3 + AXIS.centers)
    for element, counts in photons.items():
        mean = mean + counts * peak(LINES[element], axis=AXIS)
    counts = np.random.default_rng(0).poisson(mean).astype(float)
    return Spectrum(counts + np.where(AXIS.centers < 0.2, zero_peak, 0.0), AXIS, name="soft")


def seen(spectrum, elements, element, low):
    fit = fit_lines(spectrum, elements, beam_energy=200.0, energy_range=(low, None))
    i = fit.index(element)
    per_photon = float(fit.design[:, i].sum())
    # What lies below the range was not counted, but is of the line.
    family = fit.model.families[i]
    whole = float((family.weights * fit.model.detector.efficiency(family.energies)).sum())
    assert per_photon <= 1.001 * whole
    return fit.amplitudes[i] * whole, np.sqrt(fit.covariance[i, i]) * whole


@pytest.mark.parametrize(
    ("other", "element", "low", "width"),
    [
        ("B", "C", 0.20, 0.06),
        ("B", "C", 0.25, 0.15),
        ("C", "N", 0.30, 0.06),
        ("C", "N", 0.35, 0.10),
        ("N", "O", 0.42, 0.06),
    ],
)
def test_a_line_below_the_range_is_not_taken_for_the_next_one(other, element, low, width):
    """C beside B was five times too much when the range began at 0.2 keV, and B was dropped."""
    truth = {other: 1.3e6, element: 3e5, "Si": 4e5}
    found, sigma = seen(counted(truth), list(truth), element, low)
    assert found == pytest.approx(3e5, abs=3 * sigma)
    assert sigma < width * 3e5


@pytest.mark.parametrize(("element", "low"), [("C", 0.25), ("C", 0.2), ("N", 0.35), ("B", 0.15)])
def test_a_line_whose_flank_is_cut_off_is_whole(element, low):
    found, sigma = seen(counted({element: 3e5, "Si": 4e5}), [element, "Si"], element, low)
    assert found == pytest.approx(3e5, abs=3 * sigma)
    assert sigma < 0.06 * 3e5


def test_nothing_is_measured_by_a_flank_alone():
    spectrum = counted({"B": 1e6, "Si": 4e5})
    fit = fit_lines(spectrum, ["B", "Si"], beam_energy=200.0, energy_range=(0.2, None))
    assert fit.dropped == ("B",)
    with pytest.raises(InputError, match="no fitted K, L or M line"):
        fit.index("B")


def test_the_zero_peak_changes_nothing():
    """What lies below 0.2 keV is neither fitted nor piled up."""
    with_it, without = (
        fit_lines(
            counted({"C": 3e5, "Si": 4e5}, zero_peak),
            ["C", "Si"],
            beam_energy=200.0,
            energy_range=(0.25, None),
        )
        for zero_peak in (1e5, 0.0)
    )
    assert with_it.spectrum.counts == pytest.approx(without.spectrum.counts)
    assert with_it.amplitudes == pytest.approx(without.amplitudes, rel=1e-6)
