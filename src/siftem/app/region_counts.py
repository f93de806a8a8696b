"""Pixels of regions and traces as a small table, which is the legend of the map, too."""

from __future__ import annotations

import html
from collections.abc import Mapping

from siftem.app.style import swatch
from siftem.figures.style import OVERLAP_COLOUR
from siftem.segment.regions import Regions


def region_counts_html(
    regions: Regions | None, colours: Mapping[str, str], painted: Mapping[str, int]
) -> str:
    """Return the tables of painted pixels and of regions as HTML.

    Parameters
    ----------
    regions : Regions or None
        None before training.
    colours : mapping of str to str
        Of all phases.
    painted : mapping of str to int
        Painted pixels of each phase.
    """
    rows = "".join(
        _row(colour, name, f"{painted.get(name, 0):,}") for name, colour in colours.items()
    )
    out = f"<table><caption>Painted</caption><tbody>{rows}</tbody></table>"
    if regions is None:
        return out + (
            "<p class='hint'>Train to see regions. Without traces, the most certain pixels of "
            "each component train the classifier.</p>"
        )
    total = regions.shape[0] * regions.shape[1]
    # In the order of pixel_counts: pure, the mixtures, the intersection, the rest.
    kinds = [colours[regions.matrix], *(colours[g] for g in regions.names)]
    kinds += [OVERLAP_COLOUR, "#ffffff"]
    rows = "".join(
        _row(colour, name, f"{n:,}", f"{100 * n / total:.1f}%")
        for colour, (name, n) in zip(kinds, regions.pixel_counts().items(), strict=True)
    )
    head = "<thead><tr><th class='name'>region</th><th>pixels</th><th>of map</th></tr></thead>"
    out += f"<table><caption>Regions</caption>{head}<tbody>{rows}</tbody></table>"
    return out + (
        "<p class='hint'>pure: matrix alone. mixture: one grain over matrix. intersection: two "
        "grains or more. left out: borders, faint rims, vacuum.</p>"
    )


def _row(colour: str, name: str, *cells: str) -> str:
    rest = "".join(f"<td>{cell}</td>" for cell in cells)
    return f"<tr><th>{swatch(colour)}{html.escape(name)}</th>{rest}</tr>"
