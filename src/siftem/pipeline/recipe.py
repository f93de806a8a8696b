"""The recipe: all that a run depends on, in one versioned file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from siftem.errors import InputError, RecipeError
from siftem.xray.elements import atomic_number

#: Version of the schema; a recipe of a later version is refused.
SCHEMA = 1

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Window = tuple[float | None, float | None]


class _Section(BaseModel):
    """A part of a recipe: unknown keys are errors, values don't change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DemoInput(_Section):
    """A simulated map of the model case, with known truth."""

    shape: tuple[int, int] = (128, 128)
    channels: Annotated[int, Field(ge=64, le=8192)] = 2048
    dose: Positive = 300.0
    seed: int = 0

    @field_validator("shape")
    @classmethod
    def _reasonable(cls, value: tuple[int, int]) -> tuple[int, int]:
        if min(value) < 16 or max(value) > 4096:
            raise ValueError("shape must be 16 to 4096 pixels on each side")
        return value


class Input(_Section):
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


class AcquisitionOverride(_Section):
    """What the file does not say, or says wrongly."""

    beam_energy: Positive | None = Field(None, description="keV")
    take_off_angle: Annotated[float, Field(gt=0, le=90)] | None = Field(None, description="degrees")
    resolution: Positive | None = Field(None, description="eV at Mn Ka")


class RatioAnchor(_Section):
    """A known ratio of two elements in the grain."""

    numerator: str
    denominator: str
    value: NotNegative
    sigma: NotNegative = 0.0
    by: Literal["atoms", "weight"] = "atoms"


class ScaleAnchor(_Section):
    """A given factor on the matrix spectrum."""

    value: NotNegative
    sigma: NotNegative = 0.0


class AnchorChoice(_Section):
    """What fixes how much matrix is subtracted: exactly one of these, or nothing.

    With nothing, as much matrix is subtracted as leaves no line negative.
    """

    absent: tuple[str, ...] | None = None
    ratio: RatioAnchor | None = None
    scale: ScaleAnchor | None = None

    @model_validator(mode="after")
    def _at_most_one(self) -> AnchorChoice:
        if sum(x is not None for x in (self.absent, self.ratio, self.scale)) > 1:
            raise ValueError("an anchor is one of absent, ratio or scale, not several")
        return self


class Phase(_Section):
    """One phase and what is known of it."""

    high: tuple[str, ...] = Field((), description="elements it has more of than the others")
    absent: tuple[str, ...] = Field((), description="elements it lacks; they mark its component")
    anchor: AnchorChoice = AnchorChoice()
    density: Positive | None = Field(None, description="g/cm3, for absorption")


class Decompose(_Section):
    """Poisson NMF."""

    components: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] | None = None
    seed: int = 0
    starts: Annotated[int, Field(ge=1, le=100)] = 1
    tolerance: Positive = 1e-7
    max_sweeps: Annotated[int, Field(ge=1)] = 500


class Segment(_Section):
    """From maps to regions."""

    traces: str | None = Field(None, description="label image: 0 unpainted, 1.. phases in order")
    smoothness: NotNegative = 1.0
    margin: Annotated[int, Field(ge=0, le=50)] = 1
    trees: Annotated[int, Field(ge=1, le=5000)] = 100
    seed: int = 0


class KFactors(_Section):
    """k-factors by weight that override computed ones."""

    values: dict[str, Positive]
    line: Literal["family", "alpha"] = "alpha"
    detector: Literal["included", "apart"] = "included"
    relative_sigma: dict[str, NotNegative] = {}
    reference: str = "Si"


class Quantify(_Section):
    """From spectra to compositions."""

    thickness: Positive | None = Field(None, description="nm along the beam")
    k_factors: KFactors | None = None
    energy_range: Window = (0.25, None)
    continuum_terms: Annotated[int, Field(ge=1, le=5)] = 3
    free_l_groups: bool = False
    ratios: tuple[str, ...] = Field((), description="atomic ratios such as (Mg+Fe)/O")


class Figures(_Section):
    """What the figures show."""

    trace_lines: tuple[str, ...] = ()
    rectangle: tuple[int, int, int, int] | None = Field(
        None, description="confined matrix rectangle: y, x, height, width in pixels"
    )
    rectangle_share: Annotated[float, Field(gt=0, le=0.5)] = 0.03


class Recipe(_Section):
    """All that a run depends on."""

    siftem: Literal[1] = 1
    title: str = ""
    input: Input
    elements: tuple[str, ...] = ()
    support: tuple[str, ...] = ()
    energy_range: Window = (0.2, None)
    acquisition: AcquisitionOverride = AcquisitionOverride()
    matrix: str | None = None
    phases: dict[str, Phase] = {}
    decompose: Decompose = Decompose()
    segment: Segment = Segment()
    quantify: Quantify = Quantify()
    figures: Figures = Figures()

    @field_validator("elements", "support")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _checked(value)

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        for phase in self.phases.values():
            _checked((*phase.high, *phase.absent, *(phase.anchor.absent or ())))
            if phase.anchor.ratio:
                _checked((phase.anchor.ratio.numerator, phase.anchor.ratio.denominator))
        if self.phases:
            if self.matrix is None:
                raise ValueError("say which of the phases is the matrix, e.g. matrix: Brg")
            if self.matrix not in self.phases:
                raise ValueError(
                    f"the matrix {self.matrix!r} is not among the phases {', '.join(self.phases)}"
                )
            k = self.decompose.components
            if isinstance(k, int) and k < len(self.phases):
                raise ValueError(
                    f"{len(self.phases)} phases need at least as many components, not {k}"
                )
        if self.quantify.k_factors:
            _checked(tuple(self.quantify.k_factors.values))
        overlap = set(self.elements) & set(self.support)
        if overlap:
            raise ValueError(f"{', '.join(sorted(overlap))} cannot be both an element and support")
        return self

    @property
    def n_components(self) -> int | Literal["auto"]:
        """Number of components: as set, else the number of phases, else 3."""
        if self.decompose.components is not None:
            return self.decompose.components
        return len(self.phases) or 3

    def to_yaml(self) -> str:
        """Return the complete recipe as YAML."""
        data = self.model_dump(mode="json")
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=None)


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe from a YAML file.

    Relative paths in it (``input.file``, ``segment.traces``) are taken from the recipe's folder.

    Parameters
    ----------
    path : path-like

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
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the recipe {path}: {error}") from None
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where else ""
        raise RecipeError(f"the recipe {path} is not valid YAML{line}") from None
    if not isinstance(data, dict):
        raise RecipeError(f"the recipe {path} must hold keys and values, such as 'elements: [Mg]'")
    data = _with_absolute_paths(data, path.resolve().parent)
    return make_recipe(data, source=str(path))


def make_recipe(data: dict[str, Any], *, source: str = "the recipe") -> Recipe:
    """Build a recipe from plain data, with a one-line error that names the key.

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
        return Recipe.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "recipe"
        message = first["msg"].removeprefix("Value error, ")
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        if first["type"] == "extra_forbidden":
            message = "is not a known key"
        raise RecipeError(f"{source}, {key}: {message}{more}") from None


def _checked(elements: tuple[str, ...]) -> tuple[str, ...]:
    for element in elements:
        try:
            atomic_number(element)
        except InputError as error:
            raise ValueError(str(error)) from None
    return elements


def _with_absolute_paths(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    out = dict(data)
    for section, key in (("input", "file"), ("segment", "traces")):
        part = out.get(section)
        if isinstance(part, dict) and isinstance(part.get(key), str):
            out[section] = {**part, key: str(folder / part[key])}
    return out
