"""Masks, probabilities and traces as colours over a map, and what is said beside it.

Tables of the pixels of regions, traces and phases are the legend of the map, too; they tell why a
pixel is in no region. What is found is kept until something changes.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from siftem.app.left_out import (
    BORDER,
    EXCLUDED,
    INTERSECTION,
    MIXED_REASON,
    VACUUM_REASON,
    LeftOut,
    left_out,
    region_words,
)
from siftem.app.map_figure import CLEAR, Overlay
from siftem.app.session import Session
from siftem.app.style import swatch
from siftem.decomposition.layout import MIXED, VACUUM
from siftem.figures.regions import MIXED_COLOUR, VACUUM_COLOUR
from siftem.figures.style import MARK_COLOUR
from siftem.pipeline.layout import PhaseMap, by_labels
from siftem.pipeline.region_spectra import lies_pure
from siftem.pipeline.results import Classified, Matched
from siftem.pipeline.steps.segment import from_labels
from siftem.printed_numbers import in_words, with_error
from siftem.segment.classifier import normalised_entropy
from siftem.segment.regions import Regions
from siftem.segment.traces import (
    contradictions,
    place_to_paint,
    unlike_painted,
)

#: Of pixels that hold several grains: seen on dark and on bright maps, and of no phase.
OVERLAP_COLOUR = "#7DF9FF"
#: Of the reasons for which pixels are left out, but for rims.
_REASON_COLOURS = {
    BORDER: "#F0E442",
    INTERSECTION: OVERLAP_COLOUR,
    VACUUM_REASON: "#FFFFFF",
    MIXED_REASON: MIXED_COLOUR,
    EXCLUDED: "#8B4513",
}
#: Of pixels that are like no painted one.
UNLIKE_COLOUR = MARK_COLOUR
#: Of the place among them that is named.
_PLACE_COLOUR = "#FF4FD8"
#: Of the rims of several grains, in turn.
_RIM_COLOURS = ("#FF4FD8", "#9D7BFF", "#FFB59E", "#C8FF4D")

#: Colours of traces lie opaque over what they train.
_TRACE_ALPHA = "eb"


def regions_overlay(regions: Regions, colours: Mapping[str, str]) -> Overlay:
    """Colour each region of a map; what is left out stays clear.

    Parameters
    ----------
    regions : Regions
    colours : mapping of str to str
        Of the phases.

    Returns
    -------
    Overlay
    """
    layers = [(regions.pure.mask, colours[regions.matrix])]
    layers += [(regions.mixture(name).mask, colours[name]) for name in regions.names]
    layers.append((regions.intersection.mask, OVERLAP_COLOUR))
    numbers = np.zeros(regions.shape, np.uint8)
    for n, (mask, _) in enumerate(layers, start=1):
        numbers[mask] = n
    return Overlay(numbers, (CLEAR, *(colour for _, colour in layers)))


def mask_overlay(mask: np.ndarray, colour: str) -> Overlay:
    """Colour the pixels of a mask."""
    return Overlay(mask.astype(np.uint8), (CLEAR, colour))


def phases_overlay(shown: PhaseMap, colours: Mapping[str, str]) -> Overlay:
    """Colour each pixel by its phase, mixed ones grey and vacuum white."""
    special = {MIXED: MIXED_COLOUR, VACUUM: VACUUM_COLOUR}  # negative labels
    numbers = (shown.labels + len(special)).astype(np.uint8)
    ends = [special[label] for label in sorted(special)]
    return Overlay(numbers, (*ends, *(colours[name] for name in shown.names)))


def reason_colours(left: LeftOut) -> dict[str, str]:
    """Return the colour of each reason for which pixels are left out."""
    rims = [reason for reason in left.reasons if reason not in _REASON_COLOURS]
    return _REASON_COLOURS | {r: _RIM_COLOURS[i % len(_RIM_COLOURS)] for i, r in enumerate(rims)}


def left_out_overlay(left: LeftOut) -> Overlay:
    """Colour each pixel that is left out by its reason."""
    colours = reason_colours(left)
    return Overlay(
        (left.numbers + 1).astype(np.uint8), (CLEAR, *(colours[r] for r in left.reasons))
    )


def probability_overlay(probability: np.ndarray, colour: str) -> Overlay:
    """Colour each pixel the more opaque, the more probable a phase is."""
    numbers = np.rint(255 * np.clip(probability, 0, 1)).astype(np.uint8)
    return Overlay(numbers, tuple(f"{colour}{alpha:02x}" for alpha in range(256)))


def traces_overlay(masks: Mapping[str, np.ndarray], colours: Mapping[str, str]) -> Overlay | None:
    """Colour painted pixels; those of two phases have the colour of an overlap."""
    if not masks:
        return None
    painted = np.stack(list(masks.values()))
    numbers = np.zeros(painted.shape[1:], np.uint8)
    for n, mask in enumerate(painted, start=1):
        numbers[mask] = n
    numbers[painted.sum(axis=0) > 1] = len(painted) + 1
    shown = [colours.get(name, "#000000") for name in masks]
    return Overlay(numbers, (CLEAR, *(c + _TRACE_ALPHA for c in (*shown, OVERLAP_COLOUR))))


class MapFindings:
    """Why pixels are left out, which traces contradict their components, where none are.

    Parameters
    ----------
    session : Session
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._left: tuple[Any, LeftOut | None] = (None, None)
        self._words: tuple[Any, np.ndarray | None] = (None, None)
        self._unlike: tuple[Any, Any, np.ndarray] = (None, None, np.zeros((1, 1), bool))

    def left_out(self) -> LeftOut | None:
        """Return why pixels serve no spectrum; None before there are regions."""
        cut = self._session.workflow.get("regions")
        if cut is None:
            return None
        if self._left[0] is not cut:
            features = self._session.workflow.get("features")
            found = left_out(cut.regions, self._session.result("match"), features)
            self._left = cut, found
        return self._left[1]

    def words(self) -> np.ndarray | None:
        """Return whose spectrum each pixel serves, or why none; None before there are regions."""
        cut, left = self._session.workflow.get("regions"), self.left_out()
        if cut is not None and self._words[0] is not cut:
            self._words = cut, region_words(cut.regions, left)
        return None if cut is None else self._words[1]

    def contradictions(self) -> tuple[str, ...]:
        """Return a sentence for each phase whose traces contradict its component."""
        matched: Matched = self._session.result("match")
        shares = dict(zip(matched.factors.names, matched.smooth_shares[0], strict=True))
        return contradictions(shares, self._session.traces.masks())

    def unlike_painted(self) -> np.ndarray:
        """Return the pixels that are like no painted one; bool (ny, nx)."""
        matched, painted = self._session.result("match"), self._session.traces
        if self._unlike[0] is not matched or self._unlike[1] is not painted.shapes:
            shares, level = matched.smooth_shares
            found = unlike_painted(shares, level, painted.masks())
            self._unlike = matched, painted.shapes, found
        return self._unlike[2]

    def place_to_paint(self) -> tuple[int, int] | None:
        """Return (y, x) where the next stroke would help most; None when all is like traces."""
        return place_to_paint(self.unlike_painted())


