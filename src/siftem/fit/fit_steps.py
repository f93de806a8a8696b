"""The steps of a fit of lines and continuum.

Among them those of the continuum that splines can't make: at the edges of what absorbs it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.linalg import block_diag
from scipy.special import ndtr

from siftem.energy_axis import EnergyAxis
from siftem.errors import DoubtWarning, InputError
from siftem.fit.calibrate import (
    Known,
    design_of,
    drifted,
    fit_calibration,
    precision_of,
    scan_scale,
    slopes_of,
)
from siftem.fit.line_weights import LineWeights, Ratios, softer_families
from siftem.fit.misfit import Stiffness, estimated_misfit, fit_beside, no_misfit
from siftem.fit.poisson import PoissonFit, covariance_of, fit_poisson
from siftem.fit.propagation import LineFit, propagated, variance_of
from siftem.fit.spectrum_model import (
    HARDEST,
    Calibration,
    SpectrumModel,
    quantified_family,
)
from siftem.spectrum import Spectrum
from siftem.xray.absorption import element_attenuation
from siftem.xray.elements import atomic_number, binding_energy
from siftem.xray.lines import LineFamily
from siftem.xray.response import pile_up

#: How much silicon lies before the active one is known to this, g/cm2: some 130 nm.
_SILICON = 3e-5
#: Share of the continuum that thick pieces may take above the edges of what they are made of.
#: From copper grids it is a third (FePt on carbon, alumina on carbon).
_THICK = 0.3
#: Softer edges lie in the foot of their own lines.
_SOFTEST = 1.0
_SUBSHELL = {"K": "K", "L": "L3", "M": "M5"}
#: Attenuation by the outer shells goes as this power of the energy.
_POWER = -2.8
#: keV that the axis must go on to both sides of an edge.
_BESIDE = 0.3


def continuum_steps(
    model: SpectrumModel,
    axis: EnergyAxis,
    calibration: Calibration,
    continuum: np.ndarray,
    lines: np.ndarray,
) -> np.ndarray:
    """Return the steps of the continuum at the edges of silicon and of what is thick.

    A dead layer that is thicker than `siftem.Detector` takes it to be absorbs the continuum above
    silicon's edge and hardly below it, as a bulk silicate does; beside a smooth continuum the
    shoulder looks like Si. The continuum of a copper grid's bar falls at copper's K edge,
    since it comes from below the bar's surface. An element makes such a step as far as its lines
    stand above the continuum.

    Parameters
    ----------
    model : SpectrumModel
    axis : EnergyAxis
    calibration : Calibration
    continuum : ndarray of shape (channels,)
        Expected counts.
    lines : ndarray of shape (channels, families)
        Expected counts of the families.

    Returns
    -------
    ndarray of shape (channels, n)
        Counts for one standard deviation; a column for each element with an edge on the axis,
        silicon first.
    """
    energies = calibration.true_energies(axis)
    columns = []
    for element in dict.fromkeys(["Si", *model.thick]):
        share, shell = _above_continuum(model, axis, element, continuum, lines)
        edge = binding_energy(atomic_number(element), _SUBSHELL[shell])
        if not max(energies[0] + _BESIDE, _SOFTEST) < edge < energies[-1] - _BESIDE:
            continue
        before, after = element_attenuation(element, np.array([0.999, 1.001]) * edge)
        beyond = np.maximum(energies, 1.001 * edge)
        jump = element_attenuation(element, beyond) - before * (beyond / edge) ** _POWER
        size = share * _THICK / (after - before)
        if element == "Si":
            size = np.hypot(size, _SILICON)
        seen = ndtr((energies - edge) / float(model.detector.sigma(edge)))
        columns.append(size * jump * continuum * seen)
    found = np.stack(columns, axis=1) if columns else np.zeros((axis.size, 0))
    return found[:, found.any(axis=0)]


def _above_continuum(
    model: SpectrumModel, axis: EnergyAxis, element: str, continuum: np.ndarray, lines: np.ndarray
) -> tuple[float, str]:
    """Return an element's share of the counts at its highest line, and the shell of that."""
    main = quantified_family(model.families, element, axis)
    if main is None:
        return 0.0, "K"
    own = lines[:, model.families.index(main)]
    top = int(np.argmax(own))
    share = float(own[top] / max(own[top] + continuum[top], 1e-9))
    return share, main.shell[0]


