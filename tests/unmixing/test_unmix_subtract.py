from dataclasses import replace

import numpy as np
import pytest

from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError, SiftemWarning
from siftem.fit.line_fit import fit_lines
from siftem.spectrum import Spectrum
from siftem.unmixing.anchors import Absent, GivenScale, KnownRatio, MostMatrix, Stoichiometry
from siftem.unmixing.subtract import subtract
from siftem.xray.absorption import thin_film_absorption


def lean(values, **change):
    return Spectrum(values, EnergyAxis(0.2, 0.01, len(values)), **change)


def settings(book):
    return {"elements": book.elements, "calibration": book.calibration}


def test_variance_of_a_scaled_subtraction_by_simulation():
    # R2 = 4e4, T = 3000, a = 0.3, f = 500: 1758 by the formula; 1670 without Var(a).
    # validation/unmix_subtraction_variance.py simulates 1767.
    rng = np.random.default_rng(0)
    n = 20000
    r2, r1 = rng.poisson(4e4, n), rng.poisson(0.3 * 4e4, n)
    t, m = rng.poisson(3000, n), rng.poisson(500 + 0.3 * 3000, n)
    simulated = np.var(m - r1 / r2 * t)
    scale_sigma = 0.3 * np.sqrt(1 / 1.2e4 + 1 / 4e4)
    pure = subtract(
        lean(np.array([1400.0, 1400.0])), lean(np.array([3000.0, 3000.0])),
        anchor=GivenScale(0.3, scale_sigma),
    )  # fmt: skip
    assert pure.values == pytest.approx([500, 500])
    assert pure.covariance[0, 0] == pytest.approx(1757.75, abs=0.3)
    assert pure.covariance[0, 1] == pytest.approx(3000**2 * scale_sigma**2)
    assert pure.variance[0] == pytest.approx(1670)
    # The standard error of a variance from n draws is sqrt(2/n), 1%.
    assert simulated == pytest.approx(pure.covariance[0, 0], rel=0.035)


def test_what_is_subtracted_stays_known():
    mixture = lean(np.array([10.0, 20.0, 30.0]), n_pixels=7, name="Fp + Brg")
    pure = subtract(mixture, lean(np.array([4.0, 50.0, 6.0])), anchor=GivenScale(0.5), name="Fp")
    assert pure.values == pytest.approx([8, -5, 27])
    assert pure.background == pytest.approx([2, 25, 3])
    assert pure.counts == pytest.approx(mixture.values)
    assert (pure.name, pure.n_pixels, pure.scale, pure.scale_sigma) == ("Fp", 7, 0.5, 0.0)
    assert pure.subtracted[0].counts == pytest.approx(30)


def test_errors_of_the_matrix_itself_are_carried():
    matrix = lean(
        np.array([40.0, 50.0]), variance=np.array([60.0, 70.0]), modes=np.array([[3.0, 4.0]])
    )
    pure = subtract(lean(np.array([30.0, 40.0])), matrix, anchor=GivenScale(0.5))
    assert pure.covariance == pytest.approx(
        np.diag([30 + 15, 40 + 17.5]) + 0.25 * np.outer([3, 4], [3, 4])
    )


def test_absent_element_on_whole_spectra(book):
    matrix, grain = book.pure("Brg", 3e6), book.pure("Fp", 1e6)
    mixture = book.spectrum(grain + 0.4 * matrix, "Fp + Brg")
    pure = subtract(mixture, book.spectrum(matrix, "Brg"), anchor=Absent("Si"), **settings(book))
    assert pure.scale == pytest.approx(0.4, rel=1e-4)
    assert pure.values == pytest.approx(grain, abs=1e-3 * grain.max())
    assert pure.anchor == "no Si in the grain"
    assert [s.name for s in pure.subtracted] == ["Brg"]


@pytest.mark.parametrize("draws", [30, pytest.param(60, marks=pytest.mark.slow)])
def test_scales_of_many_draws_spread_as_told(book, draws):
    matrix, grain = book.pure("Brg", 2e5), book.pure("Fp", 5e4)
    scales = []
    for seed in range(draws):
        pure = subtract(
            book.spectrum(grain + 0.4 * matrix, seed=2 * seed),
            book.spectrum(matrix, seed=2 * seed + 1), anchor=Absent("Si"), **settings(book),
        )  # fmt: skip
        scales.append((pure.scale, pure.scale_sigma))
    values, sigmas = np.array(scales).T
    # A standard deviation from 30 draws is good to 13%, from 60 to 9%.
    assert values.std() == pytest.approx(sigmas.mean(), rel=0.3)
    assert abs(values.mean() - 0.4) < 4 * sigmas.mean() / np.sqrt(draws)


def test_known_ratio_on_whole_spectra(book):
    grain, matrix = book.pure("Ca-Pv", 5e5), book.pure("Brg", 3e6)
    mixture = book.spectrum(grain + 0.5 * matrix)
    ratio = 0.242 / 0.332
    pure = subtract(
        mixture, book.spectrum(matrix), anchor=KnownRatio("Si", "Ca", ratio, by="weight"),
        **settings(book),
    )  # fmt: skip
    assert pure.scale == pytest.approx(0.5, rel=2e-3)
    assert pure.subtracted[0].systematic > 0


