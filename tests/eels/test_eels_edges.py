"""Background, edges, subtraction and ratios, against truth that is drawn."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

import siftem
from siftem.acquisition import Acquisition
from siftem.eels.background import fit_power_law, remove_background
from siftem.eels.edges import Edge, cross_section, edge_signal, edges_in_windows
from siftem.eels.ratios import elemental_ratios
from siftem.eels.subtract import AbsentEdge, EdgeRatio, subtract_by_edges
from siftem.energy_axis import EnergyAxis
from siftem.errors import DoubtWarning, InputError
from siftem.simulate.elnes import simulate_elnes
from siftem.spectrum import Spectrum
from siftem.unmixing.anchors import GivenScale

AXIS = EnergyAxis(400.0, 1.0, 400, "eV")
SETTINGS = Acquisition(beam_energy=200.0, convergence_angle=10.0, collection_angle=30.0)
TI = Edge("Ti_L3", background=(402, 452), signal=(453, 500))
O_K = Edge("O_K", background=(470, 528), signal=(530, 600))
MN = Edge("Mn_L3", background=(600, 634), signal=(636, 700))


def drawn(expected, rng, **kwargs):
    return Spectrum(rng.poisson(expected).astype(float), AXIS, acquisition=SETTINGS, **kwargs)


def test_power_law_is_found_without_bias_and_its_errors_hold():
    rng = np.random.default_rng(1)
    expected = 300.0 * (AXIS.centers / 500) ** -3.4
    fits = [fit_power_law(drawn(expected, rng), 402, 452) for _ in range(300)]
    exponents = np.array([f.exponent for f in fits])
    sigmas = np.array([np.sqrt(f.covariance[1, 1]) for f in fits])
    assert (exponents.mean() - 3.4) / (exponents.std() / np.sqrt(300)) == pytest.approx(0, abs=4)
    assert sigmas.mean() == pytest.approx(exponents.std(), rel=0.12)
    assert np.mean([f.reduced_chi2 for f in fits]) == pytest.approx(1.0, abs=0.05)


def test_noise_that_channels_share_is_noise_of_the_law():
    """A mode adds to the covariance what it moves the parameters by; a pinned one takes it off."""
    expected = 300.0 * (AXIS.centers / 500) ** -3.4
    plain = fit_power_law(Spectrum(expected, AXIS), 402, 452)
    mode = 0.01 * expected * (AXIS.centers / 430)
    moved = plain.response @ mode
    shared = fit_power_law(Spectrum(expected, AXIS, modes=mode[None]), 402, 452)
    assert shared.covariance == pytest.approx(plain.covariance + np.outer(moved, moved))
    assert np.sqrt(shared.covariance[0, 0]) > 1.5 * np.sqrt(plain.covariance[0, 0])
    pinned = fit_power_law(Spectrum(expected, AXIS, pinned=0.1 * mode[None]), 402, 452)
    assert pinned.covariance == pytest.approx(plain.covariance - 0.01 * np.outer(moved, moved))


def test_covariance_after_the_background_is_that_of_repeated_maps():
    rng = np.random.default_rng(2)
    expected = 200.0 * (AXIS.centers / 500) ** -3.0
    window = slice(60, 120)  # beyond the fitted 50 channels
    near, far, claimed = [], [], None
    for _ in range(400):
        left = remove_background(drawn(expected, rng), 402, 452)
        near.append(left.sum(slice(0, 30))[0])
        far.append(left.sum(window)[0])
        claimed = claimed or (left.sum(slice(0, 30))[1], left.sum(window)[1])
    assert claimed[0] == pytest.approx(np.std(near), rel=0.12)
    assert claimed[1] == pytest.approx(np.std(far), rel=0.12)
    # The extrapolation dominates: counting alone would claim much less.
    assert claimed[1] > 1.5 * np.sqrt(expected[window].sum())


def test_net_counts_of_an_edge_and_their_coverage():
    rng = np.random.default_rng(3)
    net = np.where(AXIS.centers > 530, 20.0, 0.0)
    expected = 100.0 * (AXIS.centers / 500) ** -3.0 + net
    signals = [edge_signal(drawn(expected, rng), O_K) for _ in range(300)]
    true = net[AXIS.window(530, 600)].sum()
    z = np.array([(s.value - true) / s.sigma for s in signals])
    assert abs(z.mean()) < 0.25
    assert 0.6 < (np.abs(z) < 1).mean() < 0.76


@pytest.mark.parametrize("anchor", [AbsentEdge(TI), EdgeRatio("Ti_L3", "O_K", 0.4)])
@pytest.mark.parametrize("draws", [80, pytest.param(200, marks=pytest.mark.slow)])
def test_scale_and_pure_spectrum_cover_the_truth(anchor, draws):
    """Windows of EdgeRatio's default edges hold the whole film's two edges."""
    rng = np.random.default_rng(4)
    smooth = 1000 * (AXIS.centers / 400) ** -3.0
    ti = np.where(AXIS.centers > 452, 300 * (AXIS.centers / 456) ** -3.0, 0)
    o = np.where(AXIS.centers > 529, 200 * (AXIS.centers / 532) ** -3.0, 0)
    matrix = smooth + ti + 0.8 * o
    grain = smooth + 2 * o
    if isinstance(anchor, EdgeRatio):
        anchor = replace(
            anchor,
            numerator=TI,
            denominator=Edge("O_K", background=(470, 528), signal=(530, 600)),
        )
        top, bottom = anchor.numerator, anchor.denominator
        # Give the grain as much Ti as the anchor says, by the windows' own measure.
        one = edge_signal(Spectrum(smooth + ti, AXIS), top).value
        two = edge_signal(Spectrum(smooth + o, AXIS), bottom).value
        sections = [cross_section(e, SETTINGS, AXIS)[0] for e in (top, bottom)]
        share = anchor.value * (2 * two / sections[1]) / (one / sections[0])
        # The power law before O K is fitted on Ti's tail: the truth must share its bias.
        grain = smooth + share * ti + 2 * o
        for _ in range(20):
            g = Spectrum(grain, AXIS, acquisition=SETTINGS)
            has = edge_signal(g, top).value / sections[0]
            wants = anchor.value * edge_signal(g, bottom).value / sections[1]
            share *= wants / has
            grain = smooth + share * ti + 2 * o
    z, errors = [], []
    window = slice(130, 200)
    for _ in range(draws):
        mixture = drawn(0.6 * matrix + grain, rng)
        pure = subtract_by_edges(mixture, drawn(4 * matrix, rng), anchor=anchor)
        z.append((pure.scale - 0.15) / pure.scale_sigma)
        value, sigma = pure.sum(window)
        errors.append((value - grain[window].sum()) / sigma)
    bias = 0.35 if isinstance(anchor, AbsentEdge) else 0.6  # the sum of two power laws is none
    assert abs(np.mean(z)) < bias
    assert 0.85 < np.std(z) < 1.15
    assert 0.85 < np.std(errors) < 1.15


def test_covariance_of_what_is_left_is_that_of_its_derivatives():
    """Of all noise, shared by channels or pinned, in the mixture and in the matrix."""
    axis = EnergyAxis(400.0, 1.0, 110, "eV")
    smooth = 1000 * (axis.centers / 400) ** -3.0
    ti = np.where(axis.centers > 452, 300 * (axis.centers / 456) ** -3.0, 0)

    def noisy(mean, seed):
        rng = np.random.default_rng(seed)
        shared = 0.05 * np.sqrt(mean) * rng.normal(size=(3, 110))
        return Spectrum(mean, axis, acquisition=SETTINGS, modes=shared[:2], pinned=shared[2:])

    both = [noisy(1.6 * smooth + 0.6 * ti, 1), noisy(4 * (smooth + ti), 2)]
    anchor = AbsentEdge(TI)
    pure = subtract_by_edges(*both, anchor=anchor)
    assert pure.scale == pytest.approx(0.15)
    expected = np.zeros((110, 110))
    for which, spectrum in enumerate(both):
        jacobian = np.zeros((110, 110))
        for channel in range(110):
            step = 1e-4 * spectrum.values[channel]
            moved = list(both)
            values = spectrum.values.copy()
            values[channel] += step
            moved[which] = replace(spectrum, values=values)
            jacobian[:, channel] = (
                subtract_by_edges(*moved, anchor=anchor).values - pure.values
            ) / step
        expected += jacobian @ spectrum.covariance @ jacobian.T
    scale = np.sqrt(np.diag(expected))
    assert pure.covariance / np.outer(scale, scale) == pytest.approx(
        expected / np.outer(scale, scale), abs=2e-3
    )


def test_ratios_come_back_from_spectra_made_of_cross_sections():
    from exspy.components import EELSCLEdge

    rng = np.random.default_rng(5)
    expected = 2e5 * (AXIS.centers / 400) ** -3.0
    for name, atoms in (("O_K", 3.0), ("Mn_L3", 1.0)):
        edge = EELSCLEdge(name, GOS="hydrogenic")
        edge.set_microscope_parameters(200.0, 10.0, 30.0, 1.0)
        expected = expected + 500 * atoms * edge.function(AXIS.centers)
    spectrum = drawn(expected, rng)
    ratios = elemental_ratios(spectrum, [O_K, MN], reference="Mn")
    assert ratios.below_zero() == []
    oxygen = np.array(ratios.elements) == "O"
    for sigmas, told in ((-2.9, []), (-3.1, ["O"])):
        low = np.where(oxygen, sigmas * ratios.sigma, ratios.values)
        assert replace(ratios, values=low).below_zero() == told
    assert ratios["Mn"] == 1.0
    assert ratios["O"] == pytest.approx(3.0, abs=4 * ratios.sigma[0] + 0.1)
    assert ratios.sigma[0] < 0.1
    # 5% and 10% on the two cross-sections.
    assert ratios.systematic_sigma[0] / ratios["O"] == pytest.approx(np.hypot(0.05, 0.1))
    assert "O/Mn = " in ratios.table()
    # A detector half as wide sees less of the edges: cross-sections, not ratios, tell by how much.
    narrow = replace(spectrum, acquisition=replace(SETTINGS, collection_angle=15.0))
    given = elemental_ratios(spectrum, [O_K, MN], reference="Mn", collection_angle=15.0)
    assert given.cross_sections == pytest.approx(
        elemental_ratios(narrow, [O_K, MN], reference="Mn").cross_sections
    )
    assert (given.cross_sections < ratios.cross_sections).all()
    wide = elemental_ratios(spectrum, [O_K, MN], reference="Mn", convergence_angle=25.0)
    assert wide.cross_sections[0] != pytest.approx(ratios.cross_sections[0], rel=0.01)
    # A standard deviation from 100 draws is good to 7%.
    nets = np.array(
        [[edge_signal(s, e).value for e in (O_K, MN)]
         for s in (drawn(expected, rng) for _ in range(100))]
    ) / ratios.cross_sections  # fmt: skip
    assert np.std(nets[:, 0] / nets[:, 1]) / ratios.sigma[0] == pytest.approx(1.0, abs=0.25)


def made_of(atoms, axis, law, seed=0):
    """Counts of edges by their cross-sections on a power law, as drawn."""
    from exspy.components import EELSCLEdge

    expected = 2e5 * (axis.centers / axis.first) ** -law
    for name, number in atoms.items():
        edge = EELSCLEdge(name, GOS="hydrogenic")
        edge.set_microscope_parameters(200.0, 10.0, 30.0, axis.scale)
        expected = expected + number * edge.function(axis.centers)
    counts = np.random.default_rng(seed).poisson(expected).astype(float)
    return Spectrum(counts, axis, acquisition=SETTINGS)


def test_an_edge_on_the_tail_of_another_one_has_an_error_that_holds_the_truth():
    """Three Zn beside a hundred Cu: no power law is what lies below it."""
    axis = EnergyAxis(780.0, 1.0, 400, "eV")
    spectrum = made_of({"Cu_L3": 1e5, "Zn_L3": 3e3}, axis, 3.0)
    edges = [
        Edge("Cu_L3", background=(785, 915), signal=(930, 1000)),
        Edge("Zn_L3", background=(970, 1012), signal=(1016, 1120)),
    ]
    with pytest.warns(DoubtWarning, match="Zn/Cu is .* by windows and 0.0"):
        ratios = elemental_ratios(spectrum, edges)
    away = abs(ratios["Zn"] - 0.03)
    assert away > 5 * np.hypot(0.14 * ratios["Zn"], ratios.sigma[1])  # what was told before
    assert away < 2 * ratios.systematic_sigma[1]


def test_windows_and_shapes_agree_where_edges_lie_apart():
    """The error of the tables alone is left, and nobody is warned."""
    axis = EnergyAxis(240.0, 1.0, 450, "eV")
    for seed in range(5):
        spectrum = made_of({"C_K": 60.0, "O_K": 150.0}, axis, 3.0, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("error", DoubtWarning)
            ratios = elemental_ratios(
                spectrum, [Edge("C_K", signal=(284, 360)), Edge("O_K", signal=(532, 620))]
            )
        assert ratios["O"] == pytest.approx(2.5, rel=0.1)
        assert ratios.systematic_sigma[1] / ratios["O"] < 1.3 * np.hypot(0.05, 0.05)


def test_elnes_map_gives_pure_spectra_within_three_degrees():
    """The whole road on truth: decomposition, regions, subtraction; issue's bar of 3 degrees."""
    phantom = simulate_elnes((48, 48), counts=100)
    si = phantom.spectrum_image
    factors = siftem.decompose(si, n_components=2)

    grains = 1 - factors.matrix
    share = factors.shares[grains]
    mask = share > 0.1 * share.max()
    overlap = (mask & phantom.mask()).sum() / (mask | phantom.mask()).sum()
    assert overlap > 0.9
    regions = siftem.Regions(si.shape, matrix="titanate", masks={"Mn oxide": mask}, margin=1)
    matrix = siftem.integrate(si, regions.pure)
    mixture = siftem.integrate(si, regions.mixture("Mn oxide"))
    pure = siftem.subtract(mixture, matrix, anchor=AbsentEdge(TI), name="grain")
    by_edges = subtract_by_edges(mixture, matrix, anchor=AbsentEdge(TI))
    assert pure.name == "grain" and pure.anchor == by_edges.anchor
    np.testing.assert_array_equal(pure.values, by_edges.values)
    np.testing.assert_array_equal(pure.modes, by_edges.modes)
    with pytest.raises(InputError, match="give the matrix alone"):
        siftem.subtract(mixture, [matrix, matrix], anchor=AbsentEdge(TI))
    assert matrix.angle_to(phantom.spectra[0]) < 0.5
    assert pure.angle_to(phantom.spectra[1]) < 3
    assert mixture.angle_to(phantom.spectra[1]) > 6
    # The fine structure alone, without the background that dominates the angle above.
    edges = remove_background(pure, 480, 528)
    true = phantom.edges[1][-edges.axis.size :]
    assert edges.angle_to(true) < 3
    assert remove_background(mixture, 480, 528).angle_to(true) > 12


