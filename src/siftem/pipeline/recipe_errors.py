"""What is wrong with a recipe, in one sentence that names the key."""

from __future__ import annotations

import difflib
import types
import typing
from typing import Any

from pydantic import BaseModel, ValidationError

#: More keys than this are not listed.
_MOST_KEYS = 16


def one_sentence(error: ValidationError, model: type[BaseModel]) -> str:
    """Return the first thing that is wrong: its key, and what is allowed there.

    Parameters
    ----------
    error : ValidationError
    model : type
        Of the whole recipe.
    """
    first = error.errors()[0]
    unknown = first["type"] == "extra_forbidden"
    # The last part of an unknown key is the key, whatever it looks like.
    place = [p for p in first["loc"][:-1] if not _is_tag(p)]
    place += [p for p in first["loc"][-1:] if unknown or not _is_tag(p)]
    key = ".".join(str(part) for part in place) or "recipe"
    message = first["msg"].removeprefix("Value error, ")
    if unknown:
        message = _unknown_key(place, model)
    elif "got" not in message and isinstance(first["input"], (str, int, float)):
        message = f"{message}, got {first['input']!r:.60}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return " ".join(f"{key}: {message}{more}".split())


def _is_tag(part: int | str) -> bool:
    """Whether a part of a location names a member of a union and no key."""
    if not isinstance(part, str):
        return False
    return part.startswith("<") or part.endswith("]") or part in ("int", "str", "bool", "float")


def _unknown_key(place: list[int | str], model: type[BaseModel]) -> str:
    allowed = _keys_at(place[:-1], model)
    if not allowed:
        return "is not a known key"
    near = difflib.get_close_matches(str(place[-1]), allowed, 1)
    if near:
        return f"is not a known key; did you mean {near[0]}?"
    return f"is not a known key; known are {', '.join(allowed[:_MOST_KEYS])}"


def _keys_at(place: list[int | str], model: type[BaseModel]) -> list[str]:
    """Keys of the section at a place of a recipe; none when it can't be told."""
    sections: list[type[BaseModel]] = [model]
    for part in place:
        found: list[type[BaseModel]] = []
        for section in sections:
            field = section.model_fields.get(str(part))
            if field is not None:
                found += _sections_in(field.annotation)
        # A part that is no field is a name in a mapping or a number in a list.
        sections = found or sections
    return [name for section in sections for name in section.model_fields]


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
        return [s for part in typing.get_args(annotation) for s in _sections_in(part)]
    return []
