"""The two figures of the protocol: from maps to pure matrix, and from mixtures to grains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from siftem.decompose.factors import Factors
from siftem.figures.legend import Entry, draw_legend
from siftem.figures.line_labels import LineLabel
from siftem.figures.maps import (
    COLOUR_BAR_ROOM,
    SURVEY_COLOURS,
    add_colour_bar,
    draw_image,
    draw_rectangles,
    image_limits,
)
from siftem.figures.page import GAP, MARGIN, ROW_GAP, TITLE_HEIGHT, ImageGrid, Page, image_grid
from siftem.figures.regions import draw_mask
from siftem.figures.spectra import Curve, Strip, draw_stack, energy_scale, stack_height
from siftem.figures.style import (
    BEHIND_COLOUR,
    PAGE_WIDTH,
    drawing_style,
    phase_colours,
    text_width,
)
from siftem.figures.trace_lines import draw_trace_lines
from siftem.figures.trace_windows import TraceLine
from siftem.fit.line_fit import LineFit
from siftem.segment.regions import Region, Regions
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage

_BOTTOM_HEIGHT = 52.0


def figure1(
    si: SpectrumImage,
    factors: Factors,
    regions: Regions,
    *,
    whole: Spectrum,
    rectangles: Sequence[Region] = (),
    confined: Spectrum | None = None,
    trace_lines: Sequence[TraceLine] = (),
    fit: LineFit | None = None,
    line_labels: Sequence[LineLabel] = (),
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Draw how maps lead to the pure matrix, and what its many pixels gain.

    Survey image with the confined rectangles; a map of each component; their spectra; the
    region of pure matrix; faint lines over all of it against the first rectangle.

    Parameters
    ----------
    si : SpectrumImage
    factors : Factors
        1 to any number of components.
    regions : Regions
    whole : Spectrum
        Of the whole pure matrix.
    rectangles : sequence of Region
        The first is drawn solid, the others dashed.
    confined : Spectrum, optional
        Of the first rectangle.
    trace_lines : sequence of TraceLine
        Without any, the last panel shows the whole spectra.
    fit : LineFit, optional
        Fit of ``whole``, drawn behind the faint lines.
    line_labels : sequence of LineLabel
        Lines to mark in the spectra, see `siftem.figures.line_labels.seen_lines`.
    colours : mapping of str to str, optional
        Colour of each phase; by default in the order of the components.

    Returns
    -------
    Figure
        180 mm wide.
    """
    colours = colours or phase_colours(factors.names)
    k = len(factors.names)
    grid = image_grid(k + 1, si.shape, si.pixel_size, below=COLOUR_BAR_ROOM)
    strip = _strip_height(k)
    below = stack_height(k, line_labels, strip_height=strip)
    top = MARGIN
    spectra_top = top + grid.height + ROW_GAP
    last_top = spectra_top + TITLE_HEIGHT + below + ROW_GAP
    height = last_top + TITLE_HEIGHT + _BOTTOM_HEIGHT + MARGIN
    with drawing_style():
        page = Page(height)
        _survey(page, grid, top, si, rectangles)
        for i, name in enumerate(factors.names):
            left, image_top = grid.place(i + 1, top)
            page.title(left, image_top, name, width=grid.title_width, colour=colours[name])
            ax = page.axes(left, image_top, grid.image_width, grid.image_height)
            drawn = draw_image(ax, factors.maps[i], pixel_size=si.pixel_size)
            add_colour_bar(
                page,
                drawn,
                left=left,
                top=image_top + grid.image_height,
                width=grid.bar_width,
                label="counts",
            )
        page.title(
            MARGIN, spectra_top + TITLE_HEIGHT, "Spectra of the components", width=PAGE_WIDTH / 2
        )
        draw_stack(
            page,
            factors.axis,
            [
                Strip((Curve(spectrum * counts, colours[name], name),))
                for name, spectrum, counts in zip(
                    factors.names, factors.spectra, factors.counts, strict=True
                )
            ],
            top=spectra_top + TITLE_HEIGHT,
            labels=line_labels,
            scale=energy_scale(factors.axis, si.signal_type),
            strip_height=strip,
        )
        right = _pure_region(page, last_top, si, regions, colours[regions.matrix])
        _gain(
            page,
            last_top,
            right,
            si,
            whole,
            confined,
            trace_lines,
            fit,
            line_labels,
            colours[regions.matrix],
        )
    return page.figure


