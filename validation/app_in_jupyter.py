"""The app below a cell of JupyterLab, by mouse: whether its results are there in the next cell.

    python -m validation.app_in_jupyter [--jupyter PATH] [--picture FILE.png]

Needs JupyterLab, which siftem does not (``pip install jupyterlab`` into an environment that can
import siftem; PATH is its ``jupyter``), and Chromium. A notebook opens a simulated map; the page
below the cell decomposes it, a dab is painted for each phase, and the next cell asks the page for
what came of it. Nothing may come from another machine.

With JupyterLab 4 and Panel 1.9 it ends at the first dab: the stroke arrives, but what is drawn for
it does not, as pieces of several messages mix in the browser.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page, sync_playwright

OPEN = """import siftem
si = siftem.simulate_demo((64, 64), dose=400.0).spectrum_image
page = siftem.app(si)
page"""
ASK = """regions = page.session.workflow.get("regions").regions
print("phases:", ", ".join(page.recipe.phases), "| strokes:", len(page.recipe.segment.traces),
      "| pixels:", sum(regions.pixel_counts().values()))"""
FRAME = """() => {
  const view = Bokeh.index.query_one(v => v.model.name === "map")
  const at = (view.canvas_view ?? view.canvas).el.getBoundingClientRect()
  const {left, top, width, height} = view.frame.bbox
  return [at.x + left, at.y + top, width, height]
}"""
#: A pixel (y, x) of each phase of the demo of 64 x 64.
DABS = ((12, 40), (24, 39), (28, 13))
LONG = 150_000


@contextmanager
def lab(jupyter: str, folder: Path) -> Iterator[str]:
    """Start JupyterLab on this machine; its address."""
    log = folder / "lab.log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [
                jupyter,
                "lab",
                "--no-browser",
                "--port=0",
                "--ip=127.0.0.1",
                "--allow-root",
                "--IdentityProvider.token=",
                f"--ServerApp.root_dir={folder}",
            ],
            env={**os.environ, "SIFTEM_SESSIONS": str(folder / "sessions")},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            for _ in range(240):
                found = re.search(r"http://127\.0\.0\.1:\d+/lab", log.read_text())
                if found:
                    break
                time.sleep(0.5)
            else:
                raise SystemExit(f"JupyterLab does not start:\n{log.read_text()}")
            yield found.group()
        finally:
            server.terminate()
            server.wait(30)


def notebook(folder: Path) -> None:
    """Write a notebook of two cells."""
    cells = [
        {"cell_type": "code", "execution_count": None, "id": f"cell{n}", "metadata": {},
         "outputs": [], "source": source}
        for n, source in enumerate((OPEN, ASK))
    ]  # fmt: skip
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    written = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4}
    (folder / "map.ipynb").write_text(json.dumps({**written, "nbformat_minor": 5}))


def press(page: Page, name: str, exact: bool = True) -> None:
    page.get_by_role("button", name=name, exact=exact).first.click()


def run_cell(page: Page, number: int) -> None:
    page.locator(".jp-CodeCell").nth(number).locator(".jp-InputArea-editor").click()
    page.keyboard.press("Shift+Enter")


def work(page: Page, picture: Path | None) -> str:
    """Go through the notebook; what its last cell prints."""
    page.locator(".jp-CodeCell").nth(1).wait_for()
    page.get_by_text("| Idle").wait_for()
    run_cell(page, 0)
    press(page, "2 Decompose", exact=False)
    page.get_by_role("button", name="Decompose", exact=True).wait_for()
    press(page, "Decompose")
    page.get_by_label("Name").nth(2).wait_for()
    press(page, "3 Segment", exact=False)
    page.get_by_label("Overlay").wait_for()
    page.wait_for_timeout(3000)
    status = page.get_by_role("status")
    for n, (y, x) in enumerate(DABS, start=1):
        page.get_by_role("button", name=re.compile(f"^{n} ")).nth(1).click()
        page.wait_for_timeout(1500)
        left, top, width, height = page.evaluate(FRAME)
        page.mouse.move(left + x / 64 * width, top + y / 64 * height, steps=3)
        page.mouse.click(left + (x + 0.5) / 64 * width, top + (y + 0.5) / 64 * height)
        status.filter(has_text="Painted pixels").first.wait_for()
        page.wait_for_timeout(2000)
    page.get_by_role("row", name="mixture").first.wait_for()
    hovered = page.evaluate(
        """() => Bokeh.index.query_one(v => v.model.type === "Figure" &&
          v.model.renderers.some(r => r.glyph.type === "Step")).model.title.text"""
    )
    print("the spectrum says:", hovered)
    if picture is not None:
        page.screenshot(path=picture)
    run_cell(page, 1)
    said = page.locator(".jp-CodeCell").nth(1).locator(".jp-OutputArea-output").first
    said.wait_for()
    page.wait_for_timeout(2000)
    return said.inner_text().strip()


def main() -> None:
    parser = argparse.ArgumentParser()
    beside = Path(sys.executable).with_name("jupyter")
    found = str(beside) if beside.exists() else shutil.which("jupyter")
    parser.add_argument("--jupyter", default=found)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    if not options.jupyter:
        raise SystemExit("there is no jupyter: pip install jupyterlab")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        notebook(folder)
        with lab(options.jupyter, folder) as address:
            browser = playwright.chromium.launch(
                executable_path=options.chromium, args=["--no-sandbox"]
            )
            page = browser.new_page(viewport={"width": 1600, "height": 1000})
            page.set_default_timeout(LONG)
            faults: list[str] = []
            page.on("pageerror", lambda error: faults.append(error.message))
            begun = time.monotonic()
            page.goto(f"{address}/tree/map.ipynb")
            try:
                said = work(page, options.picture)
            except PlaywrightError:
                if options.picture is not None:  # where it stood
                    page.screenshot(path=options.picture)
                raise
            browser.close()
    print(f"{said} ({time.monotonic() - begun:.0f} s)")
    print("errors on the page:", "; ".join(faults) or "none")
    if not said.startswith("phases: ") or faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
