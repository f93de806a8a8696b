"""Peaks that a fit leaves, one by one, and the elements whose lines they may be.

Unlike a search for elements this needs no element that explains all that is left: a peak without
one is told, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.sparse import csc_array

from siftem.fit.greedy_search import COMMON, left_of, smooth_columns
from siftem.fit.line_evidence import line_doubt
from siftem.fit.line_search import CANDIDATES, Left, LineLibrary, residual_variance
from siftem.fit.propagation import LineFit
from siftem.fit.spectrum_model import Calibration
from siftem.xray.lines import visible_name
from siftem.xray.response import pile_up

#: A peak is told from this many standard deviations on, errors of peaks' shapes among them, ...
_CLEAR = 8.0
#: ... if it stands this far (share) above what the model expects there, and holds this share of all
#: counts: what is fainter hardly moves a composition.
_LARGE, _OF_ALL = 0.03, 3e-4
#: Softer (keV), windows and the ends of spectra differ from detector to detector.
_SOFTEST = 0.35
#: Peaks at the most, and elements named for each.
_MOST, _NAMED = 6, 3
#: Places that are tried in a peak's full width at half maximum.
_PLACES = 6
#: What is this many times as wide as a line is none.
_WIDE = 2.0
#: Standard deviations to both sides beyond which nothing of a line is left.
_REACH = 6.0
#: Peaks this near each other, in widths, are told as one.
_ITS_OWN = 1.5
#: An element's strongest line lies this near to its peak, as a share of the resolution.
_NEAR = 0.3


@dataclass(frozen=True)
class Candidate:
    """An element that a peak may be of.

    Parameters
    ----------
    element : str
    line : str
        Family whose strongest line lies there, such as "Ca K".
    hidden : str
        Which of its other lines does not show, such as "K beta"; empty if all do.
    """

    element: str
    line: str
    hidden: str = ""

    def __str__(self) -> str:
        return f"{self.line}, whose {self.hidden} does not show" if self.hidden else self.line


@dataclass(frozen=True)
class PeakLeft:
    """A peak that no fitted element explains.

    Parameters
    ----------
    energy : float
        keV, as the axis reads.
    significance : float
        Counts over their standard deviation, in which peaks are not quite what the model says.
    excess : float
        Counts over a peak's width, as a share of what the model expects there.
    candidates : tuple of Candidate
        Likeliest first; none where no strong line of an element lies.
    """

    energy: float
    significance: float
    excess: float
    candidates: tuple[Candidate, ...]

    def __str__(self) -> str:
        likely = " or ".join(str(c) for c in self.candidates)
        return (
            f"at {self.energy:.2f} keV ({self.significance:.0f} sigma, {100 * self.excess:+.0f}%; "
            f"{'may be ' + likely if likely else 'no strong line of an element lies there'})"
        )


def peaks_left(fit: LineFit) -> tuple[PeakLeft, ...]:
    """Find the peaks in the residual of a fit that none of its elements explains.

    Only what is as narrow as a line counts, and what neither a bent continuum, sum and escape
    peaks, tails, ratios of lines nor the energy scale and resolution could make.

    Parameters
    ----------
    fit : LineFit

    Returns
    -------
    tuple of PeakLeft
        Most significant first.
    """
    residual = _Residual.of(fit)
    found: list[int] = []
    named: list[tuple[Candidate, ...]] = []
    added = np.zeros((fit.mean.size, 0))
    while len(found) < _MOST:
        left = residual.beside(added)
        place = residual.clearest(left, found)
        if place is None:
            break
        likely, columns = residual.likely(left, place)
        added = np.hstack([added, residual.lines[:, [place]].toarray(), columns])
        found.append(place)
        named.append(likely)
    return residual.told(found, named)


@dataclass(frozen=True, eq=False)
class _Residual:
    """What a fit leaves, and lines at all places."""

    fit: LineFit
    variance: np.ndarray
    #: What else could be where the residual is; what of it is known beforehand.
    design: np.ndarray
    doubt: np.ndarray
    #: Of each place, keV: by the fitted scale, and as the axis reads.
    energies: np.ndarray
    read: np.ndarray
    width: np.ndarray
    #: One count each; (channels, places).
    lines: csc_array
    wide: csc_array

    @classmethod
    def of(cls, fit: LineFit) -> _Residual:
        counts, axis, model = fit.spectrum.counts, fit.spectrum.axis, fit.model
        extra = np.maximum(np.asarray(fit.spectrum.variance) - counts, 0.0)
        # What is not explained counts by the data: a model that knows less would else see more.
        mean = np.maximum(fit.mean, uniform_filter1d(counts, 5))
        peaks = mean - fit.continuum - fit.spectrum.background
        true = fit.calibration.true_energies(axis)
        design = [
            fit.design,
            fit.slopes,
            smooth_columns(fit.continuum, axis),
            pile_up(counts, axis, energies=true),
        ]
        detector = replace(model.detector, resolution=fit.calibration.resolution)
        places = [max(_SOFTEST, float(true[0]))]
        while places[-1] < true[-1]:
            places.append(places[-1] + 1e-3 * float(detector.fwhm(places[-1])) / _PLACES)
        energies = np.array(places[1:-1])
        sigma = detector.sigma(energies)
        return cls(
            fit,
            residual_variance(mean, peaks, axis, extra),
            np.hstack(design),
            line_doubt(model, axis, fit.calibration).columns(fit.amplitudes[: len(model.families)]),
            energies,
            np.interp(energies, true, axis.to_kev().centers),
            1e-3 * detector.fwhm(energies),
            _gaussians(true, energies, sigma),
            _gaussians(true, energies, _WIDE * sigma),
        )

    def beside(self, added: np.ndarray) -> Left:
        """What is left beside columns that were added."""
        rest = self.fit.spectrum.counts - self.fit.mean
        return left_of(rest, self.variance, np.hstack([self.design, added]), self.doubt)

    def clearest(self, left: Left, found: Sequence[int]) -> int | None:
        """Place of the clearest line away from those found; None where none is clear and narrow."""
        z, counts = _scores(left, self.lines)
        clear = (z > _CLEAR) & self._large(counts)
        if clear.any():
            clear &= z > _scores(left, self.wide)[0]
        for place in found:
            # What a line leaves there is of its own shape.
            clear &= np.abs(self.energies - self.energies[place]) > _ITS_OWN * self.width[place]
        return int(np.argmax(np.where(clear, z, 0.0))) if clear.any() else None

    def likely(self, left: Left, place: int) -> tuple[tuple[Candidate, ...], np.ndarray]:
        """Candidates for a line, and the profiles of the first one's lines if all agree.

        Missing elements can spoil the energy scale: what the axis reads is asked as well.
        """
        near = _NEAR * self.width[place]
        found = []
        for library, energy in zip(self.libraries, (self.energies, self.read), strict=False):
            found += _likely(library, left, float(energy[place]), near)
        found.sort(key=lambda one: one.order)
        best: dict[str, Candidate] = {}
        for one in found:
            best.setdefault(one.candidate.line, one.candidate)
        named = tuple(best.values())[:_NAMED]
        columns = found[0].profiles if named and not named[0].hidden else left.design[:, :0]
        return named, columns

    @cached_property
    def libraries(self) -> list[LineLibrary]:
        """Lines by the fitted scale, and by what the axis reads where that is elsewhere."""
        fit = self.fit
        scales = [fit.calibration]
        if (np.abs(self.read - self.energies) > 0.5 * _NEAR * self.width).any():
            scales.append(Calibration(resolution=fit.calibration.resolution))
        axis, model = fit.spectrum.axis, fit.model
        known = {f.element for f in model.families}
        elements = [e for e in CANDIDATES if e not in known]
        return [LineLibrary(elements, axis, model.beam_energy, model.detector, c) for c in scales]

    def _large(self, counts: np.ndarray) -> np.ndarray:
        return (self._excess(counts) > _LARGE) & (
            counts > _OF_ALL * float(self.fit.spectrum.counts.sum())
        )

    def _excess(self, counts: np.ndarray) -> np.ndarray:
        return np.asarray(counts * self._share)

    @cached_property
    def _share(self) -> np.ndarray:
        """What one count more is of what is expected, by a line's shape; (places,)."""
        under = np.maximum(self.lines.T @ self.fit.closest, 1e-9)
        return np.asarray(self.lines.power(2).sum(axis=0) / under)

    def told(
        self, found: Sequence[int], named: Sequence[tuple[Candidate, ...]]
    ) -> tuple[PeakLeft, ...]:
        """The peaks that are still clear beside each other, most significant first."""
        out = []
        for place, likely in zip(found, named, strict=True):
            others = self.lines[:, [p for p in found if p != place]].toarray()
            z, counts = _scores(self.beside(others), self.lines)
            if z[place] > _CLEAR and self._large(counts)[place]:
                energy, excess = float(self.read[place]), float(self._excess(counts)[place])
                out.append(PeakLeft(energy, float(z[place]), excess, likely))
        return tuple(sorted(out, key=lambda p: -p.significance))


