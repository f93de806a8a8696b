"""A few dozen mutants, and that each kind of fault would be seen."""

import os
import time

import numpy as np
import pytest
from validation.reader_samples import Sample, made_samples

from siftem.errors import ReadError
from validation import fuzz_readers as fuzzing

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
LIMITS = {"seed": 3, "growth": 2e9, "workers": 1}


def test_mutants_of_all_kinds_are_read_or_refused(tmp_path):
    samples = made_samples(tmp_path)
    said = []
    rows = fuzzing.fuzz(samples, mutants=12 * len(samples), seconds=60, say=said.append, **LIMITS)
    assert not said
    assert all(row.outcomes.total() == 12 for row in rows.values())
    outcomes = sum((row.outcomes for row in rows.values()), fuzzing.Counter())
    assert set(outcomes) == {"read", "refused"}


def test_what_is_damaged_can_be_read_before(tmp_path):
    for sample in made_samples(tmp_path):
        sample.read(sample.path)


def refused(path):
    raise ReadError("one sentence")


def wordy(path):
    raise ReadError("two\nlines")


def broken(path):
    raise ZeroDivisionError


def crashing(path):
    if path.read_bytes() != b"good":
        os.abort()


def hanging(path):
    while path.read_bytes() != b"good":
        pass


def sleeping(path):
    while path.read_bytes() != b"good":
        time.sleep(0.1)


def growing(path):
    np.ones(5 * 10**7).sum()


@pytest.mark.parametrize(
    ("read", "outcome"),
    [
        (len, "traceback"), (broken, "traceback"), (wordy, "several lines"), (hanging, "hang"),
        (sleeping, "hang"),
        (crashing, "crash"), (growing, "memory"), (refused, "refused"), (str, "read"),
    ],
)  # fmt: skip
def test_each_outcome_is_told_from_the_others(tmp_path, read, outcome):
    path = tmp_path / "sample.bin"
    path.write_bytes(b"good")
    sample = Sample("bin", path, read)
    said, kept = [], tmp_path / "kept"
    limits = LIMITS | {"growth": 1e8}
    seconds = {hanging: 1, sleeping: 0.1}.get(read, 60)
    rows = fuzzing.fuzz(
        [sample, sample], mutants=2, seconds=seconds, say=said.append, keep=kept, **limits
    )
    assert rows["bin"].outcomes == {outcome: 2}
    fine = outcome in ("read", "refused")
    assert len(said) == (0 if fine else 2)
    assert kept.exists() != fine
    assert "| bin | 2 |" in "\n".join(fuzzing.table(rows))


def test_a_mutant_depends_on_its_number_alone(tmp_path):
    content = bytes(range(256)) * 40
    mutants = [fuzzing.mutate(content, np.random.default_rng([0, i])) for i in range(300)]
    again = [fuzzing.mutate(content, np.random.default_rng([0, i])) for i in range(300)]
    assert mutants == again
    assert sum(mutant != content for mutant in mutants) > 290
    assert len({len(mutant) for mutant in mutants}) > 100
