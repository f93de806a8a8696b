"""The look of siftem's own figures for those that examples of the gallery make themselves."""

from __future__ import annotations

import warnings

import matplotlib

from siftem.figures.style import COUNTS_COLOURS, DPI, PALETTE, STYLE


def drawn_as_siftem(_conf: object, _name: str) -> None:
    """Set the style before an example is run; warnings without the places of files."""
    warnings.formatwarning = _in_one_line
    matplotlib.rcParams.update(STYLE)
    matplotlib.rcParams.update(
        {
            "axes.prop_cycle": matplotlib.cycler(color=PALETTE),
            "image.cmap": COUNTS_COLOURS,
            "figure.dpi": DPI / 2,
        }
    )


def _in_one_line(message: Warning | str, category: type[Warning], *_where: object) -> str:
    return f"{category.__name__}: {message}\n"
