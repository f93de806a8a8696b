"""Examples in docstrings run; the manual's sources, citation and badges hold together."""

import ast
import doctest
import functools
import importlib
import inspect
import re
import shutil
import sys
import tomllib
from pathlib import Path

import matplotlib.pyplot as plt
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


@pytest.fixture(scope="module")
def phantom():
    """The same small map for all examples: simulating it takes longer than most of them."""
    return functools.cache(siftem.simulate_demo)


@pytest.fixture(scope="module")
def map_file(phantom, tmp_path_factory):
    """The file that examples read."""
    path = tmp_path_factory.mktemp("map") / "map.hspy"
    signal = siftem.to_hyperspy(phantom((32, 32), dose=300).spectrum_image)
    signal.compute(progressbar=False)
    signal.save(path)
    return path


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda p: str(p.relative_to(PACKAGE)))
@pytest.mark.filterwarnings("ignore::siftem.errors.SiftemWarning")
def test_examples_in_docstrings_run(path, phantom, map_file, monkeypatch, tmp_path):
    monkeypatch.setattr(siftem, "simulate_demo", phantom)
    monkeypatch.chdir(tmp_path)
    shutil.copy(map_file, tmp_path)
    plt.switch_backend("agg")
    runner = doctest.DocTestRunner(
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, verbose=False
    )
    found = 0
    # By the source, since decorated functions are not their module's own to doctest.
    for name, text, line in docstrings(path):
        test = doctest.DocTestParser().get_doctest(text, {"siftem": siftem}, name, str(path), line)
        found += len(test.examples)
        runner.run(test)
    plt.close("all")
    assert found > 0
    assert runner.failures == 0


def docstrings(path):
    """Name, text and line of each docstring of a file."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        text = ast.get_docstring(node) if isinstance(node, kinds) else None
        if text:
            yield getattr(node, "name", path.stem), text, getattr(node, "lineno", 0)


#: What siftem itself asks of anchors, and of the states of a fit.
ASKED_BY_SIFTEM = {"conditions", "scale", "terms", "due", "keep", "load", "done"}


def test_every_public_function_and_class_has_an_example():
    public = {n: getattr(importlib.import_module(h), n) for n, h in siftem._HOME.items()}
    signals = importlib.import_module("siftem.signals")
    steps = {f"signals.{name}": getattr(signals, name) for name in signals.__all__}
    public |= {name: step for name, step in steps.items() if not inspect.isclass(step)}
    for name, one in public.items():
        assert "\nExamples\n-----" in inspect.getdoc(one), name


def test_the_examples_of_a_class_show_its_methods():
    for name, home in siftem._HOME.items():
        shown = getattr(importlib.import_module(home), name)
        if not inspect.isclass(shown):
            continue
        examples = inspect.getdoc(shown).partition("\nExamples\n-----")[2]
        for method, function in vars(shown).items():
            if (
                method.startswith("_")
                or method in ASKED_BY_SIFTEM
                or isinstance(function, property)
            ):
                continue
            if callable(function) or isinstance(function, (classmethod, functools.cached_property)):
                own = "\nExamples\n-----" in (inspect.getdoc(getattr(shown, method)) or "")
                assert own or f".{method}" in examples, f"{name}.{method}"


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


BASH_ALONE = ("#!/bin/bash", ".ci/", "podman ", "debootstrap ")
COMMAND = re.compile(r"^    (?:siftem|python|pip) .*", re.MULTILINE)


def test_commands_of_the_manual_work_in_powershell():
    """Those that readers type; jobs of a scheduler run in bash, as do containers and releases."""
    from only_unix import ONLY_UNIX

    seen = 0
    for path in (ROOT / "README.md", *PAGES):
        text = path.read_text(encoding="utf-8")
        blocks = re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        blocks = [b for b in blocks if not b.startswith(BASH_ALONE)]
        for code in (*blocks, *COMMAND.findall(text)):
            typed = re.sub(r"\s#.*", "", code)
            assert not ONLY_UNIX.search(typed), f"{path.name}: {typed}"
            seen += 1
    assert seen > 20


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
    from generated_pages import recipe_page
    from python_pages import written_pages

    pages = written_pages()
    for name in siftem.__all__:
        if name != "__version__":
            assert f"/reference/api/siftem.{name}>`" in pages["python.rst"], name
            assert f":: siftem.{name}" in pages[f"api/siftem.{name}.rst"], name
    assert "\nMore\n" not in pages["python.rst"]  # each has its task
    assert ":: siftem.Composition.ratio\n" in pages["api/siftem.Composition.ratio.rst"]
    assert ":param" not in "".join(pages.values())
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


def test_the_page_on_the_house_shows_the_road_and_files_that_are_there():
    from road_diagram import diagram

    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    assert diagram() in page
    inside = (PACKAGE, *(PACKAGE / part for part in ("pipeline", "io/formats")))
    for name in re.findall(r"`([a-z_/]+\.(?:py|pyi|md))`", page):
        assert any((folder / name).exists() for folder in (*inside, ROOT)), name
