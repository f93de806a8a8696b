"""Compositions, partition coefficients and signal-to-noise gains of a run."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from siftem.errors import DoubtWarning, InputError, SiftemWarning
from siftem.fit.element_search import warn_of_structure
from siftem.fit.null_elements import WIDE
from siftem.fit.stand_ins import warn_of_stand_ins
from siftem.pipeline.composition_doubts import (
    assumed_absent,
    carbon_films,
    line_counts,
    on_support,
    warn_of_carbon,
    warn_of_window,
    with_stray_counts,
)
from siftem.pipeline.fit_settings import GRID, FitSettings
from siftem.pipeline.parts import attempted
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.region_spectra import mixture_name
from siftem.pipeline.results import LineGain, Quantified
from siftem.pipeline.soft_lines import warn_of_dimmed_lines
from siftem.pipeline.steps.spectra import RegionSpectra, compositions_of
from siftem.pipeline.steps.step import Circumstances, Step, plain
from siftem.pipeline.subtraction import matrix_in
from siftem.pipeline.unseen_elements import warn_of_hidden, warn_of_unseen
from siftem.printed_numbers import percent
from siftem.progress import Progress
from siftem.quantification.composition import Composition
from siftem.quantification.detection_limit import counts_for_limit
from siftem.quantification.partition import PartitionCoefficient, partition_coefficient
from siftem.segment.regions import Region, Regions
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.integrate import integrate
from siftem.unmixing.unmixed import Unmixed
from siftem.xray.lines import parse_line

#: Lines that are compared over the matrix and over rectangles when the recipe names none.
_TRACES = ("Nd", "Sm")
#: Fields of the figures that change no number.
LOOKS = ("formats", "energy_range", "colour_map")
#: Share of a phase's line counts from which on elements that nobody listed are told beside it.
_MUCH_UNLISTED = 0.02


def quantities(
    recipe: Recipe,
    si: SpectrumImage,
    regions: Regions,
    spectra: RegionSpectra,
    unmixed: Unmixed | None,
    *,
    n_jobs: int = 1,
    progress: Progress,
) -> Quantified:
    """Quantify mixtures and unmixed spectra, and derive what follows from compositions.

    Warns
    -----
    SiftemWarning
        When the pure matrix holds no rectangle.
    """
    progress("composition", 0.0)
    missing: dict[str, str] = {}
    rectangles = confined_rectangles(
        regions.pure, share=recipe.figures.rectangle_share, given=recipe.figures.rectangle
    )
    confined = [integrate(si, rectangle) for rectangle in rectangles]
    if not rectangles:
        warnings.warn(
            "the pure matrix holds no rectangle to compare with", SiftemWarning, stacklevel=2
        )
    settings = spectra.settings
    found = dict(spectra.compositions)
    pure = {n: found[n] for n in spectra.pure if n in found}
    by_unmixing: dict[str, Composition] = {}
    gains: tuple[LineGain, ...] = ()
    if settings is not None:
        settings = replace(settings, recipe=recipe)
        if not si.acquisition.bulk and si.signal_type != "EDS_SEM":
            mixtures = {n: s for n, s in spectra.integrated.items() if n not in spectra.pure}
            # Their lines were searched for others already, in what was left of them.
            found |= compositions_of(mixtures, partial(_quantified, settings), missing, n_jobs)
            warn_of_carbon(pure)
            if not (recipe.elements or si.acquisition.elements):
                warn_of_hidden(pure)
            warn_of_unseen(pure)
            for name, held in on_support(pure, spectra.pure).items():
                warnings.warn(held.describe(name), DoubtWarning, stacklevel=2)
            # As they are summed: of two that pass into each other, one has few lines left.
            warn_of_dimmed_lines(
                {n: found.get(mixture_name(n, regions.matrix), c) for n, c in pure.items()}
            )
            found |= with_stray_counts(pure, spectra.pure, recipe.support)
            progress("composition", 0.3)
            if unmixed is not None:
                by_unmixing = compositions_of(
                    unmixed.spectra, partial(_quantified, settings), missing, n_jobs
                )
        for name in spectra.pure:
            if name in found:
                _warn_of_unlisted(name, found[name], settings.unlisted)
                _warn_of_wide_scatter(name, found[name])
        # The fits of pure spectra were looked at when others' lines were searched for in them.
        warn_of_poor_fits({n: c for n, c in found.items() if n not in spectra.pure})
        warn_of_poor_fits({f"{n} by unmixing": c for n, c in by_unmixing.items()})
        warn_of_window({n: found[n] for n in spectra.pure if n in found})
        progress("composition", 0.6)
        lines = trace_lines(recipe, settings.elements)
        matrix = spectra.integrated.get(regions.matrix)
        if confined and lines and matrix is not None:
            gains = attempted(
                "the comparison of lines with a rectangle",
                partial(line_gains, lines, matrix, confined, settings),
                (),
                missing=missing,
            )
    pairs, assumed = recipe.quantify.partition, assumed_absent(recipe)
    if pairs is None:
        beside = on_support(pure, spectra.pure)
        films = carbon_films(pure) | {n for n, known in beside.items() if known.film}
        grains = [n for n in regions.names if n not in films]
        pairs = () if regions.matrix in films else tuple((n, regions.matrix) for n in grains)
    nets = {g: matrix_in(g, spectra.pure, regions.matrix) for g in regions.names}
    progress("composition", 1.0)
    return Quantified(
        compositions=found,
        unmixed=by_unmixing,
        partition=partition_coefficients(found, pairs, regions.matrix, nets, assumed=assumed),
        unmixed_partition=partition_coefficients(
            by_unmixing, pairs, regions.matrix, {}, assumed=assumed
        ),
        gains=gains,
        rectangles=rectangles,
        rectangle_spectrum=confined[0] if confined else None,
        missing=missing,
    )


def _warn_of_unlisted(name: str, composition: Composition, unlisted: Sequence[str]) -> None:
    """Warn when much of what a phase holds is not in its composition."""
    counts = line_counts(composition)
    whole = max(sum(counts.values()), 1e-9)
    share = {e: counts.get(e, 0.0) / whole for e in unlisted if e not in GRID}
    much = [f"{e} ({percent(s)})" for e, s in share.items() if s > _MUCH_UNLISTED]
    if much:
        warnings.warn(
            f"{name}: elements that are not listed hold much of its line counts, "
            f"{', '.join(much)}: its composition is of the others only, summed up to 100%",
            DoubtWarning,
            stacklevel=3,
        )


def warn_of_poor_fits(compositions: Mapping[str, Composition]) -> None:
    """Warn of each fit that does not describe its spectrum, under the name given here.

    And of elements in it that may be others.
    """
    for name, composition in compositions.items():
        warn_of_structure(composition.fit, name)
        warn_of_stand_ins(composition.fit, name)


def _warn_of_wide_scatter(name: str, composition: Composition) -> None:
    """Warn when elements that are not there scatter by more than their errors, or are there."""
    absent = composition.null_elements
    if absent.contaminants and not absent.rms > WIDE:
        warnings.warn(
            f"{name}: {absent.describe()}: elements on whose lines they lie get their counts; add "
            f"them to the elements or to the support",
            DoubtWarning,
            stacklevel=3,
        )
    if absent.rms > WIDE:
        warnings.warn(
            f"{name}: {absent.describe()}: errors of trace elements are too small by about that, "
            f"or one of these elements is there and missing from the list",
            DoubtWarning,
            stacklevel=3,
        )


def _quantified(settings: FitSettings, name: str, spectrum: Spectrum) -> Composition:
    """Quantify a spectrum, a mixture "<grain> + <matrix>" with what is known of the grain."""
    return settings.quantified(spectrum, name.split(" + ")[0], look_for_others=False)


def trace_lines(recipe: Recipe, elements: tuple[str, ...]) -> tuple[str, ...]:
    """Return the lines to compare: the recipe's, else those of Nd and Sm."""
    if recipe.figures.trace_lines:
        return recipe.figures.trace_lines
    return tuple(f"{e} La" for e in _TRACES if e in elements)


