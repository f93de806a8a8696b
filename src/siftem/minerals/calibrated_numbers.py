"""Numbers that a joint calibration found, each beside what was known of it before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siftem.minerals.joint_model import SLOPES, Layout, in_map
from siftem.minerals.joint_posterior import Posterior, moments


@dataclass(frozen=True)
class Calibrated:
    """A number that was calibrated, beside what was known of it before.

    Parameters
    ----------
    value, sigma : float
        Posterior.
    before, sigma_before : float
        Prior.
    """

    value: float
    sigma: float
    before: float
    sigma_before: float

    def __str__(self) -> str:
        return f"{self.value:.4g} +- {self.sigma:.2g} (before {self.before:.4g} +- " + (
            f"{self.sigma_before:.2g})"
        )


def film_of(posterior: Posterior, i: int) -> Calibrated:
    """Return the mass thickness of a phase, kg/m2."""
    layout: Layout = posterior.layout
    name = layout.phases[i].name
    mean, _, covariance = moments(
        posterior, lambda z: layout.mass(i, z)[:, None], columns=layout.unknowns(i)
    )
    base, spread = layout.film[name]
    place = np.hypot(*layout.positions.get(name, (0.0, 0.0)))
    own = np.hypot(_width(layout, f"film of {name}"), layout.widths["slope"] * place)
    return Calibrated(
        float(mean[0]), float(covariance[0, 0] ** 0.5), base, float(np.hypot(spread, base * own))
    )


def k_factor_of(posterior: Posterior, family: str) -> Calibrated:
    """Return the factor on the k-factor of a family."""
    log, sigma = _unknown(posterior, f"k of {family}")
    value = float(np.exp(log))
    return Calibrated(value, value * sigma, 1.0, _width(posterior.layout, f"k of {family}"))


def ferric_of(posterior: Posterior, phase: str) -> Calibrated:
    """Return Fe3+/Fe of a phase."""
    name = f"Fe3+/Fe of {phase}"
    share, sigma = _unknown(posterior, name)
    value = float(np.clip(0.5 + share, 0.0, 1.0))
    return Calibrated(value, sigma, 0.5, _width(posterior.layout, name))


def instrument_of(posterior: Posterior) -> dict[str, Calibrated]:
    """Return slopes of the film, window and dead layer, as far as they were free."""
    layout: Layout = posterior.layout
    widths = layout.widths
    told = 1.0 if any(p.window_told for p in layout.phases) else 0.0
    nm = layout.phases[0].dead_layer_nm
    slopes = [in_map(name, m) for m in layout.maps for name in SLOPES]
    free = dict.fromkeys(slopes, (0.0, widths["slope"]))
    if any(p.window.any() for p in layout.phases):
        free["window"] = (told, widths["window"])
    if any(p.dead_layer.any() for p in layout.phases):
        free["dead layer, nm"] = (nm, widths["dead layer"])

    def numbers(z: np.ndarray) -> np.ndarray:
        steep = [widths["slope"] * z[:, layout.index(name)] for name in slopes]
        return np.stack([*steep, told + layout.window(z), nm + layout.dead_layer(z)], axis=1)

    columns = [layout.index(name) for name in (*slopes, "window", "dead layer")]
    mean, _, covariance = moments(posterior, numbers, columns=columns)
    found = zip((*slopes, "window", "dead layer, nm"), mean, np.diag(covariance), strict=True)
    return {
        name: Calibrated(float(value), float(variance**0.5), *free[name])
        for name, value, variance in found
        if name in free and free[name][1] > 0
    }


def _unknown(posterior: Posterior, name: str) -> tuple[float, float]:
    """Mean and standard deviation of an unknown."""
    i = posterior.layout.index(name)
    mean, _, covariance = moments(posterior, lambda z: z[:, [i]], columns=[i])
    return float(mean[0]), float(covariance[0, 0] ** 0.5)


def _width(layout: Layout, name: str) -> float:
    i = layout.index(name)
    return float(layout.covariance[i, i] ** 0.5)