def test_two_contaminants(book):
    matrix, other, grain = (book.pure(n, 1e6) for n in ("Brg", "Fp", "Ca-Pv"))
    # The grain's A/B over these elements, with Al on both sides of the perovskite.
    atoms = {e: w / m for (e, w), m in zip(
        book.phases["Ca-Pv"].items(), (15.999, 26.982, 28.086, 40.078), strict=True)}  # fmt: skip
    a_over_b = atoms["Ca"] / (atoms["Si"] + atoms["Al"])
    mixture = book.spectrum(0.3 * grain + 0.5 * matrix + 0.05 * other, "Ca-Pv")
    pure = subtract(
        mixture, [book.spectrum(matrix, "Brg"), book.spectrum(other, "Fp")],
        anchor=[Absent("Mg"), Stoichiometry("(Ca+Mg+Fe)/(Si+Al)", a_over_b)],
        **settings(book),
    )  # fmt: skip
    assert [s.scale for s in pure.subtracted] == pytest.approx([0.5, 0.05], rel=0.02)
    assert pure.values == pytest.approx(0.3 * grain, abs=2e-3 * grain.max())
    assert -1 < pure.scale_correlation[0, 1] < 0
    # The absent line has hardly any error left: 7% of what it would have, since the mixture was
    # fitted beside other ratios of its lines, and other errors of the model, than the rest.
    fit = fit_lines(pure, book.elements, beam_energy=200.0, calibration=book.calibration)
    mg, si = fit.index("Mg"), fit.index("Si")
    # Noise is pinned, what is not known of ratios of lines is not.
    noise = (fit.covariance - fit.ratio_covariance)[mg, mg]
    assert noise < 6e-3 * fit.sigma_at_zero(mg) ** 2
    assert fit.covariance[si, si] > 0


@pytest.mark.parametrize(
    ("name", "anchor", "fixed"),
    [
        ("Fp", Absent("Si"), "Si"),
        ("Ca-Pv", KnownRatio("Mg", "Ca", 0.0), "Mg"),
    ],
)
@pytest.mark.slow
def test_errors_of_lines_are_their_scatter(book, name, anchor, fixed):
    """Scale and mixture come from the same counts, so their noises are correlated."""
    matrix, grain = book.pure("Brg", 2e5), book.pure(name, 5e4)
    told, found = [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        mixture = book.spectrum(rng.poisson(grain + 0.6 * matrix).astype(float))
        pure = subtract(mixture, book.spectrum(rng.poisson(matrix).astype(float)),
                        anchor=anchor, **settings(book))  # fmt: skip
        fit = fit_lines(pure, book.elements, beam_energy=200.0, calibration=book.calibration)
        index = [fit.index(e) for e in book.elements]
        # Sums of two lines show whether the correlation is right, too.
        sums = np.vstack([np.eye(len(index)), np.ones(len(index))])
        found.append(sums @ fit.unbounded[index])
        covariance = fit.covariance[np.ix_(index, index)]
        told.append(np.sqrt(np.diag(sums @ covariance @ sums.T)))
    told, found = np.mean(told, axis=0), np.std(found, axis=0, ddof=1)
    place = book.elements.index(fixed)
    # Mixture and remainder are each fitted beside their own misfit and ratios of lines, so that a
    # part is left, no more than is told.
    assert found[place] < told[place] < np.median(told)
    assert found[place] < 0.5 * np.median(told)
    others = np.arange(len(told)) != place
    # A standard deviation from 100 draws is good to 7%.
    assert found[others] / told[others] == pytest.approx(1.0, abs=0.22)


def test_a_contaminant_that_is_not_there_is_left_out(book):
    matrix, other, grain = (book.pure(n, 1e6) for n in ("Brg", "Fp", "Ca-Pv"))
    mixture = book.spectrum(0.3 * grain + 0.5 * matrix, "Ca-Pv", seed=4)
    contaminants = [book.spectrum(matrix, "Brg"), book.spectrum(other, "Fp")]
    pure = subtract(
        mixture, contaminants, anchor=[Absent("Mg"), GivenScale(0.0, of="Fp")], **settings(book)
    )
    assert pure.subtracted[1].scale == pytest.approx(0, abs=1e-12)
    assert pure.subtracted[0].scale == pytest.approx(0.5, rel=0.01)
    with pytest.raises(InputError, match="scale is given for 'Ol'"):
        subtract(mixture, contaminants, anchor=[Absent("Mg"), GivenScale(0.1, of="Ol")],
                 **settings(book))  # fmt: skip
    with pytest.raises(InputError, match="at least as many"):
        subtract(mixture, contaminants, anchor=Absent("Mg"), **settings(book))
    with pytest.raises(InputError, match="one spectrum"):
        subtract(mixture, contaminants, anchor=[Absent("Mg"), MostMatrix(("Mg",))],
                 **settings(book))  # fmt: skip


def test_conflict_is_told(book):
    matrix, grain = book.pure("Brg", 3e6), book.pure("Ca-Pv", 1e6)
    mixture = book.spectrum(grain + 0.4 * matrix, "Ca-Pv")
    with pytest.warns(SiftemWarning, match=r"disagree by .* sigma"):
        pure = subtract(mixture, book.spectrum(matrix), anchor=Absent("Mg", "Si"), **settings(book))
    assert pure.conflict > 3


def test_a_negative_scale_is_not_used(book):
    matrix, grain = book.pure("Brg", 3e6), book.pure("Fp", 1e6)
    # Fp asked to hold more Mg than it has, against a matrix that is poorer still.
    with pytest.warns(SiftemWarning, match="negative amount"):
        pure = subtract(
            book.spectrum(grain, "Fp"), book.spectrum(matrix, "Brg"),
            anchor=KnownRatio("Mg", "O", 0.4), **settings(book),
        )  # fmt: skip
    assert pure.scale == 0
    assert pure.values == pytest.approx(grain)
    assert any("left no Brg" in note for note in pure.notes)
    assert pure.scale_sigma > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"anchor": Absent("H")}, "H has no fitted"),
        ({"anchor": Absent("Ca")}, "no clear Ca"),
        ({"anchor": []}, "an anchor is needed"),
    ],
)
def test_bad_input(book, change, message):
    bare = {"O": 0.5, "Mg": 0.2, "Si": 0.3}
    arguments = {**settings(book), "energy_range": (0.25, 5.0), **change}
    with pytest.raises(InputError, match=message):
        subtract(
            book.spectrum(book.pure("Ca-Pv", 1e5), seed=1),
            book.spectrum(book.expected(bare, 1e5), seed=2), **arguments,
        )  # fmt: skip


