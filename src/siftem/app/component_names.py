"""The recipe with its components named by the user, and with those of another decomposition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from siftem.decomposition.factors import Factors
from siftem.decomposition.matching import line_strengths
from siftem.errors import InputError
from siftem.pipeline.recipe import Recipe, make_recipe

#: Elements named beside a component whose phase is not known yet.
_HINTED = 3
#: Part of the strongest line's share below which a line may be noise, or another's rest: a
#: sulphide would be "Fe S O".
_FAINTEST = 0.02


def component_numbers(plain: Factors, matched: Factors) -> tuple[int, ...]:
    """Return the solver's number (from 1) of each matched component, in their order."""
    return tuple(
        1 + next(i for i, s in enumerate(plain.spectra) if np.array_equal(s, m))
        for m in matched.spectra
    )


def outstanding_elements(
    factors: Factors, elements: Sequence[str], beam_energy: float, resolution: float
) -> tuple[str, ...]:
    """Return the elements whose lines are strongest in each component, as text.

    Parameters
    ----------
    factors : Factors
    elements : sequence of str
        That have lines on the axis.
    beam_energy : float
        keV.
    resolution : float
        eV at Mn Ka.
    """
    if not elements:
        return ("",) * len(factors.names)
    strengths = line_strengths(
        factors.spectra,
        factors.axis,
        elements,
        beam_energy=beam_energy,
        resolution=resolution,
    )
    return tuple(
        " ".join(
            elements[i]
            for i in np.argsort(-row, kind="stable")[:_HINTED]
            if row[i] > _FAINTEST * row.max()
        )
        for row in strengths
    )


def named_components(
    recipe: Recipe,
    old: Sequence[str],
    new: Sequence[str],
    matrix: str,
    numbers: Sequence[int],
) -> Recipe:
    """Return the recipe with phases known by the numbers of their components.

    Parameters
    ----------
    recipe : Recipe
    old, new : sequence of str
        Names of all components before and after.
    matrix : str
        One of the new names.
    numbers : sequence of int
        Of the components as the solver orders them, from 1.

    Returns
    -------
    Recipe
        Anchors, densities, traces and partition coefficients follow their phases.

    Raises
    ------
    InputError
        When a name is empty or given twice, or the matrix is none of them.
    """
    for name in new:
        if not name:
            raise InputError("every component needs a name: a letter will do")
        if list(new).count(name) > 1:
            raise InputError(f"two components are called {name!r}: give each a name of its own")
    if matrix not in new:
        raise InputError(f"the matrix {matrix!r} is none of the components {', '.join(new)}")
    renamed = dict(zip(old, new, strict=True))
    data = recipe.model_dump(mode="json", exclude_none=True)
    phases = {}
    for before, after, number in zip(old, new, numbers, strict=True):
        known = dict(data["phases"].get(before, {}))
        known.pop("high", None)
        known.pop("absent", None)
        known["component"] = number
        known["contaminants"] = [
            renamed[c]
            for c in known.get("contaminants", ())
            if renamed.get(c) not in (None, matrix)
        ]
        for anchor in known.get("anchor", ()):
            of = anchor.get("scale", {}).get("of")
            if of:
                anchor["scale"]["of"] = renamed.get(of, of)
        if after == matrix:
            known["anchor"], known["contaminants"] = [], []
        phases[after] = known
    data["phases"], data["matrix"] = phases, matrix
    data["decompose"]["components"] = len(new)
    traces = data["segment"].get("traces")
    if isinstance(traces, dict):
        data["segment"]["traces"] = {renamed[n]: s for n, s in traces.items() if n in renamed}
    # A classifier bears the names of the grains that it was trained on.
    if list(old) != list(new) or matrix != recipe.matrix:
        data["segment"].pop("classifier", None)
    if "partition" in data["quantify"]:
        pairs = data["quantify"]["partition"]
        data["quantify"]["partition"] = [
            [renamed[a], renamed[b]] for a, b in pairs if a in renamed and b in renamed
        ]
    return make_recipe(data)


def found_again(recipe: Recipe, old: Factors, new: Factors) -> tuple[Recipe, float]:
    """Return the recipe with the numbers that its phases have in another decomposition.

    Parameters
    ----------
    recipe : Recipe
        Its phases are known by the numbers of their components.
    old : Factors
        The components as they are named.
    new : Factors
        As many components, in the order of the solver.

    Returns
    -------
    Recipe
    float
        Cosine of the spectra of the pair that is least alike.
    """
    unit = [f.spectra / np.linalg.norm(f.spectra, axis=1, keepdims=True) for f in (old, new)]
    cosines = unit[0] @ unit[1].T
    rows, columns = linear_sum_assignment(-cosines)
    data = recipe.model_dump(mode="json", exclude_none=True)
    for row, column in zip(rows, columns, strict=True):
        phase = data["phases"].get(old.names[row])
        if phase is not None:
            phase["component"] = int(column) + 1
    return make_recipe(data), float(cosines[rows, columns].min())
