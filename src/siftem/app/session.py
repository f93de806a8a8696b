"""What one user has: a recipe, painted traces, and the results of the steps, kept on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from siftem.app.component_names import (
    component_numbers,
    found_again,
    named_components,
    outstanding_elements,
)
from siftem.app.map_images import element_lines
from siftem.app.painting import PaintedTraces, Points
from siftem.app.saved_sessions import Keeper, SavedSession, SavedSessions, session_state
from siftem.eels.edges import Edge
from siftem.errors import Cancelled, InputError, SiftemError
from siftem.figures.style import phase_colours
from siftem.pipeline.changes import recipe_for
from siftem.pipeline.layout import PhaseMap, by_labels, describe_layout, phase_map
from siftem.pipeline.parts import WarningRecord
from siftem.pipeline.recipe import EACH_MAP, Recipe, make_recipe
from siftem.pipeline.results import Matched
from siftem.pipeline.starting_recipe import demo_recipe
from siftem.pipeline.workflow import Workflow
from siftem.progress import Progress, silent
from siftem.spectrum_image import SpectrumImage


class KeptWorkflow(Workflow):
    """Tells of each change, and goes on when a checkpoint cannot be written.

    Parameters
    ----------
    recipe : Recipe
    checkpoints : Path
        Made when there is a result to keep.
    changed : callable
        Called after each change of the recipe.
    failed : callable
        Called with a sentence when a result cannot be kept.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        checkpoints: Path,
        changed: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        parent: Path = checkpoints.parent
        try:
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            refused = "" if os.access(parent, os.W_OK) else f"{parent} cannot be written"
        except OSError as error:
            refused = error.strerror or str(error)
        if refused:
            failed(f"Your work is not kept for later: {refused}.")
        super().__init__(recipe, checkpoints=None if refused else checkpoints)
        self._changed, self._failed = changed, failed

    def keep_in(self, folder: Path) -> None:
        """Keep results in another folder from now on."""
        self._checkpoints = folder

    def set_recipe(self, recipe: Recipe) -> tuple[str, ...]:
        """Replace the recipe, and tell of it."""
        steps = super().set_recipe(recipe)
        self._changed()
        return steps

    def _keep(self, step: str, key: str, result: Any, notes: WarningRecord) -> None:
        try:
            super()._keep(step, key, result, notes)
        except SiftemError as error:
            self._failed(f"The result is not kept for later: {error}.")


#: Spectra of a phase before and after another decomposition have at least this cosine.
_ALIKE = 0.95
_DO_FIRST = {
    "decompose": "there are no components yet: decompose the map first",
    "match": "there are no components yet: decompose the map first",
    "segment": "the classifier is not trained: train it first",
    "regions": "there are no regions yet: train the classifier first",
    "spectra": "nothing is subtracted yet: subtract the matrix first",
    "composition": "nothing is quantified yet: quantify first",
}


