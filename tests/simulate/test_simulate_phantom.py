import numpy as np
import pytest
from scipy import stats

from siftem import InputError
from siftem.energy_axis import EnergyAxis
from siftem.simulate.geometry import Ellipsoid, Polyhedron, thickness_fractions
from siftem.simulate.phantom import poisson_counts, simulate, simulate_demo
from siftem.simulate.spectra import MODEL_CASE, Microscope, PhaseModel, phase_spectrum
from siftem.spectrum import spectral_angle
from siftem.xray.detector import Detector
from siftem.xray.k_factors import k_factor_family
from siftem.xray.lines import line_families


@pytest.fixture(scope="module")
def demo():
    return simulate_demo((64, 64), dose=100, random_state=3)


def test_an_ellipsoid_has_its_volume():
    # Semi-axes 10 and 7 pixels, 0.4 of the thickness: volume 4/3 pi a b c.
    body = Ellipsoid(np.array([20.0, 25.0, 0.5]), np.diag([1 / 10, 1 / 7, 1 / 0.4]))
    fractions = thickness_fractions((41, 51), [[body]], subpixels=4)
    assert fractions.sum() == pytest.approx(4 / 3 * np.pi * 10 * 7 * 0.4, rel=0.01)
    assert fractions.max() == pytest.approx(0.8, rel=0.02)


def test_a_box_fills_its_share_and_is_cut_by_the_slab():
    normals = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1.0]])
    distances = np.array([5, 5, 5, 5, 0.25, 0.25])
    inside = Polyhedron(np.array([10.0, 10.0, 0.5]), normals, distances)
    high = Polyhedron(np.array([10.0, 10.0, 1.0]), normals, distances)
    for body, share in ((inside, 0.5), (high, 0.25)):
        fractions = thickness_fractions((21, 21), [[body]])[0]
        assert fractions[10, 10] == pytest.approx(share, abs=1e-6)
        assert fractions[5, 10] == pytest.approx(share / 2, abs=1e-6)  # on the edge
        assert fractions[2, 2] == 0


def test_where_bodies_meet_the_first_wins_and_nothing_is_counted_twice():
    normals = np.array([[0, 0, 1], [0, 0, -1.0]])
    low = Polyhedron(np.array([0, 0, 0.3]), normals, np.array([0.3, 0.3]))
    high = Polyhedron(np.array([0, 0, 0.7]), normals, np.array([0.3, 0.3]))
    first, second = thickness_fractions((4, 4), [[low], [high]])
    np.testing.assert_allclose(first, 0.6, atol=1e-6)
    np.testing.assert_allclose(second, 0.4, atol=1e-6)


def test_fractions_sum_to_one_and_hardly_any_pixel_is_pure_grain(demo):
    np.testing.assert_allclose(demo.fractions.sum(axis=0), 1)
    assert demo.fractions.min() >= 0
    assert (demo.fractions[1:] > 0.95).mean() < 0.01
    pure = (demo.fractions[0] > 0.98).mean()
    assert 0.3 < pure < 0.75
    assert demo.mask("Fp").any()
    assert demo.mask("Ca-Pv").any()


def test_counts_are_poisson_with_the_stated_mean():
    rng = np.random.default_rng(5)
    spectra = rng.random((3, 12))
    spectra /= spectra.sum(axis=1, keepdims=True)
    abundances = rng.uniform(0, 60, (3, 400))
    draws = np.array([poisson_counts(abundances, spectra, rng).toarray() for _ in range(60)])
    mean = abundances.T @ spectra
    chi2 = ((draws - mean) ** 2 / mean).sum()
    # Each voxel's (n - mean)^2 / mean has mean 1 and variance 2 + 1 / mean.
    expected = draws.size
    sigma = np.sqrt(60 * (2 + 1 / mean).sum())
    assert abs(chi2 - expected) < 5 * sigma
    total = draws.sum(axis=0)
    z = (total - 60 * mean) / np.sqrt(60 * mean)
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-4


def test_blocks_do_not_change_the_shape_and_the_memory_stays_sparse():
    rng = np.random.default_rng(0)
    counts = poisson_counts(np.full((1, 3000), 2000.0), np.full((1, 50), 0.02), rng)
    assert counts.shape == (3000, 50)
    assert counts.sum() == pytest.approx(6e6, rel=0.01)
    assert counts.dtype == np.int32


def test_counting_refuses_what_is_no_expectation():
    rng = np.random.default_rng(0)
    good = np.full((1, 4), 0.25)
    with pytest.raises(InputError, match="one k"):
        poisson_counts(np.ones((2, 3)), good, rng)
    with pytest.raises(InputError, match="negative"):
        poisson_counts(-np.ones((1, 3)), good, rng)
    with pytest.raises(InputError, match="sum to one"):
        poisson_counts(np.ones((1, 3)), 2 * good, rng)


