"""Ways in which spectra differ from place to place, on spectra drawn here."""

from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.ndimage import gaussian_filter

from siftem.acquisition import Acquisition
from siftem.decomposition import rank
from siftem.decomposition.layout import phase_layout
from siftem.energy_axis import EnergyAxis
from siftem.errors import SiftemWarning
from siftem.pipeline.recipe import make_recipe
from siftem.pipeline.steps import decompose, match
from siftem.spectrum_image import SpectrumImage

N, CHANNELS = 48, 300
ENERGY = 0.2 + 0.02 * np.arange(CHANNELS)
Y, X = np.mgrid[:N, :N]


def spectrum(*lines):
    out = 0.3 * np.exp(-ENERGY / 2) / ENERGY
    for energy, weight in lines:
        out += weight * np.exp(-0.5 * ((ENERGY - energy) / 0.05) ** 2)
    return out / out.sum()


A = spectrum((0.52, 5), (1.25, 4), (1.74, 5))
B = spectrum((0.52, 4), (1.25, 1), (3.69, 5))
C = spectrum((0.93, 3), (2.31, 6))


def image(mean, dose, seed=0):
    counts = np.random.default_rng(seed).poisson(dose * mean).reshape(-1, CHANNELS)
    return SpectrumImage(
        sp.csr_array(counts),
        mean.shape[:2],
        EnergyAxis(0.2, 0.02, CHANNELS, "keV"),
        acquisition=Acquisition(beam_energy=200.0, take_off_angle=22.0),
        signal_type="EDS_TEM",
    )


def mixed(*shares):
    spectra = (A, B, C)[: len(shares)]
    return sum(s[..., None] * h for s, h in zip(shares, spectra, strict=True))


def grains(radius):
    out = np.zeros((N, N))
    for y, x in ((10, 10), (12, 34), (36, 12), (34, 36)):
        out[(Y - y) ** 2 + (X - x) ** 2 < radius**2] = 1.0
    return gaussian_filter(out, 0.7)


@pytest.mark.parametrize("dose", [3, 300, 20_000])
@pytest.mark.parametrize("level", [1.0, 0.2 + X / N], ids=["even", "wedge"])
def test_one_spectrum_has_no_kinds_whatever_its_brightness(dose, level):
    mean = np.broadcast_to(level, (N, N))[..., None] * A
    assert [rank.count_kinds(image(mean, dose, s)).n_components for s in range(3)] == [1] * 3


@pytest.mark.parametrize("dose", [3, 30, 3000])
def test_phases_are_counted_where_no_pixel_tells_one(dose):
    first, second = grains(8), np.clip(gaussian_filter((Y > 40).astype(float), 0.7), 0, None)
    second = second * (1 - first)
    mean = mixed(1 - first - second, first, second)
    found = [rank.count_kinds(image(mean, dose, s)) for s in range(3)]
    assert [f.n_components for f in found] == [3] * 3
    assert all(f.differences[0] > f.differences[1] for f in found)


