"""Which pixels near borders serve for the sums of phases."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.ndimage import gaussian_filter

from siftem.decomposition.purest import near_borders

LABELS = np.repeat(np.arange(24)[None] < 12, 24, axis=0).astype(int)


def _counts(maps: np.ndarray, dose: float, spectra: np.ndarray) -> sp.csr_array:
    rate = dose * np.einsum("kyx,km->yxm", maps, spectra).reshape(-1, spectra.shape[1])
    return sp.csr_array(np.random.default_rng(3).poisson(rate))


def _spectra(k: int) -> np.ndarray:
    x = np.arange(60)
    out = np.array([0.02 + np.exp(-0.5 * ((x - 12 - 14 * i) / 2) ** 2) for i in range(k)])
    return out / out.sum(axis=1, keepdims=True)


def _halves(blur: float) -> np.ndarray:
    left = gaussian_filter(LABELS.astype(float), blur, mode="nearest") if blur else LABELS
    return np.stack([1.0 - left, left])


@pytest.mark.parametrize("dose", [10, 1000])
def test_pixels_at_a_sharp_border_serve(dose):
    assert not near_borders(LABELS, _counts(_halves(0.0), dose, _spectra(2))).any()


def test_what_a_probe_blurs_is_left_out_as_far_as_it_matters():
    at_all = near_borders(LABELS, _counts(_halves(2.0), 1000, _spectra(2)))[12]
    few = near_borders(LABELS, _counts(_halves(2.0), 10, _spectra(2)))[12]
    assert at_all[8:16].all() and not at_all[:8].any()
    assert few[11:13].all() and few.sum() < at_all.sum()


def test_a_skin_of_its_own_is_left_out():
    maps = np.concatenate([_halves(0.0), np.zeros((1, 24, 24))])
    maps[2, :, 10:14] = 0.2
    spectra = _spectra(3)
    spectra[2] = np.where(
        np.arange(60) > 32, spectra[2] - spectra[2].min(), 0.0
    )  # of no other phase
    out = near_borders(LABELS, _counts(maps, 300, spectra))[12]
    assert out[10:14].all() and not out[:10].any() and not out[14:].any()
