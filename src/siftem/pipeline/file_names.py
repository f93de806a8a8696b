"""Names of phases as names of files."""

from __future__ import annotations

import re


def file_name(name: str) -> str:
    """Turn the name of a phase into a file name: letters, digits, ``-``, ``_`` and ``.``."""
    safe = re.sub(r"[^\w.-]+", "_", name).strip("._")
    return safe or "spectrum"
