"""One line for objects that hold arrays: what they hold, not the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

#: Characters of one field, and how many parts of a mapping or tuple are written out.
_LONGEST = 100
_MOST = 8


def outline(self: Any) -> str:
    """Return a short text for a dataclass; for use as its ``__repr__``."""
    shown = (f"{f.name}={_short(getattr(self, f.name))}" for f in fields(self) if f.repr)
    return f"{type(self).__name__}({', '.join(shown)})"


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"<{value.dtype} array of {' x '.join(map(str, value.shape)) or 'no shape'}>"
    if isinstance(value, Mapping):
        names = ", ".join(str(key) for key in list(value)[:_MOST])
        more = ", ..." if len(value) > _MOST else ""
        return _cut(f"{{{names}{more}}}")
    if isinstance(value, tuple):
        inside = ", ".join(_short(part) for part in value[:_MOST])
        more = f", ... {len(value)} in all" if len(value) > _MOST else ""
        return _cut(f"({inside}{more})")
    return _cut(repr(value))


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
