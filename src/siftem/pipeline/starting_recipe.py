"""Recipes to start from: what a map shows by itself, with a word on each key, and the demo's."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import yaml

from siftem.errors import InputError
from siftem.fit.element_search import find_elements
from siftem.fit.line_evidence import FoundElement
from siftem.pipeline.changes import changed_recipe
from siftem.pipeline.parts import recorded_warnings
from siftem.pipeline.recipe import Recipe, make_recipe
from siftem.pipeline.results import Matched
from siftem.pipeline.workflow import Workflow
from siftem.progress import Progress, silent
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage

#: Elements of grids, holders, detectors and ion beams.
_OFTEN_SUPPORT = ("C", "Cu", "Ga", "Mo", "Ni", "Au", "Pt", "Be", "Ar")
#: Elements that a first ratio is not made of.
_ANIONS = ("C", "N", "O", "F", "S", "Cl")
_HEAD = """\
# A recipe for {name}, as the map shows itself. Change it, then: siftem run {recipe}
# Keys with their meaning, for editors: siftem recipe --schema --out recipe.schema.json, and as the
# first line here: # yaml-language-server: $schema=recipe.schema.json
siftem: 1
input:
{input}
"""


def starting_recipe(
    path: str | os.PathLike[str],
    *,
    beside: str | os.PathLike[str] = ".",
    name: str = "recipe.yaml",
    components: str | int = "auto",
    elements: tuple[str, ...] | None = None,
    support: tuple[str, ...] | None = None,
    signal: int | None = None,
    progress: Progress = silent,
) -> str:
    """Look at a map, and write a commented recipe for it.

    Elements are those that a run of the file alone would quantify, support what else stands out in
    the sum of all pixels; the phases are the components of a decomposition, by their numbers.

    Parameters
    ----------
    path : path-like
        A spectrum image.
    beside : path-like
        Folder of the recipe: a file in it is named without it.
    name : str
        Of the recipe, for its first line.
    components : int or "auto"
        Number of phases.
    elements, support : tuple of str, optional
        By default as found.
    signal : int, optional
        Number of the signal in the file.
    progress : Progress

    Returns
    -------
    str
        YAML.

    Raises
    ------
    SiftemError
        When the map can't be read or decomposed.
    """
    given = make_recipe({"input": {"file": str(path)}})
    recipe = changed_recipe(
        given, components=components, elements=elements, support=support, signal=signal
    )
    # What is found is written into the recipe; the run tells what it means.
    with recorded_warnings():
        workflow = Workflow(recipe)
        si: SpectrumImage = workflow.run("prepare", progress=progress).spectrum_image
        matched: Matched = workflow.run("match", progress=progress)
        seen = _seen(si)
    named = matched.elements
    others = recipe.support or tuple(f.element for f in seen if f.element not in named)
    parts = [
        _HEAD.format(name=Path(path).name, recipe=name, input=_input(path, beside, signal)),
        _elements_text(si, named, others, seen),
        _acquisition_text(si),
        _phases_text(si, matched),
        _rest_text(si, matched),
    ]
    return "\n".join(part for part in parts if part)


def _seen(si: SpectrumImage) -> tuple[FoundElement, ...]:
    if not si.signal_type.startswith("EDS"):
        return ()
    whole = Spectrum(si.sum_spectrum(), si.axis, name="all pixels", acquisition=si.acquisition)
    try:
        return find_elements(whole)
    except InputError:  # nothing to be seen
        return ()


def _input(path: str | os.PathLike[str], beside: str | os.PathLike[str], signal: int | None) -> str:
    file, folder = Path(path).absolute(), Path(beside).absolute()
    shown = file.relative_to(folder).as_posix() if file.is_relative_to(folder) else str(file)
    lines = [f"  file: {json.dumps(shown, ensure_ascii=False)}"]
    if signal is not None:
        lines.append(f"  signal: {signal}")
    return "\n".join(lines)


def _elements_text(
    si: SpectrumImage, elements: Sequence[str], support: Sequence[str], seen: Sequence[FoundElement]
) -> str:
    if not si.signal_type.startswith("EDS"):
        return ""
    lines = ", ".join(f"{f.line} ({f.significance:.0f} sigma)" for f in seen) or "none"
    often = [e for e in elements if e in _OFTEN_SUPPORT]
    out = [
        f"# Lines that stand out in the sum of all pixels: {lines}.",
        "# elements are quantified and add up to 100%.",
        f"elements: {_flow(elements)}",
        "# support is fitted as well and left out of the 100%: grid, holder, preparation.",
    ]
    if support:
        out.append("# Faint, or in all phases alike: move up what the specimen holds.")
    if often:
        out.append(f"# Often of the support, and to be moved here if so: {', '.join(often)}.")
    return "\n".join([*out, f"support: {_flow(support)}", ""])


def _acquisition_text(si: SpectrumImage) -> str:
    a = si.acquisition
    known = {
        "beam_energy": (a.beam_energy, "keV"),
        "take_off_angle": (a.take_off_angle, "degrees"),
        "resolution": (a.resolution, "eV at Mn Ka"),
    }
    if not si.signal_type.startswith("EDS"):
        known = {"beam_energy": (a.beam_energy, "keV")}
    missing = [f"#   {key}:   # {unit}" for key, (value, unit) in known.items() if value is None]
    told = ", ".join(f"{k} {v:g} {unit}" for k, (v, unit) in known.items() if v is not None)
    head = f"# The file says: {told or 'nothing of the acquisition'}."
    if not missing:
        return f"{head}\n"
    return "\n".join([f"{head} It does not say:", "# acquisition:", *missing, ""])


def _phases_text(si: SpectrumImage, matched: Matched) -> str:
    factors, layout = matched.factors, matched.layout
    letters = [name.split(" ")[0] for name in factors.names]
    strongest = [name.partition("(")[2].rstrip(")").split() for name in factors.names]
    matrix = factors.names.index(matched.matrix)
    mixed = [
        i != matrix and (layout is None or bool(layout.phases[i].hosts))
        for i in range(len(letters))
    ]
    found = "not told by the pixels" if layout is None else layout.sentence(letters)
    out = [
        f"# How the phases lie, as found: {found}.",
        "# To correct it: matrix, side by side, particles on a support, or single.",
        "layout: auto",
        f"decompose: {{components: {len(letters)}}}",
    ]
    if any(mixed):
        out += ["# The phase that the others lie in or on.", f"matrix: {letters[matrix]}"]
    out += [
        "# Give them their names. component is their number as found; marks hold for other maps as",
        "# well: high: [Mg, Fe], absent: [Si].",
    ]
    if any(mixed):
        out += [
            "# An anchor is what you know of a grain: it fixes how much of another phase is taken",
            "# off it; without one there are ranges.",
        ]
    counts = factors.counts
    shares = 100 * counts / max(float(counts.sum()), 1e-300)
    out.append("phases:")
    for i, letter in enumerate(letters):
        shown = f", strongest in {' '.join(strongest[i])}" if strongest[i] else ""
        out += [f"  {letter}:   # {shares[i]:.1f}% of the counts{shown}", f"    component: {i + 1}"]
        if mixed[i]:
            lacks = next((e for e in strongest[matrix] if e not in strongest[i]), None)
            example = "Si" if si.signal_type.startswith("EDS") else "{absent_edge: Ti_L3}"
            known = lacks or example
            out.append(
                f"    # anchor: {known}   # if it lacks it altogether, and the other does not"
            )
        if _thin_film(si):
            out.append("    # density:     # g/cm3, for absorption; with quantify: thickness")
            out.append("    # oxygens:     # of its formula unit, such as 3 for ABO3")
    return "\n".join([*out, ""])


def _thin_film(si: SpectrumImage) -> bool:
    return si.signal_type.startswith("EDS") and not si.acquisition.bulk


def _rest_text(si: SpectrumImage, matched: Matched) -> str:
    if not si.signal_type.startswith("EDS"):
        return "# quantify:\n#   edges: [O_K, Mn_L3]   # ratios of atoms from these edges\n"
    if not _thin_film(si):
        return (
            "# A bulk specimen has no k-factors: net lines are compared. For a thin film:\n"
            "# acquisition: {signal_type: EDS_TEM}\n"
        )
    out = [
        "# quantify:",
        "#   thickness: 100   # nm, or a range [80, 120]: corrects absorption",
        "#   window: none   # of the detector, or polymer: takes 40% of O K away",
    ]
    cations = [e for e in matched.elements if e not in _ANIONS]
    first, second = ("Mg", "Fe") if {"Mg", "Fe"} <= set(cations) else (*cations, "", "")[:2]
    if second:
        out.append(f"#   ratios: [{first}/({first}+{second})]   # of atoms")
    return "\n".join([*out, ""])


def _flow(values: Sequence[str]) -> str:
    return str(yaml.safe_dump(list(values), default_flow_style=True, width=1000)).strip()


def demo_recipe(
    *, shape: tuple[int, int] = (128, 128), dose: float = 300.0, random_state: int = 0
) -> Recipe:
    """Return the recipe that simulates and runs the model case.

    Parameters
    ----------
    shape : tuple of int
        Pixels (ny, nx).
    dose : float
        Mean counts a pixel.
    random_state : int
        Of the simulation and of the run.
    """
    return make_recipe(
        {
            "title": "Simulated model case",
            "input": {"demo": {"shape": shape, "dose": dose, "random_state": random_state}},
            "elements": ["O", "Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "Hf", "Lu", "U"],
            "support": ["Cu"],
            "matrix": "Brg",
            "phases": {
                "Brg": {"high": ["Si", "Al"], "density": 4.25, "oxygens": 3},
                "Fp": {
                    "high": ["Mg", "Fe"],
                    "absent": ["Si"],
                    "anchor": {"absent": ["Si"]},
                    "density": 4.1,
                    "oxygens": 1,
                },
                # Ca-perovskite holds a few percent of Mg for Ca: assuming none would be wrong.
                "Ca-Pv": {
                    "high": ["Ca", "Nd"],
                    "anchor": {
                        "ratio": {
                            "numerator": "Mg",
                            "denominator": "Ca",
                            "value": 0.03,
                            "sigma": 0.02,
                        }
                    },
                    "density": 4.4,
                    "oxygens": 3,
                },
            },
            "decompose": {"random_state": random_state},
            "segment": {"random_state": random_state},
            "quantify": {
                "thickness": 100,
                "window": "none",
                "ratios": [
                    "(Mg+Fe)/O",
                    "(Mg+Fe+Ca+Al/2)/(Si+Al/2)",
                    "(Ca+Mg+Fe)/(Si+Al)",
                    "Mg/(Mg+Fe)",
                ],
            },
            "figures": {"trace_lines": ["Nd La", "Sm La"]},
        }
    )
