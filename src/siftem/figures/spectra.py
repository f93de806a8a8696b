"""Step spectra on an energy axis, alone or stacked, with error bands and labelled lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from scipy.ndimage import uniform_filter1d

from siftem.energy_axis import EnergyAxis
from siftem.figures.line_labels import LineLabel, band_height, draw_line_labels
from siftem.figures.page import MARGIN, Page
from siftem.figures.style import NEUTRAL_COLOUR, PAGE_WIDTH, SMALL_FONT_SIZE, fitted_text

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
#: mm left of a frame for numbers and the label of the axis, and below for the energies.
LEFT_ROOM = 11.0
BOTTOM_ROOM = 7.5
RIGHT_ROOM = 2.0


@dataclass(frozen=True)
class EnergyScale:
    """How energies are shown: X-rays in keV, losses in eV.

    Parameters
    ----------
    per_kev : float
        Shown units per keV.
    label : str
        Label of the axis with its unit.
    channel_label : str
        Label of an axis of counts in each channel.
    """

    per_kev: float
    label: str
    channel_label: str


def energy_scale(axis: EnergyAxis, signal_type: str = "EDS_TEM") -> EnergyScale:
    """Return the scale for a kind of signal: eV for energy losses, keV for all else."""
    width = 1e3 * axis.to_kev().scale
    channel = f"counts per {float(f'{width:.3g}'):g} eV"
    if signal_type == "EELS":
        return EnergyScale(1e3, "energy loss (eV)", channel)
    return EnergyScale(1.0, "energy (keV)", channel)


@dataclass(frozen=True, eq=False)
class Curve:
    """One spectrum to draw.

    Parameters
    ----------
    values : ndarray of shape (channels,)
    colour : str
    name : str
        Written in the colour; nothing when empty.
    sigma : ndarray of shape (channels,), optional
        One standard deviation, drawn as a band.
    bold : bool
        Whether this is what the panel is about; others stand behind.
    dashed : bool
        Line style.
    """

    values: np.ndarray
    colour: str
    name: str = ""
    sigma: np.ndarray | None = None
    bold: bool = True
    dashed: bool = False


@dataclass(frozen=True, eq=False)
class Strip:
    """One panel of a stack of spectra.

    Parameters
    ----------
    curves : tuple of Curve
        The first one sets the limits and lies on top.
    """

    curves: tuple[Curve, ...] = field(default=())


def draw_spectrum(
    ax: Axes,
    axis: EnergyAxis,
    curve: Curve,
    *,
    scale: EnergyScale,
    floor: float | None = None,
) -> None:
    """Draw one spectrum as steps, each channel as wide as it is.

    Parameters
    ----------
    ax : Axes
    axis : EnergyAxis
    curve : Curve
    scale : EnergyScale
    floor : float, optional
        On a logarithmic axis, what is not above it is drawn there.
    """
    edges = axis.to_kev().edges * scale.per_kev
    values = np.asarray(curve.values, float)
    low = -np.inf if floor is None else floor
    if curve.sigma is not None:
        ax.stairs(
            np.maximum(values + curve.sigma, low),
            edges,
            baseline=np.maximum(values - curve.sigma, low),
            fill=True,
            color=curve.colour,
            alpha=0.35,
            linewidth=0,
            zorder=1.5,
        )
    ax.stairs(
        np.maximum(values, low),
        edges,
        baseline=None,
        color=curve.colour,
        linewidth=0.6,
        zorder=2.5 if curve.bold else 1.2,
        linestyle=(0, (4, 2)) if curve.dashed else "-",
    )


def log_limits(
    values: np.ndarray, sigma: np.ndarray | None = None, *, smooth: int = 15
) -> tuple[float, float]:
    """Return limits of a logarithmic axis that show peaks and continuum, but no zeros.

    Parameters
    ----------
    values : ndarray of shape (channels,)
        May hold zeros and negative numbers.
    sigma : ndarray of shape (channels,), optional
        Standard deviations; less than half of the typical one is not shown.
    smooth : int
        Channels of the running mean whose low end sets the lower limit.

    Returns
    -------
    low, high : float
        Positive; at least two and at most six decades.
    """
    top = float(np.max(values, initial=0.0))
    if top <= 0:
        return 0.1, 10.0
    mean = uniform_filter1d(np.asarray(values, float), min(smooth, values.size), mode="nearest")
    positive = mean[mean > 0]
    low = 0.4 * float(np.quantile(positive, 0.05)) if positive.size else 1e-3 * top
    if sigma is not None:
        low = max(low, 0.5 * float(np.median(sigma)))
    low = min(max(low, 1e-6 * top), 1e-2 * top)
    return low, 1.8 * top


def log_axis(ax: Axes, low: float, high: float) -> None:
    """Make the vertical axis logarithmic, with at most three numbers well inside it."""
    ax.set_yscale("log")
    ax.set_ylim(low, high)
    span = math.log10(high / low)
    # Numbers near the ends would run into those of the panels above and below.
    first = math.ceil(math.log10(low) + 0.07 * span)
    last = math.floor(math.log10(high) - 0.07 * span)
    step = max(1, math.ceil((last - first + 1) / 3))
    decades = range(last, first - 1, -step)
    ax.yaxis.set_major_locator(FixedLocator([10.0**d for d in decades]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: power_of_ten(v)))
    if span < 4.5:
        ax.yaxis.set_minor_locator(LogLocator(subs=range(2, 10), numticks=99))
    else:
        ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_minor_formatter(NullFormatter())


def power_of_ten(value: float) -> str:
    """Return 0.01, 1, 10 or 10³ for a power of ten."""
    exponent = round(math.log10(value))
    if -2 <= exponent <= 2:
        return f"{10.0**exponent:g}"
    return "10" + str(exponent).translate(_SUPERSCRIPTS)


def shown_range(
    axis: EnergyAxis, labels: Sequence[LineLabel], values: Sequence[np.ndarray]
) -> tuple[float, float]:
    """Return the energies (keV) worth showing: to the last labelled line, or 99.9% of counts.

    Parameters
    ----------
    axis : EnergyAxis
    labels : sequence of LineLabel
    values : sequence of ndarray (channels,)
        All spectra to show.
    """
    kev = axis.to_kev()
    if axis.unit == "eV" and not labels:
        return kev.first, kev.last
    end = kev.first
    for spectrum in values:
        running = np.cumsum(np.clip(spectrum, 0, None))
        if running[-1] > 0:
            channel = int(np.searchsorted(running, 0.97 * running[-1]))
            end = max(end, float(kev.centers[min(channel, kev.size - 1)]))
    if labels:
        end = max(end, max(label.energy for label in labels))
    room = 0.04 * (end - kev.first)
    return kev.first, min(kev.last, end + max(room, 10 * kev.scale))


def stack_height(strips: int, labels: Sequence[LineLabel], *, strip_height: float) -> float:
    """Height in mm that `draw_stack` takes, labels and energy axis included."""
    return band_height(labels) + strips * strip_height + BOTTOM_ROOM


def draw_stack(
    page: Page,
    axis: EnergyAxis,
    strips: Sequence[Strip],
    *,
    top: float,
    labels: Sequence[LineLabel] = (),
    scale: EnergyScale | None = None,
    ylabel: str | None = None,
    strip_height: float = 17.0,
    left: float = MARGIN,
    width: float = PAGE_WIDTH - 2 * MARGIN,
) -> list[Axes]:
    """Draw spectra above each other on one energy axis, lines labelled once for all.

    Parameters
    ----------
    page : Page
    axis : EnergyAxis
    strips : sequence of Strip
        From top to bottom, each on its own logarithmic axis.
    top : float
        mm from the top of the page to the labels of the lines.
    labels : sequence of LineLabel
    scale : EnergyScale, optional
        By default keV.
    ylabel : str, optional
        By default counts per channel.
    strip_height : float
        mm.
    left, width : float
        mm, with numbers and labels.

    Returns
    -------
    list of Axes
        One for each strip.
    """
    scale = scale or energy_scale(axis)
    low, high = shown_range(axis, labels, [s.curves[0].values for s in strips])
    frame_left, frame_width = left + LEFT_ROOM, width - LEFT_ROOM - RIGHT_ROOM
    band_room = band_height(labels)
    panels: list[Axes] = []
    for i, strip in enumerate(strips):
        ax = page.axes(
            frame_left, top + band_room + i * strip_height, frame_width, strip_height
        )
        ax.set_xlim(low * scale.per_kev, high * scale.per_kev)
        window = axis.to_kev().window(low, high)
        first = strip.curves[0]
        floor, ceiling = log_limits(
            first.values[window], None if first.sigma is None else first.sigma[window]
        )
        ceiling = max(ceiling, *(1.8 * float(c.values[window].max()) for c in strip.curves))
        log_axis(ax, floor, ceiling)
        for curve in reversed(strip.curves):
            draw_spectrum(ax, axis, curve, scale=scale, floor=floor)
        write_names(ax, strip.curves, width=0.4 * frame_width)
        last = i == len(strips) - 1
        ax.tick_params(labelbottom=last)
        if last:
            ax.set_xlabel(scale.label)
        panels.append(ax)
    if labels:
        band = page.axes(frame_left, top, frame_width, band_room)
        band.set_xlim(low * scale.per_kev, high * scale.per_kev)
        draw_line_labels(
            band,
            labels,
            width=frame_width,
            height=band_room,
            per_kev=scale.per_kev,
            spectra=panels,
        )
    middle = top + band_room + 0.5 * len(strips) * strip_height
    page.text(
        left + 0.3,
        middle,
        ylabel or scale.channel_label,
        rotation=90,
        ha="left",
        va="center",
        gid="ylabel",
    )
    return panels


def write_names(ax: Axes, curves: Sequence[Curve], *, width: float) -> None:
    """Write the names of curves in their colours into the upper right corner."""
    line = 0.0
    for curve in curves:
        if not curve.name:
            continue
        size = SMALL_FONT_SIZE + (1.0 if curve.bold else 0.0)
        ax.annotate(
            fitted_text(curve.name, width, size=size, bold=curve.bold),
            xy=(1, 1),
            xycoords="axes fraction",
            xytext=(-4, -3.5 - line),
            textcoords="offset points",
            ha="right",
            va="top",
            size=size,
            weight="bold" if curve.bold else "normal",
            color=curve.colour if curve.bold else NEUTRAL_COLOUR,
            parse_math=False,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
            gid="curve name",
        )
        line += 1.35 * size
