"""How much of a film goes on below particles, on spectra drawn here."""

import numpy as np
import pytest
import scipy.sparse as sp

from siftem.acquisition import Acquisition
from siftem.decomposition.layout import phase_layout
from siftem.decomposition.support import find_support, flanks, measured_below
from siftem.energy_axis import EnergyAxis
from siftem.spectrum_image import SpectrumImage

N, CHANNELS = 48, 300
ENERGY = 0.2 + 0.02 * np.arange(CHANNELS)
Y, X = np.mgrid[:N, :N]
#: Particles that touch each other and an edge of the map, so that nothing surrounds them.
CENTRES = ((8, 10, 9), (22, 14, 8), (36, 20, 9), (44, 34, 8), (14, 36, 7))


def spectrum(*lines):
    out = 0.3 * np.exp(-ENERGY / 2) / ENERGY
    for energy, weight in lines:
        out += weight * np.exp(-0.5 * ((ENERGY - energy) / 0.05) ** 2)
    return out / out.sum()


FILM = spectrum((0.28, 6), (1.74, 0.5), (8.04, 1))
GRAIN = spectrum((0.52, 5), (1.49, 6))


def thickness(flat=False):
    out = np.zeros((N, N))
    for y, x, r in CENTRES:
        r2 = ((Y - y) ** 2 + (X - x) ** 2) / r**2
        out = np.maximum(out, (r / 9) * np.sqrt(np.clip(1 - r2, 0, 1)))
    return (out > 0.3).astype(float) if flat else out


def counts_of(film, grain, dose, seed=0):
    mean = film[..., None] * FILM + grain[..., None] * GRAIN
    return sp.csr_array(np.random.default_rng(seed).poisson(dose * mean).reshape(N * N, CHANNELS))


def image(film, grain, dose, seed=0, **acquisition):
    return SpectrumImage(
        counts_of(film, grain, dose, seed),
        (N, N),
        EnergyAxis(0.2, 0.02, CHANNELS, "keV"),
        acquisition=Acquisition(beam_energy=200.0, take_off_angle=22.0, **acquisition),
        signal_type="EDS_TEM",
    )


def measured(below, dose, seed, flat=False):
    grain = thickness(flat)
    film = np.where(grain > 0, below, 1.0) * 0.12
    counts = counts_of(film, grain, dose, seed)
    total = np.asarray(counts.sum(axis=1), float).reshape(N, N)
    return measured_below(counts, total, grain == 0, grain > 0.3)


@pytest.mark.parametrize("below", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("dose", [60, 2000])
def test_the_film_below_is_what_does_not_grow_with_the_particles(below, dose):
    found = [measured(below, dose, seed) for seed in range(10)]
    off = np.array([(f.amount - below) for f in found])
    assert np.abs(off).max() < 2.5 * max(f.sigma for f in found)
    assert abs(off.mean()) < 0.08
    assert [f.absent for f in found] == [below == 0.0] * 10
    assert not any(f.there for f in found if below < 1.0)
    assert all(f.there for f in found if below == 1.0 and f.sigma < 0.2)


def test_particles_of_even_thickness_tell_nothing():
    found = measured(1.0, 300, 0, flat=True)
    assert not found.told and not found.there and not found.absent
    assert found.below(assumed=True).low == 0.0
    assert (found.below(assumed=False).amount, found.below(assumed=False).high) == (0.0, 1.0)


def test_two_kinds_of_particles_taken_for_one_tell_nothing():
    """The film's share then changes with the kind, not only with the thickness."""
    grain = thickness()
    mean = 0.12 * np.ones((N, N, 1)) * FILM + grain[..., None] * GRAIN
    # Inside, each particle has a core of something that has the film's lines.
    core = np.maximum(grain - 0.6, 0.0)[..., None]
    mean = mean + 2.0 * core * spectrum((0.28, 4), (6.4, 3))
    counts = sp.csr_array(np.random.default_rng(0).poisson(500 * mean).reshape(N * N, CHANNELS))
    total = np.asarray(counts.sum(axis=1), float).reshape(N, N)
    assert not measured_below(counts, total, grain == 0, grain > 0.3).told


@pytest.mark.parametrize("dose", [80, 2000])
def test_a_chain_of_particles_across_the_map_lies_on_its_film(dose):
    """Nothing surrounds them, yet the film's counts below them are not theirs."""
    si = image(0.12 * np.ones((N, N)), thickness(), dose)
    layout = phase_layout(si, 2)
    film = int(np.argmin([lies.counts_per_pixel for lies in layout.phases]))
    grain = layout.phases[1 - film]
    assert layout.kind == "particles on a support"
    assert layout.phases[film].role == "support"
    assert grain.hosts == (film,)
    assert grain.below.low < 1.0 < grain.below.high
    assert grain.below.low > 0.4
    # Thin flanks are the particles', too.
    own = layout.labels == 1 - film
    assert (own & (thickness() > 0.25)).sum() > 0.85 * (thickness() > 0.25).sum()


def test_without_film_below_phases_lie_side_by_side():
    grain = thickness()
    layout = phase_layout(image(np.where(grain > 0.2, 0.0, 0.12), grain, 500), 2)
    assert layout.kind == "side by side"
    assert not any(lies.hosts for lies in layout.phases)


def test_even_particles_may_lie_on_a_faint_film_but_need_not():
    layers = np.where(Y > 20, 1.0, 0.0)
    layout = phase_layout(image(np.where(Y > 20, 0.0, 0.15), layers, 500), 2)
    film = int(np.argmin([lies.counts_per_pixel for lies in layout.phases]))
    grain = layout.phases[1 - film]
    assert (grain.role, grain.hosts) == ("pure", (film,))
    assert (grain.below.amount, grain.below.low, grain.below.high) == (0.0, 0.0, 1.0)
    names = ["F", "G"] if film == 0 else ["G", "F"]
    assert "G is pure in its own pixels, unless F goes on below it" in layout.sentence(names)


def test_a_bulk_specimen_lies_on_nothing():
    si = image(0.12 * np.ones((N, N)), thickness(), 500, bulk=True)
    assert not any(lies.hosts for lies in phase_layout(si, 2).phases)


def test_flanks_are_the_grains_but_for_their_border():
    labels = np.zeros((9, 9), int)
    labels[:, 4:] = 2
    labels[:, 7:] = 1
    out = flanks(labels, [(), (), (0, 1)], [1.0, 10.0, 5.0])
    assert (out[:, 4] == 2).all()
    assert (out[:, 5:] == 1).all()
    assert np.array_equal(flanks(labels, [(), (), (0, 1)], [8.0, 10.0, 9.0]), labels)


def test_no_film_is_found_among_phases_of_one_brightness():
    counts = counts_of(np.ones((N, N)), np.zeros((N, N)), 100)
    assert find_support(counts, (X > 20).astype(int), [100.0, 90.0], ()) is None
