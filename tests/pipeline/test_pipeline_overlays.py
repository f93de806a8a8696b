"""Grains with as much of another phase above them everywhere look pure: ratios tell."""

import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

from siftem.acquisition import Acquisition
from siftem.decomposition.layout import Lies, PhaseLayout
from siftem.decomposition.support import AS_BESIDE, over_core
from siftem.energy_axis import EnergyAxis
from siftem.errors import DoubtWarning
from siftem.fit.line_fit import LineFitter
from siftem.pipeline.even_overlays import Held, evenly_held, with_even_overlays
from siftem.pipeline.layout import corrected_layout
from siftem.pipeline.open_scales import Host, open_scale
from siftem.pipeline.own_pixels import OwnPixels
from siftem.pipeline.recipe import make_recipe
from siftem.pipeline.region_spectra import region_spectra
from siftem.pipeline.results import Matched
from siftem.segment.regions import Region, Regions
from siftem.simulate.spectra import Microscope, PhaseModel, phase_spectrum
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage

ELEMENTS = ("O", "Na", "Mg", "Al", "Si", "Ca", "Ti", "Fe", "Ni")
FELDSPAR = {"O": 0.488, "Na": 0.088, "Al": 0.103, "Si": 0.321}
ILMENITE = {"O": 0.316, "Ti": 0.316, "Fe": 0.368}
PYROXENE = {"O": 0.44, "Mg": 0.1, "Ca": 0.16, "Fe": 0.07, "Si": 0.23}
GARNET = {"O": 0.42, "Mg": 0.09, "Al": 0.12, "Si": 0.19, "Ca": 0.04, "Fe": 0.14}
QUARTZ = {"O": 0.533, "Si": 0.467}
OLIVINE = {"O": 0.42, "Mg": 0.32, "Fe": 0.08, "Si": 0.18}
#: With olivine's ratio of Mg to Fe, as minerals side by side often have it.
OPX = {"O": 0.47, "Mg": 0.2, "Fe": 0.05, "Si": 0.28}
GAMMA = {"Ni": 0.75, "Al": 0.05, "Ti": 0.02, "Fe": 0.18}
GAMMA_PRIME = {"Ni": 0.83, "Al": 0.1, "Ti": 0.06, "Fe": 0.01}
OWN = 0.8


def parts(weights, *, noise=0.02, seed=0):
    w = np.array([weights.get(e, 0.0) for e in ELEMENTS])
    sigma = noise * np.sqrt(w * 0.1) + 1e-3
    return w + sigma * np.random.default_rng(seed).standard_normal(w.size), sigma


def mixed(one, other, share):
    both = {*one, *other}
    return {e: (1 - share) * one.get(e, 0.0) + share * other.get(e, 0.0) for e in both}


@pytest.mark.parametrize("share", [0.15, 0.3, 0.6])
@pytest.mark.parametrize("grain", [ILMENITE, PYROXENE])
def test_a_phase_that_goes_on_evenly_is_told_with_its_share(grain, share):
    held = evenly_held(parts(FELDSPAR), parts(mixed(grain, FELDSPAR, share), seed=1))
    assert held is not None
    assert held.share == pytest.approx(share, abs=0.05)
    assert {"Na", "Al"} <= set(np.array(ELEMENTS)[held.together])
    assert held.own > OWN


def test_pure_neighbours_are_not_doubted():
    phases = (FELDSPAR, ILMENITE, PYROXENE, GARNET, OLIVINE, OPX, GAMMA, GAMMA_PRIME)
    for i, one in enumerate(phases):
        for j, other in enumerate(phases):
            held = evenly_held(parts(one), parts(other, seed=1)) if i != j else None
            assert held is None or held.own < OWN


def test_ratios_that_agree_closely_are_less_likely_by_chance():
    values, sigma = parts(mixed(PYROXENE, FELDSPAR, 0.4), noise=0.0)
    close = evenly_held(parts(FELDSPAR, noise=0.0), (values, sigma))
    values = values * np.where(np.array(ELEMENTS) == "Al", 1.15, 1.0)
    wide = evenly_held(parts(FELDSPAR, noise=0.0), (values, sigma))
    assert close.chance < 0.35
    assert wide.chance > 0.5


