"""Joint calibration: against closed forms, against simulated truth, and with what does not hold."""

from dataclasses import replace

import numpy as np
import pytest

import siftem
from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError, SiftemWarning
from siftem.minerals.constraints import (
    ChargeBalance,
    KnownFraction,
    KnownStoichiometry,
    SiteOccupancy,
)
from siftem.minerals.joint_model import layout_of
from siftem.minerals.joint_posterior import constrained_posterior, phase_fractions
from siftem.minerals.measured_phase import MeasuredPhase
from siftem.quantification.k_values import GivenKFactors
from siftem.simulate.spectra import Microscope, PhaseModel, phase_spectrum
from siftem.spectrum import Spectrum
from siftem.xray.elements import atomic_weight
from siftem.xray.k_factors import k_factor_family

ELEMENTS = ("O", "Mg", "Si", "Ca", "Fe")
PHASES = {
    "Brg": ({"O": 3.0, "Mg": 0.86, "Si": 1.0, "Ca": 0.03, "Fe": 0.11}, 4.25),
    "Fp": ({"O": 1.0, "Mg": 0.8, "Fe": 0.2}, 4.1),
    "Ca-Pv": ({"O": 3.0, "Ca": 0.95, "Si": 1.0, "Mg": 0.03, "Fe": 0.02}, 4.4),
}
DENSITIES = {n: density for n, (_, density) in PHASES.items()}
WRONG = {"O": 1.2, "Mg": 0.85, "Si": 1.0, "Ca": 1.1, "Fe": 0.9}
KNOWN = [
    *(ChargeBalance(phase=n, sigma=0.005) for n in PHASES),
    KnownStoichiometry(phase="Brg", ratio="(Mg+Fe+Ca)/Si", sigma=0.005),
    KnownStoichiometry(phase="Ca-Pv", ratio="(Mg+Fe+Ca)/Si", sigma=0.005),
]


def truth(name, lacking=1.0):
    atoms = np.array([PHASES[name][0].get(e, 0.0) for e in ELEMENTS])
    atoms[0] *= lacking
    return atoms / atoms.sum()


def made(*, thickness=120.0, seed=0, lacking=1.0, **options):
    """Compositions of three phases in one film, quantified with wrong k-factors."""
    rng = np.random.default_rng(seed)
    axis = EnergyAxis(0.0, 0.01, 1200)
    k = {e: k_factor_family(e, "K", 200.0) * WRONG[e] for e in ELEMENTS}
    given = GivenKFactors(
        k, line="family", detector="apart", reference="Si",
        relative_sigma=dict.fromkeys(ELEMENTS, 0.15),
    )  # fmt: skip
    acquisition = Acquisition(beam_energy=200.0, take_off_angle=22.0)
    out = {}
    for name, (_, density) in PHASES.items():
        weights = truth(name, lacking if name == "Brg" else 1.0)
        weights = weights * [atomic_weight(e) for e in ELEMENTS]
        model = PhaseModel(name, dict(zip(ELEMENTS, weights.tolist(), strict=True)), density)
        mean = phase_spectrum(model, axis, Microscope(thickness=thickness))
        counts = rng.poisson(mean / mean.sum() * 2e6).astype(float)
        more = {"density": density, **options} if "thickness" in options else options
        out[name] = siftem.quantify(
            Spectrum(counts, axis, name=name, acquisition=acquisition),
            list(ELEMENTS), support=["Cu"], k_factors=given, warn_above=None, **more,
        )  # fmt: skip
    return out


@pytest.fixture(scope="module")
def unknown_film():
    return made()


@pytest.fixture(scope="module")
def told_film(unknown_film):
    return {
        name: siftem.quantify(
            c.fit.spectrum, list(ELEMENTS), support=["Cu"], thickness=120.0,
            density=DENSITIES[name], warn_above=None,
        )
        for name, c in unknown_film.items()
    }  # fmt: skip


def layout(phases, **more):
    given = {
        "attenuation_sigma": 0.12, "thickness_sigma": 0.0, "evenness": 0.1, "densities": {},
        "shared_noise": {},
    } | more  # fmt: skip
    return layout_of(phases, **given)


