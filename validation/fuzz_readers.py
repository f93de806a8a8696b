"""Damaged files by the thousand: each must be read, or refused in one sentence, in time and memory.

    python -m validation.fuzz_readers [--mutants 3000] [--data FOLDER] [--seed 0]
        [--seconds 60] [--growth 2GB] [--workers 2] [--kinds hspy,emd] [--keep FOLDER]

Every kind of file that siftem reads is damaged at random: the smallest real map of its kind in
FOLDER, and small ones written here for the kinds that can be written. Bytes are changed, pieces
lost, doubled or cleared, numbers made huge, files cut. Each mutant is listed and read whole in a
worker process whose memory is measured, and which is ended when it does not come back. The table
tells for each kind what became of its mutants; anything but "read" and "refused" is a fault, its
number is printed (``--keep`` writes the files), and the exit status is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path

import numpy as np
from validation.reader_samples import Sample, made_samples, read_map

#: What a mutant may come to; all but the first two are faults.
OUTCOMES = ("read", "refused", "traceback", "several lines", "hang", "crash", "memory")
_FINE = OUTCOMES[:2]
_BEGUN, _TIMES_TO_BEGIN = "begun", 10
#: Seconds that may pass for one of the processor.
_TIMES_BUSY = 10
#: Where damage does most: the beginning of a file.
_HEAD = 4096
_ODD_NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FF00000)


@dataclass
class Row:
    """What became of the mutants of a kind."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    most_growth: float = 0.0


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage a file in one of several ways, more often near its beginning."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        if not data:
            break
        reach = min(_HEAD, len(data)) if rng.random() < 0.5 else len(data)
        at = int(rng.integers(reach))
        length = int(min(rng.integers(1, 1 + min(4096, len(data))), len(data) - at))
        how = rng.integers(8)
        if how == 0:
            for place in rng.integers(0, reach, int(rng.integers(1, 9))):
                data[place] ^= 1 << int(rng.integers(8))
        elif how == 1:
            data[at] = int(rng.integers(256))
        elif how == 2:
            data[at : at + length] = bytes(length)
        elif how == 3:
            data[at : at + length] = rng.bytes(length)
        elif how == 4:
            del data[at : at + length]
        elif how == 5:
            data[at:at] = data[at : at + length]
        elif how == 6:
            number = int(rng.choice(_ODD_NUMBERS))
            data[at : at + 4] = number.to_bytes(4, "little" if rng.random() < 0.8 else "big")
        else:
            del data[at:]
    return bytes(data)


def real_samples(folder: Path) -> list[Sample]:
    """The smallest file of each kind in a folder that can be read as a map."""
    smallest: dict[str, Sample] = {}
    for path in sorted(folder.iterdir(), key=lambda p: p.stat().st_size):
        kind = path.suffix[1:].lower()
        sample = Sample(f"{kind} real", path, read_map)
        if path.is_file() and kind not in smallest and _is_read(sample):
            smallest[kind] = sample
    return list(smallest.values())


def _is_read(sample: Sample) -> bool:
    """Whether a sample can be read, tried in a fork: what threads a reader starts end with it."""
    process = multiprocessing.get_context("fork").Process(target=_exit_with, args=(sample,))
    process.start()
    process.join()
    return process.exitcode == 0


def _exit_with(sample: Sample) -> None:
    outcome, _ = _read(sample, sample.path)
    sys.exit(0 if outcome == "read" else 1)


def fuzz(
    samples: list[Sample],
    *,
    mutants: int,
    seed: int,
    seconds: float,
    growth: float,
    workers: int,
    keep: Path | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Row]:
    """Read mutants of the samples in turn, each in a worker, and count what became of them.

    Parameters
    ----------
    samples : list of Sample
    mutants : int
    seed : int
        Mutant ``i`` depends on the seed and on ``i`` alone.
    seconds : float
        Of the processor for each; then its worker is ended.
    growth : float
        Bytes by which a worker may grow over one of them.
    workers : int
    keep : Path, optional
        Folder for mutants that were at fault.
    say : callable
        Called with a line for each fault.

    Returns
    -------
    dict of str to Row
        By kind.
    """
    rows = {sample.kind: Row() for sample in samples}
    waiting = iter(range(mutants))
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        pool = [_Worker(samples, seed, Path(scratch), growth) for _ in range(workers)]
        for worker in pool:
            stack.callback(worker.end)
        busy = [worker for worker in pool if worker.give(next(waiting, None))]
        while busy:
            wait([worker.pipe for worker in busy], timeout=0.2)
            for worker in busy:
                found = worker.outcome(seconds)
                if found is None:
                    continue
                number = worker.number
                assert number is not None
                sample = samples[number % len(samples)]
                outcome, spent, grown, text = found
                if outcome in _FINE and grown > growth:
                    outcome = "memory"
                row = rows[sample.kind]
                row.outcomes[outcome] += 1
                row.slowest = max(row.slowest, spent)
                row.most_growth = max(row.most_growth, grown)
                if outcome not in _FINE:
                    say(f"mutant {number} ({sample.kind}): {outcome} {text}")
                    if keep is not None:
                        keep.mkdir(parents=True, exist_ok=True)
                        name = f"{number}-{sample.path.name}"
                        (keep / name).write_bytes(_mutant(samples, seed, number))
                worker.give(next(waiting, None))
            busy = [worker for worker in pool if worker.number is not None]
    return rows


