"""Faint lines over a whole region against a confined rectangle: what the many pixels gain.

Each line is shown within its own window of energies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from siftem.acquisition import TYPICAL_RESOLUTION
from siftem.energy_axis import EnergyAxis
from siftem.figures.line_labels import (
    LEGEND_ROW,
    Entry,
    LineLabel,
    draw_legend,
    legend_rows,
    place_labels,
)
from siftem.figures.page import Page
from siftem.figures.spectra import BOTTOM_ROOM, LEFT_ROOM, RIGHT_ROOM, EnergyScale, energy_scale
from siftem.figures.style import (
    GUIDE_COLOUR,
    NEUTRAL_COLOUR,
    SMALL_FONT_SIZE,
    text_height,
    text_width,
)
from siftem.fit.line_fit import LineFit
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector

#: Energies shown on each side of a line, and bins, in widths (FWHM) of the line.
_SIDE = 3.6
BINS_PER_WIDTH = 3.0


@dataclass(frozen=True)
class TraceLine:
    """A faint line and how well it is seen.

    Parameters
    ----------
    text : str
        Such as "Nd Lα".
    energy : float
        keV, on the axis as measured.
    whole, rectangle : float
        Signal to noise over the whole region and over the confined rectangle.
    """

    text: str
    energy: float
    whole: float
    rectangle: float | None = None


@dataclass(frozen=True)
class Window:
    """A range of energies around lines that lie close to each other.

    Parameters
    ----------
    low, high : float
        keV.
    bin_width : float
        keV, about a third of the detector's width there.
    lines : tuple of TraceLine
    """

    low: float
    high: float
    bin_width: float
    lines: tuple[TraceLine, ...]


def line_windows(
    lines: Sequence[TraceLine], axis: EnergyAxis, *, resolution: float = TYPICAL_RESOLUTION
) -> list[Window]:
    """Group lines into windows; those that would overlap become one.

    Parameters
    ----------
    lines : sequence of TraceLine
    axis : EnergyAxis
    resolution : float
        Full width at half maximum at Mn Ka, eV.

    Returns
    -------
    list of Window
        By energy. Lines outside the axis are left out.
    """
    kev = axis.to_kev()
    detector = Detector(resolution=resolution)
    windows: list[Window] = []
    for line in sorted(lines, key=lambda item: item.energy):
        if not kev.contains(line.energy):
            continue
        fwhm = 1e-3 * float(detector.fwhm(line.energy))
        low = max(kev.first, line.energy - _SIDE * fwhm)
        high = min(kev.last, line.energy + _SIDE * fwhm)
        bin_width = max(1, round(fwhm / BINS_PER_WIDTH / kev.scale)) * kev.scale
        last = windows[-1] if windows else None
        if last is not None and low < last.high:
            windows[-1] = Window(last.low, high, last.bin_width, (*last.lines, line))
        else:
            windows.append(Window(low, high, bin_width, (line,)))
    return windows


def binned_per_pixel(
    values: np.ndarray, variance: np.ndarray, axis: EnergyAxis, window: Window, n_pixels: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum channels to bins, for one pixel and keV.

    Parameters
    ----------
    values, variance : ndarray of shape (channels,)
    axis : EnergyAxis
    window : Window
    n_pixels : int
        Pixels that were summed.

    Returns
    -------
    edges : ndarray of shape (bins + 1,)
        keV.
    density : ndarray of shape (bins,)
        Counts per pixel and keV.
    sigma : ndarray of shape (bins,)
        One standard deviation of it.
    """
    kev = axis.to_kev()
    channels = kev.window(window.low, window.high)
    per_bin = max(1, round(window.bin_width / kev.scale))
    n_bins = (channels.stop - channels.start) // per_bin
    used = slice(channels.start, channels.start + n_bins * per_bin)
    edges = kev.edges[used.start : used.stop + 1 : per_bin]
    unit = n_pixels * per_bin * kev.scale
    density = values[used].reshape(n_bins, per_bin).sum(axis=1) / unit
    sigma = np.sqrt(variance[used].reshape(n_bins, per_bin).sum(axis=1)) / unit
    return edges, density, sigma


#: What lies within so many widths of a line sets the vertical limits.
_NEAR = 2.2
#: Share of a panel that the residual takes.
_RESIDUAL_SHARE = 0.28


