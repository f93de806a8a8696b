from types import SimpleNamespace

import numpy as np
import pytest

from siftem.errors import InputError
from siftem.quantification.detection_limit import counts_for_limit, currie, family_limits


@pytest.mark.parametrize(
    # Currie 1968, Anal. Chem. 40, 586: L_C = 1.645 s0, L_D = 2.71 + 3.29 s0, B = 1000.
    ("sigma", "critical", "detection"),
    [(np.sqrt(2000), 73.6, 149.8), (np.sqrt(1000), 52.0, 106.7)],
)
def test_currie(sigma, critical, detection):
    limits = currie(sigma)
    assert limits.critical == pytest.approx(critical, abs=0.05)
    assert limits.detection == pytest.approx(detection, abs=0.05)


def test_limits_in_photons_scale_with_the_efficiency():
    counts, photons = currie(30.0), currie(30.0 / 0.5, counts_per_photon=0.5)
    assert photons.critical == pytest.approx(counts.critical / 0.5)
    assert photons.detection == pytest.approx(counts.detection / 0.5)


def test_meaning_of_the_two_levels():
    # 5% of blanks exceed the critical level; 95% of samples at the detection limit do.
    rng = np.random.default_rng(0)
    background = 1000.0
    limits = currie(np.sqrt(2 * background))
    blank = rng.poisson(background, 200_000) - rng.poisson(background, 200_000)
    sample = rng.poisson(background + limits.detection, 200_000)
    sample = sample - rng.poisson(background, 200_000)
    assert (blank > limits.critical).mean() == pytest.approx(0.05, abs=0.003)
    assert (sample > limits.critical).mean() == pytest.approx(0.95, abs=0.004)


def test_counts_for_a_limit():
    # Without the least number of counts the limit falls with the root: half needs four times.
    assert counts_for_limit(1e6, 50.0, 100.0, 50.0) == pytest.approx(4e6)
    assert counts_for_limit(1e6, 50.0, 100.0, 100.0) == pytest.approx(1e6)

    # With it: a background B over N counts, limits in shares of N.
    def share(n):
        limits = currie(np.sqrt(2 * 1e-3 * n))
        return limits.critical / n, limits.detection / n

    for wanted in (2e-5, 3e-4, 5e-3):
        needed = counts_for_limit(1e6, *share(1e6), wanted)
        assert share(needed)[1] == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_limits(bad):
    with pytest.raises(InputError, match="limit"):
        counts_for_limit(1e6, 1.0, 2.0, bad)


def test_limits_of_a_family_count_its_photons():
    """A quarter of the photons is seen: 2.71 counts are four times as many photons."""
    fit = SimpleNamespace(
        design=np.array([[0.3, 0.05], [0.2, 0.2]]), sigma_at_zero=lambda index: 10.0 * (index + 1)
    )
    limits = family_limits(fit, 1)
    assert limits.sigma_at_zero == 20
    assert limits.detection == pytest.approx(1.645**2 / 0.25 + 2 * 1.645 * 20)
