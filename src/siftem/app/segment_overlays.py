"""What lies over the map of the step Segment, and what is said beside it."""

from __future__ import annotations

import html

import numpy as np

from siftem.app.map_findings import MapFindings
from siftem.app.overlays import (
    UNLIKE_COLOUR,
    left_out_overlay,
    mask_overlay,
    phases_overlay,
    probability_overlay,
    regions_overlay,
)
from siftem.app.region_counts import areas_html, region_counts_html
from siftem.app.session import Session
from siftem.app.style import swatch
from siftem.pipeline.results import Classified
from siftem.segment.classifier import normalised_entropy

_UNSURE = "#D55E00"


def overlay_pixels(
    kind: str, of: str, session: Session, findings: MapFindings
) -> np.ndarray | None:
    """Colours over the map, uint8 (ny, nx, 4); None where there is nothing to show yet."""
    workflow, colours = session.workflow, session.colours()
    cut, classified = workflow.get("regions"), workflow.get("segment")
    if kind == "Phase map":
        shown = session.phase_map()
        return None if shown is None else phases_overlay(shown, colours)
    if kind in ("Probability", "Uncertainty"):
        if classified is None or not classified.probabilities:
            return None
        grains = classified.probabilities
        alone = np.prod([1 - p for p in grains.values()], axis=0)  # no grain: pure matrix
        present = grains.get(of, alone)
        if kind == "Probability":
            return probability_overlay(present, colours[of])
        return probability_overlay(normalised_entropy(np.stack([1 - present, present])), _UNSURE)
    if kind == "Unlike painted":
        return mask_overlay(findings.unlike_painted(), UNLIKE_COLOUR)
    if cut is None:
        return None
    if kind == "Regions":
        return regions_overlay(cut.regions, colours)
    if kind == "Left out":
        left = findings.left_out()
        return None if left is None else left_out_overlay(left)
    if kind == "Mask" and of == cut.regions.matrix:
        return mask_overlay(cut.regions.pure.mask, colours[of])
    if kind == "Mask" and of in cut.regions.masks:
        return mask_overlay(cut.regions.masks[of], colours[of])
    return None


def training_sentence(scores: Classified) -> str:
    """Say what the regions come from, and how well the classifier repeats its traces."""
    if not scores.out_of_bag:
        return (
            "The regions are the classes of the pixels, as the layout says: no classifier was "
            "needed. Traces take their place."
        )
    said = ", ".join(f"{g} {100 * s:.1f}%" for g, s in scores.out_of_bag.items())
    how = "painted traces" if scores.painted else "the most certain pixels"
    return f"Trained on {how}; traces classified rightly when not seen: {said}."


def tables_html(kind: str, session: Session, findings: MapFindings) -> str:
    """Return what stands beside the map under an overlay: areas of phases, or pixels of regions."""
    colours = session.colours()
    shown = session.phase_map() if kind == "Phase map" else None
    if shown is not None:
        sentence = html.escape(session.layout_sentence())
        hint = f"<p class='hint'>{sentence}. Correct it in the step Decompose.</p>"
        return areas_html(shown, colours) + hint
    cut, left = session.workflow.get("regions"), findings.left_out()
    regions = None if cut is None else cut.regions
    tables = region_counts_html(regions, colours, session.traces.pixels(), left)
    return _advice(session, findings) + tables


def _advice(session: Session, findings: MapFindings) -> str:
    """Say what is wrong with the traces, and where to paint next; HTML."""
    if not session.traces.shapes:
        return ""
    said = "".join(
        f"<p class='error-line'>{html.escape(t[:1].upper() + t[1:])}?</p>"
        for t in findings.contradictions()
    )
    place, unlike = findings.place_to_paint(), findings.unlike_painted()
    if place is not None:
        said += (
            f"<p>{swatch(UNLIKE_COLOUR)}{unlike.sum():,} pixels ({100 * unlike.mean():.1f}%) "
            f"are like no painted one: paint some of them next, such as at y {place[0]}, "
            f"x {place[1]} (overlay “Unlike painted”).</p>"
        )
    return said
