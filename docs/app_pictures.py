"""Pictures of the app in the manual: every step, in three sizes of window, light and dark.

    python docs/app_pictures.py 71GPa_experimental_data.hspy

Needs Chromium. The real map is gone through by mouse; the pictures go to images/app.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parent / "images"
WINDOWS = ((1366, 768), (1920, 1080), (2560, 1440))
#: Pixels of the pictures: wider windows are shown smaller.
WIDTH = 1366
#: Steps, and what is to be pressed in each.
STEPS = {
    "Data": "Open file",
    "Decompose": "Decompose",
    "Segment": "Train",
    "Spectra": "Subtract",
    "Composition": "Quantify",
    "Export": "Write the folder",
}
STROKES = {
    "1 Brg": [[(110, 110), (112, 140)], [(20, 120), (30, 140)], [(150, 15), (165, 22)]],
    "2 Fp": [[(55, 15), (65, 30)], [(140, 95), (150, 110)], [(10, 70), (25, 60)]],
    "3 Ca-Pv": [[(92, 50), (104, 58)], [(112, 62), (124, 78)], [(187, 44), (190, 56)]],
}
FRAME = """() => {
  const view = Bokeh.index.query_one(v => v.model.name === "map")
  const canvas = (view.canvas_view ?? view.canvas).el.getBoundingClientRect()
  const {left, top, width, height} = view.frame.bbox
  return [canvas.x + left, canvas.y + top, width, height]
}"""


def status(page: Page, said: str) -> None:
    page.get_by_role("status").filter(has_text=re.compile(said)).wait_for()


def press(page: Page, name: str, exact: bool = True) -> None:
    page.get_by_role("button", name=name, exact=exact).first.click()


def step(page: Page, name: str) -> None:
    press(page, f"{1 + list(STEPS).index(name)} {name}", exact=False)
    page.get_by_role("button", name=STEPS[name], exact=True).wait_for()
    page.wait_for_timeout(1500)


def move(page: Page, y: float, x: float, n: int = 201) -> None:
    page.wait_for_function("() => Bokeh.index.query_one(v => v.model.name === 'map')")
    left, top, width, height = page.evaluate(FRAME)
    page.mouse.move(left + (x + 0.5) / n * width, top + (y + 0.5) / n * height, steps=4)


def road(page: Page, path: Path) -> None:
    """Do the whole job."""
    field = page.get_by_label("File: a map, or a recipe (.yaml)")
    field.fill(str(path))
    field.press("Enter")
    status(page, "Open file: done")
    page.get_by_role("button", name="Fe Kα").wait_for()
    page.get_by_label("From grid and preparation").fill("Cu, Ga, C, Pt, Zr, Co")
    page.get_by_label("From grid and preparation").press("Tab")
    press(page, "Use these")
    status(page, "Elements: ")
    step(page, "Decompose")
    press(page, "Decompose")
    status(page, "Decompose: done")
    for n, name in enumerate(("Brg", "Fp", "Ca-Pv")):
        page.get_by_label("Name").nth(n).fill(name)
        page.get_by_label("Name").nth(n).press("Enter")
        page.wait_for_timeout(800)
    step(page, "Segment")
    for name, lines in STROKES.items():
        press(page, name, exact=False)
        for points in lines:
            move(page, *points[0])
            page.mouse.down()
            for point in points[1:]:
                move(page, *point)
            page.mouse.up()
            page.wait_for_timeout(800)
    press(page, "Train")
    status(page, "Trained on")
    step(page, "Spectra")
    page.get_by_label("Anchor").select_option("An element that the grain lacks")
    page.get_by_label("Elements").fill("Si")
    press(page, "2 Ca-Pv", exact=False)
    status(page, "The anchor of Fp is taken")
    page.wait_for_timeout(2000)  # the fields show the anchor of the grain that was chosen
    page.get_by_label("Anchor").select_option("An element that the grain lacks")
    page.get_by_label("Elements").fill("Mg")
    press(page, "Subtract")
    status(page, "Subtract: done")
    press(page, "1 Fp", exact=False)
    step(page, "Composition")
    press(page, "Quantify")
    status(page, "Quantify: done")
    step(page, "Export")
    press(page, "Write the folder")
    status(page, "Write the folder: done")


def take(page: Page, name: str) -> None:
    seen, before = page.screenshot(), b""
    for _ in range(40):  # until nothing changes any more
        if seen == before:
            break
        page.wait_for_timeout(700)
        seen, before = page.screenshot(), seen
    shot = Image.open(io.BytesIO(seen)).convert("RGB")
    height = round(shot.height * WIDTH / shot.width)
    small = shot.resize((WIDTH, height), Image.Resampling.LANCZOS)
    small.save(IMAGES / "app" / f"{name}.webp", quality=60, method=6)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("map", type=Path)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    (IMAGES / "app").mkdir(exist_ok=True)
    # Paths stand in the pictures: those of no particular machine.
    folder = Path(tempfile.gettempdir()) / "pyrolite"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    copy = folder / "71GPa.hspy"
    shutil.copy(options.map, copy)
    with sync_playwright() as playwright:
        server = subprocess.Popen(
            [sys.executable, "-m", "siftem", "app", "--no-show", "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, "SIFTEM_SESSIONS": f"{folder}/sessions"},
        )
        try:
            assert server.stdout is not None
            address = re.search(r"http://\S+", server.stdout.readline())
            assert address
            browser = playwright.chromium.launch(
                executable_path=options.chromium, args=["--no-sandbox"]
            )
            page = browser.new_page(viewport={"width": WIDTH, "height": 768})
            page.set_default_timeout(300_000)
            page.goto(address.group())
            page.get_by_role("button", name="Open file").wait_for()
            road(page, copy)
            for colours in ("light", "dark"):
                for width, height in WINDOWS:
                    page.set_viewport_size({"width": width, "height": height})
                    page.wait_for_timeout(1500)
                    for name in STEPS:
                        step(page, name)
                        if name in ("Data", "Segment"):
                            move(page, 90, 52)
                            page.wait_for_timeout(500)
                        take(page, f"{name.lower()}-{width}-{colours}")
                press(page, "Light or dark")
        finally:
            server.terminate()
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
