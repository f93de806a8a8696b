"""The same answer in memory, and from disk by whoever does the work."""

import os
import signal
import threading
import time

import numpy as np
import pytest

import siftem
from siftem.errors import InputError, SiftemError
from siftem.large import disk_images, open_map
from siftem.large.open_map import DaskBlocks
from siftem.large.rows_of_counts import InTurn, add_in_order
from siftem.large.sparse_writer import write_sparse_file

EXECUTORS = ["synchronous", "threads", "processes", "distributed"]


@pytest.fixture(scope="module")
def phantom():
    return siftem.simulate_demo((40, 48), dose=120, random_state=3)


@pytest.fixture(scope="module")
def stored(phantom, tmp_path_factory):
    path = tmp_path_factory.mktemp("maps") / "map.sift"
    # Some ten blocks, which do not end where lines do.
    return write_sparse_file(phantom.spectrum_image, path, entries_per_block=16_000)


@pytest.fixture(scope="module")
def client():
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster) as connected,
    ):
        yield connected


@pytest.fixture(scope="module", params=EXECUTORS)
def opened(request, stored):
    """The stored map; its workers are started once for all tests."""
    name = request.param
    who = request.getfixturevalue("client") if name == "distributed" else name
    with siftem.open_map(stored, scheduler=who, n_jobs=2) as si:
        yield si


@pytest.fixture(scope="module")
def in_memory(phantom):
    si = phantom.spectrum_image
    return {
        "identified": siftem.decompose(si, 3, random_state=1),
        "plain": siftem.decompose(si, 3, random_state=1, identify=False, n_init=2, tol=1e-6),
    }


def assert_same(found, expected, relative):
    assert found.n_iter == expected.n_iter
    assert found.matrix == expected.matrix
    for name in ("spectra", "maps"):
        a, b = getattr(found, name), getattr(expected, name)
        # For each component by itself: a faint one must agree as well.
        for ours, theirs in zip(a, b, strict=True):
            assert np.linalg.norm(ours - theirs) <= relative * np.linalg.norm(theirs)
    assert found.deviance == pytest.approx(expected.deviance, rel=relative)


@pytest.fixture(scope="module")
def first_found():
    """What the first executor found: the others must agree to the last bit."""
    return []


def test_factors_are_those_in_memory(opened, in_memory, first_found):
    found = siftem.decompose(opened, 3, random_state=1)
    assert_same(found, in_memory["identified"], 1e-6)
    first_found.append(found)
    np.testing.assert_array_equal(found.spectra, first_found[0].spectra)
    np.testing.assert_array_equal(found.maps, first_found[0].maps)


def test_large_maps_are_single_from_the_disk_and_in_memory_alike(
    stored, phantom, in_memory, monkeypatch
):
    monkeypatch.setattr(disk_images, "PIXELS_IN_MEMORY", 1000)
    whole = siftem.decompose(phantom.spectrum_image, 3, random_state=1)
    with siftem.open_map(stored, n_jobs=2) as si:
        found = siftem.decompose(si, 3, random_state=1)
    assert found.maps.dtype == whole.maps.dtype == np.float32
    assert_same(found, in_memory["identified"], 1e-6)
    np.testing.assert_allclose(found.maps, whole.maps, rtol=1e-6, atol=1e-6)
    # Sums over millions of pixels are double.
    assert found.counts.sum() == pytest.approx(phantom.spectrum_image.without_zero_peak().total)


def test_the_plain_maximum_of_the_likelihood_is_that_in_memory(stored, in_memory):
    with siftem.open_map(stored, n_jobs=2) as si:
        plain = siftem.decompose(si, 3, random_state=1, identify=False, n_init=2, tol=1e-6)
    assert_same(plain, in_memory["plain"], 1e-6)


def test_sums_maps_and_regions_are_those_in_memory(opened, phantom):
    whole = phantom.spectrum_image
    region = phantom.mask("Fp")
    assert (opened.total, opened.density) == (whole.total, whole.density)
    np.testing.assert_array_equal(opened.sum_spectrum(), whole.sum_spectrum())
    np.testing.assert_array_equal(opened.total_map(), whole.total_map())
    opened.total_map()[:] = 0  # a copy, as of a map in memory
    np.testing.assert_array_equal(opened.total_map(), whole.total_map())
    np.testing.assert_array_equal(opened.window_map(1.2, 1.4), whole.window_map(1.2, 1.4))
    ours, theirs = opened.without_zero_peak(), whole.without_zero_peak()
    assert ours.notes == theirs.notes
    assert ours.axis == theirs.axis
    found, expected = siftem.integrate(ours, region), siftem.integrate(theirs, region)
    np.testing.assert_array_equal(found.values, expected.values)
    rows = np.array([5, 1900, 17, 40])
    np.testing.assert_array_equal(ours.counts[rows].toarray(), theirs.counts[rows].toarray())
    weights = np.random.default_rng(0).random((theirs.n_channels, 2))
    np.testing.assert_allclose(ours.counts @ weights, theirs.counts @ weights, rtol=1e-12)


