"""The shapes that an X-ray spectrum of a thin film is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from siftem.energy_axis import EnergyAxis
from siftem.xray.continuum import continuum_basis
from siftem.xray.detector import Detector
from siftem.xray.lines import LineFamily
from siftem.xray.profiles import DetectedLines, detected_lines, line_profiles

#: Lines up to this energy (keV) are measured with before harder ones.
HARDEST = 20.0

#: Share of the emitted photons that leave the film, as a function of energies in keV.
Absorption = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Calibration:
    """How the measured energy scale differs from the nominal one.

    A line of energy E appears at ``E (1 + gain) + shift`` on the nominal axis.

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
    """

    shift: float = 0.0
    gain: float = 0.0
    collection_depth: float = 0.0
    resolution: float = 130.0

    def true_axis(self, nominal: EnergyAxis) -> EnergyAxis:
        """Return the axis of true energies (keV) of the channels of a nominal axis."""
        kev = nominal.to_kev()
        stretch = 1.0 + self.gain
        return EnergyAxis((kev.offset - self.shift) / stretch, kev.scale / stretch, kev.size)


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
    n_continuum : int
        Terms of the continuum.
    absorption : callable, optional
        Applied to lines and continuum alike.
    """

    families: tuple[LineFamily, ...]
    beam_energy: float
    detector: Detector = field(default_factory=Detector)
    n_continuum: int = 3
    absorption: Absorption | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns: families, then continuum terms."""
        terms = tuple(f"continuum {i}" for i in range(self.n_continuum))
        return tuple(f.name for f in self.families) + terms

    def line_columns(self, axis: EnergyAxis, calibration: Calibration) -> np.ndarray:
        """Columns of the families on a nominal axis; (channels, families)."""
        return line_profiles(
            self._lines, calibration.true_axis(axis), self._as_calibrated(calibration)
        )

    def line_sum(
        self, axis: EnergyAxis, calibration: Calibration, amplitudes: np.ndarray
    ) -> np.ndarray:
        """Sum of the families with these amplitudes (families,); (channels,)."""
        return line_profiles(
            self._lines.weighted(amplitudes),
            calibration.true_axis(axis),
            self._as_calibrated(calibration),
        )[:, 0]

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
        terms = continuum_basis(energies, self.beam_energy, n_terms=self.n_continuum)
        return (terms * seen).T

    @cached_property
    def _lines(self) -> DetectedLines:
        return detected_lines(self.families, self.detector, absorption=self.absorption)

    def _as_calibrated(self, calibration: Calibration) -> Detector:
        return replace(
            self.detector,
            resolution=calibration.resolution,
            collection_depth=calibration.collection_depth,
        )


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
