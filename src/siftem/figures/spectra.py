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
from siftem.figures.page import (
    MARGIN,
    Page,
    fix_minor_ticks,
    frame_size,
    short_number,
    signed_axis,
)
from siftem.figures.style import fitted_text, text_height, text_width

#: mm left of a frame for numbers and the label of the axis, and below for the energies.
LEFT_ROOM = 11.0
BOTTOM_ROOM = 7.5
RIGHT_ROOM = 2.0
#: Channels of the running mean whose low end sets the lower limit of a logarithmic axis.
_SMOOTH = 15


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
        One standard deviation, drawn as a band about what is bold.
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
        Lower end of the axis: what is not above it is drawn there.
    """
    edges = axis.to_kev().edges * scale.per_kev
    values = np.asarray(curve.values, float)
    low = -np.inf if floor is None else floor
    if curve.sigma is not None and curve.bold:
        ax.fill_between(
            edges,
            _closed(np.maximum(values - curve.sigma, low)),
            _closed(np.maximum(values + curve.sigma, low)),
            step="post",
            color=curve.colour,
            alpha=0.35,
            linewidth=0,
            zorder=1.5,
        )
    ax.plot(
        edges,
        _closed(np.maximum(values, low)),
        drawstyle="steps-post",
        color=curve.colour,
        linewidth=0.6,
        zorder=2.5 if curve.bold else 1.2,
        linestyle=(0, (4, 2)) if curve.dashed else "-",
    )


def _closed(values: np.ndarray) -> np.ndarray:
    """Repeat the last value, so that the last channel has its width, too."""
    return np.append(values, values[-1:])


def log_limits(values: np.ndarray, sigma: np.ndarray | None = None) -> tuple[float, float]:
    """Return limits of a logarithmic axis that show peaks and continuum, but no zeros.

    Parameters
    ----------
    values : ndarray of shape (channels,)
        May hold zeros and negative numbers.
    sigma : ndarray of shape (channels,), optional
        Standard deviations; less than half of the typical one is not shown.

    Returns
    -------
    low, high : float
        Positive; 16 times to two million times apart.
    """
    top = float(np.max(values, initial=0.0))
    if top <= 0:
        return 0.1, 10.0
    mean = uniform_filter1d(np.asarray(values, float), min(_SMOOTH, values.size), mode="nearest")
    positive = mean[mean > 0]
    low = 0.4 * float(np.quantile(positive, 0.05)) if positive.size else 1e-3 * top
    if sigma is not None:
        low = max(low, 0.5 * float(np.median(sigma)))
        if top > 6:
            low = max(low, 0.3)  # counts: a single one is the least there is
    low = min(max(low, 1e-6 * top), 0.06 * top)
    return low, 1.8 * top


def log_axis(ax: Axes, low: float, high: float) -> None:
    """Make the vertical axis logarithmic, with at most three numbers well inside it."""
    ax.set_yscale("log")
    ax.set_ylim(low, high)
    span = math.log10(high / low)
    # Numbers near the ends would run into those of the panels above and below.
    bottom, top = math.log10(low) + 0.07 * span, math.log10(high) - 0.07 * span
    decades = range(math.floor(top), math.ceil(bottom) - 1, -1)
    ticks = [10.0**d for d in decades[:: max(1, math.ceil(len(decades) / 3))]]
    if len(ticks) < 2:
        ticks = [
            step * 10.0**d
            for d in range(math.floor(bottom), math.ceil(top) + 1)
            for step in (1, 3)
            if bottom <= math.log10(step) + d <= top
        ]
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: short_number(v)))
    if span < 4.5:
        ax.yaxis.set_minor_locator(LogLocator(subs=range(2, 10), numticks=99))
    else:
        ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_minor_formatter(NullFormatter())


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


def chosen_range(
    shown: tuple[float, float],
    axis: EnergyAxis,
    wanted: tuple[float | None, float | None],
) -> tuple[float, float]:
    """Return the energies (keV) that somebody wants to see, as far as the axis has them."""
    kev = axis.to_kev()
    low = shown[0] if wanted[0] is None else max(wanted[0], kev.first)
    high = shown[1] if wanted[1] is None else min(wanted[1], kev.last)
    return (low, high) if high > low + 2 * kev.scale else shown


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
    strip_height: float = 17.0,
    left: float = MARGIN,
    width: float | None = None,
    energy_range: tuple[float | None, float | None] = (None, None),
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
    strip_height : float
        mm.
    left, width : float
        mm, with numbers and labels; by default as wide as the page.
    energy_range : tuple of float or None
        keV that are shown; by default those of `shown_range`.

    Returns
    -------
    list of Axes
        One for each strip.
    """
    scale = scale or energy_scale(axis)
    low, high = chosen_range(
        shown_range(axis, labels, [s.curves[0].values for s in strips]), axis, energy_range
    )
    width = page.width - MARGIN - left if width is None else width
    frame_left, frame_width = left + LEFT_ROOM, width - LEFT_ROOM - RIGHT_ROOM
    band_room = band_height(labels)
    panels: list[Axes] = []
    for i, strip in enumerate(strips):
        ax = page.axes(frame_left, top + band_room + i * strip_height, frame_width, strip_height)
        ax.set_xlim(low * scale.per_kev, high * scale.per_kev)
        window = axis.to_kev().window(low, high)
        first = strip.curves[0]
        floor, ceiling = log_limits(
            first.values[window], None if first.sigma is None else first.sigma[window]
        )
        ceiling = max(ceiling, *(1.8 * float(c.values[window].max()) for c in strip.curves))
        for curve in strip.curves:
            if curve.sigma is not None and (curve.values[window] < floor).any():
                # What scatters about zero would be strokes down to the end of a logarithmic axis.
                signed_axis(ax, curve.values[window], curve.sigma[window], ceiling)
                break
        else:
            log_axis(ax, floor, ceiling)
        fix_minor_ticks(ax)
        for curve in reversed(strip.curves):
            draw_spectrum(ax, axis, curve, scale=scale, floor=ax.get_ylim()[0])
        write_name(ax, axis, strip.curves, scale=scale)
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
        scale.channel_label,
        rotation=90,
        ha="left",
        va="center",
        gid="ylabel",
    )
    return panels


