"""Maps of the mass thickness of a film.

From the counts of its phases, or from an annular dark-field image of the same scan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import convolve
from scipy.special import gammaincinv

from siftem.errors import InputError
from siftem.minerals.measured_phase import PER_PATH, MeasuredPhase, attenuation_of
from siftem.quantification.composition import Composition
from siftem.quantification.film import MASS_THICKNESS
from siftem.views import outline
from siftem.xray.absorption import SOFTEST, escaping_share
from siftem.xray.elements import atomic_number, atomic_weight

#: A pixel belongs to the reference where it holds less than this share of other phases.
_PURE = 0.05
_ROUNDS = 40
#: Mass thicknesses at which absorption is looked up, relative to the reference's.
_GRID = np.concatenate([np.linspace(0.0, 4.0, 161), np.linspace(4.2, 20.0, 80)])


@dataclass(frozen=True)
class RegionThickness:
    """The mass thickness of a region, kg/m2.

    Parameters
    ----------
    mean : float
    sigma : float
        Of the mean, from counting.
    systematic : float
        Of the mean, from the thickness of the reference.
    scatter : float
        Standard deviation from pixel to pixel, without that of counting.
    effective : float
        Mass thickness of an even film that absorbs the softest line of the phase as much as
        this region does: use it, with the density, to quantify the region.
    """

    mean: float
    sigma: float
    systematic: float
    scatter: float
    effective: float

    def in_nm(self, density: float) -> float:
        """Return the effective thickness in nm for a density in g/cm3."""
        if not 0 < density < np.inf:
            raise InputError(f"density must be positive, in g/cm3, got {density}")
        return self.effective / (density * MASS_THICKNESS)


@dataclass(frozen=True, eq=False)
class ThicknessMap:
    """Mass thickness of each pixel.

    Parameters
    ----------
    mass : ndarray of shape (ny, nx)
        kg/m2, of all phases together.
    sigma : ndarray of shape (ny, nx)
        From counting.
    by_phase : dict of str to ndarray of shape (ny, nx)
        The part of each phase.
    scale_sigma : float
        Relative standard deviation of all of it, from the thickness of the reference.
    phases : tuple of MeasuredPhase
    """

    __repr__ = outline

    mass: np.ndarray
    sigma: np.ndarray
    by_phase: dict[str, np.ndarray]
    scale_sigma: float
    phases: tuple[MeasuredPhase, ...]

    def thickness(self, densities: Mapping[str, float]) -> np.ndarray:
        """Return the thickness in nm for densities of all phases in g/cm3; (ny, nx)."""
        missing = [n for n in self.by_phase if not 0 < densities.get(n, 0.0) < np.inf]
        if missing:
            raise InputError(
                f"a thickness needs the density of each phase in g/cm3: that of {missing[0]} is "
                f"missing"
            )
        parts = [m / (densities[n] * MASS_THICKNESS) for n, m in self.by_phase.items()]
        return np.asarray(np.sum(parts, axis=0))

    def region(self, mask: np.ndarray, phase: str) -> RegionThickness:
        """Return the mass thickness of a region, and what it means for absorption in a phase.

        Parameters
        ----------
        mask : ndarray of shape (ny, nx), bool
            True = included.
        phase : str
            Whose composition absorbs.

        Raises
        ------
        InputError
            When the region is empty or the phase unknown.
        """
        chosen = np.asarray(mask, dtype=bool)
        if chosen.shape != self.mass.shape or not chosen.any():
            raise InputError(
                f"a region must be a mask of shape {self.mass.shape} with at least one pixel"
            )
        by_name = {p.name: p for p in self.phases}
        if phase not in by_name:
            raise InputError(f"no phase {phase!r}; there are {', '.join(by_name)}")
        chosen = chosen & np.isfinite(self.mass)
        if not chosen.any():
            raise InputError("no pixel of the region has a known mass thickness")
        mass, sigma = self.mass[chosen], self.sigma[chosen]
        mean = float(mass.mean())
        n = mass.size
        noise = float((sigma**2).mean())
        spread = float(mass.var(ddof=1)) if n > 1 else 0.0
        return RegionThickness(
            mean=mean,
            sigma=float(np.sqrt((sigma**2).sum()) / n),
            systematic=self.scale_sigma * mean,
            scatter=float(np.sqrt(max(spread - noise, 0.0))),
            effective=_effective(by_name[phase], mean, max(spread - noise, 0.0)),
        )


def thickness_map(
    counts: Mapping[str, np.ndarray],
    compositions: Mapping[str, Composition],
    *,
    reference: str,
    mass_thickness: float,
    mass_sigma: float = 0.0,
    counts_sigma: Mapping[str, np.ndarray] | None = None,
) -> ThicknessMap:
    """Map the mass thickness of a film from the counts of its phases in each pixel.

    The photons that are born in a phase are as its mass, by ``sum(k I)`` over its elements, and a
    count of each phase stands for so much of it. What thicker pixels absorb of their own lines
    is taken into account. The scale is that of the reference, of which the mean mass thickness is
    told: from a measurement, or from `calibrate_jointly` with its error.

    Parameters
    ----------
    counts : mapping of str to ndarray of shape (ny, nx)
        Of each phase in each pixel, such as ``dict(zip(run.unmixed.names, run.unmixed.maps))``;
        NaN where they are not known, and so is the map there.
    compositions : mapping of str to Composition
        Of these phases.
    reference : str
        Phase of which the mean mass thickness is known, where it is pure (less than 5% of others).
    mass_thickness, mass_sigma : float
        Of the reference, kg/m2 (nm times g/cm3 times 1e-6), and its standard deviation.
    counts_sigma : mapping of str to ndarray of shape (ny, nx), optional
        Standard deviations of the counts by how the phases share a pixel.

    Returns
    -------
    ThicknessMap

    Raises
    ------
    InputError
        When a composition is missing, no pixel is pure, or a number is impossible.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> mask = phantom.mask("Brg", at_least=0.99)
    >>> spectrum = siftem.integrate(si, mask, name="Brg")
    >>> elements = ["O", "Mg", "Al", "Si", "Ca", "Fe"]
    >>> brg = siftem.quantify(spectrum, elements, support=["Cu"], thickness=100, density=4.25)
    >>> counts = si.total_map() * mask
    >>> found = siftem.thickness_map(
    ...     {"Brg": counts}, {"Brg": brg}, reference="Brg", mass_thickness=100 * 4.25e-6
    ... )
    >>> round(found.region(mask, "Brg").in_nm(4.25))
    100
    """
    names = list(counts)
    if not names:
        raise InputError("a thickness map needs the counts of at least one phase")
    for name in names:
        if name not in compositions:
            raise InputError(f"the composition of {name} is missing")
    if reference not in names:
        raise InputError(f"the reference {reference!r} is none of {', '.join(names)}")
    if not (0 < mass_thickness < np.inf and 0 <= mass_sigma < np.inf):
        raise InputError(
            f"mass_thickness must be positive and mass_sigma not negative, in kg/m2, got "
            f"{mass_thickness} and {mass_sigma}"
        )
    seen = {n: np.asarray(counts[n], dtype=np.float64) for n in names}
    shape = seen[names[0]].shape
    bad = [n for n, c in seen.items() if c.shape != shape or c.ndim != 2]
    if bad:
        raise InputError(f"counts must be images of one shape (ny, nx), those of {bad[0]} are not")
    known = np.all([np.isfinite(c) for c in seen.values()], axis=0)
    seen = {n: np.where(known, c, 0.0) for n, c in seen.items()}
    phases = {n: MeasuredPhase.of(n, compositions[n]) for n in names}
    per_count = {n: _mass_per_count(compositions[n]) for n in names}
    total = np.sum([np.maximum(c, 0.0) for c in seen.values()], axis=0)
    pure = pure_pixels(seen, reference)
    if not pure.any():
        raise InputError(
            f"no pixel holds {reference} with less than {100 * _PURE:g}% of other phases: take "
            f"another reference"
        )
    escape = {n: _escape(p, compositions[n], mass_thickness) for n, p in phases.items()}
    # Masses in the unit of one count's mass times the scale, which the reference fixes.
    relative = {n: per_count[n] * c for n, c in seen.items()}
    parts = relative
    scale, mass = 1.0, total
    for _ in range(_ROUNDS):
        mass = np.sum(list(parts.values()), axis=0)
        scale = mass_thickness / float(mass[pure].mean())
        across = scale * mass
        new = {n: relative[n] / np.interp(across / mass_thickness, _GRID, escape[n]) for n in names}
        change = max(float(np.abs(new[n] - parts[n]).max()) for n in names)
        parts = new
        if change < 1e-9 * max(float(np.abs(mass).max()), 1e-300):
            break
    parts = {n: np.where(known, scale * p, np.nan) for n, p in parts.items()}
    mass = np.sum(list(parts.values()), axis=0)
    sigma = _counting_sigma(seen, parts, per_count, scale, counts_sigma or {}, reference)
    # A pixel that seems thicker absorbs more, and so is taken for thicker still.
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = {n: np.gradient(np.log(escape[n]), _GRID) for n in names}
        damped = np.sum(
            [parts[n] * np.interp(mass / mass_thickness, _GRID, slopes[n]) for n in names], axis=0
        )
        sigma = sigma / (1 + damped / mass_thickness)
    return ThicknessMap(mass, sigma, parts, mass_sigma / mass_thickness, tuple(phases.values()))


def pure_pixels(parts: Mapping[str, np.ndarray], reference: str) -> np.ndarray:
    """Return where all but 5% of what is there is of the reference; bool (ny, nx)."""
    total = np.sum([np.maximum(part, 0.0) for part in parts.values()], axis=0)
    others = total - np.maximum(parts[reference], 0.0)
    return np.asarray((total > 0) & (others <= _PURE * total))


def _mass_per_count(c: Composition) -> float:
    """Mass, in any unit that all phases share, for one count of the phase's spectrum."""
    born = c.k.values * c.fit.amplitudes[list(c.columns)]
    amount_map = np.eye(len(born)) if c.amount_map is None else c.amount_map
    counts = float(c.fit.spectrum.values.sum())
    if not counts > 0:
        raise InputError(f"the spectrum of {c.name} holds no counts")
    return float((amount_map @ born).sum()) / counts