def test_line_counts_follow_the_k_factors():
    """With an ideal detector and no absorption, counts give back weights by k-factors."""
    phase = PhaseModel("x", {"Mg": 0.3, "Si": 0.5, "Fe": 0.2}, 4.0)
    ideal = Detector(window=(), dead_layer=0.0, thickness=20.0)
    scope = Microscope(detector=ideal, thickness=1e-6, support={}, continuum=0.0)
    axis = EnergyAxis(-0.5, 0.01, 2000)
    spectrum = phase_spectrum(phase, axis, scope)
    counts = {}
    for element, low, high in (("Mg", 1.1, 1.4), ("Si", 1.6, 2.0), ("Fe", 6.0, 7.5)):
        counts[element] = spectrum[axis.window(low, high)].sum()
    for element in ("Mg", "Fe"):
        expected = counts["Si"] / counts[element] * phase.weight_fractions[element] / 0.5
        # Fe loses 0.3% to escape peaks.
        assert k_factor_family(element, "K", 200.0) == pytest.approx(expected, rel=5e-3)


def test_every_family_of_the_model_case_is_in_the_spectra():
    axis = EnergyAxis(-0.47, 0.01, 2048)
    spectrum = phase_spectrum(MODEL_CASE[2], axis, Microscope())
    without = PhaseModel(
        "no Nd", {e: w for e, w in MODEL_CASE[2].weight_fractions.items() if e != "Nd"}, 4.4
    )
    change = spectrum - phase_spectrum(without, axis, Microscope())
    for family in line_families(["Nd"], beam_energy=200.0, low=0.3, high=20.0):
        assert change[axis.window(family.alpha_energy - 0.02, family.alpha_energy + 0.02)].max() > 0


def test_the_phases_are_far_apart_and_sum_to_one(demo):
    np.testing.assert_allclose(demo.spectra.sum(axis=1), 1)
    for i in range(3):
        for j in range(i):
            assert spectral_angle(demo.spectra[i], demo.spectra[j]) > 20
    for fractions in demo.weight_fractions:
        assert sum(fractions.values()) == pytest.approx(1)


def test_dose_and_expectation(demo):
    si = demo.spectrum_image.without_zero_peak()
    expected = demo.abundances.sum()
    assert expected == pytest.approx(100 * 64 * 64)
    above = demo.spectra[:, 67:].sum(axis=1) @ demo.abundances.sum(axis=(1, 2))
    assert abs(si.total - above) < 5 * np.sqrt(above) + 0.002 * above  # the strobe's last tail


def test_a_seed_fixes_everything_and_the_dose_leaves_the_grains(demo):
    again = simulate_demo((64, 64), dose=100, random_state=3)
    assert (again.spectrum_image.counts != demo.spectrum_image.counts).nnz == 0
    brighter = simulate_demo((64, 64), dose=400, random_state=3)
    np.testing.assert_array_equal(brighter.fractions, demo.fractions)
    other = simulate_demo((64, 64), dose=100, random_state=4)
    assert np.abs(other.fractions - demo.fractions).max() > 0.1


def test_the_zero_peak_is_not_poisson_and_can_be_left_out():
    with_peak = simulate(MODEL_CASE, (32, 32), zero_peak=0.5, random_state=1)
    dense = with_peak.spectrum_image.window_map(-0.1, 0.1)
    assert dense.var() > 1.5 * dense.mean()
    without = simulate(MODEL_CASE, (32, 32), zero_peak=0.0, random_state=1)
    assert without.spectrum_image.window_map(-0.3, -0.05).sum() == 0


def test_vacuum_and_wrong_axes():
    bare = {"vacuum": 0.25, "zero_peak": 0, "random_state": 2}
    phantom = simulate(MODEL_CASE, (40, 40), energy_shift=0.03, **bare)
    assert phantom.spectrum_image.total_map()[:10].sum() == 0
    unshifted = simulate(MODEL_CASE, (40, 40), **bare)
    # Mg K is found 30 eV, three channels, higher.
    axis = phantom.spectrum_image.axis
    window = axis.window(1.0, 1.4)
    assert phantom.spectra[1][window].argmax() - unshifted.spectra[1][window].argmax() == 3


@pytest.mark.parametrize("number", [2, 4, 6])
def test_two_to_six_phases(number):
    rng = np.random.default_rng(0)
    grains = [
        PhaseModel(f"g{i}", MODEL_CASE[1 + i % 2].varied(rng, 0.3).weight_fractions, 4.0,
                   "block" if i % 2 else "needle", 0.1)
        for i in range(number - 1)
    ]  # fmt: skip
    phantom = simulate([MODEL_CASE[0], *grains], (48, 48), dose=20)
    assert phantom.names == ("Brg", *(g.name for g in grains))
    assert phantom.fractions.shape == (number, 48, 48)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"phases": MODEL_CASE[1:]}, "one matrix"),
        ({"phases": MODEL_CASE[:1]}, "one to five grain phases"),
        ({"phases": (*MODEL_CASE, MODEL_CASE[1])}, "different names"),
        ({"dose": 0}, "dose must be between"),
        ({"shape": (4, 4)}, "at least 8 x 8"),
        ({"max_fraction": 2}, "max_fraction"),
    ],
)
def test_bad_phantoms_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        simulate(**arguments)
    with pytest.raises(InputError, match="no phase 'x'"):
        simulate_demo((16, 16)).mask("x")
