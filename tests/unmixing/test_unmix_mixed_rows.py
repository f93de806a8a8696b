"""Sums over mixed pixels, part by part, are those over all of them at once."""

import numpy as np
import pytest
import scipy.sparse as sp

import siftem
from siftem.large.sparse_writer import write_sparse_file
from siftem.unmixing import pixel_sets
from siftem.unmixing.pixel_sets import MixedRows


@pytest.fixture(scope="module")
def phantom():
    return siftem.simulate_demo((20, 24), channels=700, dose=80, random_state=1)


@pytest.fixture(scope="module")
def case(phantom):
    """Pixels of which some are empty, spectra, allowed phases, and a spectrum for the last row."""
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(480, 200, replace=False))
    allowed = np.ones((201, 3), np.uint8)
    allowed[::3, 1] = allowed[1::4, 2] = 0
    # No channel may be impossible.
    spectra = np.ascontiguousarray(np.maximum(phantom.spectra.T, 1e-9))
    last = np.asarray(phantom.spectrum_image.counts.sum(axis=0), float).ravel()
    return rows, spectra, allowed, last


def held(counts, case):
    rows, spectra, allowed, last = case
    mixed = MixedRows.of(counts, rows, last)
    maps = np.full(allowed.shape, 5.0)
    group = np.arange(201) % 7 - 1
    likelihood = mixed.solve(spectra, allowed, maps)
    return mixed, likelihood, maps, mixed.ratios(spectra, maps), mixed.summed(group, 8)


def test_parts_make_no_difference(phantom, case, monkeypatch):
    counts = phantom.spectrum_image.counts
    one, *expected = held(counts, case)
    assert len(one.parts) == 2  # all pixels, and the last row
    monkeypatch.setattr(pixel_sets, "_ENTRIES", 700)
    many, *found = held(counts, case)
    assert len(many.parts) > 10
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_the_disk_makes_no_difference(phantom, case, scheduler, tmp_path):
    path = write_sparse_file(phantom.spectrum_image, tmp_path / "map.sift", entries_per_block=5_000)
    _, *expected = held(phantom.spectrum_image.counts, case)
    with siftem.open_map(path, scheduler=scheduler, n_jobs=2) as si:
        mixed, *found = held(si.counts, case)
    assert len(mixed.parts) > 4
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_sums_are_those_of_the_dense_counts(phantom, case):
    rows, spectra, _, last = case
    mixed, _, maps, ratios, sums = held(phantom.spectrum_image.counts, case)
    dense = np.vstack([phantom.spectrum_image.counts[rows].toarray(), last])
    assert mixed.shape == dense.shape
    for g in range(6):
        np.testing.assert_array_equal(sums[g], dense[np.arange(201) % 7 == g + 1].sum(axis=0))
    assert not sums[6:].any()
    mean = maps @ spectra.T
    quotient = np.divide(dense, mean, out=np.zeros_like(dense), where=dense > 0)
    np.testing.assert_allclose(ratios, quotient.T @ maps, rtol=1e-9)


def test_without_mixed_pixels_the_last_row_is_left(phantom, case):
    _, spectra, _, last = case
    for counts in (phantom.spectrum_image.counts, sp.csr_array((480, 700))):
        mixed = MixedRows.of(counts, np.zeros(0, np.int64), last)
        assert mixed.shape == (1, 700)
        maps = np.ones((1, 3))
        mixed.solve(spectra, np.ones((1, 3), np.uint8), maps)
        assert maps.sum() == pytest.approx(last.sum(), rel=1e-6)
