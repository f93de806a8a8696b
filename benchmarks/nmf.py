"""Speed, memory and truth of the Poisson factorisation beside its peers.

Run ``python -m benchmarks.nmf`` (some ten minutes on two cores) or ``--quick``, which
stops scikit-learn's multiplicative updates early. Every method works on the same counts in
one run. It prints the tables of docs/benchmarks-nmf.md and fails when an answer is wrong.
"""

from __future__ import annotations

import argparse
import platform
import warnings
from time import perf_counter

import numpy as np

from benchmarks import nmf_peers, nmf_speed
from benchmarks.nmf_cases import Case, angles, case, oracle, share_errors
from siftem import PoissonNMF, decompose
from siftem.decompose.physics_basis import physics_basis
from siftem.errors import SiftemWarning
from siftem.xray.detector import Detector

#: What the phantom is made of.
ELEMENTS = ("O", "Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "Hf", "Lu", "U", "Cu")
#: Wall times of the answer with a physics basis.
SECONDS: list[float] = []


def ours(truth: Case, **parameters: object) -> tuple[float, PoissonNMF, np.ndarray]:
    """Best of three fits: seconds, model, weights."""
    best = None
    for _ in range(3):
        start = perf_counter()
        model = PoissonNMF(3, map_shape=truth.shape, **parameters)  # type: ignore[arg-type]
        weights = model.fit_transform(truth.counts)
        seconds = perf_counter() - start
        if best is None or seconds < best[0]:
            best = (seconds, model, weights)
    assert best is not None
    return best


def seconds_to(truth: Case, target: float) -> float:
    """Seconds until the deviance is at most ``target``: the fit stopped after ever more sweeps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SiftemWarning)
        for sweeps in (1, 2, 3, 5, 8, 12, 20, 40, 80):
            seconds, model, _ = ours(truth, max_iter=sweeps, tol=0.0)
            if model.deviance_ <= target:
                return seconds
    return float("nan")


def peers(dose: float, *, max_iter: int) -> None:
    """Print one table: times, deviances and angles of all methods on 128 x 128 pixels."""
    truth = case(128, dose)
    PoissonNMF(3, map_shape=truth.shape, max_iter=2000).fit(truth.counts)
    seconds, model, _ = ours(truth)
    print(f"\n128 x 128 x {truth.counts.shape[1]}, {dose:g} counts a pixel, nnz {truth.counts.nnz}")
    print("| method | s | deviance | degrees from the truth | siftem sooner to its deviance |")
    print("|---|---|---|---|---|")
    row("siftem.PoissonNMF", seconds, model.deviance_, model.components_, truth)
    start = perf_counter()
    factors = decompose(truth.spectrum_image, 3)
    row("siftem.decompose", perf_counter() - start, factors.deviance, factors.spectra, truth)
    methods = {
        "scikit-learn cd, Keenan-Kotula": lambda: nmf_peers.keenan_kotula(truth),
        "HyperSpy NMF": lambda: nmf_peers.hyperspy_usual(truth),
        f"scikit-learn mu, {max_iter}": lambda: nmf_peers.multiplicative(truth, max_iter=max_iter),
    }
    for name, method in methods.items():
        outcome = method()
        sooner = outcome.seconds / seconds_to(truth, outcome.deviance)
        label = f"{name} ({outcome.n_iter} iterations)"
        row(label, outcome.seconds, outcome.deviance, outcome.spectra, truth, f"{sooner:.0f}")
        if "mu" not in name:
            assert model.deviance_ < outcome.deviance
    row("oracle (true maps)", 0.0, float("nan"), oracle(truth), truth)


def row(
    name: str, seconds: float, found: float, spectra: np.ndarray, truth: Case, sooner: str = ""
) -> None:
    """Print one line of a table."""
    degrees = ", ".join(f"{a:.1f}" for a in angles(spectra, truth.spectra))
    print(f"| {name} | {seconds:.2f} | {found:.0f} | {degrees} | {sooner} |", flush=True)


def identification(seeds: range) -> None:
    """Print the median angles over seeds of the answers that `siftem` can give."""
    for dose in (300, 20):
        table: dict[str, list[np.ndarray]] = {}
        errors: dict[str, list[float]] = {}
        for seed in seeds:
            truth = case(128, dose, seed)
            for name, found, weights in answers(truth):
                table.setdefault(name, []).append(angles(found, truth.spectra))
                if weights is not None:
                    errors.setdefault(name, []).append(share_errors(weights, found, truth))
        print(f"\n{dose} counts a pixel, median over {len(seeds)} seeds")
        print("| answer | degrees from the truth | RMSE of the shares |\n|---|---|---|")
        for name, found in table.items():
            degrees = ", ".join(f"{a:.1f}" for a in np.median(found, axis=0))
            rmse = f"{np.median(errors[name]):.3f}" if name in errors else ""
            print(f"| {name} | {degrees} | {rmse} |", flush=True)
        print(f"physics basis and smoothed maps: {np.median(SECONDS):.1f} s")
        chosen, plain = (np.median(table[n], axis=0) for n in ("chosen (default)", "plain"))
        assert np.median(chosen / plain) <= 0.5


def answers(truth: Case) -> list[tuple[str, np.ndarray, np.ndarray | None]]:
    """Spectra, and weights where they belong to them, of each way to choose an answer."""
    out: list[tuple[str, np.ndarray, np.ndarray | None]] = []
    shape = truth.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SiftemWarning)
        for name, parameters in {
            "plain": {},
            "smoothness 1": {"smoothness": 1.0},
            "sparsity 0.5": {"sparsity": 0.5},
            "minimum volume 0.01": {"volume": 0.01},
        }.items():
            model = PoissonNMF(3, map_shape=shape, max_iter=100, tol=1e-5, **parameters)
            weights = model.fit_transform(truth.counts)
            out.append((name, model.components_, weights))
        factors = decompose(truth.spectrum_image, 3)
        out.append(("chosen (default)", factors.spectra, factors.maps.reshape(3, -1).T))
        smooth = PoissonNMF(
            3,
            map_shape=shape,
            fixed_spectra=dict(enumerate(factors.spectra)),
            # The noise of a share falls with the counts, its true steps don't.
            smoothness=30.0 / (truth.counts.sum() / truth.counts.shape[0]),
            max_iter=100,
            tol=1e-5,
        )
        weights = smooth.fit_transform(truth.counts)
        out.append(("chosen, maps smoothed", smooth.components_, weights))
        basis, _ = physics_basis(
            factors.axis, ELEMENTS, beam_energy=200.0, detector=Detector(collection_depth=80.0)
        )
        tied = PoissonNMF(3, map_shape=shape, basis=basis, max_iter=100, tol=1e-5)
        weights = tied.fit_transform(truth.counts)
        out.append(("plain, physics basis", tied.components_, weights))
        start = perf_counter()
        fitted = decompose(truth.spectrum_image, 3, basis=basis)
        smooth.set_params(fixed_spectra=dict(enumerate(fitted.spectra)))
        weights = smooth.fit_transform(truth.counts)
        name = "chosen, physics basis, maps smoothed"
        out.append((name, smooth.components_, weights))
        SECONDS.append(perf_counter() - start)
        out.append(("oracle", oracle(truth), None))
    return out


def speed() -> None:
    """Print the large map, threads, slope, floor and compile time."""
    for n_jobs in (2, 1):
        found = nmf_speed.large(n_jobs)
        print(
            f"\n512 x 512, 50 counts, {n_jobs} threads:", {k: round(v, 3) for k, v in found.items()}
        )
        assert found["converged"]
        assert found["peak_mb"] < 4 * found["csr_mb"] + 300
    points = nmf_speed.sweep_times()
    print("\nentries and seconds of a sweep, one thread:", [(n, round(t, 5)) for n, t in points])
    print(f"slope {nmf_speed.slope(points):.2f}")
    truth = case(128, 300)
    floor = nmf_speed.bytes_a_sweep(truth.counts) / nmf_speed.bandwidth()
    print(f"a sweep takes {points[3][1] / floor:.0f} times its memory floor of {floor:.5f} s")
    first, second = nmf_speed.compile_seconds()
    print(f"first fit {first:.1f} s without compiled kernels, {second:.2f} s with")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="50 multiplicative updates, 3 seeds")
    parser.add_argument("--only", choices=["peers", "identification", "speed"])
    arguments = parser.parse_args()
    print(platform.platform(), platform.processor(), platform.python_version())
    ours(case(32, 50))
    if arguments.only in (None, "speed"):
        speed()
    if arguments.only in (None, "identification"):
        identification(range(3 if arguments.quick else 10))
    if arguments.only in (None, "peers"):
        for dose in (20, 300):
            peers(dose, max_iter=50 if arguments.quick else 2000)


if __name__ == "__main__":
    main()
