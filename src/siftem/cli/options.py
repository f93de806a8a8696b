"""Options that several commands have, and where all of them print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

#: Errors and progress go to standard error, results to standard output.
ERRORS = Console(stderr=True, highlight=False, soft_wrap=True)
OUTPUT = Console(highlight=False, soft_wrap=True)

Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the results.")]
Show = Annotated[bool, typer.Option("--open", help="Open the report in the browser at the end.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, errors only.")]
Signal = Annotated[int | None, typer.Option("--signal", help="Number of the signal in the file.")]
Support = Annotated[
    str | None, typer.Option("--support", help="Elements of grid and holder, e.g. Cu,C.")
]
Scheduler = Annotated[str | None, typer.Option("--scheduler", help="Address of a Dask scheduler.")]
