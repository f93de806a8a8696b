"""Spectra of regions: of all their pixels, or of the purest of them."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import replace
from functools import partial

import numpy as np
from scipy.ndimage import distance_transform_edt

from siftem.decomposition.purest import (
    FEWEST_COUNTS,
    FEWEST_PIXELS,
    MOST_PIXELS,
    of_one_kind,
    purest,
)
from siftem.errors import DoubtWarning, SiftemWarning
from siftem.pipeline.layout import by_labels
from siftem.pipeline.parts import attempted
from siftem.pipeline.results import Matched
from siftem.segment.regions import Region, Regions
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.integrate import integrate

#: Within this many pixels of a border the tails of a probe may reach.
BLUR = 4.0


def region_spectra(
    si: SpectrumImage,
    regions: Regions,
    matched: Matched,
    missing: MutableMapping[str, str] | None = None,
    *,
    random_state: int = 0,
    impure: MutableMapping[str, float] | None = None,
) -> dict[str, Spectrum]:
    """Integrate the pure matrix and each mixture.

    Parameters
    ----------
    si : SpectrumImage
    regions : Regions
    matched : Matched
        How the phases lie.
    missing : mutable mapping of str to str, optional
        Gets the reason for each spectrum that can't be had, as a rule an empty region.
    random_state : int
        Of the halves by which the purest pixels are picked.
    impure : mutable mapping of str to float, optional
        Gets, for each phase that is the sum of its purest pixels, how much of these may still be
        other phases; see `siftem.decomposition.purest.Purest`.

    Returns
    -------
    dict of str to Spectrum
        The matrix under its own name, and what is pure in its own pixels; then
        "<grain> + <matrix>".

    Warns
    -----
    SiftemWarning
        Of each spectrum that is missing.
    """
    wanted = {regions.matrix: regions.pure}
    hosts: dict[str, set[str]] = {}
    for grain in regions.names:
        label = spectrum_name(grain, matched)
        wanted[label] = regions.own(grain)
        hosts[label] = {
            n for h in host_names(grain, matched) for n in (h, spectrum_name(h, matched))
        }
    # By labels, a grain that lies in a host may have pixels of a third phase as well.
    some = wanted if by_labels(matched.layout) else {*regions.names}
    out = {}
    for label, region in wanted.items():
        found = attempted(
            f"the spectrum of {label}",
            partial(_summed, si, region, label),
            None,
            missing=missing,
        )
        if found is not None:
            out[label] = found
    for name in sorted(some & out.keys()):
        chosen = (
            partial(_of_far, si, regions, name, out[name])
            if _is_support(name, matched)
            else partial(_of_purest, si, wanted[name], name, out, hosts.get(name, ()), random_state)
        )
        out[name], left = attempted(
            f"the choice of the purest pixels of {name}", chosen, (out[name], 0.0)
        )
        if impure is not None:
            impure[name] = left
    return out


def _is_support(name: str, matched: Matched) -> bool:
    layout, names = matched.layout, matched.factors.names
    return (
        layout is not None and name in names and layout.phases[names.index(name)].role == "support"
    )


def _of_far(
    si: SpectrumImage, regions: Regions, name: str, whole: Spectrum
) -> tuple[Spectrum, float]:
    """Sum those pixels of a support that no probe's tail from what lies on it reaches.

    Its purest pixels would be those where it is thinnest, or has a hole: what lies below a
    particle is the film as it is on the whole.
    """
    own = regions.own(name)
    others = np.any([regions.masks[n] for n in regions.names if n != name], axis=0)
    far = own.mask & (distance_transform_edt(~others) > BLUR)
    kept = Region(own.name, far, own.advice)
    if kept.n_pixels < FEWEST_PIXELS:
        return whole, 0.0
    found = integrate(si, kept, name=name)
    return (found, 0.0) if float(found.counts.sum()) >= FEWEST_COUNTS else (whole, 0.0)


def _of_purest(
    si: SpectrumImage,
    region: Region,
    name: str,
    sums: Mapping[str, Spectrum],
    hosts: Collection[str],
    random_state: int,
) -> tuple[Spectrum, float]:
    """Sum those pixels of a region that are as pure as its purest ones, but for its hosts.

    A probe's tails and borders that run obliquely leave other phases far inside a region. The
    pixels are picked by one half of the counts and summed from the other, and the reverse.
    """
    whole, others = sums[name], sorted((n for n in sums if n != name), key=lambda n: n not in hosts)
    free = range(1, 1 + sum(n in hosts for n in others))
    if len(others) == len(free) or whole.n_pixels > MOST_PIXELS:
        return whole, 0.0
    shapes = np.maximum([sums[n].counts for n in (name, *others)], 0.0) + 1e-9
    shapes = shapes / shapes.sum(axis=1, keepdims=True)
    found = purest(
        si.counts, region.mask, shapes, 0, with_it=free, by_noise=True, random_state=random_state
    )
    if found.pixels >= whole.n_pixels:
        return whole, found.impure
    parts = [whole.counts, *(sums[n].counts for n in others)]
    if not of_one_kind(found.spectrum, np.stack(parts, axis=1), whole.variance):
        warnings.warn(
            f"the pixels of {name} are not alike, beyond what lies around them explains: its "
            f"spectrum is a mean, perhaps of several phases; try more components",
            DoubtWarning,
            stacklevel=3,
        )
        return whole, 0.0
    share = found.pixels / whole.n_pixels
    background = share * whole.background
    chosen = replace(
        whole,
        values=found.spectrum - background,
        variance=found.spectrum,
        background=background,
        n_pixels=round(found.pixels),
        acquisition=whole.acquisition.over(share),
        notes=(*whole.notes, f"the purest {round(found.pixels)} of {whole.n_pixels} pixels"),
    )
    return chosen, found.impure


def _summed(si: SpectrumImage, region: Region, name: str) -> Spectrum:
    """Integrate a region; tell when it holds little."""
    out = integrate(si, region.required(), name=name)
    counts = float(out.counts.sum())
    if out.n_pixels < FEWEST_PIXELS or counts < FEWEST_COUNTS:
        warnings.warn(
            f"{name}: its spectrum is the sum of {out.n_pixels} pixels with {counts:.3g} counts "
            f"only",
            SiftemWarning,
            stacklevel=3,
        )
    return out


def spectrum_name(grain: str, matched: Matched) -> str:
    """Name of the sum of a grain's pixels: its own, where they hold nothing else."""
    return grain if lies_pure(grain, matched) else mixture_name(grain, matched.matrix)


def lies_pure(grain: str, matched: Matched) -> bool:
    """Whether the pixels of a grain hold nothing else."""
    layout = matched.layout
    if layout is None or grain not in matched.factors.names:
        return False
    return not layout.phases[matched.factors.names.index(grain)].hosts


def host_names(grain: str, matched: Matched) -> tuple[str, ...]:
    """Names of what a phase lies in, the outermost first."""
    layout, names = matched.layout, matched.factors.names
    if layout is None or grain not in names:
        return () if grain == matched.matrix else (matched.matrix,)
    return tuple(names[h] for h in layout.phases[names.index(grain)].hosts[::-1])


def mixture_name(grain: str, matrix: str) -> str:
    """Name of the spectrum of a grain's mixture with the matrix."""
    return f"{grain} + {matrix}"
