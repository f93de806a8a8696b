"""Time of a sweep, threads, compilation and memory of the factorisation."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from time import process_time

import numpy as np
import scipy.sparse as sp

from benchmarks import nmf_peers
from benchmarks.nmf_cases import Case, case
from benchmarks.nmf_tables import Cell, Report
from siftem.decomposition import solver
from siftem.decomposition.solver_rows import CountRows

_LARGE = """
import json, sys, time
import scipy.sparse as sp
import numpy as np
from benchmarks.nmf_peers import clear_peak, peak_mb
from siftem import PoissonNMF
x = sp.csr_array(sp.load_npz(sys.argv[2]))
PoissonNMF(3, max_iter=10_000).fit(x[:500])
clear_peak()
start, cpu = time.perf_counter(), time.process_time()
model = PoissonNMF(3, map_shape=(512, 512), n_jobs=int(sys.argv[1]))
model.fit_transform(x)
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
csr = x.data.nbytes + x.indices.nbytes + x.indptr.nbytes
print(json.dumps(dict(seconds=seconds, cpu=cpu, peak_mb=peak_mb(), csr_mb=csr / 2**20,
    sweeps=model.n_iter_, converged=bool(model.converged_), deviance=model.deviance_,
    kkt=model.kkt_)))
"""

_COMPILE = """
import json, time
import numpy as np
from siftem import PoissonNMF
start, cpu = time.perf_counter(), time.process_time()
PoissonNMF(2).fit(np.random.default_rng(0).poisson(3.0, (30, 20)))
print(json.dumps(dict(seconds=time.perf_counter() - start, cpu=time.process_time() - cpu)))
"""


def large(report: Report, *, repeats: int = 3, peer: bool = True) -> None:
    """512 x 512 pixels at 50 counts, from raw counts to convergence, each in a new process."""
    truth = case(512, 50)
    runs: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "counts.npz")
        sp.save_npz(path, sp.csr_matrix(truth.counts.astype(np.int32)), compressed=False)
        for _ in range(repeats):
            # In turns: whatever else the machine does falls on both.
            for n_jobs in (2, 1):
                runs[n_jobs].append(nmf_peers.in_own_process(_LARGE, str(n_jobs), path))
    rows: list[dict[str, Cell]] = []
    median = {}
    for n_jobs, found in runs.items():
        median[n_jobs] = {k: float(np.median([run[k] for run in found])) for k in found[0]}
        assert median[n_jobs]["converged"]
        rows.append(
            {"method": f"siftem, {n_jobs} threads"}
            | {k: v for k, v in median[n_jobs].items() if k != "converged"}
        )
    assert median[1]["deviance"] == median[2]["deviance"]
    two = median[2]
    report.bar("512 x 512: s on two threads", two["seconds"], "<= 15")
    room = two["peak_mb"] - 4 * two["csr_mb"]
    report.bar("512 x 512: MB above 4 times the CSR", room, "<= 300")
    scaling = [a["seconds"] / b["seconds"] for a, b in zip(runs[1], runs[2], strict=True)]
    report.bar("512 x 512: one thread / two", float(np.median(scaling)), ">= 1.7")
    if peer:
        scaled = nmf_peers.keenan_kotula(truth)
        rows.append(
            {
                "method": f"scikit-learn cd, Keenan-Kotula, {scaled.n_iter} it.",
                "seconds": scaled.seconds,
                "cpu": scaled.cpu,
                "deviance": scaled.deviance,
            }
        )
        assert two["deviance"] < scaled.deviance
        report.bar("512 x 512: cd / siftem", scaled.seconds / two["seconds"], ">= 5")
    counts = f"{int(truth.counts.sum())} counts, {truth.counts.nnz} stored"
    report.table(f"512 x 512 x {truth.counts.shape[1]}, 50 counts a pixel: {counts}", rows)


def sweeps(report: Report) -> None:
    """Time of a sweep over the entries, threads, memory floor and compilation."""
    points = sweep_times()
    report.table(
        "Time of a sweep, one thread, three components",
        [
            {"stored entries": n, "ms": 1e3 * t, "ns an entry": 1e9 * t / n, "pixels": pixels}
            for n, t, pixels in points
        ],
    )
    report.bar(
        "slope of the time of a sweep over the entries, less one", abs(slope(points) - 1), "<= 0.15"
    )
    truth = case(128, 300)
    speed = bandwidth()
    moved = bytes_a_sweep(truth.counts)
    seconds = next(t for n, t, _ in points if n == truth.counts.nnz)
    parts = sweep_parts(truth)
    row: dict[str, Cell] = {
        "MB moved": moved / 1e6,
        "GB/s of memory": speed / 1e9,
        "floor, ms": 1e3 * moved / speed,
        "sweep, ms": 1e3 * seconds,
        "times the floor": seconds * speed / moved,
    }
    row |= {name: 1e3 * t for name, t in parts.items()}
    report.table("A sweep against the memory, 128 x 128 at 300 counts, one thread", [row])
    first, second = compile_seconds()
    names = ("nothing compiled", "compiled kernels on disk")
    table: list[dict[str, Cell]] = [
        {"first fit of a process": name, "s": run["seconds"], "CPU s": run["cpu"]}
        for name, run in zip(names, (first, second), strict=True)
    ]
    report.table("Compilation", table)
    report.bar("first fit, nothing compiled, CPU s", first["cpu"], "<= 10")
    report.bar("first fit of a second process, CPU s", second["cpu"], "<= 1")


def compile_seconds() -> list[dict[str, float]]:
    """First fit of a process without a cache of compiled kernels, and with one."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        return [nmf_peers.in_own_process(_COMPILE, env=environment) for _ in range(2)]