def test_of_elements_that_the_other_phase_has_as_well_less_is_left():
    """What nothing but quartz is left of may be half quartz: that needs a further witness."""
    held = evenly_held(parts(FELDSPAR), parts(mixed(QUARTZ, FELDSPAR, 0.5), seed=1))
    assert held is not None
    assert held.share == pytest.approx(0.5, abs=0.05)
    assert 0.4 < held.own < OWN


def test_what_is_hardly_seen_is_in_no_ratio():
    values, sigma = parts(mixed(ILMENITE, FELDSPAR, 0.3), seed=1)
    sigma = np.where(np.isin(ELEMENTS, ("Na", "Al", "Si")), 0.008, sigma)
    assert evenly_held(parts(FELDSPAR), (values, sigma)) is None


N = 40
AXIS = EnergyAxis(0.2, 0.02, 450, "keV")
Y, X = np.mgrid[:N, :N]
LISTED = ("O", "Na", "Mg", "Al", "Si", "Ca", "Ti", "Fe")
#: A grain within the feldspar; one that lies as much beside the garnet at the edge of the map.
INSIDE = (abs(Y - 26) < 7) & (abs(X - 27) < 7)
BETWEEN = (Y < 8) & (abs(X - 14) < 7)
BESIDE = (X < 8) & ~BETWEEN
NAMES = ("Fsp", "grain", "Grt")
MICROSCOPE = Microscope(support={})


def pure(weights):
    model = PhaseModel("x", {e: 100 * w for e, w in weights.items()}, 3.0)
    return phase_spectrum(model, AXIS, MICROSCOPE)


def map_of(grain, place, share, counts=400.0):
    """Feldspar, garnet beside it, and a grain with so much feldspar in all its pixels."""
    labels = np.where(place, 1, np.where(BESIDE | (Y < 8) & (X >= 21), 2, 0))
    shapes = np.array([pure(w) for w in (FELDSPAR, grain, GARNET)])
    shapes[1] = (1 - share) * shapes[1] + share * shapes[0]
    mean = counts * shapes / shapes.sum(axis=1, keepdims=True)
    drawn = np.random.default_rng(0).poisson(mean[labels.ravel()])
    acquisition = Acquisition(beam_energy=200.0, take_off_angle=22.0)
    si = SpectrumImage(
        sp.csr_array(drawn), (N, N), AXIS, acquisition=acquisition, signal_type="EDS_TEM"
    )
    lies = tuple(Lies("pure", (), 0.0, float((labels == c).mean()), counts) for c in range(3))
    return si, SimpleNamespace(layout=PhaseLayout("side by side", lies, labels), names=NAMES)


def found(grain, place, share, **said):
    si, factors = map_of(grain, place, share)
    return with_even_overlays(factors, si, LISTED, (), **said)


@pytest.mark.parametrize(
    ("grain", "place", "role", "hosts", "perhaps"),
    [
        (PYROXENE, INSIDE, "embedded", (0,), ()),
        (PYROXENE, BETWEEN, "pure", (), (0,)),  # two elements, as jadeite in it would give
        (ILMENITE, BETWEEN, "embedded", (0,), ()),  # three, and the other lies beside it only
        (QUARTZ, INSIDE, "pure", (), (0,)),
    ],
)
def test_ratios_and_surroundings_say_where_a_grain_lies(grain, place, role, hosts, perhaps):
    with pytest.warns(DoubtWarning, match="grain: .* in the ratios of Fsp"):
        layout = found(grain, place, 0.4)
    lies = layout.phases[1]
    assert (lies.role, lies.hosts, lies.perhaps) == (role, hosts, perhaps)
    assert layout.phases[0].hosts == layout.phases[2].hosts == ()
    assert ("grain may have Fsp evenly above" in layout.sentence(NAMES)) == bool(perhaps)


