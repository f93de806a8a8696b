"""Simulate a large map straight into a sparse map file, a few lines of pixels at a time.

    python benchmarks/large_phantom.py OUT.sift --size 1024 --channels 4096 --dose 100

Writes OUT.truth.npz with the spectra and abundances beside it.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from siftem.large.sparse_file import MapHeader
from siftem.large.sparse_writer import SparseFileWriter
from siftem.simulate.phantom import poisson_counts, simulate_demo

#: Side of the piece of specimen that is simulated; larger maps repeat it, mirrored.
TILE = 512


def make(
    path: Path, *, size: int, channels: int = 4096, dose: float = 100.0, seed: int = 0
) -> None:
    """Write a size x size map of the model case, and its truth."""
    tile = min(size, TILE)
    phantom = simulate_demo((tile, tile), channels=channels, dose=1e-3, random_state=seed)
    repeats = -(-size // tile)
    abundances = np.pad(
        phantom.abundances, [(0, 0), *[(0, (repeats - 1) * tile)] * 2], mode="symmetric"
    )[:, :size, :size]
    abundances *= dose / abundances.sum(axis=0).mean()
    header = replace(
        MapHeader.of(phantom.spectrum_image), shape=(size, size), title=f"phantom {size}"
    )
    rng = np.random.default_rng(seed)
    lines = max(1, int(2e6 / (dose * size)))
    with SparseFileWriter(path, header) as writer:
        for y in range(0, size, lines):
            band = abundances[:, y : y + lines]
            writer.append(poisson_counts(band.reshape(len(band), -1), phantom.spectra, rng))
    np.savez(
        path.with_suffix(".truth.npz"),
        spectra=phantom.spectra,
        abundances=abundances.astype(np.float32),
        names=np.array(phantom.names),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--channels", type=int, default=4096)
    parser.add_argument("--dose", type=float, default=100.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    start = time.perf_counter()
    make(given.out, size=given.size, channels=given.channels, dose=given.dose, seed=given.seed)
    size = given.out.stat().st_size
    print(f"{given.out}: {size / 1e6:.0f} MB in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
