"""``siftem maps``: maps of line families by a fit to each pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from siftem.cli.compiling import compiling_told
from siftem.cli.display import ProgressBars
from siftem.cli.options import ERRORS, OUTPUT, Out, Quiet, Signal, Support


def maps(
    file: Annotated[Path, typer.Argument(help="A vendor file or a HyperSpy file.")],
    elements: Annotated[
        str | None,
        typer.Option("--elements", help="Elements to map, e.g. O,Mg,Si; else those of the file."),
    ] = None,
    support: Support = None,
    signed: Annotated[
        bool,
        typer.Option("--signed", help="Unbiased, for sums and means: pixels may be negative."),
    ] = False,
    signal: Signal = None,
    out: Out = None,
    quiet: Quiet = False,
) -> None:
    """Map all line families by a fit to each pixel, as TIFF stacks with their errors."""
    from siftem.element_mapping import element_maps
    from siftem.io.atomic import refusals_told
    from siftem.io.hyperspy_bridge import load
    from siftem.io.images import write_values
    from siftem.pipeline.recipe_parts import listed_names
    from siftem.pipeline.warning_record import recorded_warnings

    with (
        recorded_warnings() as notes,
        compiling_told(ERRORS, quiet),
        ProgressBars(ERRORS, quiet) as progress,
    ):
        si = load(file, signal=signal, progress=progress)
        found = element_maps(
            si,
            listed_names(elements) or None,
            support=listed_names(support) or (),
            nonnegative=not signed,
            progress=progress,
        )
    folder = out or Path(f"siftem-maps-{file.stem}")
    with refusals_told(f"to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        for name, values in (("counts", found.counts), ("sigma", found.sigma)):
            images = dict(zip(found.names, values, strict=True))
            write_values(folder / f"{name}.tif", images, si.pixel_size)
    for note in notes:
        ERRORS.print(f"siftem: {note}", markup=False)
    if not quiet:
        for name, total, sigma in zip(found.names, found.totals, found.sigma, strict=True):
            OUTPUT.print(
                f"{name}: {total:.4g} counts in all, "
                f"{np.median(sigma):.3g} (1 sigma) in a typical pixel",
                markup=False,
            )
        OUTPUT.print(f"maps: {folder / 'counts.tif'}, {folder / 'sigma.tif'}", markup=False)
