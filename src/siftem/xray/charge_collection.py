"""Incomplete charge collection: why soft lines have a tail and come out a little low."""

from __future__ import annotations

import numpy as np

from siftem.xray.absorption import element_attenuation

_SILICON_DENSITY = 2.33  # g/cm3
_CM_PER_NM = 1e-7
#: Share of the charge that is still collected from the very surface.
SURFACE_COLLECTION = 0.5
#: Slices of a tail, finer where the loss is small and most photons are.
_SLICES = 16
_EDGES = (np.arange(_SLICES + 1) / _SLICES) ** 2
#: Standard deviation of a slice as a share of its width: neighbours then make a smooth tail.
_BLUR = 0.6
#: Lines that lose less than this share of their energy on average are left as they are.
_NEGLIGIBLE = 1e-4


def collected_lines(
    energies: np.ndarray,
    depth: float,
    *,
    surface: float = SURFACE_COLLECTION,
    coarse: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Split each line by how much of its charge is collected.

    A photon that is absorbed in the depth z of the crystal yields the share
    ``1 - (1 - surface) exp(-z / depth)`` of its charge, and z is distributed as
    ``mu exp(-mu z)``. Each line becomes a few lines at the mean energies of slices of the
    loss, with the probabilities of the slices: a peak that is a little low and a tail below.
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
    widths : ndarray of shape (parts,)
        Standard deviation of the energies within a part in keV, a little widened: slices of
        a hard line's tail lie hundreds of eV apart and would stand out as peaks.

    References
    ----------
    The exponential collection profile: Goto 1993, Nucl. Instrum. Methods A 333, 452;
    Scholze & Procop 2009, X-Ray Spectrometry 38, 312.
    """
    energies = np.asarray(energies, dtype=np.float64)
    lines = np.arange(energies.size)
    if depth <= 0:
        return energies, np.ones(energies.size), lines, np.zeros(energies.size)
    silicon = element_attenuation("Si", energies) * _SILICON_DENSITY * _CM_PER_NM  # 1/nm
    # exp(-z/depth), the loss over that at the surface, is x = u**power with u = exp(-mu z)
    # uniform on (0, 1), so P(x < a) = a**(1/power).
    power = 1.0 / (silicon * depth)
    mean_loss = (1 - surface) / (power + 1)
    split = mean_loss > _NEGLIGIBLE
    if coarse is not None:
        energies = np.where(coarse & split, energies * (1 - mean_loss), energies)
        split &= ~coarse
    p = power[split][:, None]
    below = _EDGES[None, :] ** (1 / p)
    share = np.diff(below, axis=1)
    mean = np.diff(below ** (p + 1), axis=1) / ((p + 1) * share)
    tall = energies[split][:, None]
    parts = tall * (1 - (1 - surface) * mean)
    widths = tall * (1 - surface) * _BLUR * np.diff(_EDGES)[None, :]
    whole = int((~split).sum())
    return (
        np.concatenate([energies[~split], parts.ravel()]),
        np.concatenate([np.ones(whole), share.ravel()]),
        np.concatenate([lines[~split], np.repeat(lines[split], _SLICES)]),
        np.concatenate([np.zeros(whole), widths.ravel()]),
    )
