"""The subcommand ``siftem app``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def open_app(
    file: Annotated[
        Path | None, typer.Argument(help="A spectrum image, or a recipe (.yaml).")
    ] = None,
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 5006,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; any but this machine's own asks for a token."),
    ] = "localhost",
    pages: Annotated[
        int, typer.Option(min=1, help="Pages that may be open at a time, each with its own map.")
    ] = 8,
    show: Annotated[
        bool, typer.Option("--show/--no-show", help="Open a browser, or only tell the address.")
    ] = True,
) -> None:
    """Do all of it with a mouse, in the browser."""
    from siftem.app.extra import require_extra

    require_extra()
    from siftem.app.server import serve

    serve(
        file,
        host=host,
        port=port,
        pages=pages,
        show=show,
        tell=lambda text: print(text, flush=True),
    )
