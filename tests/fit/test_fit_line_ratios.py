"""Lines whose ratios are not known well: K lines under the M lines of heavy elements."""

from dataclasses import replace

import numpy as np
import pytest

from siftem.energy_axis import EnergyAxis
from siftem.fit.line_fit import fit_lines
from siftem.fit.line_weights import LineWeights
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.spectrum import Spectrum
from siftem.xray.lines import line_families

AXIS = EnergyAxis(0.0, 0.01, 1200, "keV")
ELEMENTS = ["O", "Si", "W"]
ON = Calibration()
PHOTONS = {"O K": 1e4, "Si K": 2e4, "W L": 2e4, "W M": 4e4}


def counts(beta, seed, share=1.0):
    """Draw Si under W, whose M beta lines are ``beta`` times those of tables."""
    families = tuple(line_families(ELEMENTS, beam_energy=200.0, low=0.2, high=12.0))
    m = SpectrumModel(families, 200.0)
    weights = LineWeights.tabulated(families)
    away = np.array([
        np.log(beta) / g.width if any(x.name == "Mb" for x in g.family.lines) else 0.0
        for g in weights.groups
    ])  # fmt: skip
    assert np.count_nonzero(away) == (beta != 1.0)
    m = replace(m, emitted=replace(weights, away=away).emitted(families))
    mean = m.line_columns(AXIS, ON) @ [PHOTONS[f.name] for f in families]
    mean += m.continuum_columns(AXIS, ON) @ [2e3, 2e2, 2e1]
    return Spectrum(np.random.default_rng(seed).poisson(share * mean).astype(float), AXIS)


def fitted(spectrum, **change):
    return fit_lines(spectrum, ELEMENTS, beam_energy=200.0, calibration=ON, **change)


@pytest.mark.parametrize("beta", [0.6, 1.0, 1.7])
def test_silicon_under_tungsten_is_found_whatever_the_m_lines_are(beta):
    z, away = [], []
    for seed in range(6):
        fit = fitted(counts(beta, seed))
        i = fit.index("Si")
        z.append((fit.amplitudes[i] - PHOTONS["Si K"]) / np.sqrt(fit.covariance[i, i]))
        away.append(fit.reduced_deviance)
    assert np.abs(z).max() < 3.0
    assert np.sqrt(np.mean(np.square(z))) < 1.6
    # The ratios that were found describe the spectrum: it is not the errors that hide them.
    assert np.median(away) < 1.2


def test_a_model_that_is_taken_for_true_is_far_off():
    fit = fitted(counts(1.7, 0), model_error=False)
    i = fit.index("Si")
    assert not fit.ratio_covariance.any()
    assert abs(fit.amplitudes[i] - PHOTONS["Si K"]) > 5 * np.sqrt(fit.covariance[i, i])


def test_what_is_not_known_of_ratios_is_a_part_of_the_errors():
    # A thousand counts hardly tell the ratios.
    fit = fitted(counts(1.0, 1, share=0.01))
    by_ratios = np.sqrt(np.diag(fit.ratio_covariance))
    whole = np.sqrt(np.diag(fit.covariance))
    i = fit.index("Si")
    # Without the prior's width there were none of it; O has no such lines near it.
    assert by_ratios[i] > 0.2 * whole[i]
    oxygen = fit.index("O")
    assert by_ratios[oxygen] < 0.2 * whole[oxygen]
    rest = np.linalg.eigvalsh(fit.covariance - fit.ratio_covariance)
    assert rest.min() > -1e-9 * rest.max()


def test_the_prior_share_falls_as_the_counts_tell_the_ratios():
    shares = []
    for share in (0.01, 1.0):
        fit = fitted(counts(1.0, 2, share))
        i = fit.index("Si")
        shares.append(np.sqrt(fit.ratio_covariance[i, i] / fit.covariance[i, i]))
    assert shares[1] < 0.5 * shares[0]


def test_columns_with_the_ratios_found_give_the_mean():
    fit = fitted(counts(1.7, 4))
    assert fit.design @ fit.amplitudes == pytest.approx(fit.mean)
    # Alpha lines keep their weights, so that an amplitude still counts photons of the family.
    axis = fit.spectrum.axis
    alpha = int(np.argmin(np.abs(axis.centers - 8.398)))
    w, table = fit.names.index("W L"), fit.model.line_columns(axis, ON)
    assert fit.design[alpha, w] == pytest.approx(table[alpha, w], rel=0.02)
    beta = int(np.argmin(np.abs(axis.centers - 1.87)))
    m = fit.names.index("W M")
    assert fit.design[beta, m] > 1.3 * table[beta, m]
