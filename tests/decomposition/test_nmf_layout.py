"""Classes of pixels, how they lie, and sums over the purest ones, on spectra drawn here."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.ndimage import gaussian_filter

from siftem.acquisition import Acquisition
from siftem.decomposition.factors import decompose
from siftem.decomposition.layout import MIXED, VACUUM, find_layout, phase_layout
from siftem.decomposition.pixel_classes import (
    PixelClasses,
    _unnumbered,
    pixel_classes,
    without_texture,
)
from siftem.decomposition.purest import purest
from siftem.energy_axis import EnergyAxis
from siftem.spectrum import spectral_angle
from siftem.spectrum_image import SpectrumImage

N, CHANNELS = 48, 300
ENERGY = 0.2 + 0.02 * np.arange(CHANNELS)
Y, X = np.mgrid[:N, :N]


def spectrum(*lines, continuum=0.3):
    out = continuum * np.exp(-ENERGY / 2) / ENERGY
    for energy, weight in lines:
        out += weight * np.exp(-0.5 * ((ENERGY - energy) / 0.05) ** 2)
    return out / out.sum()


A = spectrum((0.52, 5), (1.25, 4), (1.74, 5))
B = spectrum((0.52, 4), (1.25, 1), (3.69, 5))
C = spectrum((0.93, 3), (2.31, 6))


def image(shares, dose, seed=0, level=1.0, **acquisition):
    mean = np.tensordot(shares, np.array([A, B, C])[: len(shares)], axes=(0, 0)) * dose
    counts = np.random.default_rng(seed).poisson(mean * np.asarray(level)[..., None])
    return SpectrumImage(
        sp.csr_array(counts.reshape(N * N, CHANNELS)),
        (N, N),
        EnergyAxis(0.2, 0.02, CHANNELS, "keV"),
        acquisition=Acquisition(beam_energy=200.0, take_off_angle=22.0, **acquisition),
        signal_type="EDS_TEM",
    )


def blurred(masks, sigma=0.7):
    masks = np.array([gaussian_filter(np.asarray(m, float), sigma) for m in masks])
    return masks / masks.sum(axis=0)


def layers():
    return blurred([Y < 14, (Y >= 14) & (Y < 30), Y >= 30])


def discs(radius, depth=1.0):
    out = np.zeros((N, N))
    for y, x in ((12, 12), (14, 36), (36, 14), (34, 34)):
        out[(Y - y) ** 2 + (X - x) ** 2 < radius**2] = depth
    return gaussian_filter(out, 0.7)


def lenses(radius, depth):
    out = np.zeros((N, N))
    for y, x in ((12, 12), (14, 36), (36, 14), (34, 34)):
        r2 = ((Y - y) ** 2 + (X - x) ** 2) / radius**2
        out = np.maximum(out, depth * np.sqrt(np.clip(1 - r2, 0, 1)))
    return out


def test_starts_that_differ_by_the_numbers_of_their_classes_are_one():
    labels = np.array([0, 0, 1, 2, 1])
    assert _unnumbered(labels) == _unnumbered(np.array([2, 2, 0, 1, 0]))
    assert _unnumbered(labels) != _unnumbered(np.array([0, 1, 1, 2, 1]))


@pytest.mark.parametrize("dose", [5, 100, 5000])
def test_classes_are_the_phases_from_five_counts_to_thousands(dose):
    shares = layers()
    found = pixel_classes(image(shares, dose).counts, (N, N), 3)
    truth = shares.argmax(axis=0)
    inner = shares.max(axis=0) > 0.9
    for c in range(3):
        own = truth[(found.labels == c) & inner]
        assert (own == np.bincount(own).argmax()).mean() > 0.97
    assert len({np.bincount(truth[found.labels == c]).argmax() for c in range(3)}) == 3


def test_the_seed_and_nothing_else_decides():
    counts = image(layers(), 20).counts
    first, second = (pixel_classes(counts, (N, N), 3, random_state=1).labels for _ in range(2))
    assert np.array_equal(first, second)


def test_the_amount_of_material_makes_no_class():
    thick = 0.3 + 1.4 * X / N
    found = pixel_classes(image(layers(), 300, level=thick).counts, (N, N), 3)
    truth = layers().argmax(axis=0)
    for c in range(3):
        assert (
            truth[found.labels == c] == np.bincount(truth[found.labels == c]).argmax()
        ).mean() > 0.9


@pytest.mark.parametrize("dose", [10, 1000])
def test_layers_lie_side_by_side(dose):
    layout = phase_layout(image(layers(), dose), 3)
    assert layout.kind == "side by side"
    assert all(lies.role == "pure" and not lies.hosts for lies in layout.phases)
    assert layout.background is None


def test_grains_that_fill_the_film_in_part_lie_in_a_matrix():
    depth = lenses(9, 0.7)
    layout = phase_layout(image([1 - depth, depth], 500), 2)
    assert layout.kind == "matrix"
    assert layout.overlapping
    assert layout.background == 0
    assert [lies.role for lies in layout.phases] == ["pure", "embedded"]
    assert layout.sentence(["M", "G"]) == "matrix: M is pure in its own pixels; G lies in M"


def test_grains_of_even_depth_are_embedded_but_not_overlapping():
    depth = discs(8)
    layout = phase_layout(image([1 - depth, depth], 500), 2)
    assert layout.phases[1].role == "embedded"
    assert layout.phases[1].hosts == (0,)
    assert not layout.overlapping


def test_a_bulk_specimen_has_nothing_above_anything():
    depth = discs(8)
    layout = phase_layout(image([1 - depth, depth], 500, bulk=True), 2)
    assert layout.kind == "side by side"


def test_particles_on_a_dim_film_have_it_for_support():
    depth = discs(6)
    layout = phase_layout(image([np.full((N, N), 0.15), depth], 400), 2)
    assert layout.kind == "particles on a support"
    assert [lies.role for lies in layout.phases] == ["support", "embedded"]


def test_a_core_in_a_shell_on_vacuum_is_nested_and_not_on_a_support():
    core, shell = discs(4), discs(8)
    layout = phase_layout(image([0.4 * shell, core], 600), 2)
    assert layout.kind == "nested"
    assert (layout.labels == VACUUM).mean() > 0.4
    core_phase = next(p for p in layout.phases if p.role == "embedded")
    assert layout.phases[core_phase.hosts[0]].role == "pure"


def test_a_gradient_leaves_both_phases_open():
    share = X / (N - 1)
    layout = phase_layout(image([1 - share, share], 500), 2)
    assert [lies.role for lies in layout.phases] == ["uneven", "uneven"]
    assert {lies.hosts for lies in layout.phases} == {(0,), (1,)}


def test_a_blurred_border_is_no_phase():
    shares = blurred([X < 24, X >= 24], 1.2)
    labels = np.where(shares[0] > 0.85, 0, np.where(shares[1] > 0.85, 1, 2))
    si = image(shares, 2000)
    layout = find_layout(si.counts, (N, N), PixelClasses(labels, 3))
    assert len(layout.phases) == 2
    assert (layout.labels[labels == 2] == MIXED).all()


def test_another_order_renames_hosts_and_labels():
    depth = discs(8)
    layout = phase_layout(image([1 - depth, depth], 500), 2)
    turned = layout.reordered((1, 0))
    assert turned.phases[0].hosts == (1,)
    assert np.array_equal(turned.labels == 0, layout.labels == 1)


def test_the_purest_pixels_are_told_without_luck():
    """Picked and summed by the same counts, a share would come out too large."""
    depth = 0.5 + 0.0 * X  # all pixels alike: any choice is luck
    shares, deviations = np.array([A, B]), []
    for seed in range(20):
        si = image([1 - depth, depth], 8, seed=seed)
        found = purest(si.counts, np.ones((N, N), bool), shares, 1, random_state=seed)
        deviations.append((found.share - 0.5) / found.sigma)
    assert abs(np.mean(deviations)) < 4 / np.sqrt(20) + 0.5
    lens = lenses(10, 1.0)
    si = image([1 - lens, lens], 300)
    found = purest(si.counts, lens > 0.3, shares, 1)
    assert found.share > 0.9 > found.typical
    assert spectral_angle(found.spectrum, B) < 6
    # The middle of a grain may be a few pixels, and with many counts they suffice.
    lens = lenses(3, 1.0)
    si = image([1 - lens, lens], 3000)
    whole, middle = (purest(si.counts, lens > 0.3, shares, 1, fewest=n) for n in (30, 4))
    assert middle.pixels < 30 <= whole.pixels and middle.share > whole.share + 0.02


def test_spectra_of_layers_are_those_of_their_own_pixels():
    factors = decompose(image(layers(), 300), 3)
    assert factors.layout.kind == "side by side"
    for true in (A, B, C):
        assert min(spectral_angle(s, true) for s in factors.spectra) < 2


def test_grains_of_full_thickness_are_not_eaten():
    """The grain holds a third of the matrix' Mg: taking that away would be wrong by 17 degrees."""
    depth = discs(8)
    factors = decompose(image([1 - depth, depth], 300), 2)
    assert min(spectral_angle(s, B) for s in factors.spectra) < 3


