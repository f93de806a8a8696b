"""The truth that a phantom promises, and the chemistry of the model case."""

import numpy as np
import pytest

from siftem import InputError
from siftem.simulate import phantom as phantom_module
from siftem.simulate.geometry import Polyhedron
from siftem.simulate.phantom import poisson_counts, simulate
from siftem.simulate.spectra import MODEL_CASE, PhaseModel
from siftem.xray.elements import atomic_weight

VALENCE = {"Mg": 2, "Al": 3, "Si": 4, "Ca": 2, "Fe": 2, "Nd": 3, "Sm": 3, "Hf": 4, "Lu": 3, "U": 4}


# Cation charge over oxygen charge, all iron as Fe2+. The table's Ca-perovskite has 4% less
# oxygen than its cations need; it is kept as stated, since it is the truth of the phantom.
@pytest.mark.parametrize(("phase", "balance"), list(zip(MODEL_CASE, (1.0, 1.0, 1.04), strict=True)))
def test_the_oxygen_of_each_phase_against_its_cations(phase, balance):
    weights = phase.weight_fractions
    charge = sum(VALENCE[e] * w / atomic_weight(e) for e, w in weights.items() if e != "O")
    assert charge / (2 * weights["O"] / atomic_weight("O")) == pytest.approx(balance, abs=0.01)


def test_the_model_case_has_0_300_percent_of_each_dopant():
    shares = np.array([0.817, 0.116, 0.068])
    for dopant in ("Nd", "Sm", "Hf", "Lu", "U"):
        weights = [100 * phase.weight_fractions[dopant] for phase in MODEL_CASE]
        assert shares @ weights / shares.sum() == pytest.approx(0.300, abs=0.004)


def test_varied_phases_stay_normalised_and_keep_their_elements():
    brg = MODEL_CASE[0]
    varied = brg.varied(np.random.default_rng(0), 0.2)
    assert list(varied.weight_fractions) == list(brg.weight_fractions)
    assert sum(varied.weight_fractions.values()) == pytest.approx(1)
    ratio = [varied.weight_fractions[e] / w for e, w in brg.weight_fractions.items()]
    assert 0.05 < np.std(np.log(ratio)) < 0.4
    assert varied.density == brg.density


def plate(bottom, top):
    faces = np.array([[0, 0, 1], [0, 0, -1.0]])
    half = (top - bottom) / 2
    return Polyhedron(np.array([0, 0, bottom + half]), faces, np.array([half, half]))


@pytest.mark.parametrize("blur", [0.0, 0.6, 1.7])
def test_grains_that_fill_the_film_leave_no_negative_matrix(monkeypatch, blur):
    for split in np.linspace(0.05, 0.95, 37):
        monkeypatch.setattr(
            phantom_module, "scatter_blocks", lambda *_, s=split, **__: [plate(0, s)]
        )
        monkeypatch.setattr(
            phantom_module, "scatter_needles", lambda *_, s=split, **__: [plate(s, 1)]
        )
        phantom = simulate(shape=(8, 8), channels=256, blur=blur, dose=2.0)
        assert phantom.fractions.min() >= 0
        np.testing.assert_allclose(phantom.fractions.sum(axis=0), 1, atol=1e-12)


def test_vacuum_holds_no_phase_and_the_dose_is_that_of_the_film():
    phantom = simulate(shape=(40, 40), vacuum=0.25, dose=50.0, zero_peak=0.0)
    assert phantom.fractions[:, :10].max() == 0
    assert not phantom.mask("Brg")[:10].any()
    assert phantom.abundances[:, 10:].sum(axis=0).mean() == pytest.approx(50)
    assert phantom.spectrum_image.survey[:10].max() == 0


def test_noise_streams_do_not_share_numbers():
    still = simulate(shape=(24, 24), dose=30.0, zero_peak=0.0, random_state=5)
    strobed = simulate(shape=(24, 24), dose=30.0, zero_peak=0.5, random_state=5)
    a, b = (p.spectrum_image.without_zero_peak().counts for p in (still, strobed))
    assert (a != b).nnz == 0
    np.testing.assert_array_equal(still.spectrum_image.survey, strobed.spectrum_image.survey)


def test_the_strobe_is_banded_less_than_poisson_in_a_band_and_at_its_level():
    phantom = simulate(shape=(96, 96), dose=200.0, zero_peak=0.02, random_state=1)
    strobe = phantom.spectrum_image.window_map(-0.3, 0.105)
    assert strobe.mean() == pytest.approx(4.0, rel=0.03)
    on = strobe[strobe > 0]
    assert 0.45 < on.size / strobe.size < 0.55
    assert on.var() < 0.5 * on.mean()
    assert strobe.var() > 2 * strobe.mean()
    # A Poisson map's power is 1 at every frequency; its largest of 9216 stays below 15.
    power = np.abs(np.fft.fft2(strobe - strobe.mean())) ** 2 / strobe.sum()
    assert power.max() > 500


@pytest.mark.parametrize("level", [0.01, 0.3, 40.0])
def test_the_strobe_keeps_its_level_at_any_dose(level):
    phantom = simulate(shape=(64, 64), dose=level, zero_peak=1.0, random_state=2)
    strobe = phantom.spectrum_image.window_map(-0.3, 0.105).sum()
    assert abs(strobe - level * 4096) < 5 * np.sqrt(level * 4096) + 0.01 * level * 4096


def test_nothing_is_registered_between_the_strobe_and_the_discriminator():
    phantom = simulate(shape=(16, 16), zero_peak=0.0, dose=2000.0)
    assert phantom.spectrum_image.window_map(-0.5, 0.11).sum() == 0
    assert phantom.spectrum_image.window_map(0.12, 0.2).sum() > 0


def test_a_buried_phase_is_an_error_that_names_it(monkeypatch):
    # A plate through the whole film leaves no room for the phase given before it.
    monkeypatch.setattr(phantom_module, "scatter_needles", lambda *_, **__: [plate(0, 1)])
    with pytest.raises(InputError, match="no grain of Fp is left"):
        simulate(shape=(16, 16), dose=1.0)


def test_a_grain_phase_needs_coverage():
    bare = PhaseModel("bare", {"Mg": 1, "O": 1}, 3.6, "block", coverage=0.0)
    with pytest.raises(InputError, match="coverage"):
        simulate([MODEL_CASE[0], bare], (16, 16), dose=1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (64,)}, "shape"),
        ({"shape": 64}, "shape"),
        ({"shape": (16.5, 16)}, "shape"),
        ({"channels": 16}, "64 channels"),
        ({"random_state": -1}, "random_state"),
        ({"random_state": 0.5}, "random_state"),
        ({"energy_shift": float("nan")}, "energy_shift"),
        ({"dose": float("nan")}, "dose"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        simulate(**{"shape": (16, 16), "dose": 1.0, **arguments})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_counting_refuses_what_is_not_finite(bad):
    with pytest.raises(InputError, match="abundances must be finite"):
        poisson_counts(np.array([[bad]]), np.ones((1, 1)), np.random.default_rng(0))
