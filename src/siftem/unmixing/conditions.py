"""Linear conditions on a grain, how much of each contaminant they leave, and errors of these.

Scales come from the same counts as the mixture they are subtracted from.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from siftem.errors import DoubtWarning, InputError
from siftem.fit.line_fit import LineFit
from siftem.spectrum import Spectrum
from siftem.xray.absorption import thin_film_absorption
from siftem.xray.k_factors import k_factor_uncertainty

#: A contaminant must fulfil a condition this badly (in sigma) for it to say anything.
_CLEAR = 3.0
_ROUNDS = 8
#: A film that an unknown one may be, and how unlike it may absorb two lines before that is told.
_FILM = {"thickness": 200.0, "density": 5.0}
_ANGLE, _UNLIKE = 22.0, 0.7


@dataclass(frozen=True)
class Condition:
    """What the photons of the grain fulfil: ``sum_e c_e I_e = 0``.

    Parameters
    ----------
    label : str
        What is assumed, for messages.
    coefficients : dict of str to float
        Element -> c, for emitted photons of the family that measures the element.
    change : dict of str to float
        Change of each c when what was assumed changes by one standard deviation.
    by_k : bool
        Whether the coefficients hold k-factors, whose uncertainty then counts.
    """

    label: str
    coefficients: dict[str, float]
    change: dict[str, float] = field(default_factory=dict)
    by_k: bool = False

    def on(self, fit: LineFit, coefficients: dict[str, float] | None = None) -> np.ndarray:
        """Return the coefficients on the amplitudes of a fit; (p,)."""
        row = np.zeros(len(fit.names))
        for element, c in (self.coefficients if coefficients is None else coefficients).items():
            row[fit.index(element)] += c
        return row


@dataclass(frozen=True)
class KnownScale:
    """A contaminant whose factor is known beforehand.

    Parameters
    ----------
    position : int
        Which contaminant.
    value, sigma : float
        Factor and its standard deviation.
    """

    position: int
    value: float
    sigma: float


@dataclass(frozen=True, eq=False)
class Scales:
    """Factors on the contaminants' spectra.

    Parameters
    ----------
    values : ndarray of shape (contaminants,)
        At least 0 where asked.
    covariance : ndarray of shape (contaminants, contaminants)
        From counting and from what was assumed.
    systematic : ndarray of shape (contaminants, contaminants)
        From the uncertainty of the k-factors in the conditions; apart.
    conflict : float
        With more conditions than contaminants, how many standard deviations the condition
        that fits worst is off; else 0.
    worst : str
        That condition.
    slopes : tuple of ndarray of shape (contaminants, channels)
        Change of the factors with the counts of the mixture, then of each contaminant, in
        the channels that were fitted; empty when no lines fixed them.
    assumed : ndarray of shape (contaminants, contaminants)
        The part of ``covariance`` that does not come from these counts.
    """

    values: np.ndarray
    covariance: np.ndarray
    systematic: np.ndarray
    conflict: float
    worst: str
    slopes: tuple[np.ndarray, ...] = ()
    assumed: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))


def warn_of_unknown_film(name: str, conditions: Sequence[Condition], fit: LineFit) -> None:
    """Tell when a condition compares lines that a film absorbs unlike, and no film is given.

    Parameters
    ----------
    name : str
        Of the grain.
    conditions : sequence of Condition
    fit : LineFit
        Of the mixture.
    """
    if fit.model.absorption is not None:
        return
    angle = fit.spectrum.acquisition.take_off_angle or _ANGLE
    for condition in conditions:
        if not condition.by_k:
            continue
        elements = list(condition.coefficients)
        families = [fit.model.families[fit.index(e)] for e in elements]
        energies = np.array([float(np.average(f.energies, weights=f.weights)) for f in families])
        seen = thin_film_absorption(
            dict.fromkeys(elements, 1.0), energies, take_off_angle=angle, **_FILM
        )
        if seen.min() < _UNLIKE * seen.max():
            less, more = int(seen.argmin()), int(seen.argmax())
            warnings.warn(
                f"{name}: '{condition.label}' compares {elements[less]} with {elements[more]}, of "
                f"which a film of {_FILM['thickness']:g} nm and {_FILM['density']:g} g/cm3 absorbs "
                f"{100 * (1 - seen[less]):.0f} and {100 * (1 - seen[more]):.0f}%: without its "
                f"absorption the scale may be off by as much",
                DoubtWarning,
                stacklevel=4,
            )


def solve_scales(
    mixture: LineFit,
    contaminants: Sequence[LineFit],
    conditions: Sequence[Condition],
    known: Sequence[KnownScale] = (),
) -> Scales:
    """Find the factors that make the grain fulfil the conditions.

    With photons ``I`` of the mixture and ``J_j`` of contaminant j, each condition c gives
    (unbounded ones: only these are linear in the counts, so that what is left of the mixture
    fulfils the conditions, too)
    ``c.I = sum_j a_j c.J_j``. They are solved for the ``a_j`` by generalised least squares
    with ``Var = c' Cov(I) c + sum_j a_j^2 c' Cov(J_j) c`` and what the uncertainty of
    the assumption adds. For one absent element and one contaminant this is
    ``a = I / J`` with ``Var a = a^2 (Var I / I^2 + Var J / J^2)``.

    Parameters
    ----------
    mixture : LineFit
    contaminants : sequence of LineFit
    conditions : sequence of Condition
    known : sequence of KnownScale

    Returns
    -------
    Scales

    Raises
    ------
    InputError
        With fewer conditions than contaminants, or when they can't tell the grain from a
        contaminant, or two contaminants from each other.
    """
    n = len(contaminants)
    if len(conditions) + len(known) < n:
        raise InputError(
            f"{n} spectra to subtract need at least as many conditions, got "
            f"{len(conditions) + len(known)}: give one anchor for each"
        )
    conditions = _clear_ones(conditions, contaminants, n - len(known))
    rows = np.array([c.on(mixture) for c in conditions]).reshape(len(conditions), -1)
    theirs = [
        np.array([c.on(fit) for c in conditions]).reshape(len(conditions), -1)
        for fit in contaminants
    ]
    left = rows @ mixture.unbounded
    right = np.array([t @ f.unbounded for t, f in zip(theirs, contaminants, strict=True)])
    right = right.reshape(n, len(conditions)).T
    own = rows @ mixture.covariance @ rows.T
    others = [t @ f.covariance @ t.T for t, f in zip(theirs, contaminants, strict=True)]
    pinned_rows = np.zeros((len(known), n))
    for i, k in enumerate(known):
        pinned_rows[i, k.position] = 1.0
    pinned = np.array([k.value for k in known])
    # An exact scale gets an error far below that of any counting. A still smaller one would
    # cost the other scales their digits.
    pinned_variance = np.array([max(k.sigma, 1e-6 * max(abs(k.value), 1.0)) ** 2 for k in known])
    a = np.vstack([right, pinned_rows])
    b = np.concatenate([left, pinned])
    values = np.zeros(n)
    m = len(conditions)
    for _ in range(_ROUNDS):
        v = np.zeros((a.shape[0], a.shape[0]))
        v[:m, :m] = own + sum(s**2 * o for s, o in zip(values, others, strict=True))
        v[:m, :m] += _assumed(conditions, mixture, contaminants, values)
        v[m:, m:] = np.diag(pinned_variance)
        root = np.sqrt(np.clip(np.diag(v), 1e-300, None))
        inverse = np.linalg.pinv(v / np.outer(root, root)) / np.outer(root, root)
        bread = _inverse_information(a.T @ inverse @ a)
        new = bread @ a.T @ inverse @ b
        settled = np.abs(new - values).max() <= 1e-10 * (1 + np.abs(new).max())
        values = new
        if settled:
            break
    operator = bread @ a.T @ inverse
    conflict, worst = _conflict(a, b, v, operator, values, conditions)
    by_k = _by_k(conditions, mixture, contaminants, values)
    systematic = operator[:, :m] @ by_k @ operator[:, :m].T
    by_conditions = operator[:, :m]
    slopes = [by_conditions @ rows @ mixture.operator]
    slopes += [
        -s * by_conditions @ t @ f.operator
        for s, t, f in zip(values, theirs, contaminants, strict=True)
    ]
    outside = np.zeros_like(v)
    outside[:m, :m] = _assumed(conditions, mixture, contaminants, values)
    outside[m:, m:] = np.diag([k.sigma**2 for k in known])
    assumed = operator @ outside @ operator.T
    return Scales(values, bread, systematic, conflict, worst, tuple(slopes), assumed)


def _grain(
    condition: Condition, mixture: LineFit, contaminants: Sequence[LineFit], values: np.ndarray
) -> dict[str, float]:
    """Photons of each element of a condition that the scales leave to the grain."""
    out = {}
    for element in condition.coefficients:
        photons = mixture.unbounded[mixture.index(element)]
        for fit, value in zip(contaminants, values, strict=True):
            photons -= value * fit.unbounded[fit.index(element)]
        out[element] = float(photons)
    return out


def _assumed(
    conditions: Sequence[Condition],
    mixture: LineFit,
    contaminants: Sequence[LineFit],
    values: np.ndarray,
) -> np.ndarray:
    """Variance of each condition from what was assumed; (m, m)."""
    out = np.zeros(len(conditions))
    for i, condition in enumerate(conditions):
        if condition.change:
            grain = _grain(condition, mixture, contaminants, values)
            out[i] = sum(condition.change.get(e, 0.0) * g for e, g in grain.items()) ** 2
    return np.diag(out)


def _by_k(
    conditions: Sequence[Condition],
    mixture: LineFit,
    contaminants: Sequence[LineFit],
    values: np.ndarray,
) -> np.ndarray:
    """Covariance of the conditions from k-factors, which all of them share; (m, m)."""
    elements = list(dict.fromkeys(e for c in conditions for e in c.coefficients))
    moves = np.zeros((len(conditions), len(elements)))
    for i, condition in enumerate(conditions):
        if not condition.by_k:
            continue
        for element, grain in _grain(condition, mixture, contaminants, values).items():
            shell = mixture.model.families[mixture.index(element)].shell
            moves[i, elements.index(element)] = (
                condition.coefficients[element] * grain * k_factor_uncertainty(shell)
            )
    return moves @ moves.T


def _clear_ones(
    conditions: Sequence[Condition], contaminants: Sequence[LineFit], needed: int
) -> list[Condition]:
    """Return the conditions that a contaminant does not fulfil itself: others say nothing."""
    clear: list[Condition] = []
    empty: list[Condition] = []
    for condition in conditions:
        rows = [(condition.on(fit), fit) for fit in contaminants]
        told = any(
            abs(row @ fit.unbounded) > _CLEAR * np.sqrt(max(row @ fit.covariance @ row, 0.0))
            for row, fit in rows
        )
        (clear if told else empty).append(condition)
    if empty and len(clear) < needed:
        raise InputError(
            f"what is subtracted fulfils '{empty[0].label}' itself within its errors, "
            f"so this can't tell it from the grain: choose another anchor"
        )
    return clear


def _inverse_information(information: np.ndarray) -> np.ndarray:
    scale = np.sqrt(np.clip(np.diag(information), 1e-300, None))
    values = np.linalg.eigvalsh(information / np.outer(scale, scale))
    if values[0] < 1e-9 * values[-1]:
        raise InputError(
            "the anchors can't tell the spectra that are subtracted from each other: "
            "choose one on which they differ"
        )
    return np.linalg.inv(information)


def _conflict(
    a: np.ndarray,
    b: np.ndarray,
    v: np.ndarray,
    operator: np.ndarray,
    values: np.ndarray,
    conditions: Sequence[Condition],
) -> tuple[float, str]:
    if a.shape[0] <= a.shape[1]:
        return 0.0, ""
    keep = np.eye(a.shape[0]) - a @ operator
    spread = np.sqrt(np.clip(np.diag(keep @ v @ keep.T), 0.0, None))
    usable = spread > 1e-9 * np.sqrt(np.diag(v))
    off = np.where(usable, np.abs(b - a @ values) / np.where(usable, spread, 1.0), 0.0)
    worst = int(np.argmax(off))
    label = conditions[worst].label if worst < len(conditions) else "given scale"
    return float(off[worst]), label


def scale_covariance(
    found: Scales, mixture: Spectrum, contaminants: Sequence[Spectrum], window: slice
) -> np.ndarray:
    """Covariance of the factors by the noise of all counts and by what was assumed; (n, n).

    Parameters
    ----------
    found : Scales
    mixture : Spectrum
    contaminants : sequence of Spectrum
        The n spectra.
    window : slice
        Channels of the fits.
    """
    if not found.slopes:
        return found.covariance
    total = found.assumed.copy()
    for slopes, s in zip(found.slopes, (mixture, *contaminants), strict=True):
        total += (slopes * s.variance[window]) @ slopes.T
        for part, sign in ((s.modes, 1.0), (s.pinned, -1.0)):
            common = slopes @ part[:, window].T
            total += sign * common @ common.T
    return np.asarray((total + total.T) / 2)


def common_modes(
    found: Scales,
    covariance: np.ndarray,
    mixture: Spectrum,
    contaminants: Sequence[Spectrum],
    window: slice,
) -> tuple[np.ndarray, np.ndarray]:
    """Modes that the factors add to what is left of the mixture, and those they pin.

    What is left moves by ``dS = dM - sum_j a_j dT_j - T' da``. With the independent noise
    ``v`` of the first terms, C the covariance of the factors and U theirs with that noise,

        Cov S = diag(v) + T'CT - T'U - U'T = diag(v) + A'A - B'B,
        A = R T - B,  B = R^-T U,  C = R'R.

    Parameters
    ----------
    found : Scales
    covariance : ndarray of shape (n, n)
        C.
    mixture : Spectrum
    contaminants : sequence of Spectrum
        The n spectra.
    window : slice
        Channels of the fits.

    Returns
    -------
    modes, pinned : ndarray of shape (n, channels)
        A and B.
    """
    shapes = np.array([c.values for c in contaminants])
    shared = np.zeros_like(shapes)
    factors = [1.0, *(-found.values)]
    if found.slopes:
        for slopes, factor, s in zip(found.slopes, factors, (mixture, *contaminants), strict=True):
            shared[:, window] += factor * slopes * s.variance[window]
            shared += factor * (slopes @ s.modes[:, window].T) @ s.modes
            shared -= factor * (slopes @ s.pinned[:, window].T) @ s.pinned
    root, inverse = _roots(covariance)
    pinned = inverse @ shared
    return root @ shapes - pinned, pinned


def _roots(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return R with ``R' R = covariance`` and its inverse transposed; (n, n) each.

    Along directions without variance both are zero.
    """
    scale = np.sqrt(np.clip(np.diag(covariance), 1e-300, None))
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    clear = values > 1e-10
    root = np.sqrt(np.where(clear, values, 0.0))
    inverse = np.where(clear, 1 / np.where(clear, root, 1.0), 0.0)
    return root[:, None] * vectors.T * scale, inverse[:, None] * vectors.T / scale
