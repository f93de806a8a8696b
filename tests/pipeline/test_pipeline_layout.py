"""The road on maps whose phases lie otherwise than grains in a matrix."""

import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.ndimage import distance_transform_edt, gaussian_filter

from siftem.acquisition import Acquisition
from siftem.decomposition.layout import Lies, PhaseLayout
from siftem.decomposition.purest import most_from_around, of_one_kind
from siftem.decomposition.support import AS_BESIDE
from siftem.energy_axis import EnergyAxis
from siftem.errors import DoubtWarning, RecipeError
from siftem.pipeline.composition_doubts import with_stray_counts
from siftem.pipeline.layout import corrected_layout
from siftem.pipeline.open_scales import Host, open_scale
from siftem.pipeline.own_pixels import OwnPixels
from siftem.pipeline.recipe import make_recipe
from siftem.pipeline.region_spectra import region_spectra
from siftem.pipeline.results import Matched
from siftem.pipeline.steps import match
from siftem.pipeline.steps.match import _of_rare_phases, run_elements
from siftem.pipeline.summary import summarize
from siftem.pipeline.unseen_elements import hidden_in, warn_of_hidden, warn_of_unseen
from siftem.pipeline.workflow import Workflow
from siftem.quantification.composition import quantify
from siftem.segment.regions import Region, Regions
from siftem.spectrum import Spectrum, spectral_angle
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.integrate import integrate

N, CHANNELS = 40, 450
ENERGY = 0.2 + 0.02 * np.arange(CHANNELS)
AXIS = EnergyAxis(0.2, 0.02, CHANNELS, "keV")
Y, X = np.mgrid[:N, :N]
RECIPE = {"input": {"file": "given"}, "unmix": False, "segment": {"trees": 10}}


def spectrum(*lines, counts):
    out = 0.4 * np.exp(-ENERGY / 2) / ENERGY
    for energy, weight in lines:
        sigma = 1e-3 * np.sqrt(130**2 + 2330 * (energy - 5.895)) / 2.355
        out += weight * np.exp(-0.5 * ((ENERGY - energy) / sigma) ** 2) / sigma
    return counts * out / out.sum()


def image(mean, seed=0):
    return SpectrumImage(
        sp.csr_array(np.random.default_rng(seed).poisson(mean).reshape(N * N, CHANNELS)),
        (N, N),
        AXIS,
        acquisition=Acquisition(beam_energy=200.0, take_off_angle=22.0),
        signal_type="EDS_TEM",
    )


def run(mean, elements, support=(), seed=0, **recipe):
    si = image(mean, seed)
    data = {**RECIPE, "elements": list(elements), "support": list(support), **recipe}
    return Workflow(data, spectrum_image=si).result()


@pytest.fixture(scope="module")
def layers():
    """Si beside SiO2: nothing may be taken off the oxide."""
    silicon = spectrum((1.74, 5), counts=300)
    oxide = spectrum((1.74, 3), (0.525, 2), counts=300)
    below = gaussian_filter((Y >= 18).astype(float), 0.7)
    mean = below[..., None] * silicon + (1 - below)[..., None] * oxide
    return run(mean, ("O", "Si"), decompose={"components": 2})


def test_phases_that_diffuse_into_each_other_may_be_purer_than_their_purest_pixels():
    """Cr and Fe on either side, with a percent of the other even at the ends of the map."""
    share = 1 / (1 + np.exp((Y - N / 2 + 0.5) / 4.0))
    assert 0.003 < share[-1, 0] < 0.03
    chromium = spectrum((5.415, 5), (5.947, 0.6), counts=300)
    iron = spectrum((6.404, 5), (7.058, 0.6), counts=300)
    mean = share[..., None] * chromium + (1 - share)[..., None] * iron
    found = run(mean, ("Cr", "Fe"), decompose={"components": 2})
    for name, phase in summarize(found)["phases"].items():
        element = "Fe" if "Cr" in name else "Cr"
        low, high = phase["elements"][element]["at_interval_95"]
        value = phase["elements"][element]["at_percent"]
        assert low == 0
        assert 0.1 < value < high < 5
        (most,) = phase["counts_percent_over_borders_at_most"].values()
        assert 0.1 < most < 20


