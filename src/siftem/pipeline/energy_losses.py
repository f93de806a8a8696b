"""Pure spectra and ratios of elements of energy-loss maps."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from siftem.eels.ratios import ElementalRatios, elemental_ratios
from siftem.eels.subtract import AbsentEdge, EdgeAnchor, EdgeRatio, subtract_by_edges
from siftem.errors import DoubtWarning, InputError, SiftemWarning
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.recipe_phases import AnchorChoice, Phase
from siftem.segment.regions import Regions
from siftem.spectrum import Spectrum
from siftem.unmix.anchors import GivenScale


def pure_losses(
    recipe: Recipe, mixtures: Mapping[str, Spectrum], matrix: Spectrum, regions: Regions
) -> dict[str, Spectrum]:
    """Subtract the matrix from each mixture whose grain has an anchor on an edge, or a scale.

    Parameters
    ----------
    recipe : Recipe
    mixtures : mapping of str to Spectrum
        By grain.
    matrix : Spectrum
    regions : Regions

    Returns
    -------
    dict of str to Spectrum
        The matrix first.

    Warns
    -----
    SiftemWarning
        When a grain has no such anchor; its mixture stays as it is. When it has several: the
        first one is taken. When it has contaminants: they stay in its spectrum.
    """
    pure = {regions.matrix: matrix}
    for grain, mixture in mixtures.items():
        phase = recipe.phases.get(grain, Phase())
        made = [a for a in map(edge_anchor, phase.anchor) if a is not None]
        if not made:
            warnings.warn(
                f"{grain} has no anchor on an edge (absent_edge, edge_ratio, or a scale): the "
                f"spectrum of its mixture with {regions.matrix} stands as it is",
                DoubtWarning,
                stacklevel=3,
            )
            continue
        if len(made) > 1:
            warnings.warn(
                f"{grain} has several anchors, energy losses take one: '{made[0].describe()}'",
                SiftemWarning,
                stacklevel=3,
            )
        if phase.contaminants:
            warnings.warn(
                f"{' and '.join(phase.contaminants)} cannot be taken out of the energy losses of "
                f"{grain}: only the matrix is",
                DoubtWarning,
                stacklevel=3,
            )
        pure[grain] = subtract_by_edges(mixture, matrix, anchor=made[0], name=grain)
    return pure


def edge_anchor(choice: AnchorChoice) -> EdgeAnchor | GivenScale | None:
    """Build the anchor of an energy-loss spectrum; None when the choice is one on X-ray lines."""
    if choice.absent_edge is not None:
        return AbsentEdge(choice.absent_edge.made())
    if choice.edge_ratio is not None:
        r = choice.edge_ratio
        return EdgeRatio(r.numerator.made(), r.denominator.made(), r.value, r.sigma)
    if choice.scale is not None:
        return GivenScale(choice.scale.value, choice.scale.sigma)
    return None


def loss_ratios(
    recipe: Recipe, pure: Mapping[str, Spectrum], integrated: Mapping[str, Spectrum]
) -> dict[str, ElementalRatios]:
    """Ratios of elements of each phase and mixture, where the recipe names edges.

    Warns
    -----
    SiftemWarning
        The ratios of each pure phase in one line, or why there are none.
    """
    edges = [edge.made() for edge in recipe.quantify.edges]
    out: dict[str, ElementalRatios] = {}
    for name, spectrum in {**pure, **integrated}.items() if edges else ():
        try:
            out[name] = elemental_ratios(spectrum, edges)
            text = out[name].table().replace("\n", ", ")
        except InputError as error:
            text = f"no ratios of elements, {error}"
        if name in pure:
            warnings.warn(f"{name}: {text}", SiftemWarning, stacklevel=3)
    return out
