"""Window, dead layer, planes and films of which nothing is known, in the joint calibration."""

from dataclasses import replace

import numpy as np
import pytest

import siftem
from siftem.errors import InputError
from siftem.minerals.calibration_results import (
    constraint_results,
    film_of,
    instrument_of,
    told_from,
)
from siftem.minerals.constraints import KnownStoichiometry
from siftem.minerals.joint_model import layout_of
from siftem.minerals.joint_posterior import constrained_posterior
from siftem.minerals.measured_phase import MeasuredPhase, layer_depths
from siftem.printed_numbers import significant
from siftem.xray.detector import POLYMER, Detector
from siftem.xray.elements import atomic_weight
from siftem.xray.lines import line_family

#: Optical depths of one window at O K and Mg K.
DEPTH = np.array([0.5, 0.1])


def magnesia(ratio=1.0, name="x", **more):
    """A phase of Mg/O = ``ratio`` by k-factors that are known, without noise."""
    amounts = np.array([1.0, ratio]) * [atomic_weight("O"), atomic_weight("Mg")]
    given = {
        "name": name, "elements": ("O", "Mg"), "families": ("O K", "Mg K"), "amounts": amounts,
        "noise": np.zeros((2, 2)), "by_ratios": np.zeros((2, 2)), "k_sigma": np.full(2, 1e-4),
        "attenuation": (np.zeros((1, 2)), np.zeros((1, 2))),
        "weights": (np.ones(1), np.ones(1)), "amount_map": np.eye(2), "mass_thickness": 0.0,
    }  # fmt: skip
    return MeasuredPhase(**(given | more))


def layout(phases, **more):
    given = {
        "attenuation_sigma": 0.0, "thickness_sigma": 0.0, "evenness": 0.0, "densities": {},
        "shared_noise": {},
    } | more  # fmt: skip
    return layout_of(phases, **given)


def test_depths_are_those_of_the_detector():
    families = [line_family(e, "K", beam_energy=200.0) for e in ("O", "Mg", "Fe")]
    told = Detector(window=POLYMER)
    window, dead = layer_depths(families, told, ("computed", "table", "given"))
    doubled = replace(told, window=tuple((m, 2 * nm, *rest) for m, nm, *rest in POLYMER))
    deeper = replace(told, dead_layer=told.dead_layer + 40.0)
    for i, family in enumerate(families[:2]):
        at = np.array([family.alpha_energy])
        assert told.efficiency(at) * np.exp(-window[i]) == pytest.approx(
            doubled.efficiency(at), rel=2e-3
        )
        assert told.efficiency(at) * np.exp(-40 * dead[i]) == pytest.approx(
            deeper.efficiency(at), rel=2e-3
        )
    # Measured through both.
    assert window[2] == dead[2] == 0.0
    # Not told: a polymer one may be there. None told: there is none.
    assert layer_depths(families, Detector(), ("computed",) * 3)[0] == pytest.approx(
        layer_depths(families, told, ("computed",) * 3)[0], rel=0.01
    )
    assert not layer_depths(families, Detector(window=()), ("computed",) * 3)[0].any()


@pytest.mark.parametrize("told", [True, False])
def test_a_window_is_found_by_what_is_known(told):
    """O is seen too little by a window that is .4 thicker (of one told), or .4 of one (untold)."""
    seen = np.exp(0.4 * (DEPTH[0] - DEPTH[1]))
    p = magnesia(seen, window=DEPTH, dead_layer=0 * DEPTH, window_told=told)
    known = KnownStoichiometry(phase="x", ratio="Mg/O", sigma=0.01)
    found = instrument_of(constrained_posterior(layout([p], window_sigma=0.5), [known]))["window"]
    assert found.before == (1.0 if told else 0.0)
    # What is known to .01 / (.5 - .1), beside a width of .5.
    width = 0.01 / (DEPTH[0] - DEPTH[1])
    assert found.value == pytest.approx(found.before + 0.4 / (1 + (width / 0.5) ** 2), abs=2e-3)
    assert found.sigma == pytest.approx(width, rel=0.02)


def test_a_window_that_was_not_told_takes_nothing_away_where_o_is_too_much():
    p = magnesia(np.exp(-0.1), window=DEPTH, dead_layer=0 * DEPTH, window_told=False)
    known = KnownStoichiometry(phase="x", ratio="Mg/O", sigma=0.01)
    found = constrained_posterior(layout([p], window_sigma=0.5), [known])
    assert 0 <= instrument_of(found)["window"].value < 0.02
    assert found.after[0] == pytest.approx(np.exp(-0.1), abs=0.01)
    assert abs(found.pull[0]) > 2.5


def test_the_dead_layer_is_found_and_never_negative():
    per_nm = np.array([2e-3, 0.0])
    known = KnownStoichiometry(phase="x", ratio="Mg/O", sigma=1e-3)
    for beyond, value in ((20.0, 50.0), (-60.0, 0.0)):
        p = magnesia(
            np.exp(beyond * per_nm[0]), window=0 * per_nm, dead_layer=per_nm, dead_layer_nm=30.0
        )
        found = constrained_posterior(layout([p], dead_layer_sigma=25.0), [known])
        assert instrument_of(found)["dead layer, nm"].value == pytest.approx(value, abs=1.5)


def absorbing(name="x", mass=None, **more):
    """Of O that absorbs its own line: 2e4 cm2/g."""
    mu = (np.array([[2e4, 2e4]]), np.zeros((1, 2)))
    return magnesia(1.2, name, attenuation=mu, mass_thickness=mass, **more)