@pytest.mark.parametrize("alike", [True, False])
def test_a_component_of_two_minerals_is_told_as_a_mean(alike):
    silicon = spectrum((1.74, 5), counts=300)
    chromium = spectrum((1.74, 1), (5.415, 5), (5.947, 0.6), counts=300)
    iron = spectrum((1.74, 1), (6.404, 5), (7.058, 0.6), counts=300)
    below = gaussian_filter((Y >= 18).astype(float), 1.5)[..., None]
    rare = ((Y > 26) & (X % 10 < 5))[..., None] & (not alike)
    mean = (1 - below) * silicon + below * np.where(rare, iron, chromium)
    found = run(mean, ("Si", "Cr", "Fe"), decompose={"components": 2})
    told = [w for w in found.warnings if "may be a mean" in w]
    assert len(told) == (0 if alike else 1)
    assert all(name in text for name in found.pure for text in told)


def test_purer_pixels_are_of_one_kind_when_they_are_the_others_with_less_beside():
    """Two minerals in one region: the purest pixels of it would be one of them."""
    silicon = spectrum((1.74, 5), counts=1e5)
    chromium = spectrum((1.74, 1), (5.415, 5), counts=1e5)
    iron = spectrum((1.74, 1), (6.404, 5), counts=1e5)
    whole = 0.6 * chromium + 0.3 * iron + 0.1 * silicon
    parts = np.stack([whole, silicon], axis=1)
    assert of_one_kind(0.3 * (whole - 0.1 * silicon), parts, whole)
    assert not of_one_kind(0.3 * chromium, parts, whole)


@pytest.fixture(scope="module")
def particles():
    """Particles of Cr and Fe on a film that holds some Fe as well."""
    film = spectrum((0.277, 6), (6.404, 1), (7.058, 0.12), counts=60)
    lines = ((5.415, 5), (5.947, 0.6), (6.404, 1), (7.058, 0.12))
    grain = spectrum(*lines, counts=300)
    depth = np.zeros((N, N))
    for y, x in ((10, 10), (10, 30), (30, 20)):
        depth[(Y - y) ** 2 + (X - x) ** 2 < 36] = 1
    mean = film + gaussian_filter(depth, 0.7)[..., None] * grain
    return run(mean, ("Cr", "Fe"), ("C",), decompose={"components": 2})


def test_layers_keep_what_they_hold(layers):
    summary = summarize(layers)
    assert summary["layout"]["kind"] == "side by side"
    oxide = next(n for n, p in summary["phases"].items() if p["elements"]["O"]["at_percent"] > 10)
    assert summary["phases"][oxide]["elements"]["Si"]["at_percent"] > 10
    assert summary["phases"][oxide]["area_percent"] == pytest.approx(45, abs=3)
    # Nothing is taken off; what a border may bring over is a small part.
    assert not any(known.ranges for known in layers.open_scales.values())
    for known in layers.open_scales.values():
        assert max(known.beside.values()) < 0.03
    assert set(layers.spectra) == set(layers.pure)


def test_a_support_goes_on_below_what_lies_on_it(particles):
    """Cr : Fe of the particle is that of its own photons, the film's Fe taken off with its area."""
    summary = summarize(particles)
    assert summary["layout"]["kind"] == "particles on a support"
    name = next(n for n, p in summary["layout"]["phases"].items() if p["role"] == "embedded")
    found = particles.pure[name]
    assert found.scale == pytest.approx(
        found.n_pixels / particles.pure[particles.matrix].n_pixels, rel=0.05
    )
    fractions = dict(
        zip(particles.compositions[name].elements, particles.compositions[name].weight_fractions,
            strict=True)
    )  # fmt: skip
    # 5 to 1 in photons seen; k-factors of neighbours differ by some percent.
    assert fractions["Fe"] == pytest.approx(1 / 6, abs=0.03)


