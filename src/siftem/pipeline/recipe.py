"""The recipe: all that a run depends on, in one versioned file, and its JSON schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from siftem.errors import RecipeError
from siftem.pipeline.recipe_anchors import AnchorChoice, Calibrate, Identify, named_phases, switched
from siftem.pipeline.recipe_parts import (
    Positive,
    Section,
    Window,
    checked_elements,
    found_from,
    one_sentence,
)
from siftem.pipeline.recipe_sections import Phase, Quantify, Segment, order_of_subtraction
from siftem.spectrum_image import ZERO_PEAK_END

__all__ = ["EACH_MAP", "SCHEMA", "AnchorChoice", "Phase", "Recipe", "make_recipe", "read_recipe"]

#: Version of the schema; a recipe of a later version is refused.
SCHEMA = 1
#: Bytes. A recipe has some thousand; parsing takes memory and time in proportion.
_LONGEST = 4 * 10**6

#: Stands for the file in a recipe that is for many maps.
EACH_MAP = "each map of the batch"


class DemoInput(Section):
    """A simulated map of the model case, with known truth."""

    shape: tuple[int, int] = (128, 128)
    channels: Annotated[int, Field(ge=64, le=8192)] = 2048
    dose: Positive = 300.0
    random_state: int = 0

    _OLD_KEYS: ClassVar[dict[str, str]] = {"seed": "random_state"}

    @field_validator("shape")
    @classmethod
    def _reasonable(cls, value: tuple[int, int]) -> tuple[int, int]:
        if min(value) < 16 or max(value) > 4096:
            raise ValueError("shape must be 16 to 4096 pixels on each side")
        return value


class Input(Section):
    """Where the counts come from: a file, the demo, or a fetched example."""

    file: str | None = None
    signal: int | None = None
    demo: DemoInput | None = None
    example: Literal["71gpa"] | None = None

    @model_validator(mode="after")
    def _one(self) -> Input:
        if sum(x is not None for x in (self.file, self.demo, self.example)) != 1:
            raise ValueError("give one of file, demo and example")
        return self


class AcquisitionOverride(Section):
    """What the file does not say, or says wrongly."""

    signal_type: Literal["EDS_TEM", "EDS_SEM", "EELS"] | None = Field(
        None, description="X-rays of a thin or a bulk specimen, or energy losses"
    )
    beam_energy: Positive | None = Field(None, description="keV")
    take_off_angle: Annotated[float, Field(gt=0, le=90)] | None = Field(None, description="degrees")
    resolution: Positive | None = Field(None, description="eV at Mn Ka")
    beam_current: Positive | None = Field(None, description="nA")
    live_time: Positive | None = Field(None, description="s, of the whole map")


class Decompose(Section):
    """Poisson NMF."""

    components: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] | None = None
    spectra: str | None = Field(
        None, description="file with spectra that are known: only their maps are fitted"
    )
    random_state: int = 0
    n_init: Annotated[int, Field(ge=1, le=100)] = 1
    tol: Positive = 1e-7
    max_iter: Annotated[int, Field(ge=1)] = 500

    _OLD_KEYS: ClassVar[dict[str, str]] = {
        "seed": "random_state",
        "starts": "n_init",
        "tolerance": "tol",
        "max_sweeps": "max_iter",
    }

    @field_validator("components", mode="before")
    @classmethod
    def _number_or_auto(cls, value: Any) -> Any:
        # One message in place of one for each member of the union.
        if value is None or value == "auto":
            return value
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 64:
            raise ValueError(f"must be a whole number from 1 to 64, or auto, got {value!r}")
        return value


class Unmix(Section):
    """One likelihood of all pixels, beside the subtraction."""

    run: bool | Literal["auto"] = Field(
        "auto", description="auto: unless the map is so large that it would take minutes"
    )
    max_iter: Annotated[int, Field(ge=1, le=1000)] = 60

    _OLD_KEYS: ClassVar[dict[str, str]] = {"max_steps": "max_iter"}


class Figures(Section):
    """What the figures show."""

    trace_lines: tuple[str, ...] = ()
    rectangle: tuple[int, int, int, int] | None = Field(
        None, description="confined matrix rectangle: y, x, height, width in pixels"
    )
    rectangle_share: Annotated[float, Field(gt=0, le=0.5)] = 0.03
    formats: tuple[Literal["png", "svg", "pdf"], ...] = Field(
        ("png",), description="files of each figure; texts of svg and pdf can be edited"
    )
    width_mm: Annotated[float, Field(ge=80, le=400)] = Field(
        180.0, description="of the figures; 85 for a journal's column, 175 for two"
    )
    energy_range: Window | None = Field(None, description="keV of the spectra that are shown")
    colour_map: Literal["inferno", "magma", "plasma", "viridis", "cividis", "gray"] = Field(
        "inferno", description="of maps of counts"
    )


class Recipe(Section):
    """All that a run depends on.

    Examples
    --------
    >>> recipe = siftem.Recipe(input={"file": "map.hspy"}, elements=["Mg", "Si"])
    >>> recipe.elements, recipe.segment.margin
    (('Mg', 'Si'), 1)
    >>> print(recipe.to_yaml())
    siftem: 1
    title: ''
    input: {file: map.hspy}
    ...
    """

    siftem: Literal[1] = 1
    title: str = ""
    input: Input
    elements: tuple[str, ...] = ()
    support: tuple[str, ...] = ()
    energy_range: Window = (ZERO_PEAK_END, None)
    acquisition: AcquisitionOverride = AcquisitionOverride()
    layout: Literal["auto", "matrix", "side by side", "particles on a support", "single"] = Field(
        "auto", description="how the phases lie; auto: as found from the pixels"
    )
    matrix: str | None = Field(None, description="the phase that the others lie in or on")
    phases: dict[str, Phase] = Field({})
    decompose: Decompose = Decompose()
    segment: Segment = Segment()
    unmix: Unmix = Unmix()
    quantify: Quantify = Quantify()
    calibrate: Calibrate = Calibrate()
    identify: Identify = Identify()
    figures: Figures = Figures()

    @field_validator("elements", "support")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return checked_elements(value)

    @field_validator("unmix", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        if isinstance(value, (bool, str)):
            if value not in (True, False, "auto"):
                raise ValueError(f"must be true, false, auto or its options, got {value!r}")
            return {"run": value}
        return value

    @field_validator("identify", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return switched(value)

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.phases:
            if self.matrix is None and self.layout in ("matrix", "particles on a support"):
                raise ValueError("say which of the phases is the matrix, e.g. matrix: Brg")
            if self.matrix is not None and self.matrix not in self.phases:
                raise ValueError(
                    f"the matrix {self.matrix!r} is not among the phases {', '.join(self.phases)}"
                )
            k = self.decompose.components
            if isinstance(k, int) and k < len(self.phases):
                raise ValueError(
                    f"{len(self.phases)} phases need at least as many components, not {k}"
                )
            self._check_components()
            order_of_subtraction(self.matrix or "", self.phases)
            self._check_phase_names()
        overlap = set(self.elements) & set(self.support)
        if overlap:
            raise ValueError(f"{', '.join(sorted(overlap))} cannot be both an element and support")
        return self

    def _check_components(self) -> None:
        numbers = {n: p.component for n, p in self.phases.items() if p.component is not None}
        if not numbers:
            return
        if len(numbers) < len(self.phases):
            lone = next(n for n in self.phases if n not in numbers)
            raise ValueError(f"say the component of every phase or of none: {lone} has none")
        k = self.n_components
        for name, number in numbers.items():
            if list(numbers.values()).count(number) > 1:
                raise ValueError(f"component {number} is given to two phases, {name} among them")
            if isinstance(k, int) and number > k:
                raise ValueError(f"{name} is component {number}, but there are only {k}")

    def _check_phase_names(self) -> None:
        known = f"the phases are {', '.join(self.phases)}"
        if isinstance(self.segment.traces, dict):
            for name in self.segment.traces:
                if name not in self.phases:
                    raise ValueError(f"traces are painted for {name!r}, but {known}")
        for name in named_phases(self.calibrate):
            if name not in self.phases:
                raise ValueError(f"calibrate names {name!r}, but {known}")
        for pair in self.quantify.partition or ():
            for name in pair:
                if name not in self.phases:
                    raise ValueError(f"a partition coefficient names {name!r}, but {known}")

    @property
    def n_components(self) -> int | Literal["auto"]:
        """Number of components: as set, else the number of phases, else what the counts tell."""
        if self.layout == "single":
            return 1
        if self.decompose.components is not None:
            return self.decompose.components
        return len(self.phases) or "auto"

    @property
    def known_layout(self) -> str:
        """The layout as set; "matrix", too, where all grains of a matrix have anchors.

        Not where phases are numbers of components: an anchor that comes after the decomposition
        must not lead to another one, whose numbers mean other phases.
        """
        grains = [p for n, p in self.phases.items() if n != self.matrix]
        numbered = any(p.component is not None for p in self.phases.values())
        if self.layout == "auto" and self.matrix and all(p.anchor for p in grains):
            return "auto" if numbered else "matrix"
        return self.layout

    def to_yaml(self) -> str:
        """Return the complete recipe as YAML, without the keys that say nothing."""
        data = self.model_dump(mode="json", exclude_none=True)
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=None)


class _TwiceError(yaml.MarkedYAMLError):
    """A key that is given twice, where YAML libraries let the last one win."""


class _Loader(yaml.SafeLoader):
    """Plain values only, as of SafeLoader; each key once, and no numbers to base 60 (1:30)."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping, before anything is merged into it."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f"the key {key.value[:40]!r} is given twice"
                    raise _TwiceError(problem=problem, problem_mark=key.start_mark)
                seen.add(key.value)
        return node


