"""Take the matrix, and whatever else is in the way, out of a mixture.

The matrix beside a grain may differ from that of all places, which is subtracted: by how much.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
from scipy.ndimage import distance_transform_edt

from siftem.errors import DoubtWarning, InputError
from siftem.fit.element_search import warn_of_structure
from siftem.fit.line_fit import LineFit, LineFitter
from siftem.fit.spectrum_model import Absorption, Calibration
from siftem.hyperspy_input import as_spectrum
from siftem.machine import one_blas_thread
from siftem.spectrum import Spectrum
from siftem.unmixing.anchors import (
    Absent,
    Anchor,
    GivenScale,
    MostMatrix,
    Scale,
    as_anchors,
    joined,
)
from siftem.unmixing.conditions import (
    Condition,
    KnownScale,
    Scales,
    common_modes,
    scale_covariance,
    solve_scales,
    warn_of_unknown_film,
)
from siftem.unmixing.scale_range import most_scale
from siftem.xray.detector import Detector
from siftem.xray.elements import element_symbols

#: Standard deviations that counting alone does not make of a difference.
_CLEAR = 2.0


def half_beside(matrix: np.ndarray, grain: np.ndarray) -> np.ndarray:
    """Return the half of a matrix' pixels that lies nearer to a grain.

    Parameters
    ----------
    matrix, grain : ndarray of bool, shape (ny, nx)

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        Pixels of the matrix; none where all lie equally far, or there is no grain.
    """
    if not grain.any() or not matrix.any():
        return np.zeros_like(matrix)
    away = distance_transform_edt(~grain)
    near = matrix & (away <= np.median(away[matrix]))
    return near if near.sum() < matrix.sum() else np.zeros_like(matrix)


def spread_mode(near: Spectrum, fit: LineFit) -> np.ndarray:
    """Return the change of a matrix spectrum from the half that is far off to that beside a grain.

    Both halves are brought to the counts of all, and the change of each line family beyond two
    standard deviations of counting is taken, ``sign(d) sqrt(max(d^2 - 4 var d, 0))``. Where a
    composition changes steadily, the matrix in the grain's own pixels differs from
    the mean by as much as the halves do from each other.

    Parameters
    ----------
    near : Spectrum
        Of the half beside the grain.
    fit : LineFit
        Of all the matrix; its spectrum holds the counts of ``near``.

    Returns
    -------
    ndarray of shape (channels,)
        Counts in all the matrix, on the axis of ``near``: a common mode of its spectrum's errors.
        Zero where places do not differ clearly.
    """
    fitted = fit.spectrum.axis
    start = round((fitted.first - near.axis.first) / near.axis.scale)
    window = slice(start, start + fitted.size)
    own = near.counts[window]
    other = np.maximum(fit.spectrum.counts - own, 0.0)
    total = fit.spectrum.counts.sum()
    mode = np.zeros(near.axis.size)
    if not (own.any() and other.any()):
        return mode
    up, down = total / own.sum(), total / other.sum()
    families = fit.model.families
    rows = fit.operator[: len(families)]
    change = rows @ (up * own - down * other)
    variance = rows**2 @ (up**2 * own + down**2 * other)
    clear = np.sign(change) * np.sqrt(np.maximum(change**2 - _CLEAR**2 * variance, 0.0))
    # What comes from grids and the column is no part of the matrix.
    own_lines = [family.element not in fit.model.thick for family in families]
    clear = np.where(own_lines & (fit.amplitudes[: len(families)] > 0), clear, 0.0)
    mode[window] = fit.design[:, : len(families)] @ clear
    return mode


#: Anchors that disagree by more than this, or scales that far below 0, are worth a warning.
_CONFLICT = 3.0


@dataclass(frozen=True)
class Subtracted:
    """One spectrum that was taken out of a mixture.

    Parameters
    ----------
    name : str
        Its name.
    scale : float
        Factor on it.
    sigma : float
        Standard deviation of the factor, from counting and from what was assumed.
    systematic : float
        Standard deviation of the factor from the k-factors that the anchor uses.
    counts : float
        Counts that were taken out.
    """

    name: str
    scale: float
    sigma: float
    systematic: float
    counts: float


@dataclass(frozen=True, eq=False, repr=False)
class PureSpectrum(Spectrum):
    """What is left of a mixture after the matrix is taken away.

    Parameters
    ----------
    scale : float
        Factor on the matrix spectrum (the first of several) that was subtracted.
    scale_sigma : float
        Its standard deviation; it is in ``modes``.
    anchor : str
        What was assumed.
    conflict : float
        Disagreement of several conditions, in standard deviations.
    subtracted : tuple of Subtracted
        All that was taken out, in the order it was given.
    scale_correlation : ndarray of shape (n, n)
        Correlation of the factors.
    """

    scale: float = 0.0
    scale_sigma: float = 0.0
    anchor: str = ""
    conflict: float = 0.0
    subtracted: tuple[Subtracted, ...] = ()
    scale_correlation: np.ndarray = field(default_factory=lambda: np.eye(0))

    def _made(self) -> str:
        off = ", ".join(f"{s.scale:.3g} +- {s.sigma:.2g} times {s.name}" for s in self.subtracted)
        return f"; {off} taken off: {self.anchor}" if off else ""


@runtime_checkable
class OwnSubtraction(Protocol):
    """An anchor that is on no X-ray lines."""

    def taken_off(self, mixture: Spectrum, matrix: Spectrum, *, name: str | None) -> PureSpectrum:
        """Return what is left of the mixture."""


@one_blas_thread()
def subtract(
    mixture: Spectrum,
    matrix: Spectrum | Sequence[Spectrum],
    *,
    anchor: Anchor | OwnSubtraction | str | Sequence[Anchor | str],
    elements: Sequence[str] = (),
    support: Sequence[str] = (),
    beam_energy: float | None = None,
    detector: Detector | None = None,
    calibration: Calibration | None = None,
    absorption: Absorption | None = None,
    energy_range: tuple[float | None, float | None] = (0.25, None),
    n_continuum: int | None = None,
    name: str | None = None,
) -> PureSpectrum:
    """Subtract the matrix' part, and that of other contaminants, from a mixture.

    ``pure = mixture - sum_j a_j T_j``, with the scales ``a`` from the anchors. Its
    covariance is ``diag(v) + T' Cov(a) T - T' U - U' T`` with ``v = Var mixture +
    sum_j a_j^2 Var T_j``; ``U`` is the covariance of the scales with the noise that ``v``
    is made of, since both come from the same counts. So what the anchor fixes, such as an
    absent line, has no error left, and what is measured against it has the right one.

    Parameters
    ----------
    mixture : Spectrum
        Grain and matrix; a HyperSpy signal counts as one, also below.
    matrix : Spectrum or sequence of Spectrum
        Pure matrix, and further spectra that the mixture holds, on the same axis.
    anchor : Absent, KnownRatio, Stoichiometry, MostMatrix, GivenScale, str, or a sequence
        What fixes the scales; an element's symbol says that the grain lacks it. Several are
        fulfilled together as well as their errors allow; as many conditions are needed as there
        are spectra to subtract. Of energy losses one AbsentEdge or EdgeRatio, for the matrix alone.
    elements : sequence of str
        Elements that may have lines near the anchor's; by default those of the acquisition.
    support : sequence of str
        Elements of the grid or the holder.
    beam_energy : float, optional
        keV; by default that of the acquisition.
    detector : Detector, optional
        By default one with the acquisition's resolution.
    calibration : Calibration, optional
        Energy scale; by default fitted to the matrix.
    absorption : callable, optional
        Share of the photons that leave the film, of energies in keV. It matters for anchors
        that compare elements.
    energy_range : tuple
        Fitted range in keV.
    n_continuum : int, optional
        Terms of the continuum; by default as many and as stiff as the spectrum asks for.
    name : str, optional
        Name of the result; by default that of the mixture, of "mixture Fp" the phase "Fp".

    Returns
    -------
    PureSpectrum
        May be negative within its errors.

    Raises
    ------
    InputError
        When the axes differ, or the anchors can't be applied.

    Warns
    -----
    SiftemWarning
        When conditions disagree, or a scale lies below zero, by more than three sigma.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> masks = {"Fp": phantom.mask("Fp"), "Ca-Pv": phantom.mask("Ca-Pv")}
    >>> regions = siftem.Regions(si.shape, matrix="Brg", masks=masks)
    >>> matrix = siftem.integrate(si, regions.pure)
    >>> mixture = siftem.integrate(si, regions.mixture("Fp"))
    >>> pure = siftem.subtract(mixture, matrix, anchor="Si", support=["Cu"])
    >>> pure.name, pure.anchor, pure.absent
    ('Fp', 'no Si in the grain', ('Si',))
    >>> 0 < pure.scale_sigma < pure.scale
    True
    """
    mixture = as_spectrum(mixture)
    if isinstance(anchor, OwnSubtraction):
        if isinstance(matrix, (list, tuple)):
            raise InputError("an anchor on edges takes off one spectrum: give the matrix alone")
        return anchor.taken_off(mixture, as_spectrum(matrix), name=name)
    anchors = as_anchors(anchor)
    several = list(matrix) if isinstance(matrix, (list, tuple)) else [matrix]
    contaminants = [as_spectrum(s) for s in several]
    if not contaminants:
        raise InputError("subtract needs at least one spectrum to subtract")
    if any(mixture.axis != c.axis for c in contaminants):
        raise InputError("mixture and matrix must be on the same energy axis: crop both alike")
    fits: list[LineFit] = []
    needed = joined([e for a in anchors for e in a.elements])
    if needed:
        named = element_symbols(elements) or mixture.acquisition.elements
        fitter = LineFitter.of(
            mixture.acquisition,
            [*named, *needed],
            support,
            beam_energy=beam_energy,
            detector=detector,
            absorption=absorption,
            calibration=calibration,
            energy_range=energy_range,
            n_continuum=n_continuum,
        )
        fits = _fitted_in_turn(fitter, (*contaminants, mixture))
    found, kept = _scales(anchors, contaminants, fits, mixture)
    if found.conflict > _CONFLICT:
        what = f" ('{found.worst}' fits worst)" if found.worst else ""
        warnings.warn(
            f"{mixture.name}: the anchors disagree by {found.conflict:.1f} sigma{what}: "
            f"at least one of them does not hold for the grain",
            DoubtWarning,
            stacklevel=2,
        )
    notes = [
        f"the anchor left no {c.name or 'matrix'} to subtract"
        for i, c in enumerate(contaminants)
        if i not in kept
    ]
    scales = found.values
    taken = scales @ np.array([c.values for c in contaminants])
    window = _fitted_channels(mixture, fits)
    covariance = scale_covariance(found, mixture, contaminants, window)
    noise = _noise_left(mixture, contaminants, found, covariance, window)
    sigma = np.sqrt(np.diag(covariance))
    systematic = np.sqrt(np.diag(found.systematic))
    safe = np.where(sigma > 0, sigma, 1.0)
    return PureSpectrum(
        values=mixture.values - taken,
        axis=mixture.axis,
        **noise,
        background=mixture.background + taken,
        name=name or mixture.name.removeprefix("mixture "),
        n_pixels=mixture.n_pixels,
        acquisition=mixture.acquisition,
        notes=(*mixture.notes, *notes),
        scale=float(scales[0]),
        scale_sigma=float(sigma[0]),
        anchor="; ".join(a.describe() for a in anchors),
        conflict=found.conflict,
        subtracted=tuple(
            Subtracted(c.name, float(a), float(s), float(k), float(a * c.values.sum()))
            for c, a, s, k in zip(contaminants, scales, sigma, systematic, strict=True)
        ),
        scale_correlation=covariance / np.outer(safe, safe),
        absent=joined([e for a in anchors if isinstance(a, Absent) for e in a.elements]),
    )


def _fitted_in_turn(fitter: LineFitter, spectra: Iterable[Spectrum]) -> list[LineFit]:
    """Fit spectra, each with the energy scale of the one before; tell what is left."""
    fits = []
    for spectrum in spectra:
        fit = fitter.fit(spectrum)
        fitter = replace(fitter, calibration=fit.calibration)
        warn_of_structure(fit, stacklevel=4)
        fits.append(fit)
    return fits


def _noise_left(
    mixture: Spectrum,
    contaminants: list[Spectrum],
    found: Scales,
    covariance: np.ndarray,
    window: slice,
) -> dict[str, np.ndarray]:
    """What of a spectrum the noise of all counts, and the error of the scales, make uncertain."""
    variance = np.array(mixture.variance)
    modes, pinned = [mixture.modes], [mixture.pinned]
    for scale, c in zip(found.values, contaminants, strict=True):
        variance = variance + scale**2 * np.asarray(c.variance)
        modes.append(scale * np.asarray(c.modes))
        pinned.append(scale * np.asarray(c.pinned))
    more = common_modes(found, covariance, mixture, contaminants, window)
    for own, one in zip((modes, pinned), more, strict=True):
        own.append(one)
    return {"variance": variance, "modes": np.vstack(modes), "pinned": np.vstack(pinned)}


def _fitted_channels(mixture: Spectrum, fits: list[LineFit]) -> slice:
    if not fits:
        return slice(0, 0)
    fitted = fits[0].spectrum.axis
    start = round((fitted.first - mixture.axis.first) / mixture.axis.scale)
    return slice(start, start + fitted.size)


def _scales(
    anchors: list[Anchor],
    contaminants: list[Spectrum],
    fits: list[LineFit],
    spectrum: Spectrum,
) -> tuple[Scales, list[int]]:
    """Solve for the scales, those below zero set to zero; and which are left."""
    n = len(contaminants)
    kept = list(range(n))
    if n == 1 and len(anchors) == 1 and isinstance(anchors[0], (MostMatrix, GivenScale)):
        mixture, matrix = (fits[1], fits[0]) if fits else (None, None)
        scale = anchors[0].scale(mixture, matrix)
        if isinstance(anchors[0], MostMatrix):
            scale = _bounded(scale, spectrum, contaminants[0], fits)
        found = _as_scales(scale)
    else:
        known = [_known(a, contaminants) for a in anchors if isinstance(a, GivenScale)]
        if fits:
            if n == 1:
                for a in anchors:  # each says in its own words what the matrix lacks for it
                    a.scale(fits[1], fits[0])
            conditions = [c for a in anchors for c in a.conditions(fits[0])]
            warn_of_unknown_film(spectrum.name, conditions, fits[n])
        else:
            conditions = []
        found = _solve(fits, conditions, known, n, kept)
    while (found.values < 0).any():
        lowest = min(kept, key=lambda i: found.values[i])
        if found.values[lowest] < -_CONFLICT * np.sqrt(found.covariance[lowest, lowest]):
            warnings.warn(
                f"{spectrum.name}: the anchors ask for a negative amount of "
                f"{contaminants[lowest].name or 'matrix'} "
                f"({found.values[lowest]:.3g}): they do not hold for the grain; nothing of it "
                f"was subtracted",
                DoubtWarning,
                stacklevel=3,
            )
        kept.remove(lowest)
        if not kept:
            # How much there could be still counts as an error.
            return Scales(np.zeros(n), found.covariance, found.systematic, 0.0, ""), kept
        known = [k for k in known if k.position in kept]
        found = _solve(fits, conditions, known, n, kept)
    return found, kept


def _bounded(scale: Scale, mixture: Spectrum, matrix: Spectrum, fits: list[LineFit]) -> Scale:
    """Lower the most matrix to what all its lines, the support's too, and the counts allow."""
    most, sigma, what = most_scale(mixture, matrix, (fits[1], fits[0]))
    if scale.value - most <= _CONFLICT * np.hypot(scale.sigma, sigma):
        return scale
    warnings.warn(
        f"{mixture.name}: the elements of the anchor would allow {scale.value:.3g} times the "
        f"matrix, but {what} allows no more than {most:.3g}, which was subtracted: an upper limit",
        DoubtWarning,
        stacklevel=4,
    )
    return Scale(most, sigma)


