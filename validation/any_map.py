"""The whole road on maps of every layout, by other physics than siftem's, against the truth.

    python -m validation.any_map [--layouts interface,wedge] [--doses 5,30,300,3000] [--seeds 10]
        [--size 56] [--components auto|true|K] [--unlisted] [--computed-k]
        [--standard-counts 1e6] [--processes 1] [--quick] [--out any_map.json]

Every map is run as a user runs it, ``siftem.signals.run`` with components "auto" and elements
listed, with k-factors calibrated on standards of the same instrument; ``--computed-k`` leaves
these out, ``--unlisted`` the elements. For each layout and dose the table tells how often the
layout and the number of phases were found, angles of pure spectra to the true ones, overlap of
masks and agreement of labels, and how often ``at_interval_95`` holds the truth, over all elements
of all phases. A pull above 6, or a spectrum of under 30 pixels or 1000 counts, is told when a
warning names its phase; what is said of nearly every map (`OF_ALL`) does not count. With ``--out``
all is kept as JSON, and the table as Markdown beside it.

Of grains that others overlap, ``anchored_deg`` is the angle when one element is told that the grain
lacks and its host holds; it and ``denoised_deg`` are of spectra freed from noise
(`siftem.denoised`), as those of factorisations are.

Phases are matched with the true ones by angle, one to one. The support counts for layout and
angles; its composition is left out.
"""

from __future__ import annotations

import argparse
import json
import time
import traceback
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from validation.drawn_layouts import DRAWN
from validation.foreign_k_factors import k_factors
from validation.foreign_phantoms import MIXED, Phantom, as_signal, names, phantom

from siftem.decomposition.detector_shapes import denoised
from siftem.errors import SiftemError
from siftem.pipeline.summary import summarize
from siftem.spectrum import Spectrum
from siftem.unmixing.anchors import GivenScale
from siftem.unmixing.subtract import subtract
from validation import any_map_scores as scores

#: Beyond this a deviation must be told.
LARGE_PULL = 6.0
#: A spectrum of less must come with a warning.
FEW_PIXELS, FEW_COUNTS = 30, 1000
#: Said of nearly every map: they tell of no fault in a phase's numbers.
OF_ALL = ("absorption in the film is not known", "unmixing was left out")


def run_one(job: Mapping[str, Any]) -> dict[str, Any]:
    """Simulate and run one map, and compare it with its truth; errors are part of the answer."""
    made = phantom(job["layout"], size=job["size"], seed=job["seed"])
    counts = made.counts(job["dose"], job["seed"])
    row: dict[str, Any] = {**job, "true_layouts": made.layouts, "true_phases": len(made.names)}
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = _run(made, as_signal(made, counts), job)
        row["seconds"] = time.perf_counter() - start
        row.update(compared(found, made))
    except SiftemError as error:
        row["error"] = str(error)
    except Exception as error:  # a traceback is a result, too
        row["error"] = f"{type(error).__name__}: {error}"
        row["traceback"] = traceback.format_exc()
    return row


def _run(made: Phantom, signal: Any, job: Mapping[str, Any]) -> Any:
    from siftem import signals

    components = job["components"]
    if components == "true":
        components = len(made.names)
    sections: dict[str, Any] = {"decompose": {"components": components}}
    if not job["unlisted"]:
        sections["elements"] = list(made.elements)
        sections["support"] = list(made.support_elements)
    if not job["computed_k"]:
        sections["quantify"] = {"k_factors": k_factors(made, job["standard_counts"])}
    return signals.run(signal, **sections)


def compared(found: Any, made: Phantom) -> dict[str, Any]:
    """Compare the result of a run with the phantom it was made from.

    Parameters
    ----------
    found : RunResult
    made : Phantom
    """
    summary = summarize(found)
    axis = next(iter(found.pure.values())).axis if found.pure else found.factors.axis
    channels = np.isin(np.round(made.energies, 6), np.round(axis.to_kev().centers, 6))
    true = made.spectra[:, channels]
    pure = list(found.pure)
    by_true = scores.matched([found.pure[n].values for n in pure], true) if pure else {}
    parts = scores.matched(list(found.factors.spectra), true)
    by_name = {pure[f]: t for t, f in by_true.items()}
    labels = found_labels(found, by_name)
    right, done = scores.agreement(labels, made.labels)
    phases = {}
    for i, material in enumerate(made.materials):
        entry: dict[str, Any] = {
            "component_deg": scores.angle(found.factors.spectra[parts[i]], true[i])
            if i in parts
            else None
        }
        if i in by_true:
            name = pure[by_true[i]]
            own = summary["phases"].get(name, {})
            entry |= {
                "as": name,
                "angle_deg": scores.angle(found.pure[name].values, true[i]),
                "denoised_deg": scores.angle(denoised(found.pure[name]), true[i]),
                "overlap": _mask_overlap(found, name, made.present[i], labels == i),
                "pixels": own.get("pixels"),
                "counts": own.get("counts"),
                "reduced_deviance": own.get("reduced_deviance"),
                "told": [
                    w
                    for w in found.warnings
                    # What another phase may hold is said of that one.
                    if name in w.split(": ")[0] and not any(a in w for a in OF_ALL)
                ],
                "few": (own.get("pixels") or 0) < FEW_PIXELS
                or (own.get("counts") or 0) < FEW_COUNTS,
            }
            if "elements" in own and made.names[i] != made.support:
                entry["elements"] = scores.elements_of(own["elements"], material.at_percent)
            told = anchored(found, made, i, by_name)
            if told is not None:
                entry["anchored_deg"] = scores.angle(denoised(told), true[i])
        phases[material.name] = entry
    layout = summary.get("layout")
    return {
        "layout_found": layout.get("kind")
        if isinstance(layout, dict)
        else layout and layout.split(":")[0],
        "phases_found": len(pure),
        "components": len(found.factors.names),
        "label_agreement_percent": right,
        "labelled_percent": done,
        "phases": phases,
        "warnings": list(found.warnings),
    }