def _number_or_text(make: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda loader, node: node.value if ":" in node.value else make(loader, node)


for _kind in ("int", "float"):
    _Loader.add_constructor(
        f"tag:yaml.org,2002:{_kind}",
        _number_or_text(getattr(yaml.SafeLoader, f"construct_yaml_{_kind}")),
    )


def read_recipe(path: str | Path, *, for_many: bool = False) -> Recipe:
    """Read a recipe from a YAML file.

    Relative paths in it (maps, traces, classifiers, tables) are taken from the recipe's folder. A
    file that is no longer where it was is looked for in the same place beside the recipe.

    Parameters
    ----------
    path : path-like
    for_many : bool
        For a batch, which names its maps itself: ``input`` may be left out, and what it says
        besides ``signal`` is ignored.

    Returns
    -------
    Recipe

    Raises
    ------
    RecipeError
        When it cannot be read, is no mapping, or has an unknown or bad key; the message
        names the key.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise RecipeError(f"cannot read the recipe {path}: it is no file")
        if path.stat().st_size > _LONGEST:
            raise RecipeError(f"{path} is no recipe: it has {path.stat().st_size / 1e6:.3g} MB")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(f"cannot read the recipe {path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the recipe {path}: {error}") from None
    try:
        data = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where else ""
        twice = f": {error.problem}" if isinstance(error, _TwiceError) else ""
        raise RecipeError(f"the recipe {path} is not valid YAML{line}{twice}") from None
    except RecursionError:
        raise RecipeError(f"the recipe {path} is nested too deeply") from None
    except ValueError as error:  # dates and numbers that are none
        raise RecipeError(
            f"the recipe {path} holds a value that cannot be read: {' '.join(str(error).split())}"
        ) from None
    if not isinstance(data, dict):
        raise RecipeError(f"the recipe {path} must hold keys and values, such as 'elements: [Mg]'")
    if _is_no_text(data):
        raise RecipeError(f"the recipe {path} holds letters that are no text (NUL or half a pair)")
    given = data.get("input")
    if for_many:
        signal = given.get("signal") if isinstance(given, dict) else None
        data = {**data, "input": {"signal": signal}}
    data = found_from(data, path.resolve().parent)
    if for_many:
        data["input"]["file"] = EACH_MAP
    return make_recipe(data, source=str(path))


def make_recipe(
    data: dict[str, Any], *, source: str = "the recipe", stored: bool = False
) -> Recipe:
    """Build a recipe from plain data, with a one-line error that names the key.

    Old names of keys are told, unless siftem itself ``stored`` the data: nobody could change them.

    Raises
    ------
    RecipeError
    """
    version = data.get("siftem", SCHEMA)
    if isinstance(version, int) and version > SCHEMA:
        raise RecipeError(
            f"{source} is of schema {version}, this siftem reads {SCHEMA}: install a newer siftem"
        )
    try:
        return Recipe.model_validate(data, context={"stored": stored})
    except ValidationError as error:
        raise RecipeError(f"{source}, {one_sentence(error, Recipe)}") from None


def as_recipe(recipe: Recipe | Mapping[str, Any] | str | Path) -> Recipe:
    """Read a recipe's file, or check its plain data; a recipe stays as it is."""
    if isinstance(recipe, Recipe):
        return recipe
    return make_recipe(dict(recipe)) if isinstance(recipe, Mapping) else read_recipe(recipe)


def _is_no_text(data: Any) -> bool:
    """Whether a string in it holds NUL or a lone surrogate, which no file name or page can."""
    waiting, seen = [data], set()
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in item):
                return True
        elif isinstance(item, dict | list) and id(item) not in seen:
            seen.add(id(item))  # an alias may hold itself, or stand in many places
            waiting += [*item, *item.values()] if isinstance(item, dict) else item
    return False


