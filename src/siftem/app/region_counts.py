"""Pixels of regions, traces and phases as small tables, which are the legend of the map, too."""

from __future__ import annotations

import html
from collections.abc import Mapping

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
    """
    masks = {} if regions is None else {g: m.sum() for g, m in regions.masks.items()}
    rows = "".join(
        _row(
            colour,
            name,
            f"{painted.get(name, 0):,}",
            *([f"{masks[name]:,}" if name in masks else ""] if masks else []),
        )
        for name, colour in colours.items()
    )
    in_mask = "<th>in its mask</th>" if masks else ""
    head = f"<thead><tr><th class='name'>phase</th><th>painted</th>{in_mask}</tr></thead>"
    out = f"<div class='tables'><table><caption>Phases</caption>{head}<tbody>{rows}</tbody></table>"
    if regions is None:
        return out + (
            "</div><p class='hint'>Train to see regions. Without traces, the most certain pixels "
            "of each component train the classifier.</p>"
        )
    total = regions.shape[0] * regions.shape[1]
    # In the order of pixel_counts: pure, the mixtures, the intersection, the rest.
    kinds = [colours[regions.matrix], *(colours[g] for g in regions.names)]
    kinds += [OVERLAP_COLOUR, "#ffffff"]
    rows = "".join(
        _row(colour, name, f"{n:,}", f"{100 * n / total:.1f}%")
        for colour, (name, n) in zip(kinds, regions.pixel_counts().items(), strict=True)
    )
    head = "<thead><tr><th class='name'></th><th>pixels</th><th>of map</th></tr></thead>"
    out += f"<table><caption>Regions</caption>{head}<tbody>{rows}</tbody></table>"
    if left is not None and left.pixels:
        rows = "".join(
            _row(reason_colour(reason), reason, f"{n:,}", f"{100 * n / total:.1f}%")
            for reason, n in left.pixels.items()
        )
        out += (
            f"<table><caption>In no spectrum, and why</caption>{head}<tbody>{rows}</tbody></table>"
        )
    return out + (
        "</div><p class='hint'>pure: matrix alone. mixture: one grain over matrix. intersection: "
        "two grains or more.</p>"
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
