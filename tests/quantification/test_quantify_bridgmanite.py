"""A spectrum of 13 elements from a generator that shares no code with the fit."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "validation" / "quantify_bridgmanite.py"


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("quantify_bridgmanite", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def mean(generator):
    return generator.expected_counts()


def test_expected_counts_give_the_truth_back(generator, mean):
    truth = np.array(list(generator.TRUTH.values())) / sum(generator.TRUTH.values())
    c = generator.quantified(mean)
    # The continuum that the fit does not have costs O half a standard deviation.
    assert np.abs((c.weight_fractions - truth) / c.sigma).max() < 0.7
    major = truth > 0.02
    # Al, between Mg and Si, shares their flanks: shelf and sum peaks are free, too.
    assert c.weight_fractions[major] == pytest.approx(truth[major], rel=3e-3)
    assert c.fit.calibration.gain == pytest.approx(0.005, abs=5e-5)
    assert c.fit.calibration.resolution == pytest.approx(130.65, abs=0.1)


def test_five_million_counts(generator, mean):
    truth = np.array(list(generator.TRUTH.values())) / sum(generator.TRUTH.values())
    z = []
    for seed in range(4):
        c = generator.quantified(np.random.default_rng(seed).poisson(mean).astype(float))
        major = truth > 0.02
        # Three standard deviations of Al, the least sure of them.
        assert c.weight_fractions[major] == pytest.approx(truth[major], rel=0.012)
        z.append((c.weight_fractions - truth) / c.sigma)
        assert 0.9 < c.fit.reduced_deviance < 1.1
        assert c.found.all()
    z = np.array(z)
    # Of 52 values 95% within two standard deviations: 44 or fewer come once in a thousand.
    assert (np.abs(z) < 2).sum() >= 45
    assert np.abs(z).max() < 4
