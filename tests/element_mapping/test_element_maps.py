"""Maps of line families, against maps whose counts of each line are known."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp

import siftem
from siftem.acquisition import Acquisition
from siftem.element_map_kernels import fit_pixels
from siftem.element_mapping import element_maps
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError, SiftemWarning
from siftem.large.sparse_writer import write_sparse_file
from siftem.spectrum_image import SpectrumImage

AXIS = EnergyAxis(0.905, 0.01, 600)
#: Energies (keV) and shares of the lines of K families (Bearden 1967; Scofield 1974).
LINES = {
    "Mg": ((1.2536, 1.0),),
    "Al": ((1.4867, 0.987), (1.554, 0.013)),
    "Si": ((1.7398, 0.973), (1.8359, 0.027)),
    "Ca": ((3.6906, 0.888), (4.0127, 0.112)),
}
#: Part of the counts in each family, in the left and right half of a map; the rest is continuum.
SHARES = {"Mg": (0.30, 0.02), "Al": (0.02, 0.10), "Si": (0.25, 0.30), "Ca": (0.002, 0.15)}
SIDE = 40
HALVES = (slice(None, SIDE // 2), slice(SIDE // 2, None))


def family(element):
    """Gaussians as wide as Fiori & Newbury 1978 have them with 130 eV at Mn Ka; sum one."""
    shape = np.zeros(AXIS.size)
    for energy, share in LINES[element]:
        sigma = np.sqrt(2.5e-3 * (energy - 5.89875) + 0.130**2) / 2.35482
        shape += share * np.exp(-0.5 * ((AXIS.centers - energy) / sigma) ** 2) / sigma
    return shape / shape.sum()


def simulated(dose, seed=0):
    """A map of two halves with ``dose`` counts a pixel; drawn by numpy alone."""
    continuum = np.exp(-AXIS.centers / 3) / AXIS.centers
    continuum /= continuum.sum()
    mean = []
    for half in range(2):
        parts = {e: SHARES[e][half] for e in LINES}
        lines = sum(share * family(e) for e, share in parts.items())
        mean.append(dose * (lines + (1 - sum(parts.values())) * continuum))
    rows = np.tile(np.repeat(mean, SIDE // 2, axis=0), (SIDE, 1))
    counts = np.random.default_rng(seed).poisson(rows).astype(np.uint16)
    about = Acquisition(beam_energy=200.0, elements=tuple(LINES))
    return SpectrumImage(sp.csr_array(counts), (SIDE, SIDE), AXIS, acquisition=about)


@pytest.fixture(scope="module")
def maps():
    """Maps of 100 counts a pixel with amounts that can't be negative."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SiftemWarning)
        return element_maps(simulated(100))


@pytest.mark.parametrize("dose", [1, 10, 100, 1000])
def test_signed_amounts_are_unbiased_and_their_errors_true(dose):
    maps = element_maps(simulated(dose, seed=dose), nonnegative=False)
    for element in LINES:
        at = maps.index(element)
        for half, columns in enumerate(HALVES):
            truth = dose * SHARES[element][half]
            off = maps.counts[at][:, columns] - truth
            sigma = maps.sigma[at][:, columns].astype(float)
            # Widths and ratios of lines are those of the fit to the sum: 1%.
            assert abs(off.mean()) < 4 * off.std() / np.sqrt(off.size) + 0.01 * truth
            within = [(np.abs(off) < n * sigma).mean() for n in (1, 2)]
            if truth >= 10:
                assert 0.93 < off.std() / np.sqrt(np.mean(sigma**2)) < 1.07
                assert 0.63 < within[0] < 0.73
                assert 0.92 < within[1] < 0.98
            else:  # whole numbers about a mean of a few: no interval holds 95% of them
                assert within[0] > 0.6
                assert within[1] > 0.75


def test_amounts_that_can_not_be_negative_are_off_by_little_and_explain_all_counts(maps):
    assert (maps.counts >= 0).all()
    all_counts = simulated(100).total_map()
    assert np.abs(maps.counts.sum(axis=0) / all_counts - 1).max() < 0.01
    for element in LINES:
        at = maps.index(element)
        for half, columns in enumerate(HALVES):
            off = maps.counts[at][:, columns].astype(float) - 100 * SHARES[element][half]
            assert abs((off / maps.sigma[at][:, columns]).mean()) < 0.35
            assert (np.abs(off) < 2 * maps.sigma[at][:, columns]).mean() > 0.92
    # Hardly any Ca on the left: the bound holds in most pixels.
    assert 0.4 < (maps["Ca"][:, HALVES[0]] == 0).mean() < 0.9