@pytest.mark.parametrize(("role", "purest"), [("support", False), ("pure", True)])
def test_a_support_is_the_film_as_it_is_on_the_whole(role, purest):
    """Where it is thinnest it looks least like a thick bar of the same, and is not typical."""
    film, column = spectrum((0.277, 6), counts=60), spectrum((8.047, 5), (8.904, 0.6), counts=20)
    thick = np.where(X < N / 2, 1.0, np.where(X < 0.9 * N, 0.3, 3.0))
    counts = np.random.default_rng(0).poisson(thick[..., None] * film + column)
    si = SpectrumImage(sp.csr_array(counts.reshape(N * N, -1)), (N, N), AXIS)
    bar = X >= 0.9 * N
    own = {"film": Region("film", ~bar, ""), "bar": Region("bar", bar, "")}
    regions = SimpleNamespace(
        matrix="film", names=("bar",), masks={"bar": bar}, pure=own["film"], own=own.__getitem__
    )
    phases = (Lies(role, (), 0.0, 0.9, 60.0), Lies("pure", (), 0.0, 0.1, 200.0))
    layout = SimpleNamespace(
        phases=phases, kind="mixed", labels=bar.astype(int), surely_overlapping=False
    )
    matched = SimpleNamespace(
        layout=layout, factors=SimpleNamespace(names=("film", "bar")), matrix="film"
    )
    found = region_spectra(si, regions, matched)["film"]
    carbon = found.axis.window(0.2, 0.4)
    mean = counts[~bar][:, carbon].sum() / (~bar).sum()
    assert (found.counts[carbon].sum() / found.n_pixels < 0.6 * mean) == purest
    if not purest:
        assert found.n_pixels == (X < 0.9 * N - 4).sum()


@pytest.mark.parametrize("real", [False, True])
def test_threads_that_may_be_a_blurred_border_are_told(real):
    """Two pixels between Cr and Fe, and a knot at the edge: half of each, or Mn."""
    lines = [((5.415, 5), (5.947, 0.6)), ((6.404, 5), (7.058, 0.6)), ((5.895, 5), (6.49, 0.6))]
    chromium, iron, manganese = (spectrum(*part, counts=900) for part in lines)
    labels = np.where(Y < 19, 0, np.where(Y < 21, 2, 1))
    labels[17:23, :3] = 2
    thread = manganese if real else 0.5 * (chromium + iron)
    si = image(np.choose(labels[..., None], [chromium, iron, thread]))
    names = ("Cr", "Fe", "thread")
    phases = tuple(Lies("pure", (), 0.0, float((labels == c).mean()), 900.0) for c in range(3))
    layout = PhaseLayout("side by side", phases, labels)
    masks = {n: labels == c for c, n in enumerate(names[1:], 1)}
    regions = Regions((N, N), matrix="Cr", masks=masks)
    matched = Matched(SimpleNamespace(names=names), "Cr", (), layout)
    own = OwnPixels(si, regions, matched, 0)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        sums = region_spectra(si, regions, matched)
        own.spectra(sums, {"Cr": sums["Cr"]}, None)
    said = [str(w.message) for w in told if "lies in threads" in str(w.message)]
    assert len(said) == (0 if real else 1)
    assert all(w.startswith("thread: ") and "of Cr and" in w for w in said)


def test_a_film_thinner_than_a_probe_is_not_called_pure():
    """Two pixels of pyrite-like S and Fe hold Fe of one side and Al of the other."""
    lines = [((5.415, 5), (6.404, 2)), ((1.487, 8),), ((2.307, 6), (3.69, 2))]
    steel, alumina, film = (spectrum(*part, counts=900) for part in lines)
    labels = np.where(Y < 19, 0, np.where(Y < 21, 2, 1))
    sharp = np.eye(3)[labels]
    shares = gaussian_filter(sharp, (0.7, 0.7, 0))
    si = image(shares @ np.array([steel, alumina, film]))
    names = ("steel", "alumina", "film")
    phases = tuple(Lies("pure", (), 0.0, float((labels == c).mean()), 900.0) for c in range(3))
    layout = PhaseLayout("side by side", phases, labels)
    said = layout.sentence(names)
    assert "steel and alumina are pure" in said
    assert "film is thin" in said
    recipe = make_recipe({"input": {"file": "given"}, "phases": {"film": {"lies": "pure"}}})
    layout_told = corrected_layout(layout, recipe, names, "steel")
    assert "steel, alumina and film are pure" in layout_told.sentence(names)
    masks = {n: labels == c for c, n in enumerate(names[1:], 1)}
    regions = Regions((N, N), matrix="steel", masks=masks)
    own = OwnPixels(si, regions, Matched(SimpleNamespace(names=names), "steel", (), layout), 0)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        sums = region_spectra(si, regions, own.matched)
        pure, scales = own.spectra(sums, {"steel": sums["steel"]}, None)
    assert [str(w.message).split(":")[0] for w in told if "touch" in str(w.message)] == ["film"]
    held = 1 - shares[labels == 2][:, 2].mean()
    assert held > 0.15
    # Each neighbour alone, and both: some end has none of Al, some none of Cr, and S is kept.
    assert len(scales["film"].ends) == 4
    chromium, aluminium, sulphur = (
        [float(s.values[s.axis.window(e - 0.1, e + 0.1)].sum()) for s in (pure["film"], *ends)]
        for ends in [scales["film"].ends]
        for e in (5.415, 1.487, 2.307)
    )
    for line in (chromium, aluminium):
        assert min(line[1:]) < 0.2 * line[0]
        assert max(line[1:]) > 0.9 * line[0]
    assert min(sulphur) > 0.9 * sulphur[0]


