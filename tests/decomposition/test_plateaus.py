"""Phases whose spectra are mixtures of others, and gradients that are no phases."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.ndimage import gaussian_filter

from siftem.acquisition import Acquisition
from siftem.decomposition import plateaus
from siftem.decomposition.layout import phase_layout
from siftem.decomposition.plateaus import count_plateaus
from siftem.energy_axis import EnergyAxis
from siftem.pipeline.recipe import make_recipe
from siftem.pipeline.steps import decompose
from siftem.progress import silent
from siftem.spectrum_image import SpectrumImage

N, CHANNELS = 40, 200
ENERGY = 0.2 + 0.04 * np.arange(CHANNELS)
Y, X = np.mgrid[:N, :N]


def spectrum(*lines):
    out = 0.3 * np.exp(-ENERGY / 2) / ENERGY
    for energy, weight in lines:
        out += weight * np.exp(-0.5 * ((ENERGY - energy) / 0.06) ** 2)
    return out / out.sum()


NICKEL, ALUMINIUM = spectrum((7.48, 4), (0.85, 4)), spectrum((1.49, 8))


def couple(share, dose, seed=0, dim=1.0):
    """Nickel in aluminium, as much as ``share`` tells."""
    share = np.asarray(share)[..., None]
    mean = dose * (share * NICKEL + dim * (1 - share) * ALUMINIUM)
    counts = np.random.default_rng(seed).poisson(mean).reshape(-1, CHANNELS)
    axis = EnergyAxis(0.2, 0.04, CHANNELS, "keV")
    return SpectrumImage(
        sp.csr_array(counts),
        (N, N),
        axis,
        acquisition=Acquisition(beam_energy=200.0, take_off_angle=22.0),
        signal_type="EDS_TEM",
    )


def layers(*shares):
    place = (Y + 1.5 * np.sin(X / 6)) * len(shares) // N
    return gaussian_filter(np.take(shares, np.clip(place, 0, len(shares) - 1).astype(int)), 0.7)


@pytest.mark.parametrize("dose", [150, 3000])
def test_layers_on_one_line_are_as_many_phases(dose):
    si = couple(layers(1.0, 0.75, 0.4, 0.0), dose)
    assert count_plateaus(si, phase_layout(si, 2)) == (4, False)


@pytest.mark.parametrize("dose", [150, 3000])
@pytest.mark.parametrize("width", [np.inf, 0.11, 0.09, 0.07], ids=lambda w: f"profile {w}")
def test_a_gradient_has_no_more_phases(dose, width):
    # Ends that are pure, and what diffused between them: classes of it are narrow, and their
    # borders are left out.
    share = X / (N - 1) if np.isinf(width) else 1 / (1 + np.exp((20 - X) / (width * N)))
    si = couple(np.broadcast_to(share, (N, N)), dose)
    assert count_plateaus(si, phase_layout(si, 2)) == (2, False)


def grains(*shares):
    """Discs in the first, each of its own share of nickel."""
    out = np.full((N, N), float(shares[0]))
    for share, (y, x) in zip(shares[1:], ((11, 11), (27, 26)), strict=True):
        out[(Y - y) ** 2 + (X - x) ** 2 < 50] = share
    return gaussian_filter(out, 0.7)


@pytest.mark.parametrize("dose", [60, 500, 5000])
def test_a_matrix_between_its_grains_on_one_line_is_a_phase(dose):
    """Olivine with MgO and SiO2 in it: no grain is a mixture, and no grain is all around."""
    si = couple(grains(0.5, 1.0, 0.0), dose)
    assert count_plateaus(si, phase_layout(si, 2)) == (3, False)


def test_a_grain_between_its_matrix_and_another_may_be_thinner():
    """Half of the film is a grain, or a phase of its own: said, and nothing parted."""
    si = couple(grains(0.0, 1.0, 0.55), 500)
    assert count_plateaus(si, phase_layout(si, 2)) == (2, True)
    recipe = make_recipe({"input": {"file": "x.hspy"}, "decompose": {"components": "auto"}})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = decompose.decomposed(recipe, si, progress=silent).factors.layout
    assert len(found.phases) == 2
    (said,) = (str(w.message) for w in told if "of its own" in str(w.message))
    uneven = [name for name, lies in zip("AE", found.phases, strict=True) if not lies.even]
    assert said.startswith(f"{uneven[0]}: ")
    assert "--phases 3" in said


def test_grains_of_all_thicknesses_in_a_matrix_are_one_phase():
    lens = 0.7 * np.sqrt(np.clip(1 - ((Y - 20) ** 2 + (X - 20) ** 2) / 150, 0, 1))
    si = couple(lens, 1000)
    layout = phase_layout(si, 2)
    assert layout.overlapping
    assert count_plateaus(si, layout) == (2, False)


def test_even_phases_cost_nothing(monkeypatch):
    si = couple(layers(1.0, 0.0), 500)
    layout = phase_layout(si, 2)
    monkeypatch.setattr(plateaus, "pixel_classes", None)
    assert count_plateaus(si, layout) == (2, False)


def test_a_large_map_is_pooled(monkeypatch):
    si = couple(layers(1.0, 0.6, 0.0), 500)
    layout = phase_layout(si, 2)
    for module in ("layout", "plateaus"):
        monkeypatch.setattr(f"siftem.decomposition.{module}.MOST_PIXELS", N * N // 4)
    assert count_plateaus(si, layout) == (3, False)


def test_auto_parts_layers_on_one_line_and_says_so():
    si = couple(layers(1.0, 0.6, 0.0), 500, dim=0.3)  # as dim as a film would be
    recipe = make_recipe({"input": {"file": "x.hspy"}, "decompose": {"components": "auto"}})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = decompose.decomposed(recipe, si, progress=silent).factors.layout
    assert any("3 components in place of 2: " in str(w.message) for w in told)
    assert found.kind == "side by side"
    assert all(lies.role == "pure" and lies.even for lies in found.phases)


def reason(*truths, seed, counts=5e4):
    """What is said of components with these spectra, one beside the other and all uneven."""
    k, rng = len(truths), np.random.default_rng(seed)
    spectra = rng.poisson(counts * np.array(truths)) / counts
    own = np.arange(N) * k // N == np.arange(k)[:, None]
    phases = [
        SimpleNamespace(area=1 / k, counts_per_pixel=k * counts / N**2, role="uneven", even=False)
        for _ in truths
    ]
    factors = SimpleNamespace(
        names=("A", "E", "G")[:k],
        spectra=spectra,
        maps=np.broadcast_to(own[:, None], (k, N, N)) * k * counts / N**2,
        counts=np.full(k, counts),
        layout=SimpleNamespace(phases=phases, labels=np.zeros((N, N), int)),
    )
    return decompose._repeated(factors, alike=0.98)


@pytest.mark.parametrize("seed", range(3))
def test_a_grain_on_a_film_is_no_second_film_and_a_twin_is_told(seed):
    """The line of the film alone makes their cosine, and noise makes that of twins smaller."""
    film = spectrum((0.28, 60), (8.05, 0.02))
    shell = 0.93 * film + 0.07 * spectrum((0.52, 3), (6.4, 4))
    assert film @ shell > 0.98 * np.linalg.norm(film) * np.linalg.norm(shell)
    assert reason(film, shell, seed=seed) == ""
    assert "found twice" in reason(film, film, seed=seed)
    assert "found twice" in reason(shell, shell, seed=seed)


@pytest.mark.parametrize("seed", range(3))
def test_an_uneven_mixture_of_two_others_is_a_border(seed):
    border = 0.4 * NICKEL + 0.6 * ALUMINIUM
    third = 0.9 * border + 0.1 * spectrum((5.4, 4))
    assert "component G would be a border" in reason(NICKEL, ALUMINIUM, border, seed=seed)
    assert reason(NICKEL, ALUMINIUM, third, seed=seed) == ""
