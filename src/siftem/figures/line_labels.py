"""Names in figures: which lines are seen, labels of them that do not collide, and legends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from scipy.optimize import isotonic_regression

from siftem.figures.page import MARGIN, TITLE_HEIGHT, Page
from siftem.figures.style import (
    GUIDE_COLOUR,
    NEUTRAL_COLOUR,
    SMALL_FONT_SIZE,
    fitted_text,
    text_height,
    text_width,
)
from siftem.fit.line_fit import LineFit
from siftem.xray.detector import Detector
from siftem.xray.lines import visible_lines

_SAMPLE = 4.2  # mm
_SPACE = 4.0
#: Height of a row of names, mm.
LEGEND_ROW = 3.2


@dataclass(frozen=True)
class Entry:
    """One name in a legend.

    Parameters
    ----------
    text : str
    colour : str
    kind : {"line", "dashed", "points", "band", ""}
        What is drawn before the text; "band" is a line with its band, "" is nothing.
    """

    text: str
    colour: str
    kind: str = "line"


def legend_width(entries: Sequence[Entry]) -> float:
    """Width in mm that `draw_legend` takes."""
    texts = sum(text_width(e.text, size=SMALL_FONT_SIZE) for e in entries)
    samples = sum(_SAMPLE + 1.0 for e in entries if e.kind)
    return texts + samples + _SPACE * max(len(entries) - 1, 0)


def legend_rows(entries: Sequence[Entry], width: float) -> list[list[Entry]]:
    """Part entries into as few rows as a width in mm allows, in their order."""
    rows: list[list[Entry]] = []
    for entry in entries:
        if rows and legend_width([*rows[-1], entry]) <= width:
            rows[-1].append(entry)
        else:
            rows.append([entry])
    return rows


def height_below(title: str, entries: Sequence[Entry], page_width: float) -> float:
    """Return the mm that a legend takes below its title: none where it fits beside it."""
    title_width = text_width("(m)", bold=True) + 1.3 + text_width(title)
    if legend_width(entries) <= page_width - 2 * MARGIN - title_width - 6.0:
        return 0.0
    return LEGEND_ROW * len(legend_rows(entries, page_width - 2 * MARGIN))


def draw_titled_legend(page: Page, top: float, title: str, entries: Sequence[Entry]) -> float:
    """Write a title over the whole page and its legend, beside it or below.

    Returns
    -------
    float
        mm from the top of the page to what follows.
    """
    end = page.title(MARGIN, top, title, width=page.width - 2 * MARGIN)
    below = height_below(title, entries, page.width)
    left, baseline = (MARGIN, top + 1.6) if below else (end + 6.0, top - 1.5)
    draw_legend(page, entries, left=left, top=baseline, width=page.width - MARGIN - left)
    return top + below


def draw_legend(
    page: Page, entries: Sequence[Entry], *, left: float, top: float, width: float
) -> None:
    """Draw entries side by side, in as many rows as they take.

    Parameters
    ----------
    page : Page
    entries : sequence of Entry
    left, top : float
        mm; ``top`` is the baseline of the first row.
    width : float
        mm; text that does not fit is cut with an ellipsis.
    """
    for i, row in enumerate(legend_rows(entries, width)):
        _draw_row(page, row, left, top + i * LEGEND_ROW, width)


def _draw_row(page: Page, entries: Sequence[Entry], left: float, top: float, width: float) -> None:
    x = left
    middle = 1 - (top - 0.75) / page.height
    for entry in entries:
        if entry.kind:
            ends = [x / page.width, (x + _SAMPLE) / page.width]
            _sample(page, entry, ends, middle)
            x += _SAMPLE + 1.0
        shown = fitted_text(entry.text, left + width - x, size=SMALL_FONT_SIZE)
        page.text(x, top, shown, size=SMALL_FONT_SIZE, color=entry.colour)
        x += text_width(shown, size=SMALL_FONT_SIZE) + _SPACE


def _sample(page: Page, entry: Entry, ends: list[float], middle: float) -> None:
    transform = page.figure.transFigure
    if entry.kind == "band":
        half = 0.6 / page.height
        band = Rectangle(
            (ends[0], middle - half),
            ends[1] - ends[0],
            2 * half,
            transform=transform,
            facecolor=entry.colour,
            alpha=0.35,
            linewidth=0,
        )
        page.figure.add_artist(band)
    points = entry.kind == "points"
    x = [0.5 * (ends[0] + ends[1])] if points else ends
    line = Line2D(
        x,
        [middle] * len(x),
        color=entry.colour,
        linewidth=0.8,
        linestyle=(0, (4, 2)) if entry.kind == "dashed" else "-",
        marker="o" if points else None,
        markersize=2.2,
        transform=transform,
    )
    page.figure.add_artist(line)
    if points:
        bar = 0.95 / page.height
        page.figure.add_artist(
            Line2D(
                x * 2,
                [middle - bar, middle + bar],
                color=entry.colour,
                linewidth=0.5,
                transform=transform,
            )
        )


@dataclass(frozen=True)
class Swatch:
    """One line of a legend of areas.

    Parameters
    ----------
    text, colour : str
    share : str
        Written at the right.
    """

    text: str
    colour: str
    share: str


def swatches_height(swatches: Sequence[Swatch]) -> float:
    """Height in mm that `draw_swatches` takes."""
    return TITLE_HEIGHT * len(swatches) + 1.0


def swatches_width(swatches: Sequence[Swatch]) -> float:
    """Width in mm that they need for all names to be seen."""
    names = max((text_width(s.text) for s in swatches), default=0.0)
    shares = max((text_width(s.share, size=SMALL_FONT_SIZE) for s in swatches), default=0.0)
    return 3.8 + names + 5.0 + shares


def draw_swatches(
    page: Page, swatches: Sequence[Swatch], *, left: float, top: float, width: float
) -> None:
    """Draw patches of colour with their names below each other.

    Parameters
    ----------
    page : Page
    swatches : sequence of Swatch
    left, top, width : float
        mm; names that do not fit are cut with an ellipsis.
    """
    width = min(width, swatches_width(swatches))
    numbers = max((text_width(s.share, size=SMALL_FONT_SIZE) for s in swatches), default=0.0)
    for i, swatch in enumerate(swatches):
        baseline = top + TITLE_HEIGHT * (i + 1) - 1.6
        patch = Rectangle(
            (left / page.width, 1 - baseline / page.height),
            2.6 / page.width,
            2.2 / page.height,
            transform=page.figure.transFigure,
            facecolor=swatch.colour,
            edgecolor=NEUTRAL_COLOUR,
            linewidth=0.3,
        )
        page.figure.add_artist(patch)
        page.text(
            left + width, baseline, swatch.share, size=SMALL_FONT_SIZE, ha="right", va="baseline"
        )
        shown = fitted_text(swatch.text, width - 3.8 - numbers - 2.0)
        page.text(left + 3.8, baseline, shown, va="baseline")


_GREEK = {"a": "α", "b": "β", "g": "γ", "n": "η", "l": "ℓ", "z": "ζ"}
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
#: A label further than this from its line (mm) points nowhere: weaker ones give way.
_FARTHEST = 6.0


@dataclass(frozen=True)
class LineLabel:
    """A line to mark in a spectrum.

    Parameters
    ----------
    text : str
        Such as "Fe Kα".
    energy : float
        keV, on the axis as measured.
    prominence : float
        When labels lack room, those with the least of it are left out.
    """

    text: str
    energy: float
    prominence: float


def line_text(element: str, line: str) -> str:
    """Return a line's name as printed: "Fe", "Ka" gives "Fe Kα", "Lb1" gives "Lβ₁"."""
    if "-" in line:
        return f"{element} {line}"
    greek = "".join(_GREEK.get(letter, letter) for letter in line[1:])
    return f"{element} {line[:1]}{greek.translate(_SUBSCRIPTS)}"


