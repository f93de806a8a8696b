"""What to doubt in compositions: the window, the two ways, and what is not the specimen's.

A phase most of whose lines are of the support is a film, or a grain that a film lies under: its
composition is of the lesser part.

A window that nobody told takes soft lines away. Subtraction and unmixing may disagree. A grid, a
holder or contamination may add to elements that are quantified: stray counts are in every phase, of
metals alike as a part of its counts, of C alike in a pixel, so no phase can hold more of them than
the one with the least.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from siftem.errors import DoubtWarning
from siftem.pipeline.fit_settings import GRID
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.results import RunResult
from siftem.printed_numbers import percent
from siftem.quantification.composition import Composition, behind_a_window
from siftem.quantification.detection_limit import QUANTILE
from siftem.quantification.k_values import masses_of
from siftem.quantification.open_ranges import is_open
from siftem.spectrum import Spectrum

#: Change of atomic percent from which on it is told.
_WINDOW_TOLD = 0.02


def warn_of_window(compositions: Mapping[str, Composition]) -> None:
    """Warn once, for the phase in which a polymer window would change most.

    Where the film is not known either, intervals reach to a polymer window and say so; in a known
    film the detector is taken for one without, and no error holds what a window takes away.

    Parameters
    ----------
    compositions : mapping of str to Composition

    Warns
    -----
    DoubtWarning
        When the content of an element would change by more than 2 at%.
    """
    most, told = _WINDOW_TOLD, ""
    for name, c in compositions.items():
        behind = behind_a_window(c)
        if behind is None:
            continue
        now, then = c.atomic_fractions, behind.atomic_fractions
        i = int(np.argmax(np.abs(then - now)))
        if abs(then[i] - now[i]) > most:
            most = float(abs(then[i] - now[i]))
            told = f"{name} holds {100 * then[i]:.3g} at% {c.elements[i]} for {100 * now[i]:.3g}"
    if told:
        warnings.warn(
            f"the detector's window is not told: behind a polymer one {told}, which no error bar "
            f"holds: say quantify: {{window: none}} or polymer, or give measured k-factors",
            DoubtWarning,
            stacklevel=3,
        )


#: Of a phase's line counts no more than this is stray, and phases darker than this part of the
#: brightest are films or nothing.
_MOST, _FAINT = 0.1, 0.2
#: From this part of an element's counts on it is told.
_TOLD = 0.25
#: Who names others than these as a support has said what is beside the specimen.
_FILMS = frozenset({"C", "O", "Si", "N"})


def line_counts(composition: Composition) -> dict[str, float]:
    """Counts in the lines of each element of a composition's fit, of what lies beside, too."""
    families = composition.fit.model.families
    columns = composition.fit.design[:, : len(families)].sum(axis=0)
    out: dict[str, float] = {}
    for family, n in zip(
        families, columns * composition.fit.amplitudes[: len(families)], strict=True
    ):
        out[family.element] = out.get(family.element, 0.0) + float(n)
    return out


def with_stray_counts(
    compositions: Mapping[str, Composition],
    spectra: Mapping[str, Spectrum],
    support: Collection[str] = (),
) -> dict[str, Composition]:
    """Widen the intervals of phases that may hold stray counts of their elements.

    Parameters
    ----------
    compositions : mapping of str to Composition
        Of the pure phases of a map.
    spectra : mapping of str to Spectrum
        What they were quantified from.
    support : collection of str
        Elements that the user says are beside the specimen. With a metal among them the grid is
        known, and other metals are the specimen's.

    Returns
    -------
    dict of str to Composition

    Warns
    -----
    DoubtWarning
        Of each element of which a good part may be stray, and in which phases.
    """
    out = dict(compositions)
    level = {n: float(spectra[n].counts.sum()) / max(spectra[n].n_pixels, 1) for n in out}
    bright = [n for n in out if level[n] > _FAINT * max(level.values())]
    if len(out) < 2:
        return out  # nothing to compare
    lines = {n: line_counts(found) for n, found in out.items()}
    shared = set.intersection(*(set(found.elements) for found in out.values()))
    metals = frozenset() if set(support) - _FILMS else GRID
    kept = {n: np.ones(len(found.elements)) for n, found in out.items()}
    for element in sorted(shared & (metals | {"C"})):
        held = {n: own.get(element, 0.0) for n, own in lines.items()}
        whole = {
            n: float(spectra[n].n_pixels if element == "C" else sum(own.values()))
            for n, own in lines.items()
        }
        part = {n: held[n] / max(whole[n], 1e-9) for n in out}
        least = min(bright, key=part.__getitem__)
        alike = held[least] < _MOST * sum(lines[least].values())
        floor = part[least] if alike and all(_is_clear(out[n], element) for n in bright) else 0.0
        if element == "C":  # as it lies on the film, and where there is nothing else
            floor = max([floor, *(part[n] for n in out if n not in bright)])
        told = []
        for n in out if floor > 0 else ():
            if n not in bright and held[n] > _MOST * sum(lines[n].values()):
                continue  # a film is of it
            stray = min(floor * whole[n] / max(held[n], 1e-9), 1.0)
            i = out[n].index(element)
            if stray * out[n].weight_fractions[i] > out[n].sigma[i]:
                kept[n][i] = 1 - stray
                if stray > _TOLD and n in bright:
                    told.append(n)
        if told:
            source = "contamination" if element == "C" else "a grid or a holder"
            warnings.warn(
                f"{', '.join(told)}: {element} is in all phases, or beside them, and what they "
                f"have in common may be of {source}: the intervals hold that; what is beside the "
                f"specimen belongs to the support (--support)",
                DoubtWarning,
                stacklevel=3,
            )
    return {n: _without(found, kept[n]) for n, found in out.items()}


