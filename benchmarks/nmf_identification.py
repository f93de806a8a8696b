"""How near the truth each way to choose among the factorisations comes, over seeds."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

import numpy as np

from benchmarks import nmf_peers
from benchmarks.nmf_cases import Case, angles, case, oracle, share_errors
from benchmarks.nmf_marginal import fit_marginal
from benchmarks.nmf_pan_sharpening import pan_sharpened
from benchmarks.nmf_tables import Cell, Report
from siftem import PoissonNMF, choose_n_components
from siftem.decomposition.detector_shapes import physics_basis
from siftem.decomposition.factors import decompose
from siftem.decomposition.initialise import pooled_counts
from siftem.simulate.phantom import simulate_demo
from siftem.xray.detector import Detector

#: What the phantom is made of.
ELEMENTS = ("O", "Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "Hf", "Lu", "U", "Cu")
#: Physics-guided NMF (espm) at 293 counts: degrees in rising order, RMSE of the maps.
_ESPM = (np.array([0.33, 5.7, 6.0]), 0.029)
_CHOSEN, _PLAIN = "chosen (default)", "plain, converged"
_HYPERSPY = "HyperSpy's usual call, on CSR"
_PHYSICS = "chosen, physics basis"

#: What the physics basis needs, in a process of its own.
_MEMORY = """
import json, sys, warnings
from benchmarks.nmf_cases import case
from benchmarks.nmf_identification import with_physics_basis
from benchmarks.nmf_peers import clear_peak, peak_mb
warnings.simplefilter("ignore")
truth = case(128, float(sys.argv[1]))
clear_peak()
with_physics_basis(truth)
print(json.dumps(dict(peak_mb=peak_mb())))
"""

Answer = tuple[str, np.ndarray, np.ndarray | None, float]


def identification(report: Report, dose: float, seeds: range, *, few: int) -> None:
    """Tabulate medians over seeds; what takes long over the first ``few``."""
    table: dict[str, list[np.ndarray]] = {}
    errors: dict[str, list[float]] = {}
    times: dict[str, list[float]] = {}
    for number, seed in enumerate(seeds):
        truth = case(128, dose, seed)
        for name, found, weights, seconds in answers(truth, slow=number < few):
            table.setdefault(name, []).append(angles(found, truth.spectra))
            times.setdefault(name, []).append(seconds)
            if weights is not None:
                errors.setdefault(name, []).append(share_errors(weights, found, truth))
    rows: list[dict[str, Cell]] = []
    median = {name: np.median(found, axis=0) for name, found in table.items()}
    for name, all_angles in table.items():
        rows.append(
            {
                "answer": name,
                "degrees": ", ".join(f"{a:.1f}" for a in median[name]),
                "RMSE of the shares": float(np.median(errors[name])) if name in errors else "",
                "s": float(np.median(times[name])),
                "seeds": len(all_angles),
            }
        )
    report.table(f"{dose:g} counts a pixel, medians over seeds", rows)
    ratio = median[_CHOSEN] / median[_PLAIN]
    report.bar(f"{dose:g} counts: chosen / plain, worst phase", float(ratio.max()), "<= 0.5")
    report.bar(f"{dose:g} counts: chosen / plain, median", float(np.median(ratio)), "<= 0.5")
    further = float((median[_CHOSEN] - median[_HYPERSPY]).max())
    report.bar(f"{dose:g} counts: chosen further off than HyperSpy, degrees", further, "<= 0")
    if dose > 100:
        worse = float((np.sort(median[_PHYSICS]) - _ESPM[0]).max())
        report.bar("physics basis: degrees further off than espm", worse, "<= 0")
    report.bar(f"{dose:g} counts: physics basis, s", float(np.median(times[_PHYSICS])), "<= 20")
    peak = nmf_peers.in_own_process(_MEMORY, str(dose))["peak_mb"]
    report.bar(f"{dose:g} counts: physics basis, peak MB", peak, "<= 500")


def answers(truth: Case, *, slow: bool) -> Iterator[Answer]:
    """Yield name, spectra, weights where they belong to them, and seconds of each answer."""
    shape = truth.shape

    start = perf_counter()
    model = PoissonNMF(3, map_shape=shape, tol=1e-7)
    weights = model.fit_transform(truth.counts)
    plain = model.components_
    yield _PLAIN, plain, weights, perf_counter() - start
    if slow:
        start = perf_counter()
        pooled, blocks = pooled_counts(truth.counts, shape, 3)
        model = PoissonNMF(3, map_shape=blocks, tol=1e-7).fit(pooled)
        yield "pooled alone", model.components_, None, perf_counter() - start
        start = perf_counter()
        sharpened, weights = pan_sharpened(truth)
        yield "pan-sharpening NMF", sharpened, weights, perf_counter() - start
        start = perf_counter()
        floor = 1e-7 * plain.max()
        marginal = fit_marginal(truth.counts, plain + floor, tol=1e-6)
        seconds = perf_counter() - start
        yield "marginal likelihood, gamma prior", marginal.spectra, marginal.weights, seconds
        start = perf_counter()
        marginal = fit_marginal(truth.counts, truth.spectra + floor, tol=1e-6)
        seconds = perf_counter() - start
        yield "the same, started at the truth", marginal.spectra, marginal.weights, seconds
    usual = nmf_peers.keenan_kotula(truth, max_iter=200)
    yield _HYPERSPY, usual.spectra, usual.weights, usual.seconds
    start = perf_counter()
    factors = decompose(truth.spectrum_image, 3)
    seconds = perf_counter() - start
    yield _CHOSEN, factors.spectra, factors.maps.reshape(3, -1).T, seconds
    start = perf_counter()
    spectra, weights = with_physics_basis(truth)
    yield _PHYSICS, spectra, weights, perf_counter() - start
    yield "oracle (true maps)", oracle(truth), None, float("nan")


def with_physics_basis(truth: Case) -> tuple[np.ndarray, np.ndarray]:
    """Chosen spectra (k, m), fitted by lines and continuum, and their weights (n, k)."""
    axis, detector = truth.spectrum_image.axis, Detector(collection_depth=80.0)
    basis, _ = physics_basis(axis, ELEMENTS, beam_energy=200.0, detector=detector)
    factors = decompose(truth.spectrum_image, 3, basis=basis)
    return factors.spectra, factors.maps.reshape(3, -1).T


def choice(report: Report, *, side: int = 128) -> None:
    """Choose the number of components of the demo phantom, which has three, over doses."""
    rows: list[dict[str, Cell]] = []
    for dose in (1, 5, 18, 50, 100, 300):
        si = simulate_demo((side, side), dose=dose, random_state=0).spectrum_image
        start = perf_counter()
        found = choose_n_components(si, range(1, 6))
        rows.append(
            {
                "counts a pixel": dose,
                "chosen": found.n_components,
                "sure": "yes" if found.sure else "no",
                "excess over standard error": ", ".join(
                    f"{e / max(s, 1e-9):.0f}" if e else "0"
                    for e, s in zip(found.excess, found.standard_error, strict=True)
                ),
                "s": perf_counter() - start,
            }
        )
        # Right, or honest about it.
        assert found.n_components == 3 or not found.sure
    report.table("Number of components of the demo phantom (three phases), 1 to 5 tried", rows)
    wrong = sum(row["chosen"] != 3 for row in rows if int(row["counts a pixel"]) >= 18)
    report.bar("choice wrong at 18 to 300 counts", wrong, "<= 0")
