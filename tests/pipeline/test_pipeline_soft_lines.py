"""Soft lines that fall with thickness or in a shadow are told, and no difference of composition."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

from siftem.energy_axis import EnergyAxis
from siftem.errors import DoubtWarning
from siftem.pipeline.soft_lines import (
    warn_of_dimmed_lines,
    warn_of_uneven_phases,
)
from siftem.spectrum_image import SpectrumImage
from siftem.xray.absorption import escaping_share, mass_attenuation

ENERGIES = {"O K": 0.525, "Fe L": 0.705, "Mg K": 1.254, "Si K": 1.74, "Fe K": 6.404, "Ti K": 4.51}
N = 40
AXIS = EnergyAxis(0.2, 0.05, 200, "keV")
Y, X = np.mgrid[:N, :N]


def composition(counts, fractions, error=0.01):
    """A fit of these lines, each known to ``error``; fractions by weight stand for atoms, too."""
    families = [
        SimpleNamespace(element=n.split()[0], name=n, energies=np.array([ENERGIES[n]]))
        for n in counts
    ]
    amounts = np.array(list(counts.values()), float)
    fit = SimpleNamespace(
        model=SimpleNamespace(families=families),
        names=tuple(counts),
        amplitudes=amounts,
        counting_covariance=np.diag((error * amounts + 1e-12) ** 2),
    )
    share = np.array(list(fractions.values()), float)
    return SimpleNamespace(
        elements=tuple(fractions), atomic_fractions=share, weight_fractions=share, fit=fit
    )


def said(function, *args):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        function(*args)
    assert all(issubclass(w.category, DoubtWarning) for w in told)
    return [str(w.message) for w in told]


OLIVINE = {"Mg": 0.3, "Si": 0.2, "O": 0.44, "Fe": 0.06}
LINES = {"O K": 4e4, "Fe L": 5e3, "Mg K": 3e4, "Si K": 2e4, "Fe K": 6e3}


@pytest.mark.parametrize("how", ["film", "shadow"])
def test_one_phase_behind_more_matter_is_told(how):
    energies = np.array([ENERGIES[n] for n in LINES])
    if how == "film":
        left = escaping_share(mass_attenuation(OLIVINE, energies) * 3e-4)
    else:
        left = np.exp(-0.4 * (energies / 0.525) ** -2.7)
    dim = dict(zip(LINES, np.array(list(LINES.values())) * left * 3, strict=True))
    phases = {"A": composition(LINES, OLIVINE), "B": composition(dim, OLIVINE)}
    (told,) = said(warn_of_dimmed_lines, phases)
    assert told.startswith("A and B: but for soft lines")
    # Above the edge of O, Fe L loses more than O K; in front of a detector the softest does.
    assert f"({'Fe L' if how == 'film' else 'O K'} beside Fe K is" in told
    (turned,) = said(warn_of_dimmed_lines, dict(reversed(phases.items())))
    assert turned == told


@pytest.mark.parametrize(
    "factors",
    [
        {"Mg K": 0.5, "O K": 0.75, "Fe K": 0.5, "Fe L": 0.5},  # pyroxene, by its Si
        {"Fe K": 2.0, "Fe L": 2.0, "Mg K": 0.9},  # more iron
        {"Fe K": 0.0, "Fe L": 0.0},  # another list of what is there
        {},
    ],
)
def test_other_compositions_are_no_shadow(factors):
    other = {n: v * factors.get(n, 1.0) for n, v in LINES.items()}
    phases = {"A": composition(LINES, OLIVINE), "B": composition(other, OLIVINE)}
    assert said(warn_of_dimmed_lines, phases) == []


def test_silicon_with_a_trace_of_oxygen_is_no_dimmed_silica():
    silica = composition({"O K": 4e4, "Si K": 4e4}, {"Si": 0.47, "O": 0.53})
    silicon = composition({"O K": 1e2, "Si K": 8e4}, {"Si": 0.998, "O": 0.002})
    assert said(warn_of_dimmed_lines, {"A": silica, "B": silicon}) == []


def test_noise_is_no_shadow():
    rutile = {"Ti": 0.6, "O": 0.4}
    one = composition({"O K": 1e3, "Ti K": 2e3}, rutile, error=0.1)
    other = composition({"O K": 7e2, "Ti K": 2e3}, rutile, error=0.1)
    assert said(warn_of_dimmed_lines, {"A": one, "B": other}) == []


@pytest.mark.parametrize(
    ("way", "place"),
    [
        ("left to right", X),
        ("right to left", N - 1 - X),
        ("the top down", Y),
        ("the bottom up", N - 1 - Y),
        (None, np.full((N, N), N / 2)),
    ],
)
def test_soft_counts_that_fall_across_a_phase_are_told(way, place):
    soft = AXIS.centers < 1.0
    shadow = np.exp(-0.5 * place / N)
    thick = 0.5 + Y / N  # changes nothing
    mean = np.where(soft, 0.5 * shadow[..., None], 0.1) * thick[..., None]
    counts = np.random.default_rng(0).poisson(mean).reshape(N * N, -1)
    si = SpectrumImage(sp.csr_array(counts), (N, N), AXIS)
    inside = (X > 3) & (X < N - 4)
    told = said(warn_of_uneven_phases, si, {"film": inside})
    if way is None:
        assert told == []
    else:
        (text,) = told
        assert text.startswith(f"film: from {way} its counts below 1 keV fall by")
        share = float(text.split("fall by ")[1].split("%")[0])
        assert share == pytest.approx(100 * (1 - np.exp(-0.38)), abs=8)


@pytest.mark.parametrize("changes", [True, False])
def test_a_line_that_falls_across_a_phase_is_told(changes):
    """Chromium of a steel below its scale: half of it gone, at the same soft counts."""
    at = np.exp(-0.5 * ((AXIS.centers - 5.41) / 0.07) ** 2)
    iron = np.exp(-0.5 * ((AXIS.centers - 6.40) / 0.07) ** 2)
    amount = 1 - 0.5 * Y / N if changes else np.full((N, N), 0.75)
    thick = 0.5 + X / N
    mean = (3 * amount[..., None] * at + 10 * iron + 0.1) * thick[..., None]
    counts = np.random.default_rng(0).poisson(mean).reshape(N * N, -1)
    si = SpectrumImage(sp.csr_array(counts), (N, N), AXIS)
    told = said(warn_of_uneven_phases, si, {"steel": np.ones((N, N), bool)})
    if changes:
        (text,) = told
        assert text.startswith("steel: from the top down its counts at 5.")
        share = float(text.split("fall by ")[1].split("%")[0])
        assert share == pytest.approx(40, abs=10)
    else:
        assert told == []
