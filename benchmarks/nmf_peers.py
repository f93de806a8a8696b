"""Other people's factorisations on the same counts."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import scipy.sparse as sp
from sklearn.decomposition import NMF

from benchmarks.nmf_cases import Case, deviance
from siftem import PoissonNMF
from siftem.decomposition import solver
from siftem.decomposition.solver_rows import CountRows

#: What HyperSpy's usual call costs, in a process of its own.
_HYPERSPY = """
import json, sys, time, warnings
import numpy as np
import scipy.sparse as sp
import hyperspy.api as hs
from benchmarks.nmf_peers import clear_peak, peak_mb
side = int(sys.argv[2])
signal = hs.signals.Signal1D(sp.load_npz(sys.argv[1]).toarray().reshape(side, side, -1))
warnings.simplefilter("ignore")
clear_peak()
start, cpu = time.perf_counter(), time.process_time()
signal.decomposition(algorithm="NMF", output_dimension=3, normalize_poissonian_noise=True,
    navigation_mask=None, print_info=False)
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
found = signal.learning_results
np.savez(sys.argv[3], weights=np.abs(found.loadings), spectra=np.abs(found.factors).T)
print(json.dumps(dict(seconds=seconds, cpu=cpu, peak_mb=peak_mb())))
"""

#: The same for siftem.
_SIFTEM = """
import json, sys
import scipy.sparse as sp
from benchmarks.nmf_peers import clear_peak, peak_mb
from siftem import PoissonNMF
x = sp.load_npz(sys.argv[1])
side = int(sys.argv[2])
PoissonNMF(3, max_iter=10_000).fit(x[:500])
clear_peak()
PoissonNMF(3, map_shape=(side, side)).fit_transform(x)
print(json.dumps(dict(peak_mb=peak_mb())))
"""


@dataclass(frozen=True, eq=False)
class Outcome:
    """Seconds of the wall and of the processors, factors, deviance and iterations of a method."""

    seconds: float
    cpu: float
    weights: np.ndarray
    spectra: np.ndarray
    deviance: float
    n_iter: int
    peak_mb: float = float("nan")


def clear_peak() -> None:
    """Forget the peak of the resident memory of this process (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float:
    """Peak of the resident memory since `clear_peak`, in MB."""
    status = Path("/proc/self/status").read_text().splitlines()
    line = next(x for x in status if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def in_own_process(
    script: str, *arguments: str, env: dict[str, str] | None = None
) -> dict[str, float]:
    """Run ``script`` and read the JSON of its last line."""
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def start_of(truth: Case, *, init: str = "vertices") -> tuple[np.ndarray, np.ndarray]:
    """Weights and spectra that siftem starts from, all positive."""
    plan = PoissonNMF(3, map_shape=truth.shape, init=init)._plan()
    pooled = plan.levels(truth.counts)[0][1]
    spectra = plan.start(pooled, np.random.default_rng(0), draw=False)
    rows = CountRows.of(truth.counts)
    weights = solver.even_weights(rows, 3, np.dtype(float))
    solver.solve_weights(rows, spectra, weights, n_passes=4)
    return weights + 1e-3 * weights.mean(), spectra


def multiplicative(
    truth: Case, *, max_iter: int, start: tuple[np.ndarray, np.ndarray] | None = None
) -> Outcome:
    """scikit-learn: ``solver="mu", beta_loss="kullback-leibler"`` on CSR, tol 1e-6."""
    model = NMF(
        3,
        solver="mu",
        beta_loss="kullback-leibler",
        init="nndsvda" if start is None else "custom",
        tol=1e-6,
        max_iter=max_iter,
        random_state=0,
    )
    first = {} if start is None else {"W": start[0].copy(), "H": start[1].copy()}
    return _timed(truth, model, sp.csr_matrix(truth.counts), **first)


def keenan_kotula(truth: Case, *, max_iter: int = 5000) -> Outcome:
    """scikit-learn: ``solver="cd"`` on CSR counts scaled by the roots of their means.

    With ``max_iter=200`` this is what HyperSpy's usual call computes, on sparse counts.
    """
    start, cpu = perf_counter(), process_time()
    rows, columns = (
        np.sqrt(np.asarray(truth.counts.mean(axis=a), dtype=np.float64).ravel()) for a in (1, 0)
    )
    inverse = [np.divide(1, s, out=np.zeros_like(s), where=s > 0) for s in (rows, columns)]
    x = sp.csr_matrix(sp.diags_array(inverse[0]) @ truth.counts @ sp.diags_array(inverse[1]))
    model = NMF(3, solver="cd", init="nndsvda", max_iter=max_iter, random_state=0)
    found = _timed(truth, model, x)
    weights, spectra = found.weights * rows[:, None], found.spectra * columns
    return Outcome(
        perf_counter() - start,
        process_time() - cpu,
        weights,
        spectra,
        deviance(truth.counts, weights, spectra),
        found.n_iter,
    )


def hyperspy_usual(truth: Case) -> Outcome:
    """HyperSpy: ``decomposition(algorithm="NMF", normalize_poissonian_noise=True)``."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "factors.npz")
        found = in_own_process(_HYPERSPY, _saved(truth, folder), str(truth.shape[0]), out)
        with np.load(out) as factors:
            weights, spectra = factors["weights"], factors["spectra"]
    value = deviance(truth.counts, weights, spectra)
    return Outcome(found["seconds"], found["cpu"], weights, spectra, value, 0, found["peak_mb"])


def peak_of_siftem(truth: Case) -> float:
    """Peak of the resident memory of ``PoissonNMF`` on the same case, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        return in_own_process(_SIFTEM, _saved(truth, folder), str(truth.shape[0]))["peak_mb"]


def _saved(truth: Case, folder: str) -> str:
    """Save the counts, so that another process need not simulate them."""
    path = str(Path(folder) / "counts.npz")
    sp.save_npz(path, sp.csr_matrix(truth.counts), compressed=False)
    return path


def _timed(truth: Case, model: NMF, x: sp.csr_matrix, **first: np.ndarray) -> Outcome:
    start, cpu = perf_counter(), process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weights = model.fit_transform(x, **first)
    seconds, cpu = perf_counter() - start, process_time() - cpu
    spectra = model.components_
    found = deviance(truth.counts, weights, spectra)
    return Outcome(seconds, cpu, weights, spectra, found, int(model.n_iter_))
