"""The figures of a run as PNG files."""

from __future__ import annotations

from collections.abc import Mapping

from siftem.errors import InputError
from siftem.figures.fit import fit_figure
from siftem.figures.line_labels import LineLabel, line_text, seen_lines
from siftem.figures.protocol import figure1, figure2
from siftem.figures.style import phase_colours, png_bytes
from siftem.figures.trace_lines import TraceLine
from siftem.pipeline.results import RunResult
from siftem.pipeline.spectra import mixture_name
from siftem.pipeline.store import file_name
from siftem.spectrum import Spectrum
from siftem.xray.lines import parse_line


def draw_figures(result: RunResult) -> dict[str, bytes]:
    """Draw all figures of a run.

    Parameters
    ----------
    result : RunResult

    Returns
    -------
    dict of str to bytes
        PNG at 300 dots per inch: "figure1", "figure2", and "fit_<phase>" for each phase that
        was quantified.
    """
    figures = {"figure1": png_bytes(draw_figure1(result))}
    figures["figure2"] = png_bytes(draw_figure2(result))
    colours = phase_colours(result.factors.names)
    for name, key in fit_names(result).items():
        figure = fit_figure(
            result.compositions[name].fit,
            name=name,
            colour=colours[name],
            signal_type=result.spectrum_image.signal_type,
        )
        figures[key] = png_bytes(figure)
    return figures
