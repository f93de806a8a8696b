"""What the parts of a recipe are made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from siftem.errors import InputError
from siftem.xray.elements import atomic_number

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Window = tuple[float | None, float | None]


class Section(BaseModel):
    """A part of a recipe: unknown keys are errors, values don't change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
