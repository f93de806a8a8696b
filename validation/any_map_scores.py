"""How well what a run found agrees with what a phantom holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

#: Half of the central 95% of a normal distribution, in standard deviations.
HALF_95 = 1.96
#: A deviation from an interval without width.
NO_WIDTH = 999.0


def angle(a: np.ndarray, b: np.ndarray) -> float:
    """Angle between two spectra, degrees; 90 for one that is zero."""
    size = np.linalg.norm(a) * np.linalg.norm(b)
    return 90.0 if size == 0 else float(np.degrees(np.arccos(np.clip(a @ b / size, -1, 1))))


def angles(found: Sequence[np.ndarray], true: np.ndarray) -> np.ndarray:
    """Angles of every found spectrum to every true one; (found, true)."""
    return np.array([[angle(f, t) for t in true] for f in found]).reshape(len(found), len(true))


def matched(found: Sequence[np.ndarray], true: np.ndarray) -> dict[int, int]:
    """Pairs of true and found spectra, one to one, with the least sum of angles.

    Returns
    -------
    dict
        Index of the true spectrum -> index of the found one.
    """
    rows, columns = linear_sum_assignment(angles(found, true))
    return {int(t): int(f) for f, t in zip(rows, columns, strict=True)}


def overlap(found: np.ndarray, true: np.ndarray) -> float:
    """Intersection over union of two masks."""
    union = np.count_nonzero(found | true)
    return float(np.count_nonzero(found & true) / union) if union else 1.0


def agreement(found: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Share of pixels with the same label, and of those labelled, where the truth has one.

    Parameters
    ----------
    found, true : ndarray of shape (ny, nx), int
        Index of the true phase; negative where there is none.

    Returns
    -------
    tuple of float
        Percent that agrees where both label, percent that is labelled where the truth is;
        NaN where there is nothing.
    """
    both, there = (found >= 0) & (true >= 0), true >= 0
    right = 100 * np.mean(found[both] == true[both]) if both.any() else np.nan
    done = 100 * np.count_nonzero(both) / np.count_nonzero(there) if there.any() else np.nan
    return float(right), float(done)


def true_percent(material: Mapping[str, float], elements: Sequence[str]) -> dict[str, float]:
    """Atomic percent of a material among the elements that were quantified."""
    whole = sum(material.get(e, 0.0) for e in elements)
    return {e: 100 * material.get(e, 0.0) / whole if whole else np.nan for e in elements}


def pull(value: float, truth: float, interval: tuple[float, float]) -> float:
    """Deviation from the truth in standard deviations, as the side of the interval tells them.

    An interval need not lie evenly around its value. Where the truth lies on the side of an end
    at the value itself, the deviation is `NO_WIDTH`.
    """
    off = value - truth
    width = (value - interval[0]) if off > 0 else (interval[1] - value)
    if abs(off) < 1e-9:
        return 0.0
    if width <= 1e-9:
        return float(np.sign(off)) * NO_WIDTH
    return float(np.clip(HALF_95 * off / width, -NO_WIDTH, NO_WIDTH))


def interval_of(entry: Mapping[str, Any]) -> tuple[float, float]:
    """The 95% interval of an element in ``summary.json``, atomic percent."""
    given = entry.get("at_interval_95")
    if given is not None:
        low, high = (np.nan if v is None else float(v) for v in given)
        return low, high
    wide = 2 * float(np.hypot(entry["at_sigma"] or 0.0, entry["at_systematic"] or 0.0))
    return entry["at_percent"] - wide, entry["at_percent"] + wide


def elements_of(
    entries: Mapping[str, Mapping[str, Any]], material: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Compare the elements of one phase with the truth.

    Parameters
    ----------
    entries : mapping
        ``phases.NAME.elements`` of ``summary.json``.
    material : mapping
        True atomic percent.

    Returns
    -------
    list of dict
        element, value, truth, low, high, width, pull, held, and whether an element that is not
        there is called found; none for a phase that has none of
        the elements.
    """
    truth = true_percent(material, list(entries))
    rows = []
    for element, entry in entries.items():
        if not np.isfinite(truth[element]):
            continue
        if entry["at_percent"] is None:
            rows.append(
                {"element": element, "truth": truth[element], "held": False, "false": False}
            )
            continue
        low, high = interval_of(entry)
        value = float(entry["at_percent"])
        rows.append(
            {
                "element": element,
                "value": value,
                "truth": truth[element],
                "low": low,
                "high": high,
                "width": high - low,
                "pull": pull(value, truth[element], (low, high)),
                # A fraction that is bounded by zero or by the whole is held at that bound.
                "false": bool(entry.get("found")) and truth[element] == 0,
                "held": bool(low - 1e-6 <= truth[element] <= high + 1e-6),
            }
        )
    return rows


def pooled(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Coverage in percent, median width, and the largest pull of many elements."""
    if not rows:
        return {"n": 0, "coverage": np.nan, "median_width": np.nan, "largest_pull": np.nan}
    pulls = [abs(r.get("pull", NO_WIDTH)) for r in rows]
    return {
        "n": len(rows),
        "coverage": 100 * float(np.mean([r["held"] for r in rows])),
        "median_width": float(np.median([r.get("width", np.nan) for r in rows])),
        "largest_pull": float(max(pulls)),
    }
