"""Tables of regions, subtraction, signal to noise, energy scale and truth.

And what stands on top of a report: each phase with its area and composition, and what to heed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from siftem.figures.line_labels import spelled_line
from siftem.fit.element_search import structure_of
from siftem.pipeline.composition_doubts import assumed_absent, flagged
from siftem.pipeline.layout import by_labels
from siftem.pipeline.results import RunResult
from siftem.printed_numbers import plus_minus, range_text, signed, significant, whole_number
from siftem.quantification.fractions import Composition
from siftem.quantification.open_ranges import is_open
from siftem.report.composition_tables import quantified_phases
from siftem.report.phase_names import mineral_notes, role_words
from siftem.report.table import (
    Cell,
    Table,
    abreast,
    assumed_cells,
    below_limit,
    content_cells,
    error_cells,
    heading,
    name,
    number,
    range_cells,
)

_REGIONS = "Regions"
_REGION_HEAD = (name("region"), heading("pixels"), heading("% of map"))


def region_table(result: RunResult) -> Table:
    """Tabulate pixels and share of the map of each region."""
    regions = result.segmentation.regions
    total = result.spectrum_image.n_pixels
    if by_labels(result.layout):
        rows = [_region_row(n, s.n_pixels, total) for n, s in result.spectra.items()]
        note = "Pixels whose sum is the spectrum of each phase."
        return Table(_REGIONS, _REGION_HEAD, tuple(rows), note)
    rows = [_region_row(region, pixels, total) for region, pixels in regions.pixel_counts().items()]
    rows += [
        _region_row(f"mask of {grain}, overlaps included", regions.mask(grain).n_pixels, total)
        for grain in regions.names
    ]
    how = "painted traces" if result.segmentation.painted else "the most certain pixels as traces"
    if result.recipe.segment.classifier is not None:
        how = "a trained classifier"
    forest = ", ".join(
        f"{grain} {100 * share:.1f}%" for grain, share in result.segmentation.out_of_bag.items()
    )
    note = f"Masks from {how}."
    if regions.margin:
        unit = "pixel" if regions.margin == 1 else "pixels"
        note += f" {regions.margin:g} {unit} at each border of a mask left out."
    if forest:
        note += f" Trace pixels that the forest classifies rightly unseen: {forest}."
    return Table(_REGIONS, _REGION_HEAD, tuple(rows), note)


def _region_row(region: str, pixels: int, total: int) -> tuple[Cell, ...]:
    return name(region), Cell(whole_number(pixels)), Cell(f"{100 * pixels / total:.1f}")


def subtraction_table(result: RunResult) -> Table | None:
    """Tabulate what was taken off each spectrum and how much; None when nothing was."""
    grains = [(n, s) for n in result.grains if (s := result.scale_of(n)) is not None]
    if not grains:
        return None
    conflicts = any(scaled.conflict for _, scaled in grains)
    notes, rows = [], []
    for grain, scaled in grains:
        known = result.open_scales.get(grain)
        ranges = {} if known is None else dict(zip(known.hosts, known.ranges, strict=True))
        mixture = float(scaled.counts.sum())
        for part in scaled.subtracted:
            cells = [name(grain), name(part.name)]
            if part.name in ranges:
                cells += [name("none"), *range_cells(*ranges[part.name].ends, 3)]
            else:
                cells.append(name(plus_minus(scaled.anchor)))
                cells.extend(error_cells(part.scale, part.sigma, part.systematic))
            cells += [
                Cell(f"{100 * part.counts / mixture:.1f}" if mixture > 0 else ""),
                Cell(whole_number(mixture)),
                Cell(whole_number(float(scaled.values.sum()))),
            ]
            if conflicts:
                cells.append(Cell(significant(scaled.conflict, 2)))
            rows.append(tuple(cells))
        if known is not None and known.describe():
            notes.append(f"{known.describe()}.")
    head = [
        name("phase"),
        name("taken off"),
        name("anchor"),
        heading("scale", 3),
        heading("% of counts"),
        heading("counts before"),
        heading("counts left"),
    ]
    note = (
        "Scale: factor on the spectrum of what was taken off; its error is carried into the "
        "pure spectrum and its composition."
    )
    if any(part.scale == 0 for _, scaled in grains for part in scaled.subtracted):
        note += " Zero: nothing of it was left to take off."
    if conflicts:
        head.append(heading("conflict, σ"))
        note += " Conflict: how far several anchoring elements disagree."
    return Table("What was taken off", tuple(head), tuple(rows), " ".join([note, *notes]))


def gain_table(result: RunResult) -> Table | None:
    """Tabulate signal to noise over all pure matrix and over rectangles; None without lines."""
    if not result.gains:
        return None
    rows = [
        (
            name(spelled_line(gain.line)),
            *error_cells(gain.signal_whole, gain.noise_whole),
            Cell(f"{gain.whole:.1f}"),
            Cell(f"{gain.rectangle:.1f}"),
            number(gain.gain, 3) if np.isfinite(gain.gain) else Cell("∞"),
            number(gain.gain_at_equal_signal, 3),
            number(gain.area_ratio, 3),
            number(gain.area_ratio**0.5, 3),
        )
        for gain in result.gains
    ]
    n = len(result.rectangles)
    which = "one rectangle" if n == 1 else f"the mean of {n} rectangles"
    return Table(
        f"Signal to noise of faint lines in pure {result.matrix}",
        (
            name("line"),
            heading("net counts, whole region", 2),
            heading("S/N whole"),
            heading("S/N rectangle"),
            heading("gain"),
            heading("gain at equal signal"),
            heading("area ratio"),
            heading("√ area ratio"),
        ),
        tuple(rows),
        f"Net counts of the line's family from the fit over their standard deviation. "
        f"S/N rectangle: {which} of {result.rectangles[0].n_pixels} pixels. At equal signal: as if "
        f"both held the line at the same strength per pixel.",
    )


def calibration_table(result: RunResult) -> Table | None:
    """Tabulate the energy scale fitted to the whole map; None without one."""
    c = result.calibration
    if c is None:
        return None
    rows = (
        (name("shift"), number(1e3 * c.shift, 3), name("eV")),
        (name("gain"), number(100 * c.gain, 3), name("%")),
        (name("resolution at Mn Kα"), number(c.resolution, 4), name("eV")),
        (name("depth of incomplete charge collection"), number(c.collection_depth, 3), name("nm")),
    )
    return Table(
        "Energy scale",
        (name(""), heading("value"), name("unit")),
        rows,
        "Fitted once and kept for every phase: a line of energy E appears at E (1 + gain) + shift.",
    )


def truth_tables(result: RunResult) -> tuple[Table, ...]:
    """Tabulate what a simulated run found against what was simulated; empty for real maps."""
    truth = result.truth
    if truth is None:
        return ()
    rows = []
    columns = [truth.angles, truth.unmixed_angles] if truth.unmixed_angles else [truth.angles]
    for phase in (n for n in result.factors.names if n in truth.overlap or n in truth.angles):
        overlap = truth.overlap.get(phase)
        angles = [column.get(phase) for column in columns]
        rows.append(
            (
                name(phase),
                Cell("" if overlap is None else f"{overlap:.3f}"),
                *(Cell("" if angle is None else significant(angle, 3)) for angle in angles),
            )
        )
    head = [heading("angle, °")]
    if truth.unmixed_angles:
        head = [heading("angle by subtraction, °"), heading("by unmixing, °")]
    tables = [
        Table(
            "Masks and spectra against the truth",
            (name("phase"), heading("intersection over union"), *head),
            tuple(rows),
            f"A pixel truly holds a grain from {100 * truth.threshold:g}% of the thickness on. "
            "Angle between the pure spectrum and the true one.",
        )
    ]
    tables += [
        _true_composition(result, phase)
        for phase in truth.weight_fractions
        if phase in result.compositions
    ]
    return tuple(tables)


def _true_composition(result: RunResult, phase: str) -> Table:
    assert result.truth is not None
    c = result.compositions[phase]
    true = result.truth.weight_fractions[phase]
    rows = []
    for i, element in enumerate(c.elements):
        expected = float(true.get(element, 0.0))
        found, sigma = float(c.weight_fractions[i]), float(c.sigma[i])
        systematic = float(c.systematic_sigma[i])
        total = float(np.hypot(sigma, systematic))
        away = (found - expected) / total if total > 0 else float("nan")
        rows.append(
            (
                name(element),
                number(100 * expected, 3),
                *error_cells(100 * found, 100 * sigma, 100 * systematic),
                Cell(signed(away)),
                name("" if c.found[i] else "below LOD"),
            )
        )
    return Table(
        f"{phase} against the truth",
        (
            name("element"),
            heading("true wt%"),
            heading("found wt%", 3),
            heading("difference, total σ"),
            name(""),
        ),
        tuple(rows),
    )


#: Phases beside each other in the summary, which itself lies beside the phase map.
_ABREAST = 4
#: A model's error of this share of the whole is as large as that of counting.
_AS_LARGE = np.sqrt(0.5)


def summary_tables(result: RunResult) -> list[Table]:
    """Tabulate area, role and contents of the phases, so many abreast as a page holds."""
    phases = tuple(result.pure) or result.factors.names
    if quantified_phases(result):
        return [summary_table(result, some) for some in abreast(phases, _ABREAST)]
    roles = role_words(result)
    rows = [(name(n), Cell(_area(result, n)), name(roles.get(n, ""))) for n in phases]
    return [Table("The phases", (name(""), heading("area, %"), name("how it lies")), tuple(rows))]


def _area(result: RunResult, phase: str) -> str:
    found = result.phase_map.area_percent.get(phase)
    error = result.phase_map.area_sigma.get(phase, 0.0)
    return "" if found is None else f"{found:.1f}" + (f" ± {error:.1f}" if error else "")


def summary_table(result: RunResult, phases: Sequence[str]) -> Table:
    """Tabulate area, role and contents with 95% intervals, one phase beside the other."""
    shown = {n: result.compositions[n] for n in phases if n in quantified_phases(result)}
    roles, assumed = role_words(result), assumed_absent(result.recipe)
    area = (name("area, %"), *(Cell(_area(result, n), "middle", 2) for n in phases))
    lies = (name("how it lies"), *(Cell(roles.get(n, ""), "middle", 2) for n in phases))
    rows: list[tuple[Cell, ...]] = [area, lies]
    for element in dict.fromkeys(e for c in shown.values() for e in c.elements):
        cells: list[Cell] = [name(element)]
        for phase in phases:
            c = shown.get(phase)
            if c is None or element not in c.elements:
                cells.append(Cell("", "value", 2))
            else:
                cells.extend(_content(c, element, assumed.get(phase, ())))
        rows.append(tuple(cells))
    return Table(
        "The phases, at%",
        (name(""), *(cell for n in phases for cell in (heading(n), heading("95%")))),
        tuple(rows),
        _note(rows) if shown else "",
    )


def _note(rows: Sequence[tuple[Cell, ...]]) -> str:
    note = (
        "Contents with their 95% intervals, which hold counting, the model, k-factors and "
        "attenuation, and what anchors and regions leave open."
    )
    if any(cell.kind == "between" for row in rows for cell in row):
        note += " Dotted: above the critical level, below the detection limit."
    return note


def _content(c: Composition, element: str, assumed: tuple[str, ...]) -> tuple[Cell, ...]:
    if element in assumed:
        return assumed_cells(2)
    low, high = 100 * c.atomic_interval_95[c.index(element)]
    if is_open(c):
        return range_cells(float(low), float(high), 2)
    found = c.found[c.index(element)]
    value = (content_cells(c, element) if found else below_limit(1))[0]
    return (
        Cell(value.text, value.kind),
        Cell(range_text(float(low), float(high)), "error"),
    )


def what_to_heed(result: RunResult) -> tuple[str, ...]:
    """Return what the numbers show that nobody has warned of yet, in one sentence each.

    Fits that do not describe their counts, disagreements of the two ways beyond three standard
    deviations, and phases for which the model errs by more than the counts.
    """
    out = []
    for label, c in result.compositions.items():
        poor = structure_of(c.fit)
        begins = f"{label}: the model does not describe"
        if poor is not None and not any(w.startswith(begins) for w in result.warnings):
            out.append(
                f"{label}: the model does not describe its spectrum at {poor.worst:.2f} keV "
                f"({100 * poor.excess:+.0f}%): what lies there has large errors"
            )
    for phase, far in flagged(result).items():
        listed = ", ".join(f"{e} ({z:+.1f} sigma)" for e, z in far.items())
        out.append(
            f"{phase}: unmixing and subtraction differ by more than three standard deviations in "
            f"{listed}: one of the two does not hold there"
        )
    large = []
    for phase in quantified_phases(result):
        c = result.compositions[phase]
        above = c.found & (c.model_sigma > _AS_LARGE * c.sigma)
        own = [e for e, a in zip(c.elements, above, strict=True) if a and e not in c.assumed_absent]
        if own:
            large.append(f"{phase} ({', '.join(own)})")
    if large:
        out.append(
            f"what the model of the spectrum cannot describe is a larger error than counting in "
            f"{', '.join(large)}. More counts would not help these"
        )
    return (*out, *mineral_notes(result))
