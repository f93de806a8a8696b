"""The phases of the model case: a doped pyrolite glass crystallised in the deep mantle.

Weight fractions .817 / .116 / .068 of bridgmanite, ferropericlase and Ca-perovskite give
pyrolite with 0.300 wt% of each dopant. Which phase takes up which dopant follows Kato et al.
1988 (Earth Planet. Sci. Lett. 89, 123) and Corgne et al. 2005 (Geochim. Cosmochim. Acta 69,
485); the amounts are this project's choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from siftem.errors import InputError
from siftem.xray.elements import atomic_number


@dataclass(frozen=True)
class PhaseModel:
    """A phase to simulate.

    Parameters
    ----------
    name : str
    weight_fractions : mapping of str to float
        Normalised to one.
    density : float
        g/cm3.
    form : {"matrix", "block", "needle"}
        The matrix fills what the grains leave.
    coverage : float
        Least share of the map that its grains cover; not used for the matrix.
    """

    name: str
    weight_fractions: Mapping[str, float]
    density: float
    form: str = "block"
    coverage: float = 0.2

    def __post_init__(self) -> None:
        for element, value in self.weight_fractions.items():
            atomic_number(element)
            if not (np.isfinite(value) and value >= 0):
                raise InputError(
                    f"the weight of {element} in {self.name} must be >= 0, got {value}"
                )
        total = float(sum(self.weight_fractions.values()))
        if total <= 0:
            raise InputError(f"phase {self.name} holds no element")
        if self.form not in ("matrix", "block", "needle"):
            raise InputError(
                f"the form of {self.name} must be matrix, block or needle, got {self.form!r}"
            )
        if not self.density > 0:
            raise InputError(f"the density of {self.name} must be positive, got {self.density}")
        normalised = {e: float(w) / total for e, w in self.weight_fractions.items()}
        object.__setattr__(self, "weight_fractions", MappingProxyType(normalised))

    def varied(self, rng: np.random.Generator, spread: float) -> PhaseModel:
        """Return the phase with each weight fraction changed by a random relative spread."""
        factors = np.exp(rng.normal(0, spread, len(self.weight_fractions)))
        changed = {
            e: w * f for (e, w), f in zip(self.weight_fractions.items(), factors, strict=True)
        }
        return replace(self, weight_fractions=changed)


MODEL_CASE = (
    PhaseModel(
        "Brg",
        {"O": 46.07, "Mg": 20.54, "Al": 2.57, "Si": 24.92, "Ca": 0.38, "Fe": 4.53, "Nd": 0.105,
         "Sm": 0.138, "Hf": 0.349, "Lu": 0.314, "U": 0.085},
        4.25,
        "matrix",
    ),
    PhaseModel(
        "Fp",
        {"O": 34.82, "Mg": 43.03, "Al": 0.29, "Fe": 21.83, "Nd": 0.002, "Sm": 0.003, "Hf": 0.010,
         "Lu": 0.006, "U": 0.004},
        4.1,
        "block",
        0.24,
    ),
    PhaseModel(
        "Ca-Pv",
        {"O": 37.32, "Mg": 0.58, "Al": 0.64, "Si": 21.52, "Ca": 29.12, "Fe": 0.66, "Nd": 3.16,
         "Sm": 2.77, "Hf": 0.209, "Lu": 0.629, "U": 3.41},
        4.4,
        "needle",
        0.10,
    ),
)  # fmt: skip