def counts_for_wanted_limits(
    composition: Composition, wanted: Mapping[str, float], counts: float
) -> dict[str, float]:
    """Return how many counts a phase's spectrum needs for wanted detection limits.

    Parameters
    ----------
    composition : Composition
    wanted : mapping of str to float
        Element -> weight percent. Elements that were not quantified are left out.
    counts : float
        Of today's spectrum.
    """
    out = {}
    for element, limit in wanted.items():
        if element not in composition.elements or counts <= 0:
            continue
        i = composition.index(element)
        critical = float(composition.critical_levels[i])
        if critical > 0:
            detection = float(composition.detection_limits[i])
            out[element] = counts_for_limit(counts, critical, detection, limit / 100)
    return out


def partition_coefficients(
    compositions: Mapping[str, Composition],
    pairs: Sequence[tuple[str, str]],
    matrix: str,
    matrix_taken: Mapping[str, float],
    *,
    assumed: Mapping[str, Collection[str]] | None = None,
) -> tuple[PartitionCoefficient, ...]:
    """Return the partition coefficient of every element for pairs of phases.

    Parameters
    ----------
    compositions : mapping of str to Composition
    pairs : sequence of (numerator, denominator)
        Pairs of which a phase was not quantified are left out.
    matrix : str
    matrix_taken : mapping of str to float
        How much of the matrix' spectrum was subtracted for each grain.
    assumed : mapping of str to collection of str
        Elements of each phase that are left out, because their amount was assumed.

    Returns
    -------
    tuple of PartitionCoefficient
        Elements below the critical level in both phases, at all ends of what is not known of
        them, are left out.
    """
    out = []
    for top, bottom in pairs:
        if top not in compositions or bottom not in compositions:
            continue
        first, second = compositions[top], compositions[bottom]
        for element in first.elements:
            if element not in second.elements:
                continue
            if assumed and (element in assumed.get(top, ()) or element in assumed.get(bottom, ())):
                continue
            shared = matrix_taken.get(top, 0.0) if bottom == matrix else 0.0
            try:
                out.append(partition_coefficient(first, second, element, subtracted=shared))
            except InputError:  # found in neither
                continue
    return tuple(out)