def anchored(found: Any, made: Phantom, own: int, by_name: Mapping[str, int]) -> Spectrum | None:
    """Spectrum of a grain that others overlap, with one element of each host told that it lacks.

    This is what a user does who knows something of the grain. None where nothing is open, or
    where the grain holds all elements of its hosts; a film stays as thick as the run found it.
    """
    name = next(n for n, t in by_name.items() if t == own)
    known = found.open_scales.get(name)
    if known is None or not known.hosts:
        return None
    anchors: list[Any] = []
    for host, one in zip(known.hosts, known.ranges, strict=True):
        theirs = made.materials[by_name[host]].at_percent if host in by_name else {}
        lacks = [
            e
            for e in sorted(theirs, key=lambda e: -theirs[e])
            if e not in made.materials[own].at_percent and e not in anchors
        ]
        if lacks and made.names[by_name[host]] != made.support:
            anchors.append(lacks[0])
        else:
            anchors.append(GivenScale(one.value, one.sigma, of=host))
    if not any(isinstance(a, str) for a in anchors):
        return None
    mixture = found.spectra.get(f"{name} + {found.segmentation.regions.matrix}")
    hosts = [found.pure.get(h) for h in known.hosts]
    if mixture is None or any(h is None for h in hosts):
        return None
    try:
        return subtract(
            mixture, hosts, anchor=anchors, elements=made.elements, support=made.support_elements
        )
    except SiftemError:  # the matrix may hold too little of what was named
        return None


def found_labels(found: Any, true_index: Mapping[str, int]) -> np.ndarray:
    """One label a pixel, as the index of the true phase that was matched; (ny, nx).

    From the run's phase map where there is one, else from its regions: what is in one mask only
    is that grain, what is in none is the matrix.
    """
    phase_map = getattr(found, "phase_map", None)
    if phase_map is not None:
        out = np.full(np.shape(phase_map.labels), MIXED)
        for value, name in enumerate(phase_map.names):
            out[phase_map.labels == value] = true_index.get(name, MIXED)
        return out
    regions = found.segmentation.regions
    out = np.full(regions.shape, MIXED)
    out[~np.any(list(regions.masks.values()), axis=0) if regions.masks else ...] = true_index.get(
        regions.matrix, MIXED
    )
    for name, mask in regions.masks.items():
        others = [m for n, m in regions.masks.items() if n != name]
        alone = mask & ~np.any(others, axis=0) if others else mask
        out[alone] = true_index.get(name, MIXED)
    out[regions.excluded] = MIXED
    return out


def _mask_overlap(found: Any, name: str, present: np.ndarray, label: np.ndarray) -> float:
    """Intersection over union of where a phase is; by its label where it has no mask."""
    mask = found.segmentation.regions.masks.get(name)
    return scores.overlap(label if mask is None else np.asarray(mask), present)


