import numpy as np
import pytest

from siftem.errors import InputError
from siftem.xray.elements import atomic_number, atomic_weight, element_symbols, symbol_of


def test_known_elements():
    assert [atomic_number(s) for s in ("H", "O", "Fe", "U")] == [1, 8, 26, 92]
    assert symbol_of(60) == "Nd"
    assert atomic_weight("Si") == pytest.approx(28.085, abs=0.01)  # IUPAC 2021


@pytest.mark.parametrize(
    ("symbol", "hint"),
    [
        ("fe", "did you mean Fe"),
        ("FE", "did you mean Fe"),
        ("Xx", "did you mean"),
        ("iron", "'iron'"),
    ],
)
def test_unknown_symbols_are_not_guessed_but_hinted(symbol, hint):
    with pytest.raises(InputError, match=hint):
        atomic_number(symbol)


@pytest.mark.parametrize("symbol", ["", None, 26, ["Fe"]])
def test_what_is_no_symbol_is_refused(symbol):
    with pytest.raises(InputError, match="chemical symbol"):
        atomic_number(symbol)


@pytest.mark.parametrize(
    "elements",
    [
        ["Fe", "Pt", "Fe"],
        ("Fe", b"Pt"),
        np.array(["Fe", "Pt"]),
        np.array([b"Fe", b"Pt"]),
        np.array(["Fe", "Pt"], dtype=object),
        iter(["Fe", "Pt"]),
    ],
)
def test_symbols_come_in_any_kind_of_list(elements):
    found = element_symbols(elements)
    assert found == ("Fe", "Pt")
    assert [type(e) for e in found] == [str, str]


@pytest.mark.parametrize("elements", ["Fe", b"Fe", 26, None, ["Fe", 26], np.array([1.5])])
def test_what_is_no_list_of_symbols_is_refused(elements):
    with pytest.raises(InputError, match="symbol"):
        element_symbols(elements)