def test_axes_must_agree(book):
    mixture = book.spectrum(book.pure("Fp", 1e5))
    other = replace(mixture, axis=EnergyAxis(0.3, 0.01, 800))
    with pytest.raises(InputError, match="same energy axis"):
        subtract(mixture, other, anchor=GivenScale(0.1))


def test_beam_energy_is_needed(book):
    mixture = lean(book.pure("Fp", 1e5))
    with pytest.raises(InputError, match="beam energy"):
        subtract(mixture, mixture, anchor=Absent("Mg"))


def test_an_anchor_on_two_elements_sees_the_film(book):
    """O K loses far more on its way out of the film than Ca K: their ratio depends on it."""

    def film(energies):
        return thin_film_absorption(
            book.phases["Brg"], energies, thickness=300.0, density=4.25, take_off_angle=22.0
        )

    matrix, grain = (book.expected(book.phases[n], 1e6, film) for n in ("Brg", "Ca-Pv"))
    mixture = book.spectrum(0.5 * grain + 0.4 * matrix)
    anchor = KnownRatio("O", "Ca", 0.42 / 0.332, by="weight")
    seen = subtract(mixture, book.spectrum(matrix), anchor=anchor, absorption=film,
                    **settings(book))  # fmt: skip
    assert seen.scale == pytest.approx(0.4, rel=2e-3)
    with pytest.warns(SiftemWarning, match="compares O with Ca, of which a film"):
        blind = subtract(mixture, book.spectrum(matrix), anchor=anchor, **settings(book))
    assert abs(blind.scale - 0.4) > 0.02


@pytest.mark.parametrize("draws", [30, pytest.param(60, marks=pytest.mark.slow)])
def test_a_line_absent_from_the_grain_has_the_noise_that_its_limit_tells(book, draws):
    """The scale moves all lines of the matrix at once; a detection limit must hold that."""
    bare = {"O": 0.4, "Fe": 0.6}
    matrix, grain = book.pure("Brg", 2e6), book.expected(bare, 1e6)
    told, found = [], []
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        # The scale that is given is wrong by what is said of it.
        anchor = GivenScale(rng.normal(0.4, 0.02), 0.02)
        pure = subtract(
            book.spectrum(rng.poisson(grain + 0.4 * matrix).astype(float)),
            book.spectrum(rng.poisson(matrix).astype(float)), anchor=anchor,
        )  # fmt: skip
        fit = fit_lines(pure, book.elements, beam_energy=200.0, calibration=book.calibration)
        told.append(fit.sigma_at_zero(fit.index("Si")))
        found.append(fit.unbounded[fit.index("Si")])
    # A standard deviation from 30 draws is good to 13%, from 60 to 9%.
    assert np.std(found) / np.mean(told) == pytest.approx(1.0, abs=0.3)
    plain = fit_lines(
        book.spectrum(grain + 0.4 * matrix), book.elements, beam_energy=200.0,
        calibration=book.calibration,
    )  # fmt: skip
    assert np.mean(told) > 5 * plain.sigma_at_zero(plain.index("Si"))
