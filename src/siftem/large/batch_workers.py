"""Whole jobs on Dask's workers: on this machine, or on a cluster by its scheduler's address."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import pickle
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from typing import Any

from siftem import __version__, machine
from siftem.errors import InputError, SiftemError
from siftem.progress import Progress

#: Seconds after which a scheduler counts as absent.
CONNECT_SECONDS = 20
#: Seconds between two reports of a worker on the same step.
_REPORT_EVERY = 0.2
#: Variables by which numerical libraries learn how many threads they may use.
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
#: Jobs of one process are done one after the other, whatever threads its worker has.
_one_at_a_time = threading.Lock()

Job = Any
Report = Callable[[str, str, float], None]
Finished = Callable[[str, Any, str], Job | None]


#: A protocol that Dask knows or none, a host (in brackets where it is a number of IPv6), a port.
_ADDRESS = re.compile(
    r"(?:(?:tcp|tls|ucx|ucxx|ws|wss|inproc)://)?(?:\[[0-9a-fA-F:.]+\]|[^\s:/]+):\d+"
)
_INSIDE = re.compile(r"inproc://\S+")


def checked_address(text: str) -> str:
    """Return the address of a scheduler if it can be one.

    Parameters
    ----------
    text : str
        Such as "tcp://10.0.0.5:8786"; the protocol may be left out.

    Raises
    ------
    InputError
        When it cannot. Dask's client would try for a long time, and complain for longer.
    """
    text = text.strip()
    if not (_ADDRESS.fullmatch(text) or _INSIDE.fullmatch(text)):
        raise InputError(
            f"{text!r} is no address of a Dask scheduler: give the one that it prints when it "
            f"starts, such as tcp://10.0.0.5:8786"
        )
    return text


def run_jobs(
    function: Callable[[Job, Progress], Any],
    jobs: Mapping[str, Job],
    *,
    finished: Finished,
    report: Report,
    dashboard: Callable[[str], None],
    workers: int | None = None,
    threads: int | None = None,
    scheduler: str | Any | None = None,
) -> None:
    """Do independent jobs on workers; a job whose worker dies is done again by another.

    Parameters
    ----------
    function : callable
        ``function(job, progress)``, found by its module and name on the workers.
    jobs : mapping of str to object
        By name; picklable.
    finished : callable
        ``finished(name, result, error)`` for each job that ended, as they end. ``error`` is
        one sentence when several workers died at it, else empty. A job that it returns is
        done in place of the one that ended.
    report : callable
        ``report(name, step, fraction)`` while they work; from another thread.
    dashboard : callable
        Given the address of Dask's dashboard once.
    workers : int, optional
        Processes on this machine, each with ``threads`` threads; by default cores divided
        by ``workers``.
    threads : int, optional
    scheduler : str or dask.distributed.Client, optional
        Of a cluster that is there, instead of ``workers``.

    Raises
    ------
    InputError
        When no scheduler answers, or the numbers make no sense.
    SiftemError
        What ``function`` raises goes through; the other jobs are given up.
    """
    from distributed import KilledWorker, as_completed

    topic = f"siftem-{uuid.uuid4().hex}"
    with _quiet(), _connected(workers, threads, scheduler) as client:
        dashboard(client.dashboard_link)
        client.subscribe_topic(topic, lambda event: report(*event[1]))
        names: dict[Any, str] = {}

        def submit(name: str, job: Job) -> Any:
            future = client.submit(
                _on_worker,
                # As bytes, for the scheduler would unpack anything else, and import it all.
                pickle.dumps((function, job)),
                name,
                topic,
                None if scheduler is not None else _threads(workers, threads),
                __version__,
                key=f"{name}-{uuid.uuid4().hex[:8]}",
                pure=False,
            )
            names[future.key] = name
            return future

        # Dask hands out at once all that it knows of, and of four maps one worker may get
        # three. So workers of this machine get their next map when they have done one. A
        # cluster has to see all that is waiting, to grow with it.
        waiting = iter(jobs.items())
        at_once = len(jobs) if scheduler is not None else workers or 1
        pending = as_completed(
            [submit(name, job) for name, job in itertools.islice(waiting, at_once)],
            loop=client.loop,
        )
        for future in pending:
            name = names.pop(future.key)
            error = _error_of(future)
            if isinstance(error, KilledWorker):
                again = finished(
                    name,
                    None,
                    "several workers died at this map, probably for want of memory: "
                    "use fewer workers, or crop the map",
                )
            elif isinstance(error, SiftemError):
                raise error
            elif error is not None:
                raise SiftemError(f"a worker failed: {type(error).__name__}: {error}") from error
            else:
                again = finished(name, future.result(), "")
            if again is not None:
                waiting = itertools.chain(waiting, [(name, again)])
            for following in itertools.islice(waiting, 1):
                pending.add(submit(*following))


def _error_of(future: Any) -> BaseException | None:
    lost = SiftemError(
        "the connection to Dask's scheduler was lost: start it and run the same command again, "
        "what was finished is kept"
    )
    try:
        found: BaseException | None = future.exception()
    except CancelledError:
        raise lost from None
    if future.cancelled():
        raise lost
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Dask tells of every lost connection; what matters is told in one sentence."""
    names = [n for n in logging.root.manager.loggerDict if n.split(".")[0] == "distributed"]
    levels = {name: logging.getLogger(name).level for name in names}
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _threads(workers: int | None, threads: int | None) -> int:
    return threads or max(machine.available() // (workers or 1), 1)


@contextlib.contextmanager
def _connected(
    workers: int | None, threads: int | None, scheduler: str | Any | None
) -> Iterator[Any]:
    """Give a client of a cluster: one that is there, or workers of this machine."""
    from distributed import Client

    # Never the default client: one that found no scheduler would stay it, and whatever Dask
    # is asked to do afterwards would wait for it for ever.
    if scheduler is None:
        with (
            _local(workers or 1, _threads(workers, threads)) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            yield client
    elif isinstance(scheduler, str):
        scheduler = checked_address(scheduler)
        try:
            client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise InputError(
                f"no Dask scheduler answers at {scheduler}: start one with 'dask scheduler', or "
                f"give the address that it prints"
            ) from error
        with client:
            yield client
    else:
        yield scheduler


@contextlib.contextmanager
def _local(workers: int, threads: int) -> Iterator[Any]:
    import dask
    from distributed import LocalCluster

    # The libraries read these when they are imported, so before the workers begin.
    limits = dict.fromkeys(_THREADS, threads)
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ": limits}),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster


def _on_worker(
    packed: bytes,
    name: str,
    topic: str,
    threads: int | None,
    version: str,
) -> Any:
    import dask
    from distributed import get_worker
    from threadpoolctl import threadpool_limits

    if version != __version__:
        raise SiftemError(
            f"the workers have siftem {__version__}, but this is {version}: "
            f"install the same on all of them"
        )
    function, job = pickle.loads(packed)
    worker = get_worker()
    threads = threads or worker.state.nthreads
    last: list[Any] = ["", 0.0]

    def progress(step: str, fraction: float) -> None:
        now = time.monotonic()
        if step != last[0] or fraction >= 1 or now - last[1] > _REPORT_EVERY:
            last[:] = step, now
            worker.log_event(topic, (name, step, float(fraction)))

    # Dask's own scheduler would hand the reading of a file to other workers.
    with _one_at_a_time, dask.config.set(scheduler="synchronous"), threadpool_limits(threads):
        before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = str(threads)
        try:
            return function(job, progress)
        finally:
            if before is None:
                del os.environ["OMP_NUM_THREADS"]
            else:
                os.environ["OMP_NUM_THREADS"] = before