def test_analogue_data_end_in_the_same_place_as_counts():
    phantom = simulate_elnes((32, 32), counts=100, gain=6.0, readout=15.0, random_state=3)
    si, _ = siftem.as_counts(phantom.data, phantom.spectrum_image.axis)
    mask = phantom.mask()
    regions = siftem.Regions(si.shape, matrix="titanate", masks={"Mn oxide": mask}, margin=1)
    matrix = siftem.integrate(si, regions.pure)
    mixture = siftem.integrate(si, regions.mixture("Mn oxide"))
    pure = subtract_by_edges(mixture, matrix, anchor=AbsentEdge(TI))
    assert pure.angle_to(phantom.spectra[1]) < 3
    inside = regions.mixture("Mn oxide").mask
    true = phantom.abundances[0][inside].sum() / regions.pure.n_pixels
    assert pure.scale == pytest.approx(true, abs=4 * pure.scale_sigma)


def test_low_loss_maps_are_decomposed_without_a_background():
    """Two plasmons beside a zero-loss peak; energies below zero are no obstacle."""
    rng = np.random.default_rng(6)
    axis = EnergyAxis(-5.0, 0.25, 180, "eV")
    e = axis.centers
    zero = 20 * np.exp(-0.5 * (e / 0.4) ** 2)
    true = [
        zero + (e > 1) / (1 + ((e - centre) / width) ** 2) for centre, width in ((15, 2), (22, 4))
    ]
    share = np.clip((np.mgrid[0:24, 0:24][1] - 8) / 10, 0, 0.8)
    expected = 30 * np.einsum("kyx,kc->yxc", [1 - share, share], true)
    import scipy.sparse as sp

    si = siftem.SpectrumImage(
        sp.csr_array(rng.poisson(expected).reshape(-1, axis.size)), (24, 24), axis,
        signal_type="EELS",
    )  # fmt: skip
    regions = siftem.Regions(si.shape, matrix="a", masks={"b": share > 0}, margin=1)
    matrix = siftem.integrate(si, regions.pure)
    mixture = siftem.integrate(si, regions.mixture("b"))
    held = (1 - share)[regions.mixture("b").mask].sum() / regions.pure.n_pixels
    pure = subtract_by_edges(mixture, matrix, anchor=GivenScale(held))
    assert pure.angle_to(true[1]) < 3
    factors = siftem.decompose(si, n_components=2)
    assert min(siftem.spectrum.spectral_angle(s, true[0]) for s in factors.spectra) < 3