def _without(found: Composition, kept: np.ndarray) -> Composition:
    """Add compositions without what is stray of each element, and of all of them."""
    ends = [np.where(np.arange(kept.size) == i, kept, 1.0) for i in np.flatnonzero(kept < 1)]
    fractions = [found.weight_fractions * end for end in (*ends, kept)] if ends else []
    return found.with_range(*(f / f.sum() for f in fractions if f.sum() > 0))


def _is_clear(composition: Composition, element: str) -> bool:
    i = composition.index(element)
    return bool(composition.weight_fractions[i] > composition.critical_levels[i])


#: A phase is another one below C when it has this much more C, in atoms and in standard deviations,
#: and no more than that; and the other elements in the same ratios: to this part of them, beside
#: three standard deviations. Elements of less than the last part tell nothing.
_ON_IT, _SURELY, _NOT_A_FILM, _SAME_RATIOS, _TELLS = 0.05, 5.0, 0.8, 0.1, 0.03


def warn_of_carbon(compositions: Mapping[str, Composition]) -> None:
    """Tell of phases that are another one but for their C, as where an earlier scan left some.

    Parameters
    ----------
    compositions : mapping of str to Composition
        Of the pure phases of a map.

    Warns
    -----
    DoubtWarning
    """
    shown = {n: c for n, c in compositions.items() if "C" in c.elements}
    for below, other in permutations(shown, 2):
        clean, more = shown[below], shown[other]
        if clean.elements == more.elements and _differ_by_carbon(clean, more):
            i = more.index("C")
            warnings.warn(
                f"{other}: but for its {100 * more.atomic_fractions[i]:.3g} at% C it is {below}, "
                f"which may lie there below contamination: a scan before this one leaves such "
                f"rectangles",
                DoubtWarning,
                stacklevel=3,
            )


def _differ_by_carbon(clean: Composition, more: Composition) -> bool:
    i = clean.index("C")
    a, b = clean.atomic_fractions, more.atomic_fractions
    if not a[i] + _ON_IT < b[i] < _NOT_A_FILM:
        return False
    if more.weight_fractions[i] - clean.weight_fractions[i] < _SURELY * more.sigma[i]:
        return False
    others = np.arange(a.size) != i
    rest = [c.weight_fractions[others] / (1 - c.weight_fractions[i]) for c in (clean, more)]
    sigma = [c.sigma[others] / (1 - c.weight_fractions[i]) for c in (clean, more)]
    allowed = 3 * np.hypot(*sigma) + _SAME_RATIOS * rest[0]
    telling = (rest[0] > _TELLS).sum()
    return bool(telling > 1 and (np.abs(rest[1] - rest[0]) <= allowed).all())


#: A phase is mostly support when this part of its line counts is. It is a film when the same part
#: of its mass is, and each of its own elements makes less than the second part of the counts that
#: it makes elsewhere in a pixel; where there is nothing to compare, from the third part on.
_MOSTLY, _TRACES_OF, _ALL_BUT = 0.5, 1 / 3, 0.9


@dataclass(frozen=True)
class OnSupport:
    """What of a phase is of elements that are not quantified.

    Parameters
    ----------
    parts : dict of str to float
        Parts of all line counts, by element, the largest first.
    mass : float
        Part of the mass of all elements seen, by computed k-factors.
    film : bool
        Whether it is a film, and not a grain on one.
    """

    parts: dict[str, float]
    mass: float
    film: bool

    def describe(self, name: str) -> str:
        """Say it in one or two sentences."""
        listed = ", ".join(f"{e} {percent(part)}" for e, part in self.parts.items())
        text = (
            f"{name}: {percent(sum(self.parts.values()))} of its line counts, and "
            f"{percent(self.mass)} of its mass, are of the support or of what is not listed "
            f"({listed}): its composition is of the rest only, summed up to 100%"
        )
        if not self.film:
            return text
        return (
            f"{text}. It seems to be a film or another support with traces of what lies on it, and "
            f"no compound is named: in a recipe, layout: particles on a support takes it for one"
        )


