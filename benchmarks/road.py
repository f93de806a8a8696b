"""What the commands of a user cost beside importing the libraries alone.

    python -m benchmarks.road                      # all commands, three turns
    python -m benchmarks.road --before COMMIT      # beside the code of another commit
    python -m benchmarks.road --store              # take today's answers for the right ones

Every command runs in a process of its own, by turns with one that only imports HyperSpy,
scikit-learn, scikit-image, Matplotlib, numba, Dask and PyArrow: the ratio of the two is what can
be compared between machines and between days. Processor seconds (of all threads and child
processes) hardly depend on what else the machine does, wall times do. Peak memory is that of the
process. A first turn, which compiles the kernels if they are not there yet, is told apart.

The compositions in each ``summary.json`` are compared with those in ``road_answers.json``, in
units of their standard errors; beyond a fifth the command ends with 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from siftem.datasets import example_path

ROOT = Path(__file__).resolve().parents[1]
ANSWERS = Path(__file__).with_name("road_answers.json")
IMPORTS = (
    "import hyperspy.api as hs, sklearn.ensemble, skimage.filters, matplotlib.pyplot, numba, "
    "dask.array, pyarrow; hs.load; hs.signals"
)
#: What the ratio to the imports should stay below.
WANTED = {"siftem run 71gpa.yaml": 2.6, "siftem demo": 2.0, "siftem inspect": 0.8}
#: Standard errors by which an answer may move: unmixing ends within a tenth of its optimum.
MOST_MOVED = 0.2


@dataclass(frozen=True)
class Cost:
    """What one process took: seconds of the clock and of processors, peak memory in MB."""

    wall: float
    processor: float
    peak: float


def commands(map_file: Path | None) -> dict[str, list[str]]:
    """Arguments of the interpreter for each command; ``{out}`` is a new folder each time."""
    siftem = ["-m", "siftem"]
    found = {"imports": ["-c", IMPORTS], "siftem demo": [*siftem, "demo", "--out", "{out}"]}
    if map_file is not None:
        recipe = str(ROOT / "examples" / "71gpa.yaml")
        found["siftem inspect"] = [*siftem, "inspect", str(map_file)]
        found["siftem run 71gpa.yaml"] = [*siftem, "run", recipe, "--out", "{out}"]
    return found


def measured(arguments: Sequence[str], source: Path, out: Path) -> Cost:
    """Run a Python process on the code in ``source`` and return what it took."""
    command = [sys.executable, *(a.format(out=out) for a in arguments)]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    start = time.perf_counter()
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(
            command, env=environment, cwd=out.parent, stdout=subprocess.DEVNULL, stderr=told
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            told.seek(0)
            sys.exit(f"{' '.join(arguments)} failed:\n{told.read().decode()[-2000:]}")
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3)


def answers_in(summary: Path) -> dict[str, tuple[float, float]]:
    """At% and their standard errors in a ``summary.json``, by phase and element."""
    told = json.loads(summary.read_text(encoding="utf-8"))
    unmixed = (told.get("unmixing") or {}).get("phases", {})
    groups = {"": told["phases"], "mixture ": told.get("mixtures", {}), "unmixed ": unmixed}
    return {
        f"{kind}{phase} {element}": (float(found["at_percent"]), float(found["at_sigma"]))
        for kind, phases in groups.items()
        for phase, about in phases.items()
        for element, found in about.get("elements", {}).items()
        if found.get("at_sigma")
    }


def farthest(answers: dict[str, tuple[float, float]], stored: dict[str, list[float]]) -> str | None:
    """Tell the answer that moved by most from a stored one, None if all stayed."""
    if set(answers) != set(stored):
        return f"other answers than stored: {', '.join(sorted(set(answers) ^ set(stored)))}"
    moved = {n: abs(v - stored[n][0]) / stored[n][1] for n, (v, _) in answers.items()}
    worst = max(moved, key=lambda n: moved[n])
    print(f"    answers: {len(moved)}, at most {moved[worst]:.2g} standard errors from the stored")
    if moved[worst] <= MOST_MOVED:
        return None
    return f"{worst} is {answers[worst][0]:.5g} and not {stored[worst][0]:.5g} at%"


@contextlib.contextmanager
def source_of(commit: str) -> Iterator[Path]:
    """The package as a commit has it, in a folder that goes afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "archive", commit, "src"], cwd=ROOT, check=True, capture_output=True
        )
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder) / "src"


def turns(
    asked: dict[str, list[str]], sources: dict[str, Path], number: int, folder: Path
) -> tuple[dict[tuple[str, str], list[Cost]], dict[str, Path]]:
    """Run all commands by turns, one turn before that counts; return costs and last folders."""
    costs: dict[tuple[str, str], list[Cost]] = {}
    outs: dict[str, Path] = {}
    for turn in range(number + 1):
        for which, source in sources.items():
            for name, arguments in asked.items():
                out = folder / f"{which}-{turn}-{name.replace(' ', '-')}"
                cost = measured(arguments, source, out)
                if turn:
                    costs.setdefault((which, name), []).append(cost)
                else:
                    print(f"first turn, {which}: {name} {cost.processor:.1f} s of processor")
                if which == "now" and "{out}" in arguments:
                    outs[name] = out
    return costs, outs


def print_table(costs: dict[tuple[str, str], list[Cost]]) -> None:
    """Print medians over the turns and their ratios to the imports beside them."""
    floors = {}
    print(f"\n{'':32s}{'s':>7s}{'cpu s':>7s}{'MB':>6s}{'s ratio':>9s}{'cpu ratio':>10s}  wanted")
    for (which, name), found in costs.items():
        wall = statistics.median(c.wall for c in found)
        processor = statistics.median(c.processor for c in found)
        floor = floors.setdefault(which, (wall, processor))  # the imports come first
        wanted = f"{WANTED[name]:g}" if name in WANTED else ""
        print(
            f"{f'{name}, {which}':32s}{wall:7.1f}{processor:7.1f}"
            f"{statistics.median(c.peak for c in found):6.0f}"
            f"{wall / floor[0]:9.2f}{processor / floor[1]:10.2f}  {wanted}"
        )


def main() -> int:
    """Measure, print and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--before", metavar="COMMIT")
    parser.add_argument("--only", metavar="TEXT", default="", help="commands with this in them")
    parser.add_argument("--store", action="store_true")
    asked = parser.parse_args()
    map_file = example_path()
    if map_file is None:
        print("the 71 GPa map is not here (siftem example 71gpa): only the demo is measured")
    some = {n: a for n, a in commands(map_file).items() if n == "imports" or asked.only in n}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sources = {"now": ROOT / "src"}
        if asked.before:
            sources["before"] = stack.enter_context(source_of(asked.before))
        costs, outs = turns(some, sources, asked.turns, folder)
        print_table(costs)
        answers = {n: answers_in(out / "summary.json") for n, out in outs.items()}
    stored = json.loads(ANSWERS.read_text(encoding="utf-8")) if ANSWERS.exists() else {}
    if asked.store:
        text = json.dumps({**stored, **answers}, indent=1)
        ANSWERS.write_text(text + "\n", encoding="utf-8")
        return 0
    wrong = []
    for name, found in answers.items():
        print(f"{name}:")
        wrong += [f"{name}: {said}" for said in [farthest(found, stored[name])] if said]
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
