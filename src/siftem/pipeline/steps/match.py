"""Components as phases: named by marks, by numbers, or by their strongest lines."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import scipy.sparse as sp

from siftem.decomposition.factors import Factors, component_name
from siftem.decomposition.layout import PhaseLayout
from siftem.decomposition.matching import Markers, line_strengths, match_phases
from siftem.decomposition.purest import FEWEST_PIXELS, sum_of
from siftem.decomposition.rank import Kinds
from siftem.energy_axis import EnergyAxis
from siftem.errors import DoubtWarning, InputError, RecipeError, SiftemWarning
from siftem.fit.element_search import FoundElement, find_elements
from siftem.fit.greedy_search import GreedySearch
from siftem.pipeline.even_overlays import with_even_overlays
from siftem.pipeline.fit_settings import GRID, STRONG, shown_elements
from siftem.pipeline.layout import background, corrected_layout
from siftem.pipeline.parts import WarningRecord, attempted, recorded_warnings
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.results import Matched
from siftem.pipeline.steps.step import Circumstances, Step
from siftem.printed_numbers import in_words, percent
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.xray.detector import Detector
from siftem.xray.lines import line_families

#: What is beside the specimen is held by all components alike, within this ratio, and makes less
#: than this part of line counts. Components darker than the third number, of the brightest, are
#: films or nothing.
_ALIKE, _MOST_STRAY, _FAINT = 4.0, 0.25, 0.2
#: What makes up this part of a phase's line counts belongs to it; lines of their own of phases of
#: more than the second part of the map show in the sum of all pixels. Lines closer than this (keV)
#: are one, unless both are surely there, by so many standard deviations.
_MUCH, _LARGE, _SAME_LINE, _BESIDE = 0.02, 0.4, 0.06, 8.0
#: What an axis that starts too high shows nothing of.
_LIGHT = ("C", "N", "O", "F")
#: A component is named by elements whose lines reach this part of its strongest, and which it holds
#: by so many standard deviations.
_NAMED_FROM, _SURELY = 0.1, 5.0
#: Spectrum and pixels of the inside of a phase, and the elements found in it.
_Inside = tuple[Spectrum, np.ndarray, tuple[FoundElement, ...]]
#: An element sets a phase apart when its part of the line counts is so many times that of others.
_SETS_APART = 2.0


def matched_phases(
    recipe: Recipe, si: SpectrumImage, factors: Factors, kinds: Kinds | None = None
) -> Matched:
    """Give the components the names of the recipe's phases, or of their strongest lines.

    Warns
    -----
    SiftemWarning
        When spectra differ in more ways than these components can.
    DoubtWarning
        When lines are chosen for a beam energy that nobody told.
    """
    if si.signal_type.startswith("EDS"):
        si.acquisition.tell_assumed_beam()
    elements = run_elements(recipe, si, factors)
    named = _named(recipe, si, factors, elements)
    if recipe.known_layout == "auto" and elements:
        layout = attempted(
            "phases that others go on above or below",
            lambda: with_even_overlays(
                named,
                si,
                elements,
                recipe.support,
                told=[n for n, p in recipe.phases.items() if p.lies],
                anchored=[n for n, p in recipe.phases.items() if p.anchor],
            ),
            named.layout,
        )
        named = replace(named, layout=layout)
    matrix = background(recipe, named)
    layout = corrected_layout(named.layout, recipe, named.names, matrix)
    if kinds is not None:
        _tell_means(named.names, kinds)
    return Matched(named, matrix, elements, layout)


def _tell_means(names: Sequence[str], kinds: Kinds) -> None:
    """Tell of which spectra are means of what differs from place to place.

    Warns
    -----
    SiftemWarning
    """
    phases = in_words(names)
    if len(names) < kinds.n_components:
        warnings.warn(
            f"{phases}: spectra differ from place to place as those of {kinds.n_components} phases "
            f"do, more than there are components. Any of these spectra may be a mean of several "
            f"phases. More components may part them; else a map with more counts or larger pixels",
            DoubtWarning,
            stacklevel=3,
        )
    if kinds.by_thickness:
        warnings.warn(
            f"{phases}: spectra follow the thickness, by {percent(max(kinds.by_thickness))} "
            f"(root mean square), as absorption in a film of uneven thickness makes them, or a "
            f"phase that is only where it is thick. Compositions are means over all thicknesses",
            DoubtWarning,
            stacklevel=3,
        )


def _named(
    recipe: Recipe, si: SpectrumImage, factors: Factors, elements: tuple[str, ...]
) -> Factors:
    beam = si.acquisition.beam
    width = si.acquisition.fwhm
    phases = recipe.phases
    if phases and all(p.component is not None for p in phases.values()):
        return _by_number(recipe, factors)
    if any(p.marked for p in phases.values()):
        marked = {n: Markers(p.high, p.absent) for n, p in phases.items()}
        seen = replace(factors, axis=_true_axis(si, factors, elements, beam, width))
        named = match_phases(seen, marked, beam_energy=beam, resolution=width)
        return replace(named, axis=factors.axis)
    if phases:
        raise RecipeError(
            "the phases of the recipe have no markers: say what marks each, e.g. high: [Mg, Fe], "
            "or the number of its component"
        )
    if len(factors.names) == 1 or not elements:
        return factors
    visible = [e for e in elements if _has_line(e, si, beam)]
    if not visible:
        return factors
    axis = _true_axis(si, factors, visible, beam, width)
    strengths = line_strengths(factors.spectra, axis, visible, beam_energy=beam, resolution=width)
    held = _surely_held(si, factors, (*visible, *recipe.support), beam, width)
    rows = _own_lines(strengths, factors)
    rows = np.where([[e in sure for e in visible] for sure in held], rows, 0.0)
    called = [" ".join(visible[e] for e in some) for some in _telling(rows)]
    names = [f"{component_name(i)} ({n})" if n else component_name(i) for i, n in enumerate(called)]
    return factors.reordered(tuple(range(len(names))), tuple(names))


def _telling(rows: np.ndarray) -> list[list[int]]:
    """Which lines name each component: its strongest, and where others have them, what they lack.

    An alloy's precipitate has the strongest lines of its matrix, and is told by what it is rich in.
    """
    parts = rows / np.maximum(rows.sum(axis=1, keepdims=True), 1e-300)
    out = []
    for i, part in enumerate(parts):
        named = [e for e in np.argsort(-part, kind="stable") if part[e] > _NAMED_FROM * part.max()]
        others = np.delete(parts, i, axis=0).max(axis=0, initial=0.0)
        apart = np.flatnonzero((part > _MUCH) & (part > _SETS_APART * others))
        if apart.size and not set(apart) & set(named[:3]):
            richest = apart[np.argsort(-part[apart], kind="stable")][:2]
            named = [*named[: 3 - richest.size], *richest]
        out.append([int(e) for e in named[:3]])
    return out


def _surely_held(
    si: SpectrumImage, factors: Factors, elements: Sequence[str], beam: float, width: float
) -> list[tuple[str, ...]]:
    """Return the elements that each component surely holds, by all lines together."""
    whole = Spectrum(si.sum_spectrum(), si.axis, acquisition=si.acquisition)
    seen = [e for e in dict.fromkeys(elements) if _has_line(e, si, beam)]
    search = GreedySearch(whole, seen, beam, Detector(resolution=width))
    search.calibrate(seen)
    shares = factors.spectra / np.maximum(factors.spectra.sum(axis=1, keepdims=True), 1e-300)
    return [
        search.surely_in(Spectrum(values, factors.axis), seen, _SURELY)
        for values in shares * factors.counts[:, None]
    ]


def _own_lines(strengths: np.ndarray, factors: Factors) -> np.ndarray:
    """Return lines of components less what their hosts may hold of them.

    As much of each host as leaves no line negative: a grain is named by what marks it, not by the
    host above and below it.
    """
    own = strengths.copy()
    for phase, lies in zip(own, factors.layout.phases if factors.layout else (), strict=False):
        for host in strengths[list(lies.hosts)]:
            clear = host > _NAMED_FROM * host.max()
            if clear.any():
                # Shares of all counts: a grain holds no more of its host than all.
                phase -= min((phase[clear] / host[clear]).min(), 1.0) * host
        np.maximum(phase, 0.0, out=phase)
    return own


def _true_axis(
    si: SpectrumImage, factors: Factors, elements: Sequence[str], beam: float, width: float
) -> EnergyAxis:
    """Return the factors' axis with the shift at which lines explain the sum of all pixels."""
    whole = Spectrum(si.sum_spectrum(), si.axis, acquisition=si.acquisition)
    seen = [e for e in elements if _has_line(e, si, beam)]
    if not seen or not whole.counts.any():
        return factors.axis
    search = GreedySearch(whole, seen, beam, Detector(resolution=width))
    return search.calibration.true_axis(factors.axis)


