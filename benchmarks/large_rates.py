"""Counts a second of one sweep over a large map, in memory and from disk, and over workers.

    python benchmarks/large_rates.py big.sift                  # in memory against from disk
    python benchmarks/large_rates.py big.sift --scaling 1 2 4  # weak scaling on local workers

Checks that all ways give the same sums. In weak scaling each worker gets a quarter of the map,
so that the time would stay the same with as many cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from siftem.decomposition.solver_rows import CountRows, solver_rows
from siftem.large.open_map import open_map
from siftem.large.rows_of_counts import BlockedCounts
from siftem.spectrum_image import SpectrumImage


def true_spectra(path: Path, n_channels: int) -> np.ndarray:
    with np.load(path.with_suffix(".truth.npz")) as truth:
        return np.ascontiguousarray(truth["spectra"][:, -n_channels:])


class Sweeps:
    """Sweeps over a map for fixed spectra, each timed by the clock and by the processors."""

    def __init__(self, rows: Any, spectra: np.ndarray) -> None:
        self.rows, self.spectra = rows, spectra
        self.weights = rows.even_weights(len(spectra), np.dtype(float))
        self.seconds: list[float] = []
        self.processor: list[float] = []
        self.found = self.first = self.one()  # compiles, and fills the page cache

    def one(self) -> np.ndarray:
        """Do one sweep; return its sums."""
        with self.rows.threads():
            start, busy = time.perf_counter(), time.process_time()
            _, self.found = self.rows.improve(self.spectra, self.weights)
            self.seconds.append(time.perf_counter() - start)
            self.processor.append(time.process_time() - busy)
        return self.found

    @property
    def median(self) -> tuple[float, float]:
        """Seconds and processor seconds of a sweep, the first left out."""
        return statistics.median(self.seconds[1:]), statistics.median(self.processor[1:])


def compare(path: Path, sweeps: int, workers: int) -> None:
    with open_map(path, n_jobs=workers) as si:
        spectra = true_spectra(path, si.n_channels)
        counts = si.total
        disk = Sweeps(solver_rows(si.counts), spectra)
        memory = Sweeps(CountRows.of(si.counts.in_memory(), n_jobs=workers), spectra)
        for _ in range(sweeps):  # in turn, so that both see the same load of the machine
            disk.one()
            memory.one()
    assert np.allclose(disk.found, memory.found, rtol=1e-9, atol=1e-9 * np.abs(memory.found).max())
    (from_disk, disk_cpu), (in_memory, memory_cpu) = disk.median, memory.median
    record = {
        "counts": counts,
        "workers": workers,
        "in_memory_counts_per_s": counts / in_memory,
        "from_disk_counts_per_s": counts / from_disk,
        "in_memory_counts_per_processor_s": counts / memory_cpu,
        "from_disk_counts_per_processor_s": counts / disk_cpu,
        "ratio": in_memory / from_disk,
        "ratio_of_processor_time": memory_cpu / disk_cpu,
    }
    print(
        f"one sweep, k = {len(spectra)}, {workers} threads: in memory {in_memory:.2f} s "
        f"({counts / in_memory:.3g} counts/s), from disk {from_disk:.2f} s "
        f"({counts / from_disk:.3g} counts/s): {record['ratio']:.2f} of the rate in memory, "
        f"{record['ratio_of_processor_time']:.2f} by processor time"
    )
    print(json.dumps(record))
    assert record["ratio"] > 0.5, "from disk it is less than half as fast"


def part_of(si: SpectrumImage, share: float) -> BlockedCounts:
    """The first blocks of a map, as a map of its own."""
    source = si.counts.source
    edges = source.edges[: max(1, round(share * (len(source.edges) - 1))) + 1]
    cut = replace(source, edges=edges, shape=(edges[-1], source.shape[1]))
    return replace(si.counts, source=cut)


def scaling(path: Path, sweeps: int, numbers: list[int]) -> None:
    from distributed import Client, LocalCluster

    record = []
    for workers in numbers:
        with (
            LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
            ) as cluster,
            Client(cluster) as client,
            open_map(path, scheduler=client) as si,
        ):
            spectra = true_spectra(path, si.n_channels)
            part = part_of(si, workers / max(numbers))
            rows: Any = solver_rows(part)
            counted = counting_bytes(client)
            timed = Sweeps(rows, spectra)
            busy = sum(client.run(time.process_time).values())
            for _ in range(sweeps):
                timed.one()
            busy = sum(client.run(time.process_time).values()) - busy
            seconds, found = timed.median[0], timed.found
            alone = sums_of_one_process(path, workers / max(numbers), spectra)
            assert np.allclose(timed.first, alone, rtol=1e-9, atol=1e-9 * np.abs(alone).max())
            sent = counted() / (sweeps + 1)
            record.append(
                {
                    "workers": workers,
                    "counts": rows.total,
                    "seconds": seconds,
                    "counts_per_s": rows.total / seconds,
                    "counts_per_processor_s": rows.total * sweeps / busy,
                    "worker_bytes_per_sweep": sent,
                    "sum": float(found.sum()),
                }
            )
        print(
            f"{workers} workers: {rows.total:.3g} counts, {seconds:.2f} s a sweep, "
            f"{rows.total / seconds:.3g} counts/s, {rows.total * sweeps / busy:.3g} a processor "
            f"second, {sent / 1e6:.2f} MB between workers a sweep"
        )
    print(json.dumps(record))


def sums_of_one_process(path: Path, share: float, spectra: np.ndarray) -> np.ndarray:
    """What the first sweep must give, whoever does it."""
    with open_map(path, scheduler="synchronous") as si:
        return Sweeps(solver_rows(part_of(si, share)), spectra).first


def counting_bytes(client: Any) -> Callable[[], float]:
    """Start to count what workers send to each other; the function returned tells the bytes."""

    def sent(dask_worker: Any) -> float:
        return float(dask_worker.transfer_outgoing_bytes_total)

    before = sum(client.run(sent).values())
    return lambda: sum(client.run(sent).values()) - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("map", type=Path)
    parser.add_argument("--sweeps", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scaling", type=int, nargs="+")
    given = parser.parse_args()
    if given.scaling:
        scaling(given.map, given.sweeps, given.scaling)
    else:
        compare(given.map, given.sweeps, given.workers)


if __name__ == "__main__":
    main()