def line_gains(
    lines: tuple[str, ...],
    whole: Spectrum,
    rectangles: Sequence[Spectrum],
    settings: FitSettings,
) -> tuple[LineGain, ...]:
    """Compare lines over the whole pure matrix with the same lines over confined rectangles.

    Parameters
    ----------
    lines : tuple of str
        Such as "Nd La".
    whole : Spectrum
        Of the whole pure matrix.
    rectangles : sequence of Spectrum
        Of rectangles of one size.
    settings : FitSettings

    Returns
    -------
    tuple of LineGain
    """
    fits = [settings.fit(spectrum) for spectrum in (whole, *rectangles)]
    out = []
    for line in lines:
        element, shell, _ = parse_line(line, beam_energy=settings.beam_energy)
        signals, noises = [], []
        for fit in fits:
            index = fit.index(element, shell)
            seen = float(fit.design[:, index].sum())
            signals.append(float(fit.amplitudes[index]) * seen)
            noises.append(float(fit.covariance[index, index] ** 0.5) * seen)
        out.append(
            LineGain(
                line=line,
                signal_whole=signals[0],
                noise_whole=noises[0],
                signals_rectangles=tuple(signals[1:]),
                noise_rectangle=sum(noises[1:]) / len(noises[1:]),
                area_ratio=whole.n_pixels / rectangles[0].n_pixels,
            )
        )
    return tuple(out)


def _owns(recipe: Recipe) -> dict[str, Any]:
    q = recipe.quantify
    drawn = {k: v for k, v in plain(recipe.figures).items() if k not in LOOKS}
    return {"partition": q.partition, "figures": drawn}


