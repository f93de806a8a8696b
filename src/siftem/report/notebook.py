"""Results on one screen: as text in a shell, as a table with a picture in a notebook.

As tables of pandas, too, with units in the names of the columns.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

import numpy as np

from siftem.decomposition.factors import Factors
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.figures.plots import (
    UNITS,
    contents_of,
    new_axes,
    plot_composition,
    plot_contents,
    plot_factors_in_one,
    plot_image,
    plot_phase_map,
    plot_regions,
    plot_spectra,
    plot_spectrum,
    settle,
    small_png,
)
from siftem.figures.style import drawing_style, phase_colours
from siftem.pipeline.composition_doubts import assumed_absent
from siftem.pipeline.layout import PhaseMap
from siftem.pipeline.results import RunResult
from siftem.printed_numbers import plus_minus, range_text, significant, whole_number
from siftem.quantification.fractions import Composition
from siftem.quantification.open_ranges import is_open
from siftem.report.phase_names import layout_sentence, role_words
from siftem.report.table import (
    BELOW_LIMIT,
    NO_LIMIT,
    between_note,
    content_cells,
    limit_text,
    open_phases,
    plain_text,
)
from siftem.segment.regions import Regions
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.unmixed import Unmixed

#: Rows of a table, lines of a text: what one screen holds.
_MOST_ROWS = 40
#: Warnings that are written out.
_MOST_WARNINGS = 8

_OPEN = "ranges: 95%, with all that nothing fixes"
_ERRORS = "± counting, (± systematic)"


def composition_text(c: Composition) -> str:
    """Return a composition as lines of text: one element each, with its errors."""
    rows = _composition_rows(c)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows[: _MOST_ROWS + 1]
    ]
    if len(rows) > len(lines):
        lines.append(f"... {len(rows) - len(lines)} more elements")
    return "\n".join([f"<Composition of {c.name or 'a spectrum'}>", *lines, _note(c, rows)])


def _composition_rows(c: Composition) -> list[tuple[str, ...]]:
    low_high = 100 * c.atomic_interval_95
    rows: list[tuple[str, ...]] = [("", "at%", "95%", "wt%", "line")]
    for i, element in enumerate(c.elements):
        assumed = element in c.assumed_absent
        of = partial(content_cells, c, element, c.assumed_absent)
        at = plain_text(of(errors="systematic"))  # it has a column of its own
        wt = plain_text(of(by="weight"))
        if at.startswith(BELOW_LIMIT):
            limit = limit_text(float(c.detection_limits[i]))
            at = f"{BELOW_LIMIT} ({limit}{'' if limit == NO_LIMIT else ' wt%'})"
        interval = "" if assumed else range_text(*map(float, low_high[i]))
        rows.append((element, at, interval, wt, c.families[i].split()[-1]))
    return rows


def _note(c: Composition, rows: Sequence[Sequence[str]]) -> str:
    note = f"at%: {_OPEN if is_open(c) else _ERRORS}; 95%: interval with all errors"
    return "; ".join(filter(None, (note, between_note(rows))))


def composition_html(c: Composition) -> str:
    """Return a composition as a table and a picture of its intervals."""
    rows = _composition_rows(c)
    table = _table(rows[0], rows[1:], _note(c, rows))
    height = 14.0 + 4.5 * len(c.elements)
    picture = _picture(lambda ax: plot_composition(c, ax), 88.0, height)
    return _beside(f"Composition of {c.name or 'a spectrum'}", table, picture)


def spectrum_html(spectrum: Spectrum) -> str:
    """Return a spectrum as what is known of it, and a picture."""
    axis, acquisition = spectrum.axis, spectrum.acquisition
    known = {
        "channels": f"{axis.size}, {axis.first:.3g} to {axis.last:.4g} {axis.unit}",
        "sum": whole_number(float(spectrum.values.sum())),
        "pixels": whole_number(spectrum.n_pixels) if spectrum.n_pixels else "",
        "beam energy": f"{acquisition.beam_energy:g} keV" if acquisition.beam_energy else "",
        "anchor": plus_minus(getattr(spectrum, "anchor", "")),
        "taken off": "; ".join(
            f"{significant(s.scale, 3)} ± {significant(s.sigma, 2)} times {s.name}"
            for s in getattr(spectrum, "subtracted", ())
        ),
        "notes": "; ".join(spectrum.notes),
    }
    picture = _picture(
        lambda ax: plot_spectrum(spectrum, ax, elements=acquisition.elements), 120.0, 48.0
    )
    return _beside(f"{type(spectrum).__name__} {spectrum.name}", _known(known), picture)


def spectrum_image_html(si: SpectrumImage) -> str:
    """Return what a map is, and a picture of all its counts; none of a map left on disk."""
    ny, nx = si.shape
    acquisition = si.acquisition
    known = {
        "pixels": f"{ny} x {nx}" + (f" of {si.pixel_size[1]:.3g} nm" if si.pixel_size else ""),
        "channels": f"{si.n_channels}, {si.axis.first:.3g} to {si.axis.last:.4g} {si.axis.unit}",
        "counts": f"{whole_number(si.total)}, {si.total / si.n_pixels:.3g} a pixel",
        "not zero": f"{100 * si.density:.3g}%",
        "signal": si.signal_type,
        "beam energy": f"{acquisition.beam_energy:g} keV" if acquisition.beam_energy else "",
        "elements listed": ", ".join(acquisition.elements),
        "notes": "; ".join(si.notes),
    }
    picture = ""
    if not si.on_disk:
        image = si.total_map()
        picture = _picture(
            lambda ax: plot_image(image, ax, title="all counts", pixel_size=si.pixel_size), 56, 62
        )
    return _beside(f"SpectrumImage {si.title}", _known(known), picture)


def factors_html(found: Factors) -> str:
    """Return the share of each component, and a picture of maps and spectra."""
    counts = found.counts
    rows = [
        (name, whole_number(n), f"{100 * n / counts.sum():.1f}%")
        for name, n in zip(found.names, counts.tolist(), strict=True)
    ]
    note = f"deviance {found.deviance:.6g}, {found.n_iter} sweeps" + (
        "" if found.converged else ", NOT converged"
    )
    if found.layout is not None:
        note += f"; layout: {found.layout.sentence(found.names)}"
    table = _table(("component", "counts", "share"), rows[:_MOST_ROWS], note)
    picture = _picture(lambda ax: plot_factors_in_one(found, ax), 120.0, 20 + 12.0 * len(rows))
    return _beside("Factors", table, picture)


def unmixed_html(found: Unmixed) -> str:
    """Return counts and anchor of each phase, and a picture of the spectra."""
    rows = [
        (
            name,
            whole_number(float(found.spectra[name].values.sum())),
            plus_minus(found.anchors.get(name, "")),
        )
        for name in found.names
    ]
    note = f"{found.n_iter} steps" + ("" if found.converged else ", NOT converged")
    spectra = [found.spectra[n] for n in found.names]
    picture = _picture(lambda ax: plot_spectra(spectra, ax), 120.0, 50.0)
    return _beside("Unmixed", _table(("phase", "counts", "anchor"), rows, note), picture)


def regions_html(regions: Regions) -> str:
    """Return the pixels of each region, and a picture."""
    total = regions.shape[0] * regions.shape[1]
    rows = [
        (name, whole_number(n), f"{100 * n / total:.1f}%")
        for name, n in regions.pixel_counts().items()
    ]
    table = _table(("region", "pixels", "of the map"), rows, f"margin {regions.margin:g} pixels")
    return _beside("Regions", table, _picture(lambda ax: plot_regions(regions, ax), 108.0, 56.0))


def phase_map_html(found: PhaseMap) -> str:
    """Return the area of each phase, and the map."""
    rows = _areas(found)
    table = _table(("phase", "area"), rows, "± from pixels at borders and mixed ones")
    return _beside("Phase map", table, _picture(lambda ax: plot_phase_map(found, ax), 108.0, 56.0))


def _areas(found: PhaseMap) -> list[tuple[str, str]]:
    areas, errors = found.area_percent, found.area_sigma
    shown = {**areas}
    out = []
    for name, area in shown.items():
        if name in found.names or area:
            error = errors.get(name, 0.0)
            out.append((name, f"{area:.1f}" + (f" ± {error:.1f}%" if error else "%")))
    return out


def run_text(result: RunResult) -> str:
    """Return a run in a few lines: layout, compositions of the phases, what to heed."""
    head, rows = _run_rows(result)
    cells = [head, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in cells[:_MOST_ROWS]
    ]
    return "\n".join(
        [
            f"<RunResult of {result.recipe.title or result.spectrum_image.title}>",
            f"layout: {layout_sentence(result)}",
            *lines,
            *([_run_note(result, rows)] if len(rows) > 2 else []),
            *(f"{part} is missing: {_cut(why)}" for part, why in result.missing.items()),
            f"notes and warnings: {len(result.warnings)}, in .warnings",
        ]
    )


def _run_note(result: RunResult, rows: Sequence[Sequence[str]]) -> str:
    shown = [result.compositions[n] for n in result.pure if n in result.compositions]
    notes = (
        "± counting, or (95% by all errors)",
        _OPEN if open_phases(shown) else "",
        between_note(rows),
    )
    return "; ".join(filter(None, notes))


def _run_rows(result: RunResult) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return phases as columns: their area, role, and contents in percent of atoms."""
    phases = tuple(result.pure) or result.factors.names
    areas, roles = dict(_areas(result.phase_map)), role_words(result)
    rows = [
        ("area", *(areas.get(n, "") for n in phases)),
        ("lies", *(roles.get(n, "") for n in phases)),
    ]
    shown = {n: result.compositions[n] for n in phases if n in result.compositions}
    assumed = assumed_absent(result.recipe)
    for element in dict.fromkeys(e for c in shown.values() for e in c.elements):
        cells = [
            plain_text(content_cells(shown[n], element, assumed.get(n, ()))) if n in shown else ""
            for n in phases
        ]
        rows.append((f"{element}, at%", *cells))
    return ("", *phases), rows