def test_a_rare_phase_and_a_slight_difference_count():
    rare = np.zeros((N, N))
    rare[20:24, 30:35] = 1.0
    assert rank.count_kinds(image(mixed(1 - rare, rare), 20)).n_components == 2
    alike = 0.95 * A + 0.05 * B
    half = (X > N // 2)[..., None]
    found = rank.count_kinds(image(np.where(half, alike, A), 2000))
    size = np.sqrt((((alike - A) ** 2) / (0.5 * (alike + A))).sum()) / 2
    assert 0.5 * size < found.differences[0] < size  # in windows, of which none is empty
    assert len(found.differences) == 1


def test_what_is_too_little_is_left_out():
    alike = 0.995 * A + 0.005 * B
    half = (X > N // 2)[..., None]
    assert rank.count_kinds(image(np.where(half, alike, A), 20_000)).n_components == 1


def test_absorption_in_a_wedge_is_no_phase():
    thick = 0.1 + 2.0 * X / N
    absorbed = np.exp(-0.1 * thick[..., None] * ENERGY**-1.5)
    mean = thick[..., None] * absorbed * A
    found = rank.count_kinds(image(mean, 500))
    assert found.n_components == 1
    assert found.by_thickness
    assert "follow the thickness" in found.message
    # Two phases of unlike brightness differ by as little, but have no thickness that explains it.
    other = np.where((X > N // 2)[..., None], 0.93 * A + 0.07 * B, A)
    assert rank.count_kinds(image(other, 2000)).n_components == 2


def test_a_strong_line_leaves_windows_for_the_others():
    """Most counts in one line: equal counts would leave the rest of the spectrum one window."""
    bright = 40.0 * spectrum((0.28, 100))
    first = grains(7)
    mean = bright + mixed(1 - first, first)
    assert rank.count_kinds(image(mean, 50)).n_components == 2


def test_large_maps_are_pooled(monkeypatch):
    first = grains(8)
    si = image(mixed(1 - first, first), 30)
    monkeypatch.setattr("siftem.decomposition.rank._MOST_POOLED", N * N // 4)
    assert rank.count_kinds(si).n_components == 2


def test_an_empty_map_is_of_one_kind():
    assert rank.count_kinds(image(np.zeros((N, N, CHANNELS)), 1)).n_components == 1


def told(si):
    """Components that a run with "auto" makes, and its warnings."""
    recipe = make_recipe(
        {"input": {"file": "map.hspy"}, "decompose": {"components": "auto", "n_init": 1}}
    )
    with pytest.warns(SiftemWarning) as record:
        made = decompose.decomposed(recipe, si, progress=lambda *a: None)
        match.matched_phases(recipe, si, made.factors, made.kinds)
    return made, [str(w.message) for w in record]


@pytest.mark.parametrize("components", ["auto", 2])
@pytest.mark.filterwarnings("ignore:a phase on half of the map")
def test_a_run_counts_once_for_all_its_layouts(monkeypatch, components):
    first = grains(8)
    si = image(mixed(1 - first, first), 300)
    drawn, noise = [], rank._noise

    def counted(*given):
        drawn.append(given)
        return noise(*given)

    monkeypatch.setattr(rank, "_noise", counted)
    recipe = make_recipe(
        {"input": {"file": "map.hspy"}, "decompose": {"components": components, "n_init": 1}}
    )
    made = decompose.decomposed(recipe, si, progress=lambda *a: None)
    assert made.kinds.n_components == len(made.factors.names) == 2
    assert len(drawn) == 1
    # Another seed draws other noise.
    rank.count_kinds(si, random_state=7)
    assert len(drawn) == 2


def test_a_run_takes_the_number_from_the_neighbours():
    first = grains(8)
    made, said = told(image(mixed(1 - first, first), 20))
    assert len(made.factors.names) == made.choice.n_components == 2
    assert not any("mean" in one for one in said)


def test_kinds_that_the_pixels_cannot_be_parted_into_are_told():
    """A third phase on twenty pixels has too few counts for a spectrum, but is there."""
    first, rare = grains(8), np.zeros((N, N))
    rare[22:26, 22:27] = 1.0
    made, said = told(image(mixed(1 - first - rare, first, rare), 6))
    assert made.choice.n_components == 3
    assert len(made.factors.names) == 2
    (told_of,) = [one for one in said if "may be a mean" in one]
    phases = told_of.split(": ")[0].split(" and ")
    assert [p[0] for p in phases] == ["A", "E"]


def test_absorption_of_a_wedge_is_told_of_its_only_component():
    thick = 0.1 + 2.0 * X / N
    mean = thick[..., None] * np.exp(-0.1 * thick[..., None] * ENERGY**-1.5) * A
    made, said = told(image(mean, 500))
    assert len(made.factors.names) == 1
    assert any(one.startswith("A: spectra follow the thickness") for one in said)
    assert not any("may be a mean" in one for one in said)


@pytest.mark.parametrize("film, flank", [(12.0, (1, 0, 2)), (80.0, None)])
def test_thin_flanks_of_particles_are_no_phase(film, flank):
    """A mixture of a grain and of a film is the grain where it is thin; of two grains, a phase."""
    spectra = np.array([A, 0.7 * A + 0.3 * C, C])
    phases = tuple(SimpleNamespace(counts_per_pixel=n) for n in (100.0, 90.0, film))
    factors = SimpleNamespace(spectra=spectra, layout=SimpleNamespace(phases=phases))
    assert decompose._flank(factors) == flank
    factors.spectra = np.array([A, B, C])
    assert decompose._flank(factors) is None


def layers(angle, width=3.0):
    """B in layers, with C in every other of them, across half of a map of A."""
    turn = np.deg2rad(angle)
    v = Y * np.cos(turn) - X * np.sin(turn)
    v -= v.mean()
    inside = np.abs(v) < 14
    other = inside & ((v // width) % 2 == 0)
    return tuple(s.astype(float) for s in (~inside, inside & ~other, other))


NEAR_B = spectrum((0.52, 4), (1.25, 1), (3.69, 3), (2.31, 2))


@pytest.mark.parametrize("angle", [0, 40, 90])
def test_thin_layers_are_seen_where_neighbours_all_around_are_of_other_layers(angle):
    a, b, c = layers(angle)
    mean = a[..., None] * A + b[..., None] * B + c[..., None] * NEAR_B
    found = rank.count_kinds(image(mean, 5))
    assert found.n_components == 3
    assert found.layers is not None
    assert abs((found.layers.angle - angle + 90) % 180 - 90) <= 15


def test_grains_have_no_direction():
    share = grains(6.0)
    found = rank.count_kinds(image(mixed(1 - share, share), 5))
    assert found.n_components == 2
    assert found.layers is None


def test_classes_are_as_thin_as_the_layers():
    # Wells of three rows at five counts a pixel: a smooth label map would have none of them.
    a, b, c = layers(0)
    mean = a[..., None] * A + b[..., None] * B + c[..., None] * NEAR_B
    si = image(mean, 5, seed=3)
    found = phase_layout(si, 3)
    assert found is not None
    true = np.argmax([a, b, c], axis=0)
    overlap = np.array(
        [[np.sum((found.labels == i) & (true == j)) for j in range(3)] for i in range(3)]
    )
    right = max(sum(overlap[i, p[i]] for i in range(3)) for p in permutations(range(3)))
    assert right > 0.85 * true.size
