"""The reference of Python names: a table by task, and a page for each object."""

from __future__ import annotations

import importlib
import inspect
import re
import types
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

#: Heading -> public names of siftem, in the order of the road.
GROUPS = {
    "Reading and writing": (
        "load", "from_hyperspy", "to_hyperspy", "list_signals", "fetch_71gpa", "write_results",
        "convert", "open_map", "FitCheckpoint",
    ),
    "What flows through everything": (
        "SpectrumImage", "Spectrum", "EnergyAxis", "Acquisition",
    ),
    "Decomposition": (
        "decompose", "decompose_together", "PoissonNMF", "Factors", "denoised", "count_kinds",
        "choose_n_components", "match_phases", "Markers",
    ),
    "Segmentation and regions": (
        "PixelClassifier", "graph_cut", "suggest_smoothness", "Regions", "integrate", "sum_spectra",
        "weighted_mixtures",
    ),
    "Subtraction and unmixing": (
        "subtract", "unmix", "Absent", "KnownRatio", "Stoichiometry", "GivenScale", "MostMatrix",
    ),
    "Quantification": (
        "quantify", "Composition", "find_elements", "element_maps", "ElementMaps", "line_ratios",
        "null_elements",
        "thickness_from_charge_balance", "GivenKFactors", "ZetaFactors", "Detector", "Calibration",
    ),
    "Minerals": (
        "structural_formula", "identify", "calibrate_jointly", "calibrate_maps", "lattice_strain",
        "thickness_map", "Analysis",
    ),
    "Energy losses": (
        "estimate_noise", "as_counts", "NoiseModel", "Edge", "remove_background",
        "subtract_by_edges", "AbsentEdge", "EdgeRatio", "elemental_ratios",
    ),
    "Simulation": ("simulate_demo", "simulate_elnes"),
    "Whole runs": ("run", "open_run", "Workflow", "Recipe", "run_batch"),
    "Errors and warnings": (
        "SiftemError", "InputError", "Cancelled", "SiftemWarning", "DoubtWarning",
    ),
}  # fmt: skip

#: Lines of docstrings up to which the members of a class stand on its own page.
_SHORT = 14
#: Names that scikit-learn adds, whose texts lead to its own manual.
_ADDED = re.compile(r"set_\w+_request|get_metadata_routing|model_\w+")


def written_pages() -> dict[str, str]:
    """Return all pages, by their path below ``reference/``."""
    import siftem

    public = [n for n in siftem.__all__ if n != "__version__"]
    grouped = {n for names in GROUPS.values() for n in names}
    groups = {**GROUPS, "More": tuple(n for n in public if n not in grouped)}
    pages: dict[str, str] = {}
    lines = [
        *_title("Python"),
        "Everything here is imported from ``siftem`` itself, on first use. Energies are in the",
        "unit of the axis unless a name says otherwise; masks are True = included.", "",
    ]  # fmt: skip
    for heading, names in groups.items():
        known = [n for n in names if n in public]
        if known:
            objects = {f"siftem.{n}": _public(n) for n in known}
            lines += _section(heading, objects, pages)
    signals = importlib.import_module("siftem.signals")
    lines += _section(
        "On HyperSpy signals",
        {f"siftem.signals.{n}": getattr(signals, n) for n in signals.__all__},
        pages,
        before=["The same steps in one line on HyperSpy signals; HyperSpy signals come back.", ""],
    )
    return {"python.rst": "\n".join(lines), **pages}


def _public(name: str) -> Any:
    """What a public name stands for; some are packages that can be called, too."""
    import siftem

    found = getattr(siftem, name)
    if isinstance(found, types.ModuleType):
        return getattr(importlib.import_module(siftem._HOME[name]), name)
    return found


def _section(
    heading: str, objects: dict[str, Any], pages: dict[str, str], before: list[str] | None = None
) -> list[str]:
    """Write the pages of objects, and return the section that leads to them."""
    for path, target in objects.items():
        pages |= _object_pages(path, target)
    lines = [heading, "-" * len(heading), "", *(before or [])]
    lines += _table({path: _summary(target) for path, target in objects.items()})
    names = (f"   {path.removeprefix('siftem.')} <api/{path}>" for path in objects)
    return [*lines, ".. toctree::", "   :hidden:", "", *names, ""]


