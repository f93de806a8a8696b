"""Sparse arrays that contradict themselves are refused at the door, in one sentence."""

import numpy as np
import pytest
import scipy.sparse as sp

import siftem
from siftem import InputError, PoissonNMF, SpectrumImage
from siftem.sparse_rows import checked_rows

SHAPE = (6, 5)


def good(kind="csr"):
    dense = np.random.default_rng(0).poisson(2.0, SHAPE).astype(float)
    return getattr(sp, f"{kind}_array")(dense)


def spoiled(kind, attribute, at, value):
    x = good(kind)
    changed = getattr(x, attribute).copy()
    changed[at] = value
    if kind == "coo":
        setattr(x, attribute, changed)
    else:
        getattr(x, attribute)[at] = value
    return x


def longer(kind):
    x = good(kind)
    x.data = x.data[:-2]
    return x


def fewer_starts():
    x = good()
    x.indptr = x.indptr[:-1]
    return x


def of_floats():
    x = good()
    x.indices = x.indices.astype(float)
    return x


HUGE = 2**30
BAD = {
    "csr channel beyond": lambda: spoiled("csr", "indices", 3, SHAPE[1]),
    "csr channel far beyond": lambda: spoiled("csr", "indices", 3, HUGE),
    "csr channel negative": lambda: spoiled("csr", "indices", 0, -1),
    "csr channel far negative": lambda: spoiled("csr", "indices", 0, -HUGE),
    "csr starts fall": lambda: spoiled("csr", "indptr", 2, 20),
    "csr starts negative": lambda: spoiled("csr", "indptr", 1, -5),
    "csr first start": lambda: spoiled("csr", "indptr", 0, 1),
    "csr last start": lambda: spoiled("csr", "indptr", -1, HUGE),
    "csr fewer values": lambda: longer("csr"),
    "csr fewer starts": fewer_starts,
    "csr of floats": of_floats,
    "csc row beyond": lambda: spoiled("csc", "indices", 3, SHAPE[0]),
    "csc row far beyond": lambda: spoiled("csc", "indices", 3, HUGE),
    "csc starts": lambda: spoiled("csc", "indptr", -1, HUGE),
    "coo row": lambda: spoiled("coo", "row", 2, HUGE),
    "coo column": lambda: spoiled("coo", "col", 2, -HUGE),
    "bsr": lambda: spoiled("bsr", "indices", 0, HUGE),
}


def fitted():
    return PoissonNMF(2, max_iter=1000).fit(good())


DOORS = {
    "checked_rows": checked_rows,
    "SpectrumImage": lambda x: SpectrumImage(x, (2, 3), siftem.EnergyAxis(0, 0.01, SHAPE[1])),
    "fit": lambda x: PoissonNMF(2).fit(x),
    "transform": lambda x: fitted().transform(x),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", BAD)
def test_what_compiled_code_would_follow_out_of_bounds_is_refused(door, case):
    with pytest.raises(InputError, match=r"contradicts itself, with .*: make it anew"):
        DOORS[door](BAD[case]())


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr", "lil", "dok", "dia"])
def test_good_arrays_of_all_kinds_pass(kind):
    expected = good().toarray()
    np.testing.assert_array_equal(checked_rows(good(kind)).toarray(), expected)
    image = DOORS["SpectrumImage"](good(kind))
    np.testing.assert_array_equal(image.counts.toarray(), expected)
    DOORS["fit"](good(kind))


def test_a_good_array_is_not_copied():
    x = good()
    assert np.shares_memory(checked_rows(x).data, x.data)
    assert np.shares_memory(checked_rows(x).indices, x.indices)


def test_values_that_no_row_uses_do_not_count():
    x = good()
    x.data = np.append(x.data, [1000.0])
    x.indices = np.append(x.indices, [-7])
    image = DOORS["SpectrumImage"](x)
    assert image.total == good().sum()
    assert image.counts.data.max() < 1000
    np.testing.assert_array_equal(PoissonNMF(2).fit(x).components_, fitted().components_)


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (good().astype(complex), "real numbers"),
        (np.full(SHAPE, "a"), "real numbers"),
        (np.full(SHAPE, None), "real numbers"),
        ("counts.hspy", "real numbers"),
        (np.ones((2, 3, 5)), "table of pixels and channels, got 3 axes"),
        (np.ones(5), "got 1 axes"),
    ],
    ids=["complex", "text", "objects", "a name", "a cube", "a spectrum"],
)
def test_what_is_no_table_of_numbers_is_said_so(table, match):
    with pytest.raises(InputError, match=match):
        DOORS["SpectrumImage"](table)
