"""What unmixing gives: spectra, maps and their errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from siftem.energy_axis import EnergyAxis
from siftem.fit.spectrum_model import Calibration
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.joint_fit import JointFit, free_spectra, share_groups
from siftem.unmixing.pixel_sets import PixelSets
from siftem.views import view

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, eq=False, repr=False)
class Unmixed:
    """Pure phases of a map, by :func:`siftem.unmix`.

    Parameters
    ----------
    names : tuple of str
        Phases, the matrix first.
    spectra : dict of str to Spectrum
        Pure spectra on the physics basis (lines and continuum): smooth, with all their error
        in ``modes``; scaled to the counts of the phase in all pixels that took part. Lines
        that the fit holds at zero have here what they would have without that bound, within
        their errors below zero at times, so that the spectra are unbiased;
        ``values + background`` are the bounded ones.
    free_spectra : dict of str to Spectrum
        The same phases with every channel free, for the same maps.
    maps : ndarray of shape (k, ny, nx)
        Counts of each phase in each pixel; NaN in pixels that took no part.
    maps_sigma : ndarray of shape (k, ny, nx)
        Their standard deviations from counting.
    coefficients : ndarray of shape (k, q)
        Of the columns, for spectra that sum to one.
    covariance : ndarray of shape (k q, k q)
        Theirs, the first phase first.
    columns : tuple of str
        Names of the columns.
    anchors : dict of str to str
        What was assumed of each grain.
    calibration : Calibration
        Of the energy scale.
    deviance : float
        Minus twice the log likelihood, up to a constant of the data.
    n_iter : int
        Newton steps.
    converged : bool
    """

    names: tuple[str, ...]
    spectra: dict[str, Spectrum]
    free_spectra: dict[str, Spectrum]
    maps: np.ndarray
    maps_sigma: np.ndarray
    coefficients: np.ndarray
    covariance: np.ndarray
    columns: tuple[str, ...]
    anchors: dict[str, str]
    calibration: Calibration
    deviance: float
    n_iter: int
    converged: bool

    def __repr__(self) -> str:
        ny, nx = self.maps.shape[1:]
        phases = ", ".join(
            f"{n} {self.spectra[n].values.sum():.4g}"
            + (f" ({self.anchors[n]})" if n in self.anchors else "")
            for n in self.names
        )
        end = "" if self.converged else "; NOT converged"
        return f"<Unmixed {ny} x {nx} pixels, counts of {phases}{end}>"

    def _repr_html_(self) -> str:
        return str(view("unmixed_html")(self))

    def plot(
        self,
        *,
        elements: Sequence[str] | None = None,
        pixel_size: tuple[float, float] | None = None,
    ) -> np.ndarray:
        """Draw map and spectrum of each phase, one above the other.

        Parameters
        ----------
        elements : sequence of str, optional
            Whose lines are labelled; by default those that the file lists.
        pixel_size : tuple of float, optional
            Height and width of a pixel in nm, for the scale bars.

        Returns
        -------
        ndarray of matplotlib Axes, shape (2, k)
            Maps above spectra.
        """
        listed = self.spectra[self.names[0]].acquisition.elements
        named = listed if elements is None else elements
        return np.asarray(view("plot_unmixed")(self, elements=named, pixel_size=pixel_size))

    def to_pandas(self) -> DataFrame:
        """Return the spectra and their errors, one row a channel; index: energy.

        Returns
        -------
        pandas.DataFrame
        """
        return view("unmixed_frame")(self)


def assemble(
    si: SpectrumImage,
    sets: PixelSets,
    pooled: PixelSets,
    designs: Sequence[np.ndarray],
    joint: JointFit,
    of_pixels: np.ndarray,
    *,
    axis: EnergyAxis,
    columns: tuple[str, ...],
    anchors: Mapping[str, str],
    absent: Mapping[str, tuple[str, ...]],
    calibration: Calibration,
) -> Unmixed:
    """Put the result of a joint fit into spectra and maps.

    Parameters
    ----------
    si : SpectrumImage
    sets, pooled : PixelSets
        Of single pixels, and those that were fitted.
    designs : sequence of ndarray of shape (channels, q)
    joint : JointFit
    of_pixels : ndarray of shape (pixels, k)
        Abundances in single pixels.
    axis, columns, anchors, absent, calibration
        See `Unmixed`.
    """
    q = joint.coefficients.shape[1]
    totals = joint.maps.sum(axis=0)
    free, free_variance = _free(pooled, joint)
    mixing = _mixing(designs, joint)
    pixels = sets.allowed.sum(axis=0, dtype=int)
    pixels[0] += sets.pure_rows.size - 1
    physics, loose = {}, {}
    for c, name in enumerate(sets.names):
        block = joint.covariance[c * q : (c + 1) * q, c * q : (c + 1) * q]
        note = f"unmixed: {anchors[name]}" if name in anchors else "unmixed"
        common: dict[str, Any] = {
            "axis": axis,
            "name": name,
            "n_pixels": int(pixels[c]),
            "acquisition": si.acquisition,
            "notes": (note,),
            "absent": absent.get(name, ()),
        }
        free_of_bounds = designs[c] @ joint.unbounded[c]
        physics[name] = Spectrum(
            totals[c] * free_of_bounds,
            background=totals[c] * (joint.spectra[:, c] - free_of_bounds),
            variance=np.zeros(axis.size),
            modes=totals[c] * _root(block) @ designs[c].T,
            **common,
        )
        loose[name] = Spectrum(
            totals[c] * free[:, c],
            variance=totals[c] ** 2 * free_variance[:, c],
            modes=totals[c] * mixing[c],
            **common,
        )
    maps, sigma = _maps(si, sets, replace(joint, maps=of_pixels))
    return Unmixed(
        names=sets.names,
        spectra=physics,
        free_spectra=loose,
        maps=maps,
        maps_sigma=sigma,
        coefficients=joint.coefficients,
        covariance=joint.covariance,
        columns=columns,
        anchors=dict(anchors),
        calibration=calibration,
        deviance=joint.deviance,
        n_iter=joint.n_iter,
        converged=joint.converged,
    )


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return R with ``R' R = covariance``, also of a singular one."""
    values, vectors = np.linalg.eigh(covariance)
    return np.sqrt(np.clip(values, 0.0, None))[:, None] * vectors.T


