"""What the parts of a recipe are made of.

Files that it names are found from wherever it is read, and what is wrong with it is said in one
sentence that names the key.
"""

from __future__ import annotations

import difflib
import types
import typing
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from siftem.eels.edges import Edge
from siftem.errors import InputError, SiftemWarning
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
    def _by_new_names(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, dict):
            return value
        if info.context and info.context["stored"]:
            return {cls._OLD_KEYS.get(key, key): part for key, part in value.items()}
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


#: Keys that hold the path of a file or folder.
PATHS = (
    ("input", "file"),
    ("decompose", "spectra"),
    ("segment", "traces"),
    ("segment", "classifier"),
    ("quantify", "k_factors", "file"),
    ("quantify", "zeta_factors", "file"),
    ("quantify", "standard", "file"),
    ("quantify", "cross_sections"),
    ("identify", "table"),
)
#: A file that was moved together with the recipe is looked for in so many folders above it.
_FOLDERS_ABOVE = 3


def found_from(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the data of a recipe with absolute paths, as seen from the recipe's folder.

    Parameters
    ----------
    data : dict
        As in the file.
    folder : Path
        Of the recipe; absolute.

    Returns
    -------
    dict

    Warns
    -----
    SiftemWarning
        When a file is not where the recipe says, but in the same place beside the recipe: the
        folder with both was moved or copied.
    """
    return _changed(data, lambda path: _found(path, folder))


def with_absolute_paths(data: dict[str, Any]) -> dict[str, Any]:
    """Return the data of a recipe with the paths of files that are there made absolute."""
    return _changed(data, lambda path: str(Path(path).absolute()) if Path(path).exists() else path)


def _found(path: str, folder: Path) -> str:
    named = folder / path
    try:
        if named.exists():
            return str(named)
        parts = named.relative_to(named.anchor).parts
        for above in (folder, *folder.parents[:_FOLDERS_ABOVE]):
            for start in range(len(parts)):
                moved = above.joinpath(*parts[start:])
                if moved.exists():
                    warnings.warn(
                        f"{named}, which the recipe names, is not there: {moved} is taken for it",
                        SiftemWarning,
                        stacklevel=5,
                    )
                    return str(moved)
    except (OSError, ValueError):  # not a possible name: told where it is opened
        pass
    return str(named)


def _changed(data: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    for keys in PATHS:
        data = _with_path(data, keys, change)
    return data


def _with_path(data: dict[str, Any], keys: tuple[str, ...], change: Callable[[str], str]) -> Any:
    key, *rest = keys
    value = data.get(key)
    if rest and isinstance(value, dict):
        return {**data, key: _with_path(value, tuple(rest), change)}
    if not rest and isinstance(value, str):
        return {**data, key: change(value)}
    return data


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
