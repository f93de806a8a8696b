"""From counts to components."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import combinations, permutations
from typing import Any

import numpy as np
from scipy.optimize import nnls

from siftem.decomposition.factors import Factors, decompose
from siftem.decomposition.initialise import COUNTS_IN_BLOCK
from siftem.decomposition.plateaus import count_plateaus
from siftem.decomposition.rank import ENOUGH_BINS, RankChoice, choose_n_components, count_kinds
from siftem.decomposition.shared_spectra import fit_maps
from siftem.decomposition.support import is_dim
from siftem.errors import DoubtWarning, InputError, SiftemWarning
from siftem.files.atomic import refusals_told
from siftem.io.fit_checkpoint import FitCheckpoint, read_spectra
from siftem.pipeline.file_contents import file_content
from siftem.pipeline.fit_settings import keep_ahead, settings_ahead
from siftem.pipeline.kernels_ahead import compile_kernels, kernels_lack
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.results import Decomposed
from siftem.pipeline.side_processes import SideProcesses
from siftem.pipeline.steps.step import Circumstances, Step, plain
from siftem.printed_numbers import in_words, percent
from siftem.progress import Progress
from siftem.spectrum_image import SpectrumImage

#: Spectra with a larger cosine that pass into each other, and maps with a larger correlation,
#: are one phase.
_ALIKE, _TOGETHER = 0.98, 0.95
#: Channels are taken together until they hold so many counts.
_COUNTS_IN_BIN = 25.0
#: A component is a film that shows through a thin grain when it holds as much of both, and no more
#: else than this part of what they differ by.
_SHOWS, _FLANK = 0.03, 0.1
#: Part of what all components explain, below which one more of energy losses is no phase.
_SCATTERING = 0.0025
#: Differences below this part need no word.
_SMALL_DIFFERENCE = 0.02
#: Fewer pixels or counts than this are no phase.
_FEWEST_PIXELS, _FEWEST_COUNTS = 12, 150.0
#: "auto" chooses among 1 and this many components, or more when the last one is the best.
_MOST_COMPONENTS, _MANY_COMPONENTS = 7, 10


def decomposed(
    recipe: Recipe,
    si: SpectrumImage,
    *,
    checkpoint: FitCheckpoint | None = None,
    n_jobs: int = 1,
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
    n = recipe.n_components
    if si.signal_type == "EELS":
        if n != "auto":
            return Decomposed(_factors(recipe, si, n, checkpoint, progress), None)
        choice = component_choice(recipe, si, progress=progress)
        most = _beyond_scattering(choice)
        return Decomposed(_distinct(recipe, si, most, progress), choice)
    count = partial(count_kinds, si, random_state=recipe.decompose.random_state)
    if n != "auto":
        jobs: dict[str, Callable[[], Any]] = {}
        if n_jobs > 1 and recipe.elements:
            # A copy has time for what comes later, too.
            jobs["settings"] = partial(settings_ahead, recipe, si)
        if n_jobs > 1 and kernels_lack():
            jobs["kernels"] = compile_kernels
        with SideProcesses(jobs, n_jobs) as beside:
            factors = _factors(recipe, si, n, checkpoint, progress)
            made = beside.results()
        keep_ahead(recipe, si, made.get("settings"))
        # Counted by now, for the layout.
        return Decomposed(factors, None, count())
    kinds = count()
    most = min(max(kinds.n_components, len(recipe.phases)), _MANY_COMPONENTS)
    return Decomposed(
        _with_plateaus(recipe, si, _distinct(recipe, si, most, progress), progress), kinds, kinds
    )


def _beyond_scattering(choice: RankChoice) -> int:
    """Number of components that explain more than plural scattering and drift do.

    Both change the shape of energy losses from pixel to pixel by a few parts in a thousand, which
    many counts show, too.

    Warns
    -----
    SiftemWarning
        When there are fewer than the held-out counts chose.
    """
    last = choice.candidates.index(choice.n_components)
    gains = choice.excess[:last] - choice.excess[1 : last + 1]
    total = max(float(choice.excess[0] - choice.excess[last]), 1e-9)
    n = last
    while n > 1 and gains[n - 1] < _SCATTERING * total:
        n -= 1
    found = choice.candidates[n]
    if found < choice.n_components:
        warnings.warn(
            f"{found} components in place of {choice.n_components}: the others explain less than "
            f"{100 * _SCATTERING:g}% of what the map holds each, as plural scattering does",
            SiftemWarning,
            stacklevel=4,
        )
    return found


def _distinct(recipe: Recipe, si: SpectrumImage, most: int, progress: Progress) -> Factors:
    """Factorise with as many components as there are kinds of pixels.

    Warns
    -----
    SiftemWarning
        When there are fewer than counts that were held out asked for.
    """
    fewest = max(1, len(recipe.phases))
    for n in range(most, fewest - 1, -1):
        factors = _factors(recipe, si, n, None, progress)
        reason = _repeated(factors, alike=1.0 if si.signal_type == "EELS" else _ALIKE)
        if not reason or n == fewest:
            _tell_unseen(si)
            return factors
        warnings.warn(f"{n - 1} components in place of {n}: {reason}", SiftemWarning, stacklevel=4)
    return factors


def _with_plateaus(
    recipe: Recipe, si: SpectrumImage, factors: Factors, progress: Progress
) -> Factors:
    """Part phases that are mixtures of others by their spectra, but lie in places of their own.

    Warns
    -----
    SiftemWarning
        When there are any.
    """
    if factors.layout is None or recipe.known_layout != "auto":
        return factors
    seed = recipe.decompose.random_state
    n, perhaps = count_plateaus(si, factors.layout, random_state=seed)
    if n == len(factors.names):
        if perhaps:
            uneven = [
                name
                for name, lies in zip(factors.names, factors.layout.phases, strict=True)
                if not lies.even
            ]
            warnings.warn(
                f"{in_words(uneven)}: the pixels fall into kinds that are alike inside, of which "
                f"one is a mixture of others: grains that fill the film in part, or a phase of its "
                f"own. With one component more it has a spectrum (--phases {n + 1})",
                DoubtWarning,
                stacklevel=4,
            )
        return factors
    more = _factors(recipe, si, n, None, progress)
    if more.layout is None or not all(lies.even for lies in more.layout.phases):
        return factors
    warnings.warn(
        f"{n} components in place of {len(factors.names)}: places that are alike inside have "
        f"spectra between those of others, as layers of a diffusion couple do",
        SiftemWarning,
        stacklevel=4,
    )
    return more


def _tell_unseen(si: SpectrumImage) -> None:
    """Tell what difference between two phases these counts would not show.

    A phase on half of the map whose lines, a third of its counts, differ by the part d lowers the
    held-out deviance by ``N d^2 / 12``, and costs one for each number of its map and spectrum.

    Warns
    -----
    SiftemWarning
    """
    counts = max(si.total, 1.0)
    numbers = min(si.n_pixels, counts / COUNTS_IN_BLOCK) + min(si.n_channels, ENOUGH_BINS)
    least = np.sqrt(12 * (numbers + 3 * np.sqrt(2 * numbers)) / counts)
    if least > _SMALL_DIFFERENCE:
        # Edges are a smaller part of the counts than lines: of losses the whole spectrum is told.
        told = (
            f"spectrum differs by less than {percent(least / np.sqrt(3))} (rms) from another's"
            if si.signal_type == "EELS"
            else f"strong lines differ by less than {percent(least)} from another's (some "
            f"{100 * least * 0.3 * 0.7:.2g} at% of an element that makes up 30 at%)"
        )
        warnings.warn(
            f"a phase on half of the map whose {told} would not be seen at this dose",
            SiftemWarning,
            stacklevel=5,
        )


def _repeated(factors: Factors, *, alike: float) -> str:
    """Say which phase was found twice; empty when each was found once.

    Spectra of energy losses are all alike, by their background: their cosines say nothing.
    """
    layout = factors.layout
    if layout is None:
        return "its pixels fall into fewer kinds"
    for i, lies in enumerate(layout.phases):
        pixels = lies.area * layout.labels.size
        held = pixels * lies.counts_per_pixel
        if pixels < _FEWEST_PIXELS or held < _FEWEST_COUNTS:
            return (
                f"component {factors.names[i]} would be {pixels:.0f} pixels with {held:.3g} counts"
            )
    flank = _flank(factors)
    if flank is not None:
        thin, thick, film = (factors.names[i] for i in flank)
        return (
            f"component {thin} would be component {thick} where it is thin and its film, component "
            f"{film}, shows through"
        )
    k = len(factors.spectra)
    maps = np.corrcoef(factors.maps.reshape(k, -1)) if k > 1 else np.eye(1)
    for i, j in combinations(range(k), 2):
        cosine = _likeness(factors, i, j)
        uneven = any(layout.phases[c].role == "uneven" for c in (i, j))
        if (cosine > alike and uneven) or maps[i, j] > _TOGETHER:
            return (
                f"components {factors.names[i]} and {factors.names[j]} would be one phase found "
                f"twice (cosine of their spectra {cosine:.3f}, weighted by their noise; "
                f"correlation of their maps {maps[i, j]:.2f})"
            )
    for c, lies in enumerate(layout.phases):
        for pair in combinations([i for i in range(k) if i != c], 2):
            if lies.role == "uneven" and _likeness(factors, c, *pair) > alike:
                return (
                    f"component {factors.names[c]} would be a border: it is uneven, and its "
                    f"spectrum a mixture of those of {in_words([factors.names[i] for i in pair])}"
                )
    return ""


def _likeness(factors: Factors, c: int, *others: int) -> float:
    """Cosine of a spectrum and its best mixture of others, weighted by noise and less its part.

    Without weights the strongest line decides, which may be that of the film that all lie on. Zero
    where one of the others is no part of the mixture.
    """
    chosen = [c, *others]
    spectra = factors.spectra[chosen]
    spectra = spectra / spectra.sum(axis=1, keepdims=True)
    counts = factors.counts[chosen]
    bins = np.floor(np.cumsum(counts @ spectra) / _COUNTS_IN_BIN)
    spectra = np.add.reduceat(spectra, np.unique(bins, return_index=True)[1], axis=1)
    mean = counts @ spectra / counts.sum()
    own, *parts = spectra[:, mean > 0] / np.sqrt(mean[mean > 0])
    amounts, left = nnls(np.transpose(parts), own)
    if len(others) > 1 and amounts.min() < _SHOWS * amounts.sum():
        return 0.0
    noise = (spectra[:, mean > 0] / mean[mean > 0]).sum(axis=1) / counts
    size = max(float(own @ own - noise[0]), 1e-9)
    unlike = (left**2 - noise[0] - amounts**2 @ noise[1:]) / size
    return float(np.sqrt(np.clip(1 - unlike, 0.0, 1.0)))


def _flank(factors: Factors) -> tuple[int, int, int] | None:
    """A component that is a mixture of a brighter one and of a film: both, and the film."""
    layout = factors.layout
    assert layout is not None
    level = [lies.counts_per_pixel for lies in layout.phases]
    spectra = factors.spectra
    for film, grain in permutations(range(len(spectra)), 2):
        if not is_dim(level[film], level[grain]):
            continue
        pair = spectra[[grain, film]].T
        apart = float(np.linalg.norm(pair[:, 0] - pair[:, 1]))
        for c in range(len(spectra)):
            if c in (film, grain) or not level[film] < level[c] < level[grain]:
                continue
            amounts, left = nnls(pair, spectra[c])
            if (amounts > _SHOWS).all() and left < _FLANK * apart:
                return c, grain, film
    return None


def _factors(
    recipe: Recipe,
    si: SpectrumImage,
    n: int,
    checkpoint: FitCheckpoint | None,
    progress: Progress,
) -> Factors:
    return decompose(
        si,
        n,
        layout=recipe.known_layout,
        random_state=recipe.decompose.random_state,
        n_init=recipe.decompose.n_init,
        tol=recipe.decompose.tol,
        max_iter=recipe.decompose.max_iter,
        keep_zero_peak=True,  # cropped already
        checkpoint=checkpoint,
        progress=progress,
    )


def component_choice(
    recipe: Recipe,
    si: SpectrumImage,
    candidates: Iterable[int] | None = None,
    *,
    progress: Progress,
) -> RankChoice:
    """Let held-out counts choose the number of components, by default among 1 to 7."""
    limit = min(si.n_pixels, si.n_channels)

    def chosen(numbers: Iterable[int]) -> RankChoice:
        return choose_n_components(
            si,
            numbers,
            random_state=recipe.decompose.random_state,
            keep_zero_peak=True,  # cropped already
            progress=progress,
        )

    if candidates is not None:
        return chosen(candidates)
    most = min(_MOST_COMPONENTS, limit)
    fewest = min(max(1, len(recipe.phases)), most)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = chosen(range(fewest, most + 1))
    if found.best == most and most < min(_MANY_COMPONENTS, limit):
        return chosen(range(max(fewest, most - 1), min(_MANY_COMPONENTS, limit) + 1))
    for one in told:
        warnings.warn(one.message, stacklevel=3)
    return found


def _owns(recipe: Recipe) -> dict[str, Any]:
    n = recipe.n_components
    if recipe.decompose.spectra is not None:
        return {"spectra": file_content(recipe.decompose.spectra)}
    own = {**plain(recipe.decompose), "components": n, "layout": recipe.known_layout}
    if n == "auto":
        own["at_least"] = len(recipe.phases)
    return own


def _run(recipe: Recipe, done: Mapping[str, Any], by: Circumstances) -> Decomposed:
    # A fit that was killed half way goes on from there.
    fit = None
    if by.checkpoints is not None:
        with refusals_told(f"in {by.checkpoints}"):
            by.checkpoints.mkdir(parents=True, exist_ok=True)
        fit = FitCheckpoint(by.checkpoints / "fit.npz")
    si = done["prepare"].spectrum_image
    return decomposed(recipe, si, checkpoint=fit, n_jobs=by.n_jobs, progress=by.progress)


STEP: Step = Step("decompose", "the components", ("prepare",), _owns, _run, kept=True)
