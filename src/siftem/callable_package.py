"""Packages whose name is that of a function, too: ``siftem.quantify(spectrum, elements)``."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


def also_a_function(package: str, home: str) -> None:
    """Let a package be called as the function of its name.

    Importing one of its modules binds the package to the name in ``siftem``, in place of the
    function.

    Parameters
    ----------
    package : str
        Such as "siftem.quantify".
    home : str
        Module that defines the function; imported when it is called.
    """
    name = package.rpartition(".")[2]

    class CallablePackage(ModuleType):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return getattr(importlib.import_module(home), name)(*args, **kwargs)

    sys.modules[package].__class__ = CallablePackage
