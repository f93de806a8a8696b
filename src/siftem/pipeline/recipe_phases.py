"""The phases of a recipe: what marks each, and what fixes how much matrix its mixture holds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from siftem.errors import InputError
from siftem.minerals.groups import GROUPS
from siftem.pipeline.recipe_edges import EdgeChoice
from siftem.pipeline.recipe_parts import (
    NotNegative,
    Positive,
    Section,
    checked_elements,
    listed,
)
from siftem.xray.element_ratio import ratio_elements


class RatioAnchor(Section):
    """A known ratio of two elements in the grain."""

    numerator: str
    denominator: str
    value: NotNegative
    sigma: NotNegative = 0.0
    by: Literal["atoms", "weight"] = "atoms"

    @field_validator("numerator", "denominator")
    @classmethod
    def _known(cls, value: str) -> str:
        return checked_elements((value,))[0]


class StoichiometryAnchor(Section):
    """A known ratio of sums of atoms in the grain, such as (Ca+Mg+Fe)/(Si+Al) = 1."""

    ratio: str
    value: NotNegative = 1.0
    sigma: NotNegative = 0.0

    @field_validator("ratio")
    @classmethod
    def _readable(cls, value: str) -> str:
        return checked_ratio(value)


class ScaleAnchor(Section):
    """A given factor on the spectrum of the matrix, or of another contaminant."""

    value: NotNegative
    sigma: NotNegative = 0.0
    of: str = Field("", description="whose spectrum; the matrix' when nothing is said")


class EdgeRatioAnchor(Section):
    """Energy losses: a known ratio of two elements in the grain, by atoms, from their edges."""

    numerator: EdgeChoice
    denominator: EdgeChoice
    value: NotNegative
    sigma: NotNegative = 0.0

    @model_validator(mode="after")
    def _of_two_elements(self) -> EdgeRatioAnchor:
        elements = self.numerator.made().element, self.denominator.made().element
        if elements[0] == elements[1]:
            raise ValueError(f"a ratio is of two elements, not of {elements[0]} to itself")
        return self


class AnchorChoice(Section):
    """One thing known of a grain: exactly one of these keys, or none.

    With none, nothing is assumed: what the counts leave open is an interval.
    """

    absent: tuple[str, ...] | None = None
    ratio: RatioAnchor | None = None
    stoichiometry: StoichiometryAnchor | None = None
    scale: ScaleAnchor | None = None
    absent_edge: EdgeChoice | None = Field(
        None, description="energy losses: an edge that the grain lacks, such as Ti_L3"
    )
    edge_ratio: EdgeRatioAnchor | None = None
    most_matrix: tuple[str, ...] | None = Field(
        None, description="elements of which no line may become negative"
    )

    @field_validator("absent", "most_matrix")
    @classmethod
    def _known(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and not value:
            raise ValueError("name at least one element")
        return None if value is None else checked_elements(value)

    @model_validator(mode="after")
    def _at_most_one(self) -> AnchorChoice:
        if len(self.model_dump(exclude_none=True)) > 1:
            raise ValueError(
                "one anchor is one of absent, ratio, stoichiometry, scale, absent_edge, "
                "edge_ratio and most_matrix, not several: give several as a list"
            )
        return self

    @property
    def on_lines(self) -> bool:
        """Whether it is a condition on the grain's lines, as unmixing needs."""
        return not (self.absent is None and self.ratio is None and self.stoichiometry is None)


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


def checked_ratio(text: str) -> str:
    """Return an atomic ratio such as "(Mg+Fe)/O", or raise a ValueError that says what is wrong."""
    try:
        ratio_elements(text)
    except InputError as error:
        raise ValueError(str(error)) from None
    return text


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
