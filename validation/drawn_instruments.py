"""Specimens and instruments drawn at random: what a map may be like that nobody here made.

    python -m validation.drawn_instruments [--seeds 40] [--first-seed 0] [--out drawn.json]

Each seed draws a layout (`drawn_layouts`, `foreign_layouts`), a beam energy of 80 to 300 keV,
channels of 5 to 20 eV, gain, shift and resolution that the file does not tell, a window or none, 25
to 250 nm of thickness, 8 to 10,000 counts a pixel; and for some of the maps a wedge, a strip of
vacuum, stray Cu of the grid, contamination, a list of elements that is whole, short, or not there.
k-factors are computed, as a new user has them. What is told is judged as in `any_map`.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from scipy.ndimage import gaussian_filter
from validation.any_map import LARGE_PULL, compared, describe, element_rows, plain
from validation.any_map_scores import pooled
from validation.drawn_layouts import DRAWN
from validation.foreign_layouts import LAYOUTS
from validation.foreign_phantoms import Phantom, as_signal, phantom
from validation.foreign_physics import WINDOW, Material, film_spectrum

from siftem.errors import SiftemError
from validation import foreign_phantoms, foreign_physics

#: Left out: one is a single phase, the other needs hundreds of counts.
_OTHERS = [name for name in LAYOUTS if name not in ("wedge", "equal_spectra")]


@dataclass(frozen=True)
class Drawn:
    """A map, how it is run, and what was drawn for it in words."""

    phantom: Phantom
    dose: float
    sections: Mapping[str, Any]
    text: str


def drawn(seed: int) -> Drawn:
    """Draw an instrument, a specimen and what the user says of it."""
    rng = np.random.default_rng([seed, 555])
    width = float(rng.choice([0.005, 0.01, 0.02]))
    constants = {
        "BEAM_ENERGY": float(rng.choice([80, 120, 200, 300])),
        "CHANNEL_WIDTH": width,
        "N_CHANNELS": int(rng.choice([10.2, 15, 20.4]) / width),
        "GAIN": 1 + rng.uniform(-0.004, 0.004),
        "SHIFT": rng.uniform(-0.02, 0.02) * (4 if rng.random() < 0.2 else 1),
        "TRUE_RESOLUTION": rng.uniform(125, 150),
        "TAKE_OFF_ANGLE": rng.uniform(15, 40),
        "WINDOW": WINDOW if rng.random() < 0.5 else ((14, 2.33, rng.uniform(5, 60)),),
        "CONTINUUM": foreign_physics.CONTINUUM * np.exp(rng.uniform(-1, 1)),
    }
    thickness = float(np.exp(rng.uniform(np.log(25), np.log(250))))
    size, name = int(rng.integers(36, 72)), str(rng.choice([*DRAWN, *DRAWN, *_OTHERS]))
    with (
        patch.multiple(foreign_physics, **constants),
        patch.object(foreign_phantoms, "THICKNESS", thickness),
    ):
        made, stray, dirty = _spoilt(phantom(name, size=size, seed=seed), rng)
    dose = float(np.exp(rng.uniform(np.log(8), np.log(10_000))))
    listing = str(rng.choice(["whole", "whole", "short", "none"]))
    elements = list(made.elements)
    sections: dict[str, Any] = {}
    if listing == "whole":
        beside = {*made.support_elements, *(["Cu"] if stray else []), *(["C"] if dirty else [])}
        sections = {"elements": elements, "support": sorted(beside - set(elements))}
    elif listing == "short":
        kept = [e for e in elements if rng.random() < 0.7]
        sections = {"elements": kept or elements[:1]}
    told = ", ".join(f"{k.lower()} {v:.4g}" for k, v in constants.items() if k != "WINDOW")
    text = (
        f"{name}, {size} pixels, {thickness:.0f} nm, {told}, {len(constants['WINDOW'])} windows, "
        f"list {listing}{', stray Cu' if stray else ''}{', contamination' if dirty else ''}"
    )
    return Drawn(made, dose, sections, text)


def _spoilt(made: Phantom, rng: np.random.Generator) -> tuple[Phantom, bool, bool]:
    """Add a wedge, vacuum, stray counts, contamination; whether there are the last two."""
    maps, spectra = made.maps.copy(), made.spectra
    n = maps.shape[-1]
    y, x = np.mgrid[:n, :n] / n - 0.5
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        slope = rng.uniform(0.3, 1.2)
        maps *= np.clip(1 + slope * (x * np.cos(angle) + y * np.sin(angle)), 0.15, None)
    if rng.random() < 0.3:
        maps[:, :, : int(rng.integers(4, 10))] = 0
        maps = np.stack([gaussian_filter(m, foreign_phantoms.PROBE) for m in maps])
    stray, dirty = rng.random() < 0.5, rng.random() < 0.4
    if stray:
        grid = film_spectrum(Material("grid", {"Cu": 1}, 8.9), 500.0)
        share = rng.uniform(0.01, 0.08) * grid / grid.sum()
        spectra = spectra + spectra.sum(axis=1, keepdims=True) * share
    parts, part_maps = spectra, maps
    if dirty:
        carbon = film_spectrum(Material("contamination", {"C": 1}, 1.8), 10.0)
        parts = np.concatenate([spectra, carbon[None]])
        part_maps = np.concatenate([maps, np.full((1, n, n), rng.uniform(0.2, 1.5))])
    changed = replace(made, maps=maps, spectra=spectra, part_maps=part_maps, part_spectra=parts)
    return changed, bool(stray), bool(dirty)


def run_one(seed: int) -> dict[str, Any]:
    """Run a map as a new user does, and compare it with the truth."""
    from siftem import signals

    one = drawn(seed)
    made = one.phantom
    row: dict[str, Any] = {
        "seed": seed, "layout": made.name, "dose": one.dose, "text": one.text, "seconds": 0.0,
        "true_phases": len(made.names), "true_layouts": list(made.layouts),
    }  # fmt: skip
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = signals.run(as_signal(made, made.counts(one.dose, seed)), **one.sections)
        row.update(compared(found, made))
    except SiftemError as error:
        row["error"] = str(error)
    return row


def summary(rows: list[dict[str, Any]]) -> str:
    """What all maps gave together, in one line."""
    done = [r for r in rows if "error" not in r]
    elements = element_rows(done)
    whole = pooled(elements)
    untold = sum(abs(e.get("pull", 0)) > LARGE_PULL and not e["told"] for e in elements)
    right = sum(r["phases_found"] == r["true_phases"] for r in done)
    return (
        f"{len(rows)} maps, {len(rows) - len(done)} errors: number of phases right in {right}, "
        f"{whole['n']} elements, {whole['coverage']:.1f}% held, median width "
        f"{whole['median_width']:.2g} at%, largest pull {whole['largest_pull']:.1f}, "
        f"{untold} above {LARGE_PULL:g} untold"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        rows.append(run_one(seed))
        print(f"{rows[-1]['text']}\n{describe(rows[-1])}", flush=True)
        if args.out:
            args.out.write_text(json.dumps(plain(rows), indent=1, allow_nan=False) + "\n")
    print("\n" + summary(rows))


if __name__ == "__main__":
    main()
