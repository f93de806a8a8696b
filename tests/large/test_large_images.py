"""Images of the size of the map that stay on disk, and the strips in which they are worked on."""

import errno
import gc
import os
import pickle
import tracemalloc

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import siftem
from siftem import robust
from siftem.errors import SiftemError
from siftem.large import disk_images
from siftem.large.disk_images import StoredImages, copied_beside, image_beside, let_go, new_image
from siftem.large.sparse_writer import write_sparse_file
from siftem.pipeline.starting_recipe import demo_recipe
from siftem.pipeline.workflow import Workflow
from siftem.segment.traces import certain_pixels, grain_shares


@pytest.fixture
def small_limits(monkeypatch):
    """Make small images count as large ones, of many strips."""
    monkeypatch.setattr(disk_images, "PIXELS_IN_MEMORY", 500)
    monkeypatch.setattr(disk_images, "_PIXELS", 300)


def test_an_image_on_disk_is_an_array_whose_file_goes_with_it(tmp_path, small_limits):
    image = new_image((30, 40), np.float32, tmp_path)
    assert type(image) is np.ndarray
    assert not image.any()
    image[3] = 7
    let_go(image)
    part = image[2:5]
    beside = image_beside(part, (2, 30, 40), bool)
    assert len(list(tmp_path.iterdir())) == 2
    del image
    np.testing.assert_array_equal(part[1], 7)
    del part, beside
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_small_images_and_those_beside_memory_stay_in_memory(tmp_path, small_limits):
    new_image((10, 10), float, tmp_path)
    image_beside(np.zeros((30, 40)), (30, 40), float)
    assert not list(tmp_path.iterdir())


def test_images_in_another_order(tmp_path, small_limits):
    images = new_image((3, 20, 30), np.float32, tmp_path)
    images[...] = np.arange(3)[:, None, None]
    np.testing.assert_array_equal(copied_beside(images, [2, 0])[:, 0, 0], [2, 0])
    assert len(list(tmp_path.iterdir())) == 1


def test_tasks_find_images_by_their_file(tmp_path, small_limits):
    images = new_image((3, 900), float, tmp_path)
    images[...] = np.random.default_rng(0).random((3, 900))
    stored = pickle.loads(pickle.dumps(StoredImages.of(images[1:])))
    np.testing.assert_array_equal(stored.read(17, 500), images[1:, 17:500])
    assert StoredImages.of(np.zeros((3, 900))) is None
    assert StoredImages.of(images[:, ::2]) is None


def test_a_full_disk_is_told_before_anything_is_mapped(tmp_path, small_limits, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(SiftemError, match=r"cannot keep an image of 0 MB .*No space left"):
        new_image((30, 40), float, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sigma", [0.6, 2.3, 8.0])
def test_strips_are_smoothed_as_the_whole_image_is(small_limits, sigma):
    image = np.random.default_rng(1).random((101, 37))
    parts = list(disk_images.smoothed(image.__getitem__, image.shape, sigma))
    assert len(parts) > 1
    found = np.concatenate([part for _, part in parts])
    np.testing.assert_array_equal(found, gaussian_filter(image, sigma, mode="nearest"))


def test_a_grid_is_that_of_the_whole_image(small_limits, monkeypatch):
    image = np.random.default_rng(1).random((101, 37))
    monkeypatch.setattr(robust, "_ENOUGH_PIXELS", 500)
    np.testing.assert_array_equal(disk_images.sampled(image), image[::3, ::3])


@pytest.fixture(scope="module")
def phantom():
    return siftem.simulate_demo((64, 80), channels=1100, dose=150, random_state=3)


def workflow_of(si):
    """The recipe of the demo with few trees and elements, which are alike from the disk."""
    workflow = Workflow(demo_recipe(), spectrum_image=si)
    workflow.change(segment={"trees": 30}, elements=["O", "Mg", "Al", "Si", "Ca", "Fe"])
    return workflow


@pytest.fixture(scope="module")
def in_memory(phantom):
    workflow = workflow_of(phantom.spectrum_image)
    workflow.run("spectra")
    return workflow


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_a_run_with_images_on_disk_gives_what_one_in_memory_gives(
    phantom, in_memory, tmp_path, monkeypatch, scheduler
):
    path = write_sparse_file(
        phantom.spectrum_image, tmp_path / "map.sift", entries_per_block=50_000
    )
    scratch = tmp_path / "scratch"
    monkeypatch.setattr(disk_images, "PIXELS_IN_MEMORY", 1000)
    monkeypatch.setattr(disk_images, "_PIXELS", 700)
    with siftem.open_map(path, scratch=scratch, scheduler=scheduler, n_jobs=2) as si:
        workflow = workflow_of(si)
        workflow.run("spectra")
        assert list(scratch.glob("image-*"))
        factors, expected = (w.get("decompose").factors for w in (workflow, in_memory))
        np.testing.assert_allclose(factors.spectra, expected.spectra, rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(factors.maps, expected.maps, rtol=1e-5, atol=1e-5)
        found, wanted = (w.get("regions").regions for w in (workflow, in_memory))
        for name in wanted.names:
            # Maps in single precision may move a pixel at the verge.
            assert (found.mask(name) ^ wanted.mask(name)).n_pixels <= 3
        assert abs(found.pure.n_pixels - wanted.pure.n_pixels) <= 10
        pure, truth = (w.get("spectra").pure for w in (workflow, in_memory))
        for name in truth:
            assert siftem.spectrum.spectral_angle(pure[name].values, truth[name].values) < 0.5
    del workflow, factors, found, pure
    gc.collect()
    assert not list(scratch.glob("image-*"))


def traced(maps):
    """Shares and traces, and the most memory that finding them took beyond the maps."""
    tracemalloc.start()
    try:
        shares = grain_shares(maps, 0)
        labels = certain_pixels(shares)
        return shares, labels, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_traces_of_maps_on_disk_take_no_memory_of_their_size(in_memory, tmp_path, monkeypatch):
    small = in_memory.get("decompose").factors.maps
    tiled = np.tile(small, (1, 24, 6)).astype(np.float32)
    whole, traces, in_ram = traced(tiled)
    monkeypatch.setattr(disk_images, "PIXELS_IN_MEMORY", 2**13)
    monkeypatch.setattr(disk_images, "_PIXELS", 2**13)
    # Every seventh pixel: no divisor of the period of the tiles.
    monkeypatch.setattr(robust, "_ENOUGH_PIXELS", 15_100)
    maps = new_image(tiled.shape, np.float32, tmp_path)
    maps[...] = tiled
    shares, labels, whole_peak = traced(maps)
    half_peak = traced(copied_beside(maps[:, : tiled.shape[1] // 2], [0, 1, 2]))[2]
    assert whole_peak - half_peak < 0.5 * maps[0].size / 2  # bytes a pixel
    assert in_ram > 30 * maps[0].size
    np.testing.assert_allclose(shares.noise, whole.noise, rtol=0.1)
    assert (shares.touched != whole.touched).mean() < 0.01
    assert [(labels == n).sum() for n in (1, 2)] == [(traces == n).sum() for n in (1, 2)]
