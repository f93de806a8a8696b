"""Ratios of elements from net edges and eXSpy's cross-sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from siftem.eels.edges import Edge, EdgeSignal, as_edge, cross_section, edge_signal
from siftem.errors import InputError
from siftem.hyperspy_input import as_spectrum
from siftem.spectrum import Spectrum


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
        From the cross-sections.
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
        """Standard deviation from the cross-sections; (elements,)."""
        return np.sqrt(np.maximum(np.diag(self.systematic), 0.0))

    def __getitem__(self, element: str) -> float:
        """Atoms of an element for one atom of the reference."""
        if element not in self.elements:
            raise InputError(f"there is no ratio of {element}: {', '.join(self.elements)}")
        return float(self.values[self.elements.index(element)])

    def table(self) -> str:
        """Plain text: one line for each element but the reference."""
        rows = zip(self.elements, self.values, self.sigma, self.systematic_sigma, strict=True)
        return "\n".join(
            f"{e}/{self.reference} = {v:.3f} +- {s:.3f} (counting) +- {k:.2f} (cross-sections)"
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
    sections, relative = np.array(
        [
            cross_section(
                e,
                spectrum.acquisition,
                spectrum.axis,
                convergence_angle=convergence_angle,
                collection_angle=collection_angle,
                gos=gos,
            )
            for e in named
        ]
    ).T
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
    return ElementalRatios(
        elements,
        wanted,
        values,
        covariance,
        (change * relative**2) @ change.T,
        signals,
        sections,
    )
