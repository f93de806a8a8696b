"""Old names of parameters and of keys: still taken, and told."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from siftem.errors import InputError, SiftemWarning

P = ParamSpec("P")
R = TypeVar("R")


def takes_old_names(**renamed: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function take parameters by their old names, ``old="new"``, too."""

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def called(*args: Any, **given: Any) -> R:
            return function(*args, **with_new_names(given, renamed, f"{function.__name__}()"))

        return called

    return decorated


def with_new_names(
    given: Mapping[str, Any], renamed: Mapping[str, str], where: str
) -> dict[str, Any]:
    """Return values by name, those with an old name under the new one.

    Parameters
    ----------
    given : mapping of str to object
    renamed : mapping of str to str
        Old names and new ones.
    where : str
        What takes them, for the warning.

    Raises
    ------
    InputError
        When both names are given.

    Warns
    -----
    SiftemWarning
        For each old name.
    """
    out = dict(given)
    for old in renamed.keys() & given.keys():
        new = renamed[old]
        if new in given:
            raise InputError(f"{where}: {old} is the old name of {new}: give {new} alone")
        warnings.warn(f"{where}: {old} is called {new} now", SiftemWarning, stacklevel=3)
        out[new] = out.pop(old)
    return out