def _gaussians(true: np.ndarray, energies: np.ndarray, sigma: np.ndarray) -> csc_array:
    """Gaussians of one count at some energies, on channels of these energies; (channels, n)."""
    reach = _REACH * sigma
    # Channels that far away round off: a line holds one more to each side.
    first = np.maximum(np.searchsorted(true, energies - reach) - 1, 0)
    last = np.minimum(np.searchsorted(true, energies + reach) + 1, true.size)
    starts = np.concatenate([[0], np.cumsum(last - first)])
    line = np.repeat(np.arange(energies.size), last - first)
    channel = np.arange(starts[-1]) + np.repeat(first - starts[:-1], last - first)
    values = np.exp(-0.5 * ((true[channel] - energies[line]) / sigma[line]) ** 2)
    values /= np.bincount(line, values, minlength=energies.size)[line]
    return csc_array((values, channel, starts), shape=(true.size, energies.size))


def _scores(left: Left, columns: csc_array) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations by which each column alone stands out, and its counts."""
    pull, length, alone = left.of_sparse(columns)
    # What the design could take over as well as not is not seen.
    length = np.maximum(length, 1e-2 * alone)
    return pull / np.sqrt(length), pull / length


class _Likely(NamedTuple):
    """A candidate, its place among others, and the profiles of its element's lines."""

    order: tuple[int, float]
    candidate: Candidate
    profiles: np.ndarray


def _likely(library: LineLibrary, left: Left, energy: float, near: float) -> list[_Likely]:
    """Elements whose strongest line is near an energy; in order those whose other lines agree.

    A K alpha line of a common element is named even where its K beta must show and does not: the
    peak is there, and whoever made the spectrum may have known one line for each element.
    """
    out: list[_Likely] = []
    if not any(abs(f.alpha_energy - energy) < near for f in library.families):
        return out
    scores = library.scores(left)
    for family in library.families:
        element, away = family.element, abs(family.alpha_energy - energy)
        if away > near:
            continue
        common = element in COMMON
        agrees = library.consistent(element, scores)
        seen = library.seen(element, left, common=common, lenient=True) if agrees else ()
        beta = any(visible_name(p.lines[0]) == "Kb" for p in library.peaks(element).parts)
        hidden = family.shell == "K" and beta and all(s.name != "Kb" for s in seen)
        if not seen and not (common and hidden):
            continue
        order = (2 if not seen else 0) if common else (1 if len(seen) > 1 else 3)
        one = Candidate(element, family.name, "K beta" if hidden else "")
        out.append(_Likely((order, away), one, library.profiles[:, library.of(element)]))
    return out
