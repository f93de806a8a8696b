"""Pixels of regions, traces and phases as small tables, which are the legend of the map, too."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from siftem.app.overlays import reason_colour
from siftem.app.style import swatch
from siftem.figures.regions import MIXED_COLOUR, VACUUM_COLOUR
from siftem.pipeline.layout import PhaseMap
from siftem.pipeline.left_out import LeftOut
from siftem.printed_numbers import with_error
from siftem.segment.regions import Regions


def region_counts_html(
    regions: Regions | None,
    colours: Mapping[str, str],
    painted: Mapping[str, int],
    left: LeftOut | None = None,
) -> str:
    """Return painted pixels, regions, and what is left out and why, as one HTML table.

    Parameters
    ----------
    regions : Regions or None
        None before training.
    colours : mapping of str to str
        Of all phases.
    painted : mapping of str to int
        Painted pixels of each phase.
    left : LeftOut, optional
        Why the others are left out.
    """
    rows = []
    if regions is None:
        rows += [_row(c, name, f"{painted.get(name, 0):,}") for name, c in colours.items()]
        return _table(["phase", "painted"], rows) + (
            "<p class='hint'>Train to see regions. Without traces, the most certain pixels of "
            "each component train the classifier.</p>"
        )
    # In the order of pixel_counts: pure, the mixtures, the intersection, the rest.
    counts = regions.pixel_counts()
    total = sum(counts.values())

    def share(n: int) -> tuple[str, str]:
        return f"{n:,}", f"{100 * n / total:.1f}%"

    for phase, (name, n) in zip((regions.matrix, *regions.names), counts.items(), strict=False):
        mask = regions.masks.get(phase)
        inside = "" if mask is None else f"{mask.sum():,}"
        rows.append(_row(colours[phase], name, f"{painted.get(phase, 0):,}", inside, *share(n)))
    if left is not None and left.pixels:
        rows.append(_row("", "In no spectrum", "", "", *share(sum(left.pixels.values()))))
        rows += [_row(reason_colour(r), r, "", "", *share(n)) for r, n in left.pixels.items()]
    return _table(["region", "painted", "in mask", "pixels", "of map"], rows) + (
        "<p class='hint'>pure: matrix alone. mixture: one grain over matrix.</p>"
    )


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    first, *others = head
    cells = f"<th class='name'>{first}</th>" + "".join(f"<th>{name}</th>" for name in others)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def areas_html(shown: PhaseMap, colours: Mapping[str, str]) -> str:
    """Return the share of the map of each phase, with its error, as an HTML table."""
    every = {n: colours[n] for n in shown.names} | {"mixed": MIXED_COLOUR, "vacuum": VACUUM_COLOUR}
    areas, errors = shown.area_percent, shown.area_sigma
    rows = "".join(
        _row(colour, name, f"{with_error(areas[name], errors.get(name, 0.0))} %")
        for name, colour in every.items()
        if name in shown.names or areas[name]
    )
    return f"<table><caption>Area of each phase</caption><tbody>{rows}</tbody></table>"


def _row(colour: str, name: str, *cells: str) -> str:
    rest = "".join(f"<td>{cell}</td>" for cell in cells)
    return f"<tr><th>{swatch(colour) if colour else ''}{html.escape(name)}</th>{rest}</tr>"
