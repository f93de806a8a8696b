"""Spectra shifted against each other, by an energy axis that drifts or a zero loss that jumps.

One phase then looks like several, which no factorisation can tell from phases by itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from itertools import combinations

import numpy as np
import scipy.sparse as sp
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from scipy.signal import find_peaks

from siftem.decomposition.factors import Factors
from siftem.decomposition.purest import FEWEST_COUNTS, MOST_PIXELS
from siftem.errors import DoubtWarning
from siftem.pipeline.soft_lines import EXTENT, FALLS_SURELY, way
from siftem.spectrum_image import SpectrumImage

#: Shift of peaks across a phase that is told (eV).
_DRIFT = 1.5
#: Largest shift that is looked for, least one that is told, and to what spectra are smoothed
#: (eV): of X-rays and of energy losses.
_SHIFTS = {"EDS": (40.0, 1.5, 30.0), "EELS": (6.0, 0.25, 0.0)}
#: Part of the difference of two spectra that a shift explains, and by how much more than counting.
_EXPLAINED, _SURELY = 0.9, 100.0
#: How much more of what components leave a shift explains than any other shape.
_MORE = 10.0
_ALIGN = (
    "Align the spectra first (in HyperSpy: s.align_zero_loss_peak() or s.align1D()) and run again"
)


def warn_of_shifts(si: SpectrumImage, factors: Factors) -> None:
    """Tell of components that are one spectrum shifted, and of energy losses that jump.

    Parameters
    ----------
    si : SpectrumImage
    factors : Factors

    Warns
    -----
    DoubtWarning
        Of the pair that is most alike but for a shift; else of the scatter of shifts from pixel to
        pixel beside what the components explain.
    """
    most, least, smooth = _SHIFTS["EELS" if si.signal_type == "EELS" else "EDS"]
    step = 1e3 * si.axis.to_kev().scale
    if si.axis.size < 8 * most / step:
        return
    spectra = gaussian_filter1d(factors.spectra, max(smooth / step, 1.0), axis=1)
    counts = factors.maps.sum(axis=(1, 2), dtype=np.float64)
    found = []
    for i, j in combinations(range(len(spectra)), 2):
        part, shift, sure = _shift_between(spectra[i], spectra[j], most / step)
        sure *= counts[i] * counts[j] / max(counts[i] + counts[j], 1.0)
        if part > _EXPLAINED and abs(shift) * step > least and sure > _SURELY:
            found.append((part, abs(shift) * step, factors.names[i], factors.names[j]))
    if found:
        _, shift, one, other = max(found)
        more = f", and {len(found) - 1} more pairs are so" if len(found) > 1 else ""
        warnings.warn(
            f"{one} and {other}: their spectra are alike but for a shift by {shift:.2g} eV{more}: "
            f"the energy axis drifts or jumps between pixels, and one phase looks like several "
            f"(in a spectrum of one edge, another valence may do the same). {_ALIGN}",
            DoubtWarning,
            stacklevel=3,
        )
        return
    if si.signal_type == "EELS":
        scatter, more_than_others = _scatter(si, factors, step)
        if scatter > least and more_than_others > _MORE:
            warnings.warn(
                f"the spectra are shifted against each other by {scatter:.2g} eV (root mean square "
                f"of all pixels): the energy axis drifts or jumps between pixels, so that no sum "
                f"of spectra describes them. {_ALIGN}",
                DoubtWarning,
                stacklevel=3,
            )


def _shift_between(
    first: np.ndarray, second: np.ndarray, most: float
) -> tuple[float, float, float]:
    """Shift (channels) that takes one spectrum to another, times a straight line.

    With the part of their difference that it explains, and how much that is in squared standard
    deviations for one count in each.
    """
    edge = int(np.ceil(most)) + 1
    inner = slice(edge, first.size - edge)
    channels, line = np.arange(first.size), np.linspace(-1, 1, first.size)[inner]
    weight = 1.0 / np.sqrt(np.maximum(first + second, 1e-7))[inner]
    target = second[inner] * weight

    def left(shift: float) -> float:
        moved = np.interp(channels + shift, channels, first)[inner]
        design = np.column_stack([moved, moved * line]) * weight[:, None]
        return float(
            ((target - design @ np.linalg.lstsq(design, target, rcond=None)[0]) ** 2).sum()
        )

    shifts = np.linspace(-most, most, 81)
    all_left = np.array([left(s) for s in shifts])
    best, none = int(all_left.argmin()), float(all_left[len(shifts) // 2])
    if not none > 0:
        return 0.0, 0.0, 0.0
    return 1.0 - all_left[best] / none, float(shifts[best]), none - float(all_left[best])


def _scatter(si: SpectrumImage, factors: Factors, step: float) -> tuple[float, float]:
    """Scatter of pixels' shifts beyond noise (eV); and the share of a shift in what is left.

    In units of the mean square of all other shapes.
    """
    places = np.flatnonzero(factors.maps.sum(axis=0).ravel() > 0)
    places = places[:: -(-len(places) // MOST_PIXELS) or 1]
    weights = factors.maps.reshape(len(factors.maps), -1)[:, places].T
    slopes = -np.gradient(gaussian_filter1d(factors.spectra, 1.0, axis=1), axis=1) / step
    mean = np.maximum(weights @ factors.spectra, 1e-9)
    slope = weights @ slopes
    rows = sp.csr_array(si.counts[places])
    seen = np.asarray(rows.multiply(slope / mean).sum(axis=1)).ravel() - slope.sum(axis=1)
    known = (slope**2 / mean).sum(axis=1)
    off = np.asarray(rows.multiply(rows).multiply(1.0 / mean).sum(axis=1)).ravel()
    off += mean.sum(axis=1) - 2.0 * np.asarray(rows.sum(axis=1)).ravel()
    free = max(mean.shape[1] - len(factors.names) - 1, 1)
    share = float((seen**2 / known).mean())
    others = (float(off.mean()) - share) / free
    excess = float((seen**2 - max(others, 1.0) * known).sum() / (known**2).sum())
    return float(np.sqrt(max(excess, 0.0))), share / max(others, 1e-9)


def warn_of_drift(si: SpectrumImage, insides: Mapping[str, np.ndarray]) -> None:
    """Tell when peaks of a phase move along the energy axis from one side of it to the other.

    Spectra of one phase then look like those of several.

    Parameters
    ----------
    si : SpectrumImage
        X-ray counts.
    insides : mapping of str to ndarray of bool, shape (ny, nx)
        Pixels of each phase that hold nothing else.

    Warns
    -----
    DoubtWarning
        Of the phase in which it is most sure.
    """
    step = 1e3 * si.axis.to_kev().scale
    best, text = FALLS_SURELY, ""
    for name, inside in insides.items():
        places = np.argwhere(inside)
        places = places[:: -(-len(places) // MOST_PIXELS) or 1]
        rows = sp.csr_array(si.counts[places @ np.array([si.shape[1], 1])])
        total = np.asarray(rows.sum(axis=1, dtype=np.float64)).ravel()
        shape = np.asarray(rows.sum(axis=0, dtype=np.float64)).ravel()
        if shape.sum() < FEWEST_COUNTS:
            continue
        shape = shape / shape.sum()
        moved = _score_of_a_shift(shape, step)
        told = -float(np.gradient(shape) @ moved)
        if told <= 0:
            continue
        extent = np.diff(np.quantile(places, EXTENT, axis=0), axis=0)[0].clip(1.0)
        terms = np.column_stack([np.ones(len(places)), (places - places.mean(axis=0)) / extent])
        inverse = np.linalg.pinv(terms.T @ (terms * total[:, None]))
        slope = (inverse @ (terms.T @ (rows @ moved)))[1:] / told
        size = float(np.hypot(*slope))
        along = slope / max(size, 1e-300)
        variance = float(along @ inverse[1:, 1:] @ along) * float(shape @ moved**2)
        error = np.sqrt(max(variance, 1e-300)) / told
        if size * step > _DRIFT and size > best * error:
            best = size / error
            # Where it falls it goes to lower energies.
            text = (
                f"{name}: from {way(slope)} its peaks move down by {size * step:.2g} eV, as when "
                f"the energy axis drifts during the scan: spectra of one phase then look like "
                f"several, and fits are poor. Align the spectra before"
            )
    if text:
        warnings.warn(text, DoubtWarning, stacklevel=3)


def _score_of_a_shift(shape: np.ndarray, step: float) -> np.ndarray:
    """Weights of channels whose sum tells how far peaks are shifted, whatever their heights."""
    smooth = gaussian_filter(shape, 20.0 / step) + 1e-12
    half = max(round(90.0 / step), 2)
    out = np.zeros(shape.size)
    peaks, about = find_peaks(smooth, height=0.02 * smooth.max(), prominence=0.01 * smooth.max())
    for peak, prominence in zip(peaks, about["prominences"], strict=True):
        own = slice(max(peak - half, 0), peak + half + 1)
        if prominence > 0.5 * smooth[peak] and not out[own].any():
            # Counts move from where their logarithm rises to where it falls.
            weight = -np.gradient(np.log(smooth))[own]
            out[own] = weight - float(weight @ shape[own]) / max(float(shape[own].sum()), 1e-300)
    return out