def test_elements_of_a_rare_phase_are_sought_in_it(monkeypatch):
    """Ti of a grain that makes 3% of the map, though Ba L, which others show, lies on Ti K."""
    matrix = spectrum((0.525, 2), (1.74, 3), counts=400)
    grain = spectrum((0.525, 2), (1.74, 0.3), (4.51, 3), (4.93, 0.4), counts=400)
    inside = (np.abs(Y - 20) < 4) & (np.abs(X - 20) < 4)
    si = image(np.where(inside[..., None], grain, matrix))
    phases = tuple(Lies("pure", (), 0.0, float(m.mean()), 400.0) for m in (~inside, inside))
    layout = PhaseLayout("side by side", phases, inside.astype(np.int64))
    factors = SimpleNamespace(layout=layout)
    shown = [SimpleNamespace(element="Si", energy=1.74), SimpleNamespace(element="O", energy=0.525)]
    found = _of_rare_phases({"Si", "O"}, shown, si, factors)
    assert [f.element for f in found] == ["Ti"]
    # Phases that are named anew are the same: the search takes seconds, in the app's own thread.
    with monkeypatch.context() as patched:
        patched.setattr(match, "find_elements", None)
        assert _of_rare_phases({"Si", "O"}, shown, si, factors) == found
    shown.append(SimpleNamespace(element="Ba", energy=4.47))
    found = _of_rare_phases({"Si", "O", "Ba"}, shown, si, factors)
    assert [f.element for f in found] == ["Ti"]
    lines = (4.466, 3), (4.83, 1.6), (5.156, 0.5), (5.53, 0.25)
    barium = spectrum((0.525, 2), (1.74, 0.3), *lines, counts=400)
    si = image(np.where(inside[..., None], barium, matrix))
    assert _of_rare_phases({"Si", "O", "Ba"}, shown, si, factors) == []


def test_where_all_that_shows_is_listed_nothing_is_missing():
    """The file's list holds every line: there is nothing stray to look for, and no search fails."""
    oxide, silicon = (spectrum((1.74, 3), *lines, counts=300) for lines in (((0.525, 2),), ()))
    si = image(np.where((Y < 18)[..., None], oxide, silicon))
    si = replace(si, acquisition=replace(si.acquisition, elements=("O", "Si")))
    work = Workflow({**RECIPE, "decompose": {"components": 2}}, spectrum_image=si)
    assert work.run("match").elements == ("O", "Si")
    assert not [w for w in work.warnings("match") if "is missing" in w]


def test_what_all_phases_hold_may_be_stray():
    """Cu in both layers alike, listed since it might be theirs."""
    grid = spectrum((8.05, 6), (8.9, 1), (0.93, 1), counts=20)
    oxide, silicon = (
        spectrum((1.74, 3), *lines, counts=600) + grid for lines in (((0.525, 2),), ())
    )
    mean = np.where((Y < 18)[..., None], oxide, silicon)
    result = run(mean, ("O", "Si", "Cu"), decompose={"components": 2})
    for found in result.compositions.values():
        low, high = found.atomic_interval_95[found.index("Cu")]
        assert low < 0.003 < 0.01 < high
    assert any("Cu is in all phases" in w for w in result.doubts)
    known = {n: replace(c, identification_ends=None) for n, c in result.compositions.items()}
    for n, found in with_stray_counts(known, result.pure, ["Mo"]).items():
        assert found.identification_ends is None, n