def _by_number(recipe: Recipe, factors: Factors) -> Factors:
    """Name components by their numbers; what is left over gets a letter."""
    k = factors.spectra.shape[0]
    chosen = [p.component - 1 for p in recipe.phases.values() if p.component is not None]
    if max(chosen) >= k:
        name = list(recipe.phases)[int(np.argmax(chosen))]
        raise InputError(f"{name} is component {max(chosen) + 1}, but there are only {k}")
    rest = [c for c in range(k) if c not in chosen]
    letters = (n for n in map(component_name, range(2 * k)) if n not in recipe.phases)
    names = (*recipe.phases, *(next(letters) for _ in rest))
    return factors.reordered((*chosen, *rest), names)


def _has_line(element: str, si: SpectrumImage, beam_energy: float) -> bool:
    try:
        line_strengths(np.ones((1, si.n_channels)), si.axis, [element], beam_energy=beam_energy)
    except InputError:
        return False
    return True


def _instead(recipe: Recipe, done: Mapping[str, Any]) -> Matched:
    factors = done["decompose"].factors
    elements = run_elements(recipe, done["prepare"].spectrum_image)
    return Matched(factors, factors.names[factors.matrix or 0], elements, None)


def _owns(recipe: Recipe) -> dict[str, Any]:
    marks = {
        n: p.model_dump(mode="json", include={"high", "absent", "component", "lies"})
        | {"anchored": bool(p.anchor)}
        for n, p in recipe.phases.items()
    }
    return {
        "elements": recipe.elements,
        "support": recipe.support,
        "layout": recipe.known_layout,
        "matrix": recipe.matrix,
        # A list: their order matters.
        "phases": list(marks.items()),
    }