def _free(sets: PixelSets, joint: JointFit) -> tuple[np.ndarray, np.ndarray]:
    """Spectra of free channels for the fitted maps, and their variances."""
    shares, _, group = share_groups(joint.maps)
    groups = sets.counts.summed(group, len(shares))
    used = group >= 0
    amounts = np.stack(
        [np.bincount(group[used], a, shares.shape[0]) for a in joint.maps[used].T], axis=1
    )
    return free_spectra(groups, amounts, joint.spectra)


def _mixing(designs: Sequence[np.ndarray], joint: JointFit) -> np.ndarray:
    """Common modes of free spectra: how much of each other phase may hide in one.

    The maps of free spectra are those of the physics basis, so the part of its errors that
    lies along the other spectra is theirs too. (k, k, channels): phase, mode, channel.
    """
    k, q = joint.coefficients.shape
    out = np.zeros((k, k, joint.spectra.shape[0]))
    for c in range(k):
        root = 1 / np.sqrt(np.maximum(joint.spectra[:, c], 1e-12))
        seen = designs[c] * root[:, None]
        weights = np.linalg.pinv(joint.spectra * root[:, None]) @ seen
        block = joint.covariance[c * q : (c + 1) * q, c * q : (c + 1) * q]
        covariance = weights @ block @ weights.T
        covariance[c] = covariance[:, c] = 0.0  # its own scale is no error
        out[c] = _root(covariance) @ joint.spectra.T
    return out


def _maps(si: SpectrumImage, sets: PixelSets, joint: JointFit) -> tuple[np.ndarray, np.ndarray]:
    k = len(sets.names)
    maps = np.full((k, si.n_pixels), np.nan)
    sigma = np.full((k, si.n_pixels), np.nan)
    maps[:, sets.rows] = joint.maps[:-1].T
    shares, _, group = share_groups(joint.maps[:-1])
    spread = np.zeros((shares.shape[0], k))
    for g, share in enumerate(shares):
        there = np.flatnonzero(share > 0)
        own = joint.spectra[:, there]
        weight = 1 / np.maximum(own @ share[there], 1e-12)
        # For one count; the variance grows with the counts of the pixel.
        inverse = np.linalg.pinv((own * weight[:, None]).T @ own, hermitian=True)
        spread[g, there] = np.diag(inverse)
    counts = joint.maps[:-1].sum(axis=1)
    variance = np.where((group >= 0)[:, None], spread[group] * counts[:, None], 0.0)
    sigma[:, sets.rows] = np.sqrt(np.maximum(variance, 0.0)).T
    maps[:, sets.pure_rows] = 0.0
    sigma[:, sets.pure_rows] = 0.0
    maps[0, sets.pure_rows] = sets.pure_counts
    sigma[0, sets.pure_rows] = np.sqrt(sets.pure_counts)
    return maps.reshape(k, *si.shape), sigma.reshape(k, *si.shape)
