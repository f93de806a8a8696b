"""Absorption of X-rays in the film itself, for a composition that is being sought.

What is known of a film, and the compositions that it leaves possible.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from siftem.errors import InputError, SiftemWarning
from siftem.fit.line_fit import LineFit
from siftem.fit.spectrum_model import Absorption
from siftem.xray.absorption import element_attenuation, thin_film_absorption
from siftem.xray.detector import POLYMER, Detector
from siftem.xray.lines import LineFamily

#: kg/m2 in one nm of a substance of 1 g/cm3.
MASS_THICKNESS = 1e-6
#: Mass attenuation of soft lines differs by this much between tables (relative).
ATTENUATION_SIGMA = 0.12
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


def lost_by_absorber(
    fit: LineFit, index: Sequence[int], absorption: Absorption | None
) -> tuple[dict[str, float], ...]:
    """Share of the photons of each of these families that each element of the film absorbs.

    Parameters
    ----------
    fit : LineFit
    index : sequence of int
        Families.
    absorption : callable or None
        Without an `AbsorbingFilm` nothing is absorbed.

    Returns
    -------
    tuple of dict of str to float
        One for each family.
    """
    if not isinstance(absorption, AbsorbingFilm):
        return tuple({} for _ in index)
    out = []
    for i, share in zip(index, escaping_shares(fit, index, absorption), strict=True):
        energy = np.array([fit.model.families[i].alpha_energy])
        parts = {
            e: max(w, 0.0) * float(element_attenuation(e, energy)[0])
            for e, w in absorption.fractions.items()
        }
        whole = sum(parts.values())
        out.append({e: (1.0 - float(share)) * part / whole for e, part in parts.items()})
    return tuple(out)


def attenuation_sigma(lost: Mapping[str, float], before: Mapping[str, float] | None) -> float:
    """Relative error of a line's photons by what is not known of the attenuation.

    The attenuation of a line errs by 12%. If its factor was measured with a standard, the same
    error went into that: what is left is the difference of both films. Half of the variance is
    taken to be alike for all that absorbs the line, half to be each absorber's own.

    Parameters
    ----------
    lost : mapping of str to float
        Share that each element of the film absorbs.
    before : mapping of str to float or None
        Likewise in the standard's film; None for a factor that no absorption went into.
    """
    if before is None:
        return ATTENUATION_SIGMA * sum(lost.values())
    left = np.array([lost.get(e, 0.0) - before.get(e, 0.0) for e in {**lost, **before}])
    return ATTENUATION_SIGMA * float(np.sqrt(0.5 * left.sum() ** 2 + 0.5 * (left**2).sum()))


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


#: A number, or the least and the most that it may be.
Range = float | tuple[float, float]

#: Mass thickness of films that are hardly ever exceeded, kg/m2: 200 nm of 5 g/cm3.
THICKEST = 1e-3
#: Take-off angle of detectors that look at the film under a small one, degrees.
_FLAT = 20.0
_ROUNDS = 200
#: Change of atomic percent by an unknown film from which on it is told.
_TOLD = 2.0


@dataclass(frozen=True)
class FilmRange:
    """A film that is known, known to lie in a range, or not known at all.

    Parameters
    ----------
    film : Film or None
        What is corrected for: in the middle of the range; None corrects nothing.
    ends : tuple of Film
        The ends of the range but the corrected one; none for a known film.
    unknown : bool
        Whether nothing was said about it.
    """

    film: Film | None
    ends: tuple[Film, ...] = ()
    unknown: bool = False


def film_range(
    thickness: Range | None, density: Range | None, take_off_angle: float | None
) -> FilmRange:
    """Return what is known of a film.

    Parameters
    ----------
    thickness, density : float or pair of float, optional
        nm and g/cm3. A thickness of 0 is a film that absorbs nothing. Nothing at all is any
        film up to 1e-3 kg/m2.
    take_off_angle : float, optional
        Degrees.

    Raises
    ------
    InputError
        When only one is given, a range is empty, or a number is impossible.
    """
    if thickness is None and density is None:
        angle = _FLAT if take_off_angle is None else checked_angle(take_off_angle)
        return FilmRange(None, (Film(THICKEST / MASS_THICKNESS, 1.0, angle),), unknown=True)
    if thickness == 0:
        return FilmRange(None)
    if not isinstance(thickness, Sequence) and not isinstance(density, Sequence):
        return FilmRange(checked_film(thickness, density, take_off_angle))
    if thickness is None or density is None:
        raise InputError(
            "absorption needs both thickness (nm) and density (g/cm3): give both or none"
        )
    low_t, high_t = _ends("thickness", thickness, least=0.0)
    low_d, high_d = _ends("density", density, least=1e-3)
    angle = checked_angle(take_off_angle)
    middle = (low_d + high_d) / 2
    masses = (low_t * low_d, high_t * high_d)
    low, high, mean = (Film(m / middle, middle, angle) for m in (*masses, sum(masses) / 2))
    return FilmRange(mean, (low, high))


def _ends(label: str, value: Range, *, least: float) -> tuple[float, float]:
    low, high = value if isinstance(value, Sequence) else (value, value)
    if not least <= low <= high < np.inf or high <= 0:
        raise InputError(
            f"{label} must be a positive number or the least and the most that it may be, "
            f"got {value}"
        )
    return float(low), float(high)


def compositions_in(
    films: Sequence[Film],
    fit: LineFit,
    index: Sequence[int],
    elements: Sequence[str],
    seen: np.ndarray,
    amount_map: np.ndarray,
) -> np.ndarray:
    """Return the weight fractions that the same photons mean in other films.

    What leaves the film is held, and its composition iterated with the absorption in it; the
    continuum is left as it was fitted.

    Parameters
    ----------
    films : sequence of Film
    fit : LineFit
    index : sequence of int
        Families that measure the elements.
    elements : sequence of str
    seen : ndarray of shape (n,)
        Amounts by the photons that leave the film.
    amount_map : ndarray of shape (n, n)
        From measured amounts to reported ones.

    Returns
    -------
    ndarray of shape (films, n)
    """
    out = []
    for film in films:
        amounts = amount_map @ seen
        fractions = amounts / amounts.sum()
        for _ in range(_ROUNDS):
            mixed = dict(zip(elements, np.maximum(fractions, 0.0).tolist(), strict=True))
            amounts = amount_map @ (seen / escaping_shares(fit, index, AbsorbingFilm(mixed, film)))
            new = amounts / amounts.sum()
            # Half a step: more O lets O out, so whole ones can swing.
            change, fractions = new - fractions, (fractions + new) / 2
            if np.abs(change).max() < 1e-6:
                break
        out.append(fractions)
    return np.array(out)


#: Sources of k-factors that were measured through the detector's window.
WITH_WINDOW = ("given", "calibrated jointly")


def window_losses(
    families: Sequence[LineFamily], detector: Detector, source: Sequence[str]
) -> np.ndarray:
    """Return by how much more of each family was made if the detector has a polymer window.

    Parameters
    ----------
    families : sequence of LineFamily
    detector : Detector
        As it was reckoned with.
    source : sequence of str
        Of each k-factor; one that was given or calibrated holds the window, whatever it is.

    Returns
    -------
    ndarray of shape (families,)
        At least 1; 1 where the k-factor holds the window.
    """
    at = np.array([f.alpha_energy for f in families])
    lost = detector.efficiency(at) / replace(detector, window=POLYMER).efficiency(at)
    return np.where(np.isin(source, WITH_WINDOW), 1.0, np.maximum(lost, 1.0))


def warn_of_unknown_film(
    name: str,
    now: Mapping[str, float],
    then: Mapping[str, float],
    film: Film,
    *,
    window: bool = False,
) -> None:
    """Warn when an unknown film, or an unknown window with it, may change a composition.

    Parameters
    ----------
    name : str
        Of the spectrum.
    now, then : mapping of str to float
        Atomic fractions without absorption and in the thickest film.
    film : Film
        That one.
    window : bool
        Whether it was reckoned with a polymer window there.

    Warns
    -----
    SiftemWarning
    """
    element = max(now, key=lambda e: abs(then[e] - now[e]))
    if 100 * abs(then[element] - now[element]) < _TOLD:
        return
    seen_through = " behind a detector's polymer window" if window else ""
    tell = " Tell the detector's window (none or polymer) or measured k-factors" if window else ""
    warnings.warn(
        f"{name or 'the spectrum'}: absorption in the film is not known: {element} is "
        f"{100 * now[element]:.3g} at% without any and {100 * then[element]:.3g} at% in a film of "
        f"{film.mass_thickness:g} kg/m2 (200 nm of 5 g/cm3){seen_through}. The intervals hold "
        f"both. Give thickness (nm) and density (g/cm3), or their ranges, to narrow them "
        f"(thickness 0: nothing is absorbed){'.' if tell else ''}{tell}",
        SiftemWarning,
        stacklevel=4,
    )
