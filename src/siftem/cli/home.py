"""A home folder for libraries that insist on one, where the user has none that can be written."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path


def provide_home() -> Path | None:
    """Make a temporary home folder if there is none to write in, as in containers and on clusters.

    HyperSpy, numba and Matplotlib keep settings and caches there, and HyperSpy can't even be
    imported without. Called before any of them is.

    Returns
    -------
    Path or None
        The folder, which goes when the process ends; None when the user's own will do.
    """
    try:
        home = Path.home()
        if home.is_dir() and os.access(home, os.W_OK) and _takes_folders(home):
            return None
    except (OSError, RuntimeError):  # no home is known at all
        pass
    made = Path(tempfile.mkdtemp(prefix="siftem-home-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    os.environ["HOME"] = os.environ["USERPROFILE"] = str(made)
    for name in ("MPLCONFIGDIR", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        os.environ.setdefault(name, str(made / name.lower()))
    return made


def _takes_folders(home: Path) -> bool:
    """Read-only file systems and those without room refuse only when asked."""
    if (home / ".hyperspy").is_dir():
        return True
    try:
        Path(tempfile.mkdtemp(prefix=".siftem-", dir=home)).rmdir()
    except OSError:
        return False
    return True