def write_name(ax: Axes, axis: EnergyAxis, curves: Sequence[Curve], *, scale: EnergyScale) -> None:
    """Write the first curve's name at the top, as far right as no curve runs through it."""
    name = fitted_text(curves[0].name, 0.5 * frame_size(ax)[0], bold=True)
    if not name:
        return
    width, height = frame_size(ax)
    low, high = ax.get_xlim()
    energies = axis.to_kev().centers * scale.per_kev
    top = np.max([np.asarray(curve.values, float) for curve in curves], axis=0)
    shown = np.maximum(top, ax.get_ylim()[0])
    level = ax.transAxes.inverted().transform(
        ax.transData.transform(np.stack([energies, shown], axis=1))
    )[:, 1]
    level = level * height
    wide = text_width(name, bold=True) + 3.0
    tall = text_height() + 1.2
    rights = np.arange(width, wide, -2.0)
    peaks = []
    for right in rights:
        left_energy = low + (right - wide) / width * (high - low)
        right_energy = low + right / width * (high - low)
        under = (energies >= left_energy) & (energies <= right_energy)
        peaks.append(float(level[under].max(initial=0.0)))
    free = [r for r, p in zip(rights, peaks, strict=True) if p < height - tall]
    right = free[0] if free else rights[int(np.argmin(peaks))]
    ax.text(
        (right - 1.5) / width,
        1 - 1.0 / height,
        name,
        transform=ax.transAxes,
        ha="right",
        va="top",
        weight="bold",
        color=curves[0].colour,
        parse_math=False,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5},
        zorder=2.0,
        gid="curve name",
    )
