"""Fit of all lines and the continuum of a spectrum at once, by Poisson likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import block_diag

from siftem.blas_threads import one_blas_thread
from siftem.errors import InputError
from siftem.fit.calibrate import (
    design_of,
    fit_calibration,
    precision_of,
    scan_shift,
    slopes_of,
)
from siftem.fit.misfit import Misfit, estimated_misfit, fit_beside, no_misfit
from siftem.fit.poisson import PoissonFit, covariance_of, fit_poisson
from siftem.fit.propagation import propagated, variance_of
from siftem.fit.spectrum_model import Absorption, Calibration, SpectrumModel, quantified_family
from siftem.fit.stiffness import Stiffness
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.elements import element_symbols
from siftem.xray.lines import line_families, valence_lines
from siftem.xray.pile_up import pile_up

#: Times that response and stiffness of the continuum are fitted in turn.
_TURNS = 2


@dataclass(frozen=True, eq=False)
class LineFit:
    """Fitted lines of a spectrum.

    Parameters
    ----------
    spectrum : Spectrum
        What was fitted, cropped to the fitted range.
    model : SpectrumModel
        Families and continuum.
    names : tuple of str
        Names of the columns: families, continuum, templates.
    amplitudes : ndarray of shape (p,)
        Photons emitted towards the detector by each family, in the order of ``names``;
        continuum and templates in their own scales.
    covariance : ndarray of shape (p, p)
        Of counting, of the detector's response and of what the model can't describe.
    counting_covariance : ndarray of shape (p, p)
        What ``covariance`` would be if the model were true.
    design : ndarray of shape (channels, p)
        Columns.
    mean : ndarray of shape (channels,)
        Expected counts by the model, background included. Where the model errs it need not
        follow the counts: see ``misfit``.
    closest : ndarray of shape (channels,)
        Expected counts by the model that fits best, as if its errors were nothing.
    misfit : Misfit
        Covariance of what the model can't describe.
    slopes : ndarray of shape (channels, parameters)
        Change of the expected counts with the parameters of the response.
    precision : ndarray of shape (p + parameters, p + parameters)
        What is known beforehand of the continuum's curvature and of the response.
    deviance : float
        Poisson deviance of the model that fits best, errors of the model left out.
    degrees_of_freedom : int
        Channels minus parameters.
    calibration : Calibration
        Fitted or given.
    dropped : tuple of str
        Elements without a line in the range.
    operator : ndarray of shape (p, channels)
        ``d amplitudes / d counts``: how noise of a channel moves the amplitudes.
    unbounded : ndarray of shape (p,)
        The amplitudes as one more Newton step would leave them if they could be negative:
        unlike those at the bound they are unbiased, and ``covariance`` is theirs. For
        intervals and for means over many spectra; of no use as an amount.
    """

    spectrum: Spectrum
    model: SpectrumModel
    names: tuple[str, ...]
    amplitudes: np.ndarray
    covariance: np.ndarray
    counting_covariance: np.ndarray
    design: np.ndarray
    mean: np.ndarray
    closest: np.ndarray
    misfit: Misfit
    slopes: np.ndarray
    precision: np.ndarray
    deviance: float
    degrees_of_freedom: int
    calibration: Calibration
    dropped: tuple[str, ...]
    operator: np.ndarray
    unbounded: np.ndarray

    @property
    def reduced_deviance(self) -> float:
        """Deviance over degrees of freedom: about 1 for a model that fits well-filled channels."""
        return self.deviance / max(self.degrees_of_freedom, 1)

    @property
    def continuum(self) -> np.ndarray:
        """Fitted continuum in counts; (channels,)."""
        columns = [i for i, n in enumerate(self.names) if n.startswith("continuum ")]
        return self.design[:, columns] @ self.amplitudes[columns]

    @property
    def residual(self) -> np.ndarray:
        """``(counts - closest) / sqrt(closest)``; (channels,)."""
        return (self.spectrum.counts - self.closest) / np.sqrt(self.closest)

    def index(self, element: str, shell: str | None = None) -> int:
        """Position of the family by which an element is quantified.

        Raises
        ------
        InputError
            When the element was not fitted or has no line in the range.
        """
        family = quantified_family(self.model.families, element, self.spectrum.axis, shell)
        if family is None:
            raise InputError(
                f"element {element} has no fitted {shell or 'K, L or M'} line between "
                f"{self.spectrum.axis.first:.3g} and {self.spectrum.axis.last:.3g} "
                f"{self.spectrum.axis.unit}: add it to the elements or widen the energy range"
            )
        return self.names.index(family.name)

    def sigma_at_zero(self, index: int) -> float:
        """Standard deviation of one amplitude if its true value were zero.

        The mean without that family gives the noise under it (Currie 1968 with the fit in
        place of windows). What an anchor pins does not lower it: that a line is absent was
        assumed and not seen.
        """
        mean = np.maximum(self.mean - self.amplitudes[index] * self.design[:, index], 1e-9)
        columns = np.hstack([self.design, self.slopes])
        without = replace(self.spectrum, pinned=np.zeros((0, self.spectrum.axis.size)))
        found = propagated(columns, self.precision, mean, self.misfit, without)
        return float(np.sqrt(found.covariance[index, index]))


def fit_lines(
    spectrum: Spectrum,
    elements: Sequence[str],
    *,
    support: Sequence[str] = (),
    beam_energy: float,
    detector: Detector | None = None,
    absorption: Absorption | None = None,
    calibration: Calibration | None = None,
    energy_range: tuple[float | None, float | None] = (0.2, None),
    n_continuum: int | None = None,
    split_l: bool = False,
    templates: Mapping[str, np.ndarray] | None = None,
    model_error: bool = True,
) -> LineFit:
    """Fit line families and continuum to a spectrum.

    Minimises the Poisson deviance of the measured counts; what was subtracted from them
    is a known part of the mean (``spectrum.background``). All amplitudes are >= 0. The
    detector's response is fitted, sum peaks are allowed for, and what all of this can't
    describe is estimated as a covariance beside which the amplitudes are fitted.

    Parameters
    ----------
    spectrum : Spectrum
        Counts, or counts less a scaled matrix (:func:`siftem.subtract`).
    elements, support : sequence of str
        All families of these elements in the range are fitted.
    beam_energy : float
        keV.
    detector : Detector, optional
        Efficiency and nominal resolution.
    absorption : callable, optional
        Share of the photons that leave the film, of energies in keV.
    calibration : Calibration, optional
        Given: the response is kept, its errors (``calibration.covariance``) are carried. By
        default it is fitted with priors, see `siftem.fit.calibrate`.
    energy_range : tuple
        Fitted range in keV; None means the end of the axis.
    n_continuum : int, optional
        Terms of the continuum. By default splines as stiff as the spectrum asks for.
    split_l : bool
        Let L1, L2 and L3 lines have their own amplitudes.
    templates : mapping of str to ndarray (channels,), optional
        Further measured shapes on the axis of ``spectrum``, such as the matrix.
    model_error : bool
        False takes the model for true: for spectra that were simulated by it.

    Returns
    -------
    LineFit
    """
    detector = detector or Detector()
    low, high = energy_range
    unit = 1.0 if spectrum.axis.unit == "keV" else 1e3
    window = spectrum.axis.window(
        None if low is None else low * unit, None if high is None else high * unit
    )
    cut = _cropped(spectrum, window)
    if not cut.counts.sum() > 0:
        raise InputError(
            f"spectrum {spectrum.name!r} holds no counts in the fitted range: nothing to fit"
        )
    kev = cut.axis.to_kev()
    every = list(dict.fromkeys([*element_symbols(elements), *element_symbols(support)]))
    families = line_families(
        every, beam_energy=beam_energy, low=kev.first, high=kev.last, split_l=split_l
    )
    dropped = tuple(e for e in every if not any(f.element == e for f in families))
    model = SpectrumModel(
        tuple(families),
        beam_energy,
        detector,
        n_continuum,
        absorption,
        spline_range=(kev.first, min(kev.last, beam_energy)),
        valence=tuple(valence_lines(every, low=kev.first, high=kev.last)),
    )
    extra = {k: np.asarray(v, float)[window] for k, v in (templates or {}).items()}
    with one_blas_thread():
        return _Fit(model, cut, extra, dropped, model_error).fitted(calibration)


def _cropped(spectrum: Spectrum, window: slice) -> Spectrum:
    return replace(
        spectrum,
        values=spectrum.values[window],
        axis=spectrum.axis.cropped(window),
        variance=spectrum.variance[window],
        modes=spectrum.modes[:, window],
        pinned=spectrum.pinned[:, window],
        background=spectrum.background[window],
    )


class _Fit:
    """The steps of a fit: response and stiffness in turn, then the misfit, then all beside it."""

    def __init__(
        self,
        model: SpectrumModel,
        spectrum: Spectrum,
        templates: Mapping[str, np.ndarray],
        dropped: tuple[str, ...],
        model_error: bool,
    ) -> None:
        self.model_error = model_error
        self.model, self.spectrum, self.dropped = model, spectrum, dropped
        self.templates = templates
        lines = len(model.families)
        place = slice(lines, lines + model.continuum_size)
        self.stiffness = Stiffness.start(place, float(spectrum.counts.sum()))
        self._fold(Calibration())

    def fitted(self, given: Calibration | None) -> LineFit:
        """Run all steps; a given calibration is kept."""
        calibration = given or Calibration(resolution=self.model.detector.resolution)
        if given is None:
            penalty = self._penalty()
            calibration = scan_shift(self.model, self.spectrum, self.shapes, calibration, penalty)
            for _ in range(_TURNS):
                design, found = self._stiffened(calibration)
                calibration = fit_calibration(
                    self.model, self.spectrum, self.shapes, calibration, design, found,
                    self._penalty(),
                ).calibration  # fmt: skip
                self._fold(calibration)
        else:
            self._fold(calibration)
        design, found = self._stiffened(calibration)
        return self._beside_misfit(calibration, given is None, design, found)

    def _fold(self, calibration: Calibration) -> None:
        """Set the columns that depend on the data: sum peaks, for this zero of the scale."""
        sums = pile_up(self.spectrum.counts, self.spectrum.axis, zero=calibration.shift)
        shapes = {f"pile-up {i}": sums[:, i] for i in range(2)} | dict(self.templates)
        empty = [n for n, v in shapes.items() if not v.any()]
        if any(n in self.templates for n in empty):
            raise InputError(f"no strength of {', '.join(empty)} lies in the fitted range")
        shapes = {n: v for n, v in shapes.items() if n not in empty}
        self.names = (*self.model.names, *shapes)
        self.shapes = (
            np.stack(list(shapes.values()), axis=1)
            if shapes
            else np.zeros((self.spectrum.axis.size, 0))
        )

    def _penalty(self) -> np.ndarray | None:
        if self.model.n_continuum is not None:
            return None
        return self.stiffness.penalty(len(self.names))

    def _stiffened(self, calibration: Calibration) -> tuple[np.ndarray, PoissonFit]:
        """Fit amplitudes and, by turns, the stiffness of the continuum."""
        design = design_of(self.model, self.spectrum.axis, self.shapes, calibration)
        empty = ~design.any(axis=0)
        if empty.any():
            names = ", ".join(np.array(self.names)[empty])
            raise InputError(f"no strength of {names} lies in the fitted range: leave it out")
        counts, base, at = self.spectrum.counts, self.spectrum.background, self.stiffness.place
        found = fit_poisson(design, counts, offset=base, penalty=self._penalty())
        for _ in range(_TURNS if self.model.n_continuum is None else 0):
            covariance = covariance_of(found.information)[at, at]
            self.stiffness = self.stiffness.updated(found.amplitudes[at], covariance)
            found = fit_poisson(
                design, counts, offset=base, penalty=self._penalty(), start=found.amplitudes
            )
        return design, found

    def _beside_misfit(
        self, calibration: Calibration, free: bool, design: np.ndarray, found: PoissonFit
    ) -> LineFit:
        model, spectrum, axis = self.model, self.spectrum, self.spectrum.axis
        n_lines, p = len(model.families), design.shape[1]
        known = precision_of(calibration, free)
        slopes = np.zeros((axis.size, 0))
        if known.size:
            slopes = slopes_of(model, axis, calibration, found.amplitudes[:n_lines])
        lines = design[:, :n_lines] @ found.amplitudes[:n_lines]
        at = self.stiffness.place
        used = found.amplitudes > 0
        used[at] = True
        before = int(used[: at.start].sum())
        detector = replace(
            model.detector, resolution=calibration.resolution, broadening=calibration.broadening
        )
        misfit, stiffness = no_misfit(axis, detector), self.stiffness
        if self.model_error:
            misfit, stiffness = estimated_misfit(
                axis,
                detector,
                columns=design[:, used],
                amplitudes=found.amplitudes[used],
                stiffness=replace(self.stiffness, place=slice(before, before + at.stop - at.start)),
                penalized=model.n_continuum is None,
                residual=spectrum.counts - found.mean,
                variance=np.maximum(variance_of(spectrum, found.mean), 1e-9),
                peaks=lines,
                rest=found.mean - lines,
            )
        self.stiffness = replace(stiffness, place=at)
        penalty = self._penalty()
        penalty = np.zeros((p, p)) if penalty is None else penalty
        amplitudes, weights = fit_beside(
            misfit, design, spectrum.counts, offset=spectrum.background, penalty=penalty,
            start=found,
        )  # fmt: skip
        mean = np.maximum(design @ amplitudes + spectrum.background, 1e-9)
        columns = np.hstack([design, slopes])
        precision = block_diag(penalty, known)
        errors = propagated(columns, precision, weights, misfit, spectrum)
        nothing = replace(misfit, sigma=np.zeros_like(misfit.sigma))
        counting = propagated(columns, precision, weights, nothing, spectrum)
        # Response, continuum and sum peaks are at their optimum or at a bound that holds for
        # them by their nature, so only the lines are pushed.
        weighted, _ = misfit.eliminated(design, 1 / weights)
        score = weighted.T @ (spectrum.counts - mean)
        score[n_lines:] = 0.0
        if free:
            calibration = replace(calibration, covariance=errors.bread[p:, p:])
        return LineFit(
            spectrum=spectrum,
            model=model,
            names=self.names,
            amplitudes=amplitudes,
            covariance=errors.covariance[:p, :p],
            counting_covariance=counting.covariance[:p, :p],
            design=design,
            mean=mean,
            closest=found.mean,
            misfit=misfit,
            slopes=slopes,
            precision=precision,
            deviance=found.deviance,
            degrees_of_freedom=axis.size - columns.shape[1],
            calibration=calibration,
            dropped=self.dropped,
            operator=errors.operator[:p],
            unbounded=amplitudes + errors.bread[:p, :p] @ score,
        )
