"""Files that a recipe names, found from wherever the recipe is read."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from siftem.errors import SiftemWarning

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