def draw_trace_lines(
    page: Page,
    lines: Sequence[TraceLine],
    whole: Spectrum,
    *,
    left: float,
    top: float,
    width: float,
    height: float,
    colour: str,
    rectangle: Spectrum | None = None,
    fit: LineFit | None = None,
    others: Sequence[LineLabel] = (),
    signal_type: str = "EDS_TEM",
) -> list[Axes]:
    """Draw faint lines over the whole region and over the rectangle, per pixel and keV.

    The same number of counts per pixel stands behind both, so that only the noise differs.

    Parameters
    ----------
    page : Page
    lines : sequence of TraceLine
    whole : Spectrum
        Of the whole region: steps with a band of one standard deviation.
    left, top, width, height : float
        Of everything, mm.
    colour : str
        Of the region's phase.
    rectangle : Spectrum, optional
        Of the confined rectangle: points with bars of one standard deviation.
    fit : LineFit, optional
        Fit of ``whole``; drawn with its continuum.
    others : sequence of LineLabel
        Further lines to mark where they lie in the windows.
    signal_type : str

    Returns
    -------
    list of Axes
        One for each window; empty when no line lies on the axis.
    """
    windows = line_windows(lines, whole.axis, resolution=whole.acquisition.fwhm)
    if not windows:
        return []
    scale = energy_scale(whole.axis, signal_type)
    entries = _entries(whole, rectangle, fit, colour)
    rows = legend_rows(entries, width - LEFT_ROOM)
    legend = 1.3 * text_height(SMALL_FONT_SIZE) + (len(rows) - 1) * LEGEND_ROW
    header = 3 * text_height(SMALL_FONT_SIZE) + 4.0
    each = width / len(windows)
    panels = []
    for i, window in enumerate(windows):
        frame_left = left + i * each + LEFT_ROOM
        frame_width = each - LEFT_ROOM - RIGHT_ROOM
        frame_top = top + legend + header
        frame_height = height - legend - header - BOTTOM_ROOM
        bottom = None
        if fit is not None:
            below = _RESIDUAL_SHARE * frame_height
            frame_height -= below
            bottom = page.axes(frame_left, frame_top + frame_height, frame_width, below)
        ax = page.axes(frame_left, frame_top, frame_width, frame_height)
        _draw_window(ax, window, whole, rectangle, fit, colour, scale)
        if fit is not None and bottom is not None:
            _draw_residual(bottom, window, whole, fit, colour, scale)
            bottom.set_xlim(ax.get_xlim())
            ax.tick_params(labelbottom=False)
            bottom.set_xlabel(scale.label)
            if i == 0:
                bottom.text(
                    0.99, 0.9, "residual (σ)", transform=bottom.transAxes, ha="right", va="top",
                    fontsize=SMALL_FONT_SIZE, color=NEUTRAL_COLOUR,
                )  # fmt: skip
        else:
            ax.set_xlabel(scale.label)
        if i == 0:
            ax.set_ylabel("counts per pixel and keV", fontsize=SMALL_FONT_SIZE, loc="top")
        _head(page, ax, window, others, scale, colour, frame_left, frame_top, frame_width)
        panels.append(ax)
    draw_legend(page, entries, left=left + LEFT_ROOM, top=top + 2.0, width=width - LEFT_ROOM)
    return panels


def _draw_window(
    ax: Axes,
    window: Window,
    whole: Spectrum,
    rectangle: Spectrum | None,
    fit: LineFit | None,
    colour: str,
    scale: EnergyScale,
) -> None:
    edges, density, sigma = binned_per_pixel(
        whole.values, whole.variance, whole.axis, window, whole.n_pixels
    )
    shown = edges * scale.per_kev
    ax.stairs(
        density + sigma, shown, baseline=density - sigma, fill=True, color=colour, alpha=0.35, lw=0
    )
    ax.stairs(density, shown, baseline=None, color=colour, lw=0.9, zorder=3)
    bounds = [density - sigma, density + sigma]
    centers = 0.5 * (edges[1:] + edges[:-1])
    if rectangle is not None:
        _, points, bars = binned_per_pixel(
            rectangle.values, rectangle.variance, rectangle.axis, window, rectangle.n_pixels
        )
        ax.errorbar(
            centers * scale.per_kev,
            points,
            bars,
            fmt="o",
            ms=1.8,
            color=NEUTRAL_COLOUR,
            elinewidth=0.5,
            capsize=0,
            zorder=2,
        )
        bounds += [points - bars, points + bars]
    if fit is not None:
        kev = fit.spectrum.axis.to_kev()
        shown_part = (kev.centers > edges[0]) & (kev.centers < edges[-1])
        unit = whole.n_pixels * kev.scale
        energies = kev.centers[shown_part] * scale.per_kev
        error = fit.misfit.standard_deviation
        ax.fill_between(
            energies,
            (fit.mean - error)[shown_part] / unit,
            (fit.mean + error)[shown_part] / unit,
            color="black",
            alpha=0.18,
            lw=0,
            zorder=3.5,
        )
        for model, style in ((fit.mean, "-"), (fit.continuum, "--")):
            ax.plot(energies, model[shown_part] / unit, style, color="black", lw=0.6, zorder=4)
    near = np.zeros(centers.size, bool)
    for line in window.lines:
        near |= np.abs(centers - line.energy) < _NEAR * BINS_PER_WIDTH * window.bin_width
    near = near if near.any() else np.ones_like(near)
    low = min(float(b[near].min()) for b in bounds)
    high = max(float(b[near].max()) for b in bounds)
    room = 0.06 * (high - low) or 1.0
    ax.set_ylim(max(low - room, 0.0) if low >= 0 else low - room, high + room)
    ax.set_xlim(shown[0], shown[-1])
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_locator(MaxNLocator(5))


