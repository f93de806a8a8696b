"""Spectra and abundances of all phases from one Poisson likelihood over all pixels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.linalg import block_diag

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError, SiftemWarning
from siftem.fit.element_search import find_elements, warn_of_structure
from siftem.fit.line_fit import LineFit, LineFitter
from siftem.fit.spectrum_model import Absorption, Calibration
from siftem.hyperspy_input import as_map
from siftem.machine import one_blas_thread
from siftem.progress import Progress, shows_progress, silent
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.anchors import Absent, Anchor, as_anchors, joined
from siftem.unmixing.conditions import warn_of_unknown_film
from siftem.unmixing.joint_fit import PhaseCondition, maximise
from siftem.unmixing.pixel_sets import PhaseRegions, pixel_sets
from siftem.unmixing.unmixed import Unmixed, assemble
from siftem.xray.continuum import continuum_basis
from siftem.xray.detector import Detector
from siftem.xray.elements import element_symbols

__all__ = ["Unmixed", "unmix"]

#: Terms of a phase's continuum, on the shape that its sum has.
_CONTINUUM_TERMS = 3
#: Standard deviations by which sum peaks must show to be fitted in pixels.
_SEEN = 3.0


@shows_progress
@one_blas_thread()
def unmix(
    si: SpectrumImage,
    regions: PhaseRegions,
    *,
    anchors: Mapping[str, Anchor | str | Sequence[Anchor | str]],
    elements: Sequence[str] = (),
    support: Sequence[str] = (),
    beam_energy: float | None = None,
    detector: Detector | None = None,
    calibration: Calibration | None = None,
    absorption: Mapping[str, Absorption] | None = None,
    energy_range: tuple[float | None, float | None] = (0.25, None),
    n_continuum: int | None = None,
    max_iter: int = 60,
    progress: Progress = silent,
) -> Unmixed:
    """Unmix a map by maximum likelihood, every mixed pixel with its own shares.

    The counts of pixel p in channel j are Poisson with the mean ``sum_k a_pk S_kj``:
    abundances ``a >= 0``, zero outside the mask of a phase, and spectra ``S_k = G_k theta_k``
    with non-negative lines and continuum. Each grain's anchor is a condition on its lines.
    Where :func:`siftem.subtract` sums a mixture first and so takes all its pixels to be
    alike, this uses that they differ; with the same masks and anchors the errors are
    smaller. Newton steps in the spectra with the abundances profiled out.

    Parameters
    ----------
    si : SpectrumImage
        Or a HyperSpy signal of counts.
    regions : Regions
        Pure matrix, mixtures and intersections; other pixels take no part.
    anchors : mapping of str to anchor, or to a sequence of anchors
        Grain -> Absent, KnownRatio or Stoichiometry; an element's symbol says that the grain
        lacks it.
    elements, support : sequence of str
        As for :func:`siftem.subtract`; by default those of the file, else those whose lines stand
        out in the sum of all pixels.
    beam_energy : float, optional
        keV; by default that of the acquisition.
    detector : Detector, optional
    calibration : Calibration, optional
        By default fitted to the pure matrix.
    absorption : mapping of str to callable, optional
        Phase -> share of the photons that leave the film, of energies in keV.
    energy_range : tuple
        In keV.
    n_continuum : int, optional
        Terms of the continuum; by default as many and as stiff as the spectrum asks for.
    max_iter : int
        Steps at the most.
    progress : callable
        Told the fraction that is done.

    Returns
    -------
    Unmixed

    Raises
    ------
    InputError
        When a grain has no anchor, an anchor is no condition on lines, or a region is empty.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> masks = {"Fp": phantom.mask("Fp"), "Ca-Pv": phantom.mask("Ca-Pv")}
    >>> regions = siftem.Regions(si.shape, matrix="Brg", masks=masks)
    >>> anchors = {"Fp": "Si", "Ca-Pv": "Mg"}
    >>> found = siftem.unmix(si, regions, anchors=anchors, support=["Cu"])
    >>> found.names, found.maps.shape
    (('Brg', 'Fp', 'Ca-Pv'), (3, 32, 32))
    """
    si = as_map(si)
    grain_anchors = _checked_anchors(anchors, regions)
    window = si.axis.window_kev(*energy_range)
    sets = pixel_sets(si, regions, window)
    needed = [e for own in grain_anchors.values() for a in own for e in a.elements]
    axis = si.axis.cropped(window)
    named = element_symbols(elements) or si.acquisition.elements
    if not named:
        named = _elements_seen(sets.sums(), axis, si.acquisition, support)
    fitter = LineFitter.of(
        si.acquisition,
        [*named, *needed],
        support,
        beam_energy=beam_energy,
        detector=detector,
        calibration=calibration,
        energy_range=(None, None),
        n_continuum=n_continuum,
    )
    progress("unmix", 0.0)
    whole = [
        Spectrum(values, axis, name=name, acquisition=si.acquisition)
        for name, values in zip(sets.names, sets.sums(), strict=True)
    ]
    fits = _first_fits(fitter, whole, dict(absorption or {}))
    if n_continuum is None:
        fits = _with_few_terms(fits)
    for name, fit in zip(sets.names[1:], fits[1:], strict=True):
        own = [c for anchor in grain_anchors[name] for c in anchor.conditions(fits[0])]
        warn_of_unknown_film(name, own, fit)
    conditions = [
        PhaseCondition(k, condition.on(fits[0]), condition.on(fits[0], condition.change))
        for k, name in enumerate(sets.names[1:], start=1)
        for anchor in grain_anchors[name]
        for condition in anchor.conditions(fits[0])
    ]
    designs = [fit.design for fit in fits]
    pooled = sets.pooled(si.shape)
    joint = maximise(
        pooled,
        designs,
        np.array([f.amplitudes for f in fits]),
        conditions,
        max_iter=max_iter,
        progress=progress,
    )
    joint = replace(joint, covariance=joint.covariance + _model_errors(fits, designs))
    maps = joint.maps
    if pooled is not sets:
        maps = np.zeros(sets.allowed.shape)
        sets.counts.solve(joint.spectra, sets.allowed, maps)
    return assemble(
        si,
        sets,
        pooled,
        designs,
        joint,
        maps,
        axis=axis,
        columns=fits[0].names,
        anchors={n: "; ".join(a.describe() for a in own) for n, own in grain_anchors.items()},
        absent={
            n: joined([e for a in own if isinstance(a, Absent) for e in a.elements])
            for n, own in grain_anchors.items()
        },
        calibration=fits[0].calibration,
    )


def _first_fits(
    fitter: LineFitter, whole: Sequence[Spectrum], absorptions: Mapping[str, Absorption]
) -> list[LineFit]:
    """Fits of the pure matrix, and of the mixtures less what they may hold of it."""

    def fitted(spectrum: Spectrum) -> LineFit:
        return replace(fitter, absorption=absorptions.get(spectrum.name)).fit(spectrum)

    fits = [fitted(whole[0])]
    fitter = replace(fitter, calibration=fits[0].calibration)
    for mixture in whole[1:]:
        fits.append(fitted(_first_guess(mixture, whole[0], fits[0], fitted)))
    for fit in fits:
        warn_of_structure(fit, stacklevel=4)
    return fits


def _elements_seen(
    sums: Sequence[np.ndarray], axis: EnergyAxis, acquisition: Acquisition, support: Sequence[str]
) -> tuple[str, ...]:
    """Find the elements that nobody named: spectra are made of their lines and nothing else.

    Warns
    -----
    SiftemWarning
        Which elements.
    """
    every = Spectrum(np.sum(sums, axis=0), axis, acquisition=acquisition)
    found = tuple(f.element for f in find_elements(every) if f.element not in support)
    warnings.warn(
        f"no elements are named: spectra are made of the lines of {', '.join(found)}, which stand "
        f"out in the sum of all pixels; name them (elements=)",
        SiftemWarning,
        stacklevel=3,
    )
    return found


def _with_few_terms(fits: Sequence[LineFit]) -> list[LineFit]:
    """Return fits whose continuum is the fitted one times three smooth bumps.

    Single pixels can't hold splines straight, so that their shape is taken from the sum. Sum
    peaks and valence lines that no sum shows are left out.
    """
    names = fits[0].names
    terms = np.array([n.startswith("continuum ") for n in names])
    first, last = int(np.argmax(terms)), int(np.flatnonzero(terms)[-1]) + 1
    seen = [f.amplitudes > _SEEN * np.sqrt(np.diag(f.covariance)) for f in fits]
    rest = np.flatnonzero(np.any(seen, axis=0) & (np.arange(len(names)) >= last))
    few = min(int(terms.sum()), _CONTINUUM_TERMS)
    place = np.concatenate([np.arange(first), np.full(few, -1), rest])
    return [_with_terms(fit, place) for fit in fits]


def _with_terms(fit: LineFit, place: np.ndarray) -> LineFit:
    """Return a fit with these of its columns, -1 standing for a term of the continuum."""
    new = np.flatnonzero(place < 0)
    energies = fit.spectrum.axis.to_kev().centers
    bumps = continuum_basis(energies, fit.model.beam_energy, n_terms=new.size)
    shape = fit.continuum / np.maximum(bumps.sum(axis=0), 1e-300)
    # Where the sum has none, a pixel may have some all the same.
    shape = np.maximum(shape, 1e-3 * shape.max()) if shape.any() else np.ones_like(shape)
    names = [fit.names[i] for i in place]
    design, amplitudes = fit.design[:, place], fit.amplitudes[place]
    for term, column in enumerate(new):
        names[column] = f"continuum {term}"
        design[:, column] = bumps[term] * shape
        amplitudes[column] = 1.0

    def kept(matrix: np.ndarray) -> np.ndarray:
        out = matrix[np.ix_(place, place)]
        out[new] = out[:, new] = 0.0
        return np.asarray(out)

    return replace(
        fit,
        covariance=kept(fit.covariance),
        ratio_covariance=kept(fit.ratio_covariance),
        counting_covariance=kept(fit.counting_covariance),
        names=tuple(names),
        design=design,
        amplitudes=amplitudes,
    )


def _model_errors(fits: Sequence[LineFit], designs: Sequence[np.ndarray]) -> np.ndarray:
    """Covariance of all phases' coefficients from what the model can't describe; (k q, k q).

    As large, relative to the phase, as in the fit of its sum: counts that are shared out among
    pixels have the same lines. The coefficients of a phase make a spectrum of one count.
    """
    blocks = []
    for fit, design in zip(fits, designs, strict=True):
        total = max(float((design @ fit.amplitudes).sum()), 1e-300)
        blocks.append((fit.covariance - fit.counting_covariance) / total**2)
    return np.asarray(block_diag(*blocks))


def _first_guess(
    mixture: Spectrum, matrix: Spectrum, of_matrix: LineFit, fitted: Callable[[Spectrum], LineFit]
) -> Spectrum:
    """Nearly the most matrix that leaves no strong line of the mixture negative, taken out."""
    amplitudes = fitted(mixture).amplitudes
    strong = of_matrix.amplitudes > 20 * np.sqrt(np.diag(of_matrix.covariance))
    lines = strong & np.array([not n.startswith("continuum") for n in of_matrix.names])
    ratios = amplitudes[lines] / of_matrix.amplitudes[lines]
    scale = 0.9 * float(ratios.min()) if ratios.size else 0.0
    return replace(
        mixture,
        values=mixture.values - scale * matrix.values,
        background=scale * matrix.values,
        variance=mixture.values,
    )


def _checked_anchors(
    anchors: Mapping[str, Anchor | str | Sequence[Anchor | str]], regions: PhaseRegions
) -> dict[str, list[Anchor]]:
    out = {n: as_anchors(a) for n, a in anchors.items()}
    unknown = [n for n in out if n not in regions.names]
    if unknown:
        raise InputError(
            f"an anchor is given for {unknown[0]!r}, but the grains are {', '.join(regions.names)}"
        )
    for name in regions.names:
        if not any(a.elements for a in out.get(name, [])):
            raise InputError(
                f"{name} needs an anchor on its lines, such as Absent, KnownRatio or "
                f"Stoichiometry: without one its spectrum may hold any amount of "
                f"{regions.matrix}"
            )
    return out
