"""Runs without options on a map, and on the same map changed in ways that change no phase.

    python -m validation.metamorphic FOLDER [--maps core_shell,P45_12] [--changes half_a,crop_a]
        [--out runs]

FOLDER holds real maps; nobody knows their truth, but a tenth of the counts, a crop or a transposed
scan must not tell other phases. Each change is run as a user runs it, phases are matched one to
one by the pixels that they share, and told are: agreement of labels where both label, phases that
only one of the runs has, other names, and quantities whose 95% intervals don't overlap. What is
told of a phase by a doubt is marked. With ``--out`` each run's summary and labels are kept, and
are not computed again.
"""

from __future__ import annotations

import argparse
import json
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

import siftem
from siftem import signals
from siftem.pipeline.summary import summarize

#: Half of the central 95% of a normal distribution, in standard deviations.
HALF_95 = 1.96
#: Pixels on each side of a frame without specimen, and counts a pixel in it.
FRAME, STRAY = 6, 0.2
#: Phases that share less of the smaller one's pixels are not the same.
SHARED = 0.5

#: A changed signal, and the pixel of the old map that each of the new one shows (-1: none).
Changed = tuple[Any, np.ndarray]
Change = Callable[[Any, np.ndarray, np.random.Generator], Changed]


def _like(signal: Any, cube: np.ndarray) -> Any:
    return signal._deepcopy_with_new_data(np.ascontiguousarray(cube))