@pytest.mark.parametrize(
    ("number", "own", "chance", "hosts", "perhaps"),
    [
        (3, 1.0, 0.3, (0,), ()),
        (3, 1.0, 0.6, (), (0,)),  # three that agree within large errors
        (3, 1.0, 1.0, (), ()),
        (2, 1.0, 0.3, (), (0,)),
        (2, 1.0, 0.6, (), ()),
        (3, 0.5, 0.3, (), ()),
    ],
)
def test_what_does_not_lie_around_needs_closer_ratios(
    monkeypatch, number, own, chance, hosts, perhaps
):
    one = Held(0.3, np.isin(LISTED, ("Na", "Al", "Si")[:number]), own, chance)
    module = "siftem.pipeline.even_overlays"
    monkeypatch.setattr(f"{module}._line_counts", lambda *_: NAMES)
    monkeypatch.setattr(
        f"{module}.evenly_held", lambda host, grain: one if (host, grain) == NAMES[:2] else None
    )
    si, factors = map_of(ILMENITE, BETWEEN, 0.4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtWarning)
        lies = with_even_overlays(factors, si, LISTED, ()).phases[1]
    assert (lies.hosts, lies.perhaps) == (hosts, perhaps)


@pytest.mark.parametrize("grain", [PYROXENE, QUARTZ])
def test_grains_that_are_pure_stay_so(grain):
    assert found(grain, INSIDE, 0.0).phases[1].role == "pure"
    assert found(QUARTZ, BETWEEN, 0.4).phases[1].perhaps == ()  # nothing tells


def test_what_the_recipe_says_goes_first():
    assert found(PYROXENE, INSIDE, 0.4, told=["grain"]).phases[1].hosts == ()
    with pytest.warns(DoubtWarning):
        assert found(PYROXENE, BETWEEN, 0.4, anchored=["grain"]).phases[1].hosts == (0,)
    si, factors = map_of(PYROXENE, BETWEEN, 0.4)
    with pytest.warns(DoubtWarning):
        layout = with_even_overlays(factors, si, LISTED, ())
    for said, hosts in (("embedded", (0,)), ("pure", ())):
        phases = {"Grt": {"high": ["Fe"]}, "grain": {"lies": said, "high": ["Mg"]}}
        recipe = make_recipe({"input": {"file": "x.hspy"}, "matrix": "Grt", "phases": phases})
        lies = corrected_layout(layout, recipe, NAMES, "Grt").phases[1]
        assert (lies.hosts, lies.perhaps) == (hosts, ())


def test_pixels_that_are_taken_for_another_s_are_no_overlay():
    si, factors = map_of(PYROXENE, INSIDE, 0.4)
    mistaken = np.array([[0, 0, 0], [0.3, 0, 0], [0, 0, 0]])
    factors.layout = replace(factors.layout, mistaken=mistaken)
    assert with_even_overlays(factors, si, LISTED, ()).phases[1].hosts == ()


def own_pixels(si, layout):
    factors = SimpleNamespace(names=NAMES)
    matched = Matched(factors, "Fsp", LISTED, layout)
    masks = {n: layout.labels == c for c, n in enumerate(NAMES) if c}
    regions = Regions((N, N), matrix="Fsp", masks=masks)
    return region_spectra(si, regions, matched), OwnPixels(si, regions, matched, 0)


def test_what_may_go_on_is_left_to_the_ends_of_a_phase():
    si, factors = map_of(QUARTZ, INSIDE, 0.4)
    with pytest.warns(DoubtWarning):
        layout = with_even_overlays(factors, si, LISTED, ())
    integrated, own = own_pixels(si, layout)
    spectra, scales = own.spectra(integrated, {"Fsp": integrated["Fsp"]}, None)
    assert np.array_equal(spectra["grain"].values, integrated["grain"].values)
    assert scales["grain"].beside["Fsp"] > 0.4
    sodium = AXIS.window_kev(0.95, 1.13)
    left = min(end.values[sodium].sum() for end in scales["grain"].ends)
    assert left < 0.2 * spectra["grain"].values[sodium].sum()


def test_a_grain_that_lies_in_another_phase_is_the_sum_of_its_purest_pixels():
    """Garnet labelled as ilmenite in feldspar would stay when the feldspar is taken off."""
    si, factors = map_of(ILMENITE, INSIDE, 0.4, counts=200.0)
    labels = factors.layout.labels.copy()
    labels[3:6, 30:38] = 1
    phases = list(factors.layout.phases)
    phases[1] = replace(phases[1], role="embedded", hosts=(0,))
    layout = replace(factors.layout, labels=labels, phases=tuple(phases), kind="mixed")
    spectrum = own_pixels(si, layout)[0]["grain + Fsp"]
    magnesium = AXIS.window_kev(1.2, 1.3)
    alone = si.counts[np.flatnonzero(INSIDE.ravel())].sum(axis=0)
    whole = si.counts[np.flatnonzero((labels == 1).ravel())].sum(axis=0)
    extra = [s[magnesium].sum() / s.sum() for s in (spectrum.counts, alone, whole)]
    assert extra[0] - extra[1] < 0.3 * (extra[2] - extra[1])