def _run(recipe: Recipe, done: Mapping[str, Any], by: Circumstances) -> Quantified:
    si, regions = done["prepare"].spectrum_image, done["regions"].regions
    return quantities(
        recipe,
        si,
        regions,
        done["spectra"],
        done["unmix"],
        n_jobs=by.n_jobs,
        progress=by.progress,
    )


STEP: Step = Step(
    "composition",
    "every derived quantity",
    ("prepare", "regions", "spectra", "unmix"),
    _owns,
    _run,
    instead=lambda recipe, done: Quantified({}, {}, (), (), (), (), None),
)


def confined_rectangles(
    region: Region, *, share: float = 0.03, given: tuple[int, int, int, int] | None = None
) -> tuple[Region, ...]:
    """Return the rectangles of about a share of the map that fit into a region.

    Without a given one: of all rectangles of that area that lie fully within the region,
    the one closest to a square; among several, the one with most of the region around it;
    then the next such one that does not overlap the first, and so on. One rectangle's
    signal is a matter of luck where a line is faint; the average over several is not. If
    none fits, the area shrinks until one does.

    Parameters
    ----------
    region : Region
        The pure matrix.
    share : float
        Share of the map's pixels.
    given : tuple of int, optional
        y, x, height, width of the only rectangle.

    Returns
    -------
    tuple of Region
        All of one size, the first one the innermost; empty when the region holds no
        rectangle of at least nine pixels.
    """
    mask = region.mask
    ny, nx = mask.shape
    if given is not None:
        y, x, h, w = given
        if y < 0 or x < 0 or h < 1 or w < 1 or y + h > ny or x + w > nx:
            raise InputError(
                f"the rectangle {given} (y, x, height, width) does not lie within the map "
                f"of {ny} x {nx} pixels"
            )
        return (_rectangle(mask.shape, y, x, h, w, 1),)
    area = share * mask.size
    while area >= 9:
        for aspect in (1.0, 1.25, 0.8, 1.6, 0.625, 2.0, 0.5, 3.0, 1 / 3):
            h = round(np.sqrt(area * aspect))
            w = round(area / max(h, 1))
            if 1 <= h <= ny and 1 <= w <= nx:
                found = _fitting(mask, h, w)
                if found:
                    return found
        area *= 0.9
    return ()


def _fitting(mask: np.ndarray, h: int, w: int) -> tuple[Region, ...]:
    """All disjoint rectangles of a size within a mask, innermost first."""
    rest = mask.copy()
    found: list[Region] = []
    while True:
        holes = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
        holes[1:, 1:] = (~rest).cumsum(axis=0).cumsum(axis=1)
        inside = (holes[h:, w:] - holes[:-h, w:] - holes[h:, :-w] + holes[:-h, :-w]) == 0
        if not inside.any():
            return tuple(found)
        y, x = _innermost(mask, inside, h, w)
        found.append(_rectangle(mask.shape, y, x, h, w, len(found) + 1))
        rest[y : y + h, x : x + w] = False


def _innermost(mask: np.ndarray, inside: np.ndarray, h: int, w: int) -> tuple[int, int]:
    """Corner of the fitting rectangle whose surroundings hold most of the region."""
    weights = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    weights[1:, 1:] = mask.cumsum(axis=0).cumsum(axis=1)
    ys, xs = np.nonzero(inside)
    grow_y, grow_x = h // 2, w // 2
    top, left = np.maximum(ys - grow_y, 0), np.maximum(xs - grow_x, 0)
    bottom = np.minimum(ys + h + grow_y, mask.shape[0])
    right = np.minimum(xs + w + grow_x, mask.shape[1])
    around = weights[bottom, right] - weights[top, right] - weights[bottom, left]
    best = int((around + weights[top, left]).argmax())
    return int(ys[best]), int(xs[best])


def _rectangle(shape: tuple[int, int], y: int, x: int, h: int, w: int, number: int) -> Region:
    mask = np.zeros(shape, bool)
    mask[y : y + h, x : x + w] = True
    return Region(f"confined rectangle {number}", mask, "give a rectangle in the recipe")