def test_totals_are_those_of_the_sum_of_all_pixels(maps):
    truth = [100 * SIDE**2 * np.mean(SHARES[e]) for e in LINES]
    truth = np.array([*truth, 100 * SIDE**2 - sum(truth)])
    np.testing.assert_allclose(maps.totals, truth, atol=4 * np.sqrt(2 * truth).max(), rtol=0.02)


def test_pixels_end_at_the_optimum():
    """The conditions of Karush, Kuhn and Tucker, in numpy."""
    rng = np.random.default_rng(3)
    m, k, n = 60, 6, 300
    shapes = np.exp(-0.5 * ((np.arange(m)[:, None] - rng.uniform(0, m, k)) / 3) ** 2)
    shapes[:, -1] = 1.0  # everywhere
    shapes /= shapes.sum(axis=0)
    truth = (
        rng.exponential(1.0, (n, k))
        * rng.choice([0, 1, 5, 100], (n, 1))
        * (rng.random((n, k)) > 0.5)
    )
    counts = sp.csr_array(rng.poisson(truth @ shapes.T + 0.01))
    amounts = np.full((n, k), 1.0, np.float32)
    arrays = (counts.indptr.astype(np.int64), counts.indices, counts.data.astype(float), (0, m))
    assert fit_pixels(*arrays, shapes, 0.01, k - 1, 1e-6, 100, amounts) == 0
    y, found = counts.toarray(), amounts.astype(float)
    slope = 1 - (y / (found @ shapes.T + 0.01)) @ shapes
    scale = np.sqrt(found + 1)  # what a slope means, for an amount that is off by its error
    assert (amounts >= 0).all()
    assert (amounts == 0).mean() > 0.2
    assert (slope * scale)[y.any(axis=1)].min() > -0.01
    assert np.abs((slope * scale)[found > 0]).max() < 0.01


def test_sums_that_are_off_are_told_with_what_to_do():
    with pytest.warns(SiftemWarning, match=r"don't add up \(.*nonnegative=False"):
        element_maps(simulated(10))
    with warnings.catch_warnings():
        warnings.simplefilter("error", SiftemWarning)
        element_maps(simulated(10), nonnegative=False)


def test_maps_are_found_by_element_and_family(maps):
    assert maps.elements == tuple(LINES)
    np.testing.assert_array_equal(maps["Ca"], maps["Ca K"])
    assert maps["continuum"].shape == (SIDE, SIDE)
    with pytest.raises(InputError, match="no map of 'Fe'"):
        maps["Fe"]
    assert len(repr(maps)) < 400


def test_counts_on_disk_and_threads_change_nothing(maps, tmp_path):
    si = simulated(100)
    path = write_sparse_file(si, tmp_path / "map.sift", entries_per_block=20_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SiftemWarning)
        two = element_maps(si, n_jobs=2)
        with siftem.open_map(path) as on_disk:
            disk = element_maps(on_disk)
    for found in (two, disk):
        np.testing.assert_array_equal(found.counts, maps.counts)
        np.testing.assert_array_equal(found.sigma, maps.sigma)


def test_channels_outside_the_range_do_not_count():
    si = simulated(100)
    narrow = element_maps(si, ["Ca"], energy_range=(2.5, 6.0), nonnegative=False)
    cut = element_maps(si.cropped(2.5, 6.0), ["Ca"], nonnegative=False)
    for maps in (narrow, cut):
        right = maps["Ca"][:, HALVES[1]]
        assert right.mean() == pytest.approx(15, abs=4 * 5 / np.sqrt(right.size))
    assert len(narrow.fit.mean) == 350


def test_empty_pixels_are_empty_with_an_error():
    si = simulated(100)
    rows = si.counts.tolil()
    rows[:SIDE] = 0
    si = SpectrumImage(rows.tocsr(), si.shape, si.axis, acquisition=si.acquisition)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SiftemWarning)
        maps = element_maps(si)
    assert not maps.counts[:, 0].any()
    assert (maps.sigma[:, 0] > 0).all()


def test_what_can_not_be_mapped_is_told():
    si = simulated(10)
    with pytest.raises(InputError, match="none of the elements has a line"):
        element_maps(si, ["O"])
    with pytest.raises(InputError, match="of type EELS"):
        element_maps(SpectrumImage(si.counts, si.shape, si.axis, signal_type="EELS"))
    with pytest.raises(InputError, match="beam energy is not known"):
        element_maps(SpectrumImage(si.counts, si.shape, si.axis), ["Mg"])
