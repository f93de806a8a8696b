"""Ratios of lines that tables do not agree on are a systematic error of amounts."""

from dataclasses import replace

import numpy as np
import pytest

from siftem.energy_axis import EnergyAxis
from siftem.fit.line_fit import fit_lines
from siftem.fit.ratio_errors import ratio_errors
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.quantify.composition import quantify
from siftem.quantify.k_values import GivenKFactors
from siftem.quantify.line_ratios import line_ratios
from siftem.spectrum import Acquisition, Spectrum
from siftem.xray.detector import Detector
from siftem.xray.line_groups import line_groups
from siftem.xray.lines import line_families
from siftem.xray.pile_up import pile_up

AXIS = EnergyAxis(0.2, 0.01, 1300)
ON = Calibration(resolution=Detector().resolution)
PHOTONS = {"O K": 6e4, "Si K": 4e4, "W L": 8e4, "W M": 1.6e5}
ELEMENTS = ["O", "Si", "W"]
FAMILIES = tuple(line_families(ELEMENTS, beam_energy=200.0, low=0.2, high=13.2))
GROUPS = [(i, group) for i, family in enumerate(FAMILIES) for group in line_groups(family)]


def measured(away, photons=PHOTONS):
    """Counts where each group's weight is so many standard deviations from the tables."""
    families = list(FAMILIES)
    for (i, group), far in zip(GROUPS, away, strict=True):
        names = {line.name for line in group.family.lines}
        lines = tuple(
            replace(x, weight=x.weight * np.exp(group.width * far)) if x.name in names else x
            for x in families[i].lines
        )
        families[i] = replace(families[i], lines=lines)
    model = SpectrumModel(tuple(families), 200.0, Detector(), 3, spline_range=(0.2, 13.2))
    lines = model.line_columns(AXIS, ON) @ [photons[f.name] for f in FAMILIES]
    counts = lines + 2e4 * model.continuum_columns(AXIS, ON).sum(axis=1)
    # Sum peaks well above their bound at zero.
    counts += pile_up(counts, AXIS) @ [2e4, 2e4]
    return Spectrum(counts, AXIS, acquisition=Acquisition(beam_energy=200.0))


def moved_by_each_group(value):
    """How far a value moves with each group by a standard deviation, from a hundredth."""
    steps = 0.01 * np.eye(len(GROUPS))
    return np.stack([(value(measured(s)) - value(measured(-s))) / 0.02 for s in steps])


def fitted(spectrum):
    return fit_lines(
        spectrum, ELEMENTS, beam_energy=200.0, n_continuum=3, calibration=ON, model_error=False
    )


def composition(spectrum):
    k = GivenKFactors({"O": 1.7, "Si": 1.0, "W": 6.0})
    return quantify(
        spectrum, ELEMENTS, k_factors=k, calibration=ON, n_continuum=3, thickness=0,
        warn_above=None,
    )  # fmt: skip


def test_errors_are_the_moves_of_the_amplitudes():
    errors = ratio_errors(fitted(measured(np.zeros(len(GROUPS)))))
    moves = moved_by_each_group(lambda s: fitted(s).amplitudes[: len(FAMILIES)]).T
    assert errors.shape[1] == len(GROUPS)
    assert errors[: len(FAMILIES)] == pytest.approx(moves, rel=0.03, abs=30)
    # M beta lies 100 eV above Si K.
    assert np.abs(errors[[f.name for f in FAMILIES].index("Si K")]).max() > 2000


def test_families_without_photons_have_no_errors():
    fit = fitted(measured(np.zeros(len(GROUPS)), {**PHOTONS, "W L": 0.0, "W M": 0.0}))
    none = replace(fit, amplitudes=np.where(fit.amplitudes < 1.0, 0.0, fit.amplitudes))
    assert ratio_errors(none).shape == (len(fit.names), len(line_groups(FAMILIES[1])))


def test_they_are_a_systematic_error_of_the_composition():
    c = composition(measured(np.zeros(len(GROUPS))))
    moves = moved_by_each_group(lambda s: composition(s).weight_fractions)
    assert c.systematic == pytest.approx(moves.T @ moves, rel=0.05, abs=1e-6)
    assert c.systematic_sigma[1] > 0.01


def test_and_of_ratios_of_lines():
    def ratios(spectrum):
        return line_ratios(
            spectrum, ELEMENTS, reference="O", calibration=ON, n_continuum=3, warn_above=None
        )

    r = ratios(measured(np.zeros(len(GROUPS))))
    moves = moved_by_each_group(lambda s: ratios(s).values)
    assert r.sigma[1] ** 2 > 0.9 * (moves[:, 1] ** 2).sum() > 1e-4
