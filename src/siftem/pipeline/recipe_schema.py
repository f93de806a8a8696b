"""The JSON schema of recipes, by which editors complete keys and mark mistakes."""

from __future__ import annotations

import json
from typing import Any

from siftem.pipeline.recipe import Recipe

_TEXT = {"type": "string"}


def recipe_schema() -> dict[str, Any]:
    """Return the schema as plain data, short forms that recipes may use included."""
    schema = Recipe.model_json_schema()
    kinds = schema["$defs"]
    anchor = {"$ref": "#/$defs/AnchorChoice"}
    one = [anchor, _TEXT]
    several = {"type": "array", "items": {"anyOf": one}}
    _replace(kinds["Phase"]["properties"]["anchor"], [*one, several])
    shape = {"$ref": "#/$defs/Shape"}
    shapes = {"anyOf": [shape, {"type": "array", "items": shape}]}
    by_phase = {"type": "object", "additionalProperties": shapes}
    _replace(kinds["Segment"]["properties"]["traces"], [_TEXT, by_phase, {"type": "null"}])
    switch = [{"type": "boolean"}, {"const": "auto"}, {"$ref": "#/$defs/Unmix"}]
    _replace(schema["properties"]["unmix"], switch)
    # An edge by its name alone.
    kinds["EdgeChoice"] = {"anyOf": [_TEXT, kinds["EdgeChoice"]]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text() -> str:
    """Return the schema as JSON."""
    return json.dumps(recipe_schema(), indent=1, ensure_ascii=False) + "\n"


def _replace(field: dict[str, Any], choices: list[dict[str, Any]]) -> None:
    for key in ("type", "items", "$ref", "anyOf"):
        field.pop(key, None)
    field["anyOf"] = choices
