"""Tables of regions, subtraction, signal to noise, energy scale and truth."""

from __future__ import annotations

import numpy as np

from siftem.figures.line_labels import spelled_line
from siftem.pipeline.layout import by_labels
from siftem.pipeline.results import RunResult
from siftem.printed_numbers import plus_minus, signed, significant, whole_number
from siftem.report.table import Cell, Table, error_cells, heading, name, number, range_cells

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
