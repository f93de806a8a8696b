"""Listed elements that may stand for another one, which nobody lists and whose lines lie there.

A fit can only give a peak to what it holds: Ni of a holder is Yb to a fit that holds Yb alone, and
Co of a pole piece Er, with errors that are true of a line and say nothing of whose it is.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np

from siftem.errors import DoubtWarning
from siftem.fit.greedy_search import COMMON
from siftem.fit.line_search import CANDIDATES
from siftem.fit.null_elements import GivingWay
from siftem.fit.propagation import LineFit
from siftem.fit.spectrum_model import SpectrumModel, quantified_family
from siftem.xray.lines import line_families

#: An element that stands out by so many standard deviations is asked whether it is another one; it
#: may be if it stands out by less than this beside a common one.
_SEEN, _NOT_NEEDED = 3.0, 2.0
#: The same for what is rarely met.
_SEEN_BY_RARE, _NOT_BESIDE_RARE = 6.0, 1.0
#: Of what a column tells by itself, less than this share is told beside the fit by rounding.
_LEAST = 1e-6


@dataclass(frozen=True)
class StandIn:
    """A fitted element whose peaks another one would explain as well.

    Parameters
    ----------
    line : str
        Of the fitted one, such as "Yb L".
    energy : float
        keV.
    significance : float
        Amount over its error as fitted.
    other : str
        What it may be, such as "Ni K".
    left : ndarray of shape (p,)
        Amplitudes of all columns of the fit when so much of the other is there that none is left of
        the fitted one.
    """

    line: str
    energy: float
    significance: float
    other: str
    left: np.ndarray = field(compare=False, repr=False)

    def __str__(self) -> str:
        seen = f"{self.energy:.2f} keV, {self.significance:.1f} sigma"
        return f"{self.line} ({seen}) may be {self.other}"


def stand_ins(fit: LineFit) -> tuple[StandIn, ...]:
    """Find elements that are not needed beside another one that was not fitted.

    With that one free as well, in the ratios of its lines, they stand out by less than two standard
    deviations (by less than one beside what is rarely met): by so much the spectrum tells the two
    apart.

    Parameters
    ----------
    fit : LineFit

    Returns
    -------
    tuple of StandIn
        Of the listed elements, not of the support.
    """
    model, axis = fit.model, fit.spectrum.axis
    kev = axis.to_kev()
    listed = tuple(dict.fromkeys(f.element for f in model.families))
    every = line_families(
        sorted(set(CANDIDATES) - set(listed)),
        beam_energy=model.beam_energy, low=kev.first, high=kev.last,
    )  # fmt: skip
    leads = (quantified_family(every, e, axis) for e in dict.fromkeys(f.element for f in every))
    others = tuple(f for f in leads if f is not None)
    if not others:
        return ()
    lines = SpectrumModel(
        others, model.beam_energy, model.detector, 1, model.absorption
    ).line_columns(axis, fit.calibration)
    beside = GivingWay.of(fit).beside(lines)
    left = np.maximum(np.diag(beside.information), _LEAST * beside.alone)
    taken, amounts = beside.taken, beside.pull / left
    common = np.array([f.element in COMMON for f in others])
    found = []
    for element in listed:
        main = quantified_family(model.families, element, axis)
        if main is None or element in model.thick:
            continue
        i = fit.index(element)
        photons, variance = fit.unbounded[i], fit.covariance[i, i] - fit.ratio_covariance[i, i]
        significance = float(photons / np.sqrt(max(variance, 1e-300)))
        if significance < _SEEN:
            continue
        less = photons - taken[i] * amounts
        z = less / np.sqrt(variance + taken[i] ** 2 / left)
        rare = _NOT_BESIDE_RARE if significance > _SEEN_BY_RARE else -np.inf
        beyond = z - np.where(common, _NOT_NEEDED, rare)
        best = int(np.argmin(beyond))
        if beyond[best] < 0:
            # What is left of it beside the other is nothing within errors.
            whole = fit.unbounded - taken[: fit.unbounded.size, best] * (photons / taken[i, best])
            found.append(
                StandIn(main.name, main.alpha_energy, significance, others[best].name, whole)
            )
    return tuple(found)


def warn_of_stand_ins(fit: LineFit, name: str = "", *, stacklevel: int = 3) -> None:
    """Warn of elements that may be others which are in no list.

    Parameters
    ----------
    fit : LineFit
    name : str
        Of the spectrum, by default its own.
    stacklevel : int
        As of `warnings.warn`.

    Warns
    -----
    DoubtWarning
    """
    found = stand_ins(fit)
    if found:
        warnings.warn(
            f"{name or fit.spectrum.name or 'the spectrum'}: {', '.join(map(str, found))}, in no "
            f"list, whose lines explain it as well: name that as an element or as support to see "
            f"what is left",
            DoubtWarning,
            stacklevel=stacklevel,
        )