def test_a_film_is_a_plane():
    """Known films at both ends of a map, told to be alike: the slope is what their O says."""
    true = 0.4
    masses = {"left": 5e-4 * (1 - 0.5 * true), "right": 5e-4 * (1 + 0.5 * true)}
    phases = []
    for name, mass in masses.items():
        path = 0.1 * mass / np.sin(np.radians(20.0)) * 2e4
        share = (1 - np.exp(-path)) / path
        phases.append(replace(absorbing(name, 5e-4), amounts=magnesia(1 / share).amounts))
    known = [KnownStoichiometry(phase=n, ratio="Mg/O", sigma=1e-3) for n in masses]
    places = {"left": (0.0, -0.5), "right": (0.0, 0.5)}
    plane = layout(phases, thickness_sigma=0.3, positions=places, slope_sigma=0.5)
    found = constrained_posterior(plane, known)
    slopes = instrument_of(found)
    assert slopes["film slope along x"].value == pytest.approx(true, abs=0.01)
    assert slopes["film slope along x"].sigma < 0.02
    assert slopes["film slope along y"].value == pytest.approx(0.0, abs=1e-6)
    assert slopes["film slope along y"].sigma == pytest.approx(0.5)
    for i, mass in enumerate(masses.values()):
        film = film_of(found, i)
        assert film.value == pytest.approx(mass, rel=0.01)
        assert film.sigma_before == pytest.approx(5e-4 * np.hypot(0.3, 0.25))
    # An even film can't explain both.
    even = constrained_posterior(layout(phases, thickness_sigma=0.3), known)
    assert np.abs(even.pull).max() > 5


def test_an_unknown_film_is_the_sum_over_all_thicknesses():
    """Mean and width are those of the density on a fine grid, which ends at no film."""
    p = absorbing()
    known = KnownStoichiometry(phase="x", ratio="Mg/O", ratio_value=1.15, sigma=0.15)
    found = constrained_posterior(layout([p]), [known])
    spread = found.layout.film["x"][1]
    z = np.linspace(0.0, 4.0, 4001)
    states = np.zeros((len(z), len(found.layout.names)))
    states[:, found.layout.index("film")] = z
    atoms = p.as_atoms(found.layout.compositions(states)["x"][0])
    ratio = atoms[:, 1] / atoms[:, 0]
    density = np.exp(-0.5 * z**2 - 0.5 * ((ratio - 1.15) / 0.15) ** 2)
    density /= density.sum()
    mean = density @ z
    width = np.sqrt(density @ (z - mean) ** 2)
    film = film_of(found, 0)
    assert film.value == pytest.approx(spread * mean, rel=0.02)
    assert film.sigma == pytest.approx(spread * width, rel=0.03)


@pytest.mark.parametrize(("n", "shared", "limit"), [(1, 0, 1.960), (5, 0, 2.569), (5, 1, 1.960)])
def test_pulls_are_told_as_often_as_chance_alone_would_in_five_percent(n, shared, limit):
    """Sidak's limit for pulls that are independent, that of a single one where all are one."""
    correlation = np.full((n, n), float(shared)) + (1 - shared) * np.eye(n)
    assert told_from(correlation) == pytest.approx(limit, abs=0.03)


@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_said_to_be_told_has_the_pull_for_it(sign):
    """Two phases share a k-factor, and hold; what is said of the first is then off by so much.

    Pulls are normal variates of width one: one whose mean lies at the limit is told in half of
    all cases, one 1.645 beyond in 95%.
    """
    noise = np.diag((2e-3 * magnesia().amounts) ** 2)
    phases = [magnesia(1.0, name, noise=noise, k_sigma=np.full(2, 0.1)) for name in "xy"]

    def first(off=0.0):
        known = [
            KnownStoichiometry(phase=n, ratio="Mg/O", ratio_value=1.0 + by, sigma=1e-3)
            for n, by in (("x", off), ("y", 0.0))
        ]
        return constraint_results(constrained_posterior(layout(phases), known), known, [])[0]

    true = first()
    assert true.pull == pytest.approx(0.0, abs=1e-6)
    # Noise of both lines of both phases, and both widths.
    assert true.spread == pytest.approx(np.sqrt(4 * 2e-3**2 + 2 * 1e-3**2), rel=0.01)
    half, sure = (first(sign * off).pull for off in (true.shows_from, true.sure_from))
    assert half == pytest.approx(sign * true.told_from, rel=0.02)
    assert sure == pytest.approx(sign * (true.told_from + 1.645), rel=0.02)
    assert all(text in true.unnoticed for text in true.off_by)
    absent = replace(true, target=0.0, spread=0.01)
    assert absent.off_by[0] == f"{significant(absent.told_from, 2)} at%"


def test_a_plane_needs_the_place_of_each_phase():
    counts = np.full(1200, 10.0)
    spectrum = siftem.Spectrum(counts, siftem.EnergyAxis(0.0, 0.01, 1200))
    brg = siftem.quantify(spectrum, ["O", "Mg"], beam_energy=200.0, thickness=0, warn_above=None)
    with pytest.raises(InputError, match="that of Brg is missing"):
        siftem.calibrate_jointly({"Brg": brg}, [], slope_sigma=0.3)
    with pytest.raises(InputError, match="dead_layer_sigma must not be negative"):
        siftem.calibrate_jointly({"Brg": brg}, [], dead_layer_sigma=-1.0)


def test_what_is_no_number_is_no_result():
    """A constraint that has no value away from where it was quantified."""

    class Broken(KnownStoichiometry):
        def value(self, elements, atoms, ferric):
            found = super().value(elements, atoms, ferric)
            return np.where(found == found[0], found, np.nan)

    known = Broken(phase="x", ratio="Mg/O", sigma=0.01)
    for p in (magnesia(1.1), absorbing()):
        with pytest.raises(InputError, match="no state fits best"):
            constrained_posterior(layout([p]), [known])
