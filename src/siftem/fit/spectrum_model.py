"""The shapes that an X-ray spectrum of a thin film is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

import numpy as np

from siftem.acquisition import TYPICAL_RESOLUTION
from siftem.energy_axis import EnergyAxis
from siftem.views import outline
from siftem.xray.continuum import ContinuumSplines, continuum_basis
from siftem.xray.detector import Detector
from siftem.xray.lines import LineFamily
from siftem.xray.profiles import (
    RESPONSE,
    SOFT,
    DetectedLines,
    detected_lines,
    line_profiles,
    profile_slopes,
)
from siftem.xray.response import PeakTails, tail_slopes, with_tails

#: Lines up to this energy (keV) are measured with before harder ones.
HARDEST = 20.0

#: Share of the emitted photons that leave the film, as a function of energies in keV.
Absorption = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Calibration:
    """How the measured energy scale differs from the nominal one.

    A line of energy E appears at ``E (1 + gain) + shift + bend E^2 + soft exp(-E / 1.5 keV)``
    on the nominal axis. It is the response of one detector: learned from the strongest spectrum
    of a map, it serves for all.

    Parameters
    ----------
    shift : float
        keV.
    gain : float
        Relative.
    collection_depth : float
        Depth scale of incomplete charge collection, nm; it shapes lines below 1 keV.
    resolution : float
        Full width at half maximum at Mn Ka, eV.
    bend : float
        1/keV.
    soft : float
        What soft lines are off the straight scale, keV.
    broadening : float
        How fast the widths grow with the energy, over silicon's Fano noise.
    escape : float
        Factor on the escape peaks.
    near, far, shelf, above, near_soft : float
        Shares of a peak in its tails; see `siftem.xray.response.PeakTails`.
    covariance : ndarray of shape (parameters, parameters), optional
        Of the parameters that were fitted, in the order of `siftem.fit.calibrate.NAMES`;
        None for values taken as exact.

    Examples
    --------
    >>> import numpy as np
    >>> nominal = siftem.EnergyAxis(0.2, 0.01, 1000)
    >>> calibration = siftem.Calibration(shift=0.02)
    >>> round(calibration.true_axis(nominal).offset, 3)
    0.18
    >>> bool(np.allclose(calibration.true_energies(nominal), nominal.centers - 0.02))
    True
    """

    shift: float = 0.0
    gain: float = 0.0
    collection_depth: float = 0.0
    resolution: float = TYPICAL_RESOLUTION
    bend: float = 0.0
    soft: float = 0.0
    broadening: float = 1.0
    escape: float = 1.0
    near: float = 0.0
    far: float = 0.0
    shelf: float = 0.0
    above: float = 0.0
    near_soft: float = 0.0
    covariance: np.ndarray | None = field(default=None, compare=False, repr=False)

    def true_axis(self, nominal: EnergyAxis) -> EnergyAxis:
        """Return the axis of true energies (keV) of the channels of a nominal axis."""
        kev = nominal.to_kev()
        stretch = 1.0 + self.gain
        return EnergyAxis((kev.offset - self.shift) / stretch, kev.scale / stretch, kev.size)

    def true_energies(self, nominal: EnergyAxis) -> np.ndarray:
        """Return the true energies (keV) of the channels, bend and soft lines' shift included."""
        straight = self.true_axis(nominal).centers
        energies = straight
        for _ in range(4):  # the shifts change slowly: each round is a hundred times nearer
            moved = self.bend * energies**2 + self.soft * np.exp(-energies / SOFT)
            energies = straight - moved
        return np.maximum.accumulate(energies)


