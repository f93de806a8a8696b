"""The step that a detector's dead layer makes in the continuum, as far as it is not known."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from siftem.energy_axis import EnergyAxis
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.xray.absorption import element_attenuation
from siftem.xray.atomic_data import binding_energy
from siftem.xray.elements import atomic_number

#: How much silicon lies before the active one is known to this, g/cm2: some 130 nm.
_SILICON = 3e-5
#: Attenuation by the outer shells goes as this power of the energy.
_POWER = -2.8
#: keV that the axis must go on to both sides of the edge.
_BESIDE = 0.3


def dead_layer_step(
    model: SpectrumModel, axis: EnergyAxis, calibration: Calibration, continuum: np.ndarray
) -> np.ndarray:
    """Return the step at silicon's K edge that splines can't make.

    A dead layer that is thicker than `siftem.Detector` takes it to be absorbs the continuum above
    the edge and hardly below it; beside a smooth continuum the shoulder looks like Si.

    Parameters
    ----------
    model : SpectrumModel
    axis : EnergyAxis
    calibration : Calibration
    continuum : ndarray of shape (channels,)
        Expected counts.

    Returns
    -------
    ndarray of shape (channels, 1) or (channels, 0)
        Counts for one standard deviation; none where the axis does not hold the edge, or
        the spectrum no continuum beyond it.
    """
    energies = calibration.true_axis(axis).centers
    edge = binding_energy(atomic_number("Si"), "K")
    if not energies[0] + _BESIDE < edge < energies[-1] - _BESIDE:
        return np.zeros((axis.size, 0))
    beyond = np.maximum(energies, 1.001 * edge)
    before = element_attenuation("Si", np.array([0.999 * edge]))
    other = before * (beyond / edge) ** _POWER
    seen = ndtr((energies - edge) / float(model.detector.sigma(edge)))
    step = _SILICON * (element_attenuation("Si", beyond) - other)
    column = np.asarray(step * continuum * seen)[:, None]
    return column[:, column.any(axis=0)]