def _table(rows: dict[str, str]) -> list[str]:
    """Names that lead to their pages, and what each is in a line."""
    lines = [".. list-table::", "   :class: summary", "   :widths: 34 66", ""]
    for path, summary in rows.items():
        shown = path.removeprefix("siftem.")
        lines += [f"   * - :doc:`{shown} </reference/api/{path}>`", f"     - {summary}"]
    return [*lines, ""]


def _object_pages(path: str, target: Any) -> dict[str, str]:
    """Return the page of an object, and of a long class one for each of its members."""
    lines = _page(path)
    if not inspect.isclass(target):
        return {f"api/{path}.rst": "\n".join([*lines, *_function(path, target)])}
    members = {} if issubclass(target, BaseModel | BaseException) else dict(_members(target))
    lines += [f".. autoclass:: {path}", ""]
    pages = {}
    if sum(len(_doc(m).splitlines()) for m in members.values()) <= _SHORT:
        for name, member in members.items():
            lines += [f".. {_directive(member)}:: {path}.{name}", ""]
    else:
        lines += [".. rubric:: Methods and properties", ""]
        lines += [".. rst-class:: members", ""]
        for name, member in members.items():
            lines.append(f"- :doc:`{name} <{path}.{name}>`: {_summary(member)}")
        lines += ["", ".. toctree::", "   :hidden:", ""]
        lines += [f"   {name} <{path}.{name}>" for name in members] + [""]
        for name, member in members.items():
            own = f"{path}.{name}"
            page = [*_page(own), f".. {_directive(member)}:: {own}", ""]
            pages[f"api/{own}.rst"] = "\n".join(page)
    return {f"api/{path}.rst": "\n".join(lines), **pages}


def _function(path: str, target: Any) -> list[str]:
    """Document a function under its public name, whatever module it lives in."""
    from sphinx.ext.napoleon import Config, NumpyDocstring

    signature = inspect.signature(target)
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    shown = str(signature.replace(parameters=plain, return_annotation=signature.empty))
    # A default that is a function shows its address.
    shown = re.sub(r"<function (\w+) at 0x\w+>", r"\1", shown)
    config = Config(napoleon_use_param=False, napoleon_use_rtype=False)
    text = str(NumpyDocstring(_doc(target), config, what="function", name=path, obj=target))
    body = [f"   {line}" if line else "" for line in text.splitlines()]
    return [f".. py:function:: {path}{shown}", "", *escaped(body), ""]


def escaped(lines: list[str]) -> list[str]:
    """Keep names such as ``n_iter_`` in shapes from being read as links."""
    return [
        re.sub(r"(?<=\w)_(?=[,)\s])", r"\\_", line) if " shape (" in line else line
        for line in lines
    ]


def _members(target: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties with a text, in the order of the sources."""
    seen = set()
    for kind in target.__mro__:
        if not kind.__module__.startswith("siftem"):
            continue
        for name, member in vars(kind).items():
            known = name.startswith("_") or name in seen or _ADDED.fullmatch(name)
            inner = getattr(member, "__func__", member)
            documented = inspect.isfunction(inner) or _directive(member) == "autoproperty"
            if not known and documented and _doc(member):
                seen.add(name)
                yield name, member


def _directive(member: Any) -> str:
    made = isinstance(member, property) or type(member).__name__ == "cached_property"
    return "autoproperty" if made else "automethod"


def _doc(target: Any) -> str:
    return inspect.getdoc(target) or ""


def _summary(target: Any) -> str:
    """Return the first sentence of a docstring, on one line."""
    return " ".join(_doc(target).split("\n\n")[0].split())


def _page(path: str) -> list[str]:
    """Begin the page of an object, which has no room for a second list of contents."""
    return [":html_theme.sidebar_secondary.remove:", "", *_title(path)]


def _title(text: str) -> list[str]:
    return [text, "=" * len(text), ""]
