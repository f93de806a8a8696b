import numpy as np
import pytest
import scipy.sparse as sp

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.integrate import integrate

RNG = np.random.default_rng(0)
CUBE = RNG.poisson(0.3, (4, 5, 30))
IMAGE = SpectrumImage(
    sp.csr_array(CUBE.reshape(20, 30)), (4, 5), EnergyAxis(0.2, 0.01, 30),
    acquisition=Acquisition(beam_energy=200.0),
)  # fmt: skip


def test_sum_over_the_included_pixels():
    region = RNG.random((4, 5)) > 0.5
    spectrum = integrate(IMAGE, region, name="grain")
    assert (spectrum.values == CUBE[region].sum(axis=0)).all()
    assert (spectrum.variance == spectrum.values).all()
    assert spectrum.n_pixels == region.sum()
    assert spectrum.name == "grain"
    assert spectrum.acquisition.beam_energy == 200.0
    whole = integrate(IMAGE, np.ones((4, 5), bool))
    rest = integrate(IMAGE, ~region)
    assert (spectrum.values + rest.values == whole.values).all()


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (np.zeros((4, 5), bool), "empty"),
        (np.ones((5, 4), bool), "shape"),
        (np.ones((4, 5), int), "boolean"),
    ],
)
def test_bad_regions(region, message):
    with pytest.raises(InputError, match=message):
        integrate(IMAGE, region)