def region_counts_html(
    regions: Regions | None,
    colours: Mapping[str, str],
    painted: Mapping[str, int],
    left: LeftOut | None = None,
    *,
    hint: str = "pure: matrix alone. mixture: one grain over matrix.",
    before: str = "",
    alone: Collection[str] = (),
    reasons: bool = True,
    labelled: Mapping[str, int] | None = None,
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
    hint : str
        What pure and mixture mean.
    before : str
        How to get regions.
    alone : collection of str
        Phases of whose pixels nothing is taken off: they are called by their names.
    reasons : bool
        Whether the colours of the reasons are on the map; that of several grains always is.
    labelled : mapping of str to int, optional
        Pixels that bear the label of each phase, where the purest of them may be chosen.
    """
    rows = []
    if regions is None:
        rows += [_row(c, name, f"{painted.get(name, 0):,}") for name, c in colours.items()]
        return _table(["phase", "painted"], rows) + f"<p class='hint'>{html.escape(before)}</p>"
    # In the order of pixel_counts: pure, the mixtures, the intersection, the rest.
    counts = regions.pixel_counts()
    total = sum(counts.values())

    def share(n: int) -> tuple[str, str]:
        return f"{n:,}", f"{100 * n / total:.1f}%"

    for phase, (name, n) in zip((regions.matrix, *regions.names), counts.items(), strict=False):
        mask = regions.masks.get(phase)
        inside = "" if mask is None else f"{mask.sum():,}"
        if labelled is not None:
            inside = f"{labelled.get(phase, 0):,}"
        name = phase if phase in alone else name
        rows.append(_row(colours[phase], name, f"{painted.get(phase, 0):,}", inside, *share(n)))
    if left is not None and left.pixels:
        rows.append(_row("", "In no spectrum", "", "", *share(sum(left.pixels.values()))))
        by_reason = reason_colours(left)
        for reason, n in left.pixels.items():
            colour = by_reason[reason] if reasons or reason == INTERSECTION else ""
            rows.append(_row(colour, reason, "", "", *share(n)))
    masked = "in mask" if labelled is None else "labelled"
    table = _table(["region", "painted", masked, "summed", "of map"], rows)
    kept_off = "pixel at borders is" if regions.margin == 1 else "pixels at borders are"
    bordered = regions.margin and regions.names  # a single phase has no border
    margin = f"; {regions.margin:g} {kept_off} left out" if bordered else ""
    purest = "" if labelled is None else ", of which the purest may be chosen"
    hint = f"{hint} summed: the pixels of its spectrum{purest}{margin}."
    if reasons and left is not None and not set(left.pixels) <= set(_REASON_COLOURS):
        hint += f" {_RIM}"
    return f"{table}<p class='hint'>{html.escape(hint)}</p>"


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


_UNSURE = "#D55E00"
#: What a rim is, where the map shows it.
_RIM = (
    "Faint rim: the grain shows, too faintly for its mask; in the spectrum of matrix or of another "
    "grain it would be taken for theirs."
)


def overlay_words(
    kind: str, of: str, session: Session, findings: MapFindings, pixel: tuple[int, int]
) -> str:
    """Say what the colours over the map mean at a pixel (y, x); empty where it has none to read."""
    classified = session.workflow.get("segment")
    if kind in ("Regions", "Left out"):
        words = findings.words()
        return "" if words is None else str(words[pixel])
    if kind == "Probability" and classified is not None and of in classified.probabilities:
        return f"{of} {100 * classified.probabilities[of][pixel]:.0f}% probable"
    return ""


def overlay_pixels(kind: str, of: str, session: Session, findings: MapFindings) -> Overlay | None:
    """Colours over the map; None where there is nothing to show yet."""
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
    if kind == "Paint next":
        numbers = findings.unlike_painted().astype(np.uint8)
        place = findings.place_to_paint()
        if place is not None:
            y, x = (at - i for at, i in zip(place, np.indices(numbers.shape), strict=True))
            numbers[y**2 + x**2 <= max(2.0, max(numbers.shape) / 100) ** 2] = 2
        return Overlay(numbers, (CLEAR, UNLIKE_COLOUR, _PLACE_COLOUR))
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
    matched = session.result("match")
    options: dict[str, Any] = {"before": _way_to_regions(session), "reasons": kind == "Left out"}
    names = matched.factors.names
    options["alone"] = [
        n
        for n in names
        if lies_pure(n, matched) and not (n == matched.matrix and with_matrix(matched))
    ]
    of_classes = cut is not None and not cut.painted and not cut.out_of_bag
    if of_classes or len(names) == 1:
        options["hint"] = f"{session.layout_sentence()}."
    if cut is not None and matched.layout is not None and by_labels(matched.layout):
        found = np.asarray(matched.layout.labels)
        every = {n: found == i for i, n in enumerate(names)}
        if not of_classes:  # traces have told otherwise
            rest = ~np.any([np.zeros_like(found), *cut.regions.masks.values()], axis=0)
            every = {matched.matrix: rest, **cut.regions.masks}
        options["labelled"] = {n: int(mask.sum()) for n, mask in every.items()}
    tables = region_counts_html(regions, colours, session.traces.pixels(), left, **options)
    return _advice(session, findings) + tables


def with_matrix(matched: Matched) -> bool:
    """Whether anything lies in or on a phase; side by side nothing does."""
    return matched.layout is None or any(lies.hosts for lies in matched.layout.phases)


def _way_to_regions(session: Session) -> str:
    """Say what is still to be done for regions."""
    if (missing := session.not_painted()) and session.traces.shapes:
        return (
            f"Regions follow each stroke as soon as all are painted; missing: {in_words(missing)}."
        )
    if from_labels(session.recipe, session.result("match")):
        return "Train takes the classes of the pixels, as the layout says; traces take their place."
    return (
        "Train to see regions. Without traces, the most certain pixels of each component train "
        "the classifier."
    )


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
            f"x {place[1]} (the spot in the overlay “Paint next”).</p>"
        )
    return said