def sweep_times() -> list[tuple[int, float, int]]:
    """Stored entries, best of seven times of a sweep, and pixels, over sizes of the map."""
    out = []
    for side, dose in ((32, 50), (64, 50), (128, 50), (64, 300), (128, 300), (256, 100)):
        truth = case(side, dose)
        parts = sweep_parts(truth)
        out.append((truth.counts.nnz, parts["all, ms"], side * side))
    return out


def sweep_parts(truth: Case) -> dict[str, float]:
    """Processor seconds of a sweep on one thread and of its parts: best of seven."""
    rows = CountRows.of(truth.counts, n_jobs=1)
    spectra = truth.spectra / truth.spectra.sum(axis=1, keepdims=True)
    weights = solver.even_weights(rows, 3, np.dtype(float))
    solver.solve_weights(rows, spectra, weights, n_passes=3)
    times: dict[tuple[int, bool], float] = {}
    for _ in range(7):
        for kind in ((1, True), (0, True), (0, False)):
            own = weights.copy()
            start = process_time()
            rows.improve(spectra, own, n_passes=kind[0], gather=kind[1], tol=0)
            times[kind] = min(times.get(kind, np.inf), process_time() - start)
    return {
        "means and logarithms, ms": times[0, False],
        "statistics of the channels, ms": times[0, True] - times[0, False],
        "Newton step of the pixels, ms": times[1, True] - times[0, True],
        "all, ms": times[1, True],
    }


def slope(points: list[tuple[int, float, int]]) -> float:
    """Slope of the time over the entries on a log-log plot."""
    x, y = np.log(np.array(points)[:, :2]).T
    return float(np.polyfit(x, y, 1)[0])


def bandwidth() -> float:
    """Bytes a second that one core reads from memory: the sum of 400 MB, best of five."""
    block = np.ones(50_000_000)
    times = []
    for _ in range(5):
        start = process_time()
        block.sum()
        times.append(process_time() - start)
    return block.nbytes / min(times)


def bytes_a_sweep(x: sp.csr_array, k: int = 3) -> int:
    """Bytes that a sweep must read or write at least: counts once, weights in and out."""
    return x.nnz * (4 + 4) + 2 * 8 * k * x.shape[0]