def _thinned(share: float, draw: int) -> Change:
    def change(signal: Any, pixels: np.ndarray, rng: np.random.Generator) -> Changed:
        kept = np.random.default_rng(draw // 2).binomial(signal.data, share)
        other = signal.data - kept if draw % 2 else kept
        return _like(signal, other.astype(signal.data.dtype)), pixels

    return change


def _moved(move: Callable[[np.ndarray], np.ndarray]) -> Change:
    def change(signal: Any, pixels: np.ndarray, rng: np.random.Generator) -> Changed:
        moved = _like(signal, move(signal.data))
        moved.get_dimensions_from_data()
        return moved, move(pixels)

    return change


def _pairs(signal: Any, pixels: np.ndarray, rng: np.random.Generator) -> Changed:
    return signal.rebin(scale=[1, 1, 2]), pixels


def _binned(signal: Any, pixels: np.ndarray, rng: np.random.Generator) -> Changed:
    ny, nx = (2 * (n // 2) for n in pixels.shape)
    return signal.inav[:nx, :ny].rebin(scale=[2, 2, 1]), pixels[:ny:2, :nx:2]


def _scaled(signal: Any, pixels: np.ndarray, rng: np.random.Generator) -> Changed:
    return _like(signal, 3 * signal.data.astype(np.int64)), pixels


def _in_ev(signal: Any, pixels: np.ndarray, rng: np.random.Generator) -> Changed:
    changed = signal.deepcopy()
    axis = changed.axes_manager[-1]
    factor, unit = (1000, "eV") if str(axis.units) != "eV" else (0.001, "keV")
    axis.offset, axis.scale, axis.units = factor * axis.offset, factor * axis.scale, unit
    return changed, pixels


def _blanked(signal: Any, pixels: np.ndarray, rng: np.random.Generator) -> Changed:
    cube, shown = signal.data.copy(), pixels.copy()
    start = 2 * len(cube) // 3
    cube[start : start + 3], shown[start : start + 3] = 0, -1
    return _like(signal, cube), shown


def _framed(signal: Any, pixels: np.ndarray, rng: np.random.Generator) -> Changed:
    cube = np.pad(signal.data, ((FRAME, FRAME), (FRAME, FRAME), (0, 0)))
    shown = np.pad(pixels, FRAME, constant_values=-1)
    there = signal.data.sum(axis=(0, 1), dtype=float)
    cube[shown < 0] = rng.poisson(STRAY * there / there.sum(), (np.sum(shown < 0), there.size))
    framed = _like(signal, cube)
    framed.get_dimensions_from_data()
    return framed, shown


def _listed(elements: Callable[[list[str]], list[str]]) -> Change:
    def change(signal: Any, pixels: np.ndarray, rng: np.random.Generator) -> Changed:
        changed = signal.deepcopy()
        told = changed.metadata.get_item("Sample.elements")
        listed = elements([] if told is None else [str(e) for e in told])
        changed.metadata.set_item("Sample.elements", listed)
        return changed, pixels

    return change


def _crop(ys: slice, xs: slice) -> Callable[[np.ndarray], np.ndarray]:
    def crop(cube: np.ndarray) -> np.ndarray:
        ny, nx = cube.shape[:2]
        return cube[_of(ys, ny), _of(xs, nx)]

    return crop


def _of(part: slice, size: int) -> slice:
    return slice(*(round(e * size) for e in (part.start, part.stop)))


CHANGES: dict[str, Change] = {
    "same": lambda signal, pixels, rng: (signal, pixels),
    "half_a": _thinned(0.5, 0),
    "half_b": _thinned(0.5, 1),
    "tenth": _thinned(0.1, 2),
    "pairs": _pairs,
    "transposed": _moved(lambda cube: np.swapaxes(cube, 0, 1)),
    "turned": _moved(lambda cube: np.rot90(cube)),
    "crop_a": _moved(_crop(slice(0, 0.87), slice(0, 0.87))),
    "crop_b": _moved(_crop(slice(0.13, 1), slice(0.13, 1))),
    "binned": _binned,
    "reordered": _listed(lambda told: told[::-1]),
    "unlisted": _listed(lambda told: []),
    "scaled": _scaled,
    "in_ev": _in_ev,
    "blanked": _blanked,
    "framed": _framed,
}


def run(signal: Any) -> tuple[dict[str, Any], np.ndarray]:
    """Run a signal without options; its summary, and the labels with their phases' names in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = signals.run(signal, decompose={"components": "auto"})
    summary = json.loads(json.dumps(summarize(found), default=float))
    summary["labels_of"] = list(found.phase_map.names) if found.phase_map else []
    labels = np.asarray(found.phase_map.labels) if found.phase_map else np.zeros((0, 0), int)
    return summary, labels


def quantities(phase: dict[str, Any]) -> dict[str, tuple[float, float, float]]:
    """What was measured of a phase: value and 95% interval by name."""
    out = {
        f"{e} at%": (d["at_percent"], *d["at_interval_95"])
        for e, d in phase.get("elements", {}).items()
        if d["at_interval_95"] is not None and None not in d["at_interval_95"]
    }
    for kind in ("line_ratios", "elemental_ratios"):
        for name, d in (phase.get(kind) or {}).items():
            wide = HALF_95 * np.hypot(d["sigma"], d.get("systematic") or 0.0)
            out[name] = (d["value"], d["value"] - wide, d["value"] + wide)
    return out


def matched(one: np.ndarray, other: np.ndarray) -> tuple[dict[int, int], float]:
    """Match labels one to one by shared pixels; the pairs, and percent alike where both label."""
    both = (one >= 0) & (other >= 0)
    shared = np.zeros((one.max(initial=-1) + 1, other.max(initial=-1) + 1), int)
    np.add.at(shared, (one[both], other[both]), 1)
    rows, columns = linear_sum_assignment(-shared)
    smaller = np.minimum(shared.sum(axis=1)[rows], shared.sum(axis=0)[columns])
    kept = shared[rows, columns] > SHARED * np.maximum(smaller, 1)
    pairs = {int(r): int(c) for r, c in zip(rows[kept], columns[kept], strict=True)}
    return pairs, float(100 * shared[rows, columns].sum() / max(both.sum(), 1))


def differences(
    base: tuple[dict[str, Any], np.ndarray],
    changed: tuple[dict[str, Any], np.ndarray],
    pixels: np.ndarray,
) -> list[str]:
    """What a changed map's run says otherwise than the map's own, in one line each."""
    (summary, labels), (other, found) = base, changed
    seen = np.where(pixels >= 0, labels.ravel()[np.maximum(pixels, 0)], -1)
    pairs, alike = matched(seen, found)
    names, others = summary["labels_of"], other["labels_of"]
    lines = [f"{alike:.1f}% of labels alike"]
    if (summary.get("layout") or {}).get("kind") != (other.get("layout") or {}).get("kind"):
        both = (s["layout"] and s["layout"]["kind"] for s in (summary, other))
        lines.append("layout {} -> {}".format(*both))
    for which, mine, theirs, told in (
        ("lost", range(len(names)), pairs, (names, seen)),
        ("new", range(len(others)), pairs.values(), (others, found)),
    ):
        for i in mine:
            if i not in theirs and np.any(told[1] == i):
                lines.append(f"{which}: {told[0][i]} ({np.count_nonzero(told[1] == i)} pixels)")
    for i, j in pairs.items():
        mine, theirs = summary["phases"].get(names[i], {}), other["phases"].get(others[j], {})
        doubts = (*summary["doubts"], *other["doubts"])
        mark = " (doubted)" if any(names[i] in w or others[j] in w for w in doubts) else ""
        if names[i].split(" ", 1)[-1] != others[j].split(" ", 1)[-1]:
            lines.append(f"{names[i]} is {others[j]}")
        best = [(p.get("identified") or {}).get("best") for p in (mine, theirs)]
        if best[0] != best[1]:
            lines.append(f"{names[i]}: identified as {best[0]}, {best[1]}")
        a, b = quantities(mine), quantities(theirs)
        for q in sorted(a.keys() & b.keys()):
            if a[q][1] > b[q][2] + 1e-9 or b[q][1] > a[q][2] + 1e-9:
                lines.append(
                    f"{names[i]}: {q} {a[q][0]:.4g} [{a[q][1]:.4g}, {a[q][2]:.4g}] -> "
                    f"{b[q][0]:.4g} [{b[q][1]:.4g}, {b[q][2]:.4g}]{mark}"
                )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--maps", default="", help="beginnings of names, separated by commas")
    parser.add_argument("--changes", default=",".join(CHANGES))
    parser.add_argument("--out", type=Path, help="folder of what is kept")
    args = parser.parse_args()
    for path in sorted(args.folder.iterdir()):
        if path.suffix == ".md" or not path.name.startswith(tuple(args.maps.split(","))):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = siftem.load(path)
            signal = siftem.to_hyperspy(replace(loaded, notes=(), doubts=()))
            if signal._lazy:
                signal.compute(progressbar=False)
        grid = np.arange(loaded.n_pixels).reshape(loaded.shape)
        done = {}
        for name in dict.fromkeys(("same", *args.changes.split(","))):
            kept = args.out and args.out / f"{path.stem}-{name}"
            start = time.perf_counter()
            try:
                changed, pixels = CHANGES[name](signal, grid, np.random.default_rng(0))
                if kept and kept.with_suffix(".npy").exists():
                    summary = json.loads(kept.with_suffix(".json").read_text())
                    done[name] = summary, np.load(kept.with_suffix(".npy"))
                else:
                    done[name] = run(changed)
                    if kept:
                        kept.parent.mkdir(exist_ok=True)
                        kept.with_suffix(".json").write_text(json.dumps(done[name][0]))
                        np.save(kept.with_suffix(".npy"), done[name][1])
            except Exception:  # a traceback is a result, too
                print(f"{path.stem}, {name}: {traceback.format_exc()}", flush=True)
                continue
            lines = differences(done["same"], done[name], pixels)
            print(f"{path.stem}, {name} ({time.perf_counter() - start:.0f} s): {lines[0]}")
            print("".join(f"    {line}\n" for line in lines[1:]), end="", flush=True)


if __name__ == "__main__":
    main()
