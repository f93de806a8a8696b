"""A phase most of whose lines are of the support: a film is no compound, a grain on one is."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from rich.console import Console

from siftem.acquisition import Acquisition
from siftem.cli.display import print_result
from siftem.energy_axis import EnergyAxis
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.minerals.identification import identify
from siftem.pipeline.composition_doubts import (
    _mass_beside,
    carbon_films,
    on_support,
    run_on_support,
)
from siftem.pipeline.minerals import names_of
from siftem.pipeline.recipe import make_recipe
from siftem.pipeline.summary import summarize
from siftem.pipeline.workflow import Workflow
from siftem.quantification.composition import quantify
from siftem.report.composition_tables import overview_table
from siftem.report.phase_names import role_words
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.xray.detector import Detector
from siftem.xray.k_factors import k_factor_family
from siftem.xray.lines import line_families

AXIS = EnergyAxis(0.2, 0.02, 450, "keV")
HELD = Acquisition(beam_energy=200.0, take_off_angle=22.0)
SUPPORT = ("C", "Cu")
FILM = {0.277: 60.0, 8.046: 8.0}
TRACES = {6.404: 1.5, 7.058: 0.2, 2.307: 1.5}
GRAIN = {6.404: 12.0, 7.058: 1.6, 2.307: 12.0}


def counts_of(*parts):
    """Expected counts a pixel of lines (keV: counts), of several layers one above the other."""
    out = 3.0 * np.exp(-AXIS.centers / 4) / AXIS.size
    for parted in parts:
        for energy, counts in parted.items():
            sigma = 1e-3 * np.sqrt(130**2 + 2330 * (energy - 5.895)) / 2.355
            peak = np.exp(-0.5 * ((AXIS.centers - energy) / sigma) ** 2)
            out += counts * peak / peak.sum()
    return out


def held(pixels=1000, support=SUPPORT, **phases):
    """What of phases is of their support."""
    spectra, compositions = {}, {}
    for name, parts in phases.items():
        values = np.random.default_rng(1).poisson(pixels * counts_of(*parts))
        spectra[name] = Spectrum(values, AXIS, name=name, n_pixels=pixels, acquisition=HELD)
        compositions[name] = quantify(
            spectra[name], ("S", "Fe"), support=support, warn_above=None, beam_energy=200.0
        )
    return on_support(compositions, spectra)


def thick(layer, times):
    return {energy: times * counts for energy, counts in layer.items()}


def test_a_film_with_traces_is_told_from_a_grain_on_it():
    found = held(film=[FILM, TRACES], grain=[thick(FILM, 0.2), thick(GRAIN, 2)])
    assert list(found) == ["film"]
    assert found["film"].film
    assert list(found["film"].parts)[:2] == ["C", "Cu"]
    true = sum(FILM.values()) / (sum(FILM.values()) + sum(TRACES.values()))
    assert sum(found["film"].parts.values()) == pytest.approx(true, abs=0.02)
    assert 0.9 < found["film"].mass < 1
    assert "no compound is named" in found["film"].describe("film")


@pytest.mark.parametrize("part", [1.0, 0.15])
def test_a_grain_on_a_thick_film_is_none(part):
    """Neither the brightest, nor a thin one of the same on the film beside it."""
    film, thin = [FILM, thick(TRACES, 0.2)], [FILM, thick(GRAIN, part)]
    found = held(film=film, thin=thin, grain=[FILM, GRAIN])
    assert list(found) == ["film", "thin", "grain"]
    assert [n for n, one in found.items() if one.film] == ["film"]
    assert "no compound" not in found["thin"].describe("thin")


def test_a_phase_alone_is_a_film_when_next_to_nothing_else_is_there():
    assert held(only=[FILM, thick(TRACES, 0.5)])["only"].film
    assert not held(only=[FILM, GRAIN])["only"].film


def test_the_mass_beside_is_by_k_factors():
    """The mass beside is by k-factors and by what the detector sees of soft lines."""
    weights, axis = {"C": 0.1, "Pt": 0.9}, EnergyAxis(0.2, 0.02, 600, "keV")
    families = line_families(weights, beam_energy=200.0, low=axis.first, high=axis.last)
    photons = [weights[f.element] / k_factor_family(f.element, f.shell, 200.0) for f in families]
    lines = SpectrumModel(tuple(families), 200.0, Detector(), 2).line_columns(axis, Calibration())
    counts = np.random.default_rng(0).poisson(1e5 * lines @ photons + 20)
    spectrum = Spectrum(counts, axis, n_pixels=1000, acquisition=HELD)
    found = quantify(spectrum, ("Pt",), support=("C",), warn_above=None, beam_energy=200.0)
    assert _mass_beside(found) == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("oxygen", [12.0, 0.3])
def test_an_oxide_whose_oxygen_is_listed_as_support_is_not_named_a_metal(oxygen):
    iron = {6.404: 12.0, 7.058: 1.6}
    values = np.random.default_rng(3).poisson(1000 * counts_of(iron, {0.525: oxygen}))
    spectrum = Spectrum(values, AXIS, n_pixels=1000, acquisition=HELD)
    found = quantify(spectrum, ("Fe",), support=("O",), warn_above=None, beam_energy=200.0)
    by_name = {c.name: c.probability for c in identify(found).candidates}
    if oxygen > 1:
        assert by_name["Fe metal"] == pytest.approx(by_name["maghemite"], rel=1e-3)
        assert {"hematite", "magnetite"} <= set(by_name)
    else:
        assert "Fe metal" in by_name
        assert not {"maghemite", "hematite", "magnetite"} & set(by_name)


@pytest.fixture(scope="module")
def run():
    mean = np.tile(counts_of(FILM, TRACES), (30, 30, 1))
    mean[8:20, 8:20] = counts_of(thick(FILM, 0.3), thick(GRAIN, 4))
    counts = np.random.default_rng(2).poisson(mean).reshape(900, -1)
    si = SpectrumImage(
        sp.csr_array(counts), (30, 30), AXIS, acquisition=HELD, signal_type="EDS_TEM"
    )
    recipe = {
        "input": {"file": "given"}, "unmix": False, "segment": {"trees": 10},
        "elements": ["S", "Fe"], "support": list(SUPPORT), "decompose": {"components": 2},
        "layout": "side by side",
    }  # fmt: skip
    return Workflow(make_recipe(recipe), spectrum_image=si).result()


def test_it_is_said_beside_the_numbers_and_no_compound_is_named(run):
    (film,) = run_on_support(run)
    (grain,) = set(run.pure) - {film}
    assert set(names_of(run)) == {grain}
    summary = summarize(run)
    assert summary["phases"][film]["identified"] is None
    assert summary["phases"][grain]["identified"]["best"] is not None
    assert [w for w in summary["warnings"] if w.startswith(f"{film}: ") and "C 8" in w]
    heads = [cell.text for cell in overview_table(run, (film, grain), "").head]
    assert heads == ["at%", f"{film}, mostly support", grain]
    assert role_words(run)[film].endswith(", mostly support")
    screen = io.StringIO()
    console = Console(file=screen, width=200)
    print_result(console, run, Path("out"), {"seconds": 1.0, "peak_memory_MB": 1.0})
    assert f"{film}, mostly support" in screen.getvalue()
    assert f"{film} may be" not in screen.getvalue()
    assert not run.partition  # nothing is parted between a film and what lies on it


def test_next_to_nothing_but_carbon_is_a_film_unless_nothing_fixes_it(run):
    (grain,) = set(run.pure) - set(run_on_support(run))
    c = replace(
        run.compositions[grain],
        elements=("C", "Fe"),
        weight_fractions=np.array([0.95, 0.05]),
        identification_ends=None,
    )
    assert carbon_films({"a": c, "b": run.compositions[grain]}) == {"a"}
    assert carbon_films({"a": c.with_range(np.array([0.1, 0.9]))}) == set()
