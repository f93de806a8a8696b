"""Ionisation edges: where they start, what is counted of them, and their cross-sections."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xraylib

from siftem.acquisition import Acquisition
from siftem.eels.background import fit_power_law
from siftem.energy_axis import KEV_PER_UNIT, EnergyAxis
from siftem.errors import InputError
from siftem.spectrum import Spectrum
from siftem.views import outline
from siftem.xray.elements import atomic_number

_SHELLS = {
    "K": xraylib.K_SHELL, "L1": xraylib.L1_SHELL, "L2": xraylib.L2_SHELL, "L3": xraylib.L3_SHELL,
    "M1": xraylib.M1_SHELL, "M2": xraylib.M2_SHELL, "M3": xraylib.M3_SHELL,
    "M4": xraylib.M4_SHELL, "M5": xraylib.M5_SHELL, "N4": xraylib.N4_SHELL, "N5": xraylib.N5_SHELL,
}  # fmt: skip
#: Background window as shares of the onset, and length of the signal window in eV.
_BACKGROUND, _SIGNAL = (0.86, 0.975), 50.0
#: From where to where about its onset, in eV, an edge has its steps and white lines.
_STEEP = (-4.0, 20.0)
#: Relative standard deviation of hydrogenic cross-sections (Egerton 2011, ch. 4.5 and 7).
_CROSS_SECTION_SIGMA = {"K": 0.05, "L": 0.10}


@dataclass(frozen=True)
class Edge:
    """An ionisation edge and the windows in which it is measured.

    Parameters
    ----------
    name : str
        Element and subshell as HyperSpy writes them, such as "Ti_L3" or "O_K".
    background : tuple of float, optional
        Window of the background, in eV; by default .86 to .975 of the onset.
    signal : tuple of float, optional
        Window of the signal, in eV; by default the 50 eV from the onset on. It must hold no
        other edge.

    Examples
    --------
    >>> siftem.Edge("Ti_L3").onset
    455.5
    >>> siftem.Edge("Ti_L3", background=(402, 452)).background_window
    (402, 452)
    """

    name: str
    background: tuple[float, float] | None = None
    signal: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _ = self.onset
        for label, window in (("background", self.background), ("signal", self.signal)):
            if window is not None and not (len(window) == 2 and 0 < window[0] < window[1]):
                raise InputError(
                    f"the {label} window of {self.name} must be (low, high) in eV, got {window}"
                )
        if self.background_window[1] > self.signal_window[0]:
            raise InputError(
                f"the background window of {self.name} must end before its signal window "
                f"starts, got {self.background_window} and {self.signal_window} eV"
            )

    @property
    def element(self) -> str:
        """Symbol of the element."""
        return self.name.partition("_")[0]

    @property
    def shell(self) -> str:
        """Subshell, such as "L3"."""
        return self.name.partition("_")[2]

    @property
    def onset(self) -> float:
        """Energy of the edge in eV, from xraylib's table of edge energies."""
        z = atomic_number(self.element)
        if self.shell not in _SHELLS:
            raise InputError(
                f"an edge is named by element and subshell, such as 'Ti_L3' or 'O_K', "
                f"got {self.name!r}"
            )
        try:
            return 1e3 * float(xraylib.EdgeEnergy(z, _SHELLS[self.shell]))
        except ValueError:
            raise InputError(f"{self.element} has no {self.shell} edge") from None

    @property
    def background_window(self) -> tuple[float, float]:
        """Low and high energy in eV."""
        first, last = _BACKGROUND
        return self.background or (first * self.onset, last * self.onset)

    @property
    def signal_window(self) -> tuple[float, float]:
        """Low and high energy in eV."""
        # White lines start some eV below the tabulated onset.
        start = max(self.onset - 4.0, min(self.background_window[1], self.onset))
        return self.signal or (start, self.onset + _SIGNAL)


@dataclass(frozen=True, eq=False)
class EdgeSignal:
    """Net counts of an edge in its window.

    Parameters
    ----------
    edge : Edge
    value : float
        Counts above the background.
    sigma : float
        Their standard deviation, with the background's extrapolation.
    response : ndarray of shape (channels,)
        Change of ``value`` with the counts of each channel.
    exponent : float
        Of the background.
    """

    __repr__ = outline

    edge: Edge
    value: float
    sigma: float
    response: np.ndarray
    exponent: float


def edge_signal(spectrum: Spectrum, edge: Edge | str) -> EdgeSignal:
    """Net counts of an edge: signal window less the extrapolated power law.

    Parameters
    ----------
    spectrum : Spectrum
    edge : Edge or str
        A name stands for an `Edge` with its default windows.

    Returns
    -------
    EdgeSignal

    Raises
    ------
    InputError
        When a window is not on the axis.
    """
    edge = as_edge(edge)
    axis = spectrum.axis
    unit = 1e3 * KEV_PER_UNIT[axis.unit]  # eV in one unit of the axis
    for low, high in (edge.background_window, edge.signal_window):
        if low / unit < axis.first or high / unit > axis.last:
            raise InputError(
                f"{edge.name} is measured between {low:.0f} and {high:.0f} eV, but the axis runs "
                f"from {axis.first * unit:.0f} to {axis.last * unit:.0f} eV: choose other windows "
                f"with Edge({edge.name!r}, background=..., signal=...)"
            )
    law = fit_power_law(spectrum, *(e / unit for e in edge.background_window))
    window = axis.window(*(e / unit for e in edge.signal_window))
    response = -law.slopes(axis)[:, window].sum(axis=1) @ law.response
    response[window] += 1.0
    value = float((spectrum.values - law.values(axis))[window].sum())
    return EdgeSignal(edge, value, standard_deviation(spectrum, response), response, law.exponent)


