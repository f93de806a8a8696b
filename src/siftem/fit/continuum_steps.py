"""Steps of the continuum that splines can't make: at the edges of what absorbs it."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from siftem.energy_axis import EnergyAxis
from siftem.fit.spectrum_model import Calibration, SpectrumModel, quantified_family
from siftem.xray.absorption import element_attenuation
from siftem.xray.atomic_data import binding_energy
from siftem.xray.elements import atomic_number

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