@pytest.mark.parametrize("on_it", [True, False])
def test_what_differs_by_its_carbon_may_be_contaminated(on_it):
    """A silicate with C on a third of it; or a carbide with other ratios of the rest."""
    silicate = spectrum((0.525, 4), (1.254, 3), (1.74, 4), counts=400)
    rest = silicate if on_it else spectrum((0.525, 1), (1.254, 5), (1.74, 3), counts=400)
    mean = np.where((Y < 14)[..., None], rest + spectrum((0.277, 8), counts=200), silicate)
    result = run(mean, ("C", "O", "Mg", "Si"), decompose={"components": 2})
    told = [w for w in result.doubts if "contamination: a scan before this one" in w]
    assert len(told) == on_it


def test_what_would_not_stand_out_of_elements_that_nobody_lists_is_told():
    """C beside Fe: by few counts much of all atoms, by many next to nothing."""

    def iron(counts, *elements):
        drawn = np.random.default_rng(0).poisson(spectrum((6.404, 5), counts=counts))
        one = Spectrum(drawn, AXIS, name="iron", acquisition=Acquisition(beam_energy=200.0))
        return quantify(one, elements, warn_above=None)

    few = iron(50, "Fe")
    bare, many = (replace(c, film_ends=None) for c in (few, iron(3e4, "Fe")))
    assert hidden_in(bare)["C"] > 0.1 > 10 * hidden_in(many)["C"]
    assert "C" not in hidden_in(iron(50, "Fe", "C"))
    with pytest.warns(DoubtWarning, match=r"iron: up to \d+ at% C .* would not stand out"):
        warn_of_hidden({"iron": few})
    # Most of it would not leave the thickest film, nor pass a window that nobody told.
    assert hidden_in(few)["C"] > 1.5 * hidden_in(bare)["C"]


def test_what_shows_more_continuum_than_lines_is_told():
    """Of resin on an axis above C K, O is all that is seen; silica and silicon show all."""

    def one(name, *lines):
        seen = spectrum(*lines, counts=1e5)
        drawn = Spectrum(seen, AXIS, name=name, acquisition=Acquisition(beam_energy=200.0))
        return quantify(drawn.sliced(slice(15, None)), ("O", "Si"), warn_above=None)

    phases = {
        "resin": one("resin", (0.525, 0.25)),
        "silica": one("silica", (0.525, 1), (1.74, 3)),
        "silicon": one("silicon", (1.74, 4)),
    }
    with pytest.warns(DoubtWarning, match=r"shows no line, as of C, N below the axis") as told:
        warn_of_unseen(phases)
    assert [str(w.message).split(":")[0] for w in told] == ["resin"]


def test_an_axis_that_shows_no_oxygen_is_told():
    si = image(np.broadcast_to(spectrum((1.74, 5), counts=100), (N, N, CHANNELS)))
    cut = replace(si, counts=si.counts[:, 40:], axis=EnergyAxis(1.0, 0.02, CHANNELS - 40, "keV"))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert run_elements(make_recipe(RECIPE), cut) == ("Si",)
    assert any("C, N, O and F show no line from 0.99 keV on" in str(w.message) for w in told)


def test_what_the_recipe_says_of_the_layout_counts(layers):
    data = {
        **RECIPE,
        "elements": ["O", "Si"],
        "matrix": "Si",
        "layout": "matrix",
        "phases": {"Si": {"component": 1}, "oxide": {"component": 2}},
    }
    flow = Workflow(make_recipe(data), spectrum_image=layers.spectrum_image)
    matched = flow.run("match")
    assert matched.layout.phases[1].role == "embedded"
    flow.change(layout="auto", phases={"oxide": {"lies": "pure"}})
    assert flow.run("match").layout.phases[1].role == "pure"
    with pytest.raises(RecipeError, match="layout"):
        make_recipe({**data, "layout": "somehow"})