def test_unmixing_is_that_in_memory(stored, phantom):
    regions = siftem.Regions(
        (40, 48), matrix="Brg", masks={n: phantom.mask(n) for n in ("Fp", "Ca-Pv")}
    )
    anchors = {"Fp": siftem.Absent("Si"), "Ca-Pv": siftem.KnownRatio("Mg", "Ca", 0.03, 0.02)}
    options = {"elements": ["O", "Mg", "Al", "Si", "Ca", "Fe"], "support": ["Cu"]}
    whole = siftem.unmix(phantom.spectrum_image, regions, anchors=anchors, **options)
    with siftem.open_map(stored, scheduler="synchronous") as si:
        found = siftem.unmix(si, regions, anchors=anchors, **options)
    for name, spectrum in whole.spectra.items():
        np.testing.assert_allclose(
            found.spectra[name].values, spectrum.values, rtol=1e-6, atol=1e-9
        )


def test_the_number_of_components_is_chosen_from_disk(stored, phantom):
    options = {"candidates": (2, 3, 4), "folds": 2}
    whole = siftem.choose_n_components(phantom.spectrum_image, **options)
    with siftem.open_map(stored, scheduler="synchronous") as si:
        found = siftem.choose_n_components(si, **options)
    assert found.n_components == whole.n_components
    np.testing.assert_allclose(found.deviances, whole.deviances, rtol=1e-6)


def test_a_worker_killed_in_the_middle_only_costs_time(stored, in_memory, client):
    seen = []

    def kill_once(step, fraction):
        seen.append(fraction)
        if len(seen) == 5:
            pids = client.run(os.getpid)
            os.kill(next(iter(pids.values())), signal.SIGKILL)

    with siftem.open_map(stored, scheduler=client) as si:
        found = siftem.decompose(si, 3, random_state=1, progress=kill_once)
    assert len(seen) > 5
    assert_same(found, in_memory["identified"], 1e-6)


def test_a_worker_killed_while_it_works_only_costs_time(client):
    """Here the kill surely hits tasks that are running, and some that are done."""
    pids = list(client.run(os.getpid).values())
    work = DaskBlocks(client)
    killer = threading.Timer(0.6, os.kill, (pids[0], signal.SIGKILL))
    killer.start()
    total = work.total(slow_square, list(range(24)))
    killer.join()
    assert total == (sum(i * i for i in range(24)), 24)


def slow_square(i):
    time.sleep(0.1)
    return i * i, 1


def deadly(i):
    os.kill(os.getpid(), signal.SIGKILL)
    return (i,)


def test_a_block_that_kills_every_worker_is_told_in_one_sentence(client):
    with pytest.raises(SiftemError, match="made several workers die"):
        DaskBlocks(client).total(deadly, [1])


@pytest.mark.parametrize("number", [1, 7, 8, 9, 64, 65, 513, 600])
def test_sums_are_added_in_one_order(number):
    rng = np.random.default_rng(number)
    values = (10.0 ** rng.uniform(-8, 8, number)).tolist()
    expected = add_in_order(iter([(v, 1) for v in values]), number)
    assert expected[0] == pytest.approx(sum(values), rel=1e-12)
    assert expected[1] == number
    assert InTurn().total(as_sums, values) == expected
    for n_workers in (1, 3):
        with DaskBlocks("threads", n_workers=n_workers) as work:
            assert work.total(as_sums, values) == expected
    with DaskBlocks("threads", n_workers=3) as work:
        assert list(work.each(as_sums, values)) == [(v, 1) for v in values]


@pytest.mark.parametrize(
    ("number", "workers", "expected"),
    [(1, 1, 1), (63, 1, 1), (64, 1, 8), (100, 2, 1), (511, 1, 8), (512, 1, 64), (6200, 64, 8)],
)
def test_blocks_are_grouped_so_that_tasks_stay_few_and_even(number, workers, expected):
    assert open_map._blocks_a_task(number, workers) == expected


def as_sums(value):
    return value, 1


def test_unusable_schedulers_are_refused(stored, monkeypatch):
    monkeypatch.setattr("siftem.large.open_map.ANSWER_WITHIN", "1s")
    with (
        pytest.raises(InputError, match="scheduler must be"),
        siftem.open_map(stored, scheduler="slurm"),
    ):
        pass
    with (
        pytest.raises(InputError, match="no Dask scheduler answers"),
        siftem.open_map(stored, scheduler="tcp://127.0.0.1:1"),
    ):
        pass
    with pytest.raises(InputError, match="n_workers"):
        DaskBlocks(n_workers=0)


def test_what_needs_the_whole_map_says_so(stored):
    with siftem.open_map(stored, scheduler="synchronous") as si:
        support = np.ones((si.n_pixels, 3), bool)
        support[0, 0] = False
        with pytest.raises(InputError, match="load the map whole"):
            siftem.PoissonNMF(3, map_shape=si.shape, support=support).fit(si.counts)
        with pytest.raises(InputError, match="needs map_shape"):
            siftem.PoissonNMF(3).fit(si.counts)
        with pytest.raises(InputError, match="counts that stay on disk take"):
            si.counts[3:5]
