import numpy as np
import pytest

import siftem
from siftem.errors import InputError
from siftem.figures.curves import onuma_figure
from siftem.minerals.lattice_strain import ionic_radius
from siftem.quantification.partition import PartitionCoefficient

RARE_EARTHS = ("La", "Ce", "Nd", "Sm", "Gd", "Dy", "Er", "Yb", "Lu")
PAIR = ("Ca-Pv", "melt")
TEMPERATURE = 2300.0


def strained(elements, *, d0=12.0, r0=1.07, modulus=250.0):
    """D by Blundy & Wood 1994, equation 2, in SI units."""
    r = np.array([ionic_radius(e, 3, 8) for e in elements]) * 1e-10
    best = r0 * 1e-10
    strain = best / 2 * (r - best) ** 2 + (r - best) ** 3 / 3
    energy = 4 * np.pi * modulus * 1e9 * 6.02214076e23 * strain
    return d0 * np.exp(-energy / (8.31446262 * TEMPERATURE))


def measured(elements, values, relative=0.05, **more):
    return [
        PartitionCoefficient(
            e, PAIR, float(d), 0.8 * relative * float(d), 0.6 * relative * float(d),
            interval_95=(d * (1 - 2 * relative), d * (1 + 2 * relative)), **more,
        )
        for e, d in zip(elements, values, strict=True)
    ]  # fmt: skip


def test_the_parameters_of_blundy_and_wood_come_back():
    diagram = siftem.lattice_strain(
        measured(RARE_EARTHS, strained(RARE_EARTHS)), temperature=TEMPERATURE
    )
    (curve,) = diagram.curves
    assert curve.strain_free == pytest.approx(12.0, rel=1e-5)
    assert curve.best_radius == pytest.approx(1.07, abs=1e-5)
    assert curve.young_modulus == pytest.approx(250.0, rel=1e-4)
    assert curve.stiffness == pytest.approx(250.0 / TEMPERATURE, rel=1e-4)
    # Both kinds of errors: 4% and 3% are 5%.
    assert diagram.points[0].sigma == pytest.approx(0.05 * diagram.points[0].value)
    assert not curve.at_bound
    assert all(p.fitted for p in diagram.points)
    assert curve.at(np.array([1.07])) == pytest.approx([12.0], rel=1e-3)
    low, high = curve.band(np.array([1.07]))
    assert low < 12.0 < high


@pytest.mark.slow
def test_intervals_hold_the_truth():
    rng = np.random.default_rng(1)
    true = strained(RARE_EARTHS)
    inside = np.zeros(3)
    n = 60
    for seed in range(n):
        seen = true * np.exp(0.05 * rng.standard_normal(len(true)))
        (curve,) = siftem.lattice_strain(
            measured(RARE_EARTHS, seen), temperature=TEMPERATURE, random_state=seed, draws=100
        ).curves
        for i, (key, value) in enumerate(
            (("strain_free", 12.0), ("best_radius", 1.07), ("young_modulus", 250.0))
        ):
            low, high = curve.intervals_95[key]
            inside[i] += low <= value <= high
    assert (inside / n >= 0.85).all()
    assert (inside / n).mean() < 1.0


def test_three_cations_are_enough_and_two_are_not():
    few = ("Nd", "Sm", "Lu")
    assert len(siftem.lattice_strain(measured(few, strained(few))).curves) == 1
    assert siftem.lattice_strain(measured(few[:2], strained(few[:2]))).curves == ()


def test_limits_and_ranges_are_shown_but_not_fitted():
    few = ("Nd", "Sm", "Gd", "Lu")
    good = measured(few, strained(few))
    limit = PartitionCoefficient("La", PAIR, 1e-3, 1e-4, 0.0, "below")
    spread = PartitionCoefficient("Ce", PAIR, 5.0, 0.1, 0.1, interval_95=(1, 90), is_range=True)
    diagram = siftem.lattice_strain([*good, limit, spread], temperature=TEMPERATURE)
    assert diagram.curves[0].elements == few
    assert diagram.curves[0].strain_free == pytest.approx(12.0, rel=0.05)
    assert {p.element for p in diagram.points if not p.fitted} == {"La", "Ce"}


