"""The spectra of a map: pooled fit, refined, chosen among equally likely ones, freed from noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linear_sum_assignment

from siftem.decomposition.detector_shapes import DetectorView
from siftem.decomposition.identify import identify, matrix_share, refined_spectra
from siftem.decomposition.initialise import pooled_counts
from siftem.decomposition.layout import PhaseLayout, phase_layout
from siftem.decomposition.poisson_fit import PoissonFit
from siftem.decomposition.purest import spectra_inside
from siftem.decomposition.solver import even_weights, poisson_objective, solve_weights
from siftem.decomposition.solver_rows import SolverRows, W, solver_rows
from siftem.spectrum_image import SpectrumImage

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