def spelled_line(text: str) -> str:
    """Return a line as recipes write it, such as "Nd La" or "Nd_La", as it is shown: "Nd Lα"."""
    element, _, line = text.replace("_", " ").partition(" ")
    return line_text(element, line.strip())


#: A family's counts near a line, in standard deviations and as a share of all others, from which
#: on it is labelled; the weakest line as a share of the element's strongest.
_SURE, _CLEAR, _LEAST_WEIGHT = 3.0, 0.15, 0.1


def seen_lines(fits: Iterable[LineFit]) -> tuple[LineLabel, ...]:
    """Return the lines that stand out in at least one fitted spectrum.

    Within half a width on each side of the line, the fitted counts of the line's family
    must exceed three times the standard deviation of all counts and of the family's amplitude, and
    0.15 of all other counts: what lies invisibly under a stronger line gets no label, nor what is
    below a tenth of the element's strongest line.

    Parameters
    ----------
    fits : iterable of LineFit

    Returns
    -------
    tuple of LineLabel
        By energy; each line once, at its measured energy.
    """
    found: dict[tuple[str, str], LineLabel] = {}
    for fit in fits:
        for key, label in _seen_in(fit):
            known = found.get(key)
            if known is None or label.prominence > known.prominence:
                found[key] = label
    return tuple(sorted(found.values(), key=lambda label: label.energy))


