"""The step Composition: fields of the quantification, and tables of each phase with its errors.

The fields hold film, oxygen, formulas, ratios and k-factors; the tables are those of the report,
each with a button that copies it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import panel as pn

from siftem.app.jobs import without_options
from siftem.app.map_images import COMPONENT, takes_background
from siftem.app.map_step import PHASES, REGIONS, MapStep
from siftem.app.reliability import (
    grave_notes,
    interval_table,
    marked,
    other_notes,
    reliability_table,
)
from siftem.app.spectrum_figure import Curve
from siftem.app.step_view import StepPage, put_text
from siftem.app.style import CONTROL_CSS, FIELD, INK, WIDE, paragraph
from siftem.errors import InputError
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.results import RunResult
from siftem.quantification.line_ratios import LineRatios
from siftem.report.composition_tables import (
    composition_table,
    overview_table,
    partition_tables,
    quantified_phases,
    ratio_table,
    ratios_by_phase,
)
from siftem.report.html import table_html as plain_table
from siftem.report.phase_names import calibration_tables, names_table, structure_table
from siftem.report.table import Table

_OXYGEN = {"From its line": "measured", "From the valences": "stoichiometry"}
_OF = {"The alpha line": "alpha", "The whole family": "family"}
#: "Ba La 2.31 ± 4%": a line or an element, its factor, and maybe its relative error.
_FACTOR = re.compile(
    r"(?P<line>[A-Z][a-z]?(?: +[KLM][a-z]?)?) *[ =:] *(?P<k>[0-9]*\.?[0-9]+)"
    r"(?: *(?:±|\+-|\+/-) *(?P<error>[0-9.]+) *%)?"
)


class QuantifyForm:
    """Fields for what a quantification takes for known; those of each phase, too."""

    def __init__(self) -> None:
        self.thickness = pn.widgets.FloatInput(
            name="Thickness, nm (empty: not known)", value=None, start=0.0, **FIELD
        )
        self.densities: dict[str, Any] = {}
        self.oxygens: dict[str, Any] = {}
        self._of_phases = pn.Column()
        self.film = pn.Column(self.thickness, self._of_phases)
        self.oxygen = pn.widgets.Select(name="Oxygen", options=_OXYGEN, **FIELD)
        self._of_formulas = pn.Column()
        self.ratios = pn.widgets.TextInput(
            name="Ratios of atoms to tell", placeholder="(Mg+Fe)/Si; Ca/Si", **FIELD
        )
        self.factors = pn.widgets.TextAreaInput(
            name="k-factors, by line or element",
            placeholder="Fe 1.21 ± 3%; Ba La 2.31",
            rows=3,
            resizable=False,
            **FIELD,
        )
        self.factors_of = pn.widgets.Select(name="They are of", options=_OF, **FIELD)
        self.reference = pn.widgets.TextInput(name="Relative to", placeholder="Si", **FIELD)
        self.known = pn.Card(
            self.oxygen,
            self._of_formulas,
            self.ratios,
            self.factors,
            pn.Row(self.factors_of, self.reference),
            title="Formulas, ratios, k-factors",
            collapsed=True,
            **WIDE,
            margin=(4, 8),
        )
        #: k-factors as the fields had them at first; all that they said, and of which recipe.
        self._shown: dict[str, Any] = {}
        self._known: tuple[dict[str, Any], Recipe]

    def show(self, recipe: Recipe) -> None:
        """Show what the recipe says; what the fields cannot tell is kept until they are edited."""
        quantify, factors = recipe.quantify, recipe.quantify.k_factors
        thickness = quantify.thickness
        self.thickness.value = None if isinstance(thickness, tuple) else thickness
        self.densities, self.oxygens = {}, {}
        for name, phase in recipe.phases.items():
            self.densities[name] = pn.widgets.FloatInput(
                name=f"Density of {name}, g/cm³", value=phase.density, start=0.01, **FIELD
            )
            self.oxygens[name] = pn.widgets.FloatInput(
                name=f"Oxygens in a formula of {name}", value=phase.oxygens, start=0.5, **FIELD
            )
        self._of_phases[:] = list(self.densities.values())
        self._of_formulas[:] = list(self.oxygens.values())
        self.oxygen.value = quantify.oxygen
        put_text(self.ratios, "; ".join(quantify.ratios))
        values = (factors.values if factors else None) or {}
        errors = factors.relative_sigma if factors else {}
        put_text(self.factors, "; ".join(_written(n, k, errors.get(n)) for n, k in values.items()))
        self.factors_of.value = factors.line if factors else "alpha"
        put_text(self.reference, factors.reference if factors else "")
        self.factors.placeholder = (
            f"as in {factors.file}" if factors and factors.file else "Fe 1.21 ± 3%; Ba La 2.31"
        )
        self._shown = self._factors()
        self._known = self.choice(recipe), recipe

    @property
    def edited(self) -> bool:
        """Whether the fields say something else than when they were filled."""
        known, recipe = self._known
        return self.choice(recipe) != known

    def choice(self, recipe: Recipe) -> dict[str, Any]:
        """Return the sections of the recipe that the fields change, for `Workflow.change`.

        Raises
        ------
        InputError
            When a field cannot be read.
        """
        thickness: Any = self.thickness.value
        if thickness is None and isinstance(recipe.quantify.thickness, tuple):
            thickness = recipe.quantify.thickness  # a range, which the field can't show
        ratios = [r.strip() for r in re.split(r"[;,]", _typed(self.ratios)) if r.strip()]
        quantify = {"thickness": thickness, "oxygen": self.oxygen.value, "ratios": ratios}
        factors = self._factors()
        if factors != self._shown:
            quantify["k_factors"] = factors or None
        phases = {
            name: {"density": self.densities[name].value, "oxygens": self.oxygens[name].value}
            for name in self.densities
            if name in recipe.phases
        }
        return {"quantify": quantify, "phases": phases}

    def _factors(self) -> dict[str, Any]:
        """Return the k-factors as a recipe has them; {} for computed ones."""
        values, errors = read_factors(_typed(self.factors))
        if not values:
            return {}
        reference = _typed(self.reference).strip()
        said = {"values": values, "line": self.factors_of.value, "relative_sigma": errors}
        return {**said, **({"reference": reference} if reference else {})}


def read_factors(text: str) -> tuple[dict[str, float], dict[str, float]]:
    """Return the factors of "Fe 1.21 ± 3%; Ba La 2.31", and their relative errors.

    Raises
    ------
    InputError
        When the text is something else.
    """
    values: dict[str, float] = {}
    errors: dict[str, float] = {}
    for part in (p.strip() for p in re.split(r"[;,\n]", text)):
        if not part:
            continue
        found = _FACTOR.fullmatch(part)
        if found is None:
            raise InputError(f"k-factors must be like Fe 1.21 ± 3%; Ba La 2.31, got {part!r}")
        line = " ".join(found["line"].split())
        if line in values:
            raise InputError(f"there are two k-factors of {line}: give one")
        values[line] = float(found["k"])
        if found["error"]:
            errors[line] = float(found["error"]) / 100
    return values, errors


def _typed(field: Any) -> str:
    """What stands in a field, also while the cursor is in it."""
    return str(field.value_input or field.value or "")


def _written(line: str, k: float, error: float | None) -> str:
    return f"{line} {k:g}" + (f" ± {100 * error:g}%" if error else "")


def table_html(table: Table) -> str:
    """Return a table as in the report, with a button for the clipboard (see `Shortcuts`)."""
    return (
        f'<div class="copied-table">{plain_table(table)}'
        '<button type="button" class="copy">Copy</button></div>'
    )


_OVERVIEW = "All phases"
_MINERALS = "Minerals"
_COUNTING, _INTERVALS = "± counting", "95% intervals, all errors"


_HINT = (
    "<p class='hint'>± is one standard deviation from counting and from the scale of the "
    "subtraction; (±) comes from {}, the same for all phases.</p>"
)


def _notes(doubts: Iterable[str], others: Iterable[str]) -> tuple[str, str]:
    """What a run told, as HTML."""

    def written(kind: str, said: Iterable[str]) -> str:
        return "".join(paragraph(f"{without_options(w)}.", kind) for w in said)

    return written("error-line", doubts), written("note", others)


class CompositionView(MapStep):
    """Tables of compositions."""

    name = "Composition"

    def __init__(self, page: StepPage) -> None:
        super().__init__(page, part=0.5, most=900)
        self._result: RunResult | None = None
        self._key = ""
        self._of: object = None
        self.form = QuantifyForm()
        self.film = pn.Column(self.text("<h2>The film</h2>"), self.form.film)
        field = {"stylesheets": [CONTROL_CSS], "margin": (2, 5)}
        self.shown = pn.widgets.Select(
            name="Table", options=[_OVERVIEW], value=_OVERVIEW, width=126, **field
        )
        self.errors = pn.widgets.Select(
            name="Errors", options=[_COUNTING, _INTERVALS], value=_COUNTING, width=188, **field
        )
        self.tables = self.text("", **WIDE)
        self.hint = self.text("", **WIDE)
        self.controls[:] = [
            self.film,
            self.form.known,
            self.button("Quantify", self.quantify, kind="success", **WIDE),
            self.hint,
        ]
        self.errors.param.watch(lambda _e: page.attempt(self._draw), "value")
        self.shown.param.watch(lambda _e: page.attempt(self._choose), "value")

    def quantify(self) -> None:
        """Do all that is missing up to the compositions, in a job."""
        workflow = self.session.workflow
        self.session.result("match")
        workflow.change(**self.form.choice(self.session.recipe))

        def show(result: RunResult) -> None:
            self._keep(result)
            if not quantified_phases(result) and ratios_by_phase(result) is None:
                self.jobs.tell(f"Nothing was quantified: {self._why_nothing()}.", failed=True)

        self.jobs.start("Quantify", lambda progress: workflow.result(progress=progress), show)

    def _why_nothing(self) -> str:
        named = self.session.elements() or self.session.recipe.quantify.edges
        return "the reasons are below the spectrum" if named else "name in Data what to quantify"

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
            x_rays, bulk = takes_background(si), si.acquisition.bulk
            # Of a bulk specimen net lines are compared: nothing is to be known for that.
            self.film.visible = self.form.known.visible = x_rays and not bulk
            self.hint.object = (
                ""
                if bulk
                else _HINT.format("k-factors and attenuation" if x_rays else "cross-sections")
            )
            if recipe is not self._of:
                self._of = recipe
                self.form.show(recipe)
        self._draw()

    def _present_key(self) -> str:
        return str(self.session.workflow.keys()["export"])

    def _choose(self) -> None:
        """Show the table of a phase, and its map; of all phases where each is."""
        self._draw()
        phase = f"{COMPONENT}{self.shown.value}"
        for name in (phase, REGIONS, PHASES):
            if name in self.look.images:
                self.look.choose(name)
                return

    def key(self, key: str) -> None:
        """Show a phase by its number, all by 0."""
        options = list(self.shown.options)
        if key.isdigit() and int(key) < len(options):
            self.shown.value = options[int(key)]

    def _draw(self) -> None:
        result = self._result
        if not self.session.is_open:
            self.no_map()
            return
        if result is None or self._key != self._present_key():
            self.show_map(of=None)
            self.show(self.text("<p>Press Quantify: what is missing is done first.</p>"))
            return
        phases = quantified_phases(result)
        self.shown.options = [_OVERVIEW, *phases, _MINERALS]
        self.shown.visible = bool(phases)
        self.errors.visible = self.shown.visible and self.shown.value == _OVERVIEW
        self.tables.object = self._tables(result, phases)
        curves = self._curves(result)
        self.show_map(curves, of=(id(result), self.shown.value, self.room.dark))
        self.show(self.tables, fields=[self.shown, self.errors])

    def _curves(self, result: RunResult) -> list[Curve]:
        """Spectra of all phases, or of one with its fit."""
        axis, colours = result.spectrum_image.axis, self.session.colours()
        shown = str(self.shown.value)
        chosen = shown if shown in result.pure else ""
        curves = [
            Curve(
                f"pure {name}",
                pure.values,
                colours[name],
                share=self.as_counted(pure.values),
            )
            for name, pure in result.pure.items()
            if name in colours and chosen in ("", name)
        ]
        if chosen in result.compositions:
            fit = result.compositions[chosen].fit
            own, model = fit.spectrum.axis, fit.mean - fit.spectrum.background
            there = np.interp(axis.centers, own.centers, model, left=np.nan, right=np.nan)
            curves.append(Curve("fit", there, INK[self.room.dark], "4 2", curves[0].share))
        return curves

    def resized(self) -> None:
        """Draw all in the new room."""
        super().resized()
        if self._result is not None:
            self.page.attempt(self._draw)

    def _tables(self, result: RunResult, phases: tuple[str, ...]) -> str:
        """Return the chosen tables, with what they rest on, as HTML."""
        if not phases:
            ratios = ratios_by_phase(result)
            said = f"<p>No composition was found: {self._why_nothing()}.</p>"
            # What the table says is not said again.
            known = {
                f"{n}: {r.describe()}"
                for n, r in result.ratios.items()
                if isinstance(r, LineRatios)
            }
            rest = (w for w in result.warnings if w not in (*result.doubts, *known))
            notes = "".join(_notes(result.doubts, rest))
            return (said if ratios is None else table_html(ratios)) + notes
        chosen = self.shown.value
        of = (chosen,) if chosen in phases else phases
        parts = [f"<h2>{html.escape(chosen)}</h2>"] if chosen in phases else []
        doubts, others = _notes(grave_notes(result, of), other_notes(result, of))
        parts.append(doubts)
        tables: list[Table | None]
        if chosen in phases:
            tables = [composition_table(result, chosen), interval_table(result, of)]
        elif chosen == _MINERALS:
            tables = [names_table(result), structure_table(result), *calibration_tables(result)]
        else:
            overview = overview_table(result, phases, "Composition of the phases")
            if self.errors.value == _INTERVALS:
                overview = interval_table(result, phases)
            ratios = ratio_table(result)
            tables = [marked(overview, result), ratios and marked(ratios, result)]
            tables += partition_tables(result)
        beside = "".join(table_html(table) for table in tables if table is not None)
        beside += table_html(reliability_table(result, of))
        parts.append(f'<div class="tables">{beside}</div>')
        return "".join((*parts, others))
