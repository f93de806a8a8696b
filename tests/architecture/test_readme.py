"""What the README says must run as it stands."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(code.strip().splitlines()) <= 16
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Truth of the phantom: 43.03 wt% Mg and 21.83 wt% Fe, hence 0.819 by atoms.
    shown = re.fullmatch(r"([\d.]+) \+- ([\d.]+) \(systematic ([\d.]+)\)", done.stdout.strip())
    value, sigma, systematic = map(float, shown.groups())
    assert abs(value - 43.03 / 24.305 / (43.03 / 24.305 + 21.83 / 55.845)) < 0.02
    assert 0 < sigma < systematic < 0.05
    assert f"# {done.stdout.strip()[:4]}" in code


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
