"""Where a model does not describe a spectrum: told in words, wherever a spectrum is fitted."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from siftem.errors import DoubtWarning
from siftem.fit.element_search import unexplained_lines
from siftem.fit.line_fit import LineFit

#: A residual over a peak's width is told from this many standard deviations on, and only if
#: it is this share of the counts there: in sums of 1e7 counts no model is without the first.
_CLEAR, _LARGE = 8.0, 0.2
#: Below (keV) windows and the ends of spectra differ from detector to detector.
_SOFTEST = 0.35
#: Standard deviations that lines need to be named as a reason.
_NAMED = 8.0


@dataclass(frozen=True)
class Structure:
    """A residual that is no noise.

    Parameters
    ----------
    low, high : float
        Range of energies in keV in which it stands out.
    worst : float
        Energy in keV at which it is farthest out.
    excess : float
        Residual there over a peak's width, as a share of what the model expects.
    significance : float
        The same in standard deviations.
    reduced_deviance : float
        Of the whole fit.
    """

    low: float
    high: float
    worst: float
    excess: float
    significance: float
    reduced_deviance: float


def structure_of(fit: LineFit) -> Structure | None:
    """Return where the model that fits best is clearly off the counts, or None.

    Parameters
    ----------
    fit : LineFit

    Returns
    -------
    Structure or None
    """
    kev = fit.spectrum.axis.to_kev()
    width = fit.model.detector.fwhm(np.maximum(kev.centers, 0.0)) * 1e-3
    reach = np.maximum(0.5 * width / kev.scale, 0.5)
    extra = np.maximum(fit.spectrum.variance - fit.spectrum.counts, 0.0)
    residual = _within(fit.spectrum.counts - fit.closest, reach)
    expected = _within(fit.closest, reach)
    sigma = np.sqrt(_within(fit.closest + extra, reach))
    z = residual / np.maximum(sigma, 1.0)
    share = np.abs(residual) / np.maximum(expected, 1.0)
    out = (np.abs(z) > _CLEAR) & (share > _LARGE) & (kev.centers > _SOFTEST)
    if not out.any():
        return None
    worst = int(np.argmax(np.where(out, np.abs(z), 0.0)))
    where = kev.centers[out]
    return Structure(
        float(where[0]),
        float(where[-1]),
        float(kev.centers[worst]),
        float(residual[worst] / max(expected[worst], 1.0)),
        float(z[worst]),
        fit.reduced_deviance,
    )


def warn_of_structure(fit: LineFit, name: str = "", *, stacklevel: int = 3) -> bool:
    """Warn when a model does not describe a spectrum, and say what is likely missing.

    Parameters
    ----------
    fit : LineFit
    name : str
        Of the spectrum, by default its own.
    stacklevel : int
        As of `warnings.warn`.

    Returns
    -------
    bool
        Whether it warned.

    Warns
    -----
    SiftemWarning
        With the reduced deviance, the range of energies, and the lines that would fit there.
    """
    found = structure_of(fit)
    if found is None:
        return False
    likely = unexplained_lines(fit, significance=_NAMED, most=3)
    looks = (
        "which looks like " + ", ".join(f"{f.line} ({f.energy:.2f} keV)" for f in likely)
        if likely
        else "which no line of one element explains"
    )
    span = (
        f"from {found.low:.2f} to {found.high:.2f} keV"
        if found.high > found.low
        else f"at {found.low:.2f} keV"
    )
    warnings.warn(
        f"{name or fit.spectrum.name or 'the spectrum'}: the model does not describe this "
        f"spectrum {span}: reduced deviance {found.reduced_deviance:.3g}, worst at "
        f"{found.worst:.2f} keV ({100 * found.excess:+.0f}%), {looks}: what lies there has large "
        f"errors; check the elements and the support",
        DoubtWarning,
        stacklevel=stacklevel,
    )
    return True


def _within(values: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Sums over ``reach`` channels to both sides; (channels,)."""
    below = np.concatenate([[0.0], np.cumsum(values)])
    place = np.arange(values.size)
    first = np.maximum(np.floor(place - reach + 0.5).astype(int), 0)
    last = np.minimum(np.ceil(place + reach + 0.5).astype(int), values.size)
    return np.asarray(below[last] - below[first])
