"""Break the numerical core at random places and see whether its tests notice.

    python -m validation.mutants [--packages fit unmixing ...] [--number 100] [--seed 0]
        [--modules fit/poisson.py ...] [--leave fit/calibrate.py ...]
        [--tests tests/fit/test_fit_poisson.py ...] [--out mutants.jsonl]
    python -m validation.mutants --again     # those of mutants.jsonl that survived, once more
    python -m validation.mutants --table     # the table alone

Each mutant changes one operator, number, condition or argument of one module. Places are drawn
at random, as many in each package, all kinds alike. The tests of the mutated package
(``tests/PACKAGE``) that call the changed function then run in a copy of the tree: if a test
fails, or takes too long, the mutant is seen. What survives has either no test, or does the same
as before: that is for a reader to decide. Outcomes are kept, one a line: a run that was stopped
goes on.

One process at a time, no network; Linux and macOS.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import numba
import pytest
from validation.mutant_places import ROOT, SOURCE, Mutant, places, shown

PACKAGES = ("fit", "unmixing", "quantification", "decomposition", "minerals", "eels")
#: A mutant is stopped after this many times the duration of the sound tests, plus a minute.
PATIENCE = 4.0
#: Loaded once, before the tests of each mutant start in a copy of the process.
_SLOW_TO_LOAD = (
    "numpy", "scipy.optimize", "scipy.ndimage", "scipy.interpolate", "scipy.stats", "xraylib",
    "sklearn.utils.estimator_checks", "hypothesis.extra.numpy", "dask.array", "hyperspy.api",
)  # fmt: skip


def drawn(options: argparse.Namespace) -> list[Mutant]:
    """Draw as many mutants as asked for, the same ones for the same seed and sources."""
    modules = options.modules or [
        path.relative_to(SOURCE).as_posix()
        for package in options.packages
        for path in sorted((SOURCE / package).glob("*.py"))
    ]
    kinds: dict[tuple[str, str], list[Mutant]] = {}
    for module in modules:
        for mutant in places(module) if module not in options.leave else ():
            kinds.setdefault((module.split("/")[0], mutant.kind), []).append(mutant)
    total = sum(map(len, kinds.values()))
    rng = random.Random(options.seed)
    for mutants in kinds.values():
        rng.shuffle(mutants)
    chosen: list[Mutant] = []
    while len(chosen) < min(options.number, total):
        # Packages in turn, and in each all kinds alike: half of all places are numbers.
        for package in dict.fromkeys(p for p, _ in kinds):
            full = [k for k, left in kinds.items() if k[0] == package and left]
            if full and len(chosen) < options.number:
                chosen.append(kinds[rng.choice(full)].pop())
    print(f"{len(chosen)} of {total} mutants of {len(modules)} modules")
    return chosen


class _Calls:
    """Pytest plugin that records which functions of a package each test calls.

    What a fixture of a whole file calls counts for all tests of that file.
    """

    def __init__(self, package: Path, out: Path) -> None:
        self.package, self.out = f"{package}{os.sep}", out
        self.called: dict[str, set[tuple[str, int]]] = {}
        self.seconds: Counter[str] = Counter()
        self.now: set[tuple[str, int]] = set()

    def _call(self, frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if code.co_filename.startswith(self.package):
            self.now.add((Path(code.co_filename).name, code.co_firstlineno))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        own = self.now
        if fixturedef.scope != "function":
            self.now = self.called.setdefault(_file(request._pyfuncitem.nodeid), set())
        try:
            return (yield)
        finally:
            self.now = own

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.now = self.called.setdefault(item.nodeid, set())
        sys.settrace(self._call)
        threading.settrace(self._call)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)

    def pytest_sessionfinish(self) -> None:
        """Write the calls of each test, the fastest first."""
        found = [
            (name, sorted(called | self.called.get(_file(name), set())))
            for name, called in self.called.items()
            if "::" in name
        ]
        found.sort(key=lambda test: self.seconds[test[0]])
        self.out.write_text(json.dumps(found), encoding="utf-8")


def _file(test: str) -> str:
    return test.split("::")[0]


class Bench:
    """A copy of the tree, in which mutants are tried one after the other."""

    def __init__(self, folder: Path, tests: list[str]) -> None:
        self.folder, self.tree = folder, folder / "tree"
        self.tests = tests
        shutil.rmtree(self.tree, ignore_errors=True)
        left_out = shutil.ignore_patterns(".git", "__pycache__", "_build", ".*_cache")
        # The times of change are kept: compiled kernels of an earlier run are still good.
        shutil.copytree(ROOT, self.tree, ignore=left_out)
        self.sources = self.tree / "src" / "siftem"
        self.sound: dict[str, float] = {}
        self.calls: dict[str, list[tuple[str, list[list[Any]]]]] = {}
        os.environ.update(PYTHONPATH=str(self.tree / "src"), PYTHONDONTWRITEBYTECODE="1")

    def tried(self, mutant: Mutant) -> tuple[str, str]:
        """Say whether tests saw a mutant, and which one did first."""
        package = mutant.module.split("/")[0]
        if package not in self.calls:
            calls = self.folder / "calls.json"
            start = time.monotonic()
            every = self.tests or [f"tests/{package}"]
            outcome, told = self._tested(every, None, calls=self.sources / package)
            if outcome != "survived":
                raise SystemExit(f"the tests of {package} fail without any mutant: {told}")
            self.sound[package] = time.monotonic() - start
            self.calls[package] = json.loads(calls.read_text(encoding="utf-8"))
        path = self.sources / mutant.module
        sound, stat = path.read_bytes(), path.stat()
        path.write_bytes(mutant.applied(sound))
        compiled = self.folder / "compiled"
        anew = b"njit" in sound
        if anew:
            # Compiled callers of a kernel are not compiled again when the kernel changes.
            compiled = self.folder / "compiled anew"
            shutil.copytree(self.folder / "compiled", compiled, dirs_exist_ok=True)
            kernels = (self.sources / package).glob("*.py")
            for module in (p.stem for p in kernels if b"njit" in p.read_bytes()):
                for old in compiled.rglob(f"{module}.*"):
                    old.unlink()
        try:
            tests = self._callers(mutant, package, anew)
            limit = PATIENCE * self.sound[package] + (360.0 if anew else 60.0)
            return self._tested(tests, limit, compiled=compiled)
        finally:
            path.write_bytes(sound)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            if anew:
                shutil.rmtree(compiled)

    def _callers(self, mutant: Mutant, package: str, kernels: bool) -> list[str]:
        """Tests that call the function that is changed, the fastest first; else all."""
        every = self.tests or [f"tests/{package}"]
        line = mutant.start[0]
        source = (self.sources / mutant.module).read_text(encoding="utf-8")
        inside = [
            node
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.FunctionDef) and node.lineno <= line <= (node.end_lineno or 0)
        ]
        if kernels or not inside:
            return every
        # The outermost: what it defines inside is called through it.
        first = min(inside, key=lambda node: node.lineno)
        start = min([first.lineno, *(d.lineno for d in first.decorator_list)])
        at = [mutant.module.split("/")[1], start]
        return [name for name, called in self.calls[package] if at in called]

    def _tested(
        self,
        tests: list[str],
        limit: float | None,
        *,
        compiled: Path | None = None,
        calls: Path | None = None,
    ) -> tuple[str, str]:
        """Run tests in a child that has the libraries loaded already."""
        if not tests:
            return "survived", "no test of the package calls it"
        out = self.folder / "out.txt"
        child = os.fork()
        if not child:
            with out.open("w") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            os.setpgid(0, 0)
            os.chdir(self.tree)
            sys.path.insert(0, str(self.tree / "src"))
            numba.config.CACHE_DIR = str(compiled or self.folder / "compiled")
            os.environ["NUMBA_CACHE_DIR"] = numba.config.CACHE_DIR
            plugins = [] if calls is None else [_Calls(calls, self.folder / "calls.json")]
            code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests], plugins=plugins)
            sys.stdout.flush()
            os._exit(int(code))
        status = _ended(child, limit)
        if status is None:
            return "too slow", ""
        lines = out.read_text(encoding="utf-8", errors="replace").splitlines()
        if status == 0:
            return "survived", ""
        told = [s for s in lines if s.startswith(("FAILED", "ERROR"))]
        return "seen", (told or lines[-1:] or [""])[0][:160]


def _ended(child: int, limit: float | None) -> int | None:
    """Exit code of a child process, or None when it had to be stopped."""
    last = None if limit is None else time.monotonic() + limit
    while last is None or time.monotonic() < last:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.1)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def run(mutants: list[Mutant], out: Path, bench: Bench) -> None:
    """Try mutants and append each outcome to a file of JSON lines."""
    mutants = sorted(mutants, key=lambda m: (m.module, m.start))
    for i, mutant in enumerate(mutants, start=1):
        outcome, told = bench.tried(mutant)
        record = {**asdict(mutant), "outcome": outcome, "told": told}
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        where = f"{mutant.module}:{mutant.start[0]}"
        print(f"{i}/{len(mutants)} {outcome}: {where} {shown(mutant)} {told}", flush=True)


def read(path: Path) -> list[dict[str, Any]]:
    """Read the outcomes of an earlier run; of several of one mutant, the last."""
    last: dict[str, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        last[json.dumps([record[k] for k in ("module", "start", "kind", "before", "after")])] = (
            record
        )
    return list(last.values())


def table(records: list[dict[str, Any]]) -> str:
    """Mutants, and how they ended, by package."""
    rows = Counter((str(r["module"]).split("/")[0], str(r["outcome"])) for r in records)
    lines = ["| package | mutants | seen | too slow | survived |", "|---|---|---|---|---|"]
    for package in dict.fromkeys(p for p, _ in sorted(rows)):
        counts = [rows[package, outcome] for outcome in ("seen", "too slow", "survived")]
        lines.append(f"| `{package}` | {sum(counts)} | " + " | ".join(map(str, counts)) + " |")
    return "\n".join(lines)


def left_to_do(mutants: list[Mutant], out: Path) -> list[Mutant]:
    """Leave out the mutants whose outcome is known."""
    if not out.exists():
        return mutants
    known = {(r["module"], *r["start"], r["before"], r["after"]) for r in read(out)}
    return [m for m in mutants if (m.module, *m.start, m.before, m.after) not in known]


def survivors(path: Path) -> list[Mutant]:
    """Find the mutants that survived once in the sources of today."""
    found = []
    for record in read(path):
        if record["outcome"] == "survived":
            same = [
                m
                for m in places(record["module"])
                if (m.before, m.after) == (record["before"], record["after"])
            ]
            # Sources may have moved since: the same change, nearest to where it was.
            found += sorted(same, key=lambda m: abs(m.start[0] - record["start"][0]))[:1]
    return found


def main() -> None:
    """Draw mutants, try them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", nargs="+", default=list(PACKAGES))
    parser.add_argument("--modules", nargs="+", default=[])
    parser.add_argument("--leave", nargs="+", default=[])
    parser.add_argument("--tests", nargs="+", default=[], help="in place of tests/PACKAGE")
    parser.add_argument("--number", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("mutants.jsonl"))
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--folder", type=Path, help="keeps the copy and its compiled kernels")
    options = parser.parse_args()
    if not options.table:
        if options.again:
            mutants = survivors(options.out)
        else:
            mutants = left_to_do(drawn(options), options.out)
        os.environ["OMP_NUM_THREADS"] = "1"
        for library in _SLOW_TO_LOAD:
            with contextlib.suppress(ImportError):
                importlib.import_module(library)
        with tempfile.TemporaryDirectory(prefix="siftem-mutants-") as temporary:
            bench = Bench(options.folder or Path(temporary), options.tests)
            run(mutants, options.out.resolve(), bench)
    print(table(read(options.out)))


if __name__ == "__main__":
    main()
