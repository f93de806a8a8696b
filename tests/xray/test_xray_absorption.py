import numpy as np
import pytest

from siftem.errors import InputError
from siftem.xray.absorption import escaping_share, mass_attenuation, thin_film_absorption
from siftem.xray.elements import atomic_weight

# By weight, times 100 on purpose: fractions are normalised.
MGSIO3 = {"Mg": atomic_weight("Mg"), "Si": atomic_weight("Si"), "O": 3 * atomic_weight("O")}
# validation/xray_film_and_detector.py
LINES = np.array([0.5249, 1.2536, 1.7400, 3.6905])


def test_mgsio3():
    assert mass_attenuation(MGSIO3, LINES) == pytest.approx([3802, 1566, 1265, 303], rel=0.005)
    absorption = thin_film_absorption(
        MGSIO3, LINES, thickness=100.0, density=4.1, take_off_angle=22.0
    )
    assert absorption == pytest.approx([0.818, 0.919, 0.934, 0.984], rel=0.005)


def test_against_integral_over_depth():
    # Uniform emission: the mean of exp(-mu rho z / sin) over depth.
    depth = (np.arange(20_000) + 0.5) / 20_000 * 200e-7
    rate = mass_attenuation(MGSIO3, 0.5249) * 4.1 / np.sin(np.radians(30.0))
    mean = np.exp(-rate * depth).mean()
    got = thin_film_absorption(MGSIO3, 0.5249, thickness=200.0, density=4.1, take_off_angle=30.0)
    assert got == pytest.approx(mean, rel=1e-8)
    assert got.shape == ()


def test_small_chi_is_smooth_and_exact():
    chi = np.array([0.0, 1e-12, 1e-8, 0.99e-4, 1.01e-4, 1e-2, 1.0, 50.0, 1e4])
    with np.errstate(all="raise"):
        share = escaping_share(chi)
    # 1 - x/2 + x^2/6 - x^3/24 where it converges at once, the definition elsewhere.
    series = 1 - chi / 2 + chi**2 / 6 - chi**3 / 24
    assert share[:5] == pytest.approx(series[:5], rel=1e-12)
    assert share[5:] == pytest.approx((1 - np.exp(-chi[5:])) / chi[5:], rel=1e-12)
    assert (np.diff(share) <= 0).all()


def test_no_film_no_absorption():
    assert thin_film_absorption(
        MGSIO3, LINES, thickness=0.0, density=4.1, take_off_angle=22.0
    ).tolist() == [1.0, 1.0, 1.0, 1.0]


def test_energies_outside_the_tables_take_the_nearest_value():
    values = mass_attenuation({"Si": 1.0}, np.array([-1.0, 0.0, 0.05, 0.1, 900.0]))
    assert np.isfinite(values).all()
    assert values[0] == values[3]


def test_shape_is_kept_and_results_are_not_shared():
    energies = LINES.reshape(2, 2)
    first = mass_attenuation({"O": 1.0}, energies)
    first[:] = 0
    assert (mass_attenuation({"O": 1.0}, energies) > 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thickness": -1.0}, "thickness"),
        ({"density": 0.0}, "density"),
        ({"take_off_angle": 0.0}, "take_off_angle"),
        ({"take_off_angle": 91.0}, "take_off_angle"),
        ({"thickness": float("nan")}, "thickness"),
    ],
)
def test_bad_film(change, message):
    film = {"thickness": 100.0, "density": 4.1, "take_off_angle": 22.0} | change
    with pytest.raises(InputError, match=message):
        thin_film_absorption(MGSIO3, LINES, **film)


@pytest.mark.parametrize("fractions", [{}, {"Si": 0.0}, {"Si": -1.0, "O": 2.0}, {"si": 1.0}])
def test_bad_fractions(fractions):
    with pytest.raises(InputError):
        mass_attenuation(fractions, LINES)
