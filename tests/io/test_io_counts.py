import dask.array as da
import numpy as np
import pytest
import sparse

from siftem.errors import InputError
from siftem.io.counts import CountsBuilder
from siftem.io.cube_blocks import bands, cube_blocks

ORDER = (0, 1, 2)


def build(data, order=ORDER, **options):
    shape = [data.shape[a] for a in order[-3:]]
    builder = CountsBuilder(shape[0] * shape[1], shape[2])
    for pixels, block in cube_blocks(data, order, **options):
        builder.add(pixels, block)
    return builder.result()


@pytest.fixture
def cube():
    return np.random.default_rng(1).poisson(0.2, (9, 7, 40)).astype(np.uint16)


@pytest.mark.parametrize("budget", [1, 2000, 10**8])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda a: a,
        lambda a: da.from_array(a, chunks=(4, 3, 16)),
        lambda a: da.from_array(a, chunks=(9, 7, 40)),
        lambda a: da.from_array(a, chunks=(2, 7, 40)) + 0,
        lambda a: da.from_array(sparse.COO.from_numpy(a), chunks=(4, 3, 40)),
    ],
    ids=["numpy", "dask", "one chunk", "computed", "sparse"],
)
def test_every_way_in_gives_the_same_counts(cube, wrap, budget):
    counts, notes = build(wrap(cube), budget=budget)
    np.testing.assert_array_equal(counts.toarray(), cube.reshape(63, 40))
    assert counts.dtype == np.int32
    assert counts.has_canonical_format
    assert notes == ()


def test_blocks_stay_within_the_budget_and_read_each_chunk_once(cube):
    reads = []

    class Stored:
        shape, dtype, ndim = cube.shape, cube.dtype, 3

        def __getitem__(self, index):
            reads.append(index)
            return cube[index]

    data = da.from_array(Stored(), chunks=(2, 3, 40), asarray=False, name=False)
    budget = 4 * 7 * 40 * 2  # four rows
    sizes = [block.nbytes for _, block in cube_blocks(data, ORDER, budget=budget)]
    assert max(sizes) == budget
    starts = [(i[0].start, i[1].start) for i in reads if i[0].stop > 0]
    assert len(starts) == len(set(starts)) == 5 * 3


def test_a_chunk_that_must_be_computed_is_computed_once():
    calls = []

    def work(block):
        calls.append(block.shape)
        return block

    data = da.from_array(np.ones((6, 4, 8), np.uint8), chunks=(3, 2, 8))
    data = data.map_blocks(work, meta=np.empty((0, 0, 0), np.uint8))
    calls.clear()
    build(data, budget=10)
    assert sorted(calls) == [(3, 2, 8)] * 4


def test_frames_are_summed_without_wrapping_round():
    frames = np.full((3, 2, 2, 4), 200, np.uint8)
    for data in (frames, da.from_array(frames, chunks=(1, 1, 2, 4))):
        counts, _ = build(data, (0, 1, 2, 3))
        assert (counts.toarray() == 600).all()


def test_axes_in_any_order_and_a_window_of_channels(cube):
    energy_first = np.ascontiguousarray(cube.transpose(2, 0, 1))
    counts, _ = build(energy_first, (1, 2, 0))
    np.testing.assert_array_equal(counts.toarray(), cube.reshape(63, 40))
    builder = CountsBuilder(63, 10)
    for pixels, block in cube_blocks(energy_first, (1, 2, 0), window=slice(5, 15), budget=100):
        builder.add(pixels, block)
    np.testing.assert_array_equal(builder.result()[0].toarray(), cube.reshape(63, 40)[:, 5:15])


def test_reversed_channels_are_turned_round(cube):
    flat = cube.reshape(63, 40)
    for block in (flat, sparse.COO.from_numpy(flat)):
        builder = CountsBuilder(63, 40, reverse=True)
        builder.add(np.arange(63), block)
        np.testing.assert_array_equal(builder.result()[0].toarray(), flat[:, ::-1])


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, 0, 255], np.uint8, np.int32),
        ([1, 0, 2], np.float32, np.int32),
        ([1, 0, 2**31 - 1], np.int64, np.int32),
        ([1, 0, 2**31], np.uint32, np.int64),
        ([1, 0, 2.5], np.float32, np.float64),
        ([True, False, True], np.bool_, np.int32),
    ],
)
def test_type_of_the_counts(values, dtype, expected):
    builder = CountsBuilder(1, 3)
    builder.add(np.arange(1), np.array([values], dtype))
    counts, notes = builder.result()
    assert counts.dtype == expected
    assert counts.toarray()[0].tolist() == values
    assert notes == ()


def test_bad_counts_are_counted_over_all_blocks():
    builder = CountsBuilder(2, 4)
    builder.add(np.array([0]), np.array([[1.0, np.nan, -2.0, np.inf]]))
    builder.add(np.array([1]), np.array([[-5.0, np.nan, 3.0, -np.inf]]))
    with pytest.raises(InputError, match=r"4 NaN or infinite and 2 negative \(lowest -5\)"):
        builder.result()


def test_complex_counts_are_refused():
    with pytest.raises(InputError, match="complex"):
        CountsBuilder(1, 2).add(np.arange(1), np.ones((1, 2), complex))


def test_bands_group_whole_chunks():
    assert bands((3, 3, 3, 1), 1, 6) == [(0, 6), (6, 10)]
    assert bands((10,), 1, 6) == [(0, 10)]
    assert bands((1,) * 5, 10, 25) == [(0, 2), (2, 4), (4, 5)]
