"""How templates are filled: nothing is taken for HTML that is none, nothing may be missing."""

from __future__ import annotations

import base64

from jinja2 import Environment, PackageLoader, StrictUndefined

from siftem.pipeline.file_names import file_name


def environment() -> Environment:
    """Return the environment of all templates, with filters for tables as CSV."""
    made = Environment(
        loader=PackageLoader("siftem.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["base64"] = lambda text: encoded(text.encode("utf-8"))
    made.filters["file_name"] = file_name
    return made


def encoded(data: bytes) -> str:
    """Return bytes in base64, for a page."""
    return base64.b64encode(data).decode("ascii")
