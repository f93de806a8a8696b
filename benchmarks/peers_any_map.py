"""Pure spectra by siftem and by what HyperSpy's users have, on the same maps of every layout.

    python -m benchmarks.peers_any_map [--layouts interface,wedge] [--doses 30,300,3000]
        [--seeds 3] [--size 56] [--components auto|true] [--siftem any_map.json] [--out peers.json]

The others are told the true number of phases, which siftem finds itself (``--components true``
tells it, too). A second column of siftem's is what it says when the user names, of each grain
that is nowhere alone, one element that it lacks (`validation.any_map.anchored`):

* HyperSpy's NMF, ``decomposition(algorithm="NMF", normalize_poissonian_noise=True)``
* HyperSpy's ``cluster_analysis`` after the decomposition, mean spectra of clusters
* PCA and ICA, ``blind_source_separation`` after the decomposition
* k-means on the scores of a weighted PCA (scikit-learn), mean spectra of clusters

siftem's are the pure spectra of its run, freed from noise (`siftem.denoised`) as its factors are.
Angles in degrees between spectra and true ones, matched one to one, from 0.2 keV up. With
``--siftem`` the angles of siftem come from a study by `validation.any_map` of the same maps.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.utils.extmath import randomized_svd
from validation.any_map import plain, run_one
from validation.foreign_phantoms import Phantom, as_signal, names, phantom

from validation import any_map_scores as scores

#: keV; below is the zero peak of a real detector.
FROM = 0.2
#: Degrees by which a spectrum may be worse than the best of the others and still be as good.
AS_GOOD = 0.3
#: What siftem says alone, and with an element told that grains lack which are nowhere alone.
OWN = {"siftem": False, "siftem, anchored": True}


def hyperspy_nmf(signal: Any, k: int) -> np.ndarray:
    signal.decomposition(
        normalize_poissonian_noise=True, algorithm="NMF", output_dimension=k, print_info=False
    )
    return signal.get_decomposition_factors().data


def _decomposed(signal: Any, k: int) -> None:
    """The usual decomposition; a randomised solver gives its first components, but sooner."""
    signal.decomposition(
        normalize_poissonian_noise=True,
        svd_solver="randomized",
        output_dimension=k + 1,
        random_state=0,
        print_info=False,
    )


def hyperspy_clusters(signal: Any, k: int) -> np.ndarray:
    _decomposed(signal, k)
    signal.cluster_analysis(
        cluster_source="decomposition",
        number_of_components=k,
        n_clusters=k,
        algorithm="kmeans",
        random_state=0,
    )
    return signal.get_cluster_signals(signal="mean").data


def pca_ica(signal: Any, k: int) -> np.ndarray:
    _decomposed(signal, k)
    if k == 1:
        found = signal.get_decomposition_factors().data[:1]
    else:
        signal.blind_source_separation(number_of_components=k, random_state=0, print_info=False)
        found = signal.get_bss_factors().data
    # The sign of a component is free.
    return found * np.sign(found.sum(axis=1, keepdims=True))


def k_means_on_scores(signal: Any, k: int) -> np.ndarray:
    rows = signal.data.reshape(-1, signal.data.shape[-1])
    by_pixel = np.sqrt(np.maximum(rows.sum(1), 1e-9))
    by_channel = np.sqrt(np.maximum(rows.sum(0), 1e-9))
    u, s, _ = randomized_svd(rows / by_pixel[:, None] / by_channel, k, random_state=0)
    found = KMeans(k, n_init=10, random_state=0).fit_predict(u * s)
    return np.stack([rows[found == i].mean(axis=0) for i in range(k)])


PEERS: dict[str, Callable[[Any, int], np.ndarray]] = {
    "HyperSpy NMF": hyperspy_nmf,
    "cluster_analysis": hyperspy_clusters,
    "PCA + ICA": pca_ica,
    "k-means": k_means_on_scores,
}


def peer_angles(made: Phantom, dose: float, seed: int) -> dict[str, list[float] | str]:
    """Angle of each true phase's spectrum for each peer, or why there is none."""
    channels = made.energies >= FROM
    true = made.spectra[:, channels]
    counts = made.counts(dose, seed)
    out: dict[str, list[float] | str] = {}
    for name, find in PEERS.items():
        signal = as_signal(made, counts).isig[FROM:]
        signal.change_dtype("float64")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                out[name] = _angles(list(find(signal, len(true))), true)
        except Exception as error:  # the others may fail, too
            out[name] = f"{type(error).__name__}: {error}"
    return out