def _escape(p: MeasuredPhase, c: Composition, mass: float) -> np.ndarray:
    """Counts of a phase for its mass in films on the grid, over those in the film it was told.

    All of its spectrum counts: lines of all shells at their own energies, since the detector
    smears them across absorption edges, and the continuum.
    """
    fit = c.fit
    fractions = np.maximum(c.weight_fractions, 0.0)
    path = PER_PATH / np.sin(np.radians(p.take_off_angle))
    films = np.append(_GRID * mass, p.mass_thickness or 0.0)

    def leaving(energies: np.ndarray) -> np.ndarray:
        """Share of photons that leave each film; (films, energies)."""
        mu = attenuation_of(c.elements, np.maximum(energies, SOFTEST)) @ fractions
        return escaping_share(np.outer(films, mu * path / fractions.sum()))

    seen = np.zeros(len(_GRID))
    for i, family in enumerate(fit.model.families):
        shares = leaving(family.energies) @ family.weights
        seen += fit.amplitudes[i] * fit.design[:, i].sum() * shares[:-1] / shares[-1]
    shares = leaving(fit.spectrum.axis.to_kev().centers)
    seen += (shares[:-1] / shares[-1]) @ np.maximum(fit.continuum, 0.0)
    return np.asarray(seen / np.interp(films[-1], _GRID * mass, seen))