def _seen_in(fit: LineFit) -> list[tuple[tuple[str, str], LineLabel]]:
    axis = fit.spectrum.axis.to_kev()
    detector = Detector(resolution=fit.calibration.resolution)
    measured = fit.mean - fit.spectrum.background
    out = []
    for element in dict.fromkeys(family.element for family in fit.model.families):
        lines = visible_lines(
            element,
            beam_energy=fit.model.beam_energy,
            low=axis.first,
            high=axis.last,
            min_weight=_LEAST_WEIGHT,
        )
        taken: list[float] = []
        for line in lines:
            energy = line.energy * (1 + fit.calibration.gain) + fit.calibration.shift
            half = 0.5e-3 * float(detector.fwhm(line.energy))
            if not axis.contains(energy):
                continue
            # Of an element's lines that the detector merges only the strongest is labelled.
            if any(abs(energy - other) < 2 * half for other in taken):
                continue
            taken.append(energy)
            near = axis.window(energy - half, energy + half)
            columns = [
                i
                for i, family in enumerate(fit.model.families)
                if family.element == element and family.shell.startswith(line.subshell[0])
            ]
            net = float((fit.design[near][:, columns] @ fit.amplitudes[columns]).sum())
            # Of its own share, with what the model does not tell apart from its neighbours.
            mine = fit.design[near][:, columns].sum(axis=0)
            own = float(mine @ fit.covariance[np.ix_(columns, columns)] @ mine)
            noise = float(np.sqrt(fit.spectrum.variance[near].sum()))
            others = max(float(measured[near].sum()) - net, 0.0)
            if net > _SURE * np.hypot(noise, np.sqrt(max(own, 0.0))) and net > _CLEAR * others:
                label = LineLabel(line_text(element, line.name), energy, net / max(noise, 1e-12))
                out.append(((element, line.name), label))
    return out


def place_labels(
    positions: Sequence[float],
    widths: Sequence[float],
    prominences: Sequence[float],
    *,
    low: float,
    high: float,
    farthest: float = _FARTHEST,
) -> list[tuple[int, float]]:
    """Spread labels along a line so that none overlap and each stays near its place.

    Minimises ``sum((placed - position)^2)`` with neighbours at least half their widths
    apart (isotonic regression). Where that moves one further than ``farthest``, or there is
    no room at all, the least prominent label of the crowd is left out.

    Parameters
    ----------
    positions, widths, prominences : sequence of float
        Wanted centre, width, and rank of each label; widths hold the wanted clearance.
    low, high : float
        Ends of the line.
    farthest : float
        Largest move.

    Returns
    -------
    list of (index, centre)
        The labels that are kept, from low to high.
    """
    x, w, rank = (np.asarray(v, float) for v in (positions, widths, prominences))
    kept = [int(i) for i in np.argsort(x, kind="stable")]
    dropped: list[int] = []
    while kept:
        placed = _spread(x[kept], w[kept], low, high)
        if placed is None:
            victim = int(rank[kept].argmin())
        else:
            moves = np.abs(placed - x[kept])
            worst = int(moves.argmax())
            if moves[worst] <= farthest:
                break
            # A crowd is a run of labels that touch.
            gaps = np.diff(placed) - 0.5 * (w[kept][1:] + w[kept][:-1])
            crowd = np.concatenate([[0], np.cumsum(gaps > 1e-9)])
            members = np.flatnonzero(crowd == crowd[worst])
            victim = int(members[rank[kept][members].argmin()])
        dropped.append(kept.pop(victim))
    # What gave way to a crowd that shrank afterwards may find room after all.
    for candidate in sorted(dropped, key=lambda i: -rank[i]):
        trial = sorted([*kept, candidate], key=lambda i: (x[i], i))
        placed = _spread(x[trial], w[trial], low, high)
        if placed is not None and np.abs(placed - x[trial]).max() <= farthest:
            kept = trial
    placed = _spread(x[kept], w[kept], low, high)
    assert placed is not None
    return [(i, float(p)) for i, p in zip(kept, placed, strict=True)]


