"""What the parts of a recipe are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from siftem.eels.edges import Edge
from siftem.errors import InputError
from siftem.old_names import with_new_names
from siftem.xray.elements import atomic_number

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Window = tuple[float | None, float | None]


class Section(BaseModel):
    """A part of a recipe: unknown keys are errors, values don't change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Old names of keys, which are still taken, and the new ones.
    _OLD_KEYS: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _by_new_names(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        try:
            return with_new_names(value, cls._OLD_KEYS, "the recipe")
        except InputError as error:
            raise ValueError(str(error)) from None


class EdgeChoice(Section):
    """An edge and its windows; a name alone stands for the default windows."""

    edge: str = Field(description="element and subshell, such as Ti_L3")
    background: tuple[Positive, Positive] | None = Field(None, description="eV, before the edge")
    signal: tuple[Positive, Positive] | None = Field(None, description="eV, from the edge on")

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"edge": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _known(self) -> EdgeChoice:
        try:
            self.made()
        except InputError as error:
            raise ValueError(str(error)) from None
        return self

    def made(self) -> Edge:
        """Return the edge."""
        return Edge(self.edge, background=self.background, signal=self.signal)


def checked_elements(elements: Iterable[str]) -> tuple[str, ...]:
    """Return the elements, or raise a ValueError (pydantic's) that names the unknown one."""
    out = tuple(elements)
    for element in out:
        try:
            atomic_number(element)
        except InputError as error:
            raise ValueError(str(error)) from None
    return out


def listed(value: Any) -> Any:
    """Turn a lone mapping into a list of one, for keys that take one or several."""
    return [value] if isinstance(value, dict) else value


def listed_names(text: str | None) -> tuple[str, ...] | None:
    """Return the names of a list such as "O, Mg, Si"; None for None."""
    if text is None:
        return None
    return tuple(part.strip() for part in text.split(",") if part.strip())
