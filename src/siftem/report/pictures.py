"""The figures of a run as PNG files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from siftem.figures.curves import onuma_figure
from siftem.figures.fits import figure3, fit_figure
from siftem.figures.line_labels import LineLabel, seen_lines, spelled_line
from siftem.figures.protocol import figure1, figure2
from siftem.figures.regions import Labels, phase_map_figure
from siftem.figures.style import Look, drawn_once, phase_colours
from siftem.figures.trace_lines import TraceLine
from siftem.fit.line_fit import LineFit
from siftem.pipeline.file_contents import file_names
from siftem.pipeline.fit_settings import FitSettings
from siftem.pipeline.layout import by_labels
from siftem.pipeline.minerals import onuma_diagrams
from siftem.pipeline.parts import attempted
from siftem.pipeline.region_spectra import mixture_name
from siftem.pipeline.results import RunResult
from siftem.unmixing.unmixed import Unmixed
from siftem.xray.detector import Detector
from siftem.xray.lines import parse_line


def figure_jobs(result: RunResult, kind: str = "png") -> dict[str, Callable[[], bytes | None]]:
    """Return what draws each figure of a run, and warns and gives None where that can't be done.

    Parameters
    ----------
    result : RunResult
    kind : {"png", "svg", "pdf"}

    Returns
    -------
    dict of str to callable
        They give PNG at 300 dots per inch, or vectors: "figure1", "figure2", "figure_phases", with
        unmixing "figure3", with three partition coefficients of a pair "figure_onuma", and one for
        the line fit of each quantified phase, under the names of
        `fit_names`.
    """
    draw: dict[str, Callable[[], bytes]] = {
        "figure1": partial(draw_figure1, result, kind),
        "figure2": partial(draw_figure2, result, kind),
        "figure_phases": partial(draw_phase_map, result, kind),
    }
    if result.unmixed is not None:
        draw["figure3"] = partial(draw_figure3, result, result.unmixed, kind)
    diagrams = onuma_diagrams(result)
    if diagrams:
        width = result.recipe.figures.width_mm
        draw["figure_onuma"] = lambda: drawn_once(onuma_figure(diagrams, width=width), kind)
    for name, key in fit_names(result).items():
        draw[key] = partial(draw_fit, result, name, kind)
    return {key: partial(attempted, f"{key}.{kind}", make, None) for key, make in draw.items()}


def draw_figure1(result: RunResult, kind: str = "png") -> bytes:
    """Draw the figure from maps to pure matrix; see `siftem.figures.protocol.figure1`."""
    composition = result.compositions.get(result.matrix)
    figure = figure1(
        result.spectrum_image,
        result.factors,
        result.segmentation.regions,
        whole=result.spectra[result.matrix],
        rectangles=result.rectangles if result.gains else (),
        confined=result.rectangle_spectrum,
        trace_lines=trace_lines(result),
        fit=None if composition is None else composition.fit,
        line_labels=line_labels(result),
        colours=phase_colours(result.factors.names),
        phases=_labels(result) if by_labels(result.layout) else None,
        look=_look(result),
    )
    return drawn_once(figure, kind)


def draw_figure2(result: RunResult, kind: str = "png") -> bytes:
    """Draw the figure from mixtures to grains as a picture; see `siftem.figures.protocol.figure2`.

    Without elements nothing could be subtracted: the mixtures stand for the grains.
    """
    regions, others = result.segmentation.regions, by_labels(result.layout)
    grains = {}
    for grain in result.factors.names if others else regions.names:
        label = mixture_name(grain, result.matrix)
        found = result.pure.get(grain) or result.spectra.get(label)
        if found is not None:
            grains[grain] = found
    taken = {
        grain: [part.name for part in scaled.subtracted if part.counts > 0]
        for grain in grains
        if (scaled := result.scale_of(grain)) is not None
    }
    hosts = {grain: result.pure[names[-1]] for grain, names in taken.items() if names}
    ends = {
        grain: min(known.ends, key=lambda end: float(end.values.sum()))
        for grain, known in result.open_scales.items()
        if grain in grains and known.ends and known.describe()
    }
    figure = figure2(
        result.spectrum_image,
        regions,
        matrix=result.spectra[result.matrix],
        grains=grains,
        subtracted=all(grain in result.pure for grain in grains),
        line_labels=line_labels(result),
        colours=phase_colours(result.factors.names),
        phases=_labels(result) if others else None,
        hosts=hosts if others else None,
        ends=ends,
        look=_look(result),
    )
    return drawn_once(figure, kind)


def draw_phase_map(result: RunResult, kind: str = "png") -> bytes:
    """Draw one label a pixel as a picture; see `siftem.figures.regions.phase_map_figure`."""
    figure = phase_map_figure(
        _labels(result),
        colours=phase_colours(result.factors.names),
        pixel_size=result.spectrum_image.pixel_size,
        width=result.recipe.figures.width_mm,
    )
    return drawn_once(figure, kind)


def _labels(result: RunResult) -> Labels:
    found = result.phase_map
    return Labels(found.names, found.labels, found.area_percent, found.area_sigma)


def draw_figure3(result: RunResult, unmixed: Unmixed, kind: str = "png") -> bytes:
    """Draw the figure of unmixing as a picture; see `siftem.figures.fits.figure3`."""
    figure = figure3(
        result.spectrum_image,
        unmixed,
        subtracted=result.pure,
        line_labels=line_labels(result),
        colours=phase_colours(result.factors.names),
        look=_look(result),
    )
    return drawn_once(figure, kind)


def _look(result: RunResult) -> Look:
    chosen = result.recipe.figures
    return Look(chosen.energy_range or (None, None), chosen.colour_map, chosen.width_mm)


def draw_fit(result: RunResult, phase: str, kind: str = "png") -> bytes:
    """Draw the line fit behind the composition of a phase as a picture."""
    figure = fit_figure(
        result.compositions[phase].fit,
        name=phase,
        colour=phase_colours(result.factors.names).get(phase, "black"),
        signal_type=result.spectrum_image.signal_type,
        width=result.recipe.figures.width_mm,
    )
    return drawn_once(figure, kind)


def fit_names(result: RunResult) -> dict[str, str]:
    """Return, for each quantified phase, the name under which its line fit is kept."""
    files = file_names(name for name in result.pure if name in result.compositions)
    return {name: f"fit_{file}" for name, file in files.items()}


def line_labels(result: RunResult) -> tuple[LineLabel, ...]:
    """Return the lines that are seen in at least one pure phase; none without elements."""
    fits = [result.compositions[name].fit for name in fit_names(result)]
    return seen_lines(fits or _plain_fits(result))


def _plain_fits(result: RunResult) -> list[LineFit]:
    """Fit the pure spectra of a run without compositions, such as that of a bulk specimen."""
    recipe, acquisition = result.recipe, result.spectrum_image.acquisition
    if result.calibration is None or acquisition.beam_energy is None:
        return []
    settings = FitSettings(
        elements=recipe.elements,
        support=tuple(e for e in recipe.support if e not in recipe.elements),
        beam_energy=acquisition.beam_energy,
        detector=Detector.of(acquisition),
        calibration=result.calibration,
        recipe=recipe,
    )
    return [settings.fit(s) for s in result.pure.values() if s.counts.sum() > 0]


def trace_lines(result: RunResult) -> tuple[TraceLine, ...]:
    """Return the recipe's faint lines with their signal to noise, at their measured energies."""
    out = []
    calibration = result.calibration
    for gain in result.gains:
        energy = parse_line(gain.line)[2]
        if calibration is not None:
            energy = energy * (1 + calibration.gain) + calibration.shift
        out.append(TraceLine(spelled_line(gain.line), energy, gain.whole, gain.rectangle))
    return tuple(out)
