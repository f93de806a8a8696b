"""Common spectra of several maps, and spectra that all maps share."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

from siftem.batch.folder import BatchFolder
from siftem.batch.joint import JointJob, channel_shift, find_shared_spectra, stacked
from siftem.batch.run import MapFile, map_recipe, run_batch
from siftem.decomposition.factors import decompose
from siftem.decomposition.shared_spectra import fit_maps
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError, SiftemError
from siftem.io.fit_checkpoint import SpectraSet, read_spectra, write_spectra_table
from siftem.pipeline.recipe import make_recipe, read_recipe
from siftem.pipeline.steps.decompose import decomposed
from siftem.progress import silent
from siftem.simulate.phantom import simulate_demo


def demo(seed, shape=(24, 24), dose=60):
    return simulate_demo(shape, channels=600, dose=dose, random_state=seed)


def angles(spectra, truth):
    """Angle of each true spectrum to the nearest found one, degrees."""
    a = spectra / np.linalg.norm(spectra, axis=1, keepdims=True)
    b = truth / np.linalg.norm(truth, axis=1, keepdims=True)
    return np.degrees(np.arccos(np.clip((b @ a.T).max(axis=1), -1, 1)))


def test_stacked_maps_keep_their_counts_in_their_places():
    images = {"a": demo(1).spectrum_image, "b": demo(2, (16, 30)).spectrum_image}
    later = images["b"].cropped(images["b"].axis.centers[7], images["b"].axis.centers[-3])
    stack, places = stacked({"a": images["a"], "b": later})
    assert stack.shape == (24 + 16, 30)
    assert stack.n_channels == 600 - 7 - 2
    assert stack.axis.offset == pytest.approx(later.axis.offset)
    rows = np.arange(stack.n_pixels).reshape(stack.shape)
    for name, place in places.items():
        found = stack.counts[rows[place].ravel()].toarray()
        np.testing.assert_array_equal(found, images[name].counts[:, 7:-2].toarray())
    assert stack.total == sum(si.counts[:, 7:-2].sum() for si in images.values())


def test_channels_must_coincide():
    axis = EnergyAxis(0.2, 0.01, 100)
    assert channel_shift(axis, EnergyAxis(0.23, 0.01, 50)) == 3
    assert channel_shift(axis, EnergyAxis(170.0, 10.0, 100, "eV")) == -3
    assert channel_shift(axis, EnergyAxis(0.235, 0.01, 50)) is None
    assert channel_shift(axis, EnergyAxis(0.2, 0.0101, 100)) is None
    assert channel_shift(axis, EnergyAxis(5.0, 0.01, 100)) is None


def test_the_maps_of_a_joint_factorisation_are_the_maps_by_its_spectra():
    images = {n: demo(n).spectrum_image.without_zero_peak() for n in (1, 2)}
    stack, places = stacked(images)
    joint = decompose(stack, 3)
    for name, si in images.items():
        own = fit_maps(si, joint.spectra)
        together = joint.maps[(slice(None), *places[name])]
        np.testing.assert_allclose(own.maps, together, atol=1e-5 * together.max())


def test_common_spectra_are_closer_to_the_truth_than_those_of_one_map():
    phantoms = [demo(seed, dose=200) for seed in (1, 2, 3, 4)]
    images = {i: p.spectrum_image.without_zero_peak() for i, p in enumerate(phantoms)}
    cropped = 600 - images[0].n_channels
    truth = phantoms[0].spectra[:, cropped:]
    alone = np.mean([angles(decompose(si, 3).spectra, truth) for si in images.values()], axis=0)
    joint = angles(decompose(stacked(images)[0], 3).spectra, truth)
    # Four times the counts: half the angle where counting noise makes it.
    assert (joint < 0.7 * alone).all()


def test_a_recipe_with_spectra_fits_maps_only(tmp_path, real_maps):
    recipe_file, _ = real_maps
    recipe = read_recipe(recipe_file, for_many=True)
    si = demo(1).spectrum_image.without_zero_peak()
    first = decompose(si, 3)
    write_spectra_table(tmp_path / "s.csv", SpectraSet(first.spectra[::-1], si.axis, first.names))
    data = recipe.model_dump(mode="json")
    data["decompose"] = {"spectra": str(tmp_path / "s.csv")}
    found = decomposed(make_recipe(data), si, progress=silent).factors
    np.testing.assert_allclose(found.maps, first.maps[::-1], atol=1e-5 * first.maps.max())
    data["decompose"]["components"] = 4
    with pytest.raises(InputError, match="holds 3 spectra, but the recipe asks for 4"):
        decomposed(make_recipe(data), si, progress=silent)


@pytest.fixture
def recipe(real_maps):
    return read_recipe(real_maps[0], for_many=True)


def test_a_joint_batch_finds_spectra_once_and_again_when_a_map_is_added(
    stand_ins, recipe, real_maps, tmp_path
):
    files, out = real_maps[1], tmp_path / "out"
    run_batch(recipe, files[:2], out, joint=True)
    shared = read_spectra(out / "shared_spectra.csv")
    assert shared.values.shape[0] == 3
    # The same as factorising both by hand.
    from siftem import load

    images = {f.stem: load(f).without_zero_peak() for f in files[:2]}
    np.testing.assert_allclose(
        shared.values,
        decompose(stacked(images)[0], 3, layout=recipe.known_layout).spectra,
        rtol=1e-9,
        atol=1e-15,
    )
    notes = json.loads((out / "summary.json").read_text())["warnings"]
    assert notes[0] == "shared spectra by a joint decomposition of map1, map2"
    before = (out / "shared_spectra.csv").stat().st_mtime_ns
    again = run_batch(recipe, files[:2], out, joint=True)
    assert [o.status for o in again.outcomes] == ["kept", "kept"]
    assert (out / "shared_spectra.csv").stat().st_mtime_ns == before
    more = run_batch(recipe, files[:3], out, joint=True)
    assert [o.status for o in more.outcomes] == ["done", "done", "done"]


def test_maps_that_cannot_take_part_fail_and_the_others_go_on(
    stand_ins, recipe, real_maps, tmp_path
):
    from siftem import load, to_hyperspy

    files = real_maps[1]
    odd = load(files[1])
    odd = replace(odd, axis=replace(odd.axis, offset=odd.axis.offset + 0.004))
    signal = to_hyperspy(odd)
    signal.compute(progressbar=False)
    signal.save(tmp_path / "odd.hspy")
    (tmp_path / "broken.hspy").write_bytes(b"nothing")
    chosen = [files[0], tmp_path / "odd.hspy", tmp_path / "broken.hspy"]
    result = run_batch(recipe, chosen, tmp_path / "out", joint=True)
    assert [o.status for o in result.outcomes] == ["done", "failed", "failed"]
    assert "energy channels are not those of map1" in result.outcomes[1].error
    assert "broken.hspy" in result.outcomes[2].error
    with pytest.raises(SiftemError, match="none of the maps can be used"):
        run_batch(recipe, chosen[2:], tmp_path / "none", joint=True)


def test_given_spectra_count_by_their_content(stand_ins, recipe, real_maps, tmp_path):
    files, out = real_maps[1], tmp_path / "out"
    table = tmp_path / "s.csv"
    table.write_text("energy_keV,A\n1,2\n2,3\n3,3\n")
    run_batch(recipe, files[:1], out, spectra=table)
    moved = table.rename(tmp_path / "t.csv")
    assert run_batch(recipe, files[:1], out, spectra=moved).outcomes[0].status == "kept"
    moved.write_text("energy_keV,A\n1,2\n2,4\n3,3\n")
    assert run_batch(recipe, files[:1], out, spectra=moved).outcomes[0].status == "done"
    with pytest.raises(SiftemError, match="cannot read"):
        run_batch(recipe, files[:1], out, spectra=tmp_path / "none.csv")


def test_relative_paths_of_a_recipe_for_many_maps(tmp_path):
    data = {"matrix": "A", "phases": {"A": {"high": ["Mg"]}}, "decompose": {"spectra": "s.csv"}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({**data, "input": {"signal": 2}}))
    found = read_recipe(tmp_path / "r.yaml", for_many=True)
    assert found.decompose.spectra == str(tmp_path / "s.csv")
    assert found.input.signal == 2


@pytest.mark.slow
def test_a_classifier_trained_on_one_map_serves_all(recipe, real_maps, tmp_path):
    files = real_maps[1]
    data = recipe.model_dump(mode="json")
    # The grains of these maps are few pixels wide: a stiffer cut would take them away.
    data["segment"] = {"trees": 20, "smoothness": 0.3}
    run_batch(make_recipe(data), files[:1], tmp_path / "first")
    classifier = tmp_path / "first/maps/map1/classifier"
    assert list(classifier.glob("*.npz"))
    data["segment"] = {"classifier": str(classifier), "smoothness": 0.3}
    out = tmp_path / "all"
    result = run_batch(make_recipe(data), files[:2], out)
    assert [o.status for o in result.outcomes] == ["done", "done"]
    # On its own map it finds what it found before.
    first, again = (
        json.loads((folder / "maps/map1/summary.json").read_text())["regions"]
        for folder in (tmp_path / "first", out)
    )
    assert first == again
    # It counts by its content.
    (classifier / "Fp.npz").write_bytes((classifier / "Ca-Pv.npz").read_bytes())
    changed = run_batch(make_recipe(data), files[:2], out)
    assert all(o.status != "kept" for o in changed.outcomes)


@pytest.mark.slow
def test_maps_that_stay_on_disk_have_the_same_common_spectra(recipe, real_maps, tmp_path):
    """Of other widths, channels and file formats."""
    from siftem import load
    from siftem.large.sparse_writer import write_sparse_file

    whole = load(real_maps[1][1])
    part = replace(whole, shape=(16, 32), counts=whole.counts[: 16 * 32], survey=None)
    narrow = replace(whole, shape=(51, 20), counts=whole.counts[: 51 * 20], survey=None)
    files = [real_maps[1][0], tmp_path / "narrow.sift", tmp_path / "part.sift"]
    write_sparse_file(narrow, files[1], entries_per_block=20_000)
    write_sparse_file(part.cropped(part.axis.centers[7], part.axis.centers[-9]), files[2])
    (tmp_path / "broken.sift").write_bytes(b"nothing")
    recipes = {
        file.stem: map_recipe(recipe, MapFile(file.stem, file)).model_dump(mode="json")
        for file in (*files, tmp_path / "broken.sift")
    }
    for where, memory in (("memory", ""), ("disk", "1GB")):
        folder = BatchFolder(tmp_path / where)
        folder.make()
        found = find_shared_spectra(JointJob(recipes, str(folder.root), memory), silent)
        assert list(found.failed) == ["broken"]
        assert "broken.sift" in found.failed["broken"]
    ours, theirs = (
        read_spectra(tmp_path / where / "shared_spectra.csv") for where in ("disk", "memory")
    )
    assert ours.axis == theirs.axis
    np.testing.assert_allclose(ours.values, theirs.values, rtol=1e-6, atol=1e-12)
    # Converted maps, the stack and the state of the fit are gone.
    assert not list((tmp_path / "disk").rglob("*.sift"))
    with pytest.raises(InputError, match="memory must be a size such as 2GB"):
        run_batch(recipe, files, tmp_path / "out", joint=True, memory="much")