def _draw_residual(
    ax: Axes, window: Window, whole: Spectrum, fit: LineFit, colour: str, scale: EnergyScale
) -> None:
    """Counts less the fit over their standard deviation; the band is the model's error."""
    axis = fit.spectrum.axis
    edges, density, sigma = binned_per_pixel(
        fit.spectrum.counts, fit.spectrum.variance, axis, window, whole.n_pixels
    )
    _, model, _ = binned_per_pixel(fit.mean, fit.mean, axis, window, whole.n_pixels)
    # Errors of the model are common to the channels of a bin: they add up linearly.
    error = fit.misfit.standard_deviation
    _, width, _ = binned_per_pixel(error, error, axis, window, whole.n_pixels)
    noise = np.where(sigma > 0, sigma, 1.0)
    shown = edges * scale.per_kev
    ax.stairs(
        width / noise, shown, baseline=-width / noise, fill=True, color="black", alpha=0.18, lw=0
    )
    ax.stairs((density - model) / noise, shown, baseline=None, color=colour, lw=0.9)
    ax.axhline(0.0, color=GUIDE_COLOUR, lw=0.5)
    reach = max(4.0, 1.1 * float(np.abs((density - model) / noise).max()))
    ax.set_ylim(-reach, reach)
    ax.yaxis.set_major_locator(MaxNLocator(3))
    ax.xaxis.set_major_locator(MaxNLocator(5))


def _head(
    page: Page,
    ax: Axes,
    window: Window,
    others: Sequence[LineLabel],
    scale: EnergyScale,
    colour: str,
    left: float,
    top: float,
    width: float,
) -> None:
    """Name each line above the panel, with its signal to noise; mark the other lines."""
    line_height = text_height(SMALL_FONT_SIZE)
    named = {line.text for line in window.lines}
    low, high = (v / scale.per_kev for v in ax.get_xlim())
    minor = [o for o in others if low < o.energy < high and o.text not in named]
    blocks = [[line.text, *_noise_texts(line)] for line in window.lines]
    widths = [
        max(text_width(t, size=SMALL_FONT_SIZE, bold=i == 0) for i, t in enumerate(block)) + 2.0
        for block in blocks
    ] + [line_height + 0.3] * len(minor)
    energies = [line.energy for line in window.lines] + [o.energy for o in minor]
    ranks = [1e9] * len(blocks) + [o.prominence for o in minor]
    mm = (high - low) / width
    placed = place_labels(
        [(e - low) / mm for e in energies],
        widths,
        ranks,
        low=-2.0,
        high=width + 2.0,
        farthest=0.35 * width,
    )
    for index, x in placed:
        energy = energies[index]
        major = index < len(blocks)
        tone = "black" if major else GUIDE_COLOUR
        ax.axvline(energy * scale.per_kev, color=tone, lw=0.5, ls=(0, (2, 2)), zorder=0.5)
        leader_x = [left + (energy - low) / mm, left + x]
        _leader(page, leader_x, top, tone)
        if not major:
            page.text(
                left + x,
                top - 2.6,
                minor[index - len(blocks)].text,
                size=SMALL_FONT_SIZE,
                rotation=90,
                ha="center",
                va="bottom",
                gid="line label",
            )
            continue
        block = blocks[index]
        for row, text in enumerate(block):
            page.text(
                left + x,
                top - 2.9 - (len(block) - 1 - row) * line_height,
                text,
                size=SMALL_FONT_SIZE,
                ha="center",
                weight="bold" if row == 0 else "normal",
                color=("black", colour, NEUTRAL_COLOUR)[row],
                gid="trace line",
            )


def _noise_texts(line: TraceLine) -> list[str]:
    texts = [f"S/N {line.whole:.1f}"]
    if line.rectangle is not None:
        texts.append(f"S/N {line.rectangle:.1f}")
    return texts


def _leader(page: Page, x: list[float], top: float, colour: str) -> None:
    points_x = [x[0] / page.width, x[0] / page.width, x[1] / page.width]
    points_y = [1 - (top - d) / page.height for d in (0.0, 0.5, 2.2)]
    page.figure.add_artist(
        Line2D(points_x, points_y, color=colour, lw=0.4, transform=page.figure.transFigure)
    )


def _entries(
    whole: Spectrum, rectangle: Spectrum | None, fit: LineFit | None, colour: str
) -> list[Entry]:
    entries = [Entry(f"region, {_pixels(whole)}", colour, "band")]
    if rectangle is not None:
        text = f"rectangle, {_pixels(rectangle)}"
        entries.append(Entry(text, NEUTRAL_COLOUR, "points"))
    if fit is not None:
        entries += [
            Entry("fit, model's error", "black"),
            Entry("continuum", "black", "dashed"),
        ]
    return entries


def _pixels(spectrum: Spectrum) -> str:
    """Pixels that a spectrum was summed over, short enough for a legend."""
    n = spectrum.n_pixels
    return f"{n} pixels" if n < 100_000 else f"{n / 1e6:.2f}M pixels"
