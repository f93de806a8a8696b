"""The report of a run as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from siftem.figures.style import phase_colours
from siftem.pipeline.parts import attempted
from siftem.pipeline.results import RunResult
from siftem.printed_numbers import plus_minus, significant, whole_number, with_error
from siftem.report.captions import (
    figure1_caption,
    figure2_caption,
    figure3_caption,
    onuma_caption,
    phase_map_caption,
)
from siftem.report.comparison_tables import (
    comparison_tables,
    comparison_text,
    measured_ratios,
    partition_tables,
)
from siftem.report.composition_tables import (
    composition_table,
    film_text,
    k_factor_table,
    overview_table,
    quantified_mixtures,
    quantified_phases,
    ratio_table,
)
from siftem.report.environment import encoded, environment
from siftem.report.layout_tables import layout_sentence, phase_table, role_words
from siftem.report.mineral_exports import film_table, strain_table
from siftem.report.mineral_tables import formula_table, limit_table, wanted_table
from siftem.report.phase_names import calibration_tables, names_table, structure_table
from siftem.report.pictures import fit_names
from siftem.report.provenance import facts, resource_facts, versions
from siftem.report.run_tables import (
    calibration_table,
    gain_table,
    region_table,
    subtraction_table,
    truth_tables,
)
from siftem.report.summary_table import summary_table, what_to_heed
from siftem.report.table import Table


@dataclass(frozen=True)
class Picture:
    """A figure in the report.

    Parameters
    ----------
    label : str
    caption : str
    data : str
        The PNG in base64.
    """

    label: str
    caption: str
    data: str


@dataclass(frozen=True)
class PhaseSection:
    """What the report says of one phase.

    Parameters
    ----------
    name, colour, summary : str
    table : Table
    """

    name: str
    colour: str
    summary: str
    table: Table


def table_html(table: Table) -> str:
    """Return one table as HTML, as it stands in the report but for its style sheet."""
    template = environment().get_template("table.html.j2")
    return str(vars(template.module)["draw"](table))


def report_tables(result: RunResult) -> dict[str, Any]:
    """Make the tables and texts of the report.

    Parameters
    ----------
    result : RunResult

    Returns
    -------
    dict of str to object
        By the names of the template; None or empty where there is nothing to show.

    Warns
    -----
    SiftemWarning
        Of each that can't be made; it is left out.
    """
    phases = quantified_phases(result)
    mixtures = quantified_mixtures(result)
    made: dict[str, tuple[Callable[[], Any], Any]] = {
        "summary": (lambda: summary_table(result), None),
        "heed": (lambda: what_to_heed(result), ()),
        "facts": (lambda: facts(result), {}),
        "overview": (
            lambda: (
                overview_table(result, phases, "Composition of the pure phases") if phases else None
            ),
            None,
        ),
        "phases": (lambda: [_phase(result, name) for name in phases], []),
        "ratios": (lambda: ratio_table(result), None),
        "measured_ratios": (lambda: measured_ratios(result), None),
        "formulas": (lambda: formula_table(result), None),
        "names": (lambda: names_table(result), None),
        "structures": (lambda: structure_table(result), None),
        "joint": (lambda: calibration_tables(result), ()),
        "limits": (lambda: limit_table(result), None),
        "wanted": (lambda: wanted_table(result), None),
        "partition": (lambda: partition_tables(result), []),
        "film": (lambda: film_table(result), None),
        "strain": (lambda: strain_table(result), None),
        "comparison": (lambda: comparison_tables(result), []),
        "comparison_text": (lambda: comparison_text(result), ""),
        "unmixed_ratios": (lambda: ratio_table(result, unmixed=True), None),
        "subtraction": (lambda: subtraction_table(result), None),
        "phase_table": (lambda: phase_table(result), None),
        "regions": (lambda: region_table(result), None),
        "gains": (lambda: gain_table(result), None),
        "truth": (lambda: truth_tables(result), []),
        "mixtures": (
            lambda: (
                overview_table(result, mixtures, "Mixtures, before anything was taken off")
                if mixtures
                else None
            ),
            None,
        ),
        "k_factors": (lambda: k_factor_table(result), None),
        "calibration": (lambda: calibration_table(result), None),
    }
    return {
        name: attempted(f"the part '{name}' of the report", make, instead)
        for name, (make, instead) in made.items()
    }


def render_report(
    result: RunResult,
    *,
    figures: Mapping[str, bytes],
    resources: Mapping[str, float] | None = None,
    tables: Mapping[str, Any] | None = None,
) -> str:
    """Write a run as HTML that needs nothing else: pictures and style are inside, no scripts.

    Parameters
    ----------
    result : RunResult
    figures : mapping of str to bytes
        PNG files by the names of `siftem.report.pictures.figure_jobs`; missing ones are
        left out, others than those names are not shown.
    resources : mapping of str to float, optional
        What the run took ("seconds", "peak_memory_MB").
    tables : mapping of str to object, optional
        From `report_tables`; made here by default.

    Returns
    -------
    str
        The same for the same result, figures and resources.
    """
    parts = report_tables(result) if tables is None else tables
    fits = _fits(result, figures)
    pictures = _pictures(result, figures)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            contents=_contents(parts, pictures, fits),
            title=result.recipe.title or result.spectrum_image.title or "Spectrum image",
            layout=layout_sentence(result),
            doubts=(*parts["heed"], *result.doubts),
            notes=[w for w in result.warnings if w not in result.doubts],
            phase_map=_phase_map(result, figures),
            pictures=pictures,
            fits=fits,
            recipe=result.recipe.to_yaml(),
            versions=versions(),
            resources=resource_facts(resources),
            **parts,
        )
    )


def _contents(
    parts: Mapping[str, Any], pictures: list[Picture], fits: list[Picture]
) -> dict[str, str]:
    """Return the titles of the sections that are there, by their place in the page."""
    basis = fits or any(parts[k] for k in ("mixtures", "k_factors", "calibration"))
    there = {
        "run": ("What was run", True),
        "figures": ("Figures", pictures),
        "compositions": ("Compositions", parts["overview"]),
        "minerals": ("Minerals", parts["names"] or parts["structures"] or parts["joint"]),
        "ratios": ("Ratios", parts["measured_ratios"]),
        "two-ways": ("Subtraction and unmixing, side by side", parts["comparison"]),
        "partition": ("Partition coefficients", parts["partition"]),
        "limits": ("Detection limits", parts["limits"]),
        "spectra": ("From maps to pure spectra", True),
        "truth": ("Against the truth", parts["truth"]),
        "basis": ("What the compositions rest on", basis),
        "settings": ("Settings and versions", True),
    }
    return {id: title for id, (title, shown) in there.items() if shown}


def _pictures(result: RunResult, figures: Mapping[str, bytes]) -> list[Picture]:
    captions = {
        "figure1": ("Figure 1", figure1_caption),
        "figure2": ("Figure 2", figure2_caption),
        "figure3": ("Figure 3", figure3_caption),
        "figure_onuma": ("Partitioning", onuma_caption),
    }
    return [
        Picture(label, caption(result), encoded(figures[key]))
        for key, (label, caption) in captions.items()
        if key in figures
    ]


def _phase_map(result: RunResult, figures: Mapping[str, bytes]) -> Picture | None:
    if "figure_phases" not in figures:
        return None
    return Picture("Phase map", phase_map_caption(result), encoded(figures["figure_phases"]))


def _fits(result: RunResult, figures: Mapping[str, bytes]) -> list[Picture]:
    out = []
    for name, key in fit_names(result).items():
        if key not in figures:
            continue
        fit = result.compositions[name].fit
        caption = (
            f"counts, fit and continuum above, residuals in standard deviations below; deviance "
            f"per degree of freedom {significant(fit.reduced_deviance, 3)}"
        )
        out.append(Picture(name, caption, encoded(figures[key])))
    return out


def _phase(result: RunResult, name: str) -> PhaseSection:
    c = result.compositions[name]
    spectrum = result.pure[name]
    parts = [role_words(result).get(name, "grain")]
    parts.append(f"{whole_number(spectrum.n_pixels)} pixels")
    counts = f"{whole_number(float(spectrum.values.sum()))} counts"
    scaled = result.scale_of(name)
    known = result.open_scales.get(name)
    if scaled is not None and known is not None and known.hosts:
        taken = " and ".join(known.hosts)
        counts += f" with {taken} taken off; anchor: {scaled.anchor}"
    elif scaled is not None:
        counts += f" after subtraction, anchored by: {plus_minus(scaled.anchor)}"
    parts.append(counts)
    if known is not None and known.describe_borders():
        parts.append(known.describe_borders())
    parts.append(film_text(c))
    parts.append(
        f"deviance of the fit per degree of freedom {significant(c.fit.reduced_deviance, 3)}"
    )
    parts.append(c.null_elements.describe())
    if c.mass_thickness is not None:
        mass = with_error(c.mass_thickness.value, c.mass_thickness.sigma)
        parts.append(f"mass thickness {mass} kg/m²")
    if c.not_in_range:
        parts.append(f"no line in the fitted range: {', '.join(c.not_in_range)}")
    colour = phase_colours(result.factors.names).get(name, "#000000")
    return PhaseSection(name, colour, "; ".join(parts), composition_table(result, name))
