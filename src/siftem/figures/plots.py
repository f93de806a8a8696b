"""What ``.plot()`` of a result draws: one look, into the user's axes or into new ones.

New ones are known to pyplot, so that notebooks show them and ``plt.show()`` finds them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from siftem.decomposition.factors import Factors
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.figures.line_labels import LineLabel, band_height, draw_line_labels, line_text
from siftem.figures.maps import bar_ticks, draw_image
from siftem.figures.page import frame_size, signed_axis
from siftem.figures.regions import area_swatches, draw_phase_map, draw_regions
from siftem.figures.spectra import (
    Curve,
    EnergyScale,
    draw_spectrum,
    energy_scale,
    log_axis,
    log_limits,
    shown_range,
)
from siftem.figures.style import (
    BEHIND_COLOUR,
    FONT_SIZE,
    MM_PER_INCH,
    SMALL_FONT_SIZE,
    drawing_style,
    new_figure,
    phase_colours,
)
from siftem.quantification.fractions import Composition
from siftem.segment.regions import Regions
from siftem.spectrum import Spectrum
from siftem.spectrum_image import ZERO_PEAK_END, SpectrumImage
from siftem.unmixing.unmixed import Unmixed
from siftem.xray.lines import visible_lines

#: Pixels per inch on a screen.
_SCREEN_DPI = 150


def new_axes(width: float, height: float, rows: int = 1, columns: int = 1, **grid: Any) -> Any:
    """Return axes in a new figure of pyplot's; to be called outside of `drawing_style`.

    A notebook's backend sets itself up with the first figure, in settings that `drawing_style`
    would take back.

    Parameters
    ----------
    width, height : float
        mm.
    rows, columns : int
    **grid
        As for ``Figure.subplots``.

    Returns
    -------
    ndarray of Axes, shape (rows, columns)
    """
    size = (width / MM_PER_INCH, height / MM_PER_INCH)
    figure = plt.figure(figsize=size, dpi=_SCREEN_DPI, layout="constrained", facecolor="white")
    with drawing_style():
        axes = figure.subplots(rows, columns, squeeze=False, **grid)
    for ax in axes.flat:
        settle(ax)
    return axes


@contextmanager
def one_panel(ax: Axes | None, width: float, height: float) -> Iterator[Axes]:
    """Give axes to draw into: the user's in the user's style, or new ones in that of siftem."""
    panel = new_axes(width, height)[0, 0] if ax is None else ax
    with nullcontext() if ax is not None else drawing_style():
        yield panel


def settle(ax: Axes) -> None:
    """Fix the sizes of ticks, which matplotlib looks up only when it draws."""
    for which, length, width in (("major", 2.2, 0.5), ("minor", 1.2, 0.35)):
        ax.tick_params(
            which=which, labelsize=SMALL_FONT_SIZE, length=length, width=width, direction="out"
        )


def small_png(draw: Callable[[Axes], Any], width: float, height: float) -> bytes:
    """Return one panel as a PNG for a page.

    Parameters
    ----------
    draw : callable
        Draws into the axes it is given.
    width, height : float
        mm.
    """
    buffer = io.BytesIO()
    with drawing_style():
        figure = new_figure(width, height)
        figure.set_layout_engine("constrained")
        ax = figure.add_subplot()
        settle(ax)
        draw(ax)
        figure.savefig(buffer, format="png", dpi=_SCREEN_DPI, metadata={"Software": None})
        figure.clear()
    return buffer.getvalue()


#: mm: one panel, and the side of an image in a row of them.
_WIDTH, _HEIGHT, _IMAGE = 150.0, 60.0, 48.0
#: mm: a map with its legend.
_MAP_WIDTH = 108.0
#: Weakest line that is labelled, as a share of the element's strongest.
_LEAST_WEIGHT = 0.3


def plot_spectrum(
    spectrum: Spectrum,
    ax: Axes | None = None,
    *,
    elements: Sequence[str] = (),
    log: bool = True,
    colour: str | None = None,
) -> Axes:
    """Draw a spectrum with its error band; behind it, in grey, the counts it was taken from.

    Parameters
    ----------
    spectrum : Spectrum
    ax : Axes, optional
    elements : sequence of str
        Whose lines are labelled.
    log : bool
        Logarithmic counts.
    colour : str, optional
    """
    colour = colour or phase_colours(("",))[""]
    with one_panel(ax, _WIDTH, _HEIGHT) as panel:
        curves = [Curve(spectrum.values, colour, sigma=spectrum.standard_deviation)]
        if spectrum.background.any():
            curves.append(Curve(spectrum.counts, BEHIND_COLOUR, bold=False))
        room = draw_curves(panel, spectrum.axis, curves, elements=elements, log=log)
        panel.set_title(spectrum.name, color=colour, weight="bold", parse_math=False, pad=room)
    assert isinstance(panel, Axes)
    return panel


def plot_spectra(
    spectra: Sequence[Spectrum],
    ax: Axes | None = None,
    *,
    elements: Sequence[str] = (),
    colours: Mapping[str, str] | None = None,
) -> Axes:
    """Draw several spectra of one axis above each other, each over its sum.

    Parameters
    ----------
    spectra : sequence of Spectrum
    ax : Axes, optional
    elements : sequence of str
        Whose lines are labelled.
    colours : mapping of str to str, optional
        Of each, by its name.
    """
    colours = colours or phase_colours([s.name for s in spectra])
    with one_panel(ax, _WIDTH, _HEIGHT) as panel:
        curves = []
        for spectrum in spectra:
            total = max(float(spectrum.values.sum()), 1e-300)
            colour = colours.get(spectrum.name, BEHIND_COLOUR)
            curves.append(Curve(spectrum.values / total, colour, bold=False))
        draw_curves(panel, spectra[0].axis, curves, elements=elements)
        panel.set_ylabel("share of the counts")
        _legend(panel, {s.name: c.colour for s, c in zip(spectra, curves, strict=True)})
    assert isinstance(panel, Axes)
    return panel


def plot_factors_in_one(found: Factors, ax: Axes) -> Axes:
    """Draw the spectra of all components into one panel."""
    spectra = [
        Spectrum(s, found.axis, name=n) for n, s in zip(found.names, found.spectra, strict=True)
    ]
    return plot_spectra(spectra, ax)


def draw_curves(
    ax: Axes,
    axis: EnergyAxis,
    curves: Sequence[Curve],
    *,
    elements: Sequence[str] = (),
    log: bool = True,
) -> float:
    """Draw curves on one energy axis, the first on top; return points of room for a title."""
    scale = _scale(axis)
    labels = _labels(axis, elements)
    low, high = shown_range(axis, labels, [curves[0].values])
    window = axis.to_kev().window(low, high)
    ax.set_xlim(low * scale.per_kev, high * scale.per_kev)
    floor, ceiling = log_limits(curves[0].values[window], curves[0].sigma)
    ceiling = max(ceiling, *(1.8 * float(c.values[window].max(initial=0)) for c in curves))
    first = curves[0]
    if log and first.sigma is not None and (first.values[window] < floor).any():
        signed_axis(ax, first.values[window], first.sigma[window], ceiling)
    elif log:
        log_axis(ax, floor, ceiling)
    for curve in reversed(curves):
        draw_spectrum(ax, axis, curve, scale=scale, floor=ax.get_ylim()[0] if log else None)
    if not log:
        ax.set_ylim(min(0.0, float(curves[0].values[window].min())), None)
    ax.set_xlabel(scale.label)
    ax.set_ylabel(scale.channel_label)
    if not labels:
        return 3.0
    width, height = frame_size(ax)
    room = band_height(labels)
    band = ax.inset_axes((0.0, 1.0, 1.0, room / height))
    band.set_xlim(ax.get_xlim())
    draw_line_labels(band, labels, width=width, height=room, per_kev=scale.per_kev, spectra=[ax])
    return 72.0 / 25.4 * room + 2.0


def _scale(axis: EnergyAxis) -> EnergyScale:
    if axis.unit == "keV":
        return energy_scale(axis)
    return EnergyScale(1e3, "energy (eV)", energy_scale(axis).channel_label)


def _labels(axis: EnergyAxis, elements: Sequence[str]) -> tuple[LineLabel, ...]:
    kev = axis.to_kev()
    return tuple(
        LineLabel(line_text(element, line.name), line.energy, line.weight)
        for element in elements
        for line in visible_lines(
            element,
            beam_energy=max(2 * kev.last, 1.0),
            low=max(kev.first, ZERO_PEAK_END),
            high=kev.last,
            min_weight=_LEAST_WEIGHT,
        )
    )


def plot_image(
    image: np.ndarray,
    ax: Axes,
    *,
    title: str,
    pixel_size: tuple[float, float] | None = None,
    colour: str = "black",
) -> Axes:
    """Draw one map with a scale bar, its pixels as tall and wide as they are."""
    drawn = draw_image(ax, image, pixel_size=pixel_size)
    _in_proportion(ax, pixel_size)
    bar = ax.figure.colorbar(drawn, ax=ax, location="bottom", shrink=0.8, aspect=25, pad=0.02)
    settle(bar.ax)
    bar.outline.set_linewidth(0.4)
    ticks = bar_ticks(*drawn.get_clim())
    bar.set_ticks(ticks, labels=[f"{tick:.6g}" for tick in ticks])
    bar.ax.minorticks_off()
    ax.set_title(title, color=colour, weight="bold", parse_math=False)
    return ax


def _in_proportion(ax: Axes, pixel_size: tuple[float, float] | None) -> None:
    ax.set_aspect(pixel_size[0] / pixel_size[1] if pixel_size else 1.0, anchor="W")


def plot_spectrum_image(si: SpectrumImage, *, elements: Sequence[str] = ()) -> np.ndarray:
    """Draw all counts of each pixel, and the spectrum of the whole map.

    Parameters
    ----------
    si : SpectrumImage
    elements : sequence of str
        Whose lines are labelled.
    """
    total = si.sum_spectrum()
    axes = new_axes(180.0, 58.0, 1, 2, width_ratios=(1, 2.4))[0]
    with drawing_style():
        plot_image(si.total_map(), axes[0], title="all counts", pixel_size=si.pixel_size)
        whole = Curve(total, phase_colours(("",))[""])
        room = draw_curves(axes[1], si.axis, [whole], elements=elements)
        axes[1].set_title(si.title or "whole map", weight="bold", parse_math=False, pad=room)
    return np.asarray(axes)


def plot_factors(
    found: Factors, *, elements: Sequence[str] = (), pixel_size: tuple[float, float] | None = None
) -> np.ndarray:
    """Draw map and spectrum of each component, one above the other; see `Factors.plot`."""
    spectra = [Curve(s, "") for s in found.spectra]
    return _maps_over_spectra(
        found.names, found.maps, spectra, [found.axis] * len(spectra), elements, pixel_size
    )


def plot_unmixed(
    found: Unmixed, *, elements: Sequence[str] = (), pixel_size: tuple[float, float] | None = None
) -> np.ndarray:
    """Draw map and spectrum of each phase, one above the other; see `Unmixed.plot`."""
    spectra = [found.spectra[n] for n in found.names]
    curves = [Curve(s.values, "", sigma=s.standard_deviation) for s in spectra]
    return _maps_over_spectra(
        found.names, found.maps, curves, [s.axis for s in spectra], elements, pixel_size
    )


def _maps_over_spectra(
    names: Sequence[str],
    maps: np.ndarray,
    spectra: Sequence[Curve],
    axes_of: Sequence[EnergyAxis],
    elements: Sequence[str],
    pixel_size: tuple[float, float] | None,
) -> np.ndarray:
    colours, k = phase_colours(names), len(names)
    axes = new_axes(max(_IMAGE * k, 60.0), _IMAGE + 48.0, 2, k, height_ratios=(1.3, 1))
    with drawing_style():
        for i, name in enumerate(names):
            plot_image(maps[i], axes[0, i], title=name, pixel_size=pixel_size, colour=colours[name])
            curve = Curve(spectra[i].values, colours[name], sigma=spectra[i].sigma)
            draw_curves(axes[1, i], axes_of[i], [curve], elements=elements)
            axes[1, i].set_ylabel("share of the counts" if spectra[i].sigma is None else "counts")
    return np.asarray(axes)


def plot_regions(
    regions: Regions,
    ax: Axes | None = None,
    *,
    background: np.ndarray | None = None,
    pixel_size: tuple[float, float] | None = None,
) -> Axes:
    """Draw pure matrix, mixtures and intersections in one image; see `Regions.plot`."""
    colours = phase_colours((regions.matrix, *regions.names))
    if background is not None and np.shape(background) != regions.shape:
        raise InputError(f"background must have shape {regions.shape}, got {np.shape(background)}")
    with one_panel(ax, _MAP_WIDTH, 56.0) as panel:
        shown = draw_regions(panel, regions, colours, background=background, pixel_size=pixel_size)
        _in_proportion(panel, pixel_size)
        counts = regions.pixel_counts()
        shown["left out"] = "white"
        shares = {n: 100 * counts[n] / (regions.shape[0] * regions.shape[1]) for n in shown}
        _legend(panel, {f"{n}  {shares[n]:.1f}%": colour for n, colour in shown.items()})
    assert isinstance(panel, Axes)
    return panel


def plot_phase_map(
    shown: Any,
    ax: Axes | None = None,
    *,
    colours: Mapping[str, str] | None = None,
    pixel_size: tuple[float, float] | None = None,
) -> Axes:
    """Draw one colour a pixel, with the area of each phase; see `PhaseMap.plot`.

    Parameters
    ----------
    shown : PhaseMap
        It has all that `siftem.figures.regions.Labels` has.
    ax : Axes, optional
    colours : mapping of str to str, optional
        Of each phase; by default in their order.
    pixel_size : tuple of float, optional
        nm.
    """
    colours = colours or phase_colours(shown.names)
    with one_panel(ax, _MAP_WIDTH, 56.0) as panel:
        draw_phase_map(panel, shown, colours, pixel_size=pixel_size)
        _in_proportion(panel, pixel_size)
        swatches = area_swatches(shown, colours)
        _legend(panel, {f"{s.text}  {s.share}": s.colour for s in swatches})
    assert isinstance(panel, Axes)
    return panel


def _legend(ax: Axes, entries: dict[str, str]) -> None:
    patches = [Patch(facecolor=c, edgecolor="#888888", label=t) for t, c in entries.items()]
    legend = ax.legend(
        handles=patches, loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False,
        borderaxespad=0.0, fontsize=FONT_SIZE, handlelength=1.2,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)


def plot_contents(
    contents: Sequence[tuple[str, Any]],
    ax: Axes | None = None,
    *,
    unit: str,
    assumed: Collection[tuple[str, str]] = (),
    colours: Mapping[str, str] | None = None,
) -> Axes:
    """Draw contents of elements with their 95% intervals; see `Composition.plot`.

    Parameters
    ----------
    contents : sequence of (name, {element: (value, low, high, found)})
        Of each composition, in percent.
    ax : Axes, optional
    unit : str
        Such as "at%".
    assumed : collection of (name, element)
        What was taken for absent: named, not drawn.
    colours : mapping of str to str, optional
        Of each composition.
    """
    elements = list(dict.fromkeys(e for _, own in contents for e in own))
    colours = colours or phase_colours([name for name, _ in contents])
    step = 0.8 / max(len(contents), 1)
    with one_panel(ax, 88.0, 12.0 + 4.5 * len(elements) * max(1.0, 0.5 * len(contents))) as panel:
        for j, (name, own) in enumerate(contents):
            shift = (j - 0.5 * (len(contents) - 1)) * step
            for element, (value, low, high, found) in own.items():
                y = elements.index(element) + shift
                if (name, element) in assumed:
                    panel.plot([0], [y], "|", color=colours[name], ms=5)
                    panel.annotate(
                        "assumed absent", (0, y), (4, 0), textcoords="offset points",
                        va="center", size=FONT_SIZE - 1, color=colours[name],
                    )  # fmt: skip
                    continue
                panel.plot([low, high], [y, y], color=colours[name], lw=1.1)
                face = colours[name] if found else "white"
                panel.plot([value], [y], "o", color=colours[name], mfc=face, ms=3.2, mew=0.7)
        panel.set_yticks(range(len(elements)), elements)
        panel.set_ylim(len(elements) - 0.5, -0.5)
        panel.set_xlim(0, None)
        panel.set_xlabel(f"{unit} with 95% interval (open: below the critical level)")
        panel.grid(axis="y", lw=0.3, color="#DDDDDD")
        panel.set_axisbelow(True)
        if len(contents) == 1:
            panel.set_title(contents[0][0], weight="bold", parse_math=False)
        else:
            _legend(panel, {name: colours[name] for name, _ in contents})
    assert isinstance(panel, Axes)
    return panel


def plot_composition(c: Composition, ax: Axes | None = None, *, by: str = "atoms") -> Axes:
    """Draw the contents of all elements with their 95% intervals; see `Composition.plot`."""
    assumed = {(c.name, e) for e in c.assumed_absent}
    return plot_contents([(c.name, contents_of(c, by))], ax, unit=UNITS[by], assumed=assumed)


#: How contents are counted, and what that is called.
UNITS = {"atoms": "at%", "weight": "wt%"}


def contents_of(c: Composition, by: str = "atoms") -> dict[str, tuple[float, float, float, bool]]:
    """Return value, ends of the 95% interval in percent, and whether it was found, by element.

    Parameters
    ----------
    c : Composition
    by : {"atoms", "weight"}
    """
    if by not in UNITS:
        raise InputError(f"contents are by 'atoms' or by 'weight', got {by!r}")
    values = 100 * (c.atomic_fractions if by == "atoms" else c.weight_fractions)
    ends = 100 * (c.atomic_interval_95 if by == "atoms" else c.weight_interval_95)
    return {
        e: (float(values[i]), float(ends[i, 0]), float(ends[i, 1]), bool(c.found[i]))
        for i, e in enumerate(c.elements)
    }