def run_html(result: RunResult) -> str:
    """Return a run as a table of its phases, the phase map, and what to heed."""
    head, rows = _run_rows(result)
    notes = [f"{part} is missing: {why}" for part, why in result.missing.items()]
    notes += list(result.warnings)
    more = len(notes) - _MOST_WARNINGS
    shown = [_cut(plus_minus(note)) for note in notes[:_MOST_WARNINGS]]
    if more > 0:
        shown.append(f"... {more} more in .warnings")
    said = [_run_note(result, rows)] if len(rows) > 2 else []
    table = _table(
        head, rows[:_MOST_ROWS], "; ".join([*said, f"layout: {layout_sentence(result)}"])
    )
    colours = phase_colours(result.factors.names)
    picture = _picture(
        lambda ax: plot_phase_map(
            result.phase_map, ax, colours=colours, pixel_size=result.spectrum_image.pixel_size
        ),
        108.0,
        56.0,
    )
    title = result.recipe.title or result.spectrum_image.title
    listed = "".join(f"<li>{escape(note)}</li>" for note in shown)
    return _beside(f"Run of {title}", table, picture) + (f"<ul>{listed}</ul>" if listed else "")


def plot_run(result: RunResult) -> np.ndarray:
    """Draw the phase map, the pure spectra and the compositions; see `RunResult.plot`."""
    colours = phase_colours(result.factors.names)
    phases = [n for n in result.pure if n in result.compositions]
    axes = new_axes(190.0, 118.0, 2, 2, height_ratios=(1, 1.05), width_ratios=(1.2, 1))
    with drawing_style():
        grid = axes[1, 0].get_gridspec()
        for ax in axes[1]:
            ax.remove()
        spectra = axes[0, 0].figure.add_subplot(grid[1, :])
        settle(spectra)
        plot_phase_map(
            result.phase_map, axes[0, 0], colours=colours,
            pixel_size=result.spectrum_image.pixel_size,
        )  # fmt: skip
        assumed = assumed_absent(result.recipe)
        pairs = {(n, e) for n in phases for e in assumed.get(n, ())}
        contents = [(n, contents_of(result.compositions[n])) for n in phases]
        plot_contents(contents, axes[0, 1], unit=UNITS["atoms"], assumed=pairs, colours=colours)
        elements = tuple(dict.fromkeys(e for _, own in contents for e in own))
        shown = list(result.pure.values()) or list(result.spectra.values())
        plot_spectra(shown, spectra, elements=elements, colours=colours)
    return np.array([axes[0, 0], axes[0, 1], spectra], dtype=object)


