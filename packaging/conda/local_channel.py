"""Build and test the recipe against a channel on disk, where conda-forge can't be reached.

    .ci/release                                    # dist/, which the recipe packs
    python packaging/conda/local_channel.py PYTHON FOLDER

PYTHON is the interpreter of an environment that holds what siftem needs to run and be built
(``pip install . hatchling``), and FOLDER is new. All that pip installed there, and Python itself,
become packages of a channel, by the names that conda-forge gives them. The recipe is then rendered,
solved, built and tested with them by the builder of conda-forge (``pip install py-rattler
py-rattler-build packaging``). Whether conda-forge has these versions this can't tell.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import rattler_build
from packaging.requirements import Requirement
from rattler.index import index_fs
from rattler.platform import Platform

#: conda-forge's names where they differ; each without what few need.
NAMES = {"dask": "dask-core", "hyperspy": "hyperspy-base", "matplotlib": "matplotlib-base"}
RECIPE = Path(__file__).with_name("recipe.yaml")
#: What the environment's interpreter is asked: itself, and each distribution with its files.
ASKED = """
import importlib.metadata as m, json, sys, sysconfig
print(json.dumps({
    "version": sys.version.split()[0],
    "base": sys.base_prefix,
    "site": sysconfig.get_path("purelib"),
    "distributions": [
        {"name": d.metadata["Name"], "version": d.version, "requires": d.requires or [],
         "files": [str(f) for f in d.files or ()]} for d in m.distributions()],
}))
"""


def conda_name(name: str) -> str:
    """Return the name that conda-forge gives a distribution."""
    plain = re.sub(r"[-_.]+", "-", name).lower()
    return NAMES.get(plain, plain)


def asked_for(requires: list[str], there: set[str]) -> list[str]:
    """Return what a distribution needs of what is there; versions are those that pip chose."""
    needed = (Requirement(text) for text in requires)
    names = {conda_name(r.name) for r in needed if not r.marker or r.marker.evaluate({"extra": ""})}
    return sorted(names & there)


def make_channel(interpreter: str, folder: Path) -> None:
    """Make a channel of an environment's distributions and its Python."""
    answer = subprocess.run(
        [interpreter, "-c", ASKED], check=True, capture_output=True, text=True
    ).stdout
    there = json.loads(answer)
    platform = str(Platform.current())
    series = ".".join(there["version"].split(".")[:2])
    packages = folder / platform
    packages.mkdir(parents=True)
    (folder / "noarch").mkdir()

    def add(name: str, version: str, files: dict[Path, Path], depends: list[str]) -> None:
        rattler_build.assemble_package(
            name, version, platform, "pip_0", packages, depends=depends, compression_level=1,
            files=[rattler_build.FileEntry.from_paths(a, b) for a, b in files.items()],
        )  # fmt: skip

    base, site = Path(there["base"]), Path(there["site"])
    library = Path("lib") / f"python{series}"
    own = {p: p.relative_to(base) for p in (base / library).rglob("*") if p.is_file()}
    own |= {p: p.relative_to(base) for p in (base / "lib").glob("libpython*") if p.is_file()}
    left_out = {"site-packages", "__pycache__", "test", "idlelib", "ensurepip"}
    own = {a: b for a, b in own.items() if not left_out & set(b.parts)}
    for called in ("python", "python3", f"python{series}"):
        # Where a file has two names in a package, each is a copy.
        copy = folder / called
        shutil.copy2((base / "bin" / f"python{series}").resolve(), copy)
        own[copy] = Path("bin") / called
    add("python", there["version"], own, [])

    distributions = [d for d in there["distributions"] if conda_name(d["name"]) != "siftem"]
    names = {conda_name(d["name"]) for d in distributions}
    for d in distributions:
        # Commands name their interpreter, and none is needed: builder and tests use python -m.
        files = {
            site / f: library / "site-packages" / f
            for f in d["files"]
            if not f.startswith("..") and "__pycache__" not in f and (site / f).is_file()
        }
        depends = [f"python {series}.*", *asked_for(d["requires"], names)]
        add(conda_name(d["name"]), d["version"], files, depends)
    asyncio.run(index_fs(folder))


if __name__ == "__main__":
    channel = Path(sys.argv[2]).resolve()
    make_channel(sys.argv[1], channel)
    # It ends with an error when a test of the recipe fails.
    (built,) = rattler_build.Stage0Recipe.from_file(RECIPE).run_build(
        channels=[channel.as_uri()],
        output_dir=channel / "built",
        tool_config=rattler_build.ToolConfiguration(test_strategy="native"),
    )
    print(f"built and tested: {built.packages[0]}")
