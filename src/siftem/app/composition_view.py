"""Composition: elements of each phase with their errors."""

from __future__ import annotations

import html

import panel as pn

from siftem.app.copied_table import table_html
from siftem.app.map_images import takes_background
from siftem.app.quantify_form import QuantifyForm
from siftem.app.reliability import (
    grave_notes,
    interval_table,
    marked,
    other_notes,
    reliability_table,
)
from siftem.app.step_view import StepPage, View
from siftem.app.style import CONTROL_CSS, CONTROLS, RESIZED
from siftem.pipeline.results import RunResult
from siftem.report.composition_tables import (
    composition_table,
    overview_table,
    partition_tables,
    quantified_phases,
    ratio_table,
)
from siftem.report.phase_names import calibration_tables, names_table, structure_table

_OVERVIEW = "All phases"
_MINERALS = "Minerals"
_COUNTING, _INTERVALS = "± counting", "95% intervals, all errors"


class CompositionView(View):
    """Tables of compositions."""

    name = "Composition"

    def __init__(self, page: StepPage) -> None:
        super().__init__(page)
        self._result: RunResult | None = None
        self._key = ""
        self._of: object = None
        self.form = QuantifyForm()
        self.film = pn.Column(self.text("<h2>The film</h2>"), self.form.film)
        self.shown = pn.widgets.RadioButtonGroup(
            name="Table", options=[_OVERVIEW], value=_OVERVIEW, stylesheets=[CONTROL_CSS]
        )
        self.errors = pn.widgets.RadioButtonGroup(
            name="Errors",
            options=[_COUNTING, _INTERVALS],
            value=_COUNTING,
            stylesheets=[CONTROL_CSS],
        )
        self.tables = self.text("", width=800, sizing_mode=RESIZED)
        self.controls[:] = [
            self.film,
            self.form.known,
            self.button("Quantify", self.quantify, kind="success", width=CONTROLS - 40),
            self.text(
                "<p class='hint'>± is one standard deviation from counting and from the scale of "
                "the subtraction; (±) comes from k-factors and attenuation, the same for all "
                "phases.</p>",
                width=CONTROLS - 30,
            ),
        ]
        for widget in (self.shown, self.errors):
            widget.param.watch(lambda _e: page.attempt(self._draw), "value")

    def quantify(self) -> None:
        """Do all that is missing up to the compositions, in a job."""
        workflow = self.session.workflow
        self.session.result("match")
        workflow.change(**self.form.choice(self.session.recipe))
        self.jobs.start("Quantify", lambda progress: workflow.result(progress=progress), self._keep)

    def leave(self) -> None:
        """Take what was typed, also when nothing is quantified yet."""
        if self.session.is_open and self._of is self.session.recipe and self.form.edited:
            self.session.workflow.change(**self.form.choice(self.session.recipe))

    def _keep(self, result: RunResult) -> None:
        self._result, self._key = result, self._present_key()
        self.refresh()

    def refresh(self) -> None:
        """Show the tables, if they are up to date."""
        stale = self._result is None or (self.session.is_open and self._key != self._present_key())
        if stale and self.session.is_open and self.session.workflow.done("composition"):
            # All is there, such as after a reload: only to be put together.
            self.jobs.latest(lambda _progress: self.session.workflow.result(), self._keep)
        matched = self.session.workflow.get("match") if self.session.is_open else None
        if matched is not None:
            recipe, si = self.session.recipe, self.session.spectrum_image
            self.film.visible = takes_background(si) and not si.acquisition.bulk
            self.form.known.visible = takes_background(si)
            if recipe is not self._of:
                self._of = recipe
                self.form.show(recipe)
        self._draw()

    def _present_key(self) -> str:
        return str(self.session.workflow.keys()["export"])

    def _draw(self) -> None:
        result = self._result
        if result is None or not self.session.is_open or self._key != self._present_key():
            self.content[:] = [
                self.text("<p>Press Quantify: what is missing is done first.</p>", margin=(30, 20))
            ]
            return
        phases = quantified_phases(result)
        self.shown.options = [_OVERVIEW, *phases, _MINERALS]
        self.errors.visible = self.shown.value == _OVERVIEW
        width, height = self.room.content, self.room.height
        self.tables.param.update(object=self._tables(result, phases), width=width - 30)
        self.content[:] = [
            pn.Row(self.shown, self.errors),
            pn.Column(self.tables, height=height - 46, width=width - 6, scroll="y"),
        ]

    def _tables(self, result: RunResult, phases: tuple[str, ...]) -> str:
        """Return the chosen tables, with what they rest on, as HTML."""
        if not phases:
            why = "the reasons are below" if result.warnings else "name the elements in Data"
            notes = "".join(f"<p>{html.escape(w)}.</p>" for w in result.warnings)
            return f"<p>No composition was found: {why}.</p>{notes}"
        chosen = self.shown.value
        of = (chosen,) if chosen in phases else phases
        parts = [f"<h2>{html.escape(chosen)}</h2>"] if chosen in phases else []
        parts.append(table_html(reliability_table(result, of)))
        parts += [f"<p class='error-line'>{html.escape(w)}.</p>" for w in grave_notes(result, of)]
        if chosen in phases:
            parts.append(table_html(composition_table(result, chosen)))
            parts.append(table_html(interval_table(result, of)))
        elif chosen == _MINERALS:
            tables = [names_table(result), structure_table(result), *calibration_tables(result)]
            parts += [table_html(table) for table in tables if table is not None]
        else:
            overview = overview_table(result, phases, "Composition of the phases")
            if self.errors.value == _INTERVALS:
                overview = interval_table(result, phases)
            parts.append(table_html(marked(overview, result)))
            ratios = ratio_table(result)
            if ratios is not None:
                parts.append(table_html(marked(ratios, result)))
            parts += [table_html(table) for table in partition_tables(result)]
        parts += [f"<p class='note'>{html.escape(w)}.</p>" for w in other_notes(result, of)]
        return "".join(parts)