@pytest.mark.parametrize("name", ["Li_K", "Si_L3", "C_K", "O_K", "Fe_L3", "Nd_M5", "Sr_L3"])
def test_default_windows_fit_edges_of_all_energies(name):
    edge = Edge(name)
    assert edge.background_window[0] < edge.background_window[1] <= edge.signal_window[0]
    assert edge.signal_window[0] <= edge.onset < edge.signal_window[1]


def test_windows_that_hold_the_edge_of_another_element_are_told():
    copper, zinc = Edge("Cu_L3"), Edge("Zn_L3")
    told = edges_in_windows([copper, zinc])
    assert list(told) == ["Zn_L3"] and "background window of Zn_L3, 877 to 994 eV" in told["Zn_L3"]
    assert not edges_in_windows([copper, Edge("Zn_L3", background=(975, 1012))])
    wide = Edge("Cu_L3", signal=(925, 1030))
    assert "signal window of Cu_L3" in edges_in_windows([wide, zinc])["Cu_L3"]
    # Titanium's white lines begin below the default window of oxygen, and reach into it.
    assert list(edges_in_windows([Edge("Ti_L3"), Edge("O_K")])) == ["O_K"]
    assert not edges_in_windows([Edge("Cu_L3"), Edge("Cu_L2")])  # of one element: no other


