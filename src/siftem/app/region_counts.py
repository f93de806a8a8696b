"""Pixels of regions, traces and phases as small tables, which are the legend of the map, too."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

from siftem.app.overlays import reason_colour
from siftem.app.style import swatch
from siftem.figures.phase_map import MIXED_COLOUR, VACUUM_COLOUR
from siftem.figures.style import OVERLAP_COLOUR
from siftem.pipeline.layout import PhaseMap
from siftem.pipeline.left_out import LeftOut
from siftem.printed_numbers import with_error
from siftem.segment.regions import Regions


def region_counts_html(
    regions: Regions | None,
    colours: Mapping[str, str],
    painted: Mapping[str, int],
    left: LeftOut | None = None,
    *,
    left_first: bool = False,
) -> str:
    """Return the tables of painted pixels, of regions and of what is left out, as HTML.

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
    left_first : bool
        That table before the others, as the legend of its overlay.
    """
    masks = {} if regions is None else {g: m.sum() for g, m in regions.masks.items()}
    rows = [
        _row(
            colour,
            name,
            f"{painted.get(name, 0):,}",
            *([f"{masks[name]:,}" if name in masks else ""] if masks else []),
        )
        for name, colour in colours.items()
    ]
    tables = [_table("Phases", ["phase", "painted", *(["in its mask"] if masks else [])], rows)]
    if regions is None:
        return tables[0] + (
            "<p class='hint'>Train to see regions. Without traces, the most certain pixels of "
            "each component train the classifier.</p>"
        )
    # In the order of pixel_counts: pure, the mixtures, the intersection, the rest.
    kinds = [colours[regions.matrix], *(colours[g] for g in regions.names)]
    kinds += [OVERLAP_COLOUR, "#ffffff"]
    counts = regions.pixel_counts()
    total, head = sum(counts.values()), ["", "pixels", "of map"]

    def shares(of: Iterable[tuple[str, str, int]]) -> list[str]:
        return [_row(c, name, f"{n:,}", f"{100 * n / total:.1f}%") for c, name, n in of]

    named = zip(kinds, counts, counts.values(), strict=True)
    tables.append(_table("Regions", head, shares(named)))
    if left is not None and left.pixels:
        reasons = ((reason_colour(reason), reason, n) for reason, n in left.pixels.items())
        place = 0 if left_first else len(tables)
        tables.insert(place, _table("In no spectrum, and why", head, shares(reasons)))
    return f"<div class='tables'>{''.join(tables)}</div>" + (
        "<p class='hint'>pure: matrix alone. mixture: one grain over matrix. intersection: two "
        "grains or more.</p>"
    )


def _table(caption: str, head: Sequence[str], rows: Sequence[str]) -> str:
    first, *others = head
    cells = f"<th class='name'>{first}</th>" + "".join(f"<th>{name}</th>" for name in others)
    return (
        f"<table><caption>{caption}</caption><thead><tr>{cells}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


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
    return f"<tr><th>{swatch(colour)}{html.escape(name)}</th>{rest}</tr>"
