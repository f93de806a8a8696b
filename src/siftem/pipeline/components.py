"""From counts to named components."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from siftem.decompose.factors import Factors, component_name, decompose
from siftem.decompose.given_spectra import fit_maps
from siftem.decompose.matching import Markers, line_strengths, match_phases
from siftem.decompose.rank import RankChoice, choose_n_components
from siftem.errors import InputError
from siftem.io.fit_checkpoint import FitCheckpoint
from siftem.io.spectra_sets import read_spectra
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.results import Decomposed, Matched
from siftem.progress import Progress
from siftem.spectrum_image import SpectrumImage

#: "auto" chooses among 1 and this many components.
_MOST_COMPONENTS = 7


def decomposed(
    recipe: Recipe,
    si: SpectrumImage,
    *,
    checkpoint: FitCheckpoint | None = None,
    progress: Progress,
) -> Decomposed:
    """Factorise the counts, with as many components as the recipe says, or by given spectra."""
    if recipe.decompose.spectra is not None:
        shared = read_spectra(recipe.decompose.spectra)
        n = recipe.decompose.components
        if isinstance(n, int) and n != len(shared.names):
            raise InputError(
                f"{recipe.decompose.spectra} holds {len(shared.names)} spectra, but the recipe "
                f"asks for {n} components: leave decompose.components out"
            )
        return Decomposed(fit_maps(si, shared.on_axis(si.axis), progress=progress), None)
    choice = None
    n = recipe.n_components
    if n == "auto":
        choice = component_choice(recipe, si, progress=progress)
        n = choice.n_components
    factors = decompose(
        si,
        n,
        random_state=recipe.decompose.seed,
        n_init=recipe.decompose.starts,
        tol=recipe.decompose.tolerance,
        max_iter=recipe.decompose.max_sweeps,
        keep_zero_peak=True,  # cropped already
        checkpoint=checkpoint,
        progress=progress,
    )
    return Decomposed(factors, choice)


def component_choice(
    recipe: Recipe,
    si: SpectrumImage,
    candidates: Iterable[int] | None = None,
    *,
    progress: Progress,
) -> RankChoice:
    """Let held-out counts choose the number of components, by default among 1 to 7."""
    most = min(_MOST_COMPONENTS, si.n_pixels, si.n_channels)
    fewest = min(max(1, len(recipe.phases)), most)
    return choose_n_components(
        si,
        range(fewest, most + 1) if candidates is None else candidates,
        random_state=recipe.decompose.seed,
        keep_zero_peak=True,  # cropped already
        progress=progress,
    )


def matched_phases(recipe: Recipe, si: SpectrumImage, factors: Factors) -> Matched:
    """Give the components the names of the recipe's phases, or of their strongest lines."""
    elements = run_elements(recipe, si)
    named, matrix = _named(recipe, si, factors, elements)
    return Matched(named, matrix, elements)


def run_elements(recipe: Recipe, si: SpectrumImage) -> tuple[str, ...]:
    """Return the elements to quantify: the recipe's, else those that the file lists."""
    if not si.signal_type.startswith("EDS"):
        if recipe.elements:
            raise InputError(
                f"elements are quantified by X-ray lines, but this is a signal of type "
                f"{si.signal_type or 'unknown'}: leave the elements out"
            )
        return ()
    if recipe.elements:
        return recipe.elements
    return tuple(e for e in si.acquisition.elements if e not in recipe.support)


def _named(
    recipe: Recipe, si: SpectrumImage, factors: Factors, elements: tuple[str, ...]
) -> tuple[Factors, str]:
    beam = si.acquisition.beam_energy or 200.0
    width = si.acquisition.resolution or 130.0
    phases = recipe.phases
    if phases and all(p.component is not None for p in phases.values()):
        assert recipe.matrix is not None
        return _by_number(recipe, factors), recipe.matrix
    if any(p.marked for p in phases.values()):
        marked = {n: Markers(p.high, p.absent) for n, p in phases.items()}
        matched = match_phases(factors, marked, beam_energy=beam, resolution=width)
        assert recipe.matrix is not None
        return matched, recipe.matrix
    if phases:
        raise InputError(
            "the phases of the recipe have no markers: say what marks each, e.g. high: [Mg, Fe], "
            "or the number of its component"
        )
    if len(factors.names) == 1 or not elements:
        return factors, factors.names[0]
    visible = [e for e in elements if _has_line(e, si, beam)]
    if not visible:
        return factors, factors.names[0]
    strengths = line_strengths(
        factors.spectra, factors.axis, visible, beam_energy=beam, resolution=width
    )
    names = []
    for letter, row in zip(factors.names, strengths, strict=True):
        top = [visible[i] for i in np.argsort(-row, kind="stable")[:3] if row[i] > 0]
        names.append(f"{letter} ({' '.join(top)})" if top else letter)
    named = factors.reordered(tuple(range(len(names))), tuple(names))
    return named, names[0]


def _by_number(recipe: Recipe, factors: Factors) -> Factors:
    """Name components by their numbers; what is left over keeps a letter."""
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
