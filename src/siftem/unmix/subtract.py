"""Take the matrix out of a mixture."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from siftem.errors import InputError, SiftemWarning
from siftem.fit.line_fit import LineFit, fit_lines
from siftem.fit.spectrum_model import Calibration
from siftem.spectrum import Spectrum
from siftem.unmix.anchors import Anchor, joined
from siftem.xray.detector import Detector

#: Anchoring elements that disagree by more than this are worth a warning.
_CONFLICT = 3.0


@dataclass(frozen=True, eq=False)
class PureSpectrum(Spectrum):
    """What is left of a mixture after the matrix is taken away.

    Parameters
    ----------
    scale : float
        Factor on the matrix spectrum that was subtracted.
    scale_sigma : float
        Its standard deviation; it is in ``modes``.
    anchor : str
        What was assumed.
    conflict : float
        Disagreement of several anchoring elements, in standard deviations.
    """

    scale: float = 0.0
    scale_sigma: float = 0.0
    anchor: str = ""
    conflict: float = 0.0


def subtract(
    mixture: Spectrum,
    matrix: Spectrum,
    *,
    anchor: Anchor,
    elements: Sequence[str] = (),
    support: Sequence[str] = (),
    beam_energy: float | None = None,
    detector: Detector | None = None,
    calibration: Calibration | None = None,
    energy_range: tuple[float | None, float | None] = (0.25, None),
    name: str | None = None,
) -> PureSpectrum:
    """Subtract the matrix' part from the spectrum of a mixture.

    ``pure = mixture - a matrix``, with the scale ``a`` from the anchor. Its covariance is
    ``diag(Var mixture + a^2 Var matrix) + Var(a) matrix matrix'``.

    Parameters
    ----------
    mixture : Spectrum
        Grain and matrix.
    matrix : Spectrum
        Pure matrix, on the same axis.
    anchor : Absent, KnownRatio or GivenScale
        What fixes the scale.
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
    energy_range : tuple
        Fitted range in keV.
    name : str, optional
        Name of the result; by default that of the mixture.

    Returns
    -------
    PureSpectrum
        May be negative within its errors.

    Raises
    ------
    InputError
        When the axes differ, or the anchor can't be applied.

    Warns
    -----
    SiftemWarning
        When anchoring elements disagree by more than three standard deviations.
    """
    if mixture.axis != matrix.axis:
        raise InputError("mixture and matrix must be on the same energy axis: crop both alike")
    fits: tuple[LineFit | None, LineFit | None] = (None, None)
    if anchor.elements:
        acquisition = mixture.acquisition
        energy = beam_energy or acquisition.beam_energy
        if energy is None:
            raise InputError("the beam energy is not known: give beam_energy in keV")
        detector = detector or Detector(resolution=acquisition.resolution or 130.0)
        listed = joined([*(elements or acquisition.elements), *anchor.elements])

        def fitted(spectrum: Spectrum, scale: Calibration | None) -> LineFit:
            return fit_lines(
                spectrum,
                listed,
                support=support,
                beam_energy=energy,
                detector=detector,
                calibration=scale,
                energy_range=energy_range,
            )

        of_matrix = fitted(matrix, calibration)
        fits = (fitted(mixture, of_matrix.calibration), of_matrix)
    found = anchor.scale(*fits)
    notes = list(mixture.notes)
    value = found.value
    if value < 0:
        notes.append(f"the anchor gave a scale of {value:.3g}: nothing was subtracted")
        value = 0.0
    if found.conflict > _CONFLICT:
        warnings.warn(
            f"{mixture.name}: the anchoring elements disagree by {found.conflict:.1f} sigma: "
            f"at least one of them is in the grain",
            SiftemWarning,
            stacklevel=2,
        )
    variance = mixture.variance + value**2 * matrix.variance
    modes = np.vstack([mixture.modes, value * matrix.modes, found.sigma * matrix.values])
    return PureSpectrum(
        values=mixture.values - value * matrix.values,
        axis=mixture.axis,
        variance=variance,
        modes=modes,
        background=mixture.background + value * matrix.values,
        name=name or mixture.name,
        n_pixels=mixture.n_pixels,
        acquisition=mixture.acquisition,
        notes=tuple(notes),
        scale=value,
        scale_sigma=found.sigma,
        anchor=anchor.describe(),
        conflict=found.conflict,
    )
