"""Recipe of conda, container and citation say what pyproject.toml says."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RECIPE = yaml.safe_load((ROOT / "packaging/conda/recipe.yaml").read_text(encoding="utf-8"))
#: conda's names where they differ; each without what few need.
NAMES = {"dask": "dask-core", "hyperspy": "hyperspy-base", "matplotlib": "matplotlib-base"}


def conda(requirement):
    """A requirement of PyPI as conda has it."""
    name, _, version = re.fullmatch(r"([\w-]+)(\[[\w,]+\])?(.*)", requirement).groups()
    name = name.lower()
    return f"{NAMES.get(name, name)} {version}"


def test_the_conda_recipe_asks_for_what_the_package_asks_for():
    run = set(RECIPE["requirements"]["run"])
    assert run - {"python >=${{ python_min }}", "zarr"} == {
        conda(r) for r in PROJECT["dependencies"]
    }
    extras = PROJECT["optional-dependencies"]
    wanted = {conda(r) for r in (*extras["app"], *extras["pandas"])}
    assert set(RECIPE["requirements"]["run_constraints"]) == wanted


def test_version_licence_and_entry_point_are_the_same_everywhere():
    context = RECIPE["context"]
    assert context["version"] == PROJECT["version"]
    assert f">={context['python_min']}" == PROJECT["requires-python"]
    assert RECIPE["about"]["license"] == PROJECT["license"]
    assert RECIPE["about"]["summary"] == PROJECT["description"]
    (entry,) = RECIPE["build"]["python"]["entry_points"]
    assert entry == f"siftem = {PROJECT['scripts']['siftem']}"


def test_the_container_runs_commands_that_exist_as_a_user_without_a_home():
    from typer.main import get_command

    from siftem.cli.commands import app

    text = (ROOT / "packaging/Containerfile").read_text(encoding="utf-8")
    known = get_command(app).commands
    for command in re.findall(r"siftem (batch|demo|app)\b", text):
        assert command in known
    options = {o for p in known["app"].params for o in (*p.opts, *p.secondary_opts)}
    command = yaml.safe_load(re.search(r"^CMD (.*)$", text, re.MULTILINE).group(1))
    assert command[0] == "app"
    assert {o for o in command if o.startswith("--")} <= options
    assert re.search(r"^USER 65534:65534$", text, re.MULTILINE)
    assert "ENV HOME=/nonexistent" in text
