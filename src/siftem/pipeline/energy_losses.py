"""Pure spectra and ratios of elements of energy-loss maps."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from siftem.eels.ratios import elemental_ratios
from siftem.eels.subtract import AbsentEdge, subtract_by_edges
from siftem.errors import InputError, SiftemWarning
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.recipe_phases import Phase
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
        When a grain has no such anchor; its mixture stays as it is. And the ratios of
        elements of each phase, where the recipe names edges.
    """
    pure = {regions.matrix: matrix}
    for grain, mixture in mixtures.items():
        made: list[AbsentEdge | GivenScale] = []
        for choice in recipe.phases.get(grain, Phase()).anchor:
            if choice.absent_edge is not None:
                made.append(AbsentEdge(choice.absent_edge.made()))
            elif choice.scale is not None:
                made.append(GivenScale(choice.scale.value, choice.scale.sigma))
        if not made:
            warnings.warn(
                f"{grain} has no anchor on an edge (absent_edge, or a scale): the spectrum of its "
                f"mixture with {regions.matrix} stands as it is",
                SiftemWarning,
                stacklevel=3,
            )
            continue
        pure[grain] = subtract_by_edges(mixture, matrix, anchor=made[0], name=grain)
    edges = [edge.made() for edge in recipe.quantify.edges]
    for name, spectrum in pure.items() if edges else ():
        try:
            text = elemental_ratios(spectrum, edges).table().replace("\n", ", ")
        except InputError as error:
            text = f"no ratios of elements, {error}"
        warnings.warn(f"{name}: {text}", SiftemWarning, stacklevel=3)
    return pure
