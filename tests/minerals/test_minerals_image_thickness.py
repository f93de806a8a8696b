"""Mass thickness by dark-field images: with errors that hold, and of what can't be used."""

from types import SimpleNamespace

import numpy as np
import pytest

from siftem.errors import InputError
from siftem.minerals.thickness import ThicknessMap, image_thickness
from siftem.xray.elements import atomic_number, atomic_weight

WEIGHTS = {"A": {"O": 0.5, "Mg": 0.2, "Si": 0.3}, "B": {"O": 0.2, "Fe": 0.8}}
COMPOSITIONS = {
    n: SimpleNamespace(elements=tuple(w), weight_fractions=np.array(list(w.values())))
    for n, w in WEIGHTS.items()
}


def drawn(rng, *, power=1.7, dark=0.0, noise=0.0):
    """A wedge of A with a half that holds B, as counts and as an image see it."""
    true = 4e-4 * np.linspace(0.7, 1.3, 40)[:, None] * np.ones((40, 40))
    share = np.zeros((40, 40))
    share[:, 25:] = rng.uniform(0.2, 0.9)
    parts = {"A": (1 - share) * true, "B": share * true}
    image = np.full((40, 40), dark)
    for name, part in parts.items():
        image += 1e7 * part * sum(
            w * atomic_number(e) ** power / atomic_weight(e) for e, w in WEIGHTS[name].items()
        )  # fmt: skip
    image += noise * image.mean() * rng.standard_normal(image.shape)
    # By counts: noisy, with the right shares.
    by_counts = {n: p * (1 + 0.2 * rng.standard_normal(true.shape)) for n, p in parts.items()}
    total = by_counts["A"] + by_counts["B"]
    counted = {n: total * p / true for n, p in parts.items()}
    film = ThicknessMap(total, 0.2 * total, counted, 0.1, ())
    return true, film, image


def test_a_film_of_two_phases_comes_out_of_its_image():
    true, film, image = drawn(np.random.default_rng(1))
    film.mass[0, 0] = film.by_phase["A"][0, 0] = np.nan
    found = image_thickness(film, image, COMPOSITIONS, reference="A", dark=0.0)
    known = np.isfinite(found.mass)
    assert known.sum() == 1599
    # The counts of pure pixels set the scale: 20% over the root of 999.
    ratio = (found.mass / true)[known]
    assert ratio == pytest.approx(ratio.mean(), rel=1e-6)
    assert ratio.mean() == pytest.approx(1.0, abs=0.02)
    assert np.nansum(list(found.by_phase.values()), axis=0)[known] == pytest.approx(
        found.mass[known]
    )
    assert found.scale_sigma == 0.1


@pytest.mark.parametrize("told", [True, False])
def test_errors_hold_noise_the_power_of_z_and_a_dark_level_that_is_not_told(told):
    far = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        power = 1.7 + 0.15 * rng.standard_normal()
        true, film, image = drawn(rng, power=power, noise=0.02)
        # A dark level between none and all of the darkest pixel, as it is taken for.
        part = 0.0 if told else rng.uniform(0.0, 0.9)
        image += part / (1 - part) * image.min()
        dark = 0.0 if told else None
        found = image_thickness(film, image, COMPOSITIONS, reference="A", dark=dark)
        scale = film.mass[:, :25].mean() / true[:, :25].mean()
        far.append((found.mass - scale * true) / found.sigma)
    for half in (np.array(far)[:, :, :25], np.array(far)[:, :, 25:]):
        # What is anywhere in a range lies within 1.96 of its standard deviations.
        assert (0.90 if told else 0.95) < (np.abs(half) < 1.96).mean() <= (0.98 if told else 1.0)
        assert 0.7 < np.sqrt((half**2).mean()) < 1.3


def test_images_that_do_not_fit_are_refused():
    _, film, image = drawn(np.random.default_rng(0))
    with pytest.raises(InputError, match="of the shape"):
        image_thickness(film, image[1:], COMPOSITIONS, reference="A")
    with pytest.raises(InputError, match="brighter than the dark level"):
        image_thickness(film, image, COMPOSITIONS, reference="A", dark=1e9)