def test_without_constraints_all_comes_back_as_it_is(unknown_film):
    found = siftem.calibrate_jointly(unknown_film, [])
    assert all(found.compositions[n] is c for n, c in unknown_film.items())
    for k in found.k_factors.values():
        assert (k.value, k.before) == (1.0, 1.0)
        assert k.sigma == pytest.approx(k.sigma_before) == pytest.approx(0.15)
    assert not found.constraints


@pytest.mark.parametrize("films", ["unknown_film", "told_film"])
def test_the_model_at_its_prior_gives_todays_numbers_and_both_errors(films, request):
    compositions = request.getfixturevalue(films)
    phases = [MeasuredPhase.of(n, c) for n, c in compositions.items()]
    prior = constrained_posterior(layout(phases, evenness=0.0), [])
    for i, c in enumerate(compositions.values()):
        values, noise, rest = phase_fractions(prior, i, np.zeros(0))
        # The film is that of the fit before the last one, in which the scale may bend.
        assert values == pytest.approx(c.weight_fractions, abs=5e-5)
        assert np.sqrt(np.diag(noise)) == pytest.approx(c.sigma, rel=0.02, abs=1e-6)
        if films == "told_film":
            assert np.sqrt(np.diag(rest)) == pytest.approx(c.systematic_sigma, rel=0.05, abs=1e-4)
        else:  # the thickest film that an unknown one is allowed for
            state = np.zeros((1, len(prior.state)))
            state[0, prior.layout.index("film")] = np.sqrt(3)
            thick = prior.layout.compositions(state)[phases[i].name][0][0]
            assert thick == pytest.approx(c.film_ends[-1], abs=1e-4)
            assert np.abs(thick - values).max() > 0.02


def test_stoichiometric_oxygen_is_kept(told_film):
    c = made(oxygen="stoichiometry")["Fp"]
    prior = constrained_posterior(layout([MeasuredPhase.of("Fp", c)]), [])
    assert phase_fractions(prior, 0, np.zeros(0))[0] == pytest.approx(c.weight_fractions, abs=2e-5)
    # Reckoned, it tells no carbonate from an oxide; measured it does.
    assert any(
        "C" in m for x in siftem.identify(c, settings=["deep"]).candidates for m in x.members
    )
    (named,) = siftem.identify(told_film["Fp"], settings=["deep"]).candidates
    assert named.name == "ferropericlase"


def oxide(atoms, k_sigma, noise=0.0, name="x"):
    """A phase that is not absorbed, of so many atoms, without a spectrum."""
    elements = tuple(atoms)
    amounts = np.array([n * atomic_weight(e) for e, n in atoms.items()])
    n = len(elements)
    return MeasuredPhase(
        name, elements, tuple(f"{e} K" for e in elements), amounts,
        np.diag((noise * amounts) ** 2), np.zeros((n, n)), np.full(n, k_sigma),
        tuple(np.zeros((1, n)) for _ in elements), tuple(np.ones(1) for _ in elements),
        np.eye(n), 0.0,
    )  # fmt: skip


def test_one_constraint_is_the_closed_form():
    """Mg/O known to 1%, k-factors to 10%, counts to 3%: a normal density in ln(Mg/O)."""
    p = oxide({"O": 1.0, "Mg": 1.1}, 0.10, noise=0.03)
    known = KnownStoichiometry(phase="x", ratio="Mg/O", ratio_value=1.0, sigma=0.01)
    found = constrained_posterior(layout([p], attenuation_sigma=0.0), [known])
    prior = 2 * (0.10**2 + 0.03**2)
    assert found.before[0] == pytest.approx(1.1)
    assert found.after[0] == pytest.approx(1.0, abs=0.002)
    # At the solution, where 1.1 has come down to 1: its width is relative there.
    assert found.bits[0] == pytest.approx(0.5 * np.log2(1 + prior / 0.01**2), rel=0.05)
    assert found.pull[0] == pytest.approx(-np.log(1.1) / np.sqrt(prior + 0.01**2), rel=0.1)
    assert found.spread[0] == pytest.approx(np.sqrt(prior + 0.01**2), rel=0.05)
    # Half of the correction by the k-factors goes to each element, and noise takes its share.
    k = [found.state[found.layout.index(f"k of {e} K")] for e in ("O", "Mg")]
    share = 0.10**2 / prior
    assert k[0] == pytest.approx(share * np.log(1.1), rel=0.1)
    assert k[1] == pytest.approx(-share * np.log(1.1), rel=0.1)
    # The posterior width of ln(k_Mg/k_O), by the update of a normal density.
    i, j = (found.layout.index(f"k of {e} K") for e in ("O", "Mg"))
    of = found.covariance
    left = 2 * 0.10**2 - (2 * 0.10**2) ** 2 / (prior + 0.01**2)
    assert of[i, i] + of[j, j] - 2 * of[i, j] == pytest.approx(left, rel=0.05)


