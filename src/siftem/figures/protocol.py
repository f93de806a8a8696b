"""The two figures of the protocol: from maps to pure matrix, and from mixtures to grains.

Where phases do not lie in a matrix, the second one shows their pixels and pure spectra.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from matplotlib.figure import Figure
from scipy.ndimage import uniform_filter1d

from siftem.decomposition.factors import Factors
from siftem.figures.line_labels import (
    Entry,
    LineLabel,
    draw_swatches,
    draw_titled_legend,
    height_below,
)
from siftem.figures.maps import (
    COLOUR_BAR_ROOM,
    SURVEY_COLOURS,
    add_colour_bar,
    draw_image,
    draw_rectangles,
    image_limits,
)
from siftem.figures.page import GAP, MARGIN, ROW_GAP, TITLE_HEIGHT, ImageGrid, Page, image_grid
from siftem.figures.regions import Labels, area_swatches, draw_mask, draw_phase_map
from siftem.figures.spectra import Curve, Strip, draw_stack, energy_scale, stack_height
from siftem.figures.style import (
    BEHIND_COLOUR,
    Look,
    drawing_style,
    phase_colours,
    text_width,
)
from siftem.figures.trace_lines import TraceLine, draw_trace_lines
from siftem.fit.line_fit import LineFit
from siftem.segment.regions import Region, Regions
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage

#: Channels over which spectra at the other end of what is possible are averaged.
_END_SMOOTHING = 5


def mask_plans(
    regions: Regions, si: SpectrumImage, phases: Labels | None, width: float
) -> list[tuple[ImageGrid, list[tuple[str, str, np.ndarray]]]]:
    """Grids of titles, phases and masks, side by side where they fit into one row."""
    if phases is not None:
        own = [(n, n, phases.labels == i) for i, n in enumerate(phases.names)]
        return [(image_grid(len(own), si.shape, si.pixel_size, max_height=50.0, width=width), own)]
    names = regions.names
    masks = [(name, name, regions.mask(name).mask) for name in names]
    mixtures = [(f"{n} + {regions.matrix}", n, regions.mixture(n).mask) for n in names]
    if not names:
        return []
    if len(names) <= 2:
        content = masks + mixtures
        return [(image_grid(len(content), si.shape, si.pixel_size, width=width), content)]
    grid = image_grid(len(names), si.shape, si.pixel_size, max_height=50.0, width=width)
    return [(grid, masks), (grid, mixtures)]


def pure_strips(
    matrix: Spectrum,
    grains: Mapping[str, Spectrum],
    hosts: Mapping[str, Spectrum],
    ends: Mapping[str, Spectrum],
    matrix_colour: str,
    colours: Mapping[str, str],
    *,
    smooth: bool,
) -> list[Strip]:
    """Return a panel for each pure spectrum, with what was taken off behind it."""
    strips = []
    for grain, spectrum in grains.items():
        curves = [Curve(spectrum.values, colours[grain], grain, spectrum.standard_deviation)]
        if grain in ends:
            values = ends[grain].values
            if smooth:  # dashes on noise are a cloud
                values = uniform_filter1d(values, _END_SMOOTHING)
            curves.append(Curve(values, colours[grain], bold=False, dashed=True))
        if grain in hosts:
            total, reference = spectrum.values.sum(), hosts[grain].values.sum()
            factor = max(total, 0.0) / reference if reference > 0 else 0.0
            curves.append(Curve(hosts[grain].values * factor, BEHIND_COLOUR, bold=False))
        strips.append(Strip(tuple(curves)))
    if not strips:
        own = Curve(matrix.values, matrix_colour, matrix.name, matrix.standard_deviation)
        strips.append(Strip((own,)))
    return strips


def pure_entries(hosts: Mapping[str, Spectrum], open_ends: bool) -> list[Entry]:
    """Return what the lines of the pure spectra stand for."""
    entries = [Entry("value ± 1σ", "black", "band")]
    if open_ends:
        entries.append(Entry("with as much taken off as may be", "black", "dashed"))
    names = {host.name for host in hosts.values()}
    if names:
        what = next(iter(names)) if len(names) == 1 else "what it lies in or on"
        entries.append(Entry(f"{what}, scaled to the same counts", BEHIND_COLOUR))
    return entries


def strip_height_of(strips: int) -> float:
    """Taller strips when there are few, so that the page stays a page."""
    return float(np.clip(72.0 / max(strips, 1), 13.0, 28.0))


_BOTTOM_HEIGHT = 52.0
#: Pages narrower than this, mm, have the region above the faint lines, wider ones beside them.
_NARROW = 130.0
#: Height of that region there, mm.
_REGION_HEIGHT = 40.0
LOOK = Look()


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
    phases: Labels | None = None,
    look: Look = LOOK,
) -> Figure:
    """Draw how maps lead to the pure matrix, and what its many pixels gain.

    Survey image with the confined rectangles; a map of each component; their spectra; the
    region of pure matrix, or where there is none the phase map; faint lines over all of the
    region against the first rectangle.

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
    phases : Labels, optional
        Of phases that lie in any other way than in a matrix.
    look : Look

    Returns
    -------
    Figure
        As wide as ``look`` says.
    """
    colours = colours or phase_colours(factors.names)
    k = len(factors.names)
    grid = image_grid(k + 1, si.shape, si.pixel_size, below=COLOUR_BAR_ROOM, width=look.width)
    lines_shown, narrow = phases is None or bool(trace_lines), look.width < _NARROW
    strip = strip_height_of(k) * (0.8 if narrow else 1.0)
    below = stack_height(k, line_labels, strip_height=strip)
    top = MARGIN
    spectra_top = top + grid.height + ROW_GAP
    last_top = spectra_top + TITLE_HEIGHT + below + ROW_GAP
    above = TITLE_HEIGHT + _REGION_HEIGHT if narrow and lines_shown else 0.0
    height = last_top + above + TITLE_HEIGHT + _BOTTOM_HEIGHT + MARGIN
    with drawing_style():
        page = Page(height, look.width)
        _survey(page, grid, top, si, rectangles)
        for i, name in enumerate(factors.names):
            left, image_top = grid.place(i + 1, top)
            page.title(left, image_top, name, width=grid.title_width, colour=colours[name])
            ax = page.axes(left, image_top, grid.image_width, grid.image_height)
            drawn = draw_image(
                ax, factors.maps[i], pixel_size=si.pixel_size, colours=look.colour_map
            )
            add_colour_bar(
                page,
                drawn,
                left=left,
                top=image_top + grid.image_height,
                width=grid.bar_width,
                label="counts",
            )
        page.title(
            MARGIN, spectra_top + TITLE_HEIGHT, "Spectra of the components", width=look.width / 2
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
            energy_range=look.energy_range,
        )
        if phases is not None:
            right = _phases(page, last_top, si, phases, colours, legend=not trace_lines)
        else:
            right = _pure_region(page, last_top, si, regions, colours[regions.matrix])
        if not lines_shown:
            return page.figure
        _gain(
            page,
            last_top + above,
            MARGIN if narrow else right,
            si,
            whole,
            confined,
            trace_lines,
            fit,
            line_labels,
            colours[regions.matrix],
            look.energy_range,
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
    phases: Labels | None = None,
    hosts: Mapping[str, Spectrum] | None = None,
    ends: Mapping[str, Spectrum] = MappingProxyType({}),
    look: Look = LOOK,
) -> Figure:
    """Draw how mixtures lead to the pure spectra of the grains.

    Masks of the grains; mixtures without their intersections; pure spectra with a band of
    one standard deviation, and the matrix behind each, scaled to the same counts. Phases that
    lie in any other way: the pixels of each, and their spectra.

    Parameters
    ----------
    si : SpectrumImage
    regions : Regions
        With any number of grains; without, only the matrix' spectrum is drawn.
    matrix : Spectrum
        Of the pure matrix.
    grains : mapping of str to Spectrum
        Spectrum of each grain after the subtraction; with ``phases``, of each phase.
    line_labels : sequence of LineLabel
    colours : mapping of str to str, optional
        Colour of each phase; by default in the order matrix, grains.
    subtracted : bool
        Whether ``grains`` are free of matrix; the panel's title says so.
    phases : Labels, optional
        Of phases that lie in any other way than in a matrix.
    hosts : mapping of str to Spectrum, optional
        What was taken off each spectrum, drawn behind it; by default the matrix.
    ends : mapping of str to Spectrum
        Grains of which nobody knows how much to take off: with as much taken off as may be.
    look : Look

    Returns
    -------
    Figure
        As wide as ``look`` says.
    """
    colours = colours or phase_colours((regions.matrix, *regions.names))
    if hosts is None:
        hosts = dict.fromkeys(grains, matrix)
    plans = mask_plans(regions, si, phases, look.width)
    strips = pure_strips(
        matrix,
        grains,
        hosts,
        ends,
        colours[regions.matrix],
        colours,
        smooth=si.signal_type != "EELS",
    )
    strip = strip_height_of(len(strips))
    spectra_top = MARGIN + sum(grid.height for grid, _ in plans) + (ROW_GAP if plans else 0.0)
    stack = stack_height(len(strips), line_labels, strip_height=strip)
    title = "Spectrum"
    if grains:
        title = "Pure spectra of the grains" if subtracted else "Mixtures, nothing subtracted"
    if grains and phases is not None:
        title = "Pure spectra of the phases"
    entries = pure_entries(hosts, bool(ends))
    stack += height_below(title, entries, look.width)
    with drawing_style():
        page = Page(spectra_top + TITLE_HEIGHT + stack + MARGIN, look.width)
        background = si.survey if si.survey is not None else si.total_map()
        top = MARGIN
        for grid, content in plans:
            for i, (shown, name, mask) in enumerate(content):
                left, image_top = grid.place(i, top)
                page.title(
                    left,
                    image_top,
                    shown,
                    width=grid.title_width,
                    colour=colours[name],
                    ending=f", {100 * mask.mean():.1f}%",
                )
                ax = page.axes(left, image_top, grid.image_width, grid.image_height)
                draw_mask(
                    ax,
                    mask,
                    colours[name],
                    background=background,
                    pixel_size=si.pixel_size,
                )
            top += grid.height
        draw_stack(
            page,
            matrix.axis,
            strips,
            top=draw_titled_legend(page, spectra_top + TITLE_HEIGHT, title, entries),
            labels=line_labels,
            scale=energy_scale(matrix.axis, si.signal_type),
            strip_height=strip,
            energy_range=look.energy_range,
        )
    return page.figure


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


def _lone_image(page: Page, si: SpectrumImage) -> ImageGrid:
    """Plan an image at the left, a third of the page wide, or two of a narrow one."""
    narrow = page.width < _NARROW
    share, height = (2 / 3, _REGION_HEIGHT) if narrow else (1 / 3, _BOTTOM_HEIGHT)
    width = 3 * share * page.width
    return image_grid(1, si.shape, si.pixel_size, columns=1, max_height=height - 2, width=width)


def _pure_region(page: Page, top: float, si: SpectrumImage, regions: Regions, colour: str) -> float:
    """Draw the region of pure matrix; return where the panel beside it may start."""
    grid = _lone_image(page, si)
    pure = regions.pure
    title, ending = f"pure {regions.matrix}", f", {100 * pure.fraction:.1f}%"
    # A tall map is narrow, but its title needs room.
    room = max(grid.image_width, min(text_width(title + ending, bold=True) + 8.0, 45.0))
    page.title(MARGIN, top + TITLE_HEIGHT, title, width=room, colour=colour, ending=ending)
    ax = page.axes(MARGIN, top + TITLE_HEIGHT, grid.image_width, grid.image_height)
    background = si.survey if si.survey is not None else si.total_map()
    draw_mask(ax, pure.mask, colour, background=background, pixel_size=si.pixel_size)
    return MARGIN + room + GAP


def _phases(
    page: Page,
    top: float,
    si: SpectrumImage,
    phases: Labels,
    colours: Mapping[str, str],
    *,
    legend: bool,
) -> float:
    """Draw the phase map, with its legend beside it; return where a panel may start."""
    grid = _lone_image(page, si)
    room = max(grid.image_width, 30.0)
    page.title(MARGIN, top + TITLE_HEIGHT, "phase map", width=room)
    ax = page.axes(MARGIN, top + TITLE_HEIGHT, grid.image_width, grid.image_height)
    draw_phase_map(ax, phases, colours, pixel_size=si.pixel_size)
    left = MARGIN + room + GAP
    if legend:
        swatches = area_swatches(phases, colours)
        width = min(70.0, page.width - MARGIN - left)
        draw_swatches(page, swatches, left=left, top=top + TITLE_HEIGHT, width=width)
    return left


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
    energy_range: tuple[float | None, float | None],
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
            energy_range=energy_range,
        )
