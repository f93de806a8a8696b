import numpy as np
import pytest

from siftem.energy_axis import EnergyAxis
from siftem.fit.spectrum_model import Calibration
from siftem.xray.response import PeakTails, pile_up, spread_exponentially, with_tails

AXIS = EnergyAxis(0.0, 0.01, 1000)


def peak(energy):
    out = np.zeros((1000, 1))
    out[round(energy / 0.01), 0] = 1.0
    return out


@pytest.mark.parametrize(
    ("tails", "away"),
    [
        (PeakTails(near=0.1), -0.06),
        (PeakTails(far=0.1), -0.4),
        (PeakTails(above=0.1), 0.15),
        (PeakTails(shelf=0.1), -3.0),
    ],
)
def test_each_tail_moves_its_share_by_its_length(tails, away):
    seen = with_tails(peak(6.0), AXIS, tails)[:, 0]
    assert seen.sum() == pytest.approx(1.0, abs=1e-3)
    # What is moved lies on average one decay length away, on a shelf half of the energy.
    mean = AXIS.centers @ seen - 6.0
    assert mean == pytest.approx(0.1 * away, abs=1e-3)
    assert seen[600] > 0.89


@pytest.mark.parametrize(("energy", "share"), [(0.6, 0.1 / np.e), (6.0, 0.1 * np.exp(-10.0))])
def test_soft_lines_have_a_further_tail(energy, share):
    seen = with_tails(peak(energy), AXIS, PeakTails(near_soft=0.1))[:, 0]
    assert seen.sum() == pytest.approx(1.0, abs=1e-5)
    # An exponential in channels of a sixth of its length ends a twelfth of it sooner.
    assert AXIS.centers @ seen - energy == pytest.approx(-0.055 * share, rel=0.01, abs=1e-6)
    both = with_tails(peak(energy), AXIS, PeakTails(near=0.02, near_soft=0.1))[:, 0]
    alone = with_tails(peak(energy), AXIS, PeakTails(near=0.02))[:, 0]
    assert both - peak(energy)[:, 0] == pytest.approx(
        seen + alone - 2 * peak(energy)[:, 0], abs=1e-12
    )


def test_a_shelf_is_flat_and_ends_at_the_peak():
    seen = with_tails(peak(6.0), AXIS, PeakTails(shelf=0.12))[:, 0]
    assert seen[1:600] == pytest.approx(0.12 / 600, rel=1e-9)
    assert not seen[601:].any()


def test_without_tails_nothing_changes():
    assert with_tails(peak(6.0), AXIS, PeakTails()) == pytest.approx(peak(6.0))


def test_shapes_of_the_sum_peaks():
    axis = EnergyAxis(0.0, 0.01, 800)
    lines = np.zeros(800)
    lines[[30, 300]] = 3.0, 1.0  # 0.3 and 3 keV
    soft, hard = pile_up(lines, axis).T
    assert soft.sum() == pytest.approx(1)
    # Pairs with a soft pulse: 9 of two soft ones at 0.6 keV, 3 of a soft and a hard one in either
    # order at 3.3 keV; the hard one with itself.
    assert soft[60] == pytest.approx(1.5 * soft[330], rel=0.01)
    assert hard[600] > 0.95
    assert not pile_up(np.zeros(800), axis).any()


@pytest.mark.parametrize(
    "scale", [Calibration(shift=0.03), Calibration(shift=0.02, gain=-0.005, bend=2e-4, soft=-0.04)]
)
def test_sum_peaks_lie_at_the_sum_of_the_pulses_whatever_the_scale(scale):
    axis = EnergyAxis(0.0, 0.01, 400)

    def seen_at(energy):
        return (
            energy * (1 + scale.gain)
            + scale.shift
            + scale.bend * energy**2
            + (scale.soft * np.exp(-energy / 1.5))
        )

    true = scale.true_energies(axis)
    # Bend and offset of soft lines are on the stretched scale: 0.2 eV here.
    assert seen_at(true[20:]) == pytest.approx(axis.centers[20:], abs=3e-4)
    lines = np.exp(-0.5 * ((axis.centers - seen_at(1.54)) / 0.04) ** 2)
    hard = pile_up(lines, axis, energies=true)[:, 1]
    assert hard @ axis.centers == pytest.approx(seen_at(3.08), abs=5e-4)


@pytest.mark.parametrize("length", [0.06, -0.15])
def test_an_exponential_by_its_sum(length):
    axis = EnergyAxis(0.0, 0.01, 50)
    peaks = np.random.default_rng(0).random((50, 2))
    kept = np.exp(-0.01 / abs(length))
    apart = np.subtract.outer(np.arange(50), np.arange(50)) * (1 if length < 0 else -1)
    weights = np.where(apart >= 0, (1 - kept) * kept ** np.maximum(apart, 0), 0.0)
    assert spread_exponentially(peaks, axis, length) == pytest.approx(weights @ peaks, rel=1e-12)