def test_a_second_phase_shares_the_k_factors():
    """Periclase of known composition calibrates Mg against O for a phase that is held out."""
    known = oxide({"O": 1.0, "Mg": 1.3}, 0.15, noise=0.001, name="known")
    other = oxide({"O": 4.0, "Mg": 2.6, "Si": 1.0}, 0.15, noise=0.001, name="other")
    constraint = KnownStoichiometry(phase="known", ratio="Mg/O", sigma=0.002)
    found = constrained_posterior(layout([known, other]), [constraint])
    values, noise, rest = phase_fractions(found, 1, np.array([0.002]))
    atoms = other.as_atoms(values)
    assert atoms[1] / atoms[0] == pytest.approx(0.5, abs=0.003)
    slope = np.array([-1 / values[0], 1 / values[1], 0])
    assert np.sqrt(slope @ (noise + rest) @ slope) < 0.006  # of 0.21 before
    # Silicon has no part in it.
    assert found.state[found.layout.index("k of Si K")] == pytest.approx(0.0, abs=1e-6)


def test_parts_add_up_to_the_posterior():
    p = oxide({"O": 1.0, "Mg": 1.1}, 0.10, noise=0.03)
    widths = np.array([0.02])
    known = KnownStoichiometry(phase="x", ratio="Mg/O", sigma=0.02)
    found = constrained_posterior(layout([p]), [known])
    slopes = np.eye(len(found.state))
    noise, rest = found.parts(slopes, widths)
    assert noise + rest == pytest.approx(found.covariance, abs=1e-6)


def test_wrong_k_factors_and_an_unknown_film_are_found(unknown_film):
    found = siftem.calibrate_jointly(unknown_film, KNOWN, densities=DENSITIES)
    before, after, inside, n = [], [], 0, 0
    for name, c in found.compositions.items():
        true = truth(name)
        here = true > 0.01
        before += list(np.abs(unknown_film[name].atomic_fractions - true)[here])
        after += list(np.abs(c.atomic_fractions - true)[here])
        low, high = c.atomic_interval_95.T
        inside += int(((low <= true) & (true <= high))[here].sum())
        n += int(here.sum())
        assert c.weight_fractions.sum() == pytest.approx(1.0)
        factors = [found.k_factors[f"{e} K"].value for e in ELEMENTS]
        assert c.k.values == pytest.approx(unknown_film[name].k.values * factors)
        # Limits follow k-factors and film, whatever the noise did to the value.
        change = c.critical_levels / unknown_film[name].critical_levels
        large = true > 0.05
        moved = c.weight_fractions[large] / unknown_film[name].weight_fractions[large]
        assert change[large] == pytest.approx(moved, rel=0.05)
        assert (change > 0).all()
        assert c.film.mass_thickness == pytest.approx(found.film[name].value)
    assert np.median(after) < np.median(before) / 3
    assert inside >= n - 2
    for element in ("O", "Mg", "Ca"):
        k = found.k_factors[f"{element} K"]
        si = found.k_factors["Si K"]
        right = 1 / WRONG[element]
        assert k.sigma < 0.7 * k.sigma_before
        assert k.value / si.value == pytest.approx(right, abs=3 * np.hypot(k.sigma, si.sigma))
    film = found.film["Brg"]
    assert film.value == pytest.approx(120 * 4.25e-6, abs=3 * film.sigma)
    assert film.sigma < film.sigma_before
    assert all(abs(r.pull) < 3 for r in found.constraints)
    assert "k of O K" in found.describe()
    assert -1 <= found.correlation("k of O K", "film") <= 1


