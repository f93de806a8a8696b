"""How large the errors of a model are: what likelihood and all sizes together say of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Sizes (relative errors) that are tried, and typical sizes of a spectrum.
_SIZES = np.geomspace(1e-4, 1.0, 200)
_TYPICAL = np.geomspace(1e-3, 1e-1, 25)
#: Models fail in places: a size there is distributed by so many times the typical one.
_WIDER = 2.0


def size_likelihood(
    share: np.ndarray, pull: np.ndarray, known: np.ndarray, total: np.ndarray
) -> np.ndarray:
    """Log likelihood of sizes whose square is a share, as of ``known * total^2`` equal bumps.

    Parameters
    ----------
    share : ndarray of shape (bumps,)
        Where slope and curvature are taken.
    pull, known : ndarray of shape (bumps,)
        Twice the slope of the log likelihood of the share there, and twice its curvature.
    total : ndarray of shape (bumps,)
        Variance of what the bumps show, noise included, in units of a share.

    Returns
    -------
    ndarray of shape (sizes, bumps)
        Zero at its maximum.
    """
    noise = np.maximum(total - share, 0.0)
    ratio = np.maximum(noise + _SIZES[:, None] ** 2, 1e-300) / np.maximum(total, 1e-300)
    log = -0.5 * (known * total**2 * (np.log(ratio) + 1.0 / ratio) + pull * total / ratio)
    return np.asarray(log - log.max(axis=0))


def mean_shares(told: Sequence[tuple[np.ndarray, float]]) -> list[np.ndarray]:
    """Means of shares, which are exponentially distributed by a typical size of the spectrum's own.

    All orders of magnitude of the typical size are as likely before all likelihoods together tell
    it. So a model that is true is found to be true by all bumps, though none by itself can exclude
    large errors; one that errs by a percent is expected to do so where few channels tell. What a
    typical size says of one that changes from place to place is taken with reserve (`_WIDER`).

    Parameters
    ----------
    told : sequence of (ndarray of shape (sizes, bumps), float)
        Log likelihoods, and how many of their columns say the same: one where sizes do not change
        from place to place.

    Returns
    -------
    list of ndarray of shape (bumps,)

    References
    ----------
    Gelman 2006, Bayesian Anal. 1, 515 (sizes that share a scale).
    """
    evidence, means = np.zeros(_TYPICAL.size), []
    for log, alike in told:
        likelihood = np.exp(log)
        # Large sizes are impossible by small typical ones, down to zeros.
        mass = np.maximum(_prior(1.0) @ likelihood, 1e-300)
        evidence = evidence + np.log(mass).sum(axis=1) / alike
        prior = _prior(_WIDER if alike > 1 else 1.0)
        found = (prior * _SIZES**2) @ likelihood
        means.append(found / np.maximum(prior @ likelihood, 1e-300))
    weight = np.exp(evidence - evidence.max())
    return [weight / weight.sum() @ mean for mean in means]


def _prior(wider: float) -> np.ndarray:
    """Distribution of sizes, for even steps of their logarithm; (typical, sizes)."""
    share = (_SIZES / (wider * _TYPICAL[:, None])) ** 2
    return np.asarray(share * np.exp(-0.5 * share))
