"""Poisson (Kullback-Leibler) NMF of sparse counts as a scikit-learn estimator."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from siftem.decomposition import solver
from siftem.decomposition.poisson_fit import PoissonFit
from siftem.decomposition.solver_rows import solver_rows
from siftem.large.rows_of_counts import BlockedCounts
from siftem.sparse_rows import checked_rows


class PoissonNMF(PoissonFit, TransformerMixin, BaseEstimator):
    """Non-negative factorisation of counts by maximum Poisson likelihood.

    Finds ``weights`` (pixels x components) and ``components_`` (components x channels),
    both non-negative, that minimise ``sum(mean - y ln mean)`` with
    ``mean = weights @ components_``. Only the stored (non-zero) counts are visited, in one
    copy, with one pass for both factors.

    The likelihood alone does not fix the answer: spectra can be sheared along each other
    at no cost as long as nothing becomes negative. See `siftem.decompose` for an answer
    that is chosen, and `siftem.decomposition.identify` for how far it is fixed.

    Parameters
    ----------
    n_components : int
        Number of components.
    init : {"vertices", "random"}
        "vertices" takes the most extreme blocks of pixels as first spectra.
    n_init : int
        Number of starts, worked on in parallel; the best likelihood is kept. Starts after
        the first draw their vertices at random.
    map_shape : tuple of int, optional
        (ny, nx) of the map whose pixels are the rows: the start then pools square blocks of
        neighbours and is refined from coarse to fine. Without it, runs of consecutive rows
        are pooled.
    max_iter : int
        Sweeps at the most; a warning says when they did not suffice.
    tol : float
        Stop when a sweep lowers the objective by less than ``tol`` times half the deviance,
        and the next step of the spectra is expected to gain no more.
    n_passes : int
        Newton steps on each row within a sweep.
    extrapolate : bool
        Speed up by running ahead along the last change.
    dtype : {"float64", "float32"}
        Precision of the factors.
    fixed_spectra : mapping of int to ndarray of shape (n_features,), optional
        Known spectra by component, e.g. ``{0: matrix}``; used up to scale.
    support : ndarray of bool, shape (n_samples, n_components), optional
        Where a component may be present.
    n_jobs : int, optional
        Threads; None and -1 mean all processors. The answer does not depend on it.
    random_state : int, RandomState, Generator or None
        Seed of the start. None is treated as 0: the default is reproducible.
    checkpoint : Checkpoint, optional
        Keeps the state of ``fit`` on disk (see `siftem.io.fit_checkpoint`), so that a killed
        fit goes on where it was. For one start only.
    progress : callable, optional
        Called as ``progress(step, fraction)``; raise from it to stop.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Spectra, each summing to one; weights are therefore counts.
    n_iter_ : int
        Sweeps of the best start, on the full data.
    converged_ : bool
        Whether it stopped by ``tol``.
    reconstruction_err_ : float
        Square root of the Poisson deviance (twice the KL divergence), as in scikit-learn.
    deviance_ : float
        Poisson deviance ``2 sum(y ln(y/mean) - y + mean)``.
    relative_decrease_ : float
        Gain of the last sweep over half the deviance.
    kkt_ : float
        How far from a stationary point (0 is exact): the root mean square of
        ``min(w / mean(w), gradient / scale)``.
    history_ : ndarray of shape (n_iter_,)
        Objective of each sweep.
    deviances_of_starts_ : ndarray of shape (n_init,)
        Deviance that each start reached.
    components_of_starts_ : ndarray of shape (n_init, k, m)
        Spectra that each start reached.
    n_iter_of_starts_, converged_of_starts_ : ndarray of shape (n_init,)
        Sweeps of each start, and whether it stopped by ``tol``.
    n_features_in_ : int
        Number of channels.

    Notes
    -----
    The weights of each row are improved by Newton steps on a quadratic model, minimised
    over non-negative weights by coordinate descent and elimination. A step is shortened
    where a bound on the change of the likelihood asks for it: the objective never rises.
    Coordinate descent on this likelihood: Lin & Boutros 2020 (BMC Bioinformatics 21, 6);
    Hsieh & Dhillon 2011 (KDD, 1064); Carbonetto et al. 2021 (arXiv 2105.13440).
    Extrapolation: Ang & Gillis 2019 (Neural Computation 31, 417).

    Examples
    --------
    >>> import numpy as np
    >>> counts = np.random.default_rng(0).poisson(np.outer([4, 4, 1, 1], [9, 1, 5]) + 1)
    >>> model = siftem.PoissonNMF(1)
    >>> model.fit_transform(counts).shape, model.components_.sum().round(6)
    ((4, 1), np.float64(1.0))
    >>> weights = model.fit(counts).transform(counts)
    >>> bool(np.allclose(model.inverse_transform(weights).sum(axis=1), counts.sum(axis=1)))
    True
    """

    def fit(self, X: Any, y: None = None) -> Self:
        """Fit the factors to counts ``X`` (n_samples, n_features), dense or sparse."""
        self.fit_transform(X)
        return self

    def fit_transform(self, X: Any, y: None = None, **fit_params: Any) -> np.ndarray:
        """Fit the factors and return the weights.

        Parameters
        ----------
        X : array or sparse array of shape (n_samples, n_features)
            Non-negative counts.
        y : None
            Ignored.
        **fit_params : dict
            Not used.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
        """
        return np.asarray(self.fit_weights(X))

    def transform(self, X: Any) -> np.ndarray:
        """Return the maximum-likelihood weights of ``X`` for the fitted spectra."""
        check_is_fitted(self, "components_")
        counts = solver_rows(self._counts(X, reset=False), n_jobs=self.n_jobs)
        weights = solver.even_weights(counts, len(self.components_), self.components_.dtype)
        solver.solve_weights(counts, self.components_, weights)
        return weights

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Return the expected counts ``X @ components_`` (dense) of weights ``X``."""
        check_is_fitted(self, "components_")
        return np.asarray(X) @ self.components_

    @property
    def _n_features_out(self) -> int:
        return self.components_.shape[0]

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn what the estimator takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _counts(self, X: Any, *, reset: bool) -> sp.csr_array:
        if isinstance(X, BlockedCounts):
            self.n_features_in_ = X.shape[1]
        else:
            if sp.issparse(X):
                X = checked_rows(X)
            X = validate_data(self, X, accept_sparse="csr", dtype="numeric", reset=reset)
        return super()._counts(X, reset=reset)