def test_without_an_anchor_intervals_hold_both_ends():
    """A grain that fills 60% of the film and has the matrix' Mg itself: neither end is true."""
    matrix = spectrum((0.525, 4), (1.254, 3), (1.74, 4), counts=400)
    lines = ((0.525, 4), (1.254, 1), (3.69, 4), (4.013, 0.5))
    grain = spectrum(*lines, counts=400)
    depth = np.zeros((N, N))
    for y, x in ((11, 11), (28, 26)):
        depth = np.maximum(
            depth, 0.8 * np.sqrt(np.clip(1 - ((Y - y) ** 2 + (X - x) ** 2) / 64, 0, 1))
        )
    mean = (1 - depth)[..., None] * matrix + depth[..., None] * grain
    result = run(mean, ("O", "Mg", "Si", "Ca"), decompose={"components": 2})
    known = next(iter(result.open_scales.values()))
    low, high = known.ranges[0].ends
    assert low < high
    pure = run(np.broadcast_to(grain, mean.shape), ("O", "Mg", "Si", "Ca"), layout="single")
    true = next(iter(pure.compositions.values())).atomic_fractions
    ends = result.compositions[known.grain].atomic_interval_95
    assert ((ends[:, 0] <= true + 0.01) & (true - 0.01 <= ends[:, 1])).all()
    assert any("no anchor" in w for w in result.warnings)


def test_what_a_host_holds_of_another_one_is_open_for_the_grain_in_both():
    """On a film that is known: its Ca bounds the inner host only if that holds Ca itself."""
    outer = spectrum((1.74, 3), (3.69, 3), (4.013, 0.4), counts=400)
    inner, own = spectrum((1.254, 5), counts=400), spectrum((6.4, 5), (7.06, 0.7), counts=400)
    away = np.hypot(Y - 20, X - 20)
    core = 0.7 * np.sqrt(np.clip(1 - (away / 8) ** 2, 0, 1))
    middle = np.where(away < 14, 0.8, 0.0) * (1 - core)
    parts = np.stack([np.ones((N, N)), middle, core], axis=-1)
    si = image(parts @ np.array([outer, inner, own]))
    regions = [Region("", m) for m in (away > 16, (away > 9) & (away < 13), away < 7)]
    sums = [integrate(si, r, name=n) for r, n in zip(regions, ("a", "b", "c"), strict=True)]
    impure = replace(
        sums[1], values=250 * (0.5 * outer + 0.5 * inner), background=np.zeros(CHANNELS)
    )
    clean = replace(impure, values=250 * inner)
    found = {}
    for ends in ((), (clean,)):
        hosts = {
            "outer": Host(sums[0], AS_BESIDE, regions[0]),
            "inner": Host(impure, None, regions[1], ends),
        }
        _, known = open_scale(si, "core", sums[2], regions[2], hosts, fit=None, random_state=0)
        away_from_it = [spectral_angle(end.values, own) for end in known.ends]
        found[bool(ends)] = min(away_from_it)
    assert 10 * found[True] < found[False]


def test_a_film_that_goes_on_below_one_grain_does_so_below_the_others(monkeypatch):
    """The first grain tells nothing of it: it is done again after the second, with its ends."""
    film, own = spectrum((0.277, 6), (1.74, 1), counts=300), spectrum((6.4, 5), counts=200)
    first, second = ((np.abs(Y - 20) < 5) & (np.abs(X - x) < 5) for x in (10, 30))
    labels = np.select([first, second], [1, 2], 0)
    si = image(film + np.where(labels[..., None] > 0, own, 0.0))
    names = ("film", "first", "second")
    phases = tuple(
        Lies("embedded" if c else "pure", (0,) * (c > 0), 0.0, float((labels == c).mean()), 400.0)
        for c in range(3)
    )
    layout = PhaseLayout("matrix", phases, labels)
    regions = Regions((N, N), matrix="film", masks={"first": first, "second": second})
    matched = Matched(SimpleNamespace(names=names), "film", (), layout)
    asked = []

    def told_by_the_second(si, grain, mixture, region, hosts, **options):
        asked.append((grain, hosts["film"].goes_on))
        pure, known = open_scale(si, grain, mixture, region, hosts, **options)
        if grain == "second":
            one = known.ranges[0]
            gone = replace(one, assumed=one.high, together=("C",), as_beside=True)
            known = replace(known, ranges=(gone,))
        return pure, known

    monkeypatch.setattr("siftem.pipeline.own_pixels.open_scale", told_by_the_second)
    sums = region_spectra(si, regions, matched)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        pure, scales = OwnPixels(si, regions, matched, 0).spectra(
            sums, {"film": sums["film"]}, None
        )
    assert asked == [("first", False), ("second", False), ("first", True)]
    assert scales["first"].goes_on("film")
    assert len([w for w in said if str(w.message).startswith("first: no anchor")]) == 1
    area = sums["first + film"].n_pixels / sums["film"].n_pixels
    assert scales["first"].ranges[0].value == pytest.approx(0.925 * area)
    assert spectral_angle(pure["first"].values, own) < 0.3 * spectral_angle(film + own, own)
    assert scales["first"].ranges[0].ends[0] < 0.3 * area


