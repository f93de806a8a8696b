"""How much sooner siftem reaches what its peers reach, on the same counts."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter, process_time

import numpy as np

from benchmarks import nmf_peers
from benchmarks.nmf_cases import Case, angles, case, deviance, oracle
from benchmarks.nmf_peers import Outcome
from benchmarks.nmf_tables import Cell, Report
from siftem import PoissonNMF
from siftem.decomposition import solver
from siftem.decomposition.factors import decompose
from siftem.decomposition.solver_rows import CountRows
from siftem.errors import SiftemWarning

#: Times to the stop of the multiplicative updates, to own convergence, by dose.
_BARS = {300.0: (500, 200), 20.0: (300, 100)}
_REPEATS = 5


@dataclass(frozen=True, eq=False)
class Course:
    """Deviance over seconds (wall and processors) of a fit, sweep by sweep; then its end."""

    deviances: np.ndarray
    wall: np.ndarray
    cpu: np.ndarray
    seconds: float
    cpu_seconds: float
    deviance: float
    spectra: np.ndarray

    def reached(self, target: float) -> tuple[float, float]:
        """Seconds of the wall and of the processors until the deviance is at most ``target``."""
        sweeps = np.flatnonzero(self.deviances <= target)
        if not sweeps.size:
            return float("nan"), float("nan")
        # The first sweep isn't reported: it gets the time of the second.
        at = max(int(sweeps[0]) - 1, 0)
        return float(self.wall[at]), float(self.cpu[at])


def default_fit(truth: Case) -> Course:
    """``PoissonNMF(3, map_shape=...)`` from the raw counts to its own convergence."""
    wall, cpu = [], []
    start, start_cpu = perf_counter(), process_time()

    def watch(step: str, fraction: float) -> None:
        wall.append(perf_counter() - start)
        cpu.append(process_time() - start_cpu)

    model = PoissonNMF(3, map_shape=truth.shape, progress=watch)
    weights = model.fit_transform(truth.counts)
    seconds, cpu_seconds = perf_counter() - start, process_time() - start_cpu
    assert model.converged_
    value = deviance(truth.counts, weights, model.components_)
    np.testing.assert_allclose(model.deviance_, value, rtol=1e-4)
    saturated = CountRows.of(truth.counts).saturated
    return Course(
        2 * (model.history_ - saturated),
        np.array(wall),
        np.array(cpu),
        seconds,
        cpu_seconds,
        value,
        model.components_,
    )


def same_start(truth: Case, first: tuple[np.ndarray, np.ndarray]) -> Course:
    """The solver alone, on the full counts, from given factors."""
    wall, cpu = [], []
    start, start_cpu = perf_counter(), process_time()

    def watch(step: str, fraction: float) -> None:
        wall.append(perf_counter() - start)
        cpu.append(process_time() - start_cpu)

    rows = CountRows.of(truth.counts)
    found = solver.alternate(rows, *first, progress=watch)
    seconds, cpu_seconds = perf_counter() - start, process_time() - start_cpu
    return Course(
        2 * (found.history - rows.saturated),
        np.array(wall),
        np.array(cpu),
        seconds,
        cpu_seconds,
        found.deviance,
        found.spectra,
    )


def median_course(run: Callable[[], Course]) -> Course:
    """The course of median length of a few: they differ in time alone."""
    courses = sorted((run() for _ in range(_REPEATS)), key=lambda c: c.seconds)
    return courses[_REPEATS // 2]


def peers(report: Report, dose: float) -> None:
    """Compare with the other peers on 128 x 128 pixels."""
    truth = case(128, dose)
    default_fit(truth)
    ours = median_course(lambda: default_fit(truth))
    rows: list[dict[str, Cell]] = [_row("siftem.PoissonNMF", ours, truth)]
    times, cpus = [], []
    for _ in range(_REPEATS):
        start, cpu = perf_counter(), process_time()
        factors = decompose(truth.spectrum_image, 3)
        times.append(perf_counter() - start)
        cpus.append(process_time() - cpu)
    chosen = angles(factors.spectra, truth.spectra)
    rows.append(
        {
            "method": "siftem.decompose (chosen)",
            "s": float(np.median(times)),
            "CPU s": float(np.median(cpus)),
            "deviance": factors.deviance,
            "degrees": _degrees(chosen),
        }
    )
    weights = solver.even_weights(CountRows.of(truth.counts), 3, np.dtype(float))
    pure = truth.spectra / truth.spectra.sum(axis=1, keepdims=True)
    solver.solve_weights(CountRows.of(truth.counts), pure, weights)
    true_deviance = deviance(truth.counts, weights, pure)
    rows.append({"method": "true spectra, best maps", "deviance": true_deviance})
    best = oracle(truth)
    rows.append({"method": "oracle (true maps)", "degrees": _degrees(angles(best, truth.spectra))})

    scaled = nmf_peers.keenan_kotula(truth)
    rows.append(_row(f"scikit-learn cd, Keenan-Kotula, {scaled.n_iter} it.", scaled, truth, ours))
    assert ours.deviance < scaled.deviance
    label = f"{dose:g} counts"
    needed = ">= 5" if dose > 100 else ">= 1"
    report.bar(f"{label}: cd / siftem", scaled.seconds / ours.seconds, needed)
    report.bar(f"{label}: cd / siftem, CPU", scaled.cpu / ours.cpu_seconds, needed)

    usual = nmf_peers.hyperspy_usual(truth)
    rows.append(_row("HyperSpy's usual call", usual, truth, ours))
    assert ours.deviance < usual.deviance
    own_peak = nmf_peers.peak_of_siftem(truth)
    rows[0]["peak MB"] = own_peak
    for name, seconds, cpu in (
        ("PoissonNMF", ours.seconds, ours.cpu_seconds),
        ("decompose", float(np.median(times)), float(np.median(cpus))),
    ):
        report.bar(f"{label}: HyperSpy / siftem.{name}", usual.seconds / seconds, ">= 30")
        report.bar(f"{label}: HyperSpy / siftem.{name}, CPU", usual.cpu / cpu, ">= 30")
    report.bar(f"{label}: peak memory over HyperSpy's", own_peak / usual.peak_mb, "<= 0.25")
    further = float((chosen - angles(usual.spectra, truth.spectra)).max())
    report.bar(f"{label}: degrees further off than HyperSpy", further, "<= 0")

    _finish(report, truth, dose, rows)


def updates(report: Report, dose: float, start: str, *, max_iter: int) -> None:
    """Compare with scikit-learn's multiplicative updates, from one of three starts.

    From "vertices" and "random", both get the same factors to start from; from "nndsvda",
    each has its own start.
    """
    truth = case(128, dose)
    default_fit(truth)
    ours = median_course(lambda: default_fit(truth))
    rows = [_row("siftem.PoissonNMF", ours, truth)]
    first = None if start == "nndsvda" else nmf_peers.start_of(truth, init=start)
    slow = nmf_peers.multiplicative(truth, max_iter=max_iter, start=first)
    courses = {"siftem": ours}
    if first is not None:
        courses["siftem's solver, same start"] = median_course(lambda: same_start(truth, first))
        rows.append(
            _row(f"siftem's solver from {start}", courses["siftem's solver, same start"], truth)
        )
    rows.append(_row(f"scikit-learn mu from {start}, {slow.n_iter} it.", slow, truth, ours))
    to_stop, to_own = _BARS[dose]
    for name, own in courses.items():
        wall, cpu = own.reached(slow.deviance)
        what = f"{dose:g} counts, mu from {start} / {name}"
        report.bar(f"{what}, to its stop", slow.seconds / wall, f">= {to_stop}")
        report.bar(f"{what}, to its stop, CPU", slow.cpu / cpu, f">= {to_stop}")
        report.bar(f"{what}, own convergence", slow.seconds / own.seconds, f">= {to_own}")
        report.bar(f"{what}, own convergence, CPU", slow.cpu / own.cpu_seconds, f">= {to_own}")
    _finish(report, truth, dose, rows)


def _finish(report: Report, truth: Case, dose: float, rows: list[dict[str, Cell]]) -> None:
    columns = ("method", "s", "CPU s", "deviance", "degrees", "peak MB", "s to its deviance")
    shape = f"128 x 128 x {truth.counts.shape[1]}, {dose:g} counts a pixel, {truth.counts.nnz}"
    report.table(f"{shape} stored entries", [{c: row.get(c, "") for c in columns} for row in rows])


def _row(
    name: str, found: Outcome | Course, truth: Case, ours: Course | None = None
) -> dict[str, Cell]:
    cpu = found.cpu if isinstance(found, Outcome) else found.cpu_seconds
    row: dict[str, Cell] = {
        "method": name,
        "s": found.seconds,
        "CPU s": cpu,
        "deviance": found.deviance,
        "degrees": _degrees(angles(found.spectra, truth.spectra)),
    }
    if isinstance(found, Outcome) and np.isfinite(found.peak_mb):
        row["peak MB"] = found.peak_mb
    if ours is not None:
        row["s to its deviance"] = ours.reached(found.deviance)[0]
    return row


def _degrees(found: np.ndarray) -> str:
    return ", ".join(f"{a:.1f}" for a in found)


def quiet() -> None:
    """Leave out the warnings of fits that are stopped on purpose."""
    warnings.simplefilter("ignore", SiftemWarning)
