"""Grains with as much of another phase above them everywhere look pure: that is told."""

from types import SimpleNamespace

import numpy as np
import pytest

from siftem.errors import DoubtWarning
from siftem.pipeline.even_overlays import evenly_held, warn_of_even_overlays
from siftem.pipeline.recipe import make_recipe
from siftem.pipeline.steps.composition import _may_go_on

ELEMENTS = ("O", "Na", "Mg", "Al", "Si", "Ca", "Ti", "Fe", "Ni")
FELDSPAR = {"O": 0.488, "Na": 0.088, "Al": 0.103, "Si": 0.321}
ILMENITE = {"O": 0.316, "Ti": 0.316, "Fe": 0.368}
PYROXENE = {"O": 0.44, "Mg": 0.1, "Ca": 0.16, "Fe": 0.07, "Si": 0.23}
GARNET = {"O": 0.42, "Mg": 0.09, "Al": 0.12, "Si": 0.19, "Ca": 0.04, "Fe": 0.14}
OLIVINE = {"O": 0.42, "Mg": 0.32, "Fe": 0.08, "Si": 0.18}
#: With olivine's ratio of Mg to Fe, as minerals side by side often have it.
OPX = {"O": 0.47, "Mg": 0.2, "Fe": 0.05, "Si": 0.28}
GAMMA = {"Ni": 0.75, "Al": 0.05, "Ti": 0.02, "Fe": 0.18}
GAMMA_PRIME = {"Ni": 0.83, "Al": 0.1, "Ti": 0.06, "Fe": 0.01}


def composition(weights, *, noise=0.02, seed=0):
    w = np.array([weights.get(e, 0.0) for e in ELEMENTS])
    sigma = noise * np.sqrt(w * 0.1) + 1e-3
    drawn = w + sigma * np.random.default_rng(seed).standard_normal(w.size)
    return SimpleNamespace(elements=ELEMENTS, weight_fractions=drawn, sigma=sigma)


def mixed(one, other, share):
    both = {*one, *other}
    return {e: (1 - share) * one.get(e, 0.0) + share * other.get(e, 0.0) for e in both}


@pytest.mark.parametrize("share", [0.15, 0.3, 0.6])
@pytest.mark.parametrize("own", [ILMENITE, PYROXENE])
def test_a_phase_that_goes_on_evenly_is_told_with_its_share(own, share):
    held = evenly_held(composition(FELDSPAR), composition(mixed(own, FELDSPAR, share), seed=1))
    assert held is not None
    assert held[0] == pytest.approx(share, abs=0.05)
    assert {"Na", "Al"} <= set(held[1])


def test_pure_neighbours_are_not_doubted():
    phases = (FELDSPAR, ILMENITE, PYROXENE, GARNET, OLIVINE, OPX, GAMMA, GAMMA_PRIME)
    for i, one in enumerate(phases):
        for j, other in enumerate(phases):
            if i != j:
                assert evenly_held(composition(one), composition(other, seed=1)) is None


def test_what_is_hardly_seen_is_in_no_ratio():
    phase = composition(mixed(ILMENITE, FELDSPAR, 0.3), seed=1)
    phase.sigma = np.where(np.isin(ELEMENTS, ("Na", "Al", "Si")), 0.008, phase.sigma)
    assert evenly_held(composition(FELDSPAR), phase) is None


def test_it_is_told_of_those_alone_of_which_nothing_is_known():
    found = {
        "Fsp": composition(FELDSPAR),
        "Ilm": composition(mixed(ILMENITE, FELDSPAR, 0.3), seed=1),
    }
    with pytest.warns(DoubtWarning, match="Ilm: Na, Al and Si stand in it in the ratios of Fsp"):
        warn_of_even_overlays(found, {("Fsp", "Ilm")})
    warn_of_even_overlays(found, {("Ilm", "Fsp")})

    def pairs(lies, hosts=()):
        phases = {"Fsp": {"high": ["Na"]}, "Ilm": {"high": ["Ti"], **lies}}
        recipe = make_recipe({"input": {"file": "x.hspy"}, "matrix": "Fsp", "phases": phases})
        spectra = SimpleNamespace(
            pure={"Fsp": SimpleNamespace(n_pixels=900), "Ilm": SimpleNamespace(n_pixels=100)},
            open_scales={"Ilm": SimpleNamespace(hosts=hosts)},
        )
        return _may_go_on(recipe, spectra)

    assert pairs({}) == {("Fsp", "Ilm")}
    assert pairs({}, hosts=("Fsp",)) == set()
    assert pairs({"lies": "pure"}) == set()
    assert pairs({"anchor": {"absent": ["Si"]}}) == set()
