"""Curve of the held-out deviance over the number of components."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from siftem.decomposition.rank import RankChoice
from siftem.figures.page import MARGIN, TITLE_HEIGHT, Page
from siftem.figures.style import GUIDE_COLOUR, drawing_style

_CURVE_COLOUR = "#0072B2"
_CHOICE_COLOUR = "#D55E00"
#: mm for the numbers beside and below a frame.
_LEFT_ROOM, _BELOW_ROOM = 13.0, 8.0
#: Candidates that get a number each; of more, every second one and so on.
_MOST_NUMBERS = 16


def components_figure(choice: RankChoice) -> Figure:
    """Draw how much worse than the best each number of components predicts held-out counts.

    Parameters
    ----------
    choice : RankChoice

    Returns
    -------
    Figure
        88 mm wide (one column). Bars are standard errors; the line marks the choice. The
        deviance is linear near zero, where the noise is, and logarithmic beyond: one
        component too many may cost a hundredth of what one too few does.
    """
    width, height = 88.0, 56.0
    frame = (width - 2 * MARGIN - _LEFT_ROOM, height - 2 * MARGIN - TITLE_HEIGHT - _BELOW_ROOM)
    candidates, excess, error = np.array(choice.candidates), choice.excess, choice.standard_error
    noise = error[error > 0]
    linear = float(max(noise.min(), 1e-3)) if noise.size else 1.0
    highest = max(1.6 * float((excess + error).max()), 2.0 * linear)
    with drawing_style():
        page = Page(height, width)
        top = MARGIN + TITLE_HEIGHT
        ax = page.axes(MARGIN + _LEFT_ROOM, top, *frame)
        ax.axvline(choice.n_components, color=_CHOICE_COLOUR, linewidth=1.0)
        ax.axhline(0.0, color=GUIDE_COLOUR, linewidth=0.5, zorder=0)
        ax.errorbar(
            candidates,
            excess,
            yerr=error,
            color=_CURVE_COLOUR,
            marker="o",
            markersize=2.4,
            capsize=1.5,
            linewidth=0.8,
        )
        ax.set_yscale("symlog", linthresh=linear, linscale=0.7)
        ax.set_ylim(-0.5 * linear, highest)
        # Powers of ten that are apart, from the first that lies well above the linear part.
        first, last = int(np.ceil(np.log10(2 * linear))), int(np.floor(np.log10(highest)))
        powers = range(first, last + 1, 1 + max(last - first, 0) // 5)
        ax.yaxis.set_major_locator(FixedLocator([0.0, *(10.0**p for p in powers)]))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.set_xlim(candidates[0] - 0.4, candidates[-1] + 0.4)
        numbers = candidates[:: 1 + (len(candidates) - 1) // _MOST_NUMBERS]
        ax.xaxis.set_major_locator(FixedLocator(numbers.tolist()))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xticklabels([f"{n}" for n in numbers])
        ax.set_xlabel("Number of components")
        ax.set_ylabel("Deviance above the best")
        title = f"{choice.n_components} components" + ("" if choice.sure else ", not sure")
        page.text(MARGIN + _LEFT_ROOM, top - 1.4, title, va="baseline")
    return page.figure
