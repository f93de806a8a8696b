"""Take the matrix out of a core-loss mixture: an absent edge or a known ratio as anchor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from siftem.eels.edges import Edge, EdgeSignal, as_edge, cross_section, edge_signal
from siftem.errors import InputError
from siftem.hyperspy_input import as_spectrum
from siftem.machine import one_blas_thread
from siftem.spectrum import Spectrum
from siftem.unmixing.anchors import GivenScale
from siftem.unmixing.subtract import PureSpectrum, Subtracted, subtract

#: The matrix must show an anchoring edge this clearly (in sigma).
_CLEAR = 5.0


class EdgeAnchor(Protocol):
    """What says how much matrix a core-loss mixture holds."""

    def describe(self) -> str:
        """Say in a few words what is assumed."""

    def terms(self, spectrum: Spectrum) -> tuple[tuple[Edge, float, float], ...]:
        """Edges with weights c and their change by the anchor's sigma: ``sum c I = 0``."""


class _OnEdges:
    """Lets `siftem.subtract` take such an anchor."""

    def taken_off(
        self: EdgeAnchor, mixture: Spectrum, matrix: Spectrum, *, name: str | None
    ) -> PureSpectrum:
        """Return what is left of the mixture: see `subtract_by_edges`."""
        return subtract_by_edges(mixture, matrix, anchor=self, name=name)


@dataclass(frozen=True)
class AbsentEdge(_OnEdges):
    """The grain lacks this edge: all of it in the mixture is the matrix'.

    Parameters
    ----------
    edge : Edge or str
        Such as "Ti_L3".

    Examples
    --------
    >>> siftem.AbsentEdge("Ti_L3").describe()
    'no Ti_L3 edge in the grain'
    """

    edge: Edge | str

    def describe(self) -> str:
        """Say in a few words what is assumed."""
        return f"no {as_edge(self.edge).name} edge in the grain"

    def terms(self, spectrum: Spectrum) -> tuple[tuple[Edge, float, float], ...]:
        """Return the edge alone, with weight 1."""
        return ((as_edge(self.edge), 1.0, 0.0),)


@dataclass(frozen=True)
class EdgeRatio(_OnEdges):
    """The grain has a known ratio of two elements, by atoms, through cross-sections.

    Parameters
    ----------
    numerator, denominator : Edge or str
    value : float
        Atoms of the one for each atom of the other.
    sigma : float
        Its standard deviation.
    gos : str
        See :func:`siftem.eels.edges.cross_section`.

    Examples
    --------
    >>> siftem.EdgeRatio("O_K", "Mn_L3", 1.0, sigma=0.05).describe()
    'O/Mn = 1 by atoms'
    """

    numerator: Edge | str
    denominator: Edge | str
    value: float
    sigma: float = 0.0
    gos: str = "hydrogenic"

    def __post_init__(self) -> None:
        if not (np.isfinite(self.value) and self.value >= 0 and self.sigma >= 0):
            raise InputError(
                f"EdgeRatio needs a value and a sigma that are not negative, "
                f"got {self.value} and {self.sigma}"
            )

    def describe(self) -> str:
        """Say in a few words what is assumed."""
        top, bottom = as_edge(self.numerator), as_edge(self.denominator)
        return f"{top.element}/{bottom.element} = {self.value:g} by atoms"

    def terms(self, spectrum: Spectrum) -> tuple[tuple[Edge, float, float], ...]:
        """Return both edges, weighted by the inverse of their cross-sections."""
        top, bottom = as_edge(self.numerator), as_edge(self.denominator)
        per_top, per_bottom = (
            1 / cross_section(e, spectrum.acquisition, spectrum.axis, gos=self.gos)[0]
            for e in (top, bottom)
        )
        # In units of the first cross-section, so that weights are of the order of 1.
        ratio = per_bottom / per_top
        return ((top, 1.0, 0.0), (bottom, -self.value * ratio, -self.sigma * ratio))