def cross_section(
    edge: Edge,
    acquisition: Acquisition,
    axis: EnergyAxis,
    *,
    convergence_angle: float | None = None,
    collection_angle: float | None = None,
    gos: str = "hydrogenic",
) -> tuple[float, float]:
    """Partial ionisation cross-section of an edge within its signal window, by eXSpy.

    Parameters
    ----------
    edge : Edge
    acquisition : Acquisition
        Gives beam energy (keV) and angles (mrad) unless they are given.
    axis : EnergyAxis
        Its channels are summed.
    convergence_angle, collection_angle : float, optional
        Semi-angles in mrad.
    gos : {"hydrogenic", "dft", "dirac"} or path
        Generalised oscillator strengths, as for ``exspy.components.EELSCLEdge``. Hydrogenic
        ones (Egerton 1979, SIGMAK and SIGMAL) cover K and L shells; the others need a file
        that eXSpy fetches once.

    Returns
    -------
    value : float
        barn.
    relative_sigma : float
        5% for K, 10% for L, 20% for other shells.

    Raises
    ------
    InputError
        When angles or beam energy are unknown, or there is no cross-section for the shell.
    """
    angles = convergence_angle, collection_angle
    density = cross_section_of_channels(edge, acquisition, axis, angles, gos)
    return cross_section_in_window(edge, axis, density), cross_section_sigma(edge)


def cross_section_of_channels(
    edge: Edge,
    acquisition: Acquisition,
    axis: EnergyAxis,
    angles: tuple[float | None, float | None],
    gos: str,
) -> np.ndarray:
    """Cross-section of an edge in each channel, in barn."""
    given = (acquisition.convergence_angle, acquisition.collection_angle)
    alpha, beta = (a if a is not None else b for a, b in zip(angles, given, strict=True))
    for label, number in (
        ("beam_energy (keV)", acquisition.beam_energy),
        ("convergence_angle (mrad)", alpha),
        ("collection_angle (mrad)", beta),
    ):
        if number is None:
            raise InputError(f"cross-sections need the {label}: the file does not say it, give it")
    from exspy.components import EELSCLEdge

    unit = 1e3 * KEV_PER_UNIT[axis.unit]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            component = EELSCLEdge(edge.name, GOS=gos)
        except Exception as error:
            raise InputError(
                f"eXSpy has no {gos} cross-section of {edge.name}: {str(error).splitlines()[0]}"
            ) from error
        step = axis.scale * unit
        component.set_microscope_parameters(acquisition.beam_energy, alpha, beta, step)
        return np.asarray(step * np.nan_to_num(component.function(unit * axis.centers)))


def cross_section_in_window(edge: Edge, axis: EnergyAxis, density: np.ndarray) -> float:
    """Cross-section within the signal window, in barn."""
    unit = 1e3 * KEV_PER_UNIT[axis.unit]
    value = float(np.sum(density[axis.window(*(e / unit for e in edge.signal_window))]))
    if not value > 0:
        raise InputError(f"the cross-section of {edge.name} is zero in its signal window")
    return value


def cross_section_sigma(edge: Edge) -> float:
    """Relative standard deviation of a cross-section: 5% for K, 10% for L, 20% for others."""
    return _CROSS_SECTION_SIGMA.get(edge.shell[0], 0.2)


def edges_in_windows(edges: Sequence[Edge]) -> dict[str, str]:
    """Return which edges have another element's onset in a window, and a sentence on it.

    The background is then no power law, or the signal that of both.

    Parameters
    ----------
    edges : sequence of Edge

    Returns
    -------
    dict
        By the name of the edge.

    Examples
    --------
    >>> from siftem.eels.edges import edges_in_windows
    >>> edges_in_windows([siftem.Edge("Cu_L3"), siftem.Edge("Zn_L3")])
    {'Zn_L3': 'the background window of Zn_L3, 877 to 994 eV, holds the onset of Cu_L3 at 931 eV'}
    """
    found: dict[str, str] = {}
    for edge in edges:
        windows = {"background": edge.background_window, "signal": edge.signal_window}
        for other in edges:
            for label, (low, high) in windows.items():
                first, last = (other.onset + e for e in _STEEP)
                if other.element != edge.element and low < last and high > first:
                    found.setdefault(
                        edge.name,
                        f"the {label} window of {edge.name}, {low:.0f} to {high:.0f} eV, holds "
                        f"the onset of {other.name} at {other.onset:.0f} eV",
                    )
    return found


def as_edge(edge: Edge | str) -> Edge:
    """Return an edge, made from its name with default windows when it is one."""
    return edge if isinstance(edge, Edge) else Edge(edge)


def standard_deviation(spectrum: Spectrum, response: np.ndarray) -> float:
    """Of a number that changes with the counts by ``response`` (channels,)."""
    variance = float(response**2 @ spectrum.variance)
    variance += float(((spectrum.modes @ response) ** 2).sum())
    variance -= float(((spectrum.pinned @ response) ** 2).sum())
    return float(np.sqrt(max(variance, 0.0)))
