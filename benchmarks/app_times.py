"""How soon the app answers, measured in the browser; see docs/app.md.

    python benchmarks/app_times.py [--size 512] [--dose 100]

Needs Chromium. From the event of the mouse or the key to the frame in which what it asked for is
drawn: the spectrum under the cursor, the map of a clicked energy, the labels after a stroke; and
how soon a page is painted and of use.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright
from scipy.ndimage import distance_transform_edt

from siftem.simulate.phantom import simulate_demo

#: Notes, for a source of a figure, when it changed and was drawn after the last event.
WATCH = """([figure, glyph, nth, event]) => {
  const named = v => v.model.type === "Figure" &&
    (figure === "map" ? v.model.name === "map"
                      : v.model.renderers.some(r => r.glyph.type === "Step"))
  const plot = Bokeh.index.query_one(named).model
  const source = plot.renderers.filter(r => r.glyph.type === glyph)[nth].data_source
  const found = window.times = []
  let begun = null
  document.addEventListener(event, () => { begun = performance.now() }, true)
  source.properties.data.change.connect(() => requestAnimationFrame(() => {
    if (begun !== null) found.push(performance.now() - begun)
    begun = null
  }))
}"""
FRAME = """(figure) => {
  const view = Bokeh.index.query_one(v => v.model.type === "Figure" &&
    (figure === "map" ? v.model.name === "map"
                      : v.model.renderers.some(r => r.glyph.type === "Step")))
  const canvas = (view.canvas_view ?? view.canvas).el.getBoundingClientRect()
  const {left, top, width, height} = view.frame.bbox
  return [canvas.x + left, canvas.y + top, width, height]
}"""


def timed(
    page: Page,
    figure: str,
    glyph: str,
    event: str,
    act: Callable[[int], Any],
    n: int,
    wait: int,
    nth: int = 0,
) -> list[float]:
    """Milliseconds of n acts, each followed by a wait, to the nth source of such glyphs."""
    page.evaluate(WATCH, [figure, glyph, nth, event])
    for i in range(n):
        act(i)
        page.wait_for_timeout(wait)
    return list(page.evaluate("window.times"))


def place(page: Page, figure: str, x: float, y: float) -> tuple[float, float]:
    """A point of a figure's frame on the screen, from parts of its width and height."""
    left, top, width, height = page.evaluate(FRAME, figure)
    return left + x * width, top + y * height


def say(what: str, times: list[float], bar: str) -> None:
    middle, most = statistics.median(times), max(times)
    print(f"{what}: median {middle:.0f} ms, at most {most:.0f} ms of {len(times)} (wanted {bar})")


def step(page: Page, name: str, button: str, said: str) -> None:
    page.get_by_role("button", name=name).first.click()
    page.get_by_role("button", name=button, exact=True).first.click()
    page.get_by_role("status").filter(has_text=re.compile(said)).wait_for()


def places(size: int) -> list[np.ndarray]:
    """Pixels (y, x) well inside each phase of the demo, in no order.

    Traces that are wrong make large trees, and those take longer.
    """
    phantom = simulate_demo((size, size), dose=1.0)
    grains = [phantom.mask(name, at_least=0.3) for name in ("Fp", "Ca-Pv")]
    shown = [phantom.mask(name, at_least=0.02) for name in ("Fp", "Ca-Pv")]
    rng = np.random.default_rng(0)
    found = []
    for mask in (~(shown[0] | shown[1]), *grains):
        deep = np.argwhere(distance_transform_edt(mask) > 4)
        found.append(rng.permutation(deep))
    return found


def look(page: Page, size: int, dose: float) -> None:
    """Go through the steps and print what was measured."""
    page.get_by_label("Pixels on each side").select_option(str(size))
    page.get_by_label("Counts a pixel").fill(str(dose))
    page.get_by_label("Counts a pixel").press("Enter")
    step(page, "1  Data", "Open the demo", "Open the demo: done")
    page.get_by_label("Colours").first.wait_for()
    page.wait_for_timeout(3000)
    say(
        "hover to spectrum",
        timed(
            page,
            "spectrum",
            "Step",
            "mousemove",
            lambda i: page.mouse.move(*place(page, "map", 0.2 + 0.015 * i, 0.5)),
            30,
            250,
        ),
        "50",
    )
    say(
        "click on an energy to its map",
        timed(
            page,
            "map",
            "Image",
            "mousedown",
            lambda i: page.mouse.click(*place(page, "spectrum", 0.1 + 0.04 * i, 0.5)),
            12,
            900,
        ),
        "200",
    )
    step(page, "2  Decompose", "Decompose", "Decompose: done")
    step(page, "3  Segment", "Train", "Trained on|classes of the pixels")
    page.wait_for_timeout(3000)

    inside = places(size)

    def dab(i: int) -> None:
        page.keyboard.press(str(1 + i % 3))
        y, x = inside[i % 3][i // 3]
        page.mouse.click(*place(page, "map", (x + 0.5) / size, (y + 0.5) / size))

    for i in range(6):
        dab(i)
        page.wait_for_timeout(3000)
    # First the map, over it the regions, over those the traces, which come sooner.
    say(
        "stroke to labels",
        timed(page, "map", "Image", "mouseup", lambda i: dab(i + 6), 8, 4000, nth=1),
        "500",
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--dose", type=float, default=100.0)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    begun = time.monotonic()
    command = [sys.executable, "-m", "siftem", "app", "--no-show", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    address = re.search(r"http://\S+", server.stdout.readline())
    assert address
    ready = time.monotonic() - begun
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=options.chromium, args=["--no-sandbox"]
            )
            page = browser.new_page(viewport={"width": 1366, "height": 768})
            page.set_default_timeout(600_000)
            begun = time.monotonic()
            page.goto(address.group())
            page.get_by_role("button", name="Open file").wait_for()
            usable = time.monotonic() - begun
            noted = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
            paint = page.wait_for_function(noted).json_value()  # it is noted after the painting
            print(f"command to address {ready:.1f} s, then page of use {usable:.1f} s")
            print(f"first paint of the page {paint:.0f} ms")
            look(page, options.size, options.dose)
            browser.close()
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
