import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import poisson

from siftem.errors import InputError
from siftem.fit.poisson import covariance_of, fit_poisson, poisson_deviance


def peaks(m=120, centres=(20, 35, 60, 64, 100), width=4.0):
    """Gaussians, two of which overlap, on a flat and a falling background."""
    x = np.arange(m)[:, None]
    lines = np.exp(-0.5 * ((x - np.array(centres)) / width) ** 2)
    return np.hstack([lines, np.ones((m, 1)), 30.0 / (10 + x)])


def objective(theta, design, counts, offset):
    mean = np.maximum(design @ theta + offset, 1e-300)
    return mean.sum() - (counts * np.log(mean)).sum()


@pytest.mark.parametrize("seed", range(4))
def test_against_a_general_optimiser(seed):
    rng = np.random.default_rng(seed)
    design = peaks()
    offset = np.full(120, 0.5) if seed % 2 else np.zeros(120)
    truth = np.array([50, 0, 200, 30, 0, 4, 2.0]) * 10.0 ** rng.integers(-1, 2)
    counts = rng.poisson(design @ truth + offset).astype(float)
    found = fit_poisson(design, counts, offset=offset)
    assert found.converged
    reference = minimize(
        objective,
        np.full(7, max(counts.mean(), 0.1)),
        (design, counts, offset),
        jac=lambda t, g, y, b: g.sum(0) - g.T @ (y / np.maximum(g @ t + b, 1e-300)),
        bounds=[(0, None)] * 7,
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 5000, "maxfun": 50000},
    )
    ours = objective(found.amplitudes, design, counts, offset)
    assert ours <= reference.fun + 1e-6
    assert found.amplitudes == pytest.approx(reference.x, rel=1e-3, abs=2e-3)
    assert (found.amplitudes >= 0).all()


def test_conditions_of_the_minimum():
    # Karush-Kuhn-Tucker: no slope along positive amplitudes, no fall into the allowed side at 0.
    rng = np.random.default_rng(7)
    design = peaks()
    counts = rng.poisson(design @ [5, 0, 80, 3, 0, 4, 0.5]).astype(float)
    counts[97:104] = 0  # a hole where the last line would be
    found = fit_poisson(design, counts, tol=1e-13)
    slope = design.sum(axis=0) - design.T @ (counts / found.mean)
    scale = design.sum(axis=0)
    free = found.amplitudes > 1e-9
    assert free.sum() >= 3
    assert (~free).any()
    assert np.abs(slope[free] / scale[free]).max() < 1e-5
    assert (slope[~free] > -1e-6 * scale[~free]).all()


def test_shapes_that_do_not_overlap_take_their_own_counts():
    design = np.zeros((9, 3))
    design[0:3, 0], design[3:6, 1], design[6:9, 2] = 0.5, 2.0, 1e-6
    counts = np.array([1, 2, 3, 4, 5, 6, 7, 8, 0.0])
    found = fit_poisson(design, counts)
    assert found.amplitudes == pytest.approx([6 / 1.5, 15 / 6, 15 / 3e-6])


def test_total_counts_are_kept():
    # With free amplitudes of positive shapes the fitted total equals the counted one.
    rng = np.random.default_rng(3)
    design = peaks()
    counts = rng.poisson(design @ [9, 9, 9, 9, 9, 1, 1]).astype(float)
    assert fit_poisson(design, counts).mean.sum() == pytest.approx(counts.sum(), rel=1e-7)


def test_scale_of_a_shape_does_not_matter():
    rng = np.random.default_rng(5)
    design = peaks()
    counts = rng.poisson(design @ [50, 20, 200, 30, 4, 4, 2]).astype(float)
    factors = 10.0 ** np.array([-9, 3, 0, 6, -3, 9, 1])
    plain, scaled = fit_poisson(design, counts), fit_poisson(design * factors, counts)
    assert scaled.amplitudes * factors == pytest.approx(plain.amplitudes, rel=1e-5, abs=1e-6)


def test_amplitudes_of_free_sign():
    rng = np.random.default_rng(1)
    x = np.arange(60.0)
    design = np.stack([np.ones(60), (x - 29.5) / 30, np.exp(-((x - 30) ** 2) / 20)], axis=1)
    signed = np.array([False, True, False])
    counts = rng.poisson(design @ [40, -20, 0]).astype(float)
    found = fit_poisson(design, counts, free_sign=signed)
    assert found.amplitudes[1] == pytest.approx(-20, abs=4)
    assert found.amplitudes[2] >= 0
    assert fit_poisson(design, counts).amplitudes[1] == 0


def test_information_is_the_expected_curvature():
    rng = np.random.default_rng(2)
    design = peaks()
    counts = rng.poisson(design @ [50, 20, 200, 30, 4, 4, 2]).astype(float)
    found = fit_poisson(design, counts)
    by_hand = sum(np.outer(row, row) / mean for row, mean in zip(design, found.mean, strict=True))
    assert found.information == pytest.approx(by_hand)
    assert covariance_of(found.information) == pytest.approx(np.linalg.inv(by_hand), rel=1e-6)


