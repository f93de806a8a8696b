"""Ratios of elements from their edges: by windows, and by the shapes of all edges at once.

An edge on the tail of another one has no power law below it; the shape of the other edge's
cross-section tells how that tail goes on. Windows are what everybody measures, and white lines
and bonds do not disturb them; how far both disagree is an error that neither knows of.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from siftem.eels.edges import (
    Edge,
    EdgeSignal,
    as_edge,
    cross_section_in_window,
    cross_section_of_channels,
    cross_section_sigma,
    edge_signal,
)
from siftem.energy_axis import KEV_PER_UNIT
from siftem.errors import DoubtWarning, InputError
from siftem.hyperspy_input import as_spectrum
from siftem.spectrum import Spectrum

#: From where to where about its onset, in eV, an edge has a shape of its own.
_FINE_STRUCTURE = (-5.0, 25.0)
#: Exponents that the background may have.
_EXPONENTS = (0.5, 8.0)
#: Channels that each edge needs beyond its fine structure.
_FEWEST = 5


@dataclass(frozen=True, eq=False)
class ElementalRatios:
    """Atoms of each element, for one atom of the reference.

    Parameters
    ----------
    elements : tuple of str
    reference : str
        One of the elements.
    values : ndarray of shape (elements,)
        ``(I_i / sigma_i) / (I_ref / sigma_ref)``; 1 for the reference.
    covariance : ndarray of shape (elements, elements)
        From counting, with the extrapolation of backgrounds.
    systematic : ndarray of shape (elements, elements)
        From the cross-sections, and from how far windows and the shapes of all edges disagree.
    signals : tuple of EdgeSignal
        Net counts of the edges.
    cross_sections : ndarray of shape (elements,)
        barn, within the signal windows.
    """

    elements: tuple[str, ...]
    reference: str
    values: np.ndarray
    covariance: np.ndarray
    systematic: np.ndarray
    signals: tuple[EdgeSignal, ...]
    cross_sections: np.ndarray

    def __repr__(self) -> str:
        return f"<ElementalRatios, by atoms>\n{self.table()}"

    @property
    def sigma(self) -> np.ndarray:
        """Standard deviation from counting; (elements,)."""
        return np.sqrt(np.maximum(np.diag(self.covariance), 0.0))

    @property
    def systematic_sigma(self) -> np.ndarray:
        """Standard deviation from cross-sections and backgrounds; (elements,)."""
        return np.sqrt(np.maximum(np.diag(self.systematic), 0.0))

    def __getitem__(self, element: str) -> float:
        """Atoms of an element for one atom of the reference."""
        if element not in self.elements:
            raise InputError(f"there is no ratio of {element}: {', '.join(self.elements)}")
        return float(self.values[self.elements.index(element)])

    def below_zero(self) -> list[str]:
        """Elements whose ratio lies below zero by more than three standard deviations."""
        far = self.values < -3.0 * self.sigma
        return [e for e, below in zip(self.elements, far, strict=True) if below]

    def table(self) -> str:
        """Plain text: one line for each element but the reference."""
        rows = zip(self.elements, self.values, self.sigma, self.systematic_sigma, strict=True)
        return "\n".join(
            f"{e}/{self.reference} = {v:.3f} +- {s:.3f} (counting) +- {k:.2f} (systematic)"
            for e, v, s, k in rows
            if e != self.reference
        )


def elemental_ratios(
    spectrum: Spectrum,
    edges: Sequence[Edge | str],
    *,
    reference: str | None = None,
    convergence_angle: float | None = None,
    collection_angle: float | None = None,
    gos: str = "hydrogenic",
) -> ElementalRatios:
    """Ratios of atoms from the net counts of edges.

    ``N_i / N_j = (I_i / sigma_i) (sigma_j / I_j)`` (Egerton 2011, Electron Energy-Loss
    Spectroscopy, 3rd ed., eq. 4.66) with partial cross-sections of eXSpy. Plural scattering
    is not taken off: it cancels in a ratio as far as the windows are alike, for thicknesses
    under half a mean free path.

    Parameters
    ----------
    spectrum : Spectrum
        With its background, or a pure spectrum from :func:`subtract_by_edges`.
    edges : sequence of Edge or str
        One for each element. A signal window must hold no other edge.
    reference : str, optional
        Element that the others are compared with; by default that of the first edge.
    convergence_angle, collection_angle : float, optional
        Semi-angles in mrad; by default those of the acquisition.
    gos : str
        See :func:`siftem.eels.edges.cross_section`.

    Returns
    -------
    ElementalRatios

    Raises
    ------
    InputError
        With fewer than two edges, an element twice, or a reference without signal.

    Examples
    --------
    >>> import numpy as np
    >>> si = siftem.simulate_elnes((16, 16), counts=400).spectrum_image
    >>> spectrum = siftem.integrate(si, np.ones(si.shape, bool))
    >>> titanium = siftem.Edge("Ti_L3", background=(402, 452), signal=(453, 500))
    >>> oxygen = siftem.Edge("O_K", background=(502, 528), signal=(530, 560))
    >>> ratios = siftem.elemental_ratios(
    ...     spectrum, [titanium, oxygen], convergence_angle=10.0, collection_angle=20.0
    ... )
    >>> ratios.elements, ratios["Ti"]
    (('Ti', 'O'), 1.0)
    """
    named = [as_edge(e) for e in edges]
    elements = tuple(e.element for e in named)
    if len(named) < 2 or len(set(elements)) < len(elements):
        raise InputError(
            f"elemental_ratios needs one edge for each of two elements or more, "
            f"got {', '.join(e.name for e in named) or 'none'}"
        )
    wanted = elements[0] if reference is None else reference
    if wanted not in elements:
        raise InputError(f"the reference {wanted} is not among {', '.join(elements)}")
    base = elements.index(wanted)
    spectrum = as_spectrum(spectrum)
    signals = tuple(edge_signal(spectrum, e) for e in named)
    angles = (convergence_angle, collection_angle)
    axis = spectrum.axis
    densities = np.array(
        [cross_section_of_channels(e, spectrum.acquisition, axis, angles, gos) for e in named]
    )
    pairs = zip(named, densities, strict=True)
    sections = np.array([cross_section_in_window(e, axis, d) for e, d in pairs])
    relative = np.array([cross_section_sigma(e) for e in named])
    if not signals[base].value > 3 * signals[base].sigma:
        raise InputError(
            f"the edge of the reference {wanted} does not exceed its noise: choose another one"
        )
    atoms = np.array([s.value for s in signals]) / sections
    values = atoms / atoms[base]
    response = np.array([s.response for s in signals]) / sections[:, None] / atoms[base]
    slopes = response - values[:, None] * response[base]
    covariance = spectrum.propagate(slopes)
    change = -np.diag(values)
    change[:, base] += values
    change[base] = 0.0
    beside = _difference_of_shapes(spectrum, named, densities, base, values, slopes)
    excess = np.sign(beside[0]) * np.sqrt(np.maximum(beside[0] ** 2 - beside[1] ** 2, 0.0))
    systematic = (change * relative**2) @ change.T
    told = _of_tails(named, base, values, excess, np.diag(covariance + systematic))
    for text in told:
        whose = f"{spectrum.name}: " if spectrum.name else ""
        warnings.warn(whose + text, DoubtWarning, stacklevel=2)
    return ElementalRatios(
        elements,
        wanted,
        values,
        covariance,
        systematic + np.outer(excess, excess),
        signals,
        sections,
    )


def _difference_of_shapes(
    spectrum: Spectrum,
    edges: Sequence[Edge],
    densities: np.ndarray,
    base: int,
    values: np.ndarray,
    slopes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """How much larger ratios are by the shapes of all edges, and the noise of that; (edges,)."""
    energy = 1e3 * KEV_PER_UNIT[spectrum.axis.unit] * spectrum.axis.centers
    span = (
        min(e.background_window[0] for e in edges),
        max(e.signal_window[1] for e in edges),
    )
    found = atoms_by_shapes(spectrum, energy, [e.onset for e in edges], densities, span)
    if found is None or not found[0][base] > 0:
        return np.zeros(len(edges)), np.zeros(len(edges))
    atoms, response = found
    others = atoms / atoms[base]
    theirs = (response - others[:, None] * response[base]) / atoms[base]
    noise = np.sqrt(np.maximum(np.diag(spectrum.propagate(theirs - slopes)), 0.0))
    return others - values, noise


def _of_tails(
    edges: Sequence[Edge], base: int, values: np.ndarray, excess: np.ndarray, variance: np.ndarray
) -> list[str]:
    """Which ratios differ by more than their other errors hold."""
    rows = zip(edges, values, excess, np.sqrt(variance), strict=True)
    return [
        f"{edge.element}/{edges[base].element} is {value:.3g} by windows and {value + more:.3g} by "
        f"the shapes of all edges on one background: an edge lies on the tail of another one, or "
        f"what scatters twice changes their shapes. The error holds the difference; other windows "
        f"may lessen it"
        for edge, value, more, sigma in rows
        if abs(more) > 2.0 * sigma
    ]


def atoms_by_shapes(
    spectrum: Spectrum,
    energy: np.ndarray,
    onsets: Sequence[float],
    densities: np.ndarray,
    span: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray] | None:
    """Fit a power law and the cross-sections of edges by weighted least squares.

    Parameters
    ----------
    spectrum : Spectrum
    energy : ndarray of shape (channels,)
        eV.
    onsets : sequence of float
        eV.
    densities : ndarray of shape (edges, channels)
        Cross-section of each edge in each channel.
    span : tuple of float
        First and last energy that is fitted, in eV.

    Returns
    -------
    atoms : ndarray of shape (edges,)
        In units of counts over cross-section.
    response : ndarray of shape (edges, channels)
        Their change with the counts of each channel.
    None
        Where an edge shows hardly more than its fine structure.
    """
    used = (energy >= span[0]) & (energy <= span[1]) & (energy > 0)
    for onset in onsets:
        used &= ~((energy > onset + _FINE_STRUCTURE[0]) & (energy < onset + _FINE_STRUCTURE[1]))
    # A tail below the next edge is as good as its own stretch.
    ends = (*sorted(onsets)[1:], span[1])
    if used.sum() < _FEWEST * (len(onsets) + 1) or any(
        (used & (energy > first) & (energy <= last)).sum() < _FEWEST
        for first, last in zip(sorted(onsets), ends, strict=True)
    ):
        return None
    values = spectrum.values[used]
    weight = 1.0 / np.sqrt(
        np.maximum(spectrum.variance[used], spectrum.variance[used].mean() / 1e3)
    )
    logs = np.log(energy[used] / np.sqrt(span[0] * span[1]))
    scales = densities[:, used].max(axis=1)
    shapes = (densities[:, used] / scales[:, None]).T

    def fitted(exponent: float) -> tuple[float, np.ndarray, np.ndarray]:
        law = np.exp(-exponent * logs)
        design = np.column_stack([law, shapes])
        found = np.linalg.lstsq(design * weight[:, None], values * weight, rcond=None)[0]
        misfit = weight * (design @ found - values)
        slope = -found[0] * law * logs
        return float(misfit @ misfit), found, np.column_stack([design, slope])

    best = minimize_scalar(lambda r: fitted(r)[0], bounds=_EXPONENTS, method="bounded")
    _, found, design = fitted(float(best.x))
    rows = np.linalg.pinv(design * weight[:, None]) * weight
    response = np.zeros((len(onsets), energy.size))
    response[:, used] = rows[1 : 1 + len(onsets)] / scales[:, None]
    return found[1:] / scales, response
