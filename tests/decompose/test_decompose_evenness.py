"""Whether one spectrum stands for all pixels: sums of places against counting noise."""

import numpy as np
import pytest
import scipy.sparse as sp

from siftem.decompose.evenness import unevenness
from siftem.energy_axis import EnergyAxis
from siftem.errors import SiftemWarning
from siftem.pipeline.components import decomposed
from siftem.pipeline.recipe import make_recipe
from siftem.spectrum_image import SpectrumImage

SHAPE = (30, 36)
ENERGIES = 0.4 + 0.02 * np.arange(300)


def spectrum(*lines):
    out = 0.2 / 300 + np.zeros(300)
    for energy in lines:
        line = np.exp(-0.5 * ((ENERGIES - energy) / 0.04) ** 2)
        out += 0.8 / len(lines) * line / line.sum()
    return out


HOST, WELL = spectrum(1.1, 1.28), spectrum(1.1, 1.49)


def drawn(share, dose, seed):
    """A map whose pixels hold ``share`` of the well, and thin out to vacuum at one side."""
    share, dose = np.broadcast_to(share, SHAPE).ravel(), np.broadcast_to(dose, SHAPE).ravel()
    mean = dose[:, None] * (HOST + share[:, None] * (WELL - HOST))
    counts = np.random.default_rng(seed).poisson(mean)
    return SpectrumImage(sp.csr_array(counts), SHAPE, EnergyAxis(0.4, 0.02, 300))


@pytest.mark.parametrize("dose", [0.5, 8, 300])
def test_noise_is_no_difference(dose):
    thin = dose * np.linspace(0, 2, SHAPE[1])
    assert [unevenness(drawn(0.3, thin, seed)) for seed in range(8)] == [0.0] * 8


def test_it_is_the_relative_difference_and_does_not_grow_with_the_dose():
    share = np.zeros(SHAPE)
    share[:, 18:24] = 1.0
    weak, strong = unevenness(drawn(share, 20, 1)), unevenness(drawn(share, 400, 1))
    assert weak == pytest.approx(strong, rel=0.1)
    # A half of the counts in one line moves to another in a sixth of the map, seen through squares.
    assert 0.1 < strong < 1.0


def test_a_grain_on_one_percent_is_seen():
    share = np.zeros(SHAPE)
    share[10:14, 10:13] = 1.0
    assert unevenness(drawn(share, 60, 2)) > 0.02


def test_few_counts_tell_nothing():
    assert unevenness(drawn(0.0, 0.01, 3)) == 0.0


def told(si, monkeypatch):
    """Warnings of a factorisation whose held-out counts ask for one component."""
    from siftem.pipeline import components

    recipe = make_recipe(
        {"input": {"file": "map.hspy"}, "decompose": {"components": "auto", "starts": 1}}
    )

    class One:
        n_components = 1

    monkeypatch.setattr(components, "component_choice", lambda *a, **k: One())
    with pytest.warns(SiftemWarning) as record:
        decomposed(recipe, si, progress=lambda *a: None)
    return [str(w.message) for w in record if "its spectrum is a mean" in str(w.message)]


def test_a_mean_of_phases_is_told_of_the_only_component(monkeypatch):
    share = np.zeros(SHAPE)
    share[:, 18:24] = 1.0
    (said,) = told(drawn(share, 20, 4), monkeypatch)
    assert said.startswith("A: ")


def test_one_phase_is_not_told_as_a_mean(monkeypatch):
    assert told(drawn(0.3, 20, 5), monkeypatch) == []
