"""Curves of held-out counts and labels over what was chosen by them."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from siftem.decomposition.rank import RankChoice
from siftem.figures.page import MARGIN, TITLE_HEIGHT, Page
from siftem.figures.style import GUIDE_COLOUR, drawing_style
from siftem.segment.smoothness import SmoothnessChoice

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
    candidates = np.array(choice.candidates)
    title = f"{choice.n_components} components" + ("" if choice.sure else ", not sure")
    with drawing_style():
        figure, ax, linear, highest = _loss_curve(
            candidates, choice.excess, choice.standard_error, choice.n_components, title
        )
        # Powers of ten that are apart, from the first that lies well above the linear part.
        first, last = int(np.ceil(np.log10(2 * linear))), int(np.floor(np.log10(highest)))
        powers = range(first, last + 1, 1 + max(last - first, 0) // 5)
        ax.yaxis.set_major_locator(FixedLocator([0.0, *(10.0**p for p in powers)]))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.set_xlim(candidates[0] - 0.4, candidates[-1] + 0.4)
        _number(ax, candidates[:: 1 + (len(candidates) - 1) // _MOST_NUMBERS])
        ax.set_xlabel("Number of components")
        ax.set_ylabel("Deviance above the best")
    return figure


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
    candidates = np.array(choice.candidates)
    step = float(candidates[candidates > 0].min())
    title = f"Suggested {choice.smoothness:g}, best {choice.best:g}"
    with drawing_style():
        figure, ax, _, _ = _loss_curve(
            candidates, choice.loss, choice.standard_error, choice.smoothness, title
        )
        ax.set_xscale("symlog", linthresh=step, linscale=0.5)
        ax.set_xlim(-0.3 * step, candidates[-1] * 1.15)
        places = ax.transData.transform(np.column_stack([candidates, candidates * 0]))[:, 0]
        _number(ax, candidates[_spaced(places)])
        ax.set_xlabel("Smoothness")
        ax.set_ylabel("Loss of log-likelihood")
    return figure


def _loss_curve(
    candidates: np.ndarray, loss: np.ndarray, error: np.ndarray, chosen: float, title: str
) -> tuple[Figure, Axes, float, float]:
    """Draw the curve and the choice; also return where its linear part and its axis end."""
    width, height = 88.0, 56.0
    frame = (width - 2 * MARGIN - _LEFT_ROOM, height - 2 * MARGIN - TITLE_HEIGHT - _BELOW_ROOM)
    # Logarithmic from the noise on, or from the least loss.
    noise = error[error > 0]
    linear = float(max(noise.min(), 1e-3)) if noise.size else 1.0
    highest = max(1.6 * float((loss + error).max()), 2.0 * linear)
    page = Page(height, width)
    top = MARGIN + TITLE_HEIGHT
    ax = page.axes(MARGIN + _LEFT_ROOM, top, *frame)
    ax.axvline(chosen, color=_CHOICE_COLOUR, linewidth=1.0)
    ax.axhline(0.0, color=GUIDE_COLOUR, linewidth=0.5, zorder=0)
    ax.errorbar(
        candidates,
        loss,
        yerr=error,
        color=_CURVE_COLOUR,
        marker="o",
        markersize=2.4,
        capsize=1.5,
        linewidth=0.8,
    )
    ax.set_yscale("symlog", linthresh=linear, linscale=0.7)
    ax.set_ylim(-0.5 * linear, highest)
    page.text(MARGIN + _LEFT_ROOM, top - 1.4, title, va="baseline")
    return page.figure, ax, linear, highest


def _number(ax: Axes, candidates: np.ndarray) -> None:
    """Write the numbers of some candidates below the axis."""
    ax.xaxis.set_major_locator(FixedLocator(candidates.tolist()))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticklabels([f"{value:g}" for value in candidates])


def _spaced(positions: np.ndarray) -> np.ndarray:
    """Return indices of positions (pixels, ascending) that leave room for their numbers."""
    kept = [0]
    for i in range(1, len(positions)):
        if positions[i] - positions[kept[-1]] > 50:
            kept.append(i)
    return np.array(kept)