@dataclass(frozen=True)
class SpectrumModel:
    """Lines and continuum as columns of a linear model.

    Parameters
    ----------
    families : tuple of LineFamily
        One column each: expected counts for one emitted photon.
    beam_energy : float
        keV.
    detector : Detector
        Efficiency and resolution.
    n_continuum : int, optional
        Terms of a continuum that has no more; by default splines, to be held by a penalty on
        their curvature.
    absorption : callable, optional
        Applied to lines and continuum alike.
    spline_range : tuple of float
        Energies in keV between which the splines have their knots.
    valence : tuple of LineFamily
        Lines beside the families, each with an amplitude of its own.
    emitted : tuple of LineFamily, optional
        The families with other weights of their lines; by default as they are.
    thick : tuple of str
        Elements of grids, holders and the column, whose photons may come from deep inside.
    """

    __repr__ = outline

    families: tuple[LineFamily, ...]
    beam_energy: float
    detector: Detector = field(default_factory=Detector)
    n_continuum: int | None = 3
    absorption: Absorption | None = None
    spline_range: tuple[float, float] = (0.2, 20.0)
    valence: tuple[LineFamily, ...] = ()
    emitted: tuple[LineFamily, ...] | None = None
    thick: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns: families, continuum terms, valence lines."""
        terms = tuple(f"continuum {i}" for i in range(self.continuum_size))
        lines = tuple(f.name for f in self.families)
        return lines + terms + tuple(f.name for f in self.valence)

    def line_columns(self, axis: EnergyAxis, calibration: Calibration) -> np.ndarray:
        """Columns of the families on a nominal axis; (channels, families)."""
        return self._seen(self._lines, axis, calibration)

    def valence_columns(self, axis: EnergyAxis, calibration: Calibration) -> np.ndarray:
        """Columns of the valence lines on a nominal axis; (channels, lines)."""
        if not self.valence:
            return np.zeros((axis.size, 0))
        return self._seen(self._valence_lines, axis, calibration)

    def response_slopes(
        self, axis: EnergyAxis, calibration: Calibration, amplitudes: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Changes of the families' sum with the parameters of the response, by their names.

        Parameters
        ----------
        axis : EnergyAxis
        calibration : Calibration
        amplitudes : ndarray of shape (families,)

        Returns
        -------
        dict of str to ndarray of shape (channels,)
            Derivatives with the attributes of `Calibration`. That a tail has its length and the
            shelf its end in true energies, which the scale moves, is left out.
        """
        true_axis = calibration.true_axis(axis)
        peaks, slopes = profile_slopes(
            self._lines.weighted(amplitudes),
            true_axis,
            self._as_calibrated(calibration),
            escape=calibration.escape,
            stretch=1.0 + calibration.gain,
            bend=calibration.bend,
            soft_shift=calibration.soft,
        )
        tails = _tails(calibration)
        by_tails = tail_slopes(peaks, true_axis)
        return dict(zip(RESPONSE, with_tails(slopes, true_axis, tails).T, strict=True)) | {
            f.name: by_tails[:, i] for i, f in enumerate(fields(tails))
        }

    def _seen(self, lines: DetectedLines, axis: EnergyAxis, calibration: Calibration) -> np.ndarray:
        counts = np.where(lines.escaped, lines.counts * calibration.escape, lines.counts)
        true_axis = calibration.true_axis(axis)
        peaks = line_profiles(
            replace(lines, counts=counts),
            true_axis,
            self._as_calibrated(calibration),
            bend=calibration.bend,
            soft_shift=calibration.soft,
        )
        return with_tails(peaks, true_axis, _tails(calibration))

    def continuum_columns(self, axis: EnergyAxis, calibration: Calibration) -> np.ndarray:
        """Columns of the continuum on a nominal axis; (channels, terms)."""
        # Attenuation is looked up at the nominal energies, always the same ones, and moved:
        # this blurs an absorption edge by a channel, far less than the detector does.
        nominal = axis.to_kev().centers
        positive = np.maximum(nominal, 1e-3)
        seen = self.detector.efficiency(positive)
        if self.absorption is not None:
            seen = seen * self.absorption(positive)
        energies = calibration.true_axis(axis).centers
        seen = np.interp(energies, nominal, seen)
        if self.n_continuum is None:
            return self._splines.columns(energies, self.beam_energy) * seen[:, None]
        terms = continuum_basis(energies, self.beam_energy, n_terms=self.n_continuum)
        return (terms * seen).T

    @property
    def continuum_size(self) -> int:
        """Number of terms of the continuum."""
        return self._splines.size if self.n_continuum is None else self.n_continuum

    @cached_property
    def _splines(self) -> ContinuumSplines:
        return ContinuumSplines(*self.spline_range)

    @cached_property
    def _lines(self) -> DetectedLines:
        families = self.families if self.emitted is None else self.emitted
        return detected_lines(families, self.detector, absorption=self.absorption)

    @cached_property
    def _valence_lines(self) -> DetectedLines:
        return detected_lines(self.valence, self.detector, absorption=self.absorption)

    def _as_calibrated(self, calibration: Calibration) -> Detector:
        return replace(
            self.detector,
            resolution=calibration.resolution,
            broadening=calibration.broadening,
            collection_depth=calibration.collection_depth,
        )


def _tails(calibration: Calibration) -> PeakTails:
    return PeakTails(**{f.name: getattr(calibration, f.name) for f in fields(PeakTails)})


def quantified_family(
    families: Sequence[LineFamily], element: str, axis: EnergyAxis, shell: str | None = None
) -> LineFamily | None:
    """Return the family by which an element is quantified: K, else L, else M.

    The first of those shells whose alpha line lies on the axis, up to 20 keV: a silicon
    detector counts hardly a third of harder photons, so those come last. M families are
    qualitative.

    Parameters
    ----------
    families : sequence of LineFamily
    element : str
    axis : EnergyAxis
    shell : str, optional
        Ask for this shell instead.

    Returns
    -------
    LineFamily or None
        None when there is no such family.
    """
    kev = axis.to_kev()
    own = [f for f in families if f.element == element and kev.contains(f.alpha_energy)]
    soft = [f for f in own if f.alpha_energy <= HARDEST]
    for wanted in {None: ("K", "L", "L3", "M"), "L": ("L", "L3")}.get(shell, (shell,)):
        for family in soft if shell is None else own:
            if family.shell == wanted:
                return family
    return own[0] if own and shell is None else None