def element_rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Elements of every matched phase of many maps, with the phase's angle and what was told."""
    return [
        {**e, "phase": name, "angle_deg": p["angle_deg"], "told": bool(p["told"])}
        for row in rows
        for name, p in row.get("phases", {}).items()
        for e in p.get("elements", ())
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown, one line for each layout and dose."""
    lines = [
        "| layout | counts | layout found | phases (true) | errors | angle worst (median) deg |"
        " IoU | labels right / done % | in interval % | median width at% | largest pull |"
        " > 6 untold | absent but found | few untold |",
        "|---" * 14 + "|",
    ]
    places = (*names(), *DRAWN)
    order = sorted(rows, key=lambda r: (places.index(r["layout"]), r["dose"], r["seed"]))
    for (layout, dose), group in groupby(order, key=lambda r: (r["layout"], r["dose"])):
        lines.append(_line(layout, dose, list(group)))
    every = element_rows(rows)
    if every:
        whole = scores.pooled(every)
        lines += ["", f"All: {whole['n']} elements of phases, {whole['coverage']:.1f}% held."]
    return "\n".join(lines)


def _line(layout: str, dose: float, rows: list[dict[str, Any]]) -> str:
    done = [r for r in rows if "error" not in r]
    cells = [layout, f"{dose:g}"]
    right = sum(r["layout_found"] in r["true_layouts"] for r in done)
    cells.append(f"{right}/{len(rows)}" if any(r["layout_found"] for r in done) else "-")
    numbers = " ".join(str(r["phases_found"]) for r in done) or "-"
    cells += [f"{numbers} ({rows[0]['true_phases']})", str(len(rows) - len(done))]
    per_map = [[p.get("angle_deg", 90.0) for p in r["phases"].values()] for r in done]
    worst, middle = _median([max(a) for a in per_map]), _median([np.median(a) for a in per_map])
    cells.append(f"{worst:.1f} ({middle:.1f})")
    cells.append(
        f"{_median([p.get('overlap', 0) for r in done for p in r['phases'].values()]):.2f}"
    )
    agree = _median([r["label_agreement_percent"] for r in done])
    cells.append(f"{agree:.0f} / {_median([r['labelled_percent'] for r in done]):.0f}")
    elements = element_rows(done)
    pooled = scores.pooled(elements)
    untold = sum(abs(e.get("pull", 0)) > LARGE_PULL and not e["told"] for e in elements)
    few = sum(bool(p.get("few") and not p["told"]) for r in done for p in r["phases"].values())
    cells += [
        f"{pooled['coverage']:.0f} of {pooled['n']}",
        f"{pooled['median_width']:.2f}",
        f"{pooled['largest_pull']:.1f}",
        str(untold),
        str(sum(e["false"] for e in elements)),
        str(few),
    ]
    return "| " + " | ".join(cells) + " |"


def _median(values: list[float]) -> float:
    known = [v for v in values if v is not None and np.isfinite(v)]
    return float(np.median(known)) if known else float("nan")


def describe(row: Mapping[str, Any]) -> str:
    """What one map gave, in a few lines."""
    head = f"{row['layout']} {row['dose']:g} counts, seed {row['seed']}: "
    if "error" in row:
        return head + f"ERROR {row['error']}"
    lines = [
        f"{head}{row['phases_found']} of {row['true_phases']} phases, layout "
        f"{row['layout_found']}, {row['seconds']:.0f} s"
    ]
    for name, p in row["phases"].items():
        if "as" not in p:
            lines.append(f"  {name}: not found")
            continue
        off = [e for e in p.get("elements", ()) if not e["held"]]
        missed = ", ".join(
            f"{e['element']} {e.get('value', np.nan):.2f} [{e.get('low', np.nan):.2f}, "
            f"{e.get('high', np.nan):.2f}] true {e['truth']:.2f}"
            for e in off
        )
        lines.append(
            f"  {name} as {p['as']}: {p['angle_deg']:.1f} deg (component "
            f"{np.nan if p['component_deg'] is None else p['component_deg']:.1f}), overlap "
            f"{p['overlap']:.2f}, {p['pixels']} pixels{'; outside: ' + missed if off else ''}"
        )
    lines += [f"  ! {w}" for w in row["warnings"]]
    return "\n".join(lines)


def jobs(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Every map that is to be run."""
    chosen = args.layouts.split(",") if args.layouts else names()
    if args.layouts == "drawn":
        chosen = list(DRAWN)
    unknown = set(chosen) - {*names(), *DRAWN}
    if unknown:
        there = (*names(), *DRAWN, "drawn (all that each seed draws anew)")
        raise SystemExit(f"no layout {', '.join(sorted(unknown))}: there are {', '.join(there)}")
    k = args.components if args.components in ("auto", "true") else int(args.components)
    return [
        {
            "layout": layout,
            "dose": float(dose),
            "seed": seed,
            "size": args.size,
            "components": k,
            "unlisted": args.unlisted,
            "computed_k": args.computed_k,
            "standard_counts": args.standard_counts,
        }
        for seed in range(args.first_seed, args.first_seed + args.seeds)
        for dose in args.doses.split(",")
        for layout in chosen
    ]


def plain(value: Any) -> Any:
    """Data that JSON can hold: what is no number becomes None."""
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--layouts", help="names, separated by commas, or drawn; all others by default"
    )
    parser.add_argument("--doses", default="5,30,300,3000", help="mean counts per pixel")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=56, help="pixels on each side")
    parser.add_argument("--components", default="auto", help="auto, true or a number")
    parser.add_argument("--unlisted", action="store_true", help="don't list the elements")
    parser.add_argument("--computed-k", action="store_true", help="without standards")
    parser.add_argument("--standard-counts", type=float, default=1e6, help="of each standard")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="two doses, one seed")
    parser.add_argument("--out", type=Path, help="JSON; the table goes beside it")
    args = parser.parse_args()
    if args.quick:
        args.doses, args.seeds = "30,1000", 1
    work = jobs(args)
    rows: list[dict[str, Any]] = []
    pool = ProcessPoolExecutor(args.processes) if args.processes > 1 else None
    for row in (pool.map if pool else map)(run_one, work):
        rows.append(row)
        print(describe(row), flush=True)
        if args.out:  # after each, so that a long study can be looked at and stopped
            args.out.write_text(json.dumps(plain(rows), indent=1, allow_nan=False) + "\n")
            args.out.with_suffix(".md").write_text(table(rows) + "\n")
    print("\n" + table(rows))


if __name__ == "__main__":
    main()
