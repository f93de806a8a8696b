"""A factorisation in ``s.learning_results``, where HyperSpy's own tools look for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from siftem.decomposition.factors import Factors, component_name
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.io.hyperspy_bridge import from_hyperspy
from siftem.io.signal_metadata import Layout, read_layout, text_in

#: Name that HyperSpy shows for how the factors were made.
ALGORITHM = "siftem Poisson NMF"


def checked_layout(signal: Any) -> Layout:
    """Return how a signal is laid out, when factors can be put into it.

    Raises
    ------
    InputError
        When it is a stack, is transposed, or its energies fall.
    """
    layout = read_layout(signal, text_in(signal.metadata, "Signal.signal_type"))
    if len(layout.order) == 4:
        raise InputError(
            "learning_results hold one map, not a stack of frames: sum them first, s.sum('frame') "
            "with the name of their axis"
        )
    if layout.order != (0, 1, 2) or layout.reverse:
        raise InputError(
            "learning_results hold maps over (y, x) and energies that rise: transpose the "
            "signal to that first (signal.transpose)"
        )
    return layout


def store(signal: Any, factors: Factors) -> None:
    """Put maps and spectra into ``signal.learning_results``.

    ``signal.plot_decomposition_results()``, ``get_decomposition_loadings()``,
    ``get_decomposition_model()`` and saving then work as after ``signal.decomposition``.
    HyperSpy's factors are our spectra and its loadings our maps. Channels that were
    cropped, such as the zero peak, are zero in the factors.

    Parameters
    ----------
    signal : hyperspy.signals.BaseSignal
        The map that was factorised, in its usual orientation (two navigation axes, the
        energy as signal axis).
    factors : Factors

    Raises
    ------
    InputError
        When the factors do not fit the signal.

    Examples
    --------
    >>> from siftem import signals as sft
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> s = siftem.to_hyperspy(phantom.spectrum_image.without_zero_peak())
    >>> factors = siftem.decompose(s, 2)
    >>> sft.store(s, factors)
    >>> s.get_decomposition_loadings().data.shape
    (2, 32, 32)
    """
    layout = checked_layout(signal)
    k = factors.spectra.shape[0]
    if factors.maps.shape[1:] != layout.shape:
        raise InputError(
            f"the factors are of a map of {factors.maps.shape[1:]} pixels, the signal has "
            f"{layout.shape}"
        )
    first = _first_channel(layout.axis, factors.axis)
    spectra = np.zeros((layout.axis.size, k))
    spectra[first : first + factors.axis.size] = factors.spectra.T
    results = signal.learning_results
    results.factors = spectra
    results.loadings = factors.maps.reshape(k, -1).T.copy()
    results.output_dimension = k
    results.number_significant_components = k
    results.decomposition_algorithm = ALGORITHM
    results.explained_variance = None
    results.explained_variance_ratio = None
    results.poissonian_noise_normalized = False
    results.mean = None
    results.centre = None
    results.unfolded = False
    results.original_shape = tuple(signal.data.shape)
    results.navigation_mask = None
    results.signal_mask = None


def factors_from(signal: Any) -> Factors:
    """Read the factors back that HyperSpy or siftem put into ``signal.learning_results``.

    Parameters
    ----------
    signal : hyperspy.signals.BaseSignal
        With a non-negative decomposition, such as NMF; pixels masked in it count as empty.

    Returns
    -------
    Factors
        On the signal's whole axis, spectra summing to one, in the order stored.

    Raises
    ------
    InputError
        When there is no decomposition, or it has negative numbers (SVD, ICA).

    Examples
    --------
    >>> from siftem import signals as sft
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> s = siftem.to_hyperspy(phantom.spectrum_image.without_zero_peak())
    >>> sft.store(s, siftem.decompose(s, 2))
    >>> again = sft.factors_from(s)
    >>> again.maps.shape, again.spectra.sum(axis=1).round(9).tolist()
    ((2, 32, 32), [1.0, 1.0])
    """
    results = signal.learning_results
    if results.factors is None or results.loadings is None:
        raise InputError("the signal holds no decomposition: run sft.decompose(s) first")
    layout = read_layout(signal, text_in(signal.metadata, "Signal.signal_type"))
    spectra = np.nan_to_num(np.asarray(results.factors, float).T)
    weights = np.nan_to_num(np.asarray(results.loadings, float).T)
    smallest = min(spectra.min(), weights.min())
    if smallest < -1e-9 * max(spectra.max(), weights.max()):
        raise InputError(
            f"the decomposition ({results.decomposition_algorithm}) has negative maps or spectra, "
            "which are not counts: use NMF"
        )
    spectra, weights = spectra.clip(min=0), weights.clip(min=0)
    total = spectra.sum(axis=1)
    total = np.where(total > 0, total, 1.0)
    k = len(spectra)
    return Factors(
        maps=(weights * total[:, None]).reshape(k, *layout.shape),
        spectra=spectra / total[:, None],
        axis=layout.axis,
        names=tuple(component_name(i) for i in range(k)),
        deviance=float("nan"),
        n_iter=0,
        converged=True,
    )


def spectrum_image_of(signal: Any) -> Any:
    """Return the spectrum image of a signal; one that is a spectrum image already as it is."""
    return from_hyperspy(signal) if hasattr(signal, "axes_manager") else signal


def _first_channel(whole: EnergyAxis, part: EnergyAxis) -> int:
    first = round((part.offset - whole.offset) / whole.scale)
    same = part.unit == whole.unit and abs(part.scale - whole.scale) < 1e-6 * whole.scale
    if not same or first < 0 or first + part.size > whole.size:
        raise InputError(
            f"the factors run from {part.first:g} to {part.last:g} {part.unit}, which is no part "
            f"of the signal's axis ({whole.first:g} to {whole.last:g} {whole.unit})"
        )
    return first
