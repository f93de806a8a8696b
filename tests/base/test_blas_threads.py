"""One thread of BLAS, whoever asks for it and however they overlap; the same bits every time."""

import hashlib
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from siftem.decomposition.factors import decompose
from siftem.machine import one_blas_thread
from siftem.simulate.phantom import simulate


def numbers():
    """Threads of each BLAS of this process."""
    found = ThreadpoolController().select(user_api="blas").info()
    return {lib["filepath"]: lib["num_threads"] for lib in found}


@pytest.fixture(autouse=True)
def two_threads():
    with threadpool_limits(limits=2, user_api="blas"):
        yield


def test_the_limit_holds_inside_and_goes_afterwards():
    assert set(numbers().values()) == {2}
    with one_blas_thread():
        assert set(numbers().values()) == {1}
        with one_blas_thread():
            pass
        assert set(numbers().values()) == {1}
    assert set(numbers().values()) == {2}
    with pytest.raises(RuntimeError), one_blas_thread():
        raise RuntimeError
    assert set(numbers().values()) == {2}


def test_threads_that_overlap_leave_no_limit_behind():
    """The one that came first goes first."""
    second_is_in, first_is_out = threading.Event(), threading.Event()
    seen = []

    def second():
        with one_blas_thread():
            second_is_in.set()
            first_is_out.wait(20)
            seen.append(set(numbers().values()))

    thread = threading.Thread(target=second)
    with one_blas_thread():
        thread.start()
        assert second_is_in.wait(20)
    first_is_out.set()
    thread.join()
    assert seen == [{1}]
    assert set(numbers().values()) == {2}


def factors():
    # With four components several starts run at a time, each of which needs linear algebra.
    return decompose(simulate(shape=(24, 24), dose=100, random_state=3).spectrum_image, 4, n_jobs=2)


def digest(found):
    return hashlib.sha256(found.maps.tobytes() + found.spectra.tobytes()).hexdigest()


def test_a_decomposition_gives_the_same_bits_again():
    assert len({digest(factors()) for _ in range(2)}) == 1
    assert set(numbers().values()) == {2}


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one processor has one number of threads")
def test_the_threads_of_linear_algebra_change_no_bit():
    script = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import test_blas_threads as here
        print(here.digest(here.factors()), set(here.numbers().values()))
    """
    found = []
    for number in ("1", "2"):
        threads = {f"{kind}_NUM_THREADS": number for kind in ("OPENBLAS", "MKL")}
        ended = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            env={**os.environ, **threads, "OMP_NUM_THREADS": number},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(ended.stdout.split())
    (first, one), (second, two) = found
    assert (one, two) == ("{1}", "{2}")
    assert first == second
