"""Sparse counts from outside: checked once, before compiled code follows their indices."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from siftem.errors import InputError


def checked_rows(x: Any) -> sp.csr_array:
    """Return sparse rows that compiled code can trust, at the cost of one pass.

    SciPy looks at the indices of a sparse array only when asked, and its own compiled code,
    like siftem's, reads or writes wherever they point.

    Parameters
    ----------
    x : sparse array, or array of shape (n, m)
        Of real numbers.

    Returns
    -------
    scipy.sparse.csr_array of shape (n, m)
        Shares the arrays of ``x`` where it can.

    Raises
    ------
    InputError
        When the numbers are not real, or the arrays of a sparse array contradict each other.
    """
    dtype = getattr(x, "dtype", None)
    if dtype is None:
        x = np.asarray(x)
        dtype = x.dtype
    if np.dtype(dtype).kind not in "uibf":
        raise InputError(f"the counts must be real numbers, got dtype {dtype}")
    if not sp.issparse(x):
        x = np.asarray(x)
    if x.ndim != 2:
        raise InputError(f"the counts must be a table of pixels and channels, got {x.ndim} axes")
    if sp.issparse(x):
        _refuse_contradictions(x)
    rows = sp.csr_array(x)
    if rows is not x and sp.issparse(x) and x.format != "csr":
        _refuse_contradictions(rows)
    end = int(rows.indptr[-1])
    if rows.data.size > end:  # room that no row uses, but that sums of all values would count
        rows = sp.csr_array((rows.data[:end], rows.indices[:end], rows.indptr), shape=rows.shape)
    return rows


def _refuse_contradictions(x: Any) -> None:
    if x.format in ("csr", "csc"):
        major, minor = x.shape if x.format == "csr" else x.shape[::-1]
        wrong = _compressed_fault(x, major, minor)
    elif x.format == "bsr":
        try:
            blocks = (x.shape[0] // x.blocksize[0], x.shape[1] // x.blocksize[1])
            wrong = _compressed_fault(x, *blocks)
        except (TypeError, ValueError, ZeroDivisionError):
            wrong = "blocks that do not fit its shape"
    elif x.format == "coo":
        wrong = ""
        for places, size in zip((x.row, x.col), x.shape, strict=True):
            if places.shape != x.data.shape:
                wrong = "places and values of different number"
            else:
                wrong = wrong or _places_fault(places, size)
    else:
        return
    if wrong:
        raise InputError(
            f"the counts are a sparse array that contradicts itself, with {wrong}: make it anew "
            "from the original data"
        )


def _compressed_fault(x: Any, major: int, minor: int) -> str:
    starts, places = x.indptr, x.indices
    if starts.shape != (major + 1,) or starts.dtype.kind not in "iu":
        return f"{starts.size} starts instead of {major + 1}"
    if places.ndim != 1 or len(x.data) != places.size:
        return f"{places.size} places for {len(x.data)} values"
    if int(starts[0]) != 0 or int(starts[-1]) > places.size or (starts[1:] < starts[:-1]).any():
        return "starts that do not rise from zero to the number of values"
    return _places_fault(places[: int(starts[-1])], minor)


def _places_fault(places: np.ndarray, size: int) -> str:
    if places.dtype.kind not in "iu":
        return f"places of type {places.dtype}"
    if places.size and not 0 <= int(places.min()) <= int(places.max()) < size:
        return f"a place beyond the {size} that there are"
    return ""
