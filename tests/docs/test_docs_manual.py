"""Examples in docstrings run; the manual's sources, citation and badges hold together."""

import ast
import doctest
import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import siftem

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PACKAGE = Path(siftem.__file__).parent
WITH_EXAMPLES = sorted(p for p in PACKAGE.rglob("*.py") if ">>> " in p.read_text(encoding="utf-8"))
PAGES = sorted(
    p for p in DOCS.rglob("*.md") if not {"_build", "_run"} & set(p.relative_to(DOCS).parts)
)
SCRIPTS = sorted(DOCS.glob("*_scripts/plot_*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
sys.path.insert(0, str(DOCS / "_ext"))


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_examples_in_docstrings_run(path):
    name = ".".join(("siftem", *path.relative_to(PACKAGE).with_suffix("").parts))
    module = importlib.import_module(name.removesuffix(".__init__"))
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    outcome = doctest.testmod(module, optionflags=flags, extraglobs={"siftem": siftem})
    assert outcome.attempted > 0
    assert outcome.failed == 0


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(DOCS)))
def test_pages_say_nothing_of_machines_and_their_python_parses(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(work|opt|home|root|tmp)/", text)
    for language, code in re.findall(r"```(?:\{run\} )?(\w+)\n(.*?)```", text, re.DOTALL):
        code = re.sub(r"^:[\w-]+:.*\n", "", code, flags=re.MULTILINE)
        if language == "python":
            ast.parse(code)
        if language == "yaml":
            yaml.safe_load(code)


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(DOCS)))
def test_pages_use_only_names_that_exist(path):
    text = path.read_text(encoding="utf-8")
    for name in set(re.findall(r"\bsiftem\.([A-Za-z_]\w*)(?=[(`])", text)):
        assert hasattr(siftem, name), name
    for name in set(re.findall(r"\bsft\.(\w+)", text)):
        assert hasattr(importlib.import_module("siftem.signals"), name), name


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_gallery_scripts_begin_with_a_title(path):
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    title, line = text.splitlines()[:2]
    assert len(title) == len(line)
    assert set(line) == {"="}


def test_yaml_of_the_manual_makes_recipes():
    """Fragments with known sections are valid keys of a recipe."""
    from siftem.pipeline.recipe import make_recipe

    base = {
        "input": {"file": "map.emd"}, "matrix": "Brg", "elements": ["O", "Mg", "Si", "Fe"],
        "phases": {n: {"high": ["Mg"]} for n in ("Brg", "Fp", "Ca-Pv")},
    }  # fmt: skip
    seen = 0
    for path in PAGES:
        for code in re.findall(r"```yaml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            given = yaml.safe_load(code)
            # With an input it is a whole recipe, else a part of one.
            make_recipe(given if "input" in given else {**base, **given})
            seen += 1
    assert seen > 3


def test_reference_pages_name_everything():
    from generated_pages import python_page, recipe_page

    page = python_page()
    homes = importlib.import_module("siftem")._HOME
    for name in siftem.__all__:
        if name != "__version__":
            assert f"siftem.{name}\n" in page or f"{homes[name]}.{name}\n" in page, name
    recipe = recipe_page()
    for key in siftem.Recipe.model_fields:
        assert f"| `{key}` |" in recipe, key
    assert "## `quantify.k_factors`" in recipe


def test_citation_and_badges_are_true():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == siftem.__version__ == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"\]\((docs/images/badge-\w+\.svg)\)", readme)
    badges = {Path(b).stem: (ROOT / b).read_text(encoding="utf-8") for b in shown}
    assert f">{PROJECT['license']}<" in badges["badge-licence"]
    least = PROJECT["requires-python"].removeprefix(">=")
    assert f">{least} or later<" in badges["badge-python"]