def test_onsets_are_those_of_the_tables():
    """Edge energies, eV: Egerton 2011, appendix D: O K 532, Ti L3 456, Fe L3 708, C K 284."""
    for name, onset in (("O_K", 532), ("Ti_L3", 456), ("Fe_L3", 708), ("C_K", 284)):
        assert Edge(name).onset == pytest.approx(onset, abs=2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Edge("Ti"), "element and subshell"),
        (lambda: Edge("H_L3"), "no L3 edge"),
        (lambda: Edge("O_K", background=(500, 560)), "end before"),
        (lambda: edge_signal(Spectrum(np.ones(400), AXIS), "Fe_L3"), None),
        (lambda: edge_signal(Spectrum(np.ones(400), AXIS), "C_K"), "axis runs"),
        (lambda: fit_power_law(Spectrum(np.ones(400), AXIS), 402, 404), "5 are needed"),
        (lambda: fit_power_law(Spectrum(np.zeros(400), AXIS), 402, 452), "no signal"),
        (lambda: cross_section(O_K, Acquisition(beam_energy=200.0), AXIS), "convergence_angle"),
        (lambda: cross_section(Edge("Nd_M5"), SETTINGS, EnergyAxis(800, 1, 400, "eV")), "Nd_M5"),
        (lambda: EdgeRatio("O_K", "Ti_L3", -1.0), "not negative"),
        (lambda: elemental_ratios(Spectrum(np.ones(400), AXIS), ["O_K"]), "two elements"),
    ],
)
def test_wrong_use_is_refused_in_one_sentence(call, message):
    if message is None:
        call()
        return
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_an_anchor_that_the_matrix_lacks_is_refused():
    rng = np.random.default_rng(7)
    smooth = 1000 * (AXIS.centers / 400) ** -3.0
    with pytest.raises(InputError, match="says nothing"):
        subtract_by_edges(drawn(smooth, rng), drawn(smooth, rng), anchor=AbsentEdge(TI))


