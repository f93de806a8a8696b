"""An event stream of many frames becomes a sparse map file: events a second, and peak memory.

    python benchmarks/large_stream.py FOLDER --size 512 --frames 40 --dose 4

Writes a stream as Velox does (65535 ends a pixel), shifts its frames by a known drift, converts
it and checks the counts of each channel.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import h5py
import numpy as np
from large_run import peak_memory

from siftem.energy_axis import EnergyAxis
from siftem.io.cube_blocks import FrameChoice, event_bands
from siftem.io.formats.velox import velox_streams
from siftem.large.sparse_file import MapHeader, open_sparse_file
from siftem.large.sparse_writer import SparseFileWriter

CHANNELS = 4096


def write_stream(path: Path, shape: tuple[int, int], frames: int, dose: float) -> int:
    """Write frames of a steep random spectrum; return the number of events."""
    rng = np.random.default_rng(0)
    total = 0
    with h5py.File(path, "w") as file:
        group = file.create_group("Data/SpectrumStream/0")
        data = group.create_dataset("Data", (0, 1), "u2", maxshape=(None, 1), chunks=(1 << 16, 1))
        group["AcquisitionSettings"] = [json.dumps({"bincount": str(CHANNELS)})]
        for _ in range(frames):
            number = rng.poisson(dose, shape[0] * shape[1])
            words = np.full(number.sum() + number.size, 65535, np.uint16)
            events = np.ones(words.size, bool)
            events[np.cumsum(number + 1) - 1] = False
            words[events] = np.minimum(rng.exponential(300, events.sum()), CHANNELS - 1)
            start = data.shape[0]
            data.resize((start + words.size, 1))
            data[start:, 0] = words
            total += int(number.sum())
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--dose", type=float, default=4.0, help="events a pixel and frame")
    parser.add_argument("--budget", type=int, default=128, help="MB for a band of events")
    given = parser.parse_args()
    shape = (given.size, given.size)
    path, out = given.folder / "stream.emd", given.folder / "stream.sift"
    events = write_stream(path, shape, given.frames, given.dose)
    before = peak_memory()
    start = time.perf_counter()
    drift = np.stack([np.arange(given.frames) // 8, -(np.arange(given.frames) // 5)], axis=1)
    with h5py.File(path) as content:
        streams = velox_streams(content, shape)
        choice = FrameChoice.checked(given.frames, None, drift, shape)
        (y0, y1), (x0, x1) = choice.common_area(shape)
        header = MapHeader((y1 - y0, x1 - x0), EnergyAxis(-0.5, 0.01, CHANNELS))
        with SparseFileWriter(out, header) as writer:
            for band in event_bands(streams, choice, budget=given.budget * 2**20):
                writer.append(band)
    seconds = time.perf_counter() - start
    _, source, _ = open_sparse_file(out)
    kept = sum(
        source.read(a, b).sum() for a, b in zip(source.edges[:-1], source.edges[1:], strict=True)
    )
    expected = events * (y1 - y0) * (x1 - x0) / (shape[0] * shape[1])
    size = path.stat().st_size / 1e6
    print(
        f"{events:.3g} events in {given.frames} frames ({size:.0f} MB): {seconds:.0f} s, "
        f"{events / seconds:.3g} events/s, peak memory {peak_memory():.0f} MB "
        f"({before:.0f} MB before)"
    )
    assert abs(kept - expected) < 6 * np.sqrt(expected), "counts were lost"
    path.unlink()
    out.unlink()


if __name__ == "__main__":
    main()
