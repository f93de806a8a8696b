"""Several maps in one calibration: a film for each, one instrument for all."""

import numpy as np
import pytest
from test_minerals_joint import DENSITIES, ELEMENTS, KNOWN, made, oxide, truth
from test_minerals_unknowns import absorbing, layout

import siftem
from siftem.errors import InputError
from siftem.minerals.calibration_results import constraint_results, film_of
from siftem.minerals.constraints import KnownStoichiometry
from siftem.minerals.joint_posterior import constrained_posterior, phase_fractions
from siftem.minerals.several_maps import constraints_in_maps

MAPS = {"a: x": "a", "b: y": "b"}


def films(k_sigma):
    """Two maps of one phase each, in films that are not known, with one k-factor."""
    phases = [absorbing(n, k_sigma=np.array([1e-4, k_sigma])) for n in MAPS]
    known = [
        KnownStoichiometry(phase="a: x", ratio="Mg/O", ratio_value=1.02, sigma=0.05),
        KnownStoichiometry(phase="b: y", ratio="Mg/O", ratio_value=1.13, sigma=0.05),
    ]
    return layout(phases, map_of=MAPS), known


@pytest.mark.parametrize("k_sigma", [1e-4, 0.1])
def test_unknown_films_of_two_maps_are_the_sum_over_both(k_sigma):
    """Means, widths and correlation of both films are those of the density on a fine grid.

    The shared k-factor correlates them.
    """
    both, known = films(k_sigma)
    found = constrained_posterior(both, known)
    axis, of_k = np.linspace(0.0, 0.45, 91), 3 * np.linspace(-1, 1, 25) * k_sigma
    grid = np.stack(np.meshgrid(axis, axis, of_k, indexing="ij"), axis=-1).reshape(-1, 3)
    ratios = []
    for i in (0, 1):
        # A film and a k-factor make a ratio, in either map alone.
        own = np.zeros((len(axis) * len(of_k), len(both.names)))
        pairs = np.stack(np.meshgrid(axis, of_k, indexing="ij"), axis=-1).reshape(-1, 2)
        own[:, both.index(f"film in {'ab'[i]}")] = pairs[:, 0]
        own[:, both.index("k of Mg K")] = pairs[:, 1]
        p = both.phases[i]
        atoms = p.as_atoms(both.compositions(own, {p.name})[p.name][0])
        ratios.append((atoms[:, 1] / atoms[:, 0]).reshape(len(axis), len(of_k)))
    misfit = ((ratios[0][:, None] - 1.02) ** 2 + (ratios[1][None] - 1.13) ** 2) / 0.05**2
    prior = (grid[:, :2] ** 2).sum(axis=1) + (grid[:, 2] / k_sigma) ** 2
    density = np.exp(-0.5 * (misfit.ravel() + prior))
    density /= density.sum()
    mean = density @ grid
    spread = both.film["a: x"][1]
    for i in (0, 1):
        film = film_of(found, i)
        width = np.sqrt(density @ (grid[:, i] - mean[i]) ** 2)
        assert film.value == pytest.approx(spread * mean[i], rel=0.05)
        assert film.sigma == pytest.approx(spread * width, rel=0.08)
    z = np.array([part.state[[both.index("film in a"), both.index("film in b")]]
                  for _, part in found.mixture])  # fmt: skip
    weights = np.array([w for w, _ in found.mixture])
    away = z - weights @ z
    true = density @ np.prod(grid[:, :2] - mean[:2], axis=1)
    widths = np.sqrt(density @ (grid[:, :2] - mean[:2]) ** 2)
    assert weights @ np.prod(away, axis=1) / widths.prod() == pytest.approx(
        true / widths.prod(), abs=0.12
    )


def test_films_that_no_point_tells_are_no_result(monkeypatch):
    both, known = films(0.1)
    monkeypatch.setattr("siftem.minerals.joint_posterior._FEWEST", 513.0)
    with pytest.raises(InputError, match="films of 2 maps can't be found together"):
        constrained_posterior(both, known)


def test_films_that_few_points_tell_get_more_of_them(monkeypatch):
    both, known = films(0.1)
    plain = constrained_posterior(both, known)
    monkeypatch.setattr("siftem.minerals.joint_posterior._FEWEST", 129.0)
    monkeypatch.setattr("siftem.minerals.joint_posterior._ALIKE", 1.0)
    found = constrained_posterior(both, known)
    assert len(found.mixture) > 128
    for i in (0, 1):
        assert film_of(found, i).value == pytest.approx(film_of(plain, i).value, rel=0.03)


