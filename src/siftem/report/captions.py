"""Captions of the two figures, panel by panel."""

from __future__ import annotations

from siftem.figures.line_labels import spelled_line
from siftem.figures.page import panel_letter
from siftem.pipeline.layout import by_labels
from siftem.pipeline.results import RunResult
from siftem.printed_numbers import whole_number

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