def _picture(draw: Callable[[Any], Any], width: float, height: float) -> str:
    data = base64.b64encode(small_png(draw, width, height)).decode()
    pixels = round(width / 25.4 * 96)
    return (
        f'<img alt="" style="width:{pixels}px;max-width:100%" src="data:image/png;base64,{data}">'
    )


def _beside(title: str, table: str, picture: str) -> str:
    cells = f"<div>{table}</div>" + (f"<div>{picture}</div>" if picture else "")
    return (
        f"<div><strong>{escape(title)}</strong>"
        f'<div style="display:flex;flex-wrap:wrap;gap:1.5em;align-items:flex-start">{cells}</div>'
        "</div>"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], note: str) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
        f"<small>{escape(note)}</small>"
    )


def _known(known: Mapping[str, str]) -> str:
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(key)}</th>'
        f'<td style="text-align:left">{escape(_cut(value))}</td></tr>'
        for key, value in known.items()
        if value
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _cut(text: str) -> str:
    return text if len(text) <= 240 else text[:237] + "..."


def _frame(columns: Mapping[str, Any], index: Sequence[Any], name: str) -> Any:
    try:
        import pandas
    except ModuleNotFoundError:
        raise InputError("to_pandas needs pandas: pip install pandas") from None
    return pandas.DataFrame(dict(columns), index=pandas.Index(index, name=name))


