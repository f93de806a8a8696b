"""Images by name, against counts put where the names say."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from siftem import Acquisition, EnergyAxis, PixelClassifier, SpectrumImage
from siftem.errors import DoubtWarning, InputError
from siftem.segment.images import choose_images

SHAPE = (8, 9)
HAADF = np.random.default_rng(2).random(SHAPE)
# keV, from the X-Ray Data Booklet (2009): Fe Ka 6.404, Fe La 0.705, Si Ka 1.740.
ENERGIES = {"Fe Ka": 6.40, "Fe La": 0.705, "Si Ka": 1.74}


@pytest.fixture
def counted():
    rng = np.random.default_rng(0)
    return {name: rng.poisson(4.0, SHAPE) for name in ENERGIES}


@pytest.fixture(params=["keV", "eV"])
def si(request, counted):
    scale = 1000.0 if request.param == "eV" else 1.0
    axis = EnergyAxis(0.2 * scale, 0.01 * scale, 900, request.param)
    dense = np.zeros((72, 900))
    for name, energy in ENERGIES.items():
        dense[:, round((energy - 0.2) / 0.01)] = counted[name].ravel()
    taken = Acquisition(beam_energy=200.0)
    return SpectrumImage(sp.csr_array(dense), SHAPE, axis, survey=HAADF, acquisition=taken)


def test_lines_and_elements_are_the_counts_at_their_energy(si, counted):
    found = choose_images(si, ["Fe Ka", "Fe_La", "Si", "Fe"])
    np.testing.assert_array_equal(found.images["Fe Ka"], counted["Fe Ka"])
    np.testing.assert_array_equal(found.images["Fe_La"], counted["Fe La"])
    np.testing.assert_array_equal(found.images["Si"], counted["Si Ka"])
    strongest = {counted[k].tobytes() for k in ("Fe Ka", "Fe La")}
    assert found.images["Fe"].astype(counted["Fe Ka"].dtype).tobytes() in strongest
    assert found.poisson == ("Fe Ka", "Fe_La", "Si", "Fe")
    with pytest.warns(DoubtWarning, match="beam energy is not known"):
        choose_images(replace(si, acquisition=Acquisition()), ["Si"])


def test_counts_survey_own_maps_and_windows(si, counted):
    own = np.full(SHAPE, 0.5)
    window = "0.6-2.0" if si.axis.unit == "keV" else "600-2000"
    found = choose_images(si, ["A", "counts", "HAADF", window], maps={"A": own})
    assert list(found.images) == ["A", "counts", "HAADF", window]
    np.testing.assert_array_equal(found.images["A"], own)
    np.testing.assert_array_equal(found.images["counts"], sum(counted.values()))
    np.testing.assert_array_equal(found.images["HAADF"], HAADF)
    np.testing.assert_array_equal(found.images[window], counted["Fe La"] + counted["Si Ka"])
    assert found.poisson == ("counts", window)


def test_they_go_into_the_classifier(si):
    images, poisson = choose_images(si, ["counts", "HAADF"])
    traces = np.zeros(SHAPE, int)
    traces[0], traces[7] = 1, 2
    classifier = PixelClassifier(n_trees=5, sigmas=(1,), poisson=poisson).fit(images, traces)
    assert classifier.channels_ == ("counts", "HAADF")


@pytest.mark.parametrize(
    ("names", "maps", "words"),
    [
        ((), None, "at least one"),
        (["BF"], None, "no image 'BF': choose among counts, HAADF, an element"),
        (["B"], None, "B has no line|outside"),
        (["Fe Qa"], None, "no image 'Fe Qa'"),
        (["Zr Ka"], None, "outside the map"),
        (["1-999999"], None, "must lie between"),
        (["A"], {"A": np.ones((3, 3))}, "shape of the map"),
    ],
)
def test_no_such_image(si, names, maps, words):
    with pytest.raises(InputError, match=words) as error:
        choose_images(si, names, maps=maps)
    assert "\n" not in str(error.value)


def test_energy_losses_have_windows_but_no_lines(si):
    loss = SpectrumImage(si.counts, SHAPE, EnergyAxis(400.0, 1.0, 900, "eV"), signal_type="EELS")
    assert choose_images(loss, ["500-600"]).poisson == ("500-600",)
    with pytest.raises(InputError, match="no image 'Fe'"):
        choose_images(loss, ["Fe"])
