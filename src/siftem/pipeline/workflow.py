"""The road from counts to compositions, step by step or all at once.

What is done stays until something it depends on changes; the results come together in one object,
with the recipe that gives them again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from siftem.decomposition.rank import RankChoice
from siftem.errors import InputError
from siftem.machine import one_blas_thread
from siftem.pipeline.changes import merged_recipe
from siftem.pipeline.fit_settings import FitSettings
from siftem.pipeline.parts import WarningRecord, attempted, recorded_warnings
from siftem.pipeline.recipe import Recipe, as_recipe
from siftem.pipeline.recipe_parts import with_absolute_paths
from siftem.pipeline.results import Matched, RunResult, Truth
from siftem.pipeline.road import ROAD, STEPS
from siftem.pipeline.side_processes import SideProcesses
from siftem.pipeline.step_keys import present_keys, step_key, step_keys
from siftem.pipeline.steps.composition import trace_lines
from siftem.pipeline.steps.decompose import component_choice
from siftem.pipeline.steps.regions import smoothness_choice
from siftem.pipeline.steps.step import Circumstances, Step
from siftem.pipeline.stored_results import read_checkpoint, write_checkpoint
from siftem.progress import Progress, shows_progress, silent
from siftem.segment.regions import Regions
from siftem.segment.smoothness import SmoothnessChoice
from siftem.simulate.phantom import Phantom
from siftem.spectrum import Spectrum, spectral_angle
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.unmixed import Unmixed

#: A grain is truly there, for scoring a simulated run, from this share of the thickness on.
TRUE_SHARE = 0.15


def run_result(recipe: Recipe, done: Mapping[str, Any], warnings: tuple[str, ...]) -> RunResult:
    """Put the results of all steps together.

    Parameters
    ----------
    recipe : Recipe
    done : mapping of str to result
        Of every step.
    warnings : tuple of str
    """
    matched, spectra, numbers = done["match"], done["spectra"], done["composition"]
    choice = done["decompose"].choice
    notes = warnings if choice is None else tuple(dict.fromkeys((choice.message, *warnings)))
    segmentation, phantom = done["regions"], done["prepare"].phantom
    pure = spectra.pure
    truth = None
    if phantom is not None:
        truth = _truth(phantom, segmentation.regions, pure, done["unmix"])
    return RunResult(
        recipe=_complete(recipe, matched, segmentation.smoothness, spectra.settings),
        spectrum_image=done["prepare"].spectrum_image,
        factors=matched.factors,
        segmentation=segmentation,
        rectangles=numbers.rectangles,
        spectra=spectra.integrated,
        pure=pure,
        compositions=numbers.compositions,
        calibration=spectra.settings.calibration if spectra.settings else None,
        gains=numbers.gains,
        warnings=notes,
        truth=truth,
        rectangle_spectrum=numbers.rectangle_spectrum,
        unmixed=done["unmix"],
        unmixed_compositions=numbers.unmixed,
        partition=numbers.partition,
        unmixed_partition=numbers.unmixed_partition,
        classifiers=done["segment"].classifiers,
        ratios=spectra.ratios,
        layout=matched.layout,
        open_scales=spectra.open_scales,
        missing={**spectra.missing, **numbers.missing},
    )


def _complete(
    recipe: Recipe, matched: Matched, smoothness: float, settings: FitSettings | None
) -> Recipe:
    """Write into the recipe what was chosen on the way, so that it runs the same from anywhere."""
    unlisted = settings.unlisted if settings else ()
    complete = recipe.model_copy(
        update={
            "elements": matched.elements,
            "support": (*recipe.support, *unlisted),
            "decompose": recipe.decompose.model_copy(
                update={"components": matched.factors.spectra.shape[0]}
            ),
            "segment": recipe.segment.model_copy(update={"smoothness": smoothness}),
            "figures": recipe.figures.model_copy(
                update={"trace_lines": trace_lines(recipe, matched.elements)}
            ),
        }
    )
    return Recipe.model_validate(with_absolute_paths(complete.model_dump(mode="json")))


def _truth(
    phantom: Phantom, regions: Regions, pure: Mapping[str, Spectrum], unmixed: Unmixed | None
) -> Truth:
    overlap, angles, unmixed_angles, fractions = {}, {}, {}, {}
    for i, name in enumerate(phantom.names):
        fractions[name] = dict(phantom.weight_fractions[i])
        if name in pure:
            angles[name] = _angle(phantom, i, pure[name])
        if unmixed is not None and name in unmixed.spectra:
            unmixed_angles[name] = _angle(phantom, i, unmixed.spectra[name])
        if name in regions.names:
            found = regions.mask(name).mask
            truly = phantom.mask(name, at_least=TRUE_SHARE)
            union = (found | truly).sum()
            overlap[name] = float((found & truly).sum() / union) if union else 1.0
    return Truth(overlap, TRUE_SHARE, angles, fractions, unmixed_angles)


def _angle(phantom: Phantom, phase: int, spectrum: Spectrum) -> float:
    """Angle to the true spectrum of a phase on the same channels, degrees."""
    axis = spectrum.axis
    first = round((axis.offset - phantom.spectrum_image.axis.offset) / axis.scale)
    return spectral_angle(spectrum.values, phantom.spectra[phase][first : first + axis.size])


__all__ = ["STEPS", "Workflow"]


@dataclass(frozen=True, eq=False)
class _Done:
    """The result of a step, the key it was made under, what it warned of and could not make."""

    key: str
    result: Any
    warnings: tuple[str, ...]
    doubts: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)


class Workflow:
    """The steps of a run, done one by one and again only when needed.

    The steps are those of `STEPS`: load, prepare, decompose, match, features, segment,
    regions, spectra, unmix, composition. Each has a key, a hash of all that it depends on: the
    fields of the recipe that matter to it, the contents of files, and the keys of the
    steps before it. A result counts as long as its key is that of the present recipe, so
    that a change of the smoothness leaves the decomposition alone.

    `run` may work in one thread while others ask and change: a run goes on with the recipe
    that it began with.

    Parameters
    ----------
    recipe : Recipe, mapping or path-like
        A recipe, its plain data, or its file.
    checkpoints : path-like, optional
        A folder where the slow steps (decompose, unmix) leave their results, as arrays and
        JSON, and from which they are taken when their keys fit.
    spectrum_image : SpectrumImage, optional
        Takes the place of the input that the recipe names.
    n_jobs : int
        Processes for independent parts of a step, on Linux. Leave it at 1 in a program whose other
        threads work at the same time: copies of a process have none of them.
    ahead : SideProcesses, optional
        What reads the input already, from `siftem.pipeline.input_file.reading_ahead`.

    Examples
    --------
    >>> from siftem.pipeline.starting_recipe import demo_recipe
    >>> workflow = siftem.Workflow(demo_recipe(shape=(32, 32)))
    >>> regions = workflow.run("regions").regions
    >>> workflow.change(segment={"margin": 2})
    ('regions', 'spectra', 'unmix', 'composition')
    >>> workflow.done("decompose"), workflow.get("regions") is None
    (True, True)
    >>> workflow.set_recipe(workflow.recipe)  # nothing is changed by that
    ()
    >>> workflow.key("load") == workflow.keys()["load"], workflow.warnings("load")
    (True, ())
    >>> choice = workflow.choose_components(range(1, 5))  # doctest: +SKIP
    >>> smoothness = workflow.choose_smoothness().smoothness  # doctest: +SKIP
    >>> workflow.result().compositions["Fp"]  # doctest: +SKIP
    >>> result, keys = workflow.outcome()  # doctest: +SKIP
    """

    def __init__(
        self,
        recipe: Recipe | Mapping[str, Any] | str | Path,
        *,
        checkpoints: str | Path | None = None,
        spectrum_image: SpectrumImage | None = None,
        n_jobs: int = 1,
        ahead: SideProcesses[SpectrumImage | Phantom] | None = None,
    ) -> None:
        self._recipe = as_recipe(recipe)
        self._given = spectrum_image
        self._checkpoints = None if checkpoints is None else Path(checkpoints)
        self._n_jobs, self._ahead = n_jobs, ahead
        self._results: dict[str, _Done] = {}
        self._choices: dict[tuple[Any, ...], RankChoice] = {}
        self._smoothness: dict[tuple[str, str], SmoothnessChoice] = {}
        self._working = threading.Lock()

    @property
    def recipe(self) -> Recipe:
        """The present recipe."""
        return self._recipe

    def set_recipe(self, recipe: Recipe) -> tuple[str, ...]:
        """Replace the recipe; return the steps whose results no longer count.

        Steps that had no result are named, too, when a step before them changed.
        """
        before = present_keys(self._recipe, self._given)
        self._recipe = recipe
        after = present_keys(recipe, self._given)
        return tuple(step for step in STEPS if after.get(step) != before.get(step))

    def change(self, **sections: Any) -> tuple[str, ...]:
        """Change entries of the recipe; return the steps whose results no longer count.

        Parameters
        ----------
        **sections
            Top-level keys of the recipe. A mapping is laid over the section, key by key;
            ``phases`` is laid over phase by phase. Anything else replaces the entry.

        Raises
        ------
        RecipeError
            When the result contradicts itself; the recipe then stays as it was.
        """
        return self.set_recipe(merged_recipe(self._recipe, sections))

    def key(self, step: str) -> str:
        """Return the hash of all that a step depends on under the present recipe.

        Raises
        ------
        InputError
            When there is no such step.
        ReadError
            When a file that the recipe names is not there.
        """
        return step_key(_checked(step), self._recipe, self._given)

    def done(self, step: str) -> bool:
        """Whether the result of a step is there and up to date."""
        return self._up_to_date(step) is not None

    def get(self, step: str) -> Any:
        """Return the result of a step, or None when it is not up to date.

        A step may also be done with nothing to show: ``unmix``, when it is left out.
        """
        found = self._up_to_date(step)
        return None if found is None else found.result

    def warnings(self, step: str | None = None) -> tuple[str, ...]:
        """Return what a step that is done warned of, or all of them in their order."""
        steps = STEPS if step is None else (_checked(step),)
        found = [self._up_to_date(s) for s in steps]
        texts = [t for f in found if f is not None for t in f.warnings]
        return tuple(dict.fromkeys(texts))

    @shows_progress
    def run(self, until: str = "composition", *, progress: Progress = silent) -> Any:
        """Do what is missing up to a step, and return its result.

        Parameters
        ----------
        until : str
            One of `STEPS`.
        progress : Progress
            Called with the name of each step. Raise from it to stop (`Cancelled`): the
            steps that are done by then stay done.

        Returns
        -------
        The result of the step, as listed in `siftem.pipeline.results`.

        Raises
        ------
        SiftemError
            In one sentence, when the counts or the components can't be had, or the recipe
            contradicts itself. Another step that fails is warned of, and empty.
        """
        return self._done(until, progress)[1][until].result

    @shows_progress
    def result(self, *, progress: Progress = silent) -> RunResult:
        """Do what is missing, and return all results: what report and figures are made of."""
        return self.outcome(progress=progress)[0]

    @shows_progress
    def outcome(self, *, progress: Progress = silent) -> tuple[RunResult, dict[str, str]]:
        """Do what is missing; return all results, and the keys under which they were made.

        The keys are those of `siftem.pipeline.step_keys.step_keys`.
        """
        recipe, done = self._done(STEPS[-1], progress)
        notes = [t for step in STEPS for t in done[step].warnings]
        results = {step: done[step].result for step in STEPS}
        counted = results["prepare"].spectrum_image
        notes = [*counted.notes, *notes]
        found = run_result(recipe, results, tuple(dict.fromkeys(notes)))
        steps = {part: why for step in STEPS for part, why in done[step].missing.items()}
        said = [*counted.doubts, *(t for step in STEPS for t in done[step].doubts)]
        doubts = dict.fromkeys(said)
        found = replace(found, missing={**steps, **found.missing}, doubts=tuple(doubts))
        return found, step_keys(recipe, self._given)

    def keys(self) -> dict[str, str]:
        """Return the keys of all steps under the present recipe, and of the "export"."""
        return step_keys(self._recipe, self._given)

    @shows_progress
    def choose_components(
        self, candidates: Iterable[int] | None = None, *, progress: Progress = silent
    ) -> RankChoice:
        """Return the held-out deviance over the number of components, and what it suggests.

        Parameters
        ----------
        candidates : iterable of int, optional
            1 to 7 by default, but no fewer than there are phases.
        progress : Progress
        """
        wanted = None if candidates is None else tuple(candidates)
        recipe = self._recipe
        done = self._done("prepare", progress)[1]["prepare"]
        known = (done.key, wanted, len(recipe.phases), recipe.decompose.random_state)
        if known not in self._choices:
            si = done.result.spectrum_image
            with recorded_warnings():  # the choice says itself how sure it is
                found = component_choice(recipe, si, wanted, progress=progress)
            self._choices = {known: found}
        return self._choices[known]

    @shows_progress
    def choose_smoothness(self, *, progress: Progress = silent) -> SmoothnessChoice:
        """Return the held-out likelihood over the smoothness, and what it suggests.

        It takes two decompositions and classifications, one of each half of the counts.
        """
        recipe, done = self._done("segment", progress)
        known = ("smoothness", done["segment"].key)
        if known not in self._smoothness:
            k = done["match"].result.factors.spectra.shape[0]
            si = done["prepare"].result.spectrum_image
            with recorded_warnings():  # the choice says itself how sure it is
                found = smoothness_choice(recipe, si, k, progress=progress)
            self._smoothness = {known: found}
        return self._smoothness[known]

    def _done(self, until: str, progress: Progress) -> tuple[Recipe, dict[str, _Done]]:
        """Do what is missing; return the recipe and all steps up to one, as they are under it."""
        last = STEPS.index(_checked(until))
        with self._working:
            recipe = self._recipe
            done: dict[str, _Done] = {}
            # What is there is hashed at once; a file that is missing is told at its step.
            keys = present_keys(recipe, self._given)
            for step in ROAD[: last + 1]:
                name = step.name
                key = keys.get(name) or step_key(name, recipe, self._given)
                found = self._results.get(name)
                if found is None or found.key != key:
                    progress(name, 0.0)
                    results = {parent: done[parent].result for parent in step.parents}
                    found = self._made(step, key, recipe, results, progress)
                    self._results[name] = found
                    progress(name, 1.0)
                done[name] = found
            return recipe, done

    @one_blas_thread()
    def _made(
        self, step: Step, key: str, recipe: Recipe, results: dict[str, Any], progress: Progress
    ) -> _Done:
        kept = self._checkpoints if step.kept else None
        if kept is not None:
            known = read_checkpoint(kept, step.name, key)
            if known is not None:
                return _Done(key, *known)
        by = Circumstances(progress, kept, self._given, self._n_jobs, self._ahead)
        missing: dict[str, str] = {}
        with recorded_warnings() as notes:
            if step.instead is None:
                result = step.run(recipe, results, by)
            elif any(results[name] is None for name in step.needs):
                result = step.instead(recipe, results)
            else:
                result = attempted(
                    step.gives, lambda: step.run(recipe, results, by), None, missing=missing
                )
                if missing:
                    result = step.instead(recipe, results)
        if kept is not None and not missing:
            self._keep(step.name, key, result, notes)
        return _Done(key, result, tuple(notes), tuple(notes.doubts), missing)

    def _keep(self, step: str, key: str, result: Any, notes: WarningRecord) -> None:
        assert self._checkpoints is not None
        write_checkpoint(self._checkpoints, step, key, result, tuple(notes), tuple(notes.doubts))

    def _up_to_date(self, step: str) -> _Done | None:
        found = self._results.get(_checked(step))
        key = present_keys(self._recipe, self._given).get(step)
        return found if found is not None and found.key == key else None


def _checked(step: str) -> str:
    if step not in STEPS:
        raise InputError(f"there is no step {step!r}; the steps are {', '.join(STEPS)}")
    return step


@shows_progress
def run(
    recipe: Recipe | Mapping[str, Any] | str | Path, *, progress: Progress = silent
) -> RunResult:
    """Run a recipe: read, decompose, match, segment, integrate, subtract, unmix, quantify.

    `siftem.pipeline.workflow.Workflow` does the same step by step.

    Parameters
    ----------
    recipe : Recipe, mapping or path-like
        A recipe, its plain data, or its file.
    progress : Progress
        Called with the name of each step; raise from it to stop.

    Returns
    -------
    RunResult
        With all warnings; nothing is written to disk.

    Raises
    ------
    SiftemError
        In one sentence, when a step cannot be done.

    Examples
    --------
    >>> result = siftem.run("recipe.yaml")  # doctest: +SKIP
    >>> siftem.write_results(result, "out")  # doctest: +SKIP
    """
    return Workflow(recipe).result(progress=progress)
