"""The command ``siftem``: parse, build a recipe, call the pipeline, print."""

from __future__ import annotations

import gc
import signal
import sys

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
    from siftem.cli.home import provide_home

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
