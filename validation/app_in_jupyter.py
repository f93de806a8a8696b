"""The app below a cell of JupyterLab, by mouse: whether its results are there in the next cell.

    python -m validation.app_in_jupyter [--jupyter PATH] [--picture FILE.png]

Needs JupyterLab, which siftem does not (``pip install jupyterlab`` into an environment that can
import siftem; PATH is its ``jupyter``), and Chromium. A notebook opens a simulated map; the page
in the frame below the cell decomposes it, a dab is painted for each phase, after which the labels
must be there, the frame is loaded again, spectra are subtracted and quantified, and the next
cells ask for what came of it and close the page. Nothing may come from another machine.
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
from urllib.parse import urlsplit

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Frame, Page, sync_playwright

OPEN = """import siftem
si = siftem.simulate_demo((64, 64), dose=400.0).spectrum_image
app = siftem.app(si)
app"""
ASK = """results = app.results()
regions = results.segmentation.regions
print("phases:", ", ".join(app.recipe.phases), "| strokes:", len(app.recipe.segment.traces),
      "| pixels:", sum(regions.pixel_counts().values()),
      "| compositions:", ", ".join(results.compositions))"""
CLOSE = """app.close()
print(app, len(app.results().compositions))"""
FRAME = """() => {
  const view = Bokeh.index.query_one(v => v.model.name === "map")
  const at = (view.canvas_view ?? view.canvas).el.getBoundingClientRect()
  const {left, top, width, height} = view.frame.bbox
  return [at.x + left, at.y + top, width, height]
}"""
WIDTH = "document.documentElement.scrollWidth"
#: A pixel (y, x) of each phase of the demo of 64 x 64.
DABS = ((12, 40), (24, 39), (28, 13))
POLICY = "Content Security Policy"
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


def far(url: str) -> bool:
    """Whether an address is that of another machine."""
    return url.startswith("http") and urlsplit(url).hostname not in ("localhost", "127.0.0.1")


def notebook(folder: Path) -> None:
    """Write a notebook of three cells."""
    cells = [
        {"cell_type": "code", "execution_count": None, "id": f"cell{n}", "metadata": {},
         "outputs": [], "source": source}
        for n, source in enumerate((OPEN, ASK, CLOSE))
    ]  # fmt: skip
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    written = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4}
    (folder / "map.ipynb").write_text(json.dumps({**written, "nbformat_minor": 5}))


def press(frame: Frame, name: str, exact: bool = True) -> None:
    frame.get_by_role("button", name=name, exact=exact).first.click()


def status(frame: Frame, text: str) -> None:
    frame.get_by_role("status").filter(has_text=text).wait_for(timeout=LONG)


def run_cell(page: Page, number: int) -> str:
    """Run a cell; what it prints."""
    cell = page.locator(".jp-CodeCell").nth(number)
    cell.locator(".jp-InputArea-editor").click()
    page.keyboard.press("Shift+Enter")
    said = cell.locator(".jp-OutputArea-output").first
    said.wait_for()
    cell.get_by_text(re.compile(r"^\[\d+\]:$")).first.wait_for()
    return said.inner_text().strip()


def shown_frame(page: Page) -> Frame:
    """Return the page below the first cell, once it is there."""
    place = page.locator("iframe[title=siftem]").element_handle()
    frame = place.content_frame() if place else None
    if frame is None:
        raise SystemExit("there is no frame below the cell")
    frame.get_by_role("button", name="2 Decompose").wait_for()
    return frame


def paint(page: Page, frame: Frame) -> None:
    """Paint a dab for each phase; the labels follow."""
    for n, (y, x) in enumerate(DABS, start=1):
        frame.get_by_role("button", name=re.compile(f"^{n} ")).nth(1).click()
        page.wait_for_timeout(1500)
        place = page.locator("iframe[title=siftem]").bounding_box() or {}
        left, top, width, height = frame.evaluate(FRAME)
        at = (
            place["x"] + left + (x + 0.5) / 64 * width,
            place["y"] + top + (y + 0.5) / 64 * height,
        )
        page.mouse.move(*at, steps=3)
        page.mouse.click(*at)
        status(frame, "Painted pixels")
    frame.get_by_role("row", name="mixture").first.wait_for()


def work(page: Page, picture: Path | None) -> tuple[str, str]:
    """Go through the notebook; what its last cells print."""
    page.locator(".jp-CodeCell").nth(2).wait_for()
    page.get_by_text("| Idle").wait_for()
    run_cell(page, 0)
    frame = shown_frame(page)
    press(frame, "2 Decompose", exact=False)
    frame.get_by_role("button", name="Decompose", exact=True).wait_for()
    press(frame, "Decompose")
    status(frame, "Decompose: done")
    press(frame, "3 Segment", exact=False)
    frame.get_by_label("Overlay").wait_for()
    page.wait_for_timeout(1500)
    place = page.locator("iframe[title=siftem]").bounding_box() or {}
    print(f"the frame is {place['width']:.0f} pixels wide, the page {frame.evaluate(WIDTH):.0f}")
    paint(page, frame)
    _picture(page, picture, "painted")
    hovered = frame.evaluate(
        """() => Bokeh.index.query_one(v => v.model.type === "Figure" &&
          v.model.renderers.some(r => r.glyph.type === "Step")).model.title.text"""
    )
    print("the spectrum says:", hovered)
    frame.evaluate("location.reload()")
    frame.get_by_role("row", name="mixture").first.wait_for()  # at the step where it was
    press(frame, "4 Spectra", exact=False)
    frame.get_by_role("button", name="Subtract", exact=True).wait_for()
    press(frame, "Subtract")
    status(frame, "Subtract: done")
    press(frame, "5 Composition", exact=False)
    frame.get_by_role("button", name="Quantify", exact=True).wait_for()
    press(frame, "Quantify")
    status(frame, "Quantify: done")
    page.wait_for_timeout(1500)
    _picture(page, picture, "quantified")
    said = run_cell(page, 1)
    closed = run_cell(page, 2)
    frame.get_by_role("alert").filter(has_text="This page was closed").wait_for()
    _picture(page, picture, "closed")
    told = page.locator('[data-mime-type="application/vnd.jupyter.stderr"]').all_inner_texts()
    if told:
        raise SystemExit("in the cells stands:\n" + "\n".join(told))
    return said, closed


def _picture(page: Page, picture: Path | None, name: str) -> None:
    if picture is not None:
        page.screenshot(path=picture.with_stem(f"{picture.stem}_{name}"))


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
            elsewhere: list[str] = []
            page.on("pageerror", lambda error: faults.append(error.message))
            page.on("console", lambda m: faults.append(m.text) if POLICY in m.text else None)
            page.on("request", lambda r: elsewhere.append(r.url) if far(r.url) else None)
            begun = time.monotonic()
            page.goto(f"{address}/tree/map.ipynb")
            try:
                said, closed = work(page, options.picture)
            except PlaywrightError:
                if options.picture is not None:  # where it stood
                    page.screenshot(path=options.picture)
                print("errors on the page:", "; ".join(faults) or "none")
                raise
            browser.close()
    print(closed)
    print(f"{said} ({time.monotonic() - begun:.0f} s)")
    print("errors on the page:", "; ".join(faults) or "none")
    print("asked elsewhere:", "; ".join(sorted(set(elsewhere))) or "nothing")
    asked = said.startswith("phases: ") and "| strokes: 3 |" in said
    if not asked or "closed" not in closed or faults or elsewhere:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
