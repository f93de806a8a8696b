"""Speed, memory and truth of the Poisson factorisation beside its peers.

    python -m benchmarks.nmf                      all, half an hour on two idle cores
    python -m benchmarks.nmf --only peers         one part: peers, large, identification, ...
    python -m benchmarks.nmf --quick              fewer seeds, repeats and iterations

Every method works on the same counts in one run. It prints the tables of
docs/benchmarks-nmf.md (``--json FILE`` writes them for programs), stops when an answer is
wrong, and lists every bar of speed and memory with what was found. Seconds are of the wall;
beside them stand those of the processors, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.nmf_identification import choice, identification
from benchmarks.nmf_sooner import peers, quiet, updates
from benchmarks.nmf_speed import large, sweeps
from benchmarks.nmf_tables import Report, machine

PARTS = ("speed", "large", "peers", "updates", "identification", "choice")
#: Where scikit-learn's multiplicative updates start.
STARTS = ("nndsvda", "vertices", "random")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer seeds and iterations")
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--dose", type=float, action="append", help="300, 20 or both")
    parser.add_argument("--start", choices=STARTS, action="append", help="of the updates")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    parts, doses = given.only or PARTS, given.dose or [20.0, 300.0]
    seeds = range(2 if given.quick else given.seeds)
    quiet()
    report = Report()
    report.table("Machine", [machine()])
    if "speed" in parts:
        sweeps(report)
    if "large" in parts:
        large(report, repeats=1 if given.quick else 3, peer=not given.quick)
    if "peers" in parts:
        for dose in doses:
            peers(report, dose)
    if "updates" in parts:
        for dose in doses:
            for start in given.start or STARTS:
                updates(report, dose, start, max_iter=50 if given.quick else 2000)
    if "identification" in parts:
        for dose in doses:
            identification(report, dose, seeds, few=1 if given.quick else 3)
    if "choice" in parts:
        choice(report)
    report.finish(given.json)


if __name__ == "__main__":
    main()
