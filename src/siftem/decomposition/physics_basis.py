"""Lines and continuum as a basis for the spectra of a factorisation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.fit.poisson import fit_poisson
from siftem.fit.spectrum_model import Absorption, Calibration, SpectrumModel
from siftem.xray.detector import Detector
from siftem.xray.lines import line_families


def physics_basis(
    axis: EnergyAxis,
    elements: Sequence[str],
    *,
    beam_energy: float,
    detector: Detector | None = None,
    calibration: Calibration | None = None,
    absorption: Absorption | None = None,
    n_continuum: int = 3,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the shapes that X-ray spectra of these elements are made of.

    For ``siftem.decompose(basis=...)``; the shapes of the physics-guided factorisation of
    Teurtrie et al. 2023 (Ultramicroscopy 249, 113719).

    Parameters
    ----------
    axis : EnergyAxis
    elements : sequence of str
    beam_energy : float
        keV.
    detector : Detector, optional
    calibration : Calibration, optional
        How the measured energies differ from the nominal ones.
    absorption : callable, optional
        Share of the photons that leave the film, by energy in keV.
    n_continuum : int
        Terms of the continuum.

    Returns
    -------
    basis : ndarray of shape (channels, p)
        Non-negative, each column summing to one.
    names : tuple of str
        Element and shell of each column, then the continuum terms.
    """
    kev = axis.to_kev()
    families = line_families(elements, beam_energy=beam_energy, low=kev.first, high=kev.last)
    detector = detector or Detector()
    calibration = calibration or Calibration(
        resolution=detector.resolution, collection_depth=detector.collection_depth
    )
    model = SpectrumModel(tuple(families), beam_energy, detector, n_continuum, absorption)
    columns = np.concatenate(
        [model.line_columns(axis, calibration), model.continuum_columns(axis, calibration)],
        axis=1,
    )
    columns = np.maximum(columns, 0)
    total = columns.sum(axis=0)
    seen = total > 1e-6 * total.max()
    if not seen.any():
        raise InputError(
            f"none of {', '.join(elements)} has lines on the axis: name other elements"
        )
    names = tuple(n for n, s in zip(model.names, seen, strict=True) if s)
    return columns[:, seen] / total[seen], names


def fitted_by(basis: np.ndarray, spectra: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Fit each spectrum, with the noise of as many counts as its component has."""
    basis = np.asarray(basis, np.float64)
    m = spectra.shape[1]
    if basis.ndim != 2 or basis.shape[0] != m:
        raise InputError(
            f"basis must have shape ({m}, shapes), one row a channel, got {basis.shape}"
        )
    if not np.isfinite(basis).all() or (basis < 0).any() or not (basis.sum(axis=0) > 0).all():
        raise InputError("the columns of basis must be finite, non-negative and not zero")
    out = np.empty_like(spectra)
    for c, spectrum in enumerate(spectra):
        fit = fit_poisson(basis, spectrum * max(counts[c], 1.0))
        out[c] = fit.mean / fit.mean.sum()
    return out
