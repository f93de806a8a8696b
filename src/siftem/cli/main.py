"""The command ``siftem``: parse, build a recipe, call the pipeline, print."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

#: Commands that end with what they have made; servers and batches keep Python's own habits.
_SOON_DONE = {"demo", "inspect", "run"}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and exit.

    ``siftem --version`` is answered before anything heavy is imported.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the process.

    Returns
    -------
    int
        0 done, 1 failed with a message, 2 used wrongly, 130 interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["--version"]:
        from siftem import __version__

        print(f"siftem {__version__}")
        return 0

    provide_home()
    from siftem.cli.commands import run_commands

    return run_commands(arguments)


def entry() -> None:
    """Entry point of the console script."""
    signal.signal(signal.SIGTERM, _stop)
    if _SOON_DONE.intersection(sys.argv[1:2]):
        # Libraries and their classes stay, half a million objects: look through them seldom.
        gc.set_threshold(50_000, 10, 5)
    sys.exit(main())


def _stop(number: int, frame: object) -> None:
    """Stop as for Ctrl-C, drafts and scratch folders removed: queues end their jobs this way."""
    raise KeyboardInterrupt


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
