"""Absorption of X-rays in the film itself, of a composition that is being sought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from siftem.errors import InputError
from siftem.fit.line_fit import LineFit
from siftem.fit.spectrum_model import Absorption
from siftem.xray.absorption import thin_film_absorption

#: kg/m2 in one nm of a substance of 1 g/cm3.
MASS_THICKNESS = 1e-6
#: Step of a weight fraction for numerical derivatives.
_NUDGE = 1e-4


@dataclass(frozen=True)
class Film:
    """Thickness and density, for the absorption in the film itself.

    Parameters
    ----------
    thickness : float
        nm, along the beam.
    density : float
        g/cm3 of this phase.
    take_off_angle : float
        Degrees between the film and the detector.
    """

    thickness: float
    density: float
    take_off_angle: float

    @property
    def mass_thickness(self) -> float:
        """Mass per area in kg/m2."""
        return self.thickness * self.density * MASS_THICKNESS


def checked_film(
    thickness: float | None, density: float | None, take_off_angle: float | None
) -> Film | None:
    """Return the film, or None when neither thickness nor density is given.

    Raises
    ------
    InputError
        When one of the three is missing or not positive.
    """
    if thickness is None and density is None:
        return None
    if thickness is None or density is None:
        raise InputError(
            "absorption needs both thickness (nm) and density (g/cm3): give both or none"
        )
    if not (0 < thickness < np.inf and 0 < density < np.inf):
        raise InputError(
            f"thickness and density must be positive, got {thickness} nm and {density} g/cm3"
        )
    return Film(thickness, density, checked_angle(take_off_angle))


def checked_angle(take_off_angle: float | None) -> float:
    """Return the take-off angle in degrees, or raise when it is missing or impossible."""
    if take_off_angle is None:
        raise InputError("absorption needs the take-off angle: give take_off_angle in degrees")
    if not 0 < take_off_angle <= 90:
        raise InputError(
            f"take_off_angle must be in degrees, above 0 and at most 90, got {take_off_angle}"
        )
    return take_off_angle


@dataclass(frozen=True, eq=False)
class AbsorbingFilm:
    """Share of the photons that leave the film, of energies in keV.

    Parameters
    ----------
    fractions : mapping of str to float
        Element -> share by weight.
    film : Film
    """

    fractions: Mapping[str, float]
    film: Film

    def __call__(self, energy: np.ndarray) -> np.ndarray:
        """Return the share at each energy; in the shape of ``energy``."""
        return thin_film_absorption(
            self.fractions,
            energy,
            thickness=self.film.thickness,
            density=self.film.density,
            take_off_angle=self.film.take_off_angle,
        )


def escaping_shares(
    fit: LineFit, index: Sequence[int], absorption: Absorption | None
) -> np.ndarray:
    """Share of the photons of each of these families that leaves the film; (n,)."""
    if absorption is None:
        return np.ones(len(index))
    families = [fit.model.families[i] for i in index]
    first = np.cumsum([0, *(f.energies.size for f in families)])[:-1]
    seen = absorption(np.concatenate([f.energies for f in families]))
    seen = seen * np.concatenate([f.weights for f in families])
    return np.asarray(np.add.reduceat(seen, first))


def absorption_feedback(
    fit: LineFit,
    index: Sequence[int],
    fractions: Mapping[str, float],
    film: Film,
    by_amount: np.ndarray,
) -> np.ndarray:
    """How an error of the composition changes by the absorption it goes into; (n, n).

    The correction follows the composition: more O found means a film that absorbs O less,
    and so less O. With ``K`` the change of the composition by that of the absorber, an error
    e of a composition with the absorption held becomes ``(1 - K)^-1 e`` when it is iterated.

    Parameters
    ----------
    fit : LineFit
    index : sequence of int
        Families that measure the elements.
    fractions : mapping of str to float
        Weight fractions of the n elements.
    film : Film
    by_amount : ndarray of shape (n, n)
        Change of the fractions with the relative change of each measured amount.

    Returns
    -------
    ndarray of shape (n, n)
        ``(1 - K)^-1``.
    """
    shares = escaping_shares(fit, index, AbsorbingFilm(fractions, film))
    slopes = np.zeros((len(index), len(fractions)))
    for j, element in enumerate(fractions):
        moved = dict(fractions)
        moved[element] += _NUDGE
        changed = escaping_shares(fit, index, AbsorbingFilm(moved, film))
        # The photons emitted are those seen over the share that leaves.
        slopes[:, j] = -(changed / shares - 1) / _NUDGE
    return np.asarray(np.linalg.inv(np.eye(len(fractions)) - by_amount @ slopes))