def test_what_a_grain_lies_in_is_no_reason_to_leave_its_pixels_out():
    """Half of it has twice the feldspar, which is taken off later."""
    si, factors = map_of(ILMENITE, INSIDE, 0.4, counts=200.0)
    phases = list(factors.layout.phases)
    phases[1] = replace(phases[1], role="embedded", hosts=(0,))
    feldspar = 200 * pure(FELDSPAR) / pure(FELDSPAR).sum()
    more = np.random.default_rng(1).poisson(feldspar, (N * N, AXIS.size))
    thick = (INSIDE & (X > 27)).ravel()[:, None]
    si = replace(si, counts=sp.csr_array(si.counts.toarray() + thick * more))
    layout = replace(factors.layout, phases=tuple(phases), kind="mixed")
    assert own_pixels(si, layout)[0]["grain + Fsp"].n_pixels > 0.9 * inner_pixels(layout)


def inner_pixels(layout):
    """Pixels of the grain that the margin of regions leaves."""
    masks = {n: layout.labels == c for c, n in enumerate(NAMES) if c}
    return Regions((N, N), matrix="Fsp", masks=masks).own("grain").n_pixels


@pytest.mark.parametrize("radii", [(12, 16), (8, 16), (7, 18)])
def test_a_shell_lies_above_and_below_its_core_as_its_width_says(radii):
    inner, outer = radii
    away = np.hypot(*(np.mgrid[-20:20, -20:20] + 0.5))
    path = [2 * np.sqrt(np.maximum(r**2 - away**2, 0.0)) for r in radii]
    shell = path[1] - path[0]
    core, ring = away < inner, (away >= inner) & (away < outer)
    expected = shell[core].mean() / shell[ring].mean()
    apart = np.pad(ring, ((0, 0), (0, 50)))  # and what is not around a core
    apart[:, 60:70] = True
    core = np.pad(core, ((0, 0), (0, 50)))
    assert over_core(core, apart) == pytest.approx(expected, rel=0.06)
    assert over_core(core, np.roll(apart, 45, axis=1) & ~core & (np.arange(90) > 45)) == 0.0


def test_a_core_on_a_film_is_taken_with_its_shell_above_it():
    """Particles of Ti with shells of Fe oxide on C: of the shell, the counts leave all open."""
    shapes = [pure(w) for w in ({"C": 1.0}, {"Fe": 0.7, "O": 0.3}, {"Ti": 0.3, "Fe": 0.7})]
    film, shell, core = (100.0 * s / s.sum() for s in shapes)
    counts = np.random.default_rng(0)
    acquisition = Acquisition(beam_energy=200.0, take_off_angle=22.0)
    si = SpectrumImage(
        sp.csr_array(counts.poisson(np.tile(film, (N * N, 1)))), (N, N), AXIS,
        acquisition=acquisition, signal_type="EDS_TEM",
    )  # fmt: skip
    everywhere = Region("all", np.ones((N, N), bool), "")

    def spectrum(mean, name):
        values = counts.poisson(200.0 * mean).astype(float)
        return Spectrum(values, AXIS, variance=values, name=name, n_pixels=200)

    fitter = LineFitter.of(acquisition, ("C", "O", "Ti", "Fe"))
    mixture = spectrum(film + 0.8 * shell + 4.0 * core, "core + film")
    found = {}
    for covers in (0.0, 0.8):
        hosts = {
            "film": Host(spectrum(film, "film"), AS_BESIDE, everywhere),
            "shell": Host(spectrum(shell, "shell"), None, everywhere, covers=covers),
        }
        known = open_scale(si, "core", mixture, everywhere, hosts, fit=fitter.fit, random_state=0)[
            1
        ]
        found[covers] = known
    shells = {covers: known.ranges[1] for covers, known in found.items()}
    assert shells[0.8].covers and not shells[0.0].covers
    assert shells[0.8].value == pytest.approx(0.8, abs=0.15)
    assert shells[0.8].ends == pytest.approx(shells[0.0].ends, abs=0.1)
    assert "round shell" in found[0.8].describe()