def figure2(
    si: SpectrumImage,
    regions: Regions,
    *,
    matrix: Spectrum,
    grains: Mapping[str, Spectrum],
    line_labels: Sequence[LineLabel] = (),
    colours: Mapping[str, str] | None = None,
    subtracted: bool = True,
) -> Figure:
    """Draw how mixtures lead to the pure spectra of the grains.

    Masks of the grains; mixtures without their intersections; pure spectra with a band of
    one standard deviation, and the matrix behind each, scaled to the same counts.

    Parameters
    ----------
    si : SpectrumImage
    regions : Regions
        With any number of grains; without, only the matrix' spectrum is drawn.
    matrix : Spectrum
        Of the pure matrix.
    grains : mapping of str to Spectrum
        Spectrum of each grain after the subtraction.
    line_labels : sequence of LineLabel
    colours : mapping of str to str, optional
        Colour of each phase; by default in the order matrix, grains.
    subtracted : bool
        Whether ``grains`` are free of matrix; the panel's title says so.

    Returns
    -------
    Figure
        180 mm wide.
    """
    colours = colours or phase_colours((regions.matrix, *regions.names))
    plans = _plans(regions.names, si)
    strips = _pure_strips(matrix, grains, regions.matrix, colours)
    strip = _strip_height(len(strips))
    spectra_top = MARGIN + sum(grid.height for grid, _ in plans) + (ROW_GAP if plans else 0.0)
    stack = stack_height(len(strips), line_labels, strip_height=strip)
    height = spectra_top + TITLE_HEIGHT + stack + MARGIN
    with drawing_style():
        page = Page(height)
        background = si.survey if si.survey is not None else si.total_map()
        top = MARGIN
        for grid, content in plans:
            for i, (kind, name) in enumerate(content):
                region = regions.mask(name) if kind == "mask" else regions.mixture(name)
                left, image_top = grid.place(i, top)
                page.title(
                    left,
                    image_top,
                    name if kind == "mask" else f"{name} + {regions.matrix}",
                    width=grid.title_width,
                    colour=colours[name],
                    ending=f", {100 * region.fraction:.1f}%",
                )
                ax = page.axes(left, image_top, grid.image_width, grid.image_height)
                draw_mask(
                    ax,
                    region.mask,
                    colours[name],
                    background=background,
                    pixel_size=si.pixel_size,
                )
            top += grid.height
        _pure_title(page, spectra_top + TITLE_HEIGHT, regions.matrix, bool(grains), subtracted)
        draw_stack(
            page,
            matrix.axis,
            strips,
            top=spectra_top + TITLE_HEIGHT,
            labels=line_labels,
            scale=energy_scale(matrix.axis, si.signal_type),
            strip_height=strip,
        )
    return page.figure


def _plans(
    names: tuple[str, ...], si: SpectrumImage
) -> list[tuple[ImageGrid, list[tuple[str, str]]]]:
    """Grids of masks and mixtures, side by side where they fit into one row."""
    masks = [("mask", name) for name in names]
    mixtures = [("mixture", name) for name in names]
    if not names:
        return []
    if len(names) <= 2:
        content = masks + mixtures
        return [(image_grid(len(content), si.shape, si.pixel_size), content)]
    grid = image_grid(len(names), si.shape, si.pixel_size, max_height=50.0)
    return [(grid, masks), (grid, mixtures)]


def _pure_strips(
    matrix: Spectrum, grains: Mapping[str, Spectrum], name: str, colours: Mapping[str, str]
) -> list[Strip]:
    strips = []
    for grain, spectrum in grains.items():
        total, reference = spectrum.values.sum(), matrix.values.sum()
        scaled = matrix.values * (max(total, 0.0) / reference if reference > 0 else 0.0)
        own = Curve(spectrum.values, colours[grain], grain, spectrum.standard_deviation)
        behind = Curve(scaled, BEHIND_COLOUR, bold=False)
        strips.append(Strip((own, behind)))
    if not strips:
        own = Curve(matrix.values, colours[name], name, matrix.standard_deviation)
        strips.append(Strip((own,)))
    return strips


