"""The whole road in a real browser, with a real mouse; then the recipe on the command line."""

import json
import subprocess
import sys

import pytest
import yaml

LONG = 60_000


def status(page, text, timeout=LONG):
    page.get_by_role("status").filter(has_text=text).wait_for(timeout=timeout)


def press(page, name, exact=True):
    page.get_by_role("button", name=name, exact=exact).first.click()


def map_frame(page):
    """Left, top, width and height of the painted map's frame on the screen."""
    return page.evaluate(
        """() => {
          const paints = (view) => view.model.type === "Figure" &&
            view.model.toolbar.tools.some(t => t.type === "FreehandDrawTool")
          const view = Bokeh.index.query_one(paints)
          const canvas = (view.canvas_view ?? view.canvas).el.getBoundingClientRect()
          const {left, top, width, height} = view.frame.bbox
          return {x: canvas.x + left, y: canvas.y + top, width, height}
        }"""
    )


def drag(page, frame, n, points):
    """Drag the mouse through pixels (y, x) of a map of n x n pixels."""

    def place(y, x):
        return (
            frame["x"] + (x + 0.5) / n * frame["width"],
            frame["y"] + (y + 0.5) / n * frame["height"],
        )

    page.mouse.move(*place(*points[0]))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*place(*point), steps=8)
    page.mouse.up()


def open_demo(page, address):
    page.goto(address)
    page.get_by_label("Pixels on each side").select_option("64")
    press(page, "Open the demo")
    status(page, "Open the demo: done")


@pytest.mark.browser
def test_the_whole_road_with_a_mouse_and_the_same_numbers_again(page, start_app, picture, tmp_path):
    open_demo(page, start_app())
    picture(page, "1-data")

    press(page, "2 Decompose", exact=False)
    press(page, "Decompose")
    status(page, "Decompose: done")
    picture(page, "2-decompose")

    press(page, "3 Segment", exact=False)
    page.get_by_text("1 Paint some pixels").wait_for()
    page.wait_for_timeout(800)
    frame = map_frame(page)
    assert frame
    strokes = {
        "1 Brg": [[(5, 30), (20, 40), (15, 60)], [(50, 55), (40, 50)]],
        "2 Fp": [[(24, 40), (29, 44), (26, 46)], [(50, 8), (54, 14)], [(58, 37), (58, 40)]],
        "3 Ca-Pv": [[(30, 10), (27, 17)], [(46, 61), (51, 62)]],
    }
    for name, lines in strokes.items():
        press(page, name, exact=False)
        for points in lines:
            drag(page, frame, 64, points)
            page.wait_for_timeout(250)
    status(page, "Painted pixels: Brg")
    picture(page, "3-painted")

    press(page, "Train")
    status(page, "Trained on painted traces")
    picture(page, "4-regions")
    pixels = page.get_by_role("row", name="pure Brg").inner_text()
    slider = page.get_by_role("slider").nth(1)
    slider.focus()
    for _ in range(10):
        slider.press("ArrowRight")
    page.get_by_text("Smoothness: 2").wait_for()
    page.wait_for_timeout(500)
    for overlay in ("Probability", "Uncertainty"):
        press(page, overlay)
        picture(page, f"5-{overlay.lower()}")
    press(page, "Regions")
    picture(page, "5-smooth")

    press(page, "4 Spectra", exact=False)
    press(page, "Subtract")
    status(page, "Subtract: done")
    picture(page, "6-spectra")

    press(page, "5 Composition", exact=False)
    press(page, "Quantify")
    status(page, "Quantify: done")
    picture(page, "7-composition")

    press(page, "6 Export", exact=False)
    press(page, "Write the folder")
    status(page, "Write the folder: done")
    picture(page, "8-export")
    with page.expect_download() as fetched:
        press(page, "Fetch the recipe")
    recipe = tmp_path / "fetched.yaml"
    fetched.value.save_as(recipe)

    data = yaml.safe_load(recipe.read_text())
    assert data["segment"]["smoothness"] == 2.0
    assert set(data["segment"]["traces"]) == {"Brg", "Fp", "Ca-Pv"}
    subprocess.run(
        [sys.executable, "-m", "siftem", "run", str(recipe), "--out", "again", "--quiet"],
        cwd=tmp_path,
        check=True,
        timeout=100,
    )
    by_app = json.loads((tmp_path / "siftem-app" / "summary.json").read_text())
    by_command = json.loads((tmp_path / "again" / "summary.json").read_text())
    assert by_app == by_command
    assert pixels