def _spread(x: np.ndarray, w: np.ndarray, low: float, high: float) -> np.ndarray | None:
    """Centres closest to ``x`` without overlap, None if there is no room; x must rise."""
    if x.size == 0:
        return x
    spare = (high - low) - float(w.sum())
    if spare < 0:
        return None
    # Left edges less the widths before them need only rise.
    before = np.concatenate([[0.0], np.cumsum(w)[:-1]])
    edges = np.clip(isotonic_regression(x - w / 2 - before).x, low, low + spare)
    return np.asarray(edges + before + w / 2)


def draw_line_labels(
    band: Axes,
    labels: Sequence[LineLabel],
    *,
    width: float,
    height: float,
    per_kev: float = 1.0,
    spectra: Sequence[Axes] = (),
) -> tuple[LineLabel, ...]:
    """Write labels upright into a band above spectra, with leaders and guides.

    Parameters
    ----------
    band : Axes
        Lies right above the spectra and shares their energy limits; its frame is hidden.
    labels : sequence of LineLabel
        Those outside the energy limits are left out.
    width, height : float
        Of the band, mm.
    per_kev : float
        Units of the energy axis per keV.
    spectra : sequence of Axes
        Each gets a faint guide at every line that is labelled.

    Returns
    -------
    tuple of LineLabel
        Those that found room.
    """
    band.set_axis_off()
    low, high = band.get_xlim()
    band.set_ylim(0, height)
    mm = (high - low) / width  # energy per mm
    inside = [label for label in labels if low < label.energy * per_kev < high]
    clearance = text_height(SMALL_FONT_SIZE) + 0.15
    placed = place_labels(
        [(label.energy * per_kev - low) / mm for label in inside],
        [clearance] * len(inside),
        [label.prominence for label in inside],
        low=0.0,
        high=width,
    )
    leader = 2.6
    energies = [inside[index].energy * per_kev for index, _ in placed]
    places = [low + x * mm for _, x in placed]
    paths = [
        [(energy, 0.0), (energy, 0.5), (at, leader - 0.5), (at, leader)]
        for energy, at in zip(energies, places, strict=True)
    ]
    band.add_collection(
        LineCollection(
            paths, colors=GUIDE_COLOUR, linewidths=0.4, joinstyle="round", clip_on=False
        ),
        autolim=False,
    )
    for (index, _), at in zip(placed, places, strict=True):
        band.text(
            at,
            leader + 0.4,
            inside[index].text,
            size=SMALL_FONT_SIZE,
            rotation=90,
            ha="center",
            va="bottom",
            parse_math=False,
            gid="line label",
        )
    for ax in spectra:
        guides = LineCollection(
            [[(energy, 0.0), (energy, 1.0)] for energy in energies],
            colors=GUIDE_COLOUR,
            linewidths=0.35,
            zorder=0.5,
            transform=ax.get_xaxis_transform(),
        )
        ax.add_collection(guides, autolim=False)
    return tuple(inside[index] for index, _ in placed)


def band_height(labels: Sequence[LineLabel]) -> float:
    """Height in mm of the band that `draw_line_labels` needs for these labels."""
    if not labels:
        return 0.0
    return 3.6 + max(text_width(label.text, size=SMALL_FONT_SIZE) for label in labels)
