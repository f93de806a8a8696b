"""Time of a sweep, threads, compilation and memory of the factorisation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from time import perf_counter

import numpy as np
import scipy.sparse as sp

from benchmarks.nmf_cases import case
from siftem.decompose import solver
from siftem.decompose.row_blocks import CountRows

_LARGE = """
import json, sys, time
from benchmarks.nmf_cases import case
truth = case(512, 50)
x = truth.counts.astype("int32")
del truth
import gc; gc.collect()
from siftem import PoissonNMF
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
start = time.perf_counter()
model = PoissonNMF(3, map_shape=(512, 512), n_jobs=int(sys.argv[1]))
model.fit_transform(x)
seconds = time.perf_counter() - start
peak = next(l for l in open("/proc/self/status") if l.startswith("VmHWM"))
csr = x.data.nbytes + x.indices.nbytes + x.indptr.nbytes
print(json.dumps(dict(seconds=seconds, peak_mb=int(peak.split()[1]) / 1024, csr_mb=csr / 2**20,
    nnz=x.nnz, counts=int(x.sum()), sweeps=model.n_iter_, converged=bool(model.converged_),
    deviance=model.deviance_, kkt=model.kkt_)))
"""

_COMPILE = """
import time
import numpy as np
from siftem import PoissonNMF
start = time.perf_counter()
PoissonNMF(2).fit(np.random.default_rng(0).poisson(3.0, (30, 20)))
print(time.perf_counter() - start)
"""


def large(n_jobs: int) -> dict[str, float]:
    """512 x 512 pixels at 50 counts, from raw counts to convergence, in a process of its own."""
    command = [sys.executable, "-c", _LARGE, str(n_jobs)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compile_seconds() -> tuple[float, float]:
    """First fit of a process without a cache of compiled kernels, and with one."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        first, second = (
            float(
                subprocess.run(
                    [sys.executable, "-c", _COMPILE],
                    check=True,
                    capture_output=True,
                    text=True,
                    env=environment,
                ).stdout
            )
            for _ in range(2)
        )
    return first, second


def sweep_times(n_jobs: int = 1) -> list[tuple[int, float]]:
    """Stored entries and the best of five times of a sweep, over sizes of the map."""
    out = []
    for side, dose in ((32, 50), (64, 50), (128, 50), (128, 300), (256, 100)):
        truth = case(side, dose)
        rows = CountRows.of(truth.counts, n_jobs=n_jobs)
        weights = solver.even_weights(rows, 3, np.dtype(float))
        solver.solve_weights(rows, truth.spectra, weights, n_passes=3)
        times = []
        with rows.threads():
            for _ in range(5):
                start = perf_counter()
                rows.improve(truth.spectra * 1.0, weights.copy(), n_passes=1, tol=0)
                times.append(perf_counter() - start)
        out.append((rows.nnz, min(times)))
    return out


def slope(points: list[tuple[int, float]]) -> float:
    """Slope of the time over the entries on a log-log plot."""
    x, y = np.log(np.array(points)).T
    return float(np.polyfit(x, y, 1)[0])


def bandwidth() -> float:
    """Bytes a second that one core reads from memory: the sum of 400 MB, best of five."""
    block = np.ones(50_000_000)
    times = []
    for _ in range(5):
        start = perf_counter()
        block.sum()
        times.append(perf_counter() - start)
    return block.nbytes / min(times)


def bytes_a_sweep(x: sp.csr_array, k: int = 3) -> int:
    """Bytes that a sweep must read or write at least: counts once, weights in and out."""
    return x.nnz * (4 + 4) + 2 * 8 * k * x.shape[0]