def on_support(
    compositions: Mapping[str, Composition], spectra: Mapping[str, Spectrum]
) -> dict[str, OnSupport]:
    """Return the phases most of whose line counts are of elements that are not quantified.

    Parameters
    ----------
    compositions : mapping of str to Composition
        Of the pure phases of a map.
    spectra : mapping of str to Spectrum
        What they were quantified from.
    """
    lines = {n: line_counts(c) for n, c in compositions.items()}
    own = {
        n: {e: held.get(e, 0.0) / max(spectra[n].n_pixels, 1) for e in compositions[n].elements}
        for n, held in lines.items()
    }
    parts = {}
    for n, held in lines.items():
        whole = max(sum(held.values()), 1e-9)
        beside = {e: c / whole for e, c in held.items() if e not in own[n]}
        if sum(beside.values()) > _MOSTLY:
            parts[n] = {e: beside[e] for e in sorted(beside, key=lambda e: -beside[e]) if beside[e]}
    least = min((sum(own[n].values()) for n in parts), default=0.0)
    out = {}
    for n in parts:
        others = [counts for other, counts in own.items() if other != n]
        mass = _mass_beside(compositions[n])
        traces = all(
            own[n][e] < _TRACES_OF * max(counts.get(e, 0.0) for counts in others)
            for e, found in zip(compositions[n].elements, compositions[n].found, strict=True)
            if found and others
        )
        # Of two such phases the one that holds far more of the specimen lies on the other.
        barest = _TRACES_OF * sum(own[n].values()) <= least
        film = traces and barest and mass > (_MOSTLY if others else _ALL_BUT)
        out[n] = OnSupport(parts[n], mass, film)
    return out


def carbon_films(compositions: Mapping[str, Composition]) -> set[str]:
    """Return the phases that are next to nothing but C: nothing is parted between them and others.

    Not of compositions that nothing fixes: C may be what is around them.
    """
    return {
        n
        for n, c in compositions.items()
        if "C" in c.elements and not is_open(c) and c.atomic_fractions[c.index("C")] > _ALL_BUT
    }


def _mass_beside(composition: Composition) -> float:
    """Part of the mass of all elements of a fit that is not in its composition."""
    mass = masses_of(composition.fit)
    beside = sum(m for e, m in mass.items() if e not in composition.elements)
    return float(beside / max(sum(mass.values()), 1e-300))


def run_on_support(result: RunResult) -> dict[str, OnSupport]:
    """Return what of each phase of a run is mostly of its support."""
    shown = {n: result.compositions[n] for n in result.pure if n in result.compositions}
    return on_support(shown, result.pure)


#: Differences of more standard deviations than this are worth a flag.
FLAGGED = 3.0


def differences(
    first: Composition, second: Composition, assumed: Collection[str] = ()
) -> dict[str, float]:
    """Return, for each element, the difference of two results in standard deviations.

    Both stand on the same counts, so their errors are not independent: when one of two
    estimates is efficient, the variance of their difference is the difference of their
    variances, and no more than the larger one (Hausman 1978, Econometrica 46, 1251). The
    difference of the weight fractions is therefore divided by the larger standard deviation,
    and at the least by that of the first at zero, since an anchor leaves none to an element
    that it fixes. Systematic errors are the same for both and left out.

    Parameters
    ----------
    first, second : Composition
        By subtraction and by unmixing.
    assumed : collection of str
        Elements whose amount was assumed and not measured.

    Returns
    -------
    dict of str to float
        ``second - first``; elements that were found by neither, or assumed, are left out.
    """
    out = {}
    for i, element in enumerate(first.elements):
        if element not in second.elements or element in assumed:
            continue
        j = second.index(element)
        if not (first.found[i] or second.found[j]):
            continue
        # Of weight fractions that add up to one, a large one moves by less.
        rest = 1.0 - float(first.weight_fractions[i])
        at_zero = rest * first.critical_levels[i] / QUANTILE
        sigma = max(float(first.sigma[i]), float(second.sigma[j]), float(at_zero))
        away = float(second.weight_fractions[j] - first.weight_fractions[i])
        out[element] = away / sigma if sigma > 0 else 0.0
    return out


def assumed_absent(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Return the elements that the anchors of each phase take for absent."""
    return {
        name: tuple(e for a in phase.anchor for e in a.absent or ())
        for name, phase in recipe.phases.items()
    }


def run_differences(result: RunResult) -> dict[str, dict[str, float]]:
    """Return the differences of unmixing from subtraction in a run, for each phase."""
    assumed = assumed_absent(result.recipe)
    return {
        name: differences(result.compositions[name], c, assumed.get(name, ()))
        for name, c in result.unmixed_compositions.items()
        if name in result.compositions
    }


def flagged(result: RunResult) -> dict[str, dict[str, float]]:
    """Return the elements of each phase on which the two ways disagree by more than 3 sigma."""
    out = {}
    for name, away in run_differences(result).items():
        far = {e: z for e, z in away.items() if abs(z) > FLAGGED}
        if far:
            out[name] = far
    return out