#: Times that response and stiffness of the continuum are fitted in turn.
_TURNS = 2
#: eV by which a given scale must be off to be moved, and for that to be told.
_MOVED, _TOLD = 0.5, 3.0
#: Standard deviations that noise does not reach.
_CLEAR = 4.0
#: Times that ratios of lines are fitted around the last ones at the most.
_WEIGHED = 2


class FitSteps:
    """The steps of a fit: response and stiffness in turn, then the misfit, then all beside it."""

    def __init__(
        self,
        model: SpectrumModel,
        spectrum: Spectrum,
        pulses: Spectrum,
        templates: Mapping[str, np.ndarray],
        dropped: tuple[str, ...],
        model_error: bool,
        free_ratios: bool,
    ) -> None:
        self.model_error = model_error
        self.model, self.spectrum, self.dropped = model, spectrum, dropped
        self.pulses, self.templates = pulses, templates
        # Who takes the model for true takes its ratios of lines for true.
        self.weights = LineWeights.tabulated(
            model.families if model_error and free_ratios else (), model.thick
        )
        lines = len(model.families)
        place = slice(lines, lines + model.continuum_size)
        self.stiffness = Stiffness.start(place, float(spectrum.counts.sum()))
        self.softer = softer_families(model, spectrum.axis)
        self.known = np.zeros(lines)

    def fitted(self, given: Calibration | None) -> LineFit:
        """Run all steps; a given calibration is kept."""
        calibration = given or self.calibrated()
        self._fold(calibration)
        if given is not None and self.weights.groups:
            calibration = self._kept_or_moved(given)
        # One without errors is exact.
        bent = given is None or given.covariance is not None
        design, found, ratios = self._weighed(calibration, bent)
        held = calibration is given
        return self._beside_misfit(calibration, given is None, held, design, found, ratios)

    def calibrated(self, known: Known | None = None) -> Calibration:
        """Fit the response: without errors, which the other steps give."""
        calibration = Calibration(resolution=self.model.detector.resolution)
        self._fold(calibration)
        calibration = scan_scale(
            self.model, self.spectrum, self.shapes, calibration, self._penalty(), known
        )
        for turn in range(_TURNS):
            if turn:
                self._fold(calibration)
            calibration = self._calibrated(calibration, known)
        return calibration

    def _kept_or_moved(self, given: Calibration) -> Calibration:
        """Return a given calibration, its scale moved where the spectrum's lines are elsewhere."""
        nominal, model = self.model.detector.resolution, self.model
        found = self._calibrated(given, Known.but_for_drift(given, nominal))
        highest = max(model.families, key=lambda f: f.alpha_energy).alpha_energy
        energies = np.array([self.spectrum.axis.to_kev().first, min(highest, HARDEST)])
        moved = found.shift - given.shift + (found.gain - given.gain) * energies
        farthest = 1e3 * float(moved[np.argmax(np.abs(moved))])
        if abs(farthest) < _MOVED:
            self.model, self.weights = model, replace(self.weights, away=0.0 * self.weights.away)
            return given
        moved_scale = drifted(given, found)
        self._fold(moved_scale)
        if abs(farthest) > _TOLD:
            warnings.warn(
                f"the lines of {self.spectrum.name or 'the spectrum'} lie up to {farthest:+.1f} eV "
                "from where the given calibration has them: its energy scale was moved, and is "
                "the less certain. Give the calibration of the same map, or none",
                DoubtWarning,
                stacklevel=5,
            )
        return moved_scale

    def _fold(self, calibration: Calibration) -> None:
        """Set the columns that depend on the data: sum peaks, for this scale."""
        axis = self.pulses.axis
        sums = pile_up(self.pulses.counts, axis, energies=calibration.true_energies(axis))
        # Both end at the same energy.
        sums = sums[-self.spectrum.axis.size :]
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

    def _penalty(self) -> np.ndarray:
        size = len(self.names)
        out = self._of_softer(size)
        return out if self.model.n_continuum is not None else out + self.stiffness.penalty(size)

    def _of_softer(self, size: int) -> np.ndarray:
        """Inverse covariance of what harder families tell of softer ones; (size, size)."""
        return np.diag(np.concatenate([self.known, np.zeros(size - self.known.size)]))

    def _bound_softer(self, found: PoissonFit) -> None:
        """Hold softer families that are beyond what harder ones allow to tables, from now on."""
        softer, harder, expected, most = self.softer
        variance = np.diag(covariance_of(found.information))[harder]
        highest = found.amplitudes[harder] + np.sqrt(variance)
        beyond = (found.amplitudes[softer] > most * highest) | (self.known[softer] > 0)
        self.known[softer[beyond]] = 1.0 / np.maximum((expected * highest)[beyond], 1e-9) ** 2

    def _stiffened(self, calibration: Calibration) -> tuple[np.ndarray, PoissonFit]:
        """Fit amplitudes and, by turns, the stiffness of the continuum."""
        design = design_of(self.model, self.spectrum.axis, self.shapes, calibration)
        empty = ~design.any(axis=0)
        if empty.any():
            names = ", ".join(np.array(self.names)[empty])
            raise InputError(f"no strength of {names} lies in the fitted range: leave it out")
        counts, base, at = self.spectrum.counts, self.spectrum.background, self.stiffness.place
        found = fit_poisson(design, counts, offset=base, penalty=self._penalty())
        for _ in range(_TURNS if self.model.n_continuum is None else 1):
            self._bound_softer(found)
            if self.model.n_continuum is None:
                covariance = covariance_of(found.information)[at, at]
                self.stiffness = self.stiffness.updated(found.amplitudes[at], covariance)
            found = fit_poisson(
                design, counts, offset=base, penalty=self._penalty(), start=found.amplitudes
            )
        return design, found

    def _weighed(
        self, calibration: Calibration, bent: bool
    ) -> tuple[np.ndarray, PoissonFit, Ratios]:
        """Fit amplitudes, then also the ratios of lines, until those stand where they belong."""
        design, found = self._stiffened(calibration)
        p = design.shape[1]
        ratios = self._ratios(calibration, design, found, bent=bent)
        for left in reversed(range(_WEIGHED)):
            found = ratios.fitted(design, self.spectrum, found.amplitudes[:p], self._penalty())
            if ratios.beyond_reason(found.amplitudes[p:]):
                ratios = ratios.without_steps()
                found = ratios.fitted(design, self.spectrum, found.amplitudes[:p], self._penalty())
            if ratios.near(found.amplitudes[p:]) or not left:
                break
            self._move(ratios, found)
            design = design_of(self.model, self.spectrum.axis, self.shapes, calibration)
            ratios = self._ratios(calibration, design, found, bent=bent)
        return design, found, ratios

    def _calibrated(self, calibration: Calibration, known: Known | None = None) -> Calibration:
        """Fit the response jointly with the ratios of lines, and take those over."""
        design, found = self._stiffened(calibration)
        ratios = self._ratios(calibration, design, found)
        spectrum, p, held = self.spectrum, design.shape[1], ratios.held
        found = ratios.fitted(design, spectrum, found.amplitudes, self._penalty())
        best = fit_calibration(
            self.model,
            replace(spectrum, values=spectrum.values + held, background=spectrum.background - held),
            np.hstack([self.shapes, ratios.columns]),
            calibration,
            np.hstack([design, ratios.columns]),
            found,
            ratios.penalty(p, self._penalty()),
            np.arange(found.amplitudes.size) >= p,
            known,
        )
        self._move(ratios, best.found)
        return best.calibration

    def _move(self, ratios: Ratios, found: PoissonFit) -> None:
        self.weights = ratios.moved(found.amplitudes[len(self.names) :])
        emitted = self.weights.emitted(self.model.families)
        self.model = replace(self.model, emitted=emitted)

    def _ratios(
        self,
        calibration: Calibration,
        design: np.ndarray,
        found: PoissonFit,
        *,
        bent: bool = False,
    ) -> Ratios:
        """Return what may give way beside a fit; the scale may bend once it is found."""
        model, axis, at = self.model, self.spectrum.axis, self.stiffness.place
        photons = found.amplitudes[: len(model.families)]
        steps = np.zeros((axis.size, 0))
        lines = design[:, : photons.size] * photons
        if self.weights.groups:
            continuum = design[:, at] @ found.amplitudes[at]
            steps = continuum_steps(model, axis, calibration, continuum, lines)
        if not (self.weights.groups and bent):
            lines = lines[:, :0]
        return self.weights.ratios(model, axis, calibration, photons, found.mean, lines, steps)

    def _beside_misfit(
        self,
        calibration: Calibration,
        free: bool,
        held: bool,
        design: np.ndarray,
        found: PoissonFit,
        ratios: Ratios,
    ) -> LineFit:
        model, spectrum, axis = self.model, self.spectrum, self.spectrum.axis
        n_lines, p = len(model.families), design.shape[1]
        known = precision_of(calibration, free)
        whole = np.hstack([design, ratios.columns])
        offset = spectrum.background - ratios.held
        slopes = np.zeros((axis.size, 0))
        if known.size:
            slopes = slopes_of(model, axis, calibration, found.amplitudes[:n_lines])
        lines = design[:, :n_lines] @ found.amplitudes[:n_lines]
        at = self.stiffness.place
        used = found.amplitudes > 0
        used[at] = True
        used[p:] = True
        before = int(used[: at.start].sum())
        detector = replace(
            model.detector, resolution=calibration.resolution, broadening=calibration.broadening
        )
        misfit, stiffness = no_misfit(axis, detector), self.stiffness
        tables = block_diag(self._of_softer(p), np.eye(ratios.size))
        # A smooth spectrum has no noise to tell errors by: those of its making are in its modes.
        if self.model_error and spectrum.variance.any():
            misfit, stiffness = estimated_misfit(
                axis,
                detector,
                columns=whole[:, used],
                amplitudes=found.amplitudes[used],
                stiffness=replace(self.stiffness, place=slice(before, before + at.stop - at.start)),
                precision=tables[np.ix_(used, used)],
                penalized=model.n_continuum is None,
                residual=spectrum.counts - found.mean,
                variance=np.maximum(variance_of(spectrum, found.mean), 1e-9),
                peaks=lines,
                rest=np.maximum(found.mean - lines - spectrum.background, 0.0),
                taken=spectrum.background,
            )
        self.stiffness = replace(stiffness, place=at)
        penalty = self._penalty()
        amplitudes, weights, sure = fit_beside(
            misfit,
            whole,
            spectrum.counts,
            offset=offset,
            penalty=ratios.penalty(p, penalty),
            start=found,
            free_sign=np.arange(whole.shape[1]) >= p,
            lines=n_lines,
        )
        design = ratios.folded(design, amplitudes, at)
        amplitudes = amplitudes[:p]
        mean = np.maximum(design @ amplitudes + spectrum.background, 1e-9)
        columns, precision, noisy = (
            np.hstack([design, slopes]),
            block_diag(penalty, known),
            spectrum,
        )
        if held:
            # It does not follow this spectrum, which may be the one that it was fitted to and
            # would tell it twice: its errors move all channels at once.
            columns, precision = design, penalty
            noisy = _with_errors_of(calibration, slopes, spectrum)
        nothing = replace(misfit, sigma=np.zeros_like(misfit.sigma))
        counting = propagated(columns, precision, weights, nothing, noisy)
        errors = counting
        if ratios.size or misfit.sigma.any():
            errors = propagated(
                np.hstack([columns, ratios.columns]),
                block_diag(precision, np.eye(ratios.size)),
                weights, misfit, noisy, apart=ratios.size,
            )  # fmt: skip
        slopes = np.hstack([slopes, ratios.columns])
        precision = block_diag(penalty, known, np.eye(ratios.size))
        weighted, _ = misfit.eliminated(design, 1 / weights)
        score = weighted.T @ (spectrum.counts - mean) - self._of_softer(p) @ amplitudes
        covariance = (errors.covariance + errors.apart)[:p, :p]
        bread = np.diag(errors.bread)[:p]
        # What was subtracted, or an anchor, may move them more or less than noise.
        sigma = np.sqrt(np.maximum(np.diag(covariance), bread))
        pushed = _may_be_negative(model.families, axis, amplitudes, score * bread, sigma)
        pushed &= ~sure[:p]
        kept = np.flatnonzero(~pushed & ((amplitudes <= 0) | sure[:p]) & (np.arange(p) < n_lines))
        step = _with_kept(errors.bread[:p, :p], kept) @ np.where(pushed, score, 0.0)
        if free:
            own = slice(p, p + known.shape[0])
            calibration = replace(calibration, covariance=errors.bread[own, own])
        return LineFit(
            spectrum=spectrum,
            model=replace(model, emitted=None),
            names=self.names,
            amplitudes=amplitudes,
            covariance=covariance,
            ratio_covariance=errors.apart[:p, :p],
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
            unbounded=amplitudes + step,
        )


