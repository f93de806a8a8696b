"""Incomplete charge collection: why soft lines have a tail and come out a little low."""

from __future__ import annotations

import numpy as np

from siftem.xray.absorption import element_attenuation

_SILICON_DENSITY = 2.33  # g/cm3
_CM_PER_NM = 1e-7
#: Share of the charge that is still collected from the very surface.
SURFACE_COLLECTION = 0.5
#: Slices of equal-ish probability; finer at the surface, where the loss is.
_SLICES = 16
_EDGES = (np.arange(_SLICES + 1) / _SLICES) ** 2
_SHARES = np.diff(_EDGES)
#: Lines that lose less than this share of their energy on average are left as they are.
_NEGLIGIBLE = 1e-4


def collected_lines(
    energies: np.ndarray,
    depth: float,
    *,
    surface: float = SURFACE_COLLECTION,
    coarse: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split each line by how much of its charge is collected.

    A photon that is absorbed in the depth z of the crystal yields the share
    ``1 - (1 - surface) exp(-z / depth)`` of its charge, and z is distributed as
    ``mu exp(-mu z)``. Each line becomes a few lines at the mean energies of slices of z,
    with the probabilities of the slices: a peak that is a little low and a tail below it.
    It matters where silicon absorbs strongly: below 1 keV, and just above the Si K edge.

    Parameters
    ----------
    energies : ndarray of shape (lines,)
        True energies in keV.
    depth : float
        Depth scale of the loss in nm; 0 means that all charge is collected. Typical
        silicon drift detectors have some 50 to 150 nm.
    surface : float
        Share collected at z = 0.
    coarse : ndarray of bool, shape (lines,), optional
        Lines, too weak for their shape to matter, that are only moved to their mean energy.

    Returns
    -------
    energies : ndarray of shape (parts,)
        In keV.
    shares : ndarray of shape (parts,)
        Probability of each part; they sum to 1 for each line.
    origin : ndarray of int, shape (parts,)
        Index of the line that a part belongs to.

    References
    ----------
    The exponential collection profile: Goto 1993, Nucl. Instrum. Methods A 333, 452;
    Scholze & Procop 2009, X-Ray Spectrometry 38, 312.
    """
    energies = np.asarray(energies, dtype=np.float64)
    lines = np.arange(energies.size)
    if depth <= 0:
        return energies, np.ones(energies.size), lines
    silicon = element_attenuation("Si", energies) * _SILICON_DENSITY * _CM_PER_NM  # 1/nm
    # exp(-z/depth) is u**(1/(mu depth)) with u = exp(-mu z) uniform on (0, 1).
    power = 1.0 / (silicon * depth)
    mean_loss = (1 - surface) / (power + 1)
    split = mean_loss > _NEGLIGIBLE
    if coarse is not None:
        energies = np.where(coarse & split, energies * (1 - mean_loss), energies)
        split &= ~coarse
    upper = (1 - _EDGES[:-1])[None, :] ** (power[split] + 1)[:, None]
    lower = (1 - _EDGES[1:])[None, :] ** (power[split] + 1)[:, None]
    lost = (1 - surface) * (upper - lower) / ((power[split] + 1)[:, None] * _SHARES[None, :])
    parts = energies[split][:, None] * (1 - lost)
    return (
        np.concatenate([energies[~split], parts.ravel()]),
        np.concatenate([np.ones((~split).sum()), np.tile(_SHARES, int(split.sum()))]),
        np.concatenate([lines[~split], np.repeat(lines[split], _SLICES)]),
    )
