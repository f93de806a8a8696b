"""What a recipe says reaches the step that it is said for."""

from dataclasses import replace

import numpy as np
import pytest
from small_demo import small_demo

from siftem.energy_axis import EnergyAxis
from siftem.pipeline.starting_recipe import demo_recipe
from siftem.pipeline.steps import decompose, regions, segment
from siftem.pipeline.steps.prepare import Loaded, prepare
from siftem.pipeline.subtraction import matrix_in, pure_spectra
from siftem.pipeline.workflow import Workflow
from siftem.progress import silent
from siftem.spectrum import Spectrum
from siftem.unmixing.anchors import GivenScale
from siftem.unmixing.subtract import subtract


@pytest.fixture(scope="module")
def work():
    done = Workflow(small_demo(shape=(48, 48), random_state=4))
    done.change(segment={"trees": 10})
    done.run("spectra")
    return done


def said(recipe, section, **change):
    """The recipe with some keys of a section changed."""
    return recipe.model_copy(update={section: getattr(recipe, section).model_copy(update=change)})


class Recorded(Exception):
    """Carries what a function was called with."""


def recorder(*positional, **named):
    raise Recorded(named)


def test_the_seed_of_the_decomposition_is_the_recipe_s(work, monkeypatch):
    si = work.get("prepare").spectrum_image
    recipe = said(work.recipe, "decompose", random_state=77, components=3)
    monkeypatch.setattr(decompose, "decompose", recorder)
    with pytest.raises(Recorded) as told:
        decompose.decomposed(recipe, si, progress=silent)
    assert told.value.args[0]["random_state"] == 77


def test_the_seed_of_the_decomposition_splits_the_counts(work, monkeypatch):
    si = work.get("prepare").spectrum_image
    monkeypatch.setattr(decompose, "choose_n_components", recorder)
    with pytest.raises(Recorded) as told:
        decompose.component_choice(
            said(work.recipe, "decompose", random_state=76), si, [1, 2], progress=silent
        )
    assert told.value.args[0]["random_state"] == 76


def test_the_seed_of_the_segmentation_grows_the_trees(work):
    matched, images = work.get("match"), work.get("features")
    first, again, other = (
        segment.classify(
            said(work.recipe, "segment", random_state=seed), matched, images, progress=silent
        ).probabilities["Fp"]
        for seed in (5, 5, 6)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_seed_of_the_segmentation_picks_the_traces(work, monkeypatch):
    monkeypatch.setattr(segment, "certain_pixels", recorder)
    recipe = said(work.recipe, "segment", random_state=79)
    with pytest.raises(Recorded) as told:
        segment.classify(recipe, work.get("match"), work.get("features"), progress=silent)
    assert told.value.args[0]["random_state"] == 79


def test_the_seed_of_the_segmentation_halves_the_counts(work, monkeypatch):
    monkeypatch.setattr(regions, "suggest_smoothness", recorder)
    with pytest.raises(Recorded) as told:
        regions.smoothness_choice(
            said(work.recipe, "segment", random_state=78), work.get("prepare").spectrum_image, 3,
            progress=silent,
        )  # fmt: skip
    assert told.value.args[0]["random_state"] == 78


def test_the_seed_of_the_demo_draws_its_counts():
    loads = [
        Workflow(demo_recipe(shape=(16, 16), random_state=seed)).run("load").spectrum_image.counts
        for seed in (5, 5, 6)
    ]
    assert (loads[0] != loads[1]).nnz == 0
    assert (loads[0] != loads[2]).nnz > 0


def test_an_energy_range_is_in_kev_on_any_axis(work):
    si = work.get("load").spectrum_image
    axis = si.axis
    in_ev = EnergyAxis(1e3 * axis.offset, 1e3 * axis.scale, axis.size, "eV")
    for energy_range in ((0.2, None), (0.9, 5.0), (None, 5.0)):
        recipe = work.recipe.model_copy(update={"energy_range": energy_range})
        kept = [
            prepare(recipe, Loaded(replace(si, axis=a), None)).spectrum_image for a in (axis, in_ev)
        ]
        assert kept[0].axis.size == kept[1].axis.size < axis.size
        assert kept[1].axis.to_kev().first == pytest.approx(kept[0].axis.first)
        assert kept[1].counts.sum() == kept[0].counts.sum()


def test_anchors_see_the_film_of_the_matrix(work):
    found = work.get("spectra")
    regions = work.get("regions").regions
    film = found.compositions["Brg"].fit.model.absorption
    assert film is not None
    with_film = pure_spectra(found.integrated, regions, found.settings, absorption=film)
    without = pure_spectra(found.integrated, regions, found.settings)
    # Only the anchor of Ca-perovskite compares two elements.
    assert found.pure["Ca-Pv"].scale == pytest.approx(with_film["Ca-Pv"].scale, rel=1e-4)
    apart = abs(without["Ca-Pv"].scale - with_film["Ca-Pv"].scale)
    assert apart > 10 * abs(found.pure["Ca-Pv"].scale - with_film["Ca-Pv"].scale)


def test_the_matrix_in_a_grain_is_how_its_counts_move_the_grain_s():
    """Also through a contaminant that had matrix taken out of it before."""
    axis = EnergyAxis(0.2, 0.01, 3)

    def pure(step):
        matrix = Spectrum(np.array([100.0, 200.0 + step, 300.0]), axis, name="Brg")
        other = subtract(
            Spectrum(np.array([90.0, 150.0, 120.0]), axis),
            matrix,
            anchor=GivenScale(0.3),
            name="Fp",
        )
        grain = subtract(
            Spectrum(np.array([500.0, 400.0, 300.0]), axis), [matrix, other],
            anchor=[GivenScale(0.5, of="Brg"), GivenScale(0.4, of="Fp")], name="Ca-Pv",
        )  # fmt: skip
        return {"Brg": matrix, "Fp": other, "Ca-Pv": grain}

    before, after = pure(0.0), pure(1.0)
    for name, expected in (("Fp", 0.3), ("Ca-Pv", 0.5 - 0.4 * 0.3)):
        moved = before[name].values[1] - after[name].values[1]
        assert moved == pytest.approx(expected)
        assert matrix_in(name, before, "Brg") == pytest.approx(moved)
    assert matrix_in("Brg", before, "Brg") == 0
    assert matrix_in("none", before, "Brg") == 0
