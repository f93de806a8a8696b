"""The sections of a recipe: phases, segmentation and quantification.

What marks each phase and what is known of it; painted traces, forest and cut, which turn maps into
regions; and what turns spectra into compositions.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from siftem.minerals.groups import GROUPS
from siftem.pipeline.recipe_anchors import AnchorChoice, checked_ratio
from siftem.pipeline.recipe_parts import (
    EdgeChoice,
    Finite,
    NotNegative,
    Positive,
    Section,
    Window,
    checked_elements,
    listed,
)
from siftem.quantification.k_values import factor_line


class Phase(Section):
    """One phase and what is known of it."""

    high: tuple[str, ...] = Field((), description="elements it has more of than the others")
    absent: tuple[str, ...] = Field((), description="elements it lacks; they mark its component")
    component: Annotated[int, Field(ge=1)] | None = Field(
        None, description="number of its component as the solver orders them, instead of marks"
    )
    anchor: tuple[AnchorChoice, ...] = Field(
        (), description="one, or a list of several; an element alone: the grain lacks it"
    )
    contaminants: tuple[str, ...] = Field((), description="other grains that its mixture holds")
    lies: Literal["pure", "embedded"] | None = Field(
        None,
        description="pure: its own pixels hold nothing else; embedded: they may hold matrix, too; "
        "as found from the pixels when nothing is said",
    )
    density: Positive | None = Field(None, description="g/cm3, for absorption")
    oxygens: Positive | None = Field(None, description="of its formula unit, such as 3 for ABO3")
    group: str | None = Field(
        None, description="mineral group of its structural formula, such as perovskite"
    )

    @field_validator("group")
    @classmethod
    def _known_group(cls, value: str | None) -> str | None:
        known = [name for name in GROUPS if name != "compound"]
        if value is not None and value not in known:
            raise ValueError(f"must be one of {', '.join(known)}, got {value!r}")
        return value

    @field_validator("anchor", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        # An element alone: the grain lacks it.
        several = [value] if isinstance(value, str) else listed(value)
        if not isinstance(several, (list, tuple)):
            return several
        return [{"absent": [a]} if isinstance(a, str) else a for a in several]

    @field_validator("anchor")
    @classmethod
    def _without_empty_ones(cls, value: tuple[AnchorChoice, ...]) -> tuple[AnchorChoice, ...]:
        return tuple(a for a in value if a != AnchorChoice())

    @field_validator("high", "absent")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return checked_elements(value)

    @model_validator(mode="after")
    def _marked_in_one_way(self) -> Phase:
        if self.group == "oxide" and self.oxygens is None:
            raise ValueError("the group 'oxide' needs the oxygens of a formula unit: give oxygens")
        if self.component is not None and (self.high or self.absent):
            raise ValueError("a phase is known by its component or by high and absent, not both")
        return self

    @property
    def marked(self) -> bool:
        """Whether anything tells which component it is."""
        return bool(self.high or self.absent or self.component is not None)


def order_of_subtraction(matrix: str, phases: dict[str, Phase]) -> tuple[str, ...]:
    """Return the grains so that each comes after its contaminants.

    Raises
    ------
    ValueError
        When a contaminant is unknown, or grains contaminate each other in a circle.
    """
    for name, phase in phases.items():
        for other in phase.contaminants:
            if other not in phases or other in (name, matrix):
                grains = ", ".join(n for n in phases if n not in (matrix, name))
                raise ValueError(
                    f"the contaminants of {name} must be other grains ({grains}), not {other!r}"
                )
    order: list[str] = []
    rest = [n for n in phases if n != matrix]
    while rest:
        ready = [n for n in rest if set(phases[n].contaminants) <= set(order)]
        if not ready:
            raise ValueError(f"{' and '.join(rest)} contaminate each other: leave one of them out")
        order += ready
        rest = [n for n in rest if n not in ready]
    return tuple(order)


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


class _Factors(Section):
    """Factors of elements, written down or in a file."""

    values: dict[str, Positive] | None = Field(
        None, description="of lines (Ba La), or of elements measured by their usual lines"
    )
    file: str | None = Field(None, description="CSV: element, factor, relative sigma (optional)")
    line: Literal["family", "alpha"] = "alpha"
    detector: Literal["included", "apart"] = "included"
    relative_sigma: dict[str, NotNegative] = Field({})

    @field_validator("values", "relative_sigma")
    @classmethod
    def _known(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        for line in value or ():
            factor_line(line)
        return value

    @model_validator(mode="after")
    def _one_source(self) -> _Factors:
        if (self.values is None) == (self.file is None):
            raise ValueError("give one of values and file")
        if self.values is not None and not self.values:
            raise ValueError("values must name at least one element")
        return self


class KFactors(_Factors):
    """k-factors by weight that override computed ones."""

    reference: str = Field(
        "", description="element that ties them to computed ones; k = 1 if it has none"
    )


class ZetaFactors(_Factors):
    """Zeta-factors in kg electron / (m2 photon): composition and mass thickness together."""

    reference: str = ""


class Standard(Section):
    """A spectrum of known composition, from which k-factors are calibrated."""

    file: str = Field(description="EMSA (.msa, .emsa), or a map of which all pixels are summed")
    signal: int | None = None
    weight_percent: dict[str, Positive]
    relative_sigma: NotNegative = Field(0.0, description="of the known composition")
    support: tuple[str, ...] = ()
    thickness: Positive | None = Field(None, description="nm")
    density: Positive | None = Field(None, description="g/cm3")
    take_off_angle: Annotated[float, Field(gt=0, le=90)] | None = Field(None, description="degrees")
    reference: str | None = None

    @field_validator("weight_percent")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        if len(checked_elements(value)) < 2:
            raise ValueError("a standard for k-factors needs at least two elements")
        return value

    @field_validator("support")
    @classmethod
    def _known_support(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return checked_elements(value)

    @model_validator(mode="after")
    def _whole_film(self) -> Standard:
        if (self.thickness is None) != (self.density is None):
            raise ValueError("a standard's absorption needs both thickness and density, or none")
        return self


class Onuma(Section):
    """Partition coefficients against ionic radii, with lattice strain."""

    coordination: Literal[6, 8, 12] = Field(8, description="of the site")
    temperature: Positive | None = Field(None, description="K, for Young's modulus")


class Quantify(Section):
    """From spectra to compositions."""

    thickness: NotNegative | tuple[NotNegative, Positive] | None = Field(
        None, description="nm along the beam, or its least and most; 0: nothing is absorbed"
    )
    sums: Literal["plain", "weighted"] = Field(
        "plain", description="weighted: a grain's pixels count by its share, with less noise"
    )
    oxygen: Literal["measured", "stoichiometry"] = "measured"
    window: Literal["none", "polymer"] | None = Field(
        None, description="of the detector; not known, computed k-factors of soft lines may be off"
    )
    k_factors: KFactors | None = None
    standard: Standard | None = None
    zeta_factors: ZetaFactors | None = None
    electrons_per_pixel: Positive | None = Field(
        None, description="with zeta_factors; else from the file's beam current and live time"
    )
    cross_sections: str | None = Field(
        None, description="CSV: Z, shell, beam energy (keV), cross-section (cm2)"
    )
    energy_range: Window = (0.25, None)
    continuum_terms: Annotated[int, Field(ge=1, le=8)] | None = Field(
        None, description="by default as many and as stiff as each spectrum asks for"
    )
    free_l_groups: bool = False
    ratios: tuple[str, ...] = Field((), description="atomic ratios such as (Mg+Fe)/O")
    partition: tuple[tuple[str, str], ...] | None = Field(
        None, description="pairs of phases; each grain over the matrix when nothing is said"
    )
    onuma: Onuma = Onuma()
    edges: tuple[EdgeChoice, ...] = Field(
        (), description="energy losses: one for each element, compared with the first"
    )
    wanted_limits: dict[str, Positive] = Field(
        {}, description="weight percent, for which the counts needed are told"
    )

    @field_validator("ratios")
    @classmethod
    def _readable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for ratio in value:
            checked_ratio(ratio)
        return value

    @field_validator("wanted_limits")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        checked_elements(value)
        return value

    @model_validator(mode="after")
    def _one_kind_of_factors(self) -> Quantify:
        given = [n for n in ("k_factors", "standard", "zeta_factors") if getattr(self, n)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other: give one of them")
        if self.zeta_factors and self.thickness is not None:
            raise ValueError("zeta_factors give the mass thickness: leave thickness out")
        if self.electrons_per_pixel is not None and not self.zeta_factors:
            raise ValueError("electrons_per_pixel belongs to zeta_factors only")
        return self
