"""Reference pages that are written from the code: recipe, command line, Python names."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from python_pages import escaped, written_pages

# The tests read these pages without Sphinx.
if TYPE_CHECKING:
    from sphinx.application import Sphinx

#: What keys mean whose models say nothing about them.
MEANINGS = {
    "siftem": "version of the recipe",
    "title": "for report and figures; the file's name when nothing is said",
    "elements": "elements of the phases; those that the file lists when nothing is said",
    "support": "elements of grid, holder and preparation: fitted, left out of the sums",
    "energy_range": "keV that are used; null leaves a side open",
    "matrix": "which of the phases is everywhere",
    "file": "a spectrum image",
    "signal": "its number in the file, as `siftem inspect` lists them",
    "shape": "pixels (y, x)",
    "channels": "of 10 eV",
    "dose": "mean counts a pixel",
    "random_state": "of the random numbers",
    "components": "how many; when nothing is said the number of phases, else what the counts tell",
    "n_init": "factorisations from different starts, of which the best is kept",
    "tol": "relative gain of a sweep at which it stops",
    "max_iter": "sweeps, or steps of the likelihood's maximisation, at the most",
    "smoothness": "price of borders in the graph cut",
    "margin": "pixels kept away from the borders of masks",
    "trees": "of the random forest",
    "trace_lines": "lines that figure 1 compares, such as Nd La",
    "rectangle_share": "size of the confined rectangles, as a share of the map",
    "numerator": "element",
    "denominator": "element",
    "value": "what is known",
    "sigma": "its standard deviation",
    "by": "what the ratio counts",
    "absent": "elements that the grain lacks",
    "values": "by element",
    "line": "what the factors belong to",
    "detector": "whether the detector's efficiency is in the factors",
    "relative_sigma": "relative standard deviation",
    "reference": "element by which given and computed factors are tied",
    "weight_percent": "known composition",
    "oxygen": "from its line, or as much as the cations need",
    "continuum_terms": "of the fitted continuum",
    "window": "in front of the detector",
    "free_l_groups": "fit the L1, L2 and L3 groups freely",
    "pixels": "`[y, x]` of each",
    "ratio": "such as (Ca+Mg+Fe)/(Si+Al), by atoms",
}


def write_pages(app: Sphinx) -> None:
    """Write the pages into ``reference/`` of the sources."""
    folder = Path(app.srcdir) / "reference"
    pages = written_pages()
    for name, text in pages.items():
        _write(folder / name, text)
    for old in (folder / "api").glob("*.rst"):
        if f"api/{old.name}" not in pages:
            old.unlink()
    _write(folder / "recipe.md", recipe_page())
    _write(folder / "command-line.md", command_page())
    _write(Path(app.srcdir) / "topics" / "index.md", topics_page(Path(app.srcdir)))


def topics_page(folder: Path) -> str:
    """The list of the longer pages, which lie beside the index."""
    elsewhere = {"index", "summary"}
    pages = [p.stem for p in sorted(folder.glob("*.md")) if p.stem not in elsewhere]
    return "\n".join(
        [
            "# In depth", "",
            "Longer pages on single parts: how they work, and what they were measured to do.", "",
            "```{toctree}", ":maxdepth: 1", "", *(f"../{page}" for page in pages), "```", "",
        ]
    )  # fmt: skip


def escape_names(
    _app: Sphinx, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]
) -> None:
    """Keep names such as ``n_iter_`` in shapes from being read as links."""
    lines[:] = escaped(lines)


def recipe_page() -> str:
    """One table for each section of the recipe, from its schema."""
    from siftem.pipeline.recipe import Recipe

    lines = [
        "# The recipe", "",
        "A recipe is a YAML file that holds all a run depends on. Every run writes the complete",
        "one, `recipe.yaml`, into its folder. Unknown keys are errors. A minimal recipe:", "",
        "```yaml", "input: {file: map.emd}", "elements: [O, Mg, Si, Fe]", "```", "",
        "Relative paths are taken from the folder of the recipe.", "",
    ]  # fmt: skip
    seen: list[type[BaseModel]] = []
    waiting: list[tuple[str, type[BaseModel]]] = [("The whole", Recipe)]
    while waiting:
        title, model = waiting.pop(0)
        if model in seen:
            continue
        seen.append(model)
        lines += [f"## {title}" if model is Recipe else f"## `{title}`", ""]
        lines += [inspect.cleandoc(model.__doc__ or "").split("\n\n")[0], ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        for key, entry in model.model_fields.items():
            nested = _models(entry.annotation)
            path = key if model is Recipe else f"{title}.{key}"
            if model is Recipe and key == "phases":
                path = "phases.<name>"
            waiting += [(path, m) for m in nested]
            first = inspect.cleandoc(nested[0].__doc__ or "").split("\n")[0] if nested else ""
            meaning = entry.description or first or MEANINGS.get(key, "")
            default = "required" if entry.is_required() else _default(entry.get_default(
                call_default_factory=True
            ))  # fmt: skip
            row = (f"`{key}`", _type(entry.annotation), default, meaning)
            lines.append("| " + " | ".join(c.replace("|", r"\|") for c in row) + " |")
        lines.append("")
    return "\n".join(lines)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in typing.get_args(annotation) for m in _models(part)]


def _type(annotation: Any) -> str:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return "section"
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(parts[0])
    if origin is typing.Literal:
        return " or ".join(f"`{p}`" for p in parts)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(p) for p in parts if p is not type(None))
    if origin is dict:
        return f"{_type(parts[1])} by name"
    if origin in (tuple, list):
        if len(parts) == 2 and parts[1] is ...:
            return f"list of {_type(parts[0])}"
        return f"{len(parts)} numbers" if len(parts) > 1 else "list"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _default(value: Any) -> str:
    if isinstance(value, BaseModel):
        return "see below"
    if value is None or value == () or value == {} or value == "":
        return "-"
    if isinstance(value, tuple):
        return "`[" + ", ".join("null" if v is None else f"{v}" for v in value) + "]`"
    return f"`{value}`"


def command_page() -> str:
    """What ``--help`` says, for the program and each command."""
    whole = _help()
    lines = ["# Command line", "", "```text", whole, "```", ""]
    listed = re.search(r"Commands:\n((?:  .+\n?)+)", whole)
    names = re.findall(r"^  (\w[\w-]*)", listed.group(1), re.MULTILINE) if listed else []
    for name in names:
        lines += [f"## `siftem {name}`", "", "```text", _help(name), "```", ""]
    lines += [
        "Exit status: 0 when done, 1 when something could not be done (one sentence on the",
        "standard error says what), 2 for a wrong option.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _help(*command: str) -> str:
    environment = {**os.environ, "COLUMNS": "90", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-m", "siftem", *command, "--help"],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    return done.stdout.strip()


def _write(path: Path, text: str) -> None:
    # Untouched when it says the same, so that Sphinx does not read it again.
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the pages before Sphinx looks for sources."""
    app.connect("builder-inited", write_pages, priority=100)
    app.connect("autodoc-process-docstring", escape_names, priority=100)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