def _with_errors_of(calibration: Calibration, slopes: np.ndarray, spectrum: Spectrum) -> Spectrum:
    """Return a spectrum whose common modes hold the errors of a response that is kept."""
    if calibration.covariance is None or not spectrum.variance.any():
        return spectrum
    values, vectors = np.linalg.eigh(calibration.covariance)
    modes = (slopes @ (vectors * np.sqrt(np.maximum(values, 0.0)))).T
    return replace(spectrum, modes=np.vstack([spectrum.modes, modes]))


def _with_kept(covariance: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Covariance (p, p) of parameters when some of them do not move: zero for those."""
    if not kept.size:
        return covariance
    with_them = covariance[:, kept]
    inner = covariance_of(covariance[np.ix_(kept, kept)])
    return np.asarray(covariance - with_them @ inner @ with_them.T)


def _may_be_negative(
    families: Sequence[LineFamily],
    axis: EnergyAxis,
    amplitudes: np.ndarray,
    pushed: np.ndarray,
    sigma: np.ndarray,
) -> np.ndarray:
    """Whether each amplitude would be below zero by noise, if it could be; bool (p,).

    Response, continuum and sum peaks are at their optimum or at a bound that holds for them by
    their nature. So is a further family of an element that is there, and one that would have to be
    negative by more than noise can do: it is the model that errs there, mostly at the soft end of
    the spectrum, and the lines beside it must not be drawn along.

    Parameters
    ----------
    families : sequence of LineFamily
    axis : EnergyAxis
    amplitudes, pushed, sigma : ndarray of shape (p,)
        The first ones are the families'; by how much the spectrum pushes them, and their errors.
    """
    names = [f.name for f in families]
    there = set()
    for element in dict.fromkeys(f.element for f in families):
        main = quantified_family(families, element, axis)
        if main is not None:
            i = names.index(main.name)
            if amplitudes[i] > _CLEAR * sigma[i]:
                there.add(element)
    out = np.zeros(amplitudes.size, bool)
    for i, family in enumerate(families):
        by_noise = family.element not in there and pushed[i] > -_CLEAR * sigma[i]
        out[i] = by_noise or amplitudes[i] > 0
    return out
