"""Jobs on Dask's workers: killed ones, failing ones, unreachable schedulers."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import made_up_batch
import pytest

from siftem.errors import InputError, SiftemError
from siftem.large.batch_workers import run_jobs


def run(function, jobs, **options):
    """Do the jobs; return their results, errors, reports and the dashboard's address."""
    results, errors, reports, addresses = {}, {}, [], []

    def finished(name, result, error):
        results[name] = result
        if error:
            errors[name] = error

    run_jobs(
        function,
        jobs,
        finished=finished,
        report=lambda *what: reports.append(what),
        dashboard=addresses.append,
        **options,
    )
    return results, errors, reports, addresses


def test_a_job_whose_worker_is_killed_is_done_by_another(tmp_path):
    jobs = {"a": (3, ""), "b": (4, str(tmp_path / "died")), "c": (5, "")}
    results, errors, reports, addresses = run(made_up_batch.die_once, jobs, workers=2, threads=1)
    assert results == {"a": 9, "b": 16, "c": 25}
    assert (tmp_path / "died").exists()
    assert not errors
    assert ("a", "work", 0.5) in reports
    assert addresses[0].startswith("http://127.0.0.1:")


@pytest.mark.slow
def test_workers_of_this_machine_get_a_job_when_they_are_free(tmp_path, monkeypatch):
    from distributed import Client

    given, done, waiting = [], [], []
    submit = Client.submit

    def counted(self, *args, **options):
        given.append(options["key"])
        waiting.append(len(given) - len(done))
        return submit(self, *args, **options)

    monkeypatch.setattr(Client, "submit", counted)
    names = ["long", "a", "b", "c", "d", "e"]
    run_jobs(
        made_up_batch.wait_for_others,
        {name: (str(tmp_path), name, len(names) - 1) for name in names},
        finished=lambda name, result, error: done.append((name, result, error)),
        report=lambda *_: None,
        dashboard=lambda _: None,
        workers=2,
        threads=1,
    )
    assert sorted(done) == sorted((name, name, "") for name in names)
    assert max(waiting) == 2


def test_errors_and_threads_of_workers(monkeypatch):
    import dask
    from distributed import Client, LocalCluster

    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as here,
        Client(here) as client,
    ):
        address = here.scheduler_address
        # Threads are those of the worker, whatever the environment says.
        assert run(made_up_batch.threads_seen, {"t": 0}, scheduler=address)[0] == {"t": (1, "1")}
        assert run(made_up_batch.threads_seen, {"t": 0}, scheduler=client)[0] == {"t": (1, "1")}
        with pytest.raises(InputError, match="not like this"):
            run(made_up_batch.raise_error, {"a": 1}, scheduler=address)
        # Again and again: given up, and told in one sentence.
        results, errors, *_ = run(made_up_batch.die_always, {"a": 1}, scheduler=address)
        assert results == {"a": None}
        assert "several workers died at this map" in errors["a"]


def test_a_scheduler_that_does_not_answer(monkeypatch):
    monkeypatch.setattr("siftem.large.batch_workers.CONNECT_SECONDS", 1)
    with pytest.raises(InputError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        run(made_up_batch.die_once, {}, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(SiftemError, match="no address of a Dask scheduler"):
        run(made_up_batch.die_once, {}, scheduler="nonsense")


def test_a_scheduler_need_not_import_what_its_workers_do():
    code = (
        "import sys; import siftem.large.batch_workers;"
        "print(sorted(set(sys.modules) & {'numba', 'sklearn', 'matplotlib', 'hyperspy', 'scipy'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_scheduler_that_dies_is_told_in_one_sentence(tmp_path):
    """Scheduler and worker in processes of their own, as on a cluster."""
    file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    options = ["--scheduler-file", str(file), "--no-dashboard"]
    scheduler = subprocess.Popen([*dask, "scheduler", "--host", "127.0.0.1", *options])
    while not file.exists():
        time.sleep(0.1)
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    worker = subprocess.Popen([*dask, "worker", "--nthreads", "1", *options], env=environment)
    address = json.loads(file.read_text())["address"]
    try:
        with pytest.raises(SiftemError, match="connection to Dask's scheduler was lost") as seen:
            run_jobs(
                made_up_batch.wait_long,
                {"a": 1},
                finished=lambda *_: None,
                report=lambda *_: scheduler.kill(),
                dashboard=lambda _: None,
                scheduler=address,
            )
        assert "\n" not in str(seen.value)
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()
