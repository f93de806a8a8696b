"""Elements of holder, column and preparation that nobody lists, found beside a fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from siftem.fit.greedy_search import COMMON
from siftem.fit.line_evidence import FoundElement, SeenLine, peaks_of
from siftem.fit.null_scatter import beside, null_scatter
from siftem.fit.propagation import LineFit
from siftem.fit.spectrum_model import SpectrumModel
from siftem.xray.lines import LineFamily, visible_name

#: Standard deviations beside a fit from which on an element is fitted itself.
_WORTH = 2.0
#: Standard deviations, once it is fitted, from which on it is there: softer lines (keV) lie in the
#: feet of others, where the model is less sure.
_THERE, _THERE_SOFT, _SOFT = 3.5, 4.0, 1.0
#: Elements that are fitted, and found, at the most.
_TRIED, _MOST = 10, 6
#: Lines lie where they should within this many standard deviations, or keV.
_AWAY, _NEAR = 3.0, 0.012
#: Peaks of an element have the ratios of tables within this share; on their way out of what is
#: thick, soft L lines are lost.
_RATIO = {"K": 0.25, "L": 1.0, "M": 0.25}
#: keV by which lines are moved to see how a fit changes.
_STEP = 0.002


def contaminants_of(
    fit: LineFit,
    refit: Callable[[tuple[str, ...]], LineFit],
    candidates: Sequence[str] = tuple(sorted(COMMON)),
) -> tuple[tuple[FoundElement, ...], LineFit]:
    """Find elements that are there and not listed, one after the other.

    An element that stands out beside the fit is fitted itself, with the errors of the model
    estimated anew: what its lines explain was taken for such errors before. It is there if it then
    stands out clearly (`_THERE`), lies where its lines lie, and has their ratios.

    Parameters
    ----------
    fit : LineFit
        Of all that is listed.
    refit : callable
        Fits further elements beside, at the same calibration.
    candidates : sequence of str
        By default elements that holders, columns and preparations bring.

    Returns
    -------
    found : tuple of FoundElement
        In the order in which they were found, those that stand out most first.
    fit : LineFit
        With them.
    """
    found: list[FoundElement] = []
    passed: set[str] = set()
    for _ in range(_TRIED):
        z = null_scatter(fit, [e for e in candidates if e not in passed]).z
        best = max(z, key=z.__getitem__, default=None)
        if best is None or z[best] < _WORTH or len(found) == _MOST:
            break
        passed.add(best)
        trial = refit((*(f.element for f in found), best))
        seen = _seen(trial, best)
        if seen is not None:
            found.append(seen)
            fit = trial
    return tuple(found), fit


def _seen(fit: LineFit, element: str) -> FoundElement | None:
    """Return an element of a fit if it is there; None if something else is taken for it."""
    place = fit.index(element)
    photons = float(fit.amplitudes[place])
    # Whether it is there does not hang on how well the ratios of its lines are known.
    variance = fit.covariance[place, place] - fit.ratio_covariance[place, place]
    significance = float(fit.unbounded[place] / np.sqrt(variance))
    family, model = fit.model.families[place], fit.model
    least = _THERE if family.alpha_energy > _SOFT else _THERE_SOFT
    if photons <= 0 or significance < least:
        return None
    shift, sigma = _further(fit, _change_with_shift(fit, family) * photons)
    if abs(shift) > max(_AWAY * sigma, _NEAR):
        return None
    peaks = peaks_of(
        [family], fit.spectrum.axis, model.beam_energy, model.detector, fit.calibration
    )
    counts = peaks.profiles.sum(axis=0)
    strongest = int(np.argmax(counts))
    evidence = [SeenLine(_name(peaks.parts[strongest]), family.alpha_energy, significance)]
    for i in np.flatnonzero(np.arange(counts.size) != strongest):
        more, sigma = _further(fit, peaks.profiles[:, i])
        if abs(more) > _AWAY * np.hypot(sigma, _RATIO[family.shell[0]] * photons):
            return None
        if photons + more > _AWAY * sigma:
            part = peaks.parts[i]
            evidence.append(SeenLine(_name(part), part.alpha_energy, (photons + more) / sigma))
    return FoundElement(
        element,
        family.name,
        family.alpha_energy,
        photons * float(fit.design[:, place].sum()),
        significance,
        tuple(sorted(evidence, key=lambda e: -e.significance)),
    )


def _name(part: LineFamily) -> str:
    return visible_name(part.lines[0])


def _change_with_shift(fit: LineFit, family: LineFamily) -> np.ndarray:
    """Counts of one photon that a family 1 keV higher would have more; (channels,)."""
    of = fit.model
    model = SpectrumModel((family,), of.beam_energy, of.detector, 1, of.absorption)
    up, down = (
        model.line_columns(
            fit.spectrum.axis, replace(fit.calibration, shift=fit.calibration.shift + step)
        )[:, 0]
        for step in (_STEP, -_STEP)
    )
    return np.asarray((up - down) / (2 * _STEP))


def _further(fit: LineFit, column: np.ndarray) -> tuple[float, float]:
    """Amount of one more column beside a fit, and its standard deviation."""
    amount, covariance = beside(fit, column[:, None]).amounts([0])
    return float(amount[0]), float(np.sqrt(covariance[0, 0]))