def _angles(found: list[np.ndarray], true: np.ndarray) -> list[float]:
    pairs = scores.matched(found, true)
    return [scores.angle(found[pairs[i]], t) if i in pairs else 90.0 for i, t in enumerate(true)]


def siftem_angles(row: Mapping[str, Any], *, anchors: bool = False) -> list[float] | str:
    """The same from a row of `validation.any_map`."""
    if "error" in row:
        return str(row["error"])
    found = [p.get("denoised_deg", 90.0) for p in row["phases"].values()]
    if anchors:
        told = [p.get("anchored_deg") for p in row["phases"].values()]
        found = [a if t is None else t for a, t in zip(found, told, strict=True)]
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: median over seeds of the mean angle over phases, and who is best."""
    methods = [*OWN, *PEERS]
    lines = [f"| layout | counts | {' | '.join(methods)} |", "|---" * (2 + len(methods)) + "|"]
    cases, good = 0, dict.fromkeys(OWN, 0)
    for (layout, dose), group in groupby(rows, key=lambda r: (r["layout"], r["dose"])):
        maps = list(group)
        middle = {m: np.median([_mean(r["angles"][m]) for r in maps]) for m in methods}
        lines.append(
            f"| {layout} | {dose:g} | " + " | ".join(f"{middle[m]:.1f}" for m in methods) + " |"
        )
        cases += 1
        for m in OWN:
            good[m] += middle[m] <= min(middle[m] for m in PEERS) + AS_GOOD
    counted = ", ".join(f"{m} in {n}" for m, n in good.items())
    lines += ["", f"No worse than the best of the others, of {cases} cases: {counted}."]
    return "\n".join(lines)


def _mean(angles: list[float] | str) -> float:
    return 90.0 if isinstance(angles, str) else float(np.mean(angles))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--layouts", help="names, separated by commas; all by default")
    parser.add_argument("--doses", default="30,300,3000")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=56)
    parser.add_argument("--components", choices=["auto", "true"], default="auto")
    parser.add_argument("--siftem", type=Path, help="JSON of validation.any_map: its maps are used")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.siftem:
        runs = json.loads(args.siftem.read_text())
    else:
        runs = [
            {
                "layout": layout,
                "dose": float(dose),
                "seed": seed,
                "size": args.size,
                "components": args.components,
                "unlisted": False,
                "computed_k": True,  # angles don't ask for them
            }
            for layout in (args.layouts.split(",") if args.layouts else names())
            for dose in args.doses.split(",")
            for seed in range(args.seeds)
        ]
    known = _known(args.out)
    rows = []
    for run in runs:
        key = [run["layout"], run["dose"], run["seed"], run["size"]]
        found = known.get(json.dumps(key))
        if found is None:
            made = phantom(run["layout"], size=run["size"], seed=run["seed"])
            found = peer_angles(made, run["dose"], run["seed"])
        row = run if args.siftem else run_one(run)
        own = {name: siftem_angles(row, anchors=told) for name, told in OWN.items()}
        row = {"layout": key[0], "dose": key[1], "seed": key[2], "size": key[3]}
        rows.append({**row, "angles": {**own, **found}})
        print(row, {m: _mean(a) for m, a in rows[-1]["angles"].items()}, flush=True)
        if args.out:
            args.out.write_text(json.dumps(plain(rows), indent=1) + "\n")
            args.out.with_suffix(".md").write_text(table(rows) + "\n")
    print("\n" + table(rows))


def _known(path: Path | None) -> dict[str, Any]:
    """What the others found in an earlier study: their answers don't change."""
    if path is None or not path.is_file():
        return {}
    keys = ("layout", "dose", "seed", "size")
    return {
        json.dumps([r[k] for k in keys]): {m: r["angles"][m] for m in PEERS}
        for r in json.loads(path.read_text())
    }


if __name__ == "__main__":
    main()
