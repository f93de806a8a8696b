"""How elements that are not there scatter beside a fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from siftem.fit.line_evidence import FoundElement
from siftem.fit.line_search import CANDIDATES
from siftem.fit.poisson import covariance_of
from siftem.fit.propagation import LineFit, variance_of
from siftem.fit.spectrum_model import SpectrumModel, quantified_family
from siftem.xray.elements import atomic_number
from siftem.xray.lines import line_families

#: An element of whose lines the fitted ones can take over more than this share is none to
#: test with: it could stand for them.
_HIDDEN = 0.8
#: Softer lines are hardly counted.
_SOFTEST = 0.4
#: From this scatter on the errors are not to be believed.
WIDE = 1.5


@dataclass(frozen=True)
class NullElements:
    """How elements that are absent scatter.

    Parameters
    ----------
    z : mapping of str to float
        Amount over its error, of each element by itself; normal with a width of one if the
        errors are true.
    contaminants : tuple of FoundElement
        What was not listed, was found to be there, and was fitted with the rest.
    """

    z: Mapping[str, float]
    contaminants: tuple[FoundElement, ...] = ()

    def __repr__(self) -> str:
        return f"<NullElements: {self.describe()}>"

    @property
    def rms(self) -> float:
        """Root mean square of z: 1 if the errors are true, more if they are too small."""
        return float(np.sqrt(np.mean(np.square(self._values)))) if self.z else float("nan")

    @property
    def beyond_two(self) -> float:
        """Share of the elements beyond two standard deviations; 5% if the errors are true."""
        return float(np.mean(np.abs(self._values) > 2)) if self.z else float("nan")

    @property
    def worst(self) -> tuple[str, ...]:
        """The elements, those farthest off first."""
        return tuple(sorted(self.z, key=lambda e: -abs(self.z[e])))

    @property
    def _values(self) -> np.ndarray:
        return np.array(list(self.z.values()), dtype=float)

    def describe(self) -> str:
        """Say it in a few words."""
        if not self.z:
            return "no absent element has a line of its own here"
        there = ", ".join(f"{f.line} {f.significance:.1f} sigma" for f in self.contaminants)
        farthest = ", ".join(f"{e} {self.z[e]:+.1f}" for e in self.worst[:3])
        return (
            f"{f'not listed but there: {there}; ' if there else ''}"
            f"{len(self.z)} absent elements scatter by {self.rms:.1f} sigma, "
            f"{100 * self.beyond_two:.0f}% beyond two (farthest {farthest})"
        )


def null_scatter(fit: LineFit, candidates: Sequence[str] = CANDIDATES) -> NullElements:
    """Return how absent elements scatter about zero beside a fit.

    All that was fitted gives way to each element, the response and the misfit as well.

    Parameters
    ----------
    fit : LineFit
    candidates : sequence of str
        What to try. Left out are elements that are fitted, those without a line of their own in
        the range, and those whose lines coincide with fitted ones.

    Returns
    -------
    NullElements
    """
    for element in candidates:
        atomic_number(element)
    model, axis = fit.model, fit.spectrum.axis
    kev = axis.to_kev()
    known = {f.element for f in model.families} | set(fit.dropped)
    families = line_families(
        [e for e in candidates if e not in known],
        beam_energy=model.beam_energy, low=kev.first, high=kev.last,
    )  # fmt: skip
    if not families:
        return NullElements({})
    lines = SpectrumModel(
        tuple(families), model.beam_energy, model.detector, 1, model.absorption
    ).line_columns(axis, fit.calibration)
    found = beside(fit, lines)
    out = {}
    for element in dict.fromkeys(f.element for f in families):
        at = [i for i, f in enumerate(families) if f.element == element]
        family = quantified_family([families[i] for i in at], element, axis)
        if family is None or family.alpha_energy < _SOFTEST:
            continue
        place = at.index(families.index(family))
        lead = at[place]
        if not found.information[lead, lead] > (1.0 - _HIDDEN) * found.alone[lead]:
            continue
        amount, covariance = found.amounts(at)
        if covariance[place, place] > 0:  # what an anchor pins has no error left
            out[element] = float(amount[place] / np.sqrt(covariance[place, place]))
    return NullElements(out)


@dataclass(frozen=True, eq=False)
class Beside:
    """What a spectrum tells of further columns beside a fit.

    Parameters
    ----------
    information : ndarray of shape (n, n)
        With the variances that the fit weighed the channels by.
    pull : ndarray of shape (n,)
    alone : ndarray of shape (n,)
        What it would tell of each column if nothing had been fitted.
    spread : ndarray of shape (n, n)
        Covariance of the pull with all errors of the spectrum.
    """

    information: np.ndarray
    pull: np.ndarray
    alone: np.ndarray
    spread: np.ndarray

    def amounts(self, at: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Amounts of some columns, added together to the fit, and their covariance."""
        block = np.ix_(at, at)
        inverse = covariance_of(self.information[block])
        return inverse @ self.pull[at], inverse @ self.spread[block] @ inverse


def beside(fit: LineFit, columns: np.ndarray) -> Beside:
    """Return what a spectrum tells of further columns beside a fit.

    All that was fitted gives way to them, the response and the misfit as well.

    Parameters
    ----------
    fit : LineFit
    columns : ndarray of shape (channels, n)

    Returns
    -------
    Beside
    """
    own, spectrum = np.hstack([fit.design, fit.slopes]), fit.spectrum
    p = own.shape[1]
    mean = np.maximum(fit.mean, 1e-9)
    weighted, information = fit.misfit.eliminated(np.hstack([own, columns]), 1.0 / mean)
    inner = covariance_of(information[:p, :p] + fit.precision)
    cross, among = information[p:, :p], information[p:, p:]
    left = among - cross @ inner @ cross.T
    # The fit is at its optimum within bounds: it is the new columns alone that are pulled.
    pull = weighted[:, p:].T @ (spectrum.counts - fit.mean)
    rows = weighted[:, p:] - weighted[:, :p] @ (inner @ cross.T)
    further = variance_of(spectrum, mean) - mean if spectrum.variance.any() else -mean
    common, pinned = spectrum.modes @ rows, spectrum.pinned @ rows
    spread = left + (rows * further[:, None]).T @ rows + common.T @ common - pinned.T @ pinned
    return Beside(left, pull, np.diag(among), spread)
