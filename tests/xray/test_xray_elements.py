import pytest

from siftem.errors import InputError
from siftem.xray.elements import atomic_number, atomic_weight, symbol_of


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
