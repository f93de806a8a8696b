"""The part of a recipe that turns maps into regions: painted traces, forest, cut."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from siftem.pipeline.recipe_parts import Finite, NotNegative, Positive, Section

Point = tuple[Finite, Finite]
Number = Annotated[int, Field(ge=0)]


class Shape(Section):
    """Painted pixels: exactly one of polygon, line, pixels and runs.

    Coordinates are (y, x) in pixels, a pixel's centre lying at whole numbers.
    """

    polygon: tuple[Point, ...] | None = Field(None, description="pixels whose centre is inside")
    line: tuple[Point, ...] | None = Field(None, description="a stroke through these points")
    width: Positive = Field(1.0, description="of the stroke, in pixels")
    pixels: tuple[tuple[Number, Number], ...] | None = None
    runs: tuple[tuple[Number, Number, Number], ...] | None = Field(
        None, description="y, first x, last x"
    )

    @model_validator(mode="after")
    def _one(self) -> Shape:
        kinds = {"polygon": 3, "line": 1, "pixels": 1, "runs": 1}
        given = [k for k in kinds if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError("a painted shape is one of polygon, line, pixels and runs")
        if len(getattr(self, given[0])) < kinds[given[0]]:
            raise ValueError(f"a {given[0]} needs at least {kinds[given[0]]} entries")
        if self.width != 1.0 and self.line is None:
            raise ValueError("a width belongs to a line only")
        return self


def _kind(value: Any) -> str:
    return "<shapes>" if isinstance(value, dict) else "<file>"


#: A label image or ImageJ outlines, or shapes by phase. The tags keep messages short.
Traces = Annotated[
    Annotated[str, Tag("<file>")] | Annotated[dict[str, tuple[Shape, ...]], Tag("<shapes>")],
    Discriminator(_kind),
]


Feature = Literal["original", "gaussian", "gradient", "hessian", "difference", "membrane"]
#: Those of `siftem.PixelClassifier` by default, which says why others are not among them.
_FEATURES: tuple[Feature, ...] = ("original", "gaussian", "hessian", "difference", "membrane")


class Segment(Section):
    """From maps to regions."""

    traces: Traces | None = Field(
        None,
        description="label image (0 unpainted, 1.. phases in order), ImageJ .zip or .roi with "
        "the phases' names, or shapes by phase",
    )
    classifier: str | None = Field(
        None, description="folder with a trained classifier for each grain, instead of traces"
    )
    images: tuple[str, ...] = Field(
        (),
        description="further images to look at, beside grains and counts: the survey (HAADF), "
        "elements (Fe), lines (Fe Ka), windows (0.6-0.8)",
    )
    features: tuple[Feature, ...] = Field(
        _FEATURES,
        min_length=1,
        description="kinds of filtered images to look at; also: gradient",
    )
    sigmas: tuple[Positive, ...] = Field(
        (1.0, 2.0, 4.0, 8.0), min_length=1, description="widths of the filters, in pixels"
    )
    smoothness: NotNegative | Literal["auto"] = Field(
        1.0, description="of the graph cut; auto: by thinning the counts"
    )
    margin: Annotated[int, Field(ge=0, le=50)] = 1
    trees: Annotated[int, Field(ge=1, le=5000)] = 200
    random_state: int = 0

    _OLD_KEYS: ClassVar[dict[str, str]] = {"seed": "random_state"}

    @field_validator("smoothness", mode="before")
    @classmethod
    def _number_or_auto(cls, value: Any) -> Any:
        # One message in place of one for each member of the union.
        if value == "auto":
            return value
        if isinstance(value, (bool, str)) or not isinstance(value, (int, float)):
            raise ValueError(f"must be a number from 0 up, or auto, got {value!r}")
        if not 0 <= value < float("inf"):
            raise ValueError(f"must be a number from 0 up, or auto, got {value}")
        return value

    @field_validator("traces", mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: [v] if isinstance(v, dict) else v for k, v in value.items()}
        return value

    @model_validator(mode="after")
    def _one_source(self) -> Segment:
        if self.traces is not None and self.classifier is not None:
            raise ValueError("give traces or a trained classifier, not both")
        return self
