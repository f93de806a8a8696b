"""The joint unmixing of a run, where recipe and map allow it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from siftem.errors import DoubtWarning, InputError, SiftemWarning
from siftem.large.rows_of_counts import rows_of
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.recipe_sections import Phase
from siftem.pipeline.steps.spectra import RegionSpectra
from siftem.pipeline.steps.step import Circumstances, Step, plain
from siftem.pipeline.subtraction import phase_anchors
from siftem.progress import Progress
from siftem.segment.regions import Regions
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.constrained import unmix
from siftem.unmixing.unmixed import Unmixed

#: With "auto", mixed pixels with more non-zero channels than this are not unmixed: a second
#: or two for each of the first few hundred thousand, minutes for more.
MOST_NONZERO = 5_000_000


def unmixed_phases(
    recipe: Recipe,
    si: SpectrumImage,
    regions: Regions,
    spectra: RegionSpectra,
    *,
    progress: Progress,
) -> Unmixed | None:
    """Unmix a map by one likelihood of all its pixels.

    A pixel may hold the grains whose masks it lies in. Contaminants beyond their masks are not
    among them: left free in every pixel of a mixture, their noise takes up part of the grain.

    Returns
    -------
    Unmixed or None
        None when it is switched off, or, with "auto", not possible or too long.

    Raises
    ------
    InputError
        When it was asked for and is not possible.

    Warns
    -----
    SiftemWarning
        With "auto", why it was left out.
    """
    wanted = recipe.unmix.run
    settings = spectra.settings
    if wanted is False or settings is None or not regions.names:
        return None
    if wanted == "auto" and not spectra.compositions:  # a bulk specimen
        return None
    if wanted == "auto" and not any(p.anchor for p in recipe.phases.values()):
        return None
    why = _impossible(recipe, regions, spectra)
    if not why and wanted == "auto":
        why = _too_long(si, regions)
    if why:
        if wanted == "auto":
            warnings.warn(f"unmixing was left out: {why}", SiftemWarning, stacklevel=2)
            return None
        raise InputError(f"it can't be done: {why}")
    matrix_fit = settings.fit(spectra.pure[regions.matrix]) if settings.sources.any else None
    anchors = {}
    for grain in regions.names:
        own = phase_anchors(recipe.phases.get(grain, Phase()), settings, matrix_fit)
        anchors[grain] = [a for a in own if a.elements]
    films = {
        name: c.fit.model.absorption
        for name, c in spectra.compositions.items()
        if c.fit.model.absorption is not None
    }
    found = unmix(
        si,
        regions,
        anchors=anchors,
        absorption=films,
        max_iter=recipe.unmix.max_iter,
        progress=progress,
        **settings.options,
    )
    if not found.converged:
        warnings.warn(
            f"unmixing stopped after {found.n_iter} steps before it converged: "
            f"allow more with unmix.max_iter",
            DoubtWarning,
            stacklevel=2,
        )
    return found


def _impossible(recipe: Recipe, regions: Regions, spectra: RegionSpectra) -> str:
    """Say why a map can't be unmixed; empty when it can."""
    if regions.matrix not in spectra.pure:
        return f"there is no spectrum of {regions.matrix}"
    for grain in regions.names:
        if grain not in spectra.pure:
            return f"{grain} has no mixture of its own"
        phase = recipe.phases.get(grain, Phase())
        if not any(a.on_lines for a in phase.anchor):
            return (
                f"{grain} has no anchor on its lines (absent, ratio or stoichiometry), without "
                f"which its spectrum may hold any amount of {regions.matrix}"
            )
    return ""


def _too_long(si: SpectrumImage, regions: Regions) -> str:
    mixed = np.array(regions.intersection.mask)
    for grain in regions.names:
        mixed |= regions.mixture(grain).mask
    filled = rows_of(si.counts).stored_in(mixed.ravel())
    if filled <= MOST_NONZERO:
        return ""
    return (
        f"{filled:.2g} non-zero channels in the mixtures would take minutes; "
        f"'unmix: true' in the recipe does it nevertheless"
    )


def _owns(recipe: Recipe) -> dict[str, Any]:
    return plain(recipe.unmix)


def _run(recipe: Recipe, done: Mapping[str, Any], by: Circumstances) -> Unmixed | None:
    si, regions = done["prepare"].spectrum_image, done["regions"].regions
    return unmixed_phases(recipe, si, regions, done["spectra"], progress=by.progress)


STEP: Step = Step(
    "unmix",
    "the unmixing of all pixels",
    ("prepare", "regions", "spectra"),
    _owns,
    _run,
    instead=lambda recipe, done: None,
    kept=True,
)
