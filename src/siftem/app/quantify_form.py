"""The fields of a quantification: film, oxygen, formulas, ratios, k-factors."""

from __future__ import annotations

import re
from typing import Any

import panel as pn

from siftem.app.step_view import put_text
from siftem.app.style import CONTROL_CSS, CONTROLS
from siftem.errors import InputError
from siftem.pipeline.recipe import Recipe

_FIELD = {"width": CONTROLS - 30, "stylesheets": [CONTROL_CSS], "margin": (2, 8)}
_INNER = {**_FIELD, "width": CONTROLS - 54}
_HALF = {**_FIELD, "width": CONTROLS // 2 - 36}
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
            name="Thickness, nm (empty: not known)", value=None, start=0.0, **_FIELD
        )
        self.densities: dict[str, Any] = {}
        self.oxygens: dict[str, Any] = {}
        self._of_phases = pn.Column()
        self.film = pn.Column(self.thickness, self._of_phases)
        self.oxygen = pn.widgets.Select(name="Oxygen", options=_OXYGEN, **_INNER)
        self._of_formulas = pn.Column()
        self.ratios = pn.widgets.TextInput(
            name="Ratios of atoms to tell", placeholder="(Mg+Fe)/Si; Ca/Si", **_INNER
        )
        self.factors = pn.widgets.TextAreaInput(
            name="k-factors, by line or element",
            placeholder="Fe 1.21 ± 3%; Ba La 2.31",
            rows=3,
            resizable=False,
            **_INNER,
        )
        self.factors_of = pn.widgets.Select(name="They are of", options=_OF, **_HALF)
        self.reference = pn.widgets.TextInput(name="Relative to", placeholder="Si", **_HALF)
        self.known = pn.Card(
            self.oxygen,
            self._of_formulas,
            self.ratios,
            self.factors,
            pn.Row(self.factors_of, self.reference),
            title="Formulas, ratios, k-factors",
            collapsed=True,
            width=CONTROLS - 26,
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
                name=f"Density of {name}, g/cm³", value=phase.density, start=0.01, **_FIELD
            )
            self.oxygens[name] = pn.widgets.FloatInput(
                name=f"Oxygens in a formula of {name}", value=phase.oxygens, start=0.5, **_INNER
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