def _run(recipe: Recipe, done: Mapping[str, Any], by: Circumstances) -> Matched:
    found = done["decompose"]
    return matched_phases(recipe, done["prepare"].spectrum_image, found.factors, found.kinds)


STEP: Step = Step(
    "match", "the names of the phases", ("prepare", "decompose"), _owns, _run, instead=_instead
)


def run_elements(
    recipe: Recipe, si: SpectrumImage, factors: Factors | None = None
) -> tuple[str, ...]:
    """Return the elements to quantify: the recipe's, else the file's and those that show.

    A file lists what somebody clicked on, and may lack what makes up most of the specimen.

    Parameters
    ----------
    recipe : Recipe
    si : SpectrumImage
    factors : Factors, optional
        Metals of grids and of thinning, and C of contamination, that nobody names and that all
        components hold alike are left out.

    Warns
    -----
    SiftemWarning
        Which elements were found, by which lines, when the recipe lists none.
    """
    if not si.signal_type.startswith("EDS"):
        if recipe.elements:
            raise InputError(
                f"elements are quantified by X-ray lines, but this is a signal of type "
                f"{si.signal_type or 'unknown'}: leave the elements out"
            )
        return ()
    if recipe.elements:
        return recipe.elements
    listed = tuple(e for e in si.acquisition.elements if e not in recipe.support)
    found = attempted("a list of elements", lambda: _elements_seen(recipe, si, factors), ())
    return (*listed, *found)


def _elements_seen(recipe: Recipe, si: SpectrumImage, factors: Factors | None) -> tuple[str, ...]:
    """Find the elements whose lines the sum of all pixels shows, beside those of the file."""
    found = [f for f in shown_elements(si) if f.element not in recipe.support]
    listed = si.acquisition.elements
    if not found and not listed:
        raise InputError("none is named, and no line stands out: name them (--elements)")
    whole_counts = sum(f.counts for f in found)
    if listed:
        least = STRONG * whole_counts
        found = [f for f in found if f.element not in listed and f.counts > least]
    if factors is not None:
        stray = _stray(found, whole_counts, si, factors)
        known = {*recipe.support, *listed, *(f.element for f in found)}
        rare = _of_rare_phases(known, shown_elements(si), si, factors)
        found = [f for f in (*found, *rare) if f not in stray]
    if not found:
        return ()
    lines = ", ".join(f"{f.line} ({f.significance:.0f} sigma{f.caveat})" for f in found)
    told = (
        f"the file lists {', '.join(listed)} only, but strong lines of others stand out in the sum "
        "of all pixels, or of a phase, and are quantified as well"
        if listed
        else "no elements are named: those whose lines stand out in the sum of all pixels, or of a "
        "phase, are quantified"
    )
    warnings.warn(
        f"{told}, {lines}; name them (--elements), and those of grid and film (--support)",
        DoubtWarning if any(f.caveat for f in found) else SiftemWarning,
        stacklevel=3,
    )
    unseen = [e for e in _LIGHT if not _has_line(e, si, si.acquisition.beam)]
    if "O" in unseen and not listed:
        warnings.warn(
            f"{in_words(unseen)} show no line from {si.axis.to_kev().first:.2f} keV on, and were "
            f"not found: compositions are of the other elements, summed up to 100%. For oxides, "
            f"list O (--elements) and take it by stoichiometry (oxygen: stoichiometry)",
            DoubtWarning,
            stacklevel=3,
        )
    return tuple(f.element for f in found)


