from pathlib import Path

import numpy as np
import pytest

from siftem.errors import InputError
from siftem.xray.cross_sections import CrossSectionTable, ionisation_cross_section

# Written by validation/xray_bote_salvat.py.
BOTE_SALVAT = Path(__file__).parent / "bote_salvat_2009.csv"


@pytest.fixture(scope="module")
def reference():
    return CrossSectionTable.from_csv(BOTE_SALVAT)


@pytest.mark.parametrize(
    ("element", "subshell", "ratio"),
    [
        ("O", "K", 1.15),
        ("Si", "K", 1.11),
        ("Ca", "K", 1.09),
        ("Fe", "K", 1.07),
        ("Nd", "L3", 1.05),
        ("Hf", "L3", 1.03),
        ("U", "L3", 1.00),
    ],
)
def test_casnati_over_bote_salvat_at_200_kev(reference, element, subshell, ratio):
    truth = ionisation_cross_section(element, subshell, 200.0, table=reference)
    assert ionisation_cross_section(element, subshell, 200.0) / truth == pytest.approx(
        ratio, abs=0.015
    )


@pytest.mark.parametrize(
    ("element", "subshell", "beam", "cm2"),
    [
        ("Mg", "K", 200.0, 2.6748e-21),
        ("Si", "K", 200.0, 1.7474e-21),
        ("Fe", "K", 200.0, 3.1843e-22),
        ("Nd", "L3", 200.0, 7.7671e-22),
        ("Si", "K", 300.0, 1.4884e-21),
    ],
)
def test_computed_cross_sections_lie_within_their_stated_error(element, subshell, beam, cm2):
    # Bote et al. 2009 by their program; Casnati is stated to be up to 12% above it here.
    assert 1.0 <= ionisation_cross_section(element, subshell, beam) / cm2 <= 1.14


def test_m_shells_are_at_least_qualitative():
    # Bote et al. 2009, U M5 at 200 keV.
    assert ionisation_cross_section("U", "M5", 200.0) == pytest.approx(2.8070e-21, rel=0.30)


def test_threshold_and_trend():
    assert ionisation_cross_section("Fe", "K", 7.0) == 0.0
    assert ionisation_cross_section("Fe", "K", 7.2) > 0.0
    # Relativity makes the cross-section rise again beyond about 1 MeV.
    beams = np.array([100.0, 200.0, 300.0, 500.0])
    assert (np.diff([ionisation_cross_section("Si", "K", e) for e in beams]) < 0).all()
    assert (
        ionisation_cross_section("Si", "K", 3000.0)
        > ionisation_cross_section("Si", "K", 1000.0) * 0.95
    )


def test_a_table_takes_over_and_interpolates(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(
        "Z,shell,beam energy,cm2\n# mine\n\n14,K,100,4e-21\nSi,k,400,1e-21\n26,K,200,9e-22\n"
    )
    table = CrossSectionTable.from_csv(path)
    # log-log: halfway between 100 and 400 lies 200, halfway between 4 and 1 lies 2.
    assert ionisation_cross_section("Si", "K", 200.0, table=table) == pytest.approx(2e-21)
    assert ionisation_cross_section("Fe", "K", 200.0, table=table) == pytest.approx(9e-22)
    assert ionisation_cross_section("Mg", "K", 200.0, table=table) == ionisation_cross_section(
        "Mg", "K", 200.0
    )
    with pytest.raises(InputError, match="from 200 to 200 keV but the beam energy is 300 keV"):
        ionisation_cross_section("Fe", "K", 300.0, table=table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no values"),
        ("Z,shell,beam,cm2\n", "holds no values"),
        ("14,K,200\n14,K,200\n", "line 2"),
        ("14,K,200,abc\n14,K,200,abc\n", "line 2"),
        ("14,N5,200,1e-21\n", "the shell 'N5' of Si"),
        ("14,K,200,-1e-21\n", "positive"),
        ("14,K,200,1e-21\n14,K,200,2e-21\n", "twice"),
        ("14,K,200,nan\n", "positive"),
    ],
)
def test_bad_tables_say_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        CrossSectionTable.from_csv(path)


def test_missing_table_file(tmp_path):
    with pytest.raises(InputError, match="can't be read"):
        CrossSectionTable.from_csv(tmp_path / "none.csv")


def test_bad_arguments():
    with pytest.raises(InputError, match="keV"):
        ionisation_cross_section("Si", "K", 200_000.0)
    with pytest.raises(InputError, match="keV"):
        ionisation_cross_section("Si", "K", float("nan"))
    with pytest.raises(InputError, match="subshell"):
        ionisation_cross_section("U", "N5", 200.0)
    assert ionisation_cross_section("H", "L1", 200.0) == 0.0