def test_the_real_cuzn_map_from_file_to_ratios(vendor_file):
    """A brass map as distributed with the eXSpy demos; its camera has a gain of about 4."""
    si = siftem.load(vendor_file("CuZn_EELS_mapping_tutorial.hspy"))
    assert si.signal_type == "EELS"
    assert si.acquisition.convergence_angle == pytest.approx(29)
    assert si.acquisition.collection_angle == pytest.approx(36)
    data = si.counts.toarray().reshape(*si.shape, -1)
    counts, noise = siftem.as_counts(data, si.axis, acquisition=si.acquisition)
    assert 3.5 < noise.gain < 5
    total = counts.total_map()
    spectrum = siftem.integrate(counts, total > np.median(total), name="metal")
    with pytest.warns(DoubtWarning, match="metal: Zn/Cu is 0.8.* by windows and 1.1"):
        ratios = elemental_ratios(
            spectrum,
            [
                Edge("Cu_L3", background=(780, 915), signal=(925, 1005)),
                Edge("Zn_L3", background=(975, 1012), signal=(1016, 1100)),
            ],
        )
    assert ratios.systematic_sigma[1] > 0.2
    assert ratios.signals[0].value > 20 * ratios.signals[0].sigma
    assert np.isfinite(ratios["Zn"])