def _pure_title(page: Page, top: float, matrix: str, grains: bool, subtracted: bool) -> None:
    title = "Pure spectra of the grains" if subtracted else "Mixtures, nothing subtracted"
    end = page.title(MARGIN, top, title if grains else "Spectrum", width=PAGE_WIDTH / 2)
    entries = [Entry("value ± 1σ", "black", "band")]
    if grains:
        entries.append(Entry(f"{matrix}, scaled to the same counts", BEHIND_COLOUR))
    draw_legend(page, entries, left=end + 6.0, top=top - 1.5, width=page.width - MARGIN - end - 6.0)


def _survey(
    page: Page, grid: ImageGrid, top: float, si: SpectrumImage, rectangles: Sequence[Region]
) -> None:
    left, image_top = grid.place(0, top)
    own = si.survey is not None
    page.title(left, image_top, si.survey_name if own else "all counts", width=grid.title_width)
    ax = page.axes(left, image_top, grid.image_width, grid.image_height)
    image = si.total_map() if si.survey is None else np.asarray(si.survey, float)
    drawn = draw_image(
        ax,
        image,
        pixel_size=si.pixel_size,
        colours=SURVEY_COLOURS,
        limits=image_limits(image, from_zero=False),
    )
    draw_rectangles(ax, rectangles)
    if not own:
        add_colour_bar(
            page,
            drawn,
            left=left,
            top=image_top + grid.image_height,
            width=grid.bar_width,
            label="counts",
        )


def _pure_region(page: Page, top: float, si: SpectrumImage, regions: Regions, colour: str) -> float:
    """Draw the region of pure matrix; return where the panel beside it may start."""
    grid = image_grid(1, si.shape, si.pixel_size, columns=3, max_height=_BOTTOM_HEIGHT - 2)
    pure = regions.pure
    title, ending = f"pure {regions.matrix}", f", {100 * pure.fraction:.1f}%"
    # A tall map is narrow, but its title needs room.
    room = max(grid.image_width, min(text_width(title + ending, bold=True) + 8.0, 45.0))
    page.title(MARGIN, top + TITLE_HEIGHT, title, width=room, colour=colour, ending=ending)
    height = min(grid.image_height, _BOTTOM_HEIGHT - 2)
    ax = page.axes(MARGIN, top + TITLE_HEIGHT, grid.image_width, height)
    background = si.survey if si.survey is not None else si.total_map()
    draw_mask(ax, pure.mask, colour, background=background, pixel_size=si.pixel_size)
    return MARGIN + room + GAP


def _gain(
    page: Page,
    top: float,
    left: float,
    si: SpectrumImage,
    whole: Spectrum,
    confined: Spectrum | None,
    trace_lines: Sequence[TraceLine],
    fit: LineFit | None,
    line_labels: Sequence[LineLabel],
    colour: str,
) -> None:
    """Draw the faint lines, or without any the whole spectrum."""
    width = page.width - MARGIN - left
    title = "Faint lines, all pure pixels against one rectangle"
    if not trace_lines:
        title = f"Spectrum of pure {whole.name}"
    page.title(left, top + TITLE_HEIGHT, title, width=width)
    panels = draw_trace_lines(
        page,
        trace_lines,
        whole,
        left=left,
        top=top + TITLE_HEIGHT,
        width=width,
        height=_BOTTOM_HEIGHT,
        colour=colour,
        rectangle=confined,
        fit=fit,
        others=line_labels,
        signal_type=si.signal_type,
    )
    if not panels:
        curve = Curve(whole.values, colour, whole.name, whole.standard_deviation)
        strip = _BOTTOM_HEIGHT - stack_height(0, line_labels, strip_height=0.0)
        draw_stack(
            page,
            whole.axis,
            [Strip((curve,))],
            top=top + TITLE_HEIGHT,
            labels=line_labels,
            scale=energy_scale(whole.axis, si.signal_type),
            strip_height=strip,
            left=left,
            width=width,
        )


def _strip_height(strips: int) -> float:
    """Taller strips when there are few, so that the page stays a page."""
    return float(np.clip(72.0 / max(strips, 1), 13.0, 28.0))