def _counting_sigma(
    seen: Mapping[str, np.ndarray],
    parts: Mapping[str, np.ndarray],
    per_count: Mapping[str, float],
    scale: float,
    counts_sigma: Mapping[str, np.ndarray],
    reference: str,
) -> np.ndarray:
    """Poisson noise of all counts, and how the phases share them.

    A count that is shared wrongly is taken from one phase and given to the reference.
    """
    variance = np.zeros(next(iter(seen.values())).shape)
    rate = {}
    for name, counts in seen.items():
        rate[name] = np.where(
            np.abs(counts) > 0, parts[name] / np.where(counts == 0, 1.0, counts),
            scale * per_count[name],
        )  # fmt: skip
        variance += rate[name] ** 2 * np.maximum(counts, 0.0)
    for name, sigma in counts_sigma.items():
        if name in seen and name != reference:
            beyond = np.maximum(np.asarray(sigma) ** 2 - np.maximum(seen[name], 0.0), 0.0)
            variance += (rate[name] - rate[reference]) ** 2 * np.where(
                np.isfinite(beyond), beyond, 0.0
            )
    return np.sqrt(variance)


def _effective(p: MeasuredPhase, mean: float, variance: float) -> float:
    """Mass thickness of an even film that absorbs the softest line as a spread of films does.

    Photons come as the mass of each film: ``<m A(m)> / <m>``, for a gamma density of that mean
    and variance.
    """
    if mean <= 0 or variance <= 0:
        return mean
    shape = mean**2 / variance
    # Midpoints of equal probability; a gamma density by its quantiles.
    films = mean / shape * gammaincinv(shape, (np.arange(64) + 0.5) / 64)
    amounts = p.amounts / p.amounts.sum()
    grid = np.concatenate([[0.0], np.linspace(0.2, 6.0, 117) * mean])
    both = np.concatenate([films, grid])
    shares = p.shares(np.broadcast_to(amounts, (len(both), len(amounts))), both)
    softest = int(shares[-1].argmin())
    seen = float((films * shares[:64, softest]).sum() / films.sum())
    on_grid = shares[64:, softest]
    return float(np.interp(-seen, -on_grid, grid))