def test_what_is_known_does_not_average_out():
    """Ten maps of a phase that is known to 2%: its k-factor not better than what they share."""
    names = {f"{i}: x": str(i) for i in range(10)}
    phases = [oxide({"O": 1.0, "Mg": 1.1}, 0.10, noise=1e-3, name=n) for n in names]
    said = KnownStoichiometry(phase="x", ratio="Mg/O", sigma=0.02)
    widths = {}
    for alike in (0.0, 0.5, 0.9):
        known, departures = constraints_in_maps([said], {n: ["x"] for n in names.values()}, alike)
        both = layout(phases, map_of=names, departures=departures)
        found = constrained_posterior(both, known)
        values, noise, rest = phase_fractions(found, 0, np.array([c.sigma for c in known]))
        slope = np.array([-values[1] / values[0] ** 2, 1 / values[0]]) / (values[1] / values[0])
        widths[alike] = float(np.sqrt(slope @ (noise + rest) @ slope))
        assert known[3].describe().startswith("3: x: Mg/O = 1 +- 0.02")
        # Noise of one map, the widths of ten apart, and what all share.
        own = 2 * 1e-3**2
        left = (1 - alike) * 0.02**2
        expected = np.sqrt(alike * 0.02**2 + 1 / (10 / (left + own)))
        assert widths[alike] == pytest.approx(expected, rel=0.1)
    assert widths[0.0] < 0.4 * widths[0.9]


def test_a_phase_that_is_off_in_one_map_and_in_all():
    names = {f"{i}: x": str(i) for i in range(4)} | {f"{i}: y": str(i) for i in range(4)}
    maps = {str(i): ["x", "y"] for i in range(4)}
    said = [KnownStoichiometry(phase=n, ratio="Mg/O", sigma=2e-3) for n in "xy"]
    known, departures = constraints_in_maps(said, maps, 0.9)

    def results(off):
        phases = [
            oxide({"O": 1.0, "Mg": 1.0 + off.get(n, 0.0)}, 0.1, noise=1e-3, name=n) for n in names
        ]
        both = layout(phases, map_of=names, departures=departures)
        return {
            r.text: r for r in constraint_results(constrained_posterior(both, known), known, [])
        }

    true = results({})
    assert len(true) == 8 + 2
    assert not any(r.disagrees for r in true.values())
    all_x = "x: Mg/O = 1 +- 0.002 (all maps)"
    alone = results({"2: x": 0.02})
    assert max(alone, key=lambda t: abs(alone[t].pull)) == "2: x: Mg/O = 1 +- 0.002"
    # In all maps x says of the k-factors what y denies.
    every = results({f"{i}: x": 0.02 for i in range(4)})
    assert every[all_x].disagrees
    assert not every["2: x: Mg/O = 1 +- 0.002"].disagrees
    assert every[all_x].pull == pytest.approx(-0.02 / every[all_x].spread, rel=0.1)
    assert true[all_x].sigma == 2e-3


@pytest.fixture(scope="module")
def compositions():
    return {"thin": made(thickness=50.0), "thick": made(thickness=180.0, seed=1)}


def test_maps_in_films_of_their_own(compositions):
    found = siftem.calibrate_maps(compositions, KNOWN, densities=DENSITIES)
    alone = siftem.calibrate_jointly(compositions["thick"], KNOWN, densities=DENSITIES)
    for name, nm in (("thin", 50.0), ("thick", 180.0)):
        film = found.film[f"{name}: Brg"]
        assert film.value == pytest.approx(nm * 4.25e-6, abs=3 * film.sigma)
        for phase, c in found.of_map(name).items():
            true = truth(phase)
            low, high = c.atomic_interval_95.T
            inside = ((low <= true) & (true <= high))[true > 0.01]
            assert inside.mean() > 0.7
    assert found.film["thin: Brg"].value < found.film["thick: Brg"].value
    for element in ELEMENTS:
        assert found.k_factors[f"{element} K"].sigma < 1.02 * alone.k_factors[f"{element} K"].sigma
    # As if one map, of one.
    once = siftem.calibrate_maps({"m": compositions["thick"]}, KNOWN, densities=DENSITIES)
    for phase, c in alone.compositions.items():
        assert once.of_map("m")[phase].weight_fractions == pytest.approx(c.weight_fractions)
        assert once.of_map("m")[phase].systematic == pytest.approx(c.systematic)
    assert "m: Brg: charges balance" in once.constraints[0].text
    with pytest.raises(InputError, match="no map 'other'"):
        found.of_map("other")


def test_bad_wishes_of_several_maps(compositions):
    with pytest.raises(InputError, match=r"'Ol' is in none of the maps thin \(Brg, Fp, Ca-Pv\)"):
        siftem.calibrate_maps(
            compositions, [KnownStoichiometry(phase="Ol", ratio="Mg/O", sigma=0.1)]
        )
    with pytest.raises(InputError, match="'Ol' is to be held out"):
        siftem.calibrate_maps(compositions, KNOWN, held_out=["Ol"])
    with pytest.raises(InputError, match="alike must lie between 0 and 1"):
        siftem.calibrate_maps(compositions, KNOWN, alike=1.0)
