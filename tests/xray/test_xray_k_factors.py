from pathlib import Path

import pytest

from siftem.errors import InputError
from siftem.xray.cross_sections import CrossSectionTable
from siftem.xray.k_factors import (
    emission,
    k_factor_alpha,
    k_factor_family,
    k_factor_uncertainty,
)

# By weight, alpha lines, Si Ka = 1, no detector; from the program of Bote et al. 2009 with
# Coster-Kronig transfer. validation/xray_bote_salvat.py finds them again to 0.5% with the
# coefficients as printed in the paper, which are rounded to three digits.
REFERENCE = {
    200.0: {
        "O": 0.9365, "Mg": 0.9522, "Al": 1.0042, "Ca": 1.2411, "Fe": 1.7106, "Ni": 1.8620,
        "Nd": 4.6755, "Sm": 4.8653, "Hf": 5.5912, "Lu": 5.4878, "U": 7.8898,
    },
    300.0: {
        "O": 0.9470, "Mg": 0.9557, "Al": 1.0061, "Ca": 1.2261, "Fe": 1.6663, "Ni": 1.8049,
        "Nd": 4.6044, "Sm": 4.7835, "Hf": 5.4541, "Lu": 5.3573, "U": 7.5053,
    },
}  # fmt: skip
L_MEASURED = {"Nd", "Sm", "Hf", "Lu", "U"}
CASES = [(beam, element) for beam, table in REFERENCE.items() for element in table]
BOTE_SALVAT = CrossSectionTable.from_csv(Path(__file__).parent / "bote_salvat_2009.csv")


def shell(element):
    return "L" if element in L_MEASURED else "K"


@pytest.mark.parametrize(("beam", "element"), CASES)
def test_with_the_reference_cross_sections(beam, element):
    # Yields, rates, Coster-Kronig transfer and weights are tested without Casnati's error.
    k = k_factor_alpha(element, shell(element), beam, table=BOTE_SALVAT)
    assert k == pytest.approx(REFERENCE[beam][element], rel=0.006)


@pytest.mark.parametrize(("beam", "element"), CASES)
def test_with_casnati(beam, element):
    expected = {"O": -0.035, "Mg": 0.0, "Al": 0.0, "Ca": 0.018, "Fe": 0.034, "Ni": 0.037}
    deviation = k_factor_alpha(element, shell(element), beam) / REFERENCE[beam][element] - 1
    # The La factors are expected 2 to 6% high.
    assert deviation == pytest.approx(expected.get(element, 0.035), abs=0.025)


def test_coster_kronig_raises_nd_la_by_18_percent(monkeypatch):
    from siftem.xray import cross_sections, lines

    with_transfer = k_factor_alpha("Nd", "L", 200.0, table=BOTE_SALVAT)
    for cached in (cross_sections.subshell_emission, lines._family, emission):
        cached.cache_clear()
    monkeypatch.setattr(cross_sections, "vacancy_transfer", lambda *_: 0.0)
    without = k_factor_alpha("Nd", "L", 200.0, table=BOTE_SALVAT)
    for cached in (cross_sections.subshell_emission, lines._family, emission):
        cached.cache_clear()
    # validation/xray_bote_salvat.py: 1.1789.
    assert without / with_transfer == pytest.approx(1.179, abs=0.002)


def test_alpha_and_family_differ_by_the_alpha_share():
    # Rates of xraylib: Fe Ka is 0.8816 of Fe K, Si Ka 0.9730 of Si K.
    ratio = k_factor_family("Fe", "K", 200.0) / k_factor_alpha("Fe", "K", 200.0)
    assert ratio == pytest.approx(0.8816 / 0.9730, rel=1e-3)
    assert k_factor_family("Si", "K", 200.0) == 1.0


def test_reference_family_can_be_chosen():
    direct = k_factor_alpha("Fe", "K", 200.0, reference=("O", "K"))
    by_way = k_factor_alpha("Fe", "K", 200.0) / k_factor_alpha("O", "K", 200.0)
    assert direct == pytest.approx(by_way, rel=1e-12)


def test_emission_of_l_groups_adds_up():
    groups = sum(emission("Nd", s, 200.0) for s in ("L1", "L2", "L3"))
    assert groups == pytest.approx(emission("Nd", "L", 200.0), rel=1e-12)


def test_uncertainty_and_errors():
    assert [k_factor_uncertainty(s) for s in ("K", "L", "L3", "M")] == [0.10, 0.175, 0.175, 0.30]
    with pytest.raises(InputError, match="shell"):
        k_factor_uncertainty("N")
    with pytest.raises(InputError, match="no alpha line"):
        k_factor_alpha("Nd", "L1", 200.0)
    with pytest.raises(InputError, match="U has no K lines"):
        k_factor_alpha("U", "K", 100.0)
