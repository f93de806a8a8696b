"""How few counts the choice of a number of components gets along with."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.ndimage import gaussian_filter

from siftem.decomposition.rank import choose_n_components
from siftem.energy_axis import EnergyAxis
from siftem.errors import SiftemWarning
from siftem.spectrum_image import SpectrumImage

SIDE, CHANNELS = 48, 1000
ENERGY = 0.2 + 0.01 * np.arange(CHANNELS)


def spectrum(*lines):
    """Lines of a phase on a continuum whose far end has hardly a count."""
    out = 0.6 * np.exp(-ENERGY) / ENERGY
    for energy, weight in lines:
        out += weight * np.exp(-0.5 * ((ENERGY - energy) / 0.05) ** 2)
    return out / out.sum()


@pytest.mark.parametrize(("layer", "expected"), [(False, 1), (True, 2)])
def test_a_thin_layer_at_twenty_counts_a_pixel(layer, expected):
    """Empty channels have nothing to learn from, and must not hide a layer of four pixels."""
    y = np.mgrid[:SIDE, :SIDE][0]
    share = gaussian_filter((abs(y - 24) < 2).astype(float), 1.0)[..., None] * layer
    host = spectrum((1.49, 3), (2.98, 0.3), (9.25, 0.4), (1.1, 1.5))
    well = spectrum((1.49, 2), (3.29, 0.8), (9.25, 0.4), (1.1, 1.5))
    mean = 20 * ((1 - share) * host + share * well).reshape(SIDE * SIDE, -1)
    found = []
    for seed in range(4):
        si = SpectrumImage(
            sp.csr_array(np.random.default_rng(seed).poisson(mean)),
            (SIDE, SIDE),
            EnergyAxis(0.2, 0.01, CHANNELS, "keV"),
            signal_type="EDS_TEM",
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SiftemWarning)  # it says how sure it is
            found.append(choose_n_components(si, range(1, 4)).n_components)
    # With 300 bins of equal width the layer is found in none of them.
    assert found.count(expected) >= 3