@one_blas_thread()
def subtract_by_edges(
    mixture: Spectrum,
    matrix: Spectrum,
    *,
    anchor: EdgeAnchor | GivenScale,
    name: str | None = None,
) -> PureSpectrum:
    """Subtract the matrix' part of a core-loss mixture.

    ``pure = mixture - a matrix`` with ``a = sum c I(mixture) / sum c I(matrix)`` of the net
    counts I of the anchor's edges. The noise that the scale shares with the mixture, since
    both come from the same counts, is in the covariance.

    Parameters
    ----------
    mixture, matrix : Spectrum
        On the same axis; with the background still there.
    anchor : AbsentEdge, EdgeRatio or GivenScale
    name : str, optional
        By default that of the mixture.

    Returns
    -------
    PureSpectrum
        Edges, and the background of the grain below them.

    Raises
    ------
    InputError
        When the axes differ, the matrix does not show the anchor's edge by five standard
        deviations, or the anchor asks for a negative amount beyond its error.

    Examples
    --------
    >>> phantom = siftem.simulate_elnes((16, 16), counts=200)
    >>> si = phantom.spectrum_image
    >>> import numpy as np
    >>> whole = siftem.integrate(si, np.ones(si.shape, bool))
    >>> half = siftem.integrate(si, np.arange(16)[:, None] * np.ones(16) < 8)
    >>> pure = siftem.subtract_by_edges(whole, half, anchor=siftem.GivenScale(0.5))
    >>> pure.scale
    0.5
    """
    mixture, matrix = as_spectrum(mixture), as_spectrum(matrix)
    if isinstance(anchor, GivenScale):
        return subtract(mixture, matrix, anchor=anchor, name=name)
    if mixture.axis != matrix.axis:
        raise InputError("mixture and matrix must be on the same energy axis: crop both alike")
    terms = anchor.terms(matrix)
    weights = np.array([weight for _, weight, _ in terms])
    change = np.array([by_sigma for _, _, by_sigma in terms])
    of_mixture = [edge_signal(mixture, edge) for edge, _, _ in terms]
    of_matrix = [edge_signal(matrix, edge) for edge, _, _ in terms]
    top, top_slope = _weighted(of_mixture, weights)
    bottom, bottom_slope = _weighted(of_matrix, weights)
    clear = abs(bottom) > _CLEAR * _sigma(matrix, bottom_slope)
    if not clear:
        raise InputError(
            f"the matrix itself fulfils '{anchor.describe()}' within its noise: the anchor says "
            f"nothing; choose an edge that the matrix shows clearly"
        )
    scale = top / bottom
    slopes = top_slope / bottom, -scale * bottom_slope / bottom
    assumed = (_weighted(of_mixture, change)[0] - scale * _weighted(of_matrix, change)[0]) / bottom
    variance = _sigma(mixture, slopes[0]) ** 2 + _sigma(matrix, slopes[1]) ** 2 + assumed**2
    sigma = float(np.sqrt(variance))
    if scale < -3 * sigma:
        raise InputError(
            f"{mixture.name}: '{anchor.describe()}' asks for a negative amount of matrix "
            f"({scale:.3g} +- {sigma:.2g}): it does not hold for the grain"
        )
    scale = max(scale, 0.0)
    shape = matrix.values
    shared = _times_covariance(mixture, slopes[0]) - scale * _times_covariance(matrix, slopes[1])
    safe = sigma or 1.0
    return PureSpectrum(
        values=mixture.values - scale * shape,
        axis=mixture.axis,
        variance=mixture.variance + scale**2 * matrix.variance,
        modes=np.vstack([mixture.modes, scale * matrix.modes, sigma * shape - shared / safe]),
        pinned=np.vstack([mixture.pinned, scale * matrix.pinned, shared / safe]),
        background=mixture.background + scale * shape,
        name=name or mixture.name,
        n_pixels=mixture.n_pixels,
        acquisition=mixture.acquisition,
        notes=mixture.notes,
        scale=scale,
        scale_sigma=sigma,
        anchor=anchor.describe(),
        subtracted=(Subtracted(matrix.name, scale, sigma, 0.0, float(scale * shape.sum())),),
        scale_correlation=np.eye(1),
    )


def _weighted(signals: list[EdgeSignal], weights: np.ndarray) -> tuple[float, np.ndarray]:
    value = sum(w * s.value for w, s in zip(weights, signals, strict=True))
    slope = sum(w * s.response for w, s in zip(weights, signals, strict=True))
    return float(value), np.asarray(slope)


def _times_covariance(spectrum: Spectrum, row: np.ndarray) -> np.ndarray:
    out = row * spectrum.variance
    out = out + (spectrum.modes @ row) @ spectrum.modes
    return np.asarray(out - (spectrum.pinned @ row) @ spectrum.pinned)


def _sigma(spectrum: Spectrum, row: np.ndarray) -> float:
    return float(np.sqrt(max(float(row @ _times_covariance(spectrum, row)), 0.0)))
