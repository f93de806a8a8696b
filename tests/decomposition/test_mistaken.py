"""How many pixels have the wrong label is told from the counts alone."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from siftem.acquisition import Acquisition
from siftem.decomposition.evenness import deep
from siftem.decomposition.layout import Lies, PhaseLayout, phase_layout
from siftem.decomposition.mistaken import mistaken_labels
from siftem.decomposition.pixel_classes import pixel_classes
from siftem.energy_axis import EnergyAxis
from siftem.spectrum_image import SpectrumImage

N, CHANNELS = 48, 200
ENERGY = 0.2 + 0.04 * np.arange(CHANNELS)
# Blobs of 8 pixels: what is smaller than the neighbours who decide is lost to all halves alike.
BLOBS = np.kron(np.random.default_rng(7).random((6, 6)) < 0.5, np.ones((8, 8), bool))


def _spectrum(chromium):
    out = 0.2 * np.exp(-ENERGY / 2) / ENERGY
    for energy, weight in ((0.57, 0.4), (5.41, chromium), (6.40, 1 - chromium)):
        out += weight * np.exp(-0.5 * ((ENERGY - energy) / 0.07) ** 2)
    return out / out.sum()


def _image(dose, contrast, seed=0):
    """Two alloys in blobs of some pixels; each channel's share of them differs by ``contrast``."""
    one, other = _spectrum(0.5 - contrast / 2), _spectrum(0.5 + contrast / 2)
    mean = dose * np.where(BLOBS[..., None], one, other)
    counts = np.random.default_rng(seed).poisson(mean).reshape(N * N, CHANNELS)
    return SpectrumImage(
        sp.csr_array(counts),
        (N, N),
        EnergyAxis(0.2, 0.04, CHANNELS, "keV"),
        acquisition=Acquisition(beam_energy=200.0, take_off_angle=22.0),
        signal_type="EDS_TEM",
    )


def _truly_wrong(labels):
    """Share of the pixels inside each class that are of the other alloy."""
    first = labels == 0
    alloy = BLOBS if BLOBS[first].mean() > 0.5 else ~BLOBS
    return np.array([(~alloy)[deep(first)].mean(), alloy[deep(~first)].mean()])


@pytest.mark.parametrize(
    ("dose", "contrast", "useful"), [(5, 0.35, 0.3), (5, 0.5, 0.05), (12, 0.25, 0.15)]
)
def test_the_estimate_holds_the_truth_and_is_of_use(dose, contrast, useful):
    wrong, told = [], []
    for seed in range(4):
        si = _image(dose, contrast, seed)
        labels = pixel_classes(si.counts, (N, N), 2).labels
        found = mistaken_labels(si.counts, labels, 2)[0]
        wrong.append(_truly_wrong(labels))
        told.append(found[[0, 1], [1, 0]])
    wrong, told = np.array(wrong), np.array(told)
    assert (wrong <= told + 0.01).all()
    assert told.mean() < useful


def test_what_many_counts_tell_is_not_doubted():
    si = _image(300, 0.5)
    labels = pixel_classes(si.counts, (N, N), 2).labels
    assert mistaken_labels(si.counts, labels, 2)[0].max() < 0.01


def test_fractions_are_not_parted():
    si = _image(5, 0.5)
    labels = pixel_classes(si.counts, (N, N), 2).labels
    assert mistaken_labels(0.5 * si.counts, labels, 2)[0].max() == 0


def test_a_layout_carries_it_and_masks_take_no_mistakes_for_mixing():
    found = phase_layout(_image(5, 0.4), 2)
    assert found.mistaken.max() > 0.03
    assert not found.surely_overlapping
    assert np.array_equal(found.reordered((1, 0)).mistaken, found.mistaken[::-1, ::-1])


def test_mistakes_make_even_phases_uneven_but_chance_tells_nothing():
    uneven = (
        Lies("pure", (), 0.16, 0.8, 200.0, False),
        Lies("embedded", (0,), 0.17, 0.2, 200.0, False),
    )
    layout = PhaseLayout("matrix", uneven, np.zeros((4, 4), int))
    assert layout.overlapping and layout.surely_overlapping
    for mistaken, surely in ((0.1, False), (0.03, True), (0.9, True)):
        found = replace(layout, by_noise=np.array([[0.0, 0.1], [mistaken, 0.0]]))
        assert found.surely_overlapping == surely
        assert found.overlapping
    said = replace(uneven[1], told=True)
    told = replace(layout, phases=(uneven[0], said), by_noise=np.array([[0.0, 0.1], [0.1, 0.0]]))
    assert told.surely_overlapping


def test_halves_that_disagree_on_mixtures_are_no_noise():
    """From one phase to another all across the map: halves disagree in the middle, at any dose."""
    share = np.broadcast_to(np.linspace(0, 1, N)[:, None, None], (N, N, 1))
    mean = 12 * (share * _spectrum(0.2) + (1 - share) * _spectrum(0.8))
    counts = sp.csr_array(np.random.default_rng(1).poisson(mean).reshape(N * N, CHANNELS))
    labels = np.where(share[..., 0] < 0.5, 0, 1)
    mistaken, by_noise = mistaken_labels(counts, labels, 2)
    assert mistaken.max() > 0.02
    assert by_noise.max() < 0.3 * mistaken.max()