def _solve(
    fits: list[LineFit],
    conditions: list[Condition],
    known: list[KnownScale],
    n: int,
    kept: list[int],
) -> Scales:
    if not fits:
        values, sigmas = np.zeros(n), np.zeros(n)
        if len({k.position for k in known}) < n:
            raise InputError(f"{n} spectra to subtract need an anchor for each")
        for k in known:
            values[k.position], sigmas[k.position] = k.value, k.sigma
        return Scales(values, np.diag(sigmas**2), np.zeros((n, n)), 0.0, "")
    moved = [replace(k, position=kept.index(k.position)) for k in known]
    part = solve_scales(fits[n], [fits[i] for i in kept], conditions, moved)
    values, covariance, systematic = np.zeros(n), np.zeros((n, n)), np.zeros((n, n))
    values[kept] = part.values
    covariance[np.ix_(kept, kept)] = part.covariance
    systematic[np.ix_(kept, kept)] = part.systematic
    assumed = np.zeros((n, n))
    assumed[np.ix_(kept, kept)] = part.assumed
    slopes = [np.zeros((n, part.slopes[0].shape[1])) for _ in range(n + 1)]
    for where, own in zip([0, *(i + 1 for i in kept)], part.slopes, strict=True):
        slopes[where][kept] = own
    return Scales(values, covariance, systematic, part.conflict, part.worst, tuple(slopes), assumed)


def _as_scales(scale: Scale) -> Scales:
    return Scales(
        np.array([scale.value]),
        np.array([[scale.sigma**2]]),
        np.array([[scale.systematic**2]]),
        scale.conflict,
        "",
        scale.slopes,
        np.array([[scale.assumed**2]]),
    )


def _known(anchor: GivenScale, contaminants: list[Spectrum]) -> KnownScale:
    names = [c.name for c in contaminants]
    if anchor.of and anchor.of not in names:
        raise InputError(
            f"a scale is given for {anchor.of!r}, but what is subtracted is {', '.join(names)}"
        )
    return KnownScale(names.index(anchor.of) if anchor.of else 0, anchor.value, anchor.sigma)