def test_spread_of_many_fits_is_what_the_covariance_says():
    rng = np.random.default_rng(11)
    design = peaks()
    truth = np.array([50, 20, 200, 100, 30, 8, 4.0])
    fits = [fit_poisson(design, rng.poisson(design @ truth).astype(float)) for _ in range(300)]
    got = np.array([f.amplitudes for f in fits])
    sigma = np.array([np.sqrt(np.diag(covariance_of(f.information))) for f in fits])
    z = (got - truth) / sigma
    held = (np.abs(z[:, :5]) < 1).mean(axis=0)
    # Three standard deviations of a share of 0.683 in 300 draws are 0.08.
    assert (np.abs(held - 0.683) < 0.081).all()
    assert np.abs(z[:, :5].mean(axis=0)).max() < 0.2
    expected = covariance_of(fit_poisson(design, design @ truth).information)
    assert np.cov(got.T)[:5, :5] == pytest.approx(expected[:5, :5], rel=0.35, abs=6)


def test_weights_from_the_data_would_lose_counts():
    # Why the fit is no least squares with 1/max(y, 1): for a flat mean that estimate is
    # P(y > 0) / E[1/max(y, 1)], about one count too low.
    rng = np.random.default_rng(0)
    design = np.ones((2000, 1))
    counts = rng.poisson(10.0, 2000).astype(float)
    weights = 1 / np.maximum(counts, 1)
    biased = (weights * counts).sum() / weights.sum()
    y = np.arange(60)
    chance = poisson.pmf(y, 10.0)
    expected = chance[1:].sum() / (chance / np.maximum(y, 1)).sum()
    assert expected < 8.9
    assert biased == pytest.approx(expected, abs=0.2)
    assert fit_poisson(design, counts).amplitudes[0] == pytest.approx(counts.mean(), rel=1e-9)


def test_no_counts_at_all():
    found = fit_poisson(peaks(), np.zeros(120))
    assert found.amplitudes == pytest.approx(np.zeros(7), abs=1e-6)
    assert np.isfinite(found.deviance)


def test_known_offset_alone_explains_everything():
    offset = np.full(120, 7.0)
    found = fit_poisson(peaks(), offset, offset=offset)
    assert found.amplitudes == pytest.approx(np.zeros(7), abs=1e-6)
    assert found.deviance == pytest.approx(0, abs=1e-6)


def test_deviance():
    counts = np.array([0.0, 1.0, 4.0])
    mean = np.array([0.5, 2.0, 3.0])
    by_hand = 2 * (0.5 + (np.log(1 / 2) - 1 + 2) + (4 * np.log(4 / 3) - 4 + 3))
    assert poisson_deviance(counts, mean) == pytest.approx(by_hand)
    assert poisson_deviance(mean, mean) == pytest.approx(0)


def test_covariance_of_an_undetermined_direction_is_huge_not_nan():
    column = peaks()[:, :1]
    twice = np.hstack([column, column])
    covariance = covariance_of(twice.T @ twice)
    assert np.isfinite(covariance).all()
    assert covariance[0, 0] > 1e6
    # The sum of the two is as well determined as it was.
    assert covariance.sum() == pytest.approx(1 / (column**2).sum(), rel=1e-3)


@pytest.mark.parametrize(
    ("design", "counts", "message"),
    [
        (np.ones((4, 1)), np.ones(5), "shape"),
        (np.ones((4, 1)), np.array([1, 2, -1, 0.0]), "negative"),
        (np.ones((4, 1)), np.array([1, 2, np.nan, 0.0]), "finite"),
        (np.zeros((4, 1)), np.ones(4), "no strength"),
    ],
)
def test_bad_input(design, counts, message):
    with pytest.raises(InputError, match=message):
        fit_poisson(design, counts)


def test_covariance_by_either_way_and_directions_that_nothing_fixes():
    rng = np.random.default_rng(3)
    columns = rng.random((60, 5)) * [1.0, 1e3, 1e-4, 1.0, 5.0]
    well = columns.T @ columns
    assert covariance_of(well) @ well == pytest.approx(np.eye(5), abs=1e-6)
    # Nearly the same column twice: only its sum is known.
    for apart in (1e-4, 1e-7):
        columns[:, 3] = columns[:, 0] + apart * columns[:, 3]
        scale = np.sqrt((columns**2).sum(axis=0))
        values, vectors = np.linalg.eigh((columns / scale).T @ (columns / scale))
        values = np.maximum(values, 1e-12 * values.max())
        expected = (vectors / values) @ vectors.T / np.outer(scale, scale)
        found = covariance_of(columns.T @ columns)
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-9 * np.abs(expected).max())
    together = np.array([1.0, 0, 0, 1.0, 0])
    assert together @ found @ together < 1e-6 * found[0, 0]