def _of_rare_phases(
    known: Collection[str], shown: Sequence[FoundElement], si: SpectrumImage, factors: Factors
) -> list[FoundElement]:
    """Elements that make up much of a phase, and that the sum of all pixels does not show.

    They are rare, or have a line where another element has one that explains both there: Si K
    where there is W. Not of a film, and by such a line only if the phase surely holds them beside
    the other: the search takes the one for the other.
    """
    layout = factors.layout
    if layout is None or not sp.issparse(si.counts):
        # Each phase would be read from disk once more.
        return []
    out: dict[str, FoundElement] = {}
    kev, beam = si.axis.to_kev(), si.acquisition.beam
    theirs = [
        f.alpha_energy
        for f in line_families(
            [s.element for s in shown], beam_energy=beam, low=kev.first, high=kev.last
        )
    ]
    for own, inside, found in _found_inside(si, layout):
        least = _MUCH * sum(f.counts for f in found)
        for f in found:
            if f.element in known or f.counts < least:
                continue
            near = min((abs(f.energy - e) for e in theirs), default=1.0) <= _SAME_LINE
            # What has a line of its own in so many pixels would show in their sum.
            if _surely_beside(f, found, known, own) if near else inside.mean() <= _LARGE:
                out.setdefault(f.element, f)
    return list(out.values())


#: What `_found_inside` found of each map and layout, and the doubts that it told.
_FOUND: WeakKeyDictionary[
    SpectrumImage, WeakKeyDictionary[PhaseLayout, tuple[list[_Inside], WarningRecord]]
]
_FOUND = WeakKeyDictionary()


def _found_inside(si: SpectrumImage, layout: PhaseLayout) -> list[_Inside]:
    """Search the inside of each phase that is no film; of one layout once.

    It takes seconds, and phases that are named anew are the same phases.

    Warns
    -----
    DoubtWarning
        As `find_elements` does, each time.
    """
    known = _FOUND.setdefault(si, WeakKeyDictionary())
    if layout not in known:
        faint, out = _FAINT * max(lies.counts_per_pixel for lies in layout.phases), []
        with recorded_warnings() as told:
            for lies, inside in zip(layout.phases, layout.insides, strict=True):
                dim = lies.role in ("vacuum", "support") or lies.counts_per_pixel < faint
                if not dim and inside.sum() >= FEWEST_PIXELS:
                    own = Spectrum(sum_of(si.counts, inside), si.axis, acquisition=si.acquisition)
                    found = find_elements(own) if own.counts.any() else ()
                    out.append((own, inside, tuple(found)))
        known[layout] = out, told
    found_there, told = known[layout]
    for text in told:
        warnings.warn(text, DoubtWarning if text in told.doubts else SiftemWarning, stacklevel=2)
    return found_there


def _surely_beside(
    one: FoundElement, found: Sequence[FoundElement], known: Collection[str], own: Spectrum
) -> bool:
    """Whether a spectrum holds an element whatever others, which may be there, have of its line."""
    beam, width = own.acquisition.beam, own.acquisition.fwhm
    elements = list(dict.fromkeys([*known, *(f.element for f in found)]))
    try:
        search = GreedySearch(own, elements, beam, Detector(resolution=width))
        search.calibrate([f.element for f in found])
    except InputError:
        return False
    return one.element in search.surely_in(own, elements, _BESIDE)


def _stray(
    found: Sequence[FoundElement], counts: float, si: SpectrumImage, factors: Factors
) -> list[FoundElement]:
    """Elements that are beside the specimen: all components but a film hold them alike.

    Metals of grids and of thinning, as a part of their counts; C of contamination, in a pixel. In
    a phase that is little else, C is its own.
    """
    levels = np.ones(len(factors.names))
    if factors.layout is not None:
        levels = np.array([lies.counts_per_pixel for lies in factors.layout.phases])
    own = np.flatnonzero(levels > _FAINT * levels.max())
    some = [f for f in found if f.element in (*GRID, "C") and f.counts < _MOST_STRAY * counts]
    if own.size < 2 or not some:
        return []  # nothing to compare
    every = [f.element for f in found]
    beam, width = si.acquisition.beam, si.acquisition.fwhm
    whole = Spectrum(si.sum_spectrum(), si.axis, acquisition=si.acquisition)
    first = round((factors.axis.offset - si.axis.offset) / si.axis.scale)
    whole = whole.sliced(slice(first, first + factors.axis.size))
    search = GreedySearch(whole, every, beam, Detector(resolution=width))
    search.calibrate(every)
    # All lines together: those of grids lie beside lines of the specimen, as Cu Ka beside Ni Kb.
    strengths = search.line_counts(factors.spectra[own], every)
    out = []
    for f in some:
        held = strengths[:, every.index(f.element)]
        if f.element == "C":
            if (held > _MOST_STRAY * strengths.sum(axis=1)).any():
                continue
            held = held * levels[own]
        if held.min() * _ALIKE > held.max() > 0:
            out.append(f)
    return out
