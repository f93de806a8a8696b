"""How far runs on maps of the same place give the same labels.

    siftem run P45_the_default_job.bcf --out 18 && siftem run P45_12bit_packed_8bit.bcf --out 122
    python -m validation.label_agreement 18 122 [...]

Phases of each pair of runs are matched one to one by the pixels that they share; a phase that only
one of the runs has agrees nowhere. Pixels count where both runs label.
"""

from __future__ import annotations

import argparse
import warnings
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

import siftem


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """Percent of the pixels that both label in which they agree, phases matched one to one."""
    both = (one >= 0) & (other >= 0)
    shared = np.zeros((one.max() + 1, other.max() + 1), int)
    np.add.at(shared, (one[both], other[both]), 1)
    return float(100 * shared[linear_sum_assignment(-shared)].sum() / max(both.sum(), 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs")
    args = parser.parse_args()
    labels = {}
    for run in args.runs:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = siftem.open_run(run)
        labels[run.name] = np.asarray(found.phase_map.labels)
        area = {
            n: 100 * np.mean(labels[run.name] == i) for i, n in enumerate(found.phase_map.names)
        }
        print(f"{run.name}: {', '.join(f'{n} {a:.1f}%' for n, a in area.items())}")
    for one, other in combinations(labels, 2):
        print(f"{one}, {other}: {agreement(labels[one], labels[other]):.1f}% alike")


if __name__ == "__main__":
    main()