_TEXT = {"type": "string"}


def recipe_schema() -> dict[str, Any]:
    """Return the schema as plain data, short forms that recipes may use included."""
    schema = Recipe.model_json_schema()
    kinds = schema["$defs"]
    anchor = {"$ref": "#/$defs/AnchorChoice"}
    one = [anchor, _TEXT]
    several = {"type": "array", "items": {"anyOf": one}}
    _replace(kinds["Phase"]["properties"]["anchor"], [*one, several])
    shape = {"$ref": "#/$defs/Shape"}
    shapes = {"anyOf": [shape, {"type": "array", "items": shape}]}
    by_phase = {"type": "object", "additionalProperties": shapes}
    _replace(kinds["Segment"]["properties"]["traces"], [_TEXT, by_phase, {"type": "null"}])
    switch = [{"type": "boolean"}, {"const": "auto"}, {"$ref": "#/$defs/Unmix"}]
    _replace(schema["properties"]["unmix"], switch)
    # An edge by its name alone.
    kinds["EdgeChoice"] = {"anyOf": [_TEXT, kinds["EdgeChoice"]]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text() -> str:
    """Return the schema as JSON."""
    return json.dumps(recipe_schema(), indent=1, ensure_ascii=False) + "\n"


def _replace(field: dict[str, Any], choices: list[dict[str, Any]]) -> None:
    for key in ("type", "items", "$ref", "anyOf"):
        field.pop(key, None)
    field["anyOf"] = choices
