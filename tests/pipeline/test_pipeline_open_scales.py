"""What elements that vanish together tell of a grain in two hosts."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.pipeline.open_scales import Host, open_scale
from siftem.segment.regions import Region
from siftem.spectrum import Spectrum, spectral_angle
from siftem.spectrum_image import SpectrumImage

AXIS = EnergyAxis(0.2, 0.02, 200, "keV")
LINES = {"Mg": 40, "Al": 55, "Si": 75, "Ca": 110, "S": 140}
N = 30


def spectrum(**weights):
    out = np.zeros(AXIS.size)
    for element, weight in weights.items():
        at = LINES[element]
        out[at - 3 : at + 4] += weight / 7
    return out


def fit(what):
    """The counts of each line, over a continuum of nothing."""
    windows = [slice(at - 3, at + 4) for at in LINES.values()]
    return SimpleNamespace(
        model=SimpleNamespace(names=tuple(LINES)),
        names=tuple(LINES),
        unbounded=np.array([what.values[w].sum() for w in windows]),
        covariance=np.diag([max(what.variance[w].sum(), 1.0) for w in windows]),
    )


def found(outer, inner, own, seed=0):
    """A grain everywhere as thick in an inner host and an outer one, and what is left of it."""
    rng = np.random.default_rng(seed)
    mixture = 0.3 * outer + 0.3 * inner + 0.4 * own
    si = SpectrumImage(
        sp.csr_array(rng.poisson(np.tile(mixture, (N * N, 1)))),
        (N, N),
        AXIS,
        acquisition=Acquisition(beam_energy=200.0, take_off_angle=22.0),
        signal_type="EDS_TEM",
    )
    region = Region("", np.ones((N, N), bool))
    total = Spectrum(si.counts.sum(axis=0), AXIS, name="grain", n_pixels=N * N)
    hosts = {
        name: Host(
            Spectrum(rng.poisson(N * N * mean).astype(float), AXIS, name=name, n_pixels=N * N),
            None,
            region,
        )
        for name, mean in (("outer", outer), ("inner", inner))
    }
    return open_scale(si, "grain", total, region, hosts, fit=fit, random_state=0)


@pytest.mark.parametrize("seed", range(3))
def test_what_two_hosts_share_vanishes_with_the_second_if_the_first_is_right(seed):
    """Only Ca is the outer one's own: that it is gone is told by Si, which then goes with Mg."""
    outer, inner = spectrum(Ca=30, Si=60, Al=0), spectrum(Mg=50, Si=50)
    own = spectrum(S=80)
    pure, known = found(outer, inner, own, seed)
    assert spectral_angle(pure.values, own) < 6
    assert [set(one.together) for one in known.ranges] == [{"Ca"}, {"Mg", "Si"}]
    assert known.ranges[0].ends[0] == 0  # which nothing but that says, so the interval stays


def test_a_second_host_that_shares_nothing_tells_nothing_of_the_first():
    outer, inner = spectrum(Ca=30), spectrum(Mg=50, Si=50)
    _, known = found(outer, inner, spectrum(S=80))
    assert [set(one.together) for one in known.ranges] == [set(), {"Mg", "Si"}]


def test_a_grain_that_holds_what_the_hosts_share_does_not_lack_it():
    outer, inner = spectrum(Ca=30, Si=60), spectrum(Mg=50, Si=50)
    _, known = found(outer, inner, spectrum(S=50, Si=40))
    assert [set(one.together) for one in known.ranges] == [set(), set()]