def test_intervals_hold_what_is_labelled_wrong():
    """Two alloys whose regions each hold a quarter of the other's pixels, as the layout tells."""
    chromium = spectrum((5.415, 5), (5.947, 0.6), counts=900)
    iron = spectrum((6.404, 5), (7.058, 0.6), counts=900)
    labels = np.where(Y < N / 2, 0, 1)
    wrong = np.random.default_rng(0).random((N, N)) < 0.25
    si = image(np.where(((labels == 0) != wrong)[..., None], chromium, iron))
    phases = tuple(Lies("pure", (), 0.0, 0.5, 900.0) for _ in range(2))
    regions = Regions((N, N), matrix="Cr", masks={"Fe": labels == 1})
    ends = {}
    for share in (0.0, 0.25):
        mistaken = np.array([[0.0, share], [share, 0.0]])
        layout = PhaseLayout("side by side", phases, labels, mistaken)
        matched = Matched(SimpleNamespace(names=("Cr", "Fe")), "Cr", (), layout)
        sums = region_spectra(si, regions, matched)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            _, scales = OwnPixels(si, regions, matched, 0).spectra(sums, {"Cr": sums["Cr"]}, None)
        said = [w for w in told if "do not tell its pixels" in str(w.message)]
        assert len(said) == (2 if share else 0)
        ends[share] = [
            min((spectral_angle(e.values, true) for e in scales[name].ends), default=90.0)
            for name, true in (("Cr", chromium), ("Fe", iron))
            if name in scales
        ]
    assert len(ends[0.25]) == 2
    assert max(ends[0.25]) < 3
    assert not ends[0.0] or min(ends[0.0]) > 5


@pytest.mark.parametrize(
    ("width", "probe", "labelled", "rises"),
    [
        (2, 0.7, 4, True),
        (4, 1.5, 4, True),
        (4, 0.0, 4, False),
        (8, 0.7, 8, False),
        (2, 0, 2, False),
    ],
)
def test_a_share_levels_off_in_a_film_wider_than_the_probe(width, probe, labelled, rises):
    film, sides = spectrum((2.307, 6), counts=300), spectrum((1.487, 8), counts=300)
    share = (abs(Y - 19.5) < width / 2).astype(float)
    share = gaussian_filter(share, probe) if probe else share
    si = image(share[..., None] * film + (1 - share[..., None]) * sides)
    away = distance_transform_edt(abs(Y - 19.5) < labelled / 2)
    shapes = np.array([film, sides]) / 300
    most = most_from_around(si.counts, away, shapes)
    assert most == 1.0 if rises else most < 0.1


def test_few_counts_do_not_tell_whether_a_share_levels_off():
    """A film beside an alloy of nearly its composition: few counts leave much to that."""
    film = spectrum((2.307, 6), (1.487, 4), counts=1.0)
    alloy = spectrum((2.307, 6), (1.487, 6), counts=1.0)
    inside = abs(Y - 19.5) < 3
    away = distance_transform_edt(inside)
    for counts, low, high in ((3, 0.5, 1.0), (3000, 0.0, 0.1)):
        si = image(counts * np.where(inside[..., None], film, alloy))
        most = most_from_around(si.counts, away, np.array([film, alloy]))
        assert low < most <= high
