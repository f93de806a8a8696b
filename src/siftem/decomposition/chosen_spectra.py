"""The spectra of a map: pooled fit, refined, chosen among equally likely ones, freed from noise.

What an X-ray detector can see: no spectrum changes faster than its resolution.

Whatever the sample emits, the detector spreads it: a measured spectrum is a non-negative sum of
peaks as wide as the detector makes them. That is known without a single element being named, and
takes most of the noise from a spectrum whose channels are narrower than a line.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from scipy.linalg import cho_solve_banded, cholesky_banded
from scipy.ndimage import uniform_filter1d
from scipy.optimize import linear_sum_assignment

from siftem.decomposition.identify import identify, matrix_share
from siftem.decomposition.initialise import pooled_counts
from siftem.decomposition.layout import PhaseLayout, phase_layout
from siftem.decomposition.poisson_fit import PoissonFit
from siftem.decomposition.purest import spectra_inside
from siftem.decomposition.smooth_maps import refined_spectra
from siftem.decomposition.solver import even_weights, poisson_objective, solve_weights
from siftem.decomposition.solver_rows import SolverRows, W, solver_rows
from siftem.energy_axis import EnergyAxis
from siftem.spectrum_image import SpectrumImage
from siftem.xray.detector import Detector

#: Peaks are taken sharper than the resolution by the first of these factors that fits.
_SHARPER = (0.85, 0.6)
#: Distance of the peaks in widths at half maximum.
_STEP = 0.35
_SIGMA_PER_FWHM = 1 / np.sqrt(8 * np.log(2))
#: Peaks end at this many standard deviations.
_REACH = 6.0
#: Misfit in units of the noise that the shapes take away.
_WORST_MISFIT = 0.5
#: The variance of a channel is taken from this many, and is at least this share of the mean.
_CHANNELS, _LEAST = 9, 1e-2
_MOST_EXCHANGES = 40
#: Ridges on the scaled amplitudes, one after the other: neighbouring peaks are much alike. The
#: last one takes 0.1 percent of an amplitude.
_RIDGES = (1e-2, 1e-3)
#: Amplitudes and gradients below this share of the largest count as zero.
_ZERO = 1e-5


def detector_shapes(axis: EnergyAxis, resolution: float, sharper: float) -> np.ndarray:
    """Return peaks along the whole axis, ``sharper`` times as wide as the detector's.

    Parameters
    ----------
    axis : EnergyAxis
    resolution : float
        FWHM at Mn Ka, eV.
    sharper : float
        Factor on the width; below one, for mixtures of neighbouring peaks are wider than each.

    Returns
    -------
    ndarray of shape (channels, peaks), float64
    """
    kev = axis.to_kev()
    centers, channel = kev.centers, kev.scale
    detector = Detector(resolution=resolution)
    columns = []
    at, end = centers[0], centers[-1] + 0.5 * channel
    while at < end:
        width = 1e-3 * float(detector.fwhm(at))
        # A channel adds its own width; where it is wider than a peak, there is one peak in it.
        sigma = np.hypot(sharper * width * _SIGMA_PER_FWHM, channel / np.sqrt(12))
        distance = (centers - at) / sigma
        columns.append(np.where(np.abs(distance) < _REACH, np.exp(-0.5 * distance**2), 0.0))
        at += max(_STEP * width, channel)
    return np.stack(columns, axis=1)


class DetectorView:
    """What the detector can see, for one map.

    The mean spectrum of the map, which has the least noise, says whether the shapes are right:
    the detector may be sharper than was said, or the axis wrong.

    Parameters
    ----------
    mean : ndarray of shape (m,)
        Counts of the map in each channel.
    axis : EnergyAxis
        X-ray energies.
    resolution : float
        FWHM at Mn Ka, eV.
    """

    def __init__(self, mean: np.ndarray, axis: EnergyAxis, resolution: float) -> None:
        self.total = max(float(mean.sum()), 1e-300)
        variance = uniform_filter1d(mean, _CHANNELS, mode="nearest") + _LEAST * mean.mean()
        self.fits = []
        for sharper in _SHARPER:
            fit = NonNegativeFit(detector_shapes(axis, resolution, sharper), variance)
            chi_square = float(((mean - fit(mean)) ** 2 / variance).sum())
            self.fits.append((fit, chi_square / mean.size - 1))
            if chi_square <= (1 + _WORST_MISFIT) * mean.size:
                break

    def of(self, spectrum: np.ndarray, counts: float) -> np.ndarray:
        """Return the non-negative spectrum that the detector can see nearest to a noisy one.

        By weighted least squares. Where the misfit of the shapes, scaled to the counts of the
        component, exceeds half of the noise that they would take away, the spectrum
        comes back with its negative channels set to zero, and nothing else done.

        Parameters
        ----------
        spectrum : ndarray of shape (m,)
            Of either sign.
        counts : float
            That the component holds.

        Returns
        -------
        ndarray of shape (m,), float64
            Not scaled.
        """
        for fit, misfit in self.fits:
            if misfit * counts / self.total <= _WORST_MISFIT:
                return fit(spectrum)
        return np.maximum(spectrum, 0)


class NonNegativeFit:
    """Weighted non-negative least squares with shapes of which only neighbours overlap.

    Block principal pivoting (Portugal, Judice & Vicente 1994, Math. Comput. 63, 625): all
    amplitudes and gradients of the wrong sign change sides at once, and one at a time when that
    stops to help.
    """

    def __init__(self, shapes: np.ndarray, variance: np.ndarray) -> None:
        self.shapes = shapes
        self.weighted = shapes / variance[:, None]
        gram = self.weighted.T @ shapes
        self.scale = 1 / np.sqrt(np.diag(gram))
        gram *= np.outer(self.scale, self.scale)
        row, column = np.nonzero(gram)
        self.band = int((column - row).max())
        self.grams = [gram + ridge * np.eye(len(gram)) for ridge in _RIDGES]

    def __call__(self, spectrum: np.ndarray) -> np.ndarray:
        """Return the best non-negative sum of the shapes, (m,)."""
        target = self.scale * (spectrum @ self.weighted)
        amplitudes, free = np.zeros(target.size), target > 0
        for gram in self.grams:
            amplitudes = self._pivoted(gram, target, free)
        return np.asarray(self.shapes @ (self.scale * np.maximum(amplitudes, 0)))

    def _pivoted(self, gram: np.ndarray, target: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Amplitudes; ``free``, those that may be positive, is changed in place."""
        tol = _ZERO * max(float(np.abs(target).max()), 1e-300)
        fewest, patience = target.size + 1, 3
        amplitudes = np.zeros(target.size)
        for _ in range(_MOST_EXCHANGES):
            amplitudes = self._solved(gram, target, free)
            gradient = gram @ amplitudes - target
            wrong = np.flatnonzero(np.where(free, amplitudes < -tol, gradient < -tol))
            if not wrong.size:
                break
            if wrong.size < fewest:
                fewest, patience = wrong.size, 3
            elif patience:
                patience -= 1
            else:
                wrong = wrong[-1:]
            free[wrong] ^= True
        return amplitudes

    def _solved(self, gram: np.ndarray, target: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Solve for the free amplitudes; the others are zero."""
        index = np.flatnonzero(free)
        out = np.zeros(target.size)
        if index.size:
            among = gram[np.ix_(index, index)]
            lower = np.zeros((min(self.band, index.size - 1) + 1, index.size))
            for d in range(len(lower)):
                lower[d, : index.size - d] = np.diagonal(among, -d)
            factor = cholesky_banded(lower, lower=True, check_finite=False)
            out[index] = cho_solve_banded((factor, True), target[index], check_finite=False)
        return out


#: Semiconductor detectors are between these (eV); others have another response.
_SHARPEST, _BLUNTEST = 117.5, 500.0
#: Two spectra that are nearer to each other than this (degrees) may be one phase found twice.
_ALIKE = 10.0
#: Starts that are tried then, and always where there are many phases and few pooled counts.
_STARTS = 6
#: Stored entries of pooled counts that are few.
_CHEAP = 500_000
#: The choice is made for this many of the starts, the most likely ones.
_COMPARED = 3
#: Share of the mean spectrum that all spectra keep: no count is then impossible in any of them.
_FLOOR = 1e-3


@dataclass(frozen=True, eq=False)
class ChosenSpectra:
    """Spectra that were chosen among equally likely ones.

    Parameters
    ----------
    spectra : ndarray of shape (k, m)
        Positive where the map has counts, each summing to one.
    matrix : int or None
        Which of them is the phase that is everywhere, if one is.
    n_iter : int
        Sweeps of the pooled fit from which they come; 0 for sums of pixels.
    converged : bool
        Whether it stopped by its tolerance.
    pooled_pixels : int
        Squares of pixels that it went over.
    layout : PhaseLayout or None
        How they lie, in the same order; None where the pixels do not tell.
    """

    spectra: np.ndarray
    matrix: int | None
    n_iter: int
    converged: bool
    pooled_pixels: int
    layout: PhaseLayout | None = None

    @property
    def alike(self) -> bool:
        """Whether two spectra are so near that one phase may have been found twice."""
        return _nearest(self.spectra) < _ALIKE


def choose_spectra(
    si: SpectrumImage, model: PoissonFit, *, layout: str = "auto", n_jobs: int | None = None
) -> ChosenSpectra | None:
    """Fit pooled pixels, and choose among the answers that fit equally well.

    Unless grains lie in a matrix that is everywhere and fill its film in part, they are the
    spectra of the purest pixels of each class (`siftem.decomposition.layout`): no fit is needed.

    Where the model has several starts (``n_init``), where four phases or more and few pooled
    counts make local optima likely, or where two of the chosen spectra are nearly the
    same, so that one phase may have been found twice and another one missed, the choice
    is made for the three most likely of several starts. The likelihood of the pooled counts
    *after* the choice decides between them: before it, the start that overfits most would win.

    Parameters
    ----------
    si : SpectrumImage
    model : PoissonFit
        How to fit the pooled counts; it is fitted in place.
    layout : str
        As of :func:`siftem.decompose`.
    n_jobs : int, optional
        Threads.

    Returns
    -------
    ChosenSpectra or None
        None when the pixels tell no layout, and no phase is everywhere.
    """
    lies = phase_layout(si, model.n_components, random_state=int(model.random_state or 0))
    if lies is not None and not (lies.overlapping if layout == "auto" else layout == "matrix"):
        return _of_layout(si, lies)
    found = _by_fit(si, model, n_jobs=n_jobs)
    return found if found is None or lies is None else _with_layout(found, lies, si)


def _by_fit(si: SpectrumImage, model: PoissonFit, *, n_jobs: int | None) -> ChosenSpectra | None:
    chooser = _Chooser(si)
    k = model.n_components
    pooled, shape = pooled_counts(si.counts, si.shape, k)
    asked = model.n_init
    if asked == 1 and k > 3 and pooled.nnz < _CHEAP:
        # Many phases have many local optima; where fits are cheap, try more of them.
        model.n_init = _STARTS
    model.map_shape = shape
    model.fit_weights(pooled)
    found = _best_of(model, chooser, pooled, n_jobs)
    if k > 2 and model.n_init == 1 and found is not None and found.alike:
        model.n_init = _STARTS
        model.fit_weights(pooled)
        found = _best_of(model, chooser, pooled, n_jobs)
    model.n_init = asked
    return found


def _of_layout(si: SpectrumImage, layout: PhaseLayout) -> ChosenSpectra | None:
    """Spectra of the purest pixels; what lies on a support without what it has of it."""
    spectra, counts, pixels = spectra_inside(si.counts, layout.insides)
    chooser = _Chooser(si)
    shapes = spectra / np.maximum(spectra.sum(axis=1, keepdims=True), 1e-300)
    for c, lies in enumerate(layout.phases):
        for host in lies.hosts:
            if layout.phases[host].role == "support":
                # The support goes on below: as much of it in each pixel as beside.
                under = counts[host] / pixels[host] * pixels[c] / max(counts[c], 1e-9)
                most, noise = matrix_share(
                    shapes[c], shapes[host], line_width=chooser.width, counts=counts[c]
                )
                shapes[c] = shapes[c] - max(min(under, most + noise), 0.0) * shapes[host]
    found = chooser.freed_from_noise(shapes, counts)
    if found is None:
        return None
    return ChosenSpectra(found, layout.background, 0, True, si.n_pixels, layout)


def _with_layout(found: ChosenSpectra, layout: PhaseLayout, si: SpectrumImage) -> ChosenSpectra:
    """Add a layout, each of its phases to the spectrum that it is nearest to."""
    own = spectra_inside(si.counts, layout.insides)[0]
    cosines = _unit(found.spectra) @ _unit(own).T
    order = linear_sum_assignment(-cosines)[1]
    return replace(found, layout=layout.reordered([int(c) for c in order]))


def _unit(spectra: np.ndarray) -> np.ndarray:
    return np.asarray(spectra / np.maximum(np.linalg.norm(spectra, axis=1, keepdims=True), 1e-300))


def _resolution_of(si: SpectrumImage) -> float | None:
    """FWHM at Mn Ka in eV; None for signals without X-ray lines."""
    if not si.signal_type.startswith("EDS"):
        return None
    return si.acquisition.fwhm


class _Chooser:
    """Refine, choose and denoise: what comes after a pooled fit of a map."""

    def __init__(self, si: SpectrumImage) -> None:
        self.si = si
        self.mean = np.asarray(si.counts.sum(axis=0, dtype=np.float64)).ravel()
        self.width: int | None = None
        self.resolution = _resolution_of(si)
        if self.resolution is not None:
            self.width = max(round(1e-3 * self.resolution / si.axis.to_kev().scale), 3)

    @cached_property
    def view(self) -> DetectorView | None:
        """Its shapes take some memory: they are made when the pooled fit is done."""
        if self.resolution is None or not _SHARPEST < self.resolution <= _BLUNTEST:
            return None
        return DetectorView(self.mean, self.si.axis, self.resolution)

    def __call__(self, model: PoissonFit, start: int, pooled_pixels: int) -> ChosenSpectra | None:
        si, spectra = self.si, model.components_of_starts_[start]
        refined = refined_spectra(si.counts, si.shape, spectra)
        found = identify(si.counts, si.shape, refined, line_width=self.width)
        if found is None:
            return None
        chosen = self.freed_from_noise(found.spectra, found.counts)
        if chosen is None:
            return None
        return ChosenSpectra(
            chosen,
            found.matrix,
            int(model.n_iter_of_starts_[start]),
            bool(model.converged_of_starts_[start]),
            pooled_pixels,
        )

    def freed_from_noise(self, spectra: np.ndarray, counts: np.ndarray) -> np.ndarray | None:
        """Make spectra of either sign, of so many counts each, as smooth as the detector."""
        chosen = np.maximum(spectra, 0)
        if self.view is not None:
            chosen = np.stack([self.view.of(s, n) for s, n in zip(spectra, counts, strict=True)])
        total = chosen.sum(axis=1, keepdims=True)
        if not (total > 0).all():
            return None
        chosen = chosen / total + _FLOOR * self.mean / self.mean.sum()
        return np.asarray(chosen / chosen.sum(axis=1, keepdims=True))


def _best_of(
    model: PoissonFit, chooser: _Chooser, pooled: sp.csr_array, n_jobs: int | None
) -> ChosenSpectra | None:
    """Choose for the most likely starts, and between them."""
    order = np.argsort(model.deviances_of_starts_, kind="stable")[:_COMPARED]
    found = [chooser(model, int(start), pooled.shape[0]) for start in order]
    some = [f for f in found if f is not None]
    if len(some) < 2:
        return some[0] if some else None
    rows = solver_rows(pooled, n_jobs=n_jobs)
    return min(some, key=lambda f: _objective(rows, f.spectra))


def _nearest(spectra: np.ndarray) -> float:
    """Smallest angle between two of the spectra, in degrees."""
    unit = _unit(spectra)
    cosines = (unit @ unit.T)[np.triu_indices(len(unit), 1)]
    return float(np.degrees(np.arccos(np.clip(cosines.max(), -1, 1))))


def _objective(rows: SolverRows[W], spectra: np.ndarray) -> float:
    weights = even_weights(rows, len(spectra), np.dtype(float))
    solve_weights(rows, spectra, weights)
    return poisson_objective(rows, weights, spectra)
