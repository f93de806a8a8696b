"""The layers of the house, and what may be imported at start-up."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import siftem

ROOT = Path(siftem.__file__).parent
#: Each layer may import from the ones before it; those in one set are siblings.
LAYERS = [
    {"errors", "progress", "robust", "thinning", "energy_axis", "acquisition", "spectrum"}
    | {"machine", "files", "large"}
    | {"spectrum_image", "sparse_rows", "printed_numbers", "views"}
    | {"compiling", "hyperspy_input", "old_names"},
    {"counting"},
    {"xray"},
    {"fit"},
    {"simulate", "decomposition", "segment", "unmixing", "quantification"},
    {"eels", "minerals", "element_map_kernels"},
    {"element_mapping"},
    {"io", "figures"},
    {"datasets"},
    {"pipeline"},
    {"report", "signals"},
    {"batch", "app"},
    {"cli"},
]
HOMES = {
    "hyperspy": {"io"},
    "exspy": {"io", "eels"},
    "rsciio": {"io"},
    "matplotlib": {"figures"},
    "dask": {"io", "large"},
    "distributed": {"large"},
    "filelock": {"batch"},
    "pyarrow": {"batch"},
    "typer": {"cli"},
    "rich": {"cli"},
    "jinja2": {"report"},
    "pandas": {"report"},
    "panel": {"app"},
    "bokeh": {"app"},
    "tornado": {"app"},
}
MODULES = sorted(ROOT.rglob("*.py"))


def layer_of(name):
    for level, members in enumerate(LAYERS):
        if name in members:
            return level
    raise AssertionError(f"{name} has no place in the layers: add it to LAYERS and CONTRIBUTING")


def part_of(path):
    relative = path.relative_to(ROOT)
    return relative.parts[0].removesuffix(".py")


def imports_of(path):
    """Absolute names of all modules that a file imports, also inside functions.

    What only a type checker imports is left out if it is another project's: signatures may name
    a library's types where nothing loads the library.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typed = [
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if not ast.unparse(node).startswith(("import siftem", "from siftem"))
    ]
    for node in ast.walk(tree):
        if node in typed:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_only_from_layers_above(path):
    part = part_of(path)
    if part in ("__init__", "__main__"):
        return
    own = layer_of(part)
    for name in imports_of(path):
        words = name.split(".")
        if words[0] == "siftem" and words[1] != "__version__":
            other = words[1]
            if other == part:
                continue
            level = layer_of(other)
            sibling_base = own == 0 and level == 0
            assert level < own or sibling_base, f"{part} must not import {name}"
        for library, homes in HOMES.items():
            if words[0] == library:
                assert part in homes, f"{library} is imported in {part}, its home is {homes}"


def test_no_modules_import_each_other_in_a_circle():
    """Also for the type checker alone: who needs a type of what builds on it states a protocol."""
    names = {
        ".".join(("siftem", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
            ".__init__"
        ): path
        for path in MODULES
    }
    below = {}
    for own, path in names.items():
        found = {name if name in names else name.rpartition(".")[0] for name in imports_of(path)}
        below[own] = found & names.keys() - {own}
    # Take away what imports nothing that is left, again and again: circles stay.
    while free := {name for name, found in below.items() if not found & below.keys()}:
        below = {name: found for name, found in below.items() if name not in free}
    on_a_circle = {name for name in below if any(name in found for found in below.values())}
    assert not on_a_circle


def test_no_module_is_over_500_lines_or_named_after_nothing():
    for path in MODULES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 500, path
        assert path.stem not in {"utils", "util", "helpers", "misc", "common", "core", "manager"}


def test_the_layer_test_sees_a_forbidden_import(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text(
        "def f():\n    import siftem.pipeline.workflow\n    from siftem.cli import main\n"
    )
    assert list(imports_of(bad)) == ["siftem.pipeline.workflow", "siftem.cli.main"]
    bad.write_text("if TYPE_CHECKING:\n    from siftem.cli import main\n    import rich\n")
    assert list(imports_of(bad)) == ["siftem.cli.main"]


def run_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_importing_siftem_its_version_and_its_commands_loads_nothing_heavy():
    code = (
        "import sys; import siftem; from siftem.cli.main import main; main(['--version']);"
        "print(sorted(set(sys.modules) & {'numpy', 'scipy', 'numba', 'sklearn', 'hyperspy',"
        " 'matplotlib', 'dask', 'pydantic', 'typer', 'rich', 'skimage', 'xraylib'}));"
        # A command reads its file while it imports the rest.
        "import siftem.cli.commands;"
        "print(sorted(set(sys.modules) & {'numpy', 'scipy', 'numba', 'matplotlib', 'dask'}))"
    )
    assert run_python(code).splitlines() == [f"siftem {siftem.__version__}", "[]", "[]"]


def test_no_command_imports_what_only_estimators_or_tables_of_laws_need():
    """Both take longer to import than most maps to factorise."""
    slow = {"sklearn", "scipy.stats"}
    homes = set()
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {f"{node.module}.{alias.name}" for alias in node.names}
            else:
                continue
            if any(f"{name}.".startswith(f"{one}.") for name in names for one in slow):
                homes.add(path.stem)
    assert homes == {"poisson_nmf"}


def test_type_checkers_and_editors_know_the_same_names():
    stub = ast.parse((ROOT / "__init__.pyi").read_text(encoding="utf-8"))
    known = {
        alias.name: node.module
        for node in stub.body
        if isinstance(node, ast.ImportFrom) and node.module != "siftem"
        for alias in node.names
    }
    assert known == siftem._HOME


def test_every_public_name_exists_and_has_a_docstring():
    for name in siftem.__all__:
        if name != "__version__":
            assert getattr(siftem, name).__doc__, name
    for name in siftem.datasets.__all__:
        assert getattr(siftem.datasets, name).__doc__, name
    with pytest.raises(AttributeError, match="nothing"):
        siftem.nothing  # noqa: B018
