"""k-factors as a user calibrates them: from standards measured on the same instrument."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
from validation.foreign_phantoms import Phantom, other_standard, standard

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.quantification.standards import calibrate_k_factors
from siftem.spectrum import Spectrum

#: Thickness (nm) and density of each standard.
FILM, DENSITY = 100.0, 5.0
#: Elements whose lines lie on silicon's: they are measured beside titanium.
_ON_SILICON = frozenset({"Rb", "Sr", "Y", "Zr", "Nb", "Ta", "W", "Re", "Hf", "Os"})
_Measured = tuple[float, float, str, dict[str, float]]


def k_factors(phantom: Phantom, counts: float = 1e6, seed: int = 0) -> dict[str, Any]:
    """Section ``quantify.k_factors`` of a recipe for the elements of a phantom.

    Each element is measured in a film of its own with silicon in equal parts by weight, or with
    titanium, which is then measured with silicon.

    Parameters
    ----------
    phantom : Phantom
    counts : float
        Of the spectrum of each standard.
    seed : int
        Of the standards' noise.
    """
    values, sigmas = {"Si": 1.0}, {"Si": 0.0}
    for element, (k, sigma, shell, _) in _factors(phantom, counts, seed):
        values[f"{element} {shell}"], sigmas[f"{element} {shell}"] = k, sigma
    return {
        "values": values,
        "relative_sigma": sigmas,
        "reference": "Si",
        "line": "family",
        "detector": "apart",
    }


def absorbed(phantom: Phantom, counts: float = 1e6, seed: int = 0) -> dict[str, dict[str, float]]:
    """What the films of the same standards absorb, as `siftem.GivenKFactors` takes it."""
    return {element: found[3] for element, found in _factors(phantom, counts, seed)}


def _factors(phantom: Phantom, counts: float, seed: int) -> Iterator[tuple[str, _Measured]]:
    other = phantom.name.startswith("other_")
    spectrum = other_standard if other else standard
    told = (phantom.energies, phantom.beam_energy, phantom.take_off_angle, phantom.resolution)
    key = (tuple(told[0][[0, 1]]), len(told[0]), *told[1:])
    ti, ti_sigma, *_ = _measured(spectrum, "Ti", "Si", key, counts, seed)
    for element in phantom.elements:
        if element == "Si":
            continue
        beside = "Ti" if element in _ON_SILICON else "Si"
        k, sigma, shell, lost = _measured(spectrum, element, beside, key, counts, seed)
        if beside == "Ti":
            k, sigma = k * ti, float(np.hypot(sigma, ti_sigma))
        yield element, (k, sigma, shell, lost)


@cache
def _measured(
    spectrum: Callable[[dict[str, float]], np.ndarray],
    element: str,
    beside: str,
    key: Any,
    total: float,
    seed: int,
) -> _Measured:
    """Factor by weight of an element to another one, its relative sigma, shell and absorption."""
    (first, second), n, beam_energy, take_off_angle, resolution = key
    half = {element: 0.5, beside: 0.5}
    expected = spectrum(half)
    rng = np.random.default_rng([sum(map(ord, element + beside)), seed])
    counts = rng.poisson(expected * total / expected.sum())
    measured = Spectrum(
        counts.astype(float),
        EnergyAxis(first, second - first, n, "keV"),
        acquisition=Acquisition(
            beam_energy=beam_energy, take_off_angle=take_off_angle, resolution=resolution
        ),
    )
    found = calibrate_k_factors(measured, half, reference=beside, thickness=FILM, density=DENSITY)
    sigma = np.hypot(found.relative_sigma[element], found.relative_sigma[beside])
    lost = dict(found.absorbed[element])
    return found.values[element], float(sigma), found.shells[element], lost