def test_a_phase_that_is_held_out_is_predicted(unknown_film):
    found = siftem.calibrate_jointly(unknown_film, KNOWN, densities=DENSITIES, held_out=["Ca-Pv"])
    alone = siftem.calibrate_jointly(
        unknown_film,
        [c for c in KNOWN if c.phase != "Ca-Pv"],
        densities=DENSITIES,
    )
    predicted = found.compositions["Ca-Pv"]
    # What is known of it must not have entered.
    assert predicted.weight_fractions == pytest.approx(
        alone.compositions["Ca-Pv"].weight_fractions, abs=1e-8
    )
    checks = [r for r in found.constraints if r.held_out]
    assert [r.phase for r in checks] == ["Ca-Pv", "Ca-Pv"]
    assert all(abs(r.pull) < 3 and r.bits == 0 for r in checks)
    true, (low, high) = truth("Ca-Pv"), predicted.atomic_interval_95.T
    assert ((low <= true) & (true <= high))[true > 0.01].all()
    before = unknown_film["Ca-Pv"].ratio_systematic("O/Si")
    assert predicted.ratio_systematic("O/Si") < before / 2


def test_a_false_constraint_is_told(unknown_film):
    false = KnownStoichiometry(phase="Brg", ratio="O/Si", ratio_value=3.6, sigma=0.02)
    with pytest.warns(SiftemWarning, match="disagrees with all else by"):
        found = siftem.calibrate_jointly(unknown_film, [*KNOWN, false], densities=DENSITIES)
    assert max(abs(r.pull) for r in found.constraints) > 2.5
    # What held without it still lies near what it says.
    with pytest.warns(SiftemWarning, match="with what was predicted"):
        siftem.calibrate_jointly(
            unknown_film,
            [*KNOWN, KnownStoichiometry(phase="Ca-Pv", ratio="O/Si", ratio_value=4.5, sigma=0.01)],
            held_out=["Ca-Pv"],
        )


def test_iron_that_is_free_is_found_where_all_else_is_known():
    """Charges balance with 40% of the iron as Fe3+; k-factors known to 0.1%."""
    charge = 2 * 0.8 + 2.4 * 0.3 + 3 * 0.2 + 4 * 0.9
    p = oxide(
        {"O": charge / 2, "Mg": 0.8, "Fe": 0.3, "Al": 0.2, "Si": 0.9}, 1e-3, noise=1e-4, name="p"
    )
    known = ChargeBalance(phase="p", sigma=1e-3, iron="free")
    found = constrained_posterior(layout([p]), [known])
    i = found.layout.index("Fe3+/Fe of p")
    assert 0.5 + found.state[i] == pytest.approx(0.4, abs=0.03)
    assert 0 < found.covariance[i, i] ** 0.5 < 0.05
    # With computed k-factors nothing is known of it, and its error says so.
    wide = constrained_posterior(layout([replace(p, k_sigma=np.full(5, 0.1))]), [known])
    assert wide.covariance[i, i] ** 0.5 == pytest.approx(12**-0.5, rel=0.05)


@pytest.mark.parametrize(
    ("constraint", "atoms", "value"),
    [
        (ChargeBalance(phase="x", sigma=1), {"O": 4, "Mg": 2, "Si": 1}, 1.0),
        (ChargeBalance(phase="x", sigma=1), {"O": 3, "F": 2, "Ca": 1, "Si": 1.5}, 1.0),
        (ChargeBalance(phase="x", sigma=1, iron="3+"), {"O": 3, "Fe": 2}, 1.0),
        (ChargeBalance(phase="x", sigma=1, valences={"Fe": 2.5}), {"O": 5, "Fe": 4}, 1.0),
        (SiteOccupancy(phase="x", sigma=1, group="perovskite"), {"O": 9, "Mg": 1, "Si": 1}, 1.0),
        (SiteOccupancy(phase="x", sigma=1, group="spinel"), {"Mg": 1.1, "Al": 2.2}, 1.0),
        (KnownStoichiometry(phase="x", ratio="Mg/Si", sigma=1), {"O": 4, "Mg": 2, "Si": 1}, 2.0),
        (KnownFraction(phase="x", element="Si", sigma=1), {"O": 2, "Si": 2}, 0.5),
    ],
)  # fmt: skip
def test_numbers_that_constraints_know(constraint, atoms, value):
    elements = tuple(atoms)
    found = constraint.value(elements, np.array([list(atoms.values())], float), np.zeros(1))
    assert found == pytest.approx([value])
    assert constraint.describe().startswith("x: ")