def test_a_best_radius_beyond_all_cations_is_told():
    few = ("Er", "Yb", "Lu")
    diagram = siftem.lattice_strain(measured(few, strained(few, r0=1.3, modulus=60.0)))
    assert diagram.curves[0].at_bound
    assert diagram.curves[0].young_modulus is None
    assert "young_modulus" not in diagram.curves[0].intervals_95


def test_charges_have_curves_of_their_own():
    two = {"Mg": 0.9, "Ca": 20.0, "Sr": 18.0, "Ba": 2.0}
    both = measured(RARE_EARTHS, strained(RARE_EARTHS)) + measured(two, two.values())
    diagram = siftem.lattice_strain(both)
    assert [c.charge for c in diagram.curves] == [2, 3]
    assert diagram.curves[0].best_radius == pytest.approx(1.2, abs=0.06)
    # Ions of a charge without a curve are explained as well.
    few = siftem.lattice_strain([*measured(RARE_EARTHS, strained(RARE_EARTHS)),
                                 *measured(("Hf", "Mg"), (0.1, 0.2))])  # fmt: skip
    (panel,) = onuma_figure([few]).axes
    assert {t.get_text() for t in panel.get_legend().get_texts()} == {"2+", "3+", "4+"}
    # Elements without a radius in this coordination, and anions, are left out.
    assert siftem.lattice_strain(measured(("Ni", "O", "Sm"), (1, 1, 1))).points[0].element == "Sm"


def test_the_figure_shows_every_point_and_curve():
    diagram = siftem.lattice_strain(measured(RARE_EARTHS, strained(RARE_EARTHS)))
    figure = onuma_figure([diagram, diagram])
    panel = figure.axes[0]
    assert {t.get_text() for t in panel.texts} == set(RARE_EARTHS)
    assert panel.get_yscale() == "log"
    assert "Ca-Pv / melt" in panel.get_ylabel()
    assert len(panel.collections) >= 1
    assert [t.get_text() for t in panel.get_legend().get_texts()] == ["3+"]
    with pytest.raises(InputError, match="nothing to draw"):
        onuma_figure([])


def test_names_of_the_outermost_points_lie_within_the_frame():
    few = {"Al": 1.1, "Mg": 0.02, "Nd": 21.0, "Ca": 18.0}
    figure = onuma_figure([siftem.lattice_strain(measured(few, few.values()))])
    figure.canvas.draw()
    (panel,) = figure.axes
    frame = panel.get_window_extent()
    for text in panel.texts:
        label = text.get_window_extent()
        assert frame.x0 < label.x0 < label.x1 < frame.x1
        assert frame.y0 < label.y0 < label.y1 < frame.y1


@pytest.mark.parametrize(
    ("more", "words"),
    [({"coordination": 7}, "coordination"), ({"temperature": -1.0}, "temperature")],
)
def test_bad_wishes(more, words):
    with pytest.raises(InputError, match=words):
        siftem.lattice_strain(measured(RARE_EARTHS, strained(RARE_EARTHS)), **more)
    with pytest.raises(InputError, match="one pair"):
        siftem.lattice_strain([])


def test_radii_are_those_of_shannon():
    """A few of the table against the paper, and the lanthanide contraction."""
    assert ionic_radius("Ca", 2, 8) == 1.12
    assert ionic_radius("La", 3, 6) == 1.032
    assert ionic_radius("Fe", 2, 6) == 0.78
    assert ionic_radius("U", 4, 8) == 1.00
    assert ionic_radius("Ni", 2, 12) is None
    rare = ["La", "Ce", "Pr", "Nd", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu"]
    for coordination in (6, 8):
        assert (np.diff([ionic_radius(e, 3, coordination) for e in rare]) < 0).all()
