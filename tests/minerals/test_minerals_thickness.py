"""Maps of mass thickness against simulated wedges."""

import numpy as np
import pytest

import siftem
from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.simulate.spectra import Microscope, PhaseModel, phase_spectrum
from siftem.spectrum import Spectrum

AXIS = EnergyAxis(0.0, 0.01, 1000)
FO = PhaseModel("Fo", {"O": 0.455, "Mg": 0.346, "Si": 0.199}, 3.2)
FA = PhaseModel("Fa", {"O": 0.314, "Fe": 0.548, "Si": 0.138}, 4.4)
SHAPE = (24, 30)
#: Electrons for each pixel, in the unit of simulated spectra.
DOSE = 2e2


def spectra(phase, thicknesses):
    """Expected counts of a film at each thickness in nm: the same dose everywhere."""
    at = {}
    for t in np.unique(thicknesses):
        shape = phase_spectrum(phase, AXIS, Microscope(thickness=float(t), support={}))
        # The simulated scale leaves the thickness out: born photons are as it.
        at[t] = shape * DOSE * t / 100
    return at


@pytest.fixture(scope="module")
def wedge():
    """A wedge of forsterite, 40 to 260 nm, with a strip of fayalite in it."""
    rng = np.random.default_rng(0)
    columns = np.linspace(40, 260, SHAPE[1]).round()
    true = np.broadcast_to(columns, SHAPE)
    inside = np.zeros(SHAPE, bool)
    inside[:6] = True
    counts, sums = {}, {}
    for phase, mask in ((FO, ~inside), (FA, inside)):
        at = spectra(phase, columns)
        mean = np.array([at[t].sum() for t in columns])
        seen = rng.poisson(np.broadcast_to(mean, SHAPE)) * mask
        counts[phase.name] = seen.astype(float)
        whole = sum(at[t] * mask[:, i].sum() for i, t in enumerate(columns))
        sums[phase.name] = rng.poisson(1500 * whole).astype(float)
    acquisition = Acquisition(beam_energy=200.0, take_off_angle=22.0)
    compositions = {
        n: siftem.quantify(
            Spectrum(sums[n], AXIS, name=n, acquisition=acquisition),
            ["O", "Mg", "Si", "Fe"], thickness=150, density=d, warn_above=None,
        )
        for n, d in (("Fo", 3.2), ("Fa", 4.4))
    }  # fmt: skip
    return true, inside, counts, compositions


def mapped(wedge, **more):
    true, inside, counts, compositions = wedge
    mean = float(true[~inside].mean()) * 3.2e-6
    given = {"reference": "Fo", "mass_thickness": mean} | more
    return siftem.thickness_map(counts, compositions, **given)


def test_a_wedge_is_found_within_its_counting_errors(wedge):
    true, inside, _, _ = wedge
    found = mapped(wedge)
    mass = true * 3.2e-6
    pull = ((found.mass - mass) / found.sigma)[~inside]
    assert pull.std() == pytest.approx(1.0, abs=0.12)
    assert abs(pull.mean()) < 0.15
    # Without its own absorption the thick end would come out thinner by some percent.
    thick, thin = mass[~inside][:, None] > 7e-4, mass[~inside][:, None] < 2e-4
    ratio = (found.mass / mass)[~inside][:, None]
    assert ratio[thick].mean() == pytest.approx(ratio[thin].mean(), rel=0.02)


def test_a_heavier_phase_has_its_own_mass_for_a_count(wedge):
    true, inside, _, _ = wedge
    nm = mapped(wedge).thickness({"Fo": 3.2, "Fa": 4.4})
    assert nm[inside].mean() == pytest.approx(true[inside].mean(), rel=0.025)
    # Fe L lines are absorbed more than all others: they are counts as well.
    ratio = nm[:6] / true[:6]
    assert ratio[:, -8:].mean() == pytest.approx(ratio[:, :8].mean(), rel=0.03)
    assert nm[~inside].mean() == pytest.approx(true[~inside].mean(), rel=0.01)


