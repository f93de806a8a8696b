"""Which lines of which elements a fitted spectrum leaves unexplained."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.ndimage import maximum_filter1d
from scipy.sparse import csc_array

from siftem.energy_axis import EnergyAxis
from siftem.fit.line_evidence import LineDoubt, Peaks, SeenLine, line_doubt, peaks_of, seen_lines
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.xray.detector import Detector
from siftem.xray.elements import symbol_of
from siftem.xray.lines import LineFamily, family_emission, line_families

Asked = TypeVar("Asked")
Made = TypeVar("Made")
#: Noble gases, and elements without stable isotopes: not proposed.
_UNLIKELY = {"He", "Ne", "Ar", "Kr", "Xe", "Tc", "Pm", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Pa"}
#: From boron to uranium.
CANDIDATES = tuple(s for z in range(5, 93) if (s := symbol_of(z)) not in _UNLIKELY)

# Peaks are not exactly what the model says (satellites, tails, pile-up): within half a width
# of the window around a peak, this share of its height can't be told from a foreign line.
_MISFIT = 0.012
_MISFIT_REACH = 0.13  # keV
#: A family must be at least this share of what the softer families of its element ask for.
_CONSISTENT = {"K": 0.4, "L": 0.35, "M": 0.2}
#: Both sides are allowed this many standard deviations.
_REACH = 3.0
_CLEAR = 5.0


@dataclass(frozen=True)
class Scores:
    """How much of each family and each element the residual holds.

    Parameters
    ----------
    family : ndarray of shape (families,)
        Photons of each family, when it alone is added to the fit; of any sign.
    family_sigma : ndarray of shape (families,)
        Their standard deviations, misfit of the peaks included.
    significance : ndarray of shape (elements,)
        Standard deviations by which each element stands out: all its families together, in
        the ratios of a thin film, or its clearest one alone, whichever is more.
    """

    family: np.ndarray
    family_sigma: np.ndarray
    significance: np.ndarray


@dataclass(frozen=True, eq=False)
class Left:
    """What a fit leaves, and what could take it over.

    Parameters
    ----------
    residual : ndarray of shape (channels,)
        Counts less the fit.
    variance : ndarray of shape (channels,)
        Of the residual, errors of the model included.
    design : ndarray of shape (channels, p)
        Fitted columns, and ones for what is not known well.
    prior : ndarray of shape (p,)
        Inverse variance of each column's amplitude around the fit; 0 for free ones.
    """

    residual: np.ndarray
    variance: np.ndarray
    design: np.ndarray
    prior: np.ndarray
    # A search asks the same several times: with what was asked, so that its id stays its own.
    _known: dict[int, tuple[Any, Any]] = field(default_factory=dict, repr=False)

    def once(self, asked: Asked, make: Callable[[Asked], Made]) -> Made:
        """Return what is made of something beside this fit, made only once."""
        if id(asked) not in self._known:
            self._known[id(asked)] = asked, make(asked)
        made: Made = self._known[id(asked)][1]
        return made

    def of(self, columns: np.ndarray) -> np.ndarray:
        """Columns over the root of the variance, less what the design could take over."""
        seen = columns / np.sqrt(self.variance)[:, None]
        fitted, gram, _ = self._fitted
        return np.asarray(seen - fitted @ cho_solve(gram, fitted.T @ seen))

    def tested(
        self, columns: np.ndarray, mixed: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Products of what `of` returns, which is large, without it.

        Parameters
        ----------
        columns : ndarray of shape (channels, n)
        mixed : ndarray of shape (n, mixtures)
            Sums of columns that are asked for, too.

        Returns
        -------
        pull : ndarray of shape (n,)
            Product of each with the `pull`.
        length, mixed_length : ndarray of shape (n,) and (mixtures,)
            Sums of squares.
        """
        seen = columns / np.sqrt(self.variance)[:, None]
        fitted, gram, held = self._fitted
        cross = fitted.T @ seen
        inner = cho_solve(gram, cross)

        def length(s: np.ndarray, c: np.ndarray, i: np.ndarray) -> np.ndarray:
            # |s - F i|^2 with (F'F + held) i = c = F's
            return np.asarray((s**2).sum(axis=0) - (c * i + held[:, None] * i**2).sum(axis=0))

        return (
            seen.T @ self.pull - inner.T @ (fitted.T @ self.pull),
            length(seen, cross, inner),
            length(seen @ mixed, cross @ mixed, inner @ mixed),
        )

    def of_sparse(self, columns: csc_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Products as `tested` returns them, of columns that are zero nearly everywhere.

        Parameters
        ----------
        columns : csc_array of shape (channels, n)

        Returns
        -------
        pull, length : ndarray of shape (n,)
        alone : ndarray of shape (n,)
            Sums of squares of the columns over the root of the variance.
        """
        root = 1.0 / np.sqrt(self.variance)
        fitted, gram, held = self._fitted
        cross = (columns.T @ (fitted * root[:, None])).T
        inner = cho_solve(gram, cross)
        alone = columns.power(2).T @ root**2
        return (
            columns.T @ (root * self.pull) - inner.T @ (fitted.T @ self.pull),
            alone - (cross * inner + held[:, None] * inner**2).sum(axis=0),
            alone,
        )

    @cached_property
    def pull(self) -> np.ndarray:
        """The residual over the root of the variance; (channels,)."""
        return np.asarray(self.residual / np.sqrt(self.variance))

    @cached_property
    def _fitted(self) -> tuple[np.ndarray, tuple[np.ndarray, bool], np.ndarray]:
        fitted = self.design / np.sqrt(self.variance)[:, None]
        length = np.sqrt((fitted**2).sum(axis=0))
        length[length == 0] = 1.0  # a column of zeros takes nothing over
        fitted = fitted / length
        gram = fitted.T @ fitted
        held = 1e-9 + self.prior / length**2
        gram[np.diag_indices_from(gram)] += held
        return fitted, cho_factor(gram), held


class LineLibrary:
    """Profiles of the families of many elements on one axis.

    Parameters
    ----------
    candidates : sequence of str
    axis : EnergyAxis
    beam_energy : float
        keV.
    detector : Detector
    calibration : Calibration
    """

    def __init__(
        self,
        candidates: Sequence[str],
        axis: EnergyAxis,
        beam_energy: float,
        detector: Detector,
        calibration: Calibration,
    ) -> None:
        kev = axis.to_kev()
        found = line_families(candidates, beam_energy=beam_energy, low=kev.first, high=kev.last)
        self.families: tuple[LineFamily, ...] = tuple(
            f for f in found if kev.contains(f.alpha_energy)
        )
        self.elements = tuple(dict.fromkeys(f.element for f in self.families))
        model = SpectrumModel(self.families, beam_energy, detector, 1)
        self.profiles = model.line_columns(axis, calibration)
        self.emission = np.array([family_emission(f, beam_energy) for f in self.families])
        if self.emission.size:
            self.emission = self.emission / self.emission.max()
        self.owner = np.array([self.elements.index(f.element) for f in self.families], dtype=int)
        self._setting = axis, beam_energy, detector, calibration
        self._peaks: dict[str, Peaks] = {}
        self._doubt: dict[str, LineDoubt] = {}

    def of(self, element: str) -> np.ndarray:
        """Positions of the families of an element."""
        if element not in self.elements:
            return np.zeros(0, int)
        return np.flatnonzero(self.owner == self.elements.index(element))

    def clearest(self, element: str, scores: Scores) -> int:
        """Position of the family of an element that stands out most."""
        own = self.of(element)
        return int(own[np.argmax((scores.family / scores.family_sigma)[own])])

    def scores(self, left: Left) -> Scores:
        """Score test of each family and element against a fit.

        What the columns of the fit could take over does not count.
        """
        share = np.zeros((len(self.families), len(self.elements)))
        share[np.arange(len(self.families)), self.owner] = self.emission
        pull, length, together_length = left.tested(self.profiles, share)
        alone_length = (self.profiles**2 / left.variance[:, None]).sum(axis=0)
        own = np.maximum(length, 1e-3 * alone_length + 1e-30)
        of_element = np.maximum(together_length, 1e-30)
        together = (share.T @ pull) / np.sqrt(of_element)
        alone = np.full(len(self.elements), -np.inf)
        np.maximum.at(alone, self.owner, pull / np.sqrt(own))
        return Scores(pull / own, 1 / np.sqrt(own), np.maximum(together, alone))

    def doubt(self, element: str) -> LineDoubt:
        """What is not known of an element's lines."""
        if element not in self._doubt:
            axis, beam_energy, detector, calibration = self._setting
            own = tuple(self.families[i] for i in self.of(element))
            model = SpectrumModel(own, beam_energy, detector, 1)
            self._doubt[element] = line_doubt(model, axis, calibration)
        return self._doubt[element]

    def peaks(self, element: str) -> Peaks:
        """The resolved peaks of an element."""
        if element not in self._peaks:
            own = [self.families[i] for i in self.of(element)]
            self._peaks[element] = peaks_of(own, *self._setting)
        return self._peaks[element]

    def seen(
        self,
        element: str,
        left: Left,
        *,
        common: bool,
        lenient: bool = False,
        alone: bool = False,
    ) -> tuple[SeenLine, ...]:
        """Peaks of an element that the residual shows; none if it is not credible."""
        peaks = self.peaks(element)
        return seen_lines(
            peaks,
            left.pull,
            left.once(peaks.profiles, left.of),
            common=common,
            lenient=lenient,
            alone=alone,
        )

    def consistent(self, element: str, scores: Scores) -> bool:
        """Whether the lines of an element that should show in the residual do show."""
        own = self.of(element)
        return families_agree(
            [self.families[i] for i in own],
            self.emission[own],
            scores.family[own],
            scores.family_sigma[own],
        )

    def best(
        self,
        left: Left,
        passed_over: Container[str],
        significance: float,
        *,
        common: Container[str],
        most: int = 1,
        together: bool = True,
        lenient: bool = False,
        alone: bool = False,
    ) -> dict[str, tuple[SeenLine, ...]]:
        """Return the credible elements that stand out most, best first, with their peaks.

        Parameters
        ----------
        left : Left
        passed_over : set of str
            Elements that are not asked for.
        significance : float
            Standard deviations that an element must reach.
        common : set of str
            Elements that need not show more than one peak.
        most : int
            Number of elements at the most.
        together : bool
            Whether to take what stands out by far, when nothing else is left.
        lenient : bool
            Whether to take what stands out by far at once.
        alone : bool
            Whether to take common elements whose K alpha stands out by far without a K beta.
        """
        scores = left.once(self, lambda library: library.scores(left))
        z = scores.significance
        out: dict[str, tuple[SeenLine, ...]] = {}
        # Lines that lie on those of others not yet found look wrong: what stands out by far
        # counts by one peak, once nothing else is left.
        for mild in (True,) if lenient else (False, True) if together else (False,):
            for place in np.argsort(-z):
                if z[place] < significance or len(out) == most:
                    break
                element = self.elements[place]
                if element in passed_over or not self.consistent(element, scores):
                    continue
                usual = element in common
                seen = self.seen(element, left, common=usual, lenient=mild, alone=alone and usual)
                if seen:
                    out[element] = seen
            if out:
                break
        return out


def families_agree(
    families: Sequence[LineFamily], emission: np.ndarray, found: np.ndarray, sigma: np.ndarray
) -> bool:
    """Whether no family falls short of what the softer ones of its element ask for.

    Harder lines must show where softer ones are claimed: they are the least absorbed. The
    reverse does not hold: a grid in the beam's halo shows its K lines and hardly its L.

    Parameters
    ----------
    families : sequence of LineFamily
        Families of one element.
    emission : ndarray of shape (families,)
        Photons of each for an atom, in any common unit.
    found, sigma : ndarray of shape (families,)
        Photons that were found, and their standard deviation.
    """
    energies = np.array([f.alpha_energy for f in families])
    for hard, family in enumerate(families):
        for soft in np.flatnonzero(energies < energies[hard]):
            sure = found[soft] - _REACH * sigma[soft]
            asked = _CONSISTENT[family.shell[0]] * sure * emission[hard] / emission[soft]
            # A clear hard line is proof; what the soft one has too much is another's.
            clear = found[hard] > _CLEAR * sigma[hard]
            if not clear and found[hard] + _REACH * sigma[hard] < asked:
                return False
    return True


def residual_variance(
    mean: np.ndarray, lines: np.ndarray, axis: EnergyAxis, extra: np.ndarray | float = 0.0
) -> np.ndarray:
    """Variance of counts around a model whose peaks are not quite right; (channels,).

    Parameters
    ----------
    mean : ndarray of shape (channels,)
        Expected counts.
    lines : ndarray of shape (channels,)
        The lines' part of them.
    axis : EnergyAxis
    extra : ndarray or float
        Further variance, as of a subtracted matrix.
    """
    reach = 2 * round(_MISFIT_REACH / axis.to_kev().scale) + 1
    peaks = maximum_filter1d(np.maximum(lines, 0.0), max(reach, 1))
    return np.maximum(mean, 1e-6 * mean.max() + 1e-12) + (_MISFIT * peaks) ** 2 + extra