def test_densities_part_an_unknown_film(unknown_film):
    rough = [replace(c, sigma=0.1) for c in KNOWN]
    found = siftem.calibrate_jointly(
        unknown_film, rough, densities={"Brg": 2.0, "Fp": 4.0, "Ca-Pv": 4.0}
    )
    assert 0 < found.film["Brg"].value < 0.75 * found.film["Fp"].value


def test_noise_that_a_grain_shares_with_its_matrix(unknown_film):
    """A grain like its matrix, less half of it: minus half of the matrix' noise.

    Not less than that of the counts in a line, nor more than all of counting.
    """
    brg = unknown_film["Brg"]
    phases = {"Brg": brg, "grain": replace(brg, name="grain")}
    index = list(brg.columns)
    scale = brg.k.values * brg.absorption
    counts = brg.fit.amplitudes[index] * brg.fit.design[:, index].sum(axis=0)
    poisson = (scale * brg.fit.amplitudes[index]) ** 2 / counts
    found = siftem.calibrate_jointly(phases, [], subtracted={("grain", "Brg"): 0.5})
    noise = found.posterior.layout.sources["noise"]
    size = len(ELEMENTS)
    shared = np.diag(noise[:size, size : 2 * size])
    most = scale**2 * np.diag(brg.fit.counting_covariance)[index]
    assert (shared < -0.5 * 0.9 * poisson).all()
    assert (shared > -0.5 * 1.1 * most).all()
    assert noise == pytest.approx(noise.T)
    apart = siftem.calibrate_jointly(phases, []).posterior.layout.sources["noise"]
    assert apart[:size, size : 2 * size] == pytest.approx(0)


@pytest.mark.parametrize(
    ("constraints", "more", "words"),
    [
        ([ChargeBalance(phase="Ol", sigma=0.1)], {}, "'Ol' is none of the phases"),
        ([KnownFraction(phase="Fp", element="Ti", sigma=0.1)], {}, "Ti was not quantified"),
        ([KnownStoichiometry(phase="Fp", ratio="Ti/O", sigma=0.1)], {}, "Ti"),
        ([], {"held_out": ["Ol"]}, "held out"),
        ([], {"thickness_sigma": 2.0}, "between 0 and 1"),
    ],
)
def test_bad_wishes_say_what_to_do(unknown_film, constraints, more, words):
    with pytest.raises(InputError, match=words):
        siftem.calibrate_jointly(unknown_film, constraints, **more)


def test_charges_of_a_phase_without_anions_balance_nothing():
    metal = oxide({"Fe": 0.9, "Ni": 0.1}, 0.1)
    known = ChargeBalance(phase="x", sigma=0.01)
    with pytest.raises(InputError, match=r"no anion .* give a ratio such as Fe/S"):
        constrained_posterior(layout([metal]), [known])


def test_bad_constraints():
    with pytest.raises(InputError, match="sigma must be positive"):
        ChargeBalance(phase="x", sigma=0.0)
    with pytest.raises(InputError, match="may be empty"):
        SiteOccupancy(phase="x", sigma=0.1, group="mica")
    with pytest.raises(InputError, match="iron must be"):
        ChargeBalance(phase="x", sigma=0.1, iron="4+")
    with pytest.raises(InputError, match="within 0 and 1"):
        KnownFraction(phase="x", sigma=0.1, element="Si", fraction=2)
    with pytest.raises(InputError, match="must be positive"):
        ChargeBalance(phase="x", sigma=0.1, valences={"Fe": -2})
    with pytest.raises(InputError, match="at least one phase"):
        siftem.calibrate_jointly({}, [])
    with pytest.raises(InputError, match="no unknown"):
        siftem.calibrate_jointly(made(), []).correlation("k of Xx", "film")