#: An atom scatters as this power of its number into a large angle, and how well that is known: 1.64
#: (Krivanek et al. 2010, Nature 464, 571), 2 unscreened (Rutherford).
_POWER, _POWER_SIGMA = 1.7, 0.15
#: A dark level that was not told is at most this part of the darkest pixel.
_DARKEST = 0.9
#: Differences of neighbours in which planes and edges along the axes vanish.
_NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6.0
#: Standard deviation over the median of the absolute values of a normal variate.
_PER_MEDIAN = 1.4826


def image_thickness(
    film: ThicknessMap,
    image: np.ndarray,
    compositions: Mapping[str, Composition],
    *,
    reference: str,
    dark: float | None = None,
) -> ThicknessMap:
    """Map the mass thickness by the brightness of an annular dark-field (HAADF) image.

    ``(image - dark)`` is as ``sum(m w Z^1.7 / A)`` over the elements of a pixel's phases, whose
    shares of the mass are those of the counts. The mean of the reference where it is pure stays
    that of the map by counts. Diffraction contrast and films in which electrons scatter several
    times are not in it: compare both maps.

    Parameters
    ----------
    film : ThicknessMap
        By the counts, see `siftem.thickness_map`.
    image : ndarray of shape (ny, nx)
        Linear in the signal.
    compositions : mapping of str to Composition
        Of its phases.
    reference : str
        Whose mean sets the scale.
    dark : float, optional
        Of no film, as in vacuum. By default anything from 0 to 0.9 of the least of the image, with
        that error, which is large where the film is even.

    Returns
    -------
    ThicknessMap
        ``sigma`` holds the image's noise, the power of Z and the dark level.

    Raises
    ------
    InputError
        When the image has another shape, is nowhere brighter than the dark level, or no pixel holds
        the reference alone.

    References
    ----------
    Krivanek et al. 2010, Nature 464, 571. Immerkaer 1996, Comput. Vis. Image Underst. 64, 300
    (noise of an image).
    """
    seen = np.asarray(image, dtype=np.float64)
    if seen.shape != film.mass.shape or not np.isfinite(seen).all():
        raise InputError(
            f"the image must be finite numbers of the shape {film.mass.shape} of the map, got "
            f"{seen.shape}"
        )
    darks = (0.0, _DARKEST * max(float(seen.min()), 0.0)) if dark is None else (float(dark),)
    known = np.isfinite(film.mass) & (film.mass > 0)
    shares = {n: np.where(known, m / np.where(known, film.mass, 1.0), np.nan)
              for n, m in film.by_phase.items()}  # fmt: skip
    pure = pure_pixels(shares, reference)
    bright, log_slope = _brightness(shares, compositions)
    parts = []
    for level in darks:
        scattered = (seen - level) / bright
        mean = float(scattered[pure].mean()) if pure.any() else 0.0
        if not mean > 0:
            raise InputError(
                f"no pixel of {reference} alone is brighter than the dark level {level:g} of the "
                f"image"
            )
        parts.append((scattered / mean, mean))
    # Between both ends of what the dark level may be, all alike.
    relative = np.mean([r for r, _ in parts], axis=0)
    by_dark = (parts[-1][0] - parts[0][0]) / np.sqrt(12)
    noise = _PER_MEDIAN * float(np.median(np.abs(convolve(seen, _NOISE, mode="reflect"))))
    by_noise = noise / bright / min(mean for _, mean in parts)
    # The reference sets the scale: what changes it alike is no error of a ratio to it.
    by_power = relative * (log_slope - float(log_slope[pure].mean())) * _POWER_SIGMA
    scale = float(film.mass[pure].mean())
    return ThicknessMap(
        scale * relative,
        scale * np.sqrt(by_noise**2 + by_power**2 + by_dark**2),
        {n: share * scale * relative for n, share in shares.items()},
        film.scale_sigma,
        film.phases,
    )


def _brightness(
    shares: Mapping[str, np.ndarray], compositions: Mapping[str, Composition]
) -> tuple[np.ndarray, np.ndarray]:
    """Brightness of a mass in each pixel, and the change of its logarithm with the power of Z."""
    total, slope = 0.0, 0.0
    for name, share in shares.items():
        c = compositions[name]
        z = np.array([atomic_number(e) for e in c.elements], dtype=np.float64)
        each = np.maximum(c.weight_fractions, 0.0) * z**_POWER
        each = each / np.array([atomic_weight(e) for e in c.elements])
        total = total + share * each.sum()
        slope = slope + share * (each @ np.log(z))
    return np.asarray(total), np.asarray(slope / total)
