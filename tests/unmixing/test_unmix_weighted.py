import numpy as np
import pytest
import scipy.sparse as sp

from siftem.acquisition import Acquisition
from siftem.errors import InputError
from siftem.segment.regions import Regions
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.anchors import Absent
from siftem.unmixing.integrate import weighted_mixtures
from siftem.unmixing.subtract import subtract

SHAPE = (40, 40)


@pytest.fixture(scope="module")
def lens(book):
    """A lens-shaped grain of Fp, a bar of Ca-Pv across it; expected counts and regions."""
    y, x = np.mgrid[0:40, 0:40]
    fp = np.clip(0.9 - ((y - 20) ** 2 + (x - 16) ** 2) / 160, 0, 1)
    bar = np.where(abs(y - 20) < 4, np.clip(0.7 - abs(x - 26) / 10, 0, 1), 0.0)
    brg = 1 - np.clip(fp + bar, 0, 1)
    shares = np.stack([brg, fp, bar]) / (brg + fp + bar)
    names = ("Brg", "Fp", "Ca-Pv")
    spectra = np.array([book.pure(n, 1.0) for n in names])
    regions = Regions(SHAPE, matrix="Brg", masks={"Fp": fp > 0.001, "Ca-Pv": bar > 0.001})
    return names, shares, spectra, regions


def counted(lens, book, dose, seed=0):
    _, shares, spectra, _ = lens
    mean = dose * shares.reshape(3, -1).T @ spectra
    counts = np.random.default_rng(seed).poisson(mean)
    acquisition = Acquisition(200.0, 22.0, 130.0)
    return SpectrumImage(sp.csr_array(counts), SHAPE, book.axis, acquisition=acquisition)


def exact(lens, book):
    names, _, spectra, _ = lens
    return {n: book.spectrum(1e5 * s, n) for n, s in zip(names, spectra, strict=True)}


@pytest.mark.parametrize("dose", [40.0, 2000.0])
def test_weights_are_the_shares(lens, book, dose):
    _, shares, _, regions = lens
    made = weighted_mixtures(counted(lens, book, dose), regions, exact(lens, book))
    for i, name in enumerate(regions.names, start=1):
        w, there = made[name].weights, regions.mask(name).mask
        assert (w[~there] == 0).all()
        assert ((w >= 0) & (w <= 1)).all()
        # The mean over neighbours cuts corners: the bar is four pixels to its ends.
        assert np.corrcoef(w[there], shares[i][there])[0, 1] > 0.75
        assert made[name].spectrum.variance.sum() == pytest.approx(made[name].spectrum.values.sum())


def test_what_another_grain_adds_is_known(lens, book):
    """The amount of the other grain's sum, against the truth for these weights."""
    _, shares, _, regions = lens
    made = weighted_mixtures(counted(lens, book, 2000.0), regions, exact(lens, book))
    w = {n: made[n].weights for n in regions.names}
    for name, other in (("Fp", "Ca-Pv"), ("Ca-Pv", "Fp")):
        of_other = shares[1 + regions.names.index(other)]
        expected = (w[name] * of_other).sum() / (w[other] * of_other).sum()
        (anchor,) = made[name].anchors
        assert anchor.of == other
        assert anchor.value == pytest.approx(expected, abs=4 * anchor.sigma)
        assert 0 < anchor.sigma < 0.05


@pytest.mark.parametrize("draws", [10, pytest.param(30, marks=pytest.mark.slow)])
def test_pure_spectrum_is_unbiased_and_less_noisy(lens, book, draws):
    """Over many draws: no preference for noise that looks like the grain."""
    _, _, spectra, regions = lens
    settings = {"elements": book.elements, "calibration": book.calibration}
    pure = exact(lens, book)
    matrix = book.spectrum(1e6 * spectra[0], "Brg")
    plain, weighted = [], []
    told_plain, told_weighted = [], []
    o_line = book.axis.window(0.45, 0.6)
    fe_line = book.axis.window(6.2, 6.6)
    for seed in range(draws):
        si = counted(lens, book, 30.0, seed)
        w = weighted_mixtures(si, regions, pure)["Fp"]
        good = subtract(w.spectrum, [matrix, *w.others], anchor=[Absent("Si"), *w.anchors],
                        **settings)  # fmt: skip
        rows = np.asarray(regions.mixture("Fp")).ravel()
        simple = subtract(
            Spectrum(np.asarray(si.counts[rows].sum(axis=0), float).ravel(), book.axis,
                     acquisition=si.acquisition),
            matrix, anchor=Absent("Si"), **settings,
        )  # fmt: skip
        for out, told, s in ((weighted, told_weighted, good), (plain, told_plain, simple)):
            (fe, fe_sigma), (o, o_sigma) = s.sum(fe_line), s.sum(o_line)
            out.append(fe / o)
            told.append(np.hypot(fe_sigma / fe, o_sigma / o))
    true = spectra[1][fe_line].sum() / spectra[1][o_line].sum()
    assert np.mean(weighted) == pytest.approx(true, abs=4 * np.std(weighted) / np.sqrt(draws))
    assert np.mean(told_weighted) < 0.97 * np.mean(told_plain)
    if draws > 20:  # that the scatter differs by a tenth, ten draws can't tell
        assert np.std(weighted) < np.std(plain)


def test_refusals(lens, book):
    _, _, _, regions = lens
    si = counted(lens, book, 40.0)
    pure = exact(lens, book)
    with pytest.raises(InputError, match="Ca-Pv has none"):
        weighted_mixtures(si, regions, {n: pure[n] for n in ("Brg", "Fp")})
    with pytest.raises(InputError, match="energy axis"):
        weighted_mixtures(si, regions, {**pure, "Fp": pure["Fp"].cropped(1.0, 5.0)})
    empty = {**pure, "Fp": book.spectrum(np.zeros(book.axis.size), "Fp")}
    with pytest.raises(InputError, match="no counts"):
        weighted_mixtures(si, regions, empty)
