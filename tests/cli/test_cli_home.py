"""Without a home folder to write in, everything works all the same."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import siftem
from siftem.cli import main as module

HOMES = ["/proc/nobody", "/nowhere/at/all"]


def test_the_command_works_without_a_home(tmp_path):
    counts = sp.csr_array(np.ones((4, 300)))
    si = siftem.SpectrumImage(counts, (2, 2), siftem.EnergyAxis(0.0, 0.02, 300))
    siftem.to_hyperspy(si).save(tmp_path / "map.hspy")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XDG", "MPL", "NUMBA"))}
    ended = subprocess.run(
        [sys.executable, "-m", "siftem", "inspect", str(tmp_path / "map.hspy")],
        env={**environment, "HOME": HOMES[0], "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.glob("siftem-home-*"))


@pytest.mark.parametrize("home", HOMES)
def test_a_home_is_made_and_goes_with_the_process(tmp_path, monkeypatch, home):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    at_end = []
    monkeypatch.setattr("atexit.register", lambda *call, **options: at_end.append((call, options)))
    names = ("MPLCONFIGDIR", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    for name in ("HOME", "USERPROFILE", *names):
        monkeypatch.setenv(name, home)  # so that all is put back afterwards
    for name in names:
        monkeypatch.delenv(name)
    made = module.provide_home()
    assert made is not None and made.parent == tmp_path
    assert Path.home() == made
    (made / "written").touch()
    assert all(Path(os.environ[name]).parent == made for name in names)
    [((end, *arguments), options)] = at_end
    end(*arguments, **options)
    assert not made.exists()


def test_a_home_that_can_be_written_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert module.provide_home() is None
    assert not list(tmp_path.iterdir())
    assert Path.home() == tmp_path
