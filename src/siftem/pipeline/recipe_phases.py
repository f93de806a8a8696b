"""The phases of a recipe: what marks each, and what is known of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from siftem.minerals.groups import GROUPS
from siftem.pipeline.recipe_anchors import AnchorChoice
from siftem.pipeline.recipe_parts import (
    Positive,
    Section,
    checked_elements,
    listed,
)


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
