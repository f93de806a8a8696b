"""Curve of the held-out likelihood over the smoothness of labels."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from siftem.figures.page import MARGIN, TITLE_HEIGHT, Page
from siftem.figures.style import (
    GUIDE_COLOUR,
    drawing_style,
)
from siftem.segment.smoothness import SmoothnessChoice

_CURVE_COLOUR = "#0072B2"
_CHOICE_COLOUR = "#D55E00"
#: mm for the numbers beside and below a frame.
_LEFT_ROOM, _BELOW_ROOM = 13.0, 8.0


def smoothness_figure(choice: SmoothnessChoice) -> Figure:
    """Draw what each smoothness loses of the best held-out log-likelihood.

    Parameters
    ----------
    choice : SmoothnessChoice

    Returns
    -------
    Figure
        88 mm wide (one column). Bars are standard errors; the line marks the choice. Both
        axes are linear near zero and logarithmic beyond.
    """
    width, height = 88.0, 56.0
    frame = (width - 2 * MARGIN - _LEFT_ROOM, height - 2 * MARGIN - TITLE_HEIGHT - _BELOW_ROOM)
    candidates = np.array(choice.candidates)
    step = float(candidates[candidates > 0].min())
    with drawing_style():
        page = Page(height, width)
        top = MARGIN + TITLE_HEIGHT
        ax = page.axes(MARGIN + _LEFT_ROOM, top, *frame)
        ax.axvline(choice.smoothness, color=_CHOICE_COLOUR, linewidth=1.0)
        ax.axhline(0.0, color=GUIDE_COLOUR, linewidth=0.5, zorder=0)
        ax.errorbar(
            candidates,
            choice.loss,
            yerr=choice.standard_error,
            color=_CURVE_COLOUR,
            marker="o",
            markersize=2.4,
            capsize=1.5,
            linewidth=0.8,
        )
        ax.set_xscale("symlog", linthresh=step, linscale=0.5)
        linear = _linear_part(choice)
        ax.set_yscale("symlog", linthresh=linear, linscale=0.7)
        ax.set_xlim(-0.3 * step, candidates[-1] * 1.15)
        highest = float((choice.loss + choice.standard_error).max())
        ax.set_ylim(-0.5 * linear, max(1.6 * highest, 2.0 * linear))
        ticks = _spaced(ax.transData.transform(np.column_stack([candidates, candidates * 0]))[:, 0])
        ax.xaxis.set_major_locator(FixedLocator(candidates[ticks].tolist()))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xticklabels([f"{s:g}" for s in candidates[ticks]])
        ax.set_xlabel("Smoothness")
        ax.set_ylabel("Loss of log-likelihood")
        title = f"Suggested {choice.smoothness:g}, best {choice.best:g}"
        page.text(MARGIN + _LEFT_ROOM, top - 1.4, title, va="baseline")
    return page.figure


def _linear_part(choice: SmoothnessChoice) -> float:
    """Where the logarithmic part of the losses begins: at the noise, or the least loss."""
    noise = choice.standard_error[choice.standard_error > 0]
    return float(max(noise.min(), 1e-3)) if noise.size else 1.0


def _spaced(positions: np.ndarray) -> np.ndarray:
    """Return indices of positions (pixels, ascending) that leave room for their numbers."""
    kept = [0]
    for i in range(1, len(positions)):
        if positions[i] - positions[kept[-1]] > 50:
            kept.append(i)
    return np.array(kept)
