"""A fit goes on from the state of the same fit, and of no other."""

import inspect

import numpy as np
import pytest
import scipy.sparse as sp

import siftem
from siftem import PoissonNMF
from siftem.decomposition import solver
from siftem.decomposition.solver import KnownParts, fit_key
from siftem.decomposition.solver_rows import CountRows


class Stopped(Exception):
    pass


def stopping_after(sweeps):
    seen = []

    def progress(step, fraction):
        seen.append(fraction)
        if len(seen) == sweeps:
            raise Stopped

    return progress


class Keys:
    """A checkpoint that only remembers the keys it was asked for."""

    def __init__(self):
        self.asked = []

    def load(self, key, weights):
        self.asked.append(key)

    def due(self):
        return False

    def done(self):
        pass


def arguments(small):
    rng = np.random.default_rng(0)
    spectra = rng.uniform(0.2, 1.0, (3, small.shape[1]))
    weights = rng.uniform(0.5, 1.5, (small.shape[0], 3))
    return {"counts": CountRows.of(small), "weights": weights, "spectra": spectra}


def changed(small):
    """Other values of each parameter of the solver."""
    n, m = small.shape
    support = np.ones((n, 3), bool)
    support[0, 0] = False
    one_more = small.copy()
    one_more.data = one_more.data.copy()
    one_more.data[0] += 1
    given = arguments(small)
    return {
        # Counts of the same shape that only differ in their order have the same sums.
        "counts": [CountRows.of(one_more), CountRows.of(sp.csr_array(small.toarray()[::-1]))],
        "weights": [given["weights"] + 1],
        "spectra": [given["spectra"] + 1],
        "known": [
            KnownParts(support=support),
            KnownParts(fixed={0: np.full(m, 1 / m)}),
            KnownParts(fixed={1: np.full(m, 1 / m)}),
        ],
        "max_iter": [7],
        "tol": [1e-3],
        "n_passes": [2],
        "extrapolate": [False],
    }


PARAMETERS = sorted(
    set(inspect.signature(solver.alternate).parameters) - {"progress", "step", "checkpoint"}
)


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_of_the_solver_tells_fits_apart(small, name):
    given = arguments(small)
    others = [given | {name: value} for value in changed(small)[name]]
    keys = Keys()
    for one in (given, arguments(small), *others):
        quick = {"max_iter": 2} | one
        solver.alternate(**quick, checkpoint=keys)
    plain, again, *rest = keys.asked
    assert plain == again
    assert len({plain, *rest}) == 1 + len(rest)


def test_what_a_key_can_not_tell_apart_is_refused():
    with pytest.raises(TypeError, match="object"):
        fit_key({"known": object()})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"n_passes": 2}),
        ({}, {"fixed_spectra": {0: np.linspace(1, 2, 40)}}),
        ({}, {"support": np.arange(180).reshape(60, 3) % 7 > 0}),
        ({"random_state": 0, "init": "random"}, {"random_state": 1, "init": "random"}),
    ],
    ids=lambda given: "-".join(given) or "plain",
)
def test_a_fit_of_other_settings_is_not_resumed(small, tmp_path, first, second):
    path = tmp_path / "fit.npz"
    common = {"n_components": 3, "map_shape": (6, 10), "max_iter": 2000, "tol": 1e-5}
    expected = PoissonNMF(**common | second).fit(small)
    kept = siftem.FitCheckpoint(path, every=0)
    with pytest.raises(Stopped):
        PoissonNMF(**common | first, checkpoint=kept, progress=stopping_after(5)).fit(small)
    assert path.exists()
    found = PoissonNMF(**common | second, checkpoint=siftem.FitCheckpoint(path, every=0)).fit(small)
    np.testing.assert_array_equal(found.components_, expected.components_)
    assert found.n_iter_ == expected.n_iter_


@pytest.mark.parametrize("given", [{}, {"extrapolate": False}], ids=str)
def test_the_same_fit_is(small, tmp_path, given):
    path = tmp_path / "fit.npz"
    common = {"n_components": 3, "map_shape": (6, 10), "max_iter": 2000, "tol": 1e-5} | given
    expected = PoissonNMF(**common).fit(small)
    kept = siftem.FitCheckpoint(path, every=0)
    with pytest.raises(Stopped):
        PoissonNMF(**common, checkpoint=kept, progress=stopping_after(5)).fit(small)
    sweeps = []
    found = PoissonNMF(
        **common,
        checkpoint=siftem.FitCheckpoint(path, every=0),
        progress=lambda step, fraction: sweeps.append(fraction),
    ).fit(small)
    np.testing.assert_array_equal(found.components_, expected.components_)
    assert len(sweeps) < expected.n_iter_ - 3
