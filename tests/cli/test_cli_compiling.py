"""Compilation of kernels is told."""

import time

import numba
import pytest
from rich.console import Console

from siftem.cli import display
from siftem.cli.display import compiling_told


@pytest.fixture
def console():
    return Console(record=True, width=200)


def test_what_is_compiled_is_told_once_with_its_time(console, monkeypatch):
    monkeypatch.setattr(display, "_SHORT", 0.0)
    inner = numba.njit(lambda x: x + 1)
    outer = numba.njit(lambda x: inner(x) * 2)
    with compiling_told(console):
        start = time.perf_counter()
        assert outer(1) == 4
        assert outer(1.5) == 5.0
        most = time.perf_counter() - start
    first, last = console.export_text().strip().splitlines()
    assert first == "compiling kernels, once after installation ..."
    assert 0 <= int(last.split(" s of this run went to compiling")[0]) <= most + 0.5


def test_nothing_is_said_where_nothing_is_compiled_or_nobody_listens(console):
    kernel = numba.njit(lambda x: x - 1)
    with compiling_told(console, quiet=True):
        kernel(1)
    with compiling_told(console):
        kernel(2)
    kernel(1.0)  # after the listening
    assert console.export_text() == ""


def test_a_copy_of_the_process_says_nothing(console, monkeypatch):
    with compiling_told(console):
        monkeypatch.setattr(display.os, "getpid", lambda: -1)
        assert numba.njit(lambda x: x + 2)(1) == 3
    assert "compiling kernels" not in console.export_text()
