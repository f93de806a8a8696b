"""The matrix out of each mixture, by the anchors of a recipe: on X-ray lines, or on edges."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import numpy as np

from siftem.errors import DoubtWarning, InputError, SiftemWarning
from siftem.fit.line_fit import LineFit
from siftem.fit.spectrum_model import Absorption
from siftem.pipeline.fit_settings import FitSettings
from siftem.pipeline.parts import attempted
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.recipe_anchors import AnchorSettings
from siftem.pipeline.recipe_sections import Phase, order_of_subtraction
from siftem.pipeline.region_spectra import mixture_name
from siftem.segment.regions import Regions
from siftem.spectrum import Spectrum
from siftem.unmixing.anchors import (
    Anchor,
)
from siftem.unmixing.integrate import WeightedMixture
from siftem.unmixing.subtract import PureSpectrum, spread_mode, subtract


def pure_spectra(
    spectra: Mapping[str, Spectrum],
    regions: Regions,
    settings: FitSettings,
    missing: MutableMapping[str, str] | None = None,
    *,
    absorption: Absorption | None = None,
    weighted: Mapping[str, WeightedMixture] = MappingProxyType({}),
    beside: Mapping[str, Spectrum] = MappingProxyType({}),
) -> dict[str, Spectrum]:
    """Subtract the matrix, and other contaminants, from each mixture that has anchors.

    Parameters
    ----------
    spectra : mapping of str to Spectrum
        Of the regions.
    regions : Regions
    settings : FitSettings
    missing : mutable mapping of str to str, optional
        Gets the reason for each grain whose pure spectrum can't be had.
    absorption : callable, optional
        Share of the photons that leave the film, of energies in keV; that of the matrix serves
        for all phases, since anchors that compare elements need it to a few percent only.
    weighted : mapping of str to WeightedMixture, optional
        What overlaps the grains of these sums is taken out with its own weighted sum.
    beside : mapping of str to Spectrum, optional
        The half of the pure matrix that lies nearer to each grain: how it differs from the other
        half is an error of the subtraction.

    Returns
    -------
    dict of str to Spectrum
        The matrix first, the grains in the order of the regions.
    """
    matrix = spectra.get(regions.matrix)
    if matrix is None:
        return {}
    phases = settings.recipe.phases
    named = order_of_subtraction(regions.matrix, phases) if phases else ()
    order = [*(n for n in named if n in regions.names)]
    order += [n for n in regions.names if n not in order]
    made: dict[str, Spectrum] = {}
    matrix_fit = settings.fit(matrix) if settings.sources.any or beside else None

    def pure_grain(grain: str, mixture: Spectrum) -> Spectrum:
        phase = phases[grain]
        contaminants: list[Spectrum] = []
        for other in phase.contaminants:
            if other not in made:
                raise InputError(f"{grain} holds {other}, of which no pure spectrum was found")
            contaminants.append(made[other])
        anchors = phase_anchors(phase, settings, matrix_fit)
        if not anchors:
            raise InputError("its anchors are on edges of energy losses: give one on X-ray lines")
        if grain in weighted:
            # Sums of pixels, not pure phases: named apart.
            for part, scale in zip(weighted[grain].others, weighted[grain].anchors, strict=True):
                contaminants.append(replace(part, name=f"weighted sum of {part.name}"))
                anchors.append(replace(scale, of=contaminants[-1].name))
        near, of_matrix = beside.get(grain), matrix
        if near is not None and matrix_fit is not None:
            of_matrix = replace(
                matrix, modes=np.vstack([matrix.modes, spread_mode(near, matrix_fit)])
            )
        return subtract(
            mixture,
            [of_matrix, *contaminants],
            anchor=anchors,
            absorption=absorption,
            name=grain,
            **settings.options,
        )

    for grain in order:
        mixture = spectra.get(mixture_name(grain, regions.matrix))
        if mixture is None or not phases.get(grain, Phase()).anchor:
            continue
        found = attempted(
            f"the pure spectrum of {grain}",
            partial(pure_grain, grain, mixture),
            None,
            missing=missing,
        )
        if found is not None:
            made[grain] = found
    return {regions.matrix: matrix, **{n: made[n] for n in regions.names if n in made}}


def phase_anchors(
    phase: Phase, settings: FitSettings, matrix_fit: LineFit | None = None
) -> list[Anchor]:
    """Build the anchors that a recipe gives for a phase.

    Parameters
    ----------
    phase : Phase
    settings : FitSettings
    matrix_fit : LineFit, optional
        It tells the families by which given k-factors hold; needed when some are given.
    """

    def k_of(elements: tuple[str, ...]) -> dict[str, float]:
        return {} if matrix_fit is None else settings.k_of(elements, matrix_fit)

    run = AnchorSettings(settings.elements, k_of)
    return [choice.make(run) for choice in phase.anchor if not choice.on_edges]


def pure_losses(
    recipe: Recipe,
    mixtures: Mapping[str, Spectrum],
    matrix: Spectrum,
    missing: MutableMapping[str, str],
) -> dict[str, Spectrum]:
    """Subtract the matrix from each mixture whose grain has an anchor on an edge, or a scale.

    Parameters
    ----------
    recipe : Recipe
    mixtures : mapping of str to Spectrum
        By grain.
    matrix : Spectrum
    missing : mutable mapping of str to str
        Gets the reason for each grain whose pure spectrum can't be had.

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
    pure = {matrix.name: matrix}
    for grain, mixture in mixtures.items():
        phase = recipe.phases.get(grain, Phase())
        made = [a for c in phase.anchor if (a := c.make_for_losses()) is not None]
        if not made:
            warnings.warn(
                f"{grain} has no anchor on an edge (absent_edge, edge_ratio, or a scale): the "
                f"spectrum of its mixture with {matrix.name} stands as it is",
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
        found = attempted(
            f"the pure spectrum of {grain}",
            partial(subtract, mixture, matrix, anchor=made[0], name=grain),
            None,
            missing=missing,
        )
        if found is not None:
            pure[grain] = found
    return pure


def matrix_in(grain: str, pure: Mapping[str, Spectrum], matrix: str) -> float:
    """Factor by which the pure matrix' own counts are in a grain's pure spectrum, negated.

    A contaminant that was subtracted had matrix subtracted itself, which is thereby given
    back: ``mixture - a M - b (other - c M)`` holds M with the factor ``-(a - b c)``.
    """
    spectrum = pure.get(grain)
    if not isinstance(spectrum, PureSpectrum):
        return 0.0
    total = 0.0
    for part in spectrum.subtracted:
        if part.name == matrix:
            total += part.scale
        else:
            total -= part.scale * matrix_in(part.name, pure, matrix)
    return total
