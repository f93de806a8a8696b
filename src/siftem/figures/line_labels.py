"""Which lines of a spectrum are seen, and labels for them that do not collide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from scipy.optimize import isotonic_regression

from siftem.figures.style import GUIDE_COLOUR, SMALL_FONT_SIZE, text_height, text_width
from siftem.fit.line_fit import LineFit
from siftem.xray.detector import Detector
from siftem.xray.lines import visible_lines

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


def seen_lines(
    fits: Iterable[LineFit],
    *,
    min_significance: float = 3.0,
    min_contrast: float = 0.15,
    min_weight: float = 0.1,
) -> tuple[LineLabel, ...]:
    """Return the lines that stand out in at least one fitted spectrum.

    Within half a width on each side of the line, the fitted counts of the line's family
    must exceed ``min_significance`` times the standard deviation of all counts, and
    ``min_contrast`` times all other counts: what lies invisibly under a stronger line gets
    no label.

    Parameters
    ----------
    fits : iterable of LineFit
    min_significance, min_contrast : float
    min_weight : float
        Weakest line, as a share of the element's strongest one.

    Returns
    -------
    tuple of LineLabel
        By energy; each line once, at its measured energy.
    """
    found: dict[tuple[str, str], LineLabel] = {}
    for fit in fits:
        for key, label in _seen_in(fit, min_significance, min_contrast, min_weight):
            known = found.get(key)
            if known is None or label.prominence > known.prominence:
                found[key] = label
    return tuple(sorted(found.values(), key=lambda label: label.energy))


def _seen_in(
    fit: LineFit, min_significance: float, min_contrast: float, min_weight: float
) -> list[tuple[tuple[str, str], LineLabel]]:
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
            min_weight=min_weight,
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
            noise = float(np.sqrt(fit.spectrum.variance[near].sum()))
            others = max(float(measured[near].sum()) - net, 0.0)
            if net > min_significance * noise and net > min_contrast * others:
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