def composition_frame(c: Composition, assumed: Sequence[str] = ()) -> Any:
    """Return one row an element; see `Composition.to_pandas`."""
    absent = np.isin(c.elements, [*assumed, *c.assumed_absent])
    at, wt = 100 * c.atomic_interval_95, 100 * c.weight_interval_95
    # Above the pure element there is none.
    limits = np.where(c.detection_limits > 1, np.nan, c.detection_limits)
    columns = {
        "at_percent": 100 * c.atomic_fractions,
        "at_sigma": 100 * np.sqrt(np.diag(c.atomic_covariance)),
        "at_systematic": 100 * np.sqrt(np.diag(c.atomic_systematic)),
        "at_low_95": at[:, 0],
        "at_high_95": at[:, 1],
        "wt_percent": 100 * c.weight_fractions,
        "wt_sigma": 100 * c.sigma,
        "wt_systematic": 100 * c.systematic_sigma,
        "wt_low_95": wt[:, 0],
        "wt_high_95": wt[:, 1],
        "critical_level_wt_percent": 100 * c.critical_levels,
        "detection_limit_wt_percent": 100 * limits,
    }
    # What was assumed was not measured: no number, no error.
    columns = {name: np.where(absent, np.nan, values) for name, values in columns.items()}
    words = {
        "found": np.asarray(c.found) & ~absent,
        "assumed_absent": absent,
        "line_family": list(c.families),
    }
    return _frame({**columns, **words}, c.elements, "element")


def spectrum_frame(spectrum: Spectrum) -> Any:
    """Return one row a channel; see `Spectrum.to_pandas`."""
    columns = {
        "counts": np.array(spectrum.values),
        "sigma": spectrum.standard_deviation,
        "taken_off": np.array(spectrum.background),
    }
    return _by_energy(columns, spectrum.axis)


def factors_frame(found: Factors) -> Any:
    """Return the spectra, one column a component; see `Factors.to_pandas`."""
    return _by_energy(dict(zip(found.names, found.spectra, strict=True)), found.axis)


def unmixed_frame(found: Unmixed) -> Any:
    """Return the spectra and their errors; see `Unmixed.to_pandas`."""
    columns: dict[str, np.ndarray] = {}
    for name in found.names:
        columns[name] = np.array(found.spectra[name].values)
        columns[f"{name} sigma"] = found.spectra[name].standard_deviation
    return _by_energy(columns, found.spectra[found.names[0]].axis)


def _by_energy(columns: Mapping[str, np.ndarray], axis: EnergyAxis) -> Any:
    return _frame(columns, axis.centers.tolist(), f"energy_{axis.unit}")


def regions_frame(regions: Regions) -> Any:
    """Return one row a region; see `Regions.to_pandas`."""
    counts = regions.pixel_counts()
    pixels = np.array(list(counts.values()))
    percent = 100 * pixels / (regions.shape[0] * regions.shape[1])
    return _frame({"pixels": pixels, "percent_of_map": percent}, list(counts), "region")


def phase_map_frame(found: Any) -> Any:
    """Return one row a phase, and mixed pixels and vacuum; see `PhaseMap.to_pandas`."""
    areas, errors = found.area_percent, found.area_sigma
    columns = {
        "area_percent": list(areas.values()),
        "area_sigma": [errors.get(name, 0.0) for name in areas],
    }
    return _frame(columns, list(areas), "phase")


def run_frame(result: RunResult) -> Any:
    """Return the compositions of all phases, one row an element; see `RunResult.to_pandas`."""
    assumed = assumed_absent(result.recipe)
    frames = {
        name: composition_frame(result.compositions[name], assumed.get(name, ()))
        for name in result.pure
        if name in result.compositions
    }
    if not frames:
        raise InputError(
            "this run has no compositions: "
            + ("; ".join(result.missing.values()) or "its ratios are in .ratios")
        )
    import pandas

    return pandas.concat(frames, names=["phase"])