def _mutant(samples: list[Sample], seed: int, number: int) -> bytes:
    sample = samples[number % len(samples)]
    return mutate(sample.path.read_bytes(), np.random.default_rng([seed, number]))


class _Worker:
    """A process that reads one mutant after the other."""

    def __init__(self, samples: list[Sample], seed: int, scratch: Path, growth: float) -> None:
        self.given = (samples, seed, scratch, growth)
        self.number: int | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, *self.given), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, number: int | None) -> bool:
        """Hand out a mutant; False when there is none left."""
        self.number = number
        self._begin(_TIMES_TO_BEGIN)
        if number is not None:
            self.pipe.send(number)
        return number is not None

    def outcome(self, seconds: float) -> tuple[str, float, float, str] | None:
        """What became of it; None as long as it is being read in time."""
        spent = self._processor_time() - self.before
        try:
            if self.pipe.poll():
                outcome, grown, text = self.pipe.recv()
                if outcome != _BEGUN:
                    return outcome, spent, grown, text
                self._begin(1)
                return None
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode
            self._start()
            return "crash", spent, 0.0, f"exit status {code}"
        waited = time.monotonic() - self.since
        if spent < self.times * seconds and waited < _TIMES_BUSY * self.times * seconds:
            return None
        self.end()
        self._start()
        return "hang", spent, 0.0, f"after {waited:.0f} s"

    def _begin(self, times: int) -> None:
        self.since, self.before, self.times = time.monotonic(), self._processor_time(), times

    def _processor_time(self) -> float:
        """Seconds of the process: a busy machine is no fault of a mutant."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _work(pipe: Connection, samples: list[Sample], seed: int, scratch: Path, growth: float) -> None:
    warnings.simplefilter("ignore")
    _limit_address_space(growth)
    place = Path(tempfile.mkdtemp(dir=scratch))
    begun = set()
    with contextlib.suppress(EOFError):
        while True:
            number = pipe.recv()
            sample = samples[number % len(samples)]
            if sample.kind not in begun:  # what is compiled for a kind is no fault of a mutant
                _read(sample, sample.path)
                begun.add(sample.kind)
            pipe.send((_BEGUN, 0.0, ""))
            path = place / sample.path.name
            path.write_bytes(_mutant(samples, seed, number))
            for other in sample.beside:
                shutil.copy(other, place)
            before = _resident_from_now()
            outcome, text = _read(sample, path)
            pipe.send((outcome, _highest() - before, text))


def _read(sample: Sample, path: Path) -> tuple[str, str]:
    from siftem import SiftemError

    try:
        sample.read(path)
    except SiftemError as error:
        return ("several lines" if "\n" in str(error) else "refused"), str(error)[:200]
    except BaseException:
        return "traceback", traceback.format_exc(limit=-3)
    return "read", ""


def _limit_address_space(growth: float) -> None:
    """Far beyond what is measured: only so that the machine outlives a fault."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    now = _status("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (int(now + 4 * growth + 2**32), hard))


def _resident_from_now() -> float:
    """Bytes in memory; the highest value is counted anew from here on."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _highest() -> float:
    return _status("VmHWM")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024.0 * int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def table(rows: dict[str, Row]) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield f"| kind | mutants | {' | '.join(OUTCOMES)} | slowest, s | most growth, MB |"
    yield "|---" * (len(OUTCOMES) + 4) + "|"
    total = sum((row.outcomes for row in rows.values()), Counter[str]())
    everything = Row(
        total,
        max((row.slowest for row in rows.values()), default=0.0),
        max((row.most_growth for row in rows.values()), default=0.0),
    )
    for kind, row in [*sorted(rows.items()), ("all", everything)]:
        numbers = " | ".join(str(row.outcomes[outcome]) for outcome in OUTCOMES)
        yield (
            f"| {kind} | {row.outcomes.total()} | {numbers} | {row.slowest:.1f} | "
            f"{row.most_growth / 1e6:.0f} |"
        )


def main() -> int:
    from siftem.machine import parse_memory

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mutants", type=int, default=3000)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--growth", type=parse_memory, default=2 * 10**9)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kinds", help="only these, by comma")
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        samples = made_samples(Path(folder))
        if given.data is not None:
            samples += real_samples(given.data)
        if given.kinds:
            samples = [s for s in samples if s.kind in given.kinds.split(",")]
        for sample in samples:
            print(json.dumps({"kind": sample.kind, "bytes": sample.path.stat().st_size}))
        begun = time.monotonic()
        rows = fuzz(
            samples,
            mutants=given.mutants,
            seed=given.seed,
            seconds=given.seconds,
            growth=given.growth,
            workers=given.workers,
            keep=given.keep,
            say=lambda line: print(line, flush=True),
        )
    print("\n".join(table(rows)))
    print(f"{time.monotonic() - begun:.0f} s")
    return int(any(row.outcomes[o] for row in rows.values() for o in OUTCOMES[2:]))


if __name__ == "__main__":
    sys.exit(main())