def test_large_maps_are_labelled_by_the_spectra_of_pooled_ones(monkeypatch):
    si = image(layers(), 40)
    whole = phase_layout(si, 3)
    monkeypatch.setattr("siftem.decomposition.layout.MOST_PIXELS", N * N // 4)
    pooled = phase_layout(si, 3)
    assert pooled.kind == whole.kind
    assert pooled.labels.shape == (N, N)
    order = [int(np.bincount(whole.labels[pooled.labels == c]).argmax()) for c in range(3)]
    assert (np.array(order)[pooled.labels] == whole.labels).mean() > 0.98


@pytest.mark.parametrize("dose", [20, 3000])
def test_classes_tell_when_they_miss_a_phase(dose):
    counts = image(layers(), dose).counts
    missed = pixel_classes(counts, (N, N), 2, n_phases=3)
    whole = pixel_classes(counts, (N, N), 3)
    assert missed.explained < 0.4
    assert 0.8 < whole.explained < 1.2


def test_a_border_that_runs_along_two_phases_is_no_phase():
    """A grain of C lies half in A, half in B: its blurred ring is a mixture of all three."""
    grain = (Y - 24.0) ** 2 + (X - 24.0) ** 2 < 10**2
    shares = blurred([(X < 24) & ~grain, (X >= 24) & ~grain, grain], 1.0)
    labels = shares.argmax(axis=0)
    ring = (shares[2] > 0.1) & (shares[2] < 0.9)
    labels[ring] = 3
    si = image(shares, 3000)
    layout = find_layout(si.counts, (N, N), PixelClasses(labels, 4))
    assert len(layout.phases) == 3
    assert (layout.labels[ring] == MIXED).all()


@pytest.mark.parametrize("width", [0, 3])
def test_what_differs_from_pixel_to_pixel_is_no_phase_and_a_thin_layer_is_one(width):
    """A holds more of one line in every fifth pixel, or in a layer of three."""
    other = spectrum((0.52, 5), (1.25, 4), (1.74, 6.5))
    own = (Y < 30) & (np.random.default_rng(3).random((N, N)) < 0.2)
    if width:
        own = abs(Y - 11) <= width // 2
    labels = np.where(Y >= 30, 1, np.where(own, 2, 0))
    mean = np.array([A, B, other])[labels] * 3000.0
    counts = sp.csr_array(np.random.default_rng(0).poisson(mean).reshape(N * N, CHANNELS))
    kept = without_texture(counts, (N, N), PixelClasses(labels, 3))
    assert kept.n_classes == (3 if width else 2)
    np.testing.assert_array_equal(kept.labels == 1, labels == 1)
    if not width:
        axis = EnergyAxis(0.2, 0.02, CHANNELS, "keV")
        acquisition = Acquisition(beam_energy=200.0, take_off_angle=22.0)
        si = SpectrumImage(counts, (N, N), axis, acquisition=acquisition, signal_type="EDS_TEM")
        assert phase_layout(si, 3) is None
        assert len(phase_layout(si, 2).phases) == 2


def test_a_thin_shell_is_no_texture_where_phases_may_overlap():
    other = spectrum((0.52, 5), (1.25, 4), (1.74, 6.5))
    away = np.min([np.hypot(Y - y, X - x) for y in (8, 24, 40) for x in (8, 24, 40)], axis=0)
    labels = np.where(away < 2.5, 1, np.where(away < 3.6, 2, 0))
    mean = np.array([A, C, other])[labels] * 3000.0
    counts = sp.csr_array(np.random.default_rng(0).poisson(mean).reshape(N * N, CHANNELS))
    classes = PixelClasses(labels, 3)
    assert without_texture(counts, (N, N), classes).n_classes == 3
    assert without_texture(counts, (N, N), classes, bulk=True).n_classes == 2


def test_a_thin_shell_lies_around_its_core():
    """Two pixels wide are as a blurred border is, but what they hold is neither of both sides."""
    away = np.hypot(Y - 24.0, X - 24.0)
    labels = np.where(away < 6, 1, np.where(away < 7.6, 2, 0))
    labels[:, 40:] = 2  # elsewhere the shell's phase is thick
    mean = np.array([A, C, B])[labels] * 300.0
    counts = np.random.default_rng(0).poisson(mean).reshape(N * N, CHANNELS)
    layout = find_layout(sp.csr_array(counts), (N, N), PixelClasses(labels, 3))
    assert layout.phases[1].hosts[0] == 2
    mean[labels == 2] = np.where((X >= 40)[..., None], B, (A + C) / 2)[labels == 2] * 300.0
    counts = np.random.default_rng(0).poisson(mean).reshape(N * N, CHANNELS)
    layout = find_layout(sp.csr_array(counts), (N, N), PixelClasses(labels, 3))
    assert layout.phases[1].hosts == (0,)


def test_where_noise_is_larger_than_impurity_more_pixels_are_summed():
    """B makes up 6% of a region on one side and nothing on the other."""
    strange = 0.06 * X / (N - 1)
    shares, spectra = np.stack([1 - strange, strange]), np.array([A, B])
    inside = np.ones((N, N), bool)
    few, many = (
        purest(image(shares, dose).counts, inside, spectra, 0, by_noise=True) for dose in (4, 20000)
    )
    assert few.pixels > 0.9 * N * N
    assert many.pixels < 0.3 * N * N
    assert many.share > few.share + 0.015


def test_what_holds_darker_grains_is_no_film():
    """Bright particles of C lie on A; were it a film, grains of B could not be darker than it."""
    bright, dark = lenses(7, 1.0), np.zeros((N, N))
    dark[(Y - 24.0) ** 2 + (X - 24.0) ** 2 < 5.5**2] = 0.4
    with_dark = phase_layout(image(np.stack([1 - 2 * dark, dark, 3 * bright]), 1000), 3)
    assert "support" not in {lies.role for lies in with_dark.phases}
    dark_phase = with_dark.labels[24, 24]
    assert with_dark.phases[dark_phase].role == "embedded"
    film = phase_layout(image(np.stack([np.ones((N, N)), 0 * bright, 3 * bright]), 1000), 2)
    assert film.phases[film.labels[24, 24]].role == "support"


def test_a_rare_phase_comes_before_a_border(monkeypatch):
    """At thousands of counts a border of many pixels may be likelier than a grain of few."""
    rare = (Y > 34) & (Y < 43) & (X > 34) & (X < 43)
    grain = (Y - 16.0) ** 2 + (X - 24.0) ** 2 < 10**2
    shares = blurred([~rare & ~grain, grain, rare], 1.0)
    ring = (shares[1] > 0.1) & (shares[1] < 0.9)
    whole = np.where(ring, 3, shares.argmax(axis=0))
    missed = np.where(ring, 2, np.minimum(whole, 1) * (whole != 2))
    made = {
        3: PixelClasses(missed, 3, explained=0.1),
        4: PixelClasses(whole, 4, explained=0.95),
    }
    monkeypatch.setattr("siftem.decomposition.layout.pixel_classes", lambda c, s, n, **k: made[n])
    layout = phase_layout(image(shares, 3000), 3)
    assert (layout.labels[ring] == MIXED).all()
    assert len({layout.labels[38, 38], layout.labels[16, 24], layout.labels[45, 4]}) == 3
