"""Places at which the core can be broken: real changes of what is computed, and of nothing else."""

import ast

from validation import mutant_places

SOURCE = '''"""A module with 3 words."""

LIMIT = 2.0


def share(a: int = 1, *, b: float = 0.5) -> float:
    """Return a share of 7."""
    if a > 0 and not b:
        raise ValueError(f"{a + 1} is wrong")
    total = max(a, 0) + other(a, b=b)
    total -= 1
    return total / len("é") if a < len("two") else -LIMIT
'''


def mutants(monkeypatch, tmp_path):
    monkeypatch.setattr(mutant_places, "SOURCE", tmp_path)
    (tmp_path / "module.py").write_text(SOURCE, encoding="utf-8")
    return mutant_places.places("module.py")


def test_each_place_becomes_another_module(monkeypatch, tmp_path):
    found = mutants(monkeypatch, tmp_path)
    sound = ast.dump(ast.parse(SOURCE))
    changed = [m.applied(SOURCE.encode()).decode() for m in found]
    assert len(set(changed)) == len(found)
    for text in changed:
        assert ast.dump(ast.parse(text)) != sound
        # Words, types and defaults are left alone.
        for kept in (
            '"""A module with 3 words."""',
            '"""Return a share of 7."""',
            "{a + 1} is wrong",
        ):
            assert kept in text
        assert "def share(a: int = 1, *, b: float = 0.5) -> float:" in text


def test_what_is_changed(monkeypatch, tmp_path):
    found = {(m.before, m.after) for m in mutants(monkeypatch, tmp_path)}
    assert found == {
        ("2.0", "4.0"), ("a > 0", "(a <= 0)"), ("a > 0 and not b", "(a > 0 or not b)"),
        ("not b", "(b)"), ("a > 0 and not b", "(not (a > 0 and (not b)))"), ("0", "1"),
        ("max", "min"), ("max(a, 0) + other(a, b=b)", "(max(a, 0) - other(a, b=b))"),
        ("other(a, b=b)", "other(a)"), ("total -= 1", "total += 1"), ("1", "2"),
        ('total / len("é")', "(total * len('é'))"), ('a < len("two")', "(a <= len('two'))"),
        ("-LIMIT", "(LIMIT)"),
    }  # fmt: skip
