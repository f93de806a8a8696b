"""In every step, and every window, one large map and one large spectrum, and little that is blank.

Measured on the screen: where the browser puts them, not what the page asked for.
"""

import io

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("panel")

LONG = 120_000
#: Windows, and the least share of them that is a square map, without its colour bar, and a spectrum
#: with its axes.
WINDOWS = [(1280, 720), (1366, 768), (1920, 1080), (3840, 2160)]
MAP, SPECTRUM = 0.18, 0.125
#: The most that is blank outside both.
BLANK = 0.36
#: The cell of a notebook: too small for such shares, but nothing is scrolled sideways.
CELL = (1148, 720)
#: Blocks of so many a window's height are blank when they have one colour.
BLOCKS = 36
STEPS = ("Data", "Decompose", "Segment", "Spectra", "Composition", "Export")

RECTANGLES = """() => {
  const place = (view) => {
    const at = (view.canvas_view ?? view.canvas).el.getBoundingClientRect()
    return [at.x, at.y, at.width, at.height]
  }
  const found = {}
  for (const view of Bokeh.index.query(v => v.model.type === "Figure")) {
    const frame = view.frame.bbox
    if (view.model.name === "map") {
      const [x, y] = place(view)
      found.map = [x + frame.left, y + frame.top, frame.width, frame.height]
      found.around = place(view)
    } else if (view.model.renderers.some(r => r.glyph.type === "Step")) {
      const at = place(view)
      if (!found.spectrum || at[2] * at[3] > found.spectrum[2] * found.spectrum[3])
        found.spectrum = at
    }
  }
  // What stands below the spectrum goes up and down; only a table of its own may go sideways.
  const columns = root => [...root.querySelectorAll("*")].flatMap(one =>
    [one, ...(one.shadowRoot ? columns(one.shadowRoot) : [])])
  found.sideways = columns(document)
    .filter(one => one.classList.contains("scroll-vertical"))
    .some(one => one.scrollWidth > one.clientWidth)
  found.scrolled = [document.documentElement.scrollWidth, document.documentElement.scrollHeight]
  return found
}"""


def measured(page):
    """Shares of map, spectrum and blank in the window; what lies outside, and scrolling."""
    wide, tall = page.viewport_size["width"], page.viewport_size["height"]
    found = page.evaluate(RECTANGLES)
    area = wide * tall
    shares = {
        name: found[name][2] * found[name][3] / area if name in found else 0.0
        for name in ("map", "spectrum")
    }
    inside = all(
        x >= 0 and y >= 0 and x + w <= wide + 1 and y + h <= tall + 1
        for x, y, w, h in (found[n] for n in ("map", "spectrum") if n in found)
    )
    grey = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"))
    block = tall // BLOCKS
    blank = np.zeros((tall // block, wide // block), bool)
    for i, j in np.ndindex(*blank.shape):
        part = grey[i * block : (i + 1) * block, j * block : (j + 1) * block]
        blank[i, j] = np.ptp(part) < 4
    for name in ("around", "spectrum"):
        if name in found:
            x, y, w, h = (round(v / block) for v in found[name])
            blank[y : y + h, x : x + w] = False
    shares["blank"] = float(blank.mean())
    return shares, inside, found["scrolled"] == [wide, tall] and not found["sideways"]


def well_filled(page):
    """Whether a step shows what it should; what was measured."""
    shares, inside, fits = measured(page)
    good = shares["map"] >= MAP and shares["spectrum"] >= SPECTRUM and shares["blank"] <= BLANK
    return good and inside and fits, (shares, inside, fits)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.usefixtures("no_pictures")
def test_map_and_spectrum_are_large_in_every_step_and_every_window(page, start_app):
    def press(name, exact=True):
        page.get_by_role("button", name=name, exact=exact).first.click()

    def status(said):
        page.get_by_role("status").filter(has_text=said).wait_for(timeout=LONG)

    jobs = {
        "Data": ("Open the demo", "Open the demo: done"),
        "Decompose": ("Decompose", "Decompose: done"),
        "Segment": ("Train", "Trained on"),
        "Spectra": ("Subtract", "Subtract: done"),
        "Composition": ("Quantify", "Quantify: done"),
        "Export": ("Write the folder", "Write the folder: done"),
    }
    page.goto(start_app())
    page.get_by_label("Pixels on each side").select_option("64")
    poor, wide_pages = {}, {}
    for step in STEPS:
        press(f"{1 + STEPS.index(step)} {step}", exact=False)
        job, said = jobs[step]
        page.get_by_role("button", name=job, exact=True).wait_for()
        press(job)
        status(said)
        for wide, tall in WINDOWS:
            page.set_viewport_size({"width": wide, "height": tall})
            for _ in range(60):  # the page follows, and is drawn, in its own time
                page.wait_for_timeout(500)
                good, found = well_filled(page)
                if good:
                    break
            else:
                poor[step, wide, tall] = found
        page.set_viewport_size(dict(zip(("width", "height"), CELL, strict=True)))
        for _ in range(60):
            page.wait_for_timeout(500)
            across = page.evaluate("document.documentElement.scrollWidth")
            if across <= CELL[0]:
                break
        else:
            wide_pages[step] = across
    assert not poor and not wide_pages
