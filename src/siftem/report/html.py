"""The report of a run as one self-contained HTML file, with captions panel by panel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from siftem.figures.line_labels import spelled_line
from siftem.figures.page import panel_letter
from siftem.figures.style import phase_colours
from siftem.pipeline.layout import by_labels
from siftem.pipeline.minerals import onuma_diagrams
from siftem.pipeline.parts import attempted
from siftem.pipeline.results import RunResult
from siftem.printed_numbers import plus_minus, significant, whole_number, with_error
from siftem.report.composition_tables import (
    comparison_tables,
    comparison_text,
    composition_table,
    film_text,
    k_factor_table,
    measured_ratios,
    overview_table,
    partition_tables,
    quantified_mixtures,
    quantified_phases,
    ratio_table,
)
from siftem.report.minerals import (
    film_table,
    formula_table,
    limit_table,
    strain_table,
    wanted_table,
)
from siftem.report.pages import encoded, environment, facts, resource_facts, versions
from siftem.report.phase_names import (
    calibration_tables,
    layout_sentence,
    names_table,
    phase_table,
    role_words,
    structure_table,
)
from siftem.report.pictures import fit_names
from siftem.report.run_tables import (
    calibration_table,
    gain_table,
    region_table,
    subtraction_table,
    summary_tables,
    truth_tables,
    what_to_heed,
)
from siftem.report.table import Table, abreast, without_repeats

#: Phases beside each other in a table of compositions.
_ABREAST = 6
_KEY = "Each pixel in the colour of its phase; mixed pixels grey, vacuum white."


def figure1_caption(result: RunResult) -> str:
    """Say what each panel of the first figure shows."""
    si, k = result.spectrum_image, len(result.factors.names)
    pure = result.segmentation.regions.pure
    survey = si.survey_name if si.survey is not None else "All counts of each pixel"
    parts = [f"(a) {survey}{_rectangles(result)}."]
    if si.survey is None:
        parts.append("The file holds no image (HAADF, BF, SE) of the same scan.")
    parts.append(f"{_span(1, k)} Counts that each component gave in each pixel.")
    parts.append(
        f"({panel_letter(k + 1)}) Spectra of the components, summed over the map; each on its own "
        f"logarithmic axis, the lines that stand out in any phase labelled."
    )
    if by_labels(result.layout):
        parts.append(f"({panel_letter(k + 2)}) Phase map: {_KEY}")
        if not result.gains:
            return " ".join(parts)
    else:
        parts.append(
            f"({panel_letter(k + 2)}) Pure {result.matrix}: {whole_number(pure.n_pixels)} pixels, "
            f"{100 * pure.fraction:.1f}% of the map."
        )
    last = panel_letter(k + 3)
    if result.gains:
        names = ", ".join(spelled_line(gain.line) for gain in result.gains)
        text = (
            f"({last}) {names} over the whole pure region (steps, band of one standard deviation)"
        )
        if result.rectangle_spectrum is not None:
            text += " and over the first rectangle (points, bars of one standard deviation)"
        text += ", both per pixel; S/N is signal to noise over the whole region"
        n = len(result.rectangles)
        text += " and over the rectangle." if n == 1 else f" and the mean over {n} rectangles."
        parts.append(text)
    else:
        parts.append(f"({last}) Spectrum of pure {result.matrix}.")
    return " ".join(parts)


def figure2_caption(result: RunResult) -> str:
    """Say what each panel of the second figure shows."""
    n = len(result.segmentation.regions.names)
    matrix = result.matrix
    if by_labels(result.layout):
        k = len(result.factors.names)
        text = f"{_span(0, k)} Pixels of each phase, with their share of the map. "
        text += f"({panel_letter(k)}) Pure spectra of the phases, with a band of one standard "
        text += "deviation. Where noise has both signs the axis is linear about zero."
        if any(result.scale_of(grain) is not None for grain in result.grains):
            text += " Behind some, in grey, what was taken off, scaled to the same counts."
        return text + _ends(result)
    if not n:
        return f"(a) Spectrum of {matrix}, with a band of one standard deviation."
    last = panel_letter(2 * n)
    parts = [
        f"{_span(0, n)} Masks of the grains, with their share of the map.",
        f"{_span(n, n)} Mixtures of one grain and {matrix}, without intersections and borders.",
    ]
    if result.grains:
        parts.append(
            f"({last}) Pure spectra of the grains after {matrix} was subtracted, with a band of "
            f"one standard deviation, which holds the scale's error, too; behind each, {matrix} "
            f"scaled to the same counts. Where noise has both signs the axis is linear about zero."
        )
    else:
        parts.append(f"({last}) Spectra of the mixtures; nothing was subtracted.")
    return " ".join(parts) + _ends(result)


def phase_map_caption(result: RunResult) -> str:
    """Say what the phase map shows."""
    return f"{_KEY} Beside it, the share of the map, ± from the pixels at borders."


def _ends(result: RunResult) -> str:
    """Say what dashed spectra are; empty without any."""
    if not any(known.describe() for known in result.open_scales.values()):
        return ""
    return (
        " Dashed, and smoothed over five channels unless these are energy losses: with as much "
        "taken off as may be, where no anchor tells how much. The truth lies between the two."
    )


def figure3_caption(result: RunResult) -> str:
    """Say what each panel of the figure of unmixing shows; empty without it."""
    if result.unmixed is None:
        return ""
    k = len(result.unmixed.names)
    return (
        f"{_span(0, k)} Counts of each phase in each pixel, by unmixing; grey pixels took no part "
        f"(rims of grains, vacuum). {_span(k, k)} Standard deviations of these from counting. In "
        f"pixels of pure {result.matrix} all counts are its own, and nothing was fitted. "
        f"({panel_letter(2 * k)}) Spectra of the phases on lines and continuum, with a band of one "
        f"standard deviation; behind each, the one by subtraction."
    )


def _rectangles(result: RunResult) -> str:
    n = len(result.rectangles)
    if n == 0 or not result.gains:
        return ""
    if n == 1:
        return f", with the confined rectangle of {result.matrix}"
    return f", with the {n} confined rectangles of {result.matrix} that fit, the first one solid"


def _span(first: int, n: int) -> str:
    if n == 1:
        return f"({panel_letter(first)})"
    return f"({panel_letter(first)}–{panel_letter(first + n - 1)})"


def onuma_caption(result: RunResult) -> str:
    """Say what the partition coefficients are drawn against."""
    number = result.recipe.quantify.onuma.coordination
    return (
        f"Partition coefficients by weight against ionic radii (Shannon 1976, coordination "
        f"{number}), with 95% intervals of all errors; triangles are limits. Curves: lattice "
        f"strain (Blundy & Wood 1994) for charges with three or more measured cations, filled "
        f"symbols; bands hold 68%."
    )


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

    @property
    def oxides(self) -> bool:
        """Whether the table has a column of oxides."""
        return any(cell.text == "oxide" for cell in self.table.head)


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
        "summary": (lambda: summary_tables(result), []),
        "heed": (lambda: what_to_heed(result), ()),
        "facts": (lambda: facts(result), {}),
        "overview": (lambda: _overview(result, phases, "Composition of the pure phases"), []),
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
        "strain": (lambda: strain_table(onuma_diagrams(result)), None),
        "comparison": (lambda: comparison_tables(result), []),
        "comparison_text": (lambda: comparison_text(result), ""),
        "unmixed_ratios": (lambda: ratio_table(result, unmixed=True), None),
        "subtraction": (lambda: subtraction_table(result), None),
        "phase_table": (lambda: phase_table(result), None),
        "regions": (lambda: region_table(result), None),
        "gains": (lambda: gain_table(result), None),
        "truth": (lambda: truth_tables(result), []),
        "mixtures": (
            lambda: _overview(result, mixtures, "Mixtures, before anything was taken off"),
            [],
        ),
        "k_factors": (lambda: k_factor_table(result), None),
        "calibration": (lambda: calibration_table(result), None),
    }
    return {
        name: attempted(f"the part '{name}' of the report", make, instead)
        for name, (make, instead) in made.items()
    }


def _overview(result: RunResult, names: tuple[str, ...], caption: str) -> list[Table]:
    return [overview_table(result, some, caption) for some in abreast(names, _ABREAST)]


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
            doubts=without_repeats((*parts["heed"], *result.doubts)),
            notes=without_repeats([w for w in result.warnings if w not in result.doubts]),
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
        why = scaled.anchor.removeprefix("none: ")
        counts += f" with {taken} taken off; {'' if why == scaled.anchor else 'no '}anchor: {why}"
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
