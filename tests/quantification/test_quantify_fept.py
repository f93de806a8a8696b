"""Iron-platinum nanoparticles, measured: the example that eXSpy documents."""

import numpy as np
import pytest

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.quantification.composition import quantify
from siftem.quantification.k_values import GivenKFactors
from siftem.spectrum import Spectrum


@pytest.fixture(scope="module")
def nanoparticles():
    exspy = pytest.importorskip("exspy")
    signal = exspy.data.EDS_TEM_FePt_nanoparticles()
    axis = signal.axes_manager[-1]
    return Spectrum(
        np.asarray(signal.data, float),
        EnergyAxis(axis.offset, axis.scale, axis.size, str(axis.units)),
        name="FePt",
        acquisition=Acquisition(beam_energy=200.0, resolution=133.3),
    )


@pytest.mark.filterwarnings("ignore")
def test_composition_with_the_vendors_k_factors(nanoparticles):
    # eXSpy's user guide: k of Fe Ka 1.450226 and Pt La 5.075602 give Fe 15.4, Pt 84.6 at%.
    k = GivenKFactors({"Fe": 1.450226, "Pt": 5.075602}, line="alpha", reference="Fe")
    c = quantify(
        nanoparticles, ["Fe", "Pt"], support=["Cu", "C", "O", "Si", "Co"], k_factors=k,
        warn_above=None,
    )  # fmt: skip
    atoms = 100 * c.atomic_fractions
    sigma = 100 * np.sqrt(c.atomic_covariance[0, 0])
    # .45 with the detector's response free and its model's error weighing the channels.
    assert 0.2 < sigma < 0.6
    assert abs(atoms[0] - 15.4) < 2 * sigma
    assert abs(atoms[1] - 84.6) < 2 * sigma
    # In any order.
    turned = quantify(
        nanoparticles, ["Pt", "Fe"], support=["Cu", "C", "O", "Si", "Co"], k_factors=k,
        warn_above=None,
    )  # fmt: skip
    assert turned.weight_fractions[::-1] == pytest.approx(c.weight_fractions, rel=1e-4)
