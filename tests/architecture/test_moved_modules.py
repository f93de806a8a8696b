"""Scripts that import from where things were still run."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys
import siftem
assert not set(sys.modules) & {{"numpy", "siftem.quantification"}}
from siftem.{path} import {name}
assert {name}.__module__.startswith("siftem.{home}")
assert callable(siftem.quantify) and callable(siftem.unmix) and callable(siftem.decompose)
try:
    from siftem.{path} import nothing
except ImportError:
    pass
else:
    raise AssertionError
"""


@pytest.mark.parametrize(
    ("path", "name", "home"),
    [
        ("quantify.k_values", "GivenKFactors", "quantification"),
        ("quantify.zeta", "ZetaFactors", "quantification.standards"),
        ("unmix.anchors", "Absent", "unmixing"),
        ("io.region_sums", "sum_spectra", "io.imagej_rois"),
    ],
)
def test_old_paths_lead_to_the_modules(path, name, home):
    code = SCRIPT.format(path=path, name=name, home=home)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
