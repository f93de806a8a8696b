"""How soon the labels move after the smoothness slider in the app; see docs/app.md.

    python benchmarks/app_slider.py [--size 256] [--dose 50]

Needs Chromium. Measured in the browser: from the key that moves the slider to the frame in
which the new colours are there.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys

from playwright.sync_api import sync_playwright

WATCH = """() => {
  const figure = Bokeh.index.query_one(view => view.model.name === "map").model
  const overlay = figure.renderers.filter(r => r.glyph.type === "Image")[1].data_source
  window.delays = []
  document.addEventListener("keydown", () => { window.pressed = performance.now() }, true)
  overlay.properties.data.change.connect(() => requestAnimationFrame(
    () => window.delays.push(performance.now() - window.pressed)))
}"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--dose", type=float, default=50.0)
    parser.add_argument("--moves", type=int, default=30)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    command = [sys.executable, "-m", "siftem", "app", "--no-show", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    address = re.search(r"http://\S+", server.stdout.readline())
    assert address
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=options.chromium, args=["--no-sandbox"]
            )
            page = browser.new_page(viewport={"width": 1366, "height": 650})
            page.set_default_timeout(600_000)
            page.goto(address.group())
            page.get_by_label("Pixels on each side").select_option(str(options.size))
            page.get_by_label("Counts a pixel").fill(str(options.dose))
            page.get_by_label("Counts a pixel").press("Enter")
            for step, button in (
                ("1  Data", "Open the demo"),
                ("2  Decompose", "Decompose"),
                ("3  Segment", "Train"),
            ):
                page.get_by_role("button", name=step).first.click()
                page.get_by_role("button", name=button, exact=True).first.click()
                said = "Trained on" if button == "Train" else f"{button}: done"
                page.get_by_role("status").filter(has_text=said).wait_for()
            page.wait_for_timeout(3000)
            page.evaluate(WATCH)
            slider = page.get_by_role("slider").nth(1)
            slider.focus()
            for move in range(options.moves):
                slider.press("ArrowRight" if move % 10 < 5 else "ArrowLeft")
                page.wait_for_timeout(900)
            delays = [round(d) for d in page.evaluate("window.delays")]
            browser.close()
    finally:
        server.terminate()
    print(f"{options.size} x {options.size} pixels, {options.dose:g} counts a pixel")
    print(f"{len(delays)} moves: median {statistics.median(delays):.0f} ms, max {max(delays)} ms")


if __name__ == "__main__":
    main()