def test_a_region_tells_mean_scatter_and_what_absorbs_alike(wedge):
    true, inside, _, _ = wedge
    found = mapped(wedge, mass_sigma=1e-4)
    mass = true[~inside] * 3.2e-6
    region = found.region(~inside, "Fo")
    assert region.mean == pytest.approx(mass.mean(), rel=1e-3)
    assert region.scatter == pytest.approx(mass.std(), rel=0.03)
    assert region.systematic == pytest.approx(1e-4, rel=1e-3)
    assert region.sigma == pytest.approx(found.sigma[~inside].mean() / np.sqrt(mass.size), rel=0.1)
    # Thick places give more photons: the film that absorbs alike is thicker than the mean.
    p = found.phases[0]
    w = np.broadcast_to(p.amounts / p.amounts.sum(), (mass.size, len(p.amounts)))
    shares = p.shares(w, mass)
    softest = int(shares.mean(axis=0).argmin())
    alike = (mass * shares[:, softest]).sum() / mass.sum()
    at = p.shares(w[:1], np.array([region.effective]))[0, softest]
    assert region.effective > 1.1 * region.mean
    assert at == pytest.approx(alike, abs=0.004)
    assert region.in_nm(3.2) == pytest.approx(region.effective / 3.2e-6)
    # Columns are even: what is left without the noise of counting is little, in the mean.
    columns = np.arange(SHAPE[1]) * np.ones(SHAPE)
    even = [found.region((columns == i) & ~inside, "Fo") for i in range(SHAPE[1])]
    noise = np.mean([found.sigma[(columns == i) & ~inside].mean() for i in range(SHAPE[1])])
    assert noise > 0.03 * region.mean
    assert np.mean([e.scatter for e in even]) < 0.6 * noise
    assert even[0].effective == pytest.approx(even[0].mean, rel=0.02)


def test_pixels_that_are_not_known_stay_so_and_masks_stay_as_they_are(wedge):
    _, _, counts, compositions = wedge
    holed = {n: c.copy() for n, c in counts.items()}
    holed["Fo"][12, 12] = np.nan
    found = siftem.thickness_map(holed, compositions, reference="Fo", mass_thickness=4e-4)
    assert np.argwhere(np.isnan(found.mass)).tolist() == [[12, 12]]
    mask = np.ones(SHAPE, bool)
    mask.flags.writeable = False
    assert np.isfinite(found.region(mask, "Fo").mean)
    only = np.zeros(SHAPE, bool)
    only[12, 12] = True
    with pytest.raises(InputError, match="no pixel of the region"):
        found.region(only, "Fo")


def test_how_phases_share_a_pixel_is_an_error_as_well(wedge):
    _, _, counts, compositions = wedge
    mixed = {"Fo": counts["Fo"] + 400.0, "Fa": np.full(SHAPE, 10.0)}
    plain = siftem.thickness_map(mixed, compositions, reference="Fo", mass_thickness=4e-4)
    unsure = siftem.thickness_map(
        mixed, compositions, reference="Fo", mass_thickness=4e-4,
        counts_sigma={"Fa": np.full(SHAPE, 60.0), "Fo": np.full(SHAPE, 60.0)},
    )  # fmt: skip
    assert (unsure.sigma > plain.sigma).all()
    assert unsure.mass == pytest.approx(plain.mass)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"reference": "Qz"}, "none of"),
        ({"mass_thickness": 0.0}, "positive"),
        ({"mass_sigma": -1.0}, "positive"),
        ({"counts": {}}, "at least one phase"),
        ({"counts": {"Fo": np.ones(3)}}, "images of one shape"),
        ({"counts": {"Qz": np.ones((3, 3))}}, "composition of Qz"),
        ({"counts": {"Fo": np.ones((3, 3)), "Fa": np.ones((3, 3))}}, "another reference"),
    ],
)
def test_bad_wishes(wedge, change, words):
    _, _, counts, compositions = wedge
    given = {"counts": counts, "compositions": compositions, "reference": "Fo",
             "mass_thickness": 4e-4} | change  # fmt: skip
    with pytest.raises(InputError, match=words):
        siftem.thickness_map(given.pop("counts"), given.pop("compositions"), **given)


def test_bad_questions(wedge):
    found = mapped(wedge)
    with pytest.raises(InputError, match="density of each phase"):
        found.thickness({"Fo": 3.2})
    with pytest.raises(InputError, match="at least one pixel"):
        found.region(np.zeros(SHAPE, bool), "Fo")
    with pytest.raises(InputError, match="no phase"):
        found.region(np.ones(SHAPE, bool), "Qz")
    with pytest.raises(InputError, match="density must be positive"):
        found.region(np.ones(SHAPE, bool), "Fo").in_nm(0)
