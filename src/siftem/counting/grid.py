"""The step of which all values of a map are whole multiples: what one count was written as."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

#: Values that are looked at first; most maps are told by them.
_FIRST = 20_000
#: Fewer values than this tell nothing.
_FEWEST = 50
#: A multiple may miss a whole number by this much. By chance, n values all do so with a
#: probability of (2 * 0.02)^n.
_MISS = 0.02
#: Relative rounding of a stored value: float32, after a division or two.
_ROUNDING = 4e-7
#: The smallest distinct values, of which the step is made; larger ones bear more rounding.
_DISTINCT = 500
#: Rows that decide whether each row has a step of its own.
_ROWS = 400
#: Non-zero values of a row that let it speak.
_ROW_VALUES = 6
#: Of those rows, as many must have a step.
_MOST_ROWS = 0.99


def common_step(values: np.ndarray, *, fewest: int = _FEWEST) -> float:
    """Return the largest step of which all values are whole multiples.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Positive; integer or float. Rounding of single precision is allowed for.
    fewest : int
        Values that are needed.

    Returns
    -------
    float
        1 for plain counts; 100 for counts that were multiplied by it; 1/16 for the mean of 16
        frames. 0 when there is none (interpolated or smoothed values), or too few values.
    """
    if values.size < fewest:
        return 0.0
    first = values[:: max(1, values.size // _FIRST)]
    if values.dtype.kind in "iu":
        divisor = int(np.gcd.reduce(first))
        return float(divisor if divisor == 1 else np.gcd.reduce(values))
    step = _real_step(np.unique(first.astype(np.float64)))
    for _ in range(2):
        if step == 0.0:
            return 0.0
        # Small multiples hardly suffer from rounding: they tell the step of the large ones.
        multiples = np.rint(values / step)
        step = float(values @ multiples / (multiples @ multiples))
    multiples = values / step
    missed = np.abs(multiples - np.rint(multiples))
    return step if (missed <= _MISS + _ROUNDING * multiples).all() else 0.0


def row_steps(counts: sp.csr_array) -> np.ndarray | None:
    """Return the step of each row, when rows have steps of their own.

    So it is where each pixel was divided by its own sum, live time or current.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (pixels, channels)

    Returns
    -------
    ndarray of shape (pixels,) or None
        1 for empty rows; None when not nearly all rows have a step.
    """
    filled = np.flatnonzero(np.diff(counts.indptr) >= _ROW_VALUES)
    if filled.size < _FEWEST:
        return None
    some = filled[:: max(1, filled.size // _ROWS)]
    values = [_row(counts, int(i)) for i in some]
    # Rows whose values are all the same would fit any step: they say nothing.
    told = [v for v in values if v.max() > 1.5 * v.min()]
    steps = np.array([common_step(v, fewest=_ROW_VALUES) for v in told])
    if steps.size < _FEWEST or (steps > 0).mean() < _MOST_ROWS:
        return None
    out = np.ones(counts.shape[0])
    for i in np.flatnonzero(np.diff(counts.indptr)):
        row = _row(counts, int(i))
        out[i] = common_step(row, fewest=1) or row.min()
    return out


def _row(counts: sp.csr_array, i: int) -> np.ndarray:
    return np.asarray(counts.data[counts.indptr[i] : counts.indptr[i + 1]])


def _real_step(values: np.ndarray) -> float:
    """Greatest common divisor of sorted distinct reals; 0 when it drowns in rounding."""
    step = float(values[0])
    for value in values[1:_DISTINCT]:
        rounding = 4 * _ROUNDING * float(value)
        larger = float(value)
        while step > rounding:  # Euclid
            larger, step = step, abs(larger - step * round(larger / step))
        step = larger
        if step <= 50 * rounding:
            return 0.0
    return step