class Session:
    """The state of one user: nothing of it is shared with another.

    Long methods take a progress callback and may run in a thread; the others are quick.

    Parameters
    ----------
    sessions : SavedSessions, optional
        Where it is kept, so that nothing is lost; nowhere by default.
    """

    def __init__(self, sessions: SavedSessions | None = None) -> None:
        self.sessions = sessions
        #: Told, in a thread, what could not be kept on disk.
        self.on_trouble: Callable[[str], None] = lambda _said: None
        #: The step of the page that is in front, which is kept with the rest.
        self.shown = 0
        self._keeper: Keeper | None = None
        self._touched = False
        self._workflow: Workflow | None = None
        #: The map, where it did not come from what the recipe names.
        self.given: SpectrumImage | None = None
        self.traces = PaintedTraces((1, 1))
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether there is a map."""
        return self._workflow is not None

    @property
    def workflow(self) -> Workflow:
        """The steps and their results.

        Raises
        ------
        InputError
            When no map is open.
        """
        if self._workflow is None:
            raise InputError("no map is open: open a file or the demo first")
        return self._workflow

    @property
    def recipe(self) -> Recipe:
        """The present recipe."""
        return self.workflow.recipe

    @property
    def spectrum_image(self) -> SpectrumImage:
        """The map as it is decomposed."""
        si: SpectrumImage = self.result("prepare").spectrum_image
        return si

    def result(self, step: str) -> Any:
        """Return the result of a step that is done, without waiting for a running job.

        Raises
        ------
        InputError
            When it is not done, or no longer up to date.
        """
        found = self.workflow.get(step)
        if found is None:
            raise InputError(_DO_FIRST.get(step, f"the step {step} has to be done first"))
        return found

    def open(
        self, source: str | Path | Recipe | SpectrumImage, *, progress: Progress = silent
    ) -> None:
        """Open a map or a recipe; when that fails, all stays as it was.

        Parameters
        ----------
        source : path-like, Recipe or SpectrumImage
            A file is a recipe when it ends in .yaml, else a map.
        progress : Progress
        """
        if isinstance(source, SpectrumImage):
            recipe = make_recipe({"input": {"file": EACH_MAP}})
            workflow, keeper = Workflow(recipe, spectrum_image=source), None
        elif isinstance(source, Recipe):
            workflow, keeper = self._kept(source)
        else:
            if not str(source).strip():
                raise InputError("name a file: the path of a map or of a recipe")
            workflow, keeper = self._kept(recipe_for(Path(source).expanduser().absolute()))
        workflow.run("prepare", progress=progress)
        self._put(workflow, keeper)
        self.given = source if isinstance(source, SpectrumImage) else None

    def go_on(self, saved: SavedSession, *, progress: Progress = silent) -> None:
        """Go on with a session that was kept; when that fails, all stays as it was.

        Slow results are read from the disk, quick ones made again.
        """
        workflow, keeper = self._kept(saved.recipe, saved.folder)
        workflow.run("prepare", progress=progress)
        workflow.run(saved.until, progress=progress)
        self._put(workflow, keeper)
        self.given, self.shown, self._touched = None, saved.shown, True
        if keeper is not None:
            keeper.take()
            keeper.changed()

    def keep(self) -> None:
        """Keep the present state on disk, soon."""
        if self._keeper is not None:
            self._keeper.changed()

    def close(self) -> None:
        """Let go of the map and of all results; what is being opened will not be kept."""
        self._closed = True
        if self._keeper is not None:
            self._keeper.close()
        self._workflow = self.given = self._keeper = None
        self.traces = PaintedTraces((1, 1))

    def _kept(self, recipe: Recipe, folder: Path | None = None) -> tuple[Workflow, Keeper | None]:
        """Make a workflow and what keeps it on disk, where sessions are kept."""
        if self.sessions is None:
            return Workflow(recipe), None
        keeper: Keeper
        folder = folder or self.sessions.new_folder()

        def changed() -> None:
            self._touched = True
            keeper.changed()

        told = self._trouble
        workflow = KeptWorkflow(recipe, checkpoints=folder, changed=changed, failed=told)
        keeper = Keeper(self.sessions, folder, self._state, told, workflow.keep_in)
        return workflow, keeper

    def _trouble(self, said: str) -> None:
        self.on_trouble(said)

    def _put(self, workflow: Workflow, keeper: Keeper | None) -> None:
        """Put a map in place of the one before, of which all is written."""
        si = workflow.get("prepare").spectrum_image
        recipe = workflow.recipe
        traces = PaintedTraces(si.shape, recipe.segment.traces, tuple(recipe.phases))
        if self._closed:
            raise Cancelled
        if self._keeper is not None:
            self._keeper.close()
        self._workflow, self._keeper, self.traces = workflow, keeper, traces
        self._touched, self.shown = False, 0

    def _state(self) -> dict[str, Any] | None:
        """Return what is kept; None as long as the map was only looked at."""
        workflow = self._workflow if self._touched else None
        return None if workflow is None else session_state(workflow, self.shown)

    def open_demo(
        self,
        *,
        size: int = 128,
        dose: float = 300.0,
        random_state: int = 0,
        progress: Progress = silent,
    ) -> None:
        """Simulate the model case; see `siftem.pipeline.starting_recipe.demo_recipe`."""
        made = demo_recipe(shape=(size, size), dose=dose, random_state=random_state)
        self.open(made, progress=progress)

    def set_elements(self, elements: Sequence[str], support: Sequence[str]) -> None:
        """Say which elements to quantify, and which come from the grid or the preparation."""
        self.workflow.change(elements=list(elements), support=list(support))

    def set_edges(self, names: Sequence[str]) -> None:
        """Say which edges of energy losses to compare; those that stay keep their windows."""
        known = {e.edge: e for e in self.recipe.quantify.edges}
        self.workflow.change(quantify={"edges": [known.get(n, n) for n in names]})

    def edges(self) -> tuple[Edge, ...]:
        """Return the edges that are compared; none of a map of X-rays."""
        if self.spectrum_image.signal_type.startswith("EDS"):
            return ()
        return tuple(choice.made() for choice in self.recipe.quantify.edges)

    def decompose(
        self, n_components: int | str, *, layout: str | None = None, progress: Progress = silent
    ) -> str:
        """Decompose into a number of components; phases that no longer fit are forgotten.

        Parameters
        ----------
        n_components : int or "auto"
            "auto": as many as the counts tell.
        layout : str, optional
            As in the recipe, which keeps its own when nothing is said.
        progress : Progress

        Returns
        -------
        str
            What became of the phases, empty when there is nothing to say.
        """
        recipe, traces, before = self.recipe, self.traces, self.workflow.get("match")
        try:
            return self._decompose(n_components, layout or recipe.layout, before, progress)
        except BaseException:
            # Cancelled or failed: what was there before counts again.
            self.workflow.set_recipe(recipe)
            self.traces = traces
            raise

    def _decompose(
        self, n_components: int | str, layout: str, before: Matched | None, progress: Progress
    ) -> str:
        recipe = self.recipe
        data = recipe.model_dump(mode="json", exclude_none=True)
        data["decompose"]["components"] = n_components
        data["layout"] = layout
        phases, number = recipe.phases, 1 if layout == "single" else n_components
        marked = bool(phases) and all(p.high or p.absent for p in phases.values())
        enough = isinstance(number, int) and number >= len(phases)
        kept = recipe.n_components == number or (marked and enough)
        if not kept:
            data.pop("matrix", None)
            data["phases"] = {}
            data["segment"].pop("traces", None)
            data["segment"].pop("classifier", None)
            data["quantify"].pop("partition", None)
            self.traces = PaintedTraces(self.spectrum_image.shape)
        self.workflow.set_recipe(make_recipe(data))
        said = ""
        if kept and before is not None and any(p.component for p in phases.values()):
            found = self.workflow.run("decompose", progress=progress).factors
            again, cosine = found_again(self.recipe, before.factors, found)
            self.workflow.set_recipe(again)
            if cosine < _ALIKE:
                said = "A component looks unlike the one that had its name: check the names."
        self.workflow.run("match", progress=progress)
        if not self.recipe.phases:
            factors = self.result("decompose").factors
            matrix = factors.names[factors.matrix or 0]
            self.name_components(factors.names, matrix)
        return said

    def set_lies(self, lies: Mapping[str, str | None]) -> None:
        """Say of phases whether they are pure or embedded in the matrix; None is as found."""
        self.workflow.change(phases={name: {"lies": said} for name, said in lies.items()})
        self._match()

    def layout_sentence(self) -> str:
        """Say how the phases lie, as found and corrected."""
        found: Matched = self.result("match")
        names = found.factors.names
        return describe_layout(found.layout, self.recipe, names, found.matrix)

    def phase_map(self) -> PhaseMap | None:
        """Return one label a pixel; None before there are regions, where those make it."""
        found: Matched = self.result("match")
        cut = self.workflow.get("regions")
        if cut is not None:
            return phase_map(found.layout, cut.regions, found.factors.names)
        if found.layout is not None and by_labels(found.layout):
            return PhaseMap(found.factors.names, found.layout.labels)
        return None

    def component_hints(self) -> tuple[str, ...]:
        """Return the elements that stand out in each matched component, as text."""
        matched: Matched = self.result("match")
        elements = [e for e in matched.elements if self.lines(e)]
        taken = self.spectrum_image.acquisition
        return outstanding_elements(matched.factors, elements, taken.beam, taken.fwhm)

    def name_components(self, names: Sequence[str], matrix: str) -> None:
        """Name the matched components, in their order, and say which is the matrix.

        What the recipe says of a phase, its traces too, goes with its component.

        Raises
        ------
        InputError
            When a name is empty or given twice, or the matrix is none of them.
        """
        recipe = self.recipe
        matched = self.result("match")
        old = matched.factors.names
        new = tuple(" ".join(n.split()) for n in names)
        if new == old and matrix == matched.matrix and set(recipe.phases) == set(old):
            return
        numbers = component_numbers(self.result("decompose").factors, matched.factors)
        changed = named_components(recipe, old, new, matrix, numbers)
        # By these numbers the phases are known in this decomposition, which must stay.
        changed = changed.model_copy(update={"layout": recipe.known_layout})
        traces = self.traces.renamed(dict(zip(old, new, strict=True)))
        self.workflow.set_recipe(changed)
        self.traces = traces
        self._match()

    def _match(self) -> None:
        """Match components by a recipe that has changed, which was kept as not yet matched."""
        self.workflow.run("match")
        self.keep()

    def colours(self) -> dict[str, str]:
        """Return the colour of each matched component, the same as in the figures."""
        matched = self.workflow.get("match")
        return {} if matched is None else phase_colours(matched.factors.names)

    def paint(self, phase: str, points: Points, width: float) -> None:
        """Add a stroke and put it into the recipe; see `PaintedTraces.paint`."""
        self.traces.paint(self._known(phase), points, width)
        self._traces_to_recipe()

    def fill(self, phase: str, points: Points) -> None:
        """Paint what a closed line encloses; see `PaintedTraces.fill`."""
        self.traces.fill(self._known(phase), points)
        self._traces_to_recipe()

    def _known(self, phase: str) -> str:
        if phase not in self.recipe.phases:
            raise InputError(f"there is no phase {phase!r} to paint: name the components first")
        return phase

    def not_painted(self) -> list[str]:
        """Return the grains that traces must hold, and do not."""
        return [g for g in self.result("match").grains if g not in self.traces.shapes]

    def erase(self, points: Points, width: float) -> None:
        """Take pixels from all traces."""
        self.traces.erase(points, width)
        self._traces_to_recipe()

    def undo(self) -> bool:
        """Take back the last change of the traces; return whether there was one."""
        undone = self.traces.undo()
        self._traces_to_recipe()
        return undone

    def redo(self) -> bool:
        """Do again what was taken back; return whether there was something."""
        done = self.traces.redo()
        self._traces_to_recipe()
        return done

    def clear_traces(self) -> None:
        """Remove all traces: the most certain pixels train the classifier then."""
        self.traces.clear()
        self._traces_to_recipe()

    def _traces_to_recipe(self) -> None:
        self.workflow.change(segment={"traces": self.traces.for_recipe(), "classifier": None})

    def set_smoothness(self, smoothness: float, margin: int) -> None:
        """Set the smoothness of the cut and the margin of the regions."""
        self.workflow.change(segment={"smoothness": smoothness, "margin": margin})

    def set_anchor(self, grain: str, anchor: Mapping[str, Any]) -> None:
        """Say what fixes how much matrix the mixture of a grain holds; {} is nothing."""
        done = [step for step in ("match", "regions") if self.workflow.done(step)]
        self.workflow.change(phases={grain: {"anchor": [dict(anchor)] if anchor else []}})
        # Whether a phase has an anchor is asked where the phases lie: what was seen stays.
        for step in done:
            self.workflow.run(step)
        self.keep()

    @property
    def pixel_size(self) -> tuple[float, float] | None:
        """Height and width of a pixel in nm, None when they are not known."""
        return self.spectrum_image.pixel_size

    def lines(self, element: str, *, min_weight: float = 0.05) -> tuple[Any, ...]:
        """Return the lines of an element on the axis of the map, strongest first."""
        return element_lines(self.spectrum_image, element, min_weight=min_weight)

    def elements(self) -> tuple[str, ...]:
        """Return the elements that are quantified, then those of the support.

        Those of the recipe, else of the file, to which the components add what they show.
        """
        matched = self.workflow.get("match")
        found = self.spectrum_image.acquisition.elements if matched is None else matched.elements
        listed = self.recipe.elements or found
        return tuple(dict.fromkeys((*listed, *self.recipe.support)))
