"""The whole road in a real browser, with a real mouse; then the recipe on the command line."""

import json

import numpy as np
import pytest
import scipy.sparse as sp
import yaml

from siftem import to_hyperspy
from siftem.acquisition import Acquisition
from siftem.cli.main import main
from siftem.energy_axis import EnergyAxis
from siftem.spectrum_image import SpectrumImage

LONG = 120_000


def status(page, text, timeout=LONG):
    page.get_by_role("status").filter(has_text=text).wait_for(timeout=timeout)


def press(page, name, exact=True):
    page.get_by_role("button", name=name, exact=exact).first.click()


def map_frame(page):
    """Left, top, width and height of the painted map's frame on the screen."""
    return page.evaluate(
        """() => {
          const view = Bokeh.index.query_one(view => view.model.name === "map")
          const canvas = (view.canvas_view ?? view.canvas).el.getBoundingClientRect()
          const {left, top, width, height} = view.frame.bbox
          return {x: canvas.x + left, y: canvas.y + top, width, height}
        }"""
    )


def drag(page, frame, n, points, hold=0):
    """Drag the mouse through pixels (y, x) of a map of n x n pixels, after holding still (ms)."""

    def place(y, x):
        return (
            frame["x"] + (x + 0.5) / n * frame["width"],
            frame["y"] + (y + 0.5) / n * frame["height"],
        )

    page.mouse.move(*place(*points[0]))
    page.mouse.down()
    page.wait_for_timeout(hold)
    for point in points[1:]:
        page.mouse.move(*place(*point), steps=8)
    page.mouse.up()


def painted(page):
    """Painted pixels of each phase, as the status line has them."""
    text = page.get_by_role("status").inner_text()
    assert text.startswith("Painted pixels: "), text
    parts = text.removeprefix("Painted pixels: ").rstrip(".").split(", ")
    return {name: int(n) for name, n in (part.rsplit(" ", 1) for part in parts)}


def wait_until(page, condition, seconds=30):
    for _ in range(10 * seconds):
        if condition():
            return
        page.wait_for_timeout(100)
    raise AssertionError("it did not happen")


def change_and_click(page, field, text, button):
    """Fill a field and click a button in one turn, as they come to a server that is busy."""
    page.evaluate(
        """([field, text, button]) => {
          field.value = text
          for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind))
          button.click()
        }""",
        [
            page.get_by_label(field).element_handle(),
            text,
            page.get_by_role("button", name=button, exact=True).element_handle(),
        ],
    )


def go_on(page, title="the demo, 64 × 64 pixels"):
    """Take up the latest work again, as a new page offers it."""
    page.get_by_role("button", name=f"Go on with {title}").first.click()
    status(page, f"Go on with {title}: done")


def open_demo(page, address):
    page.goto(address)
    page.get_by_label("Pixels on each side").select_option("64")
    press(page, "Open the demo")
    status(page, "Open the demo: done")


@pytest.mark.browser
@pytest.mark.usefixtures("no_pictures")  # of the run by the command; the app draws its own
def test_the_whole_road_with_a_mouse_and_the_same_numbers_again(
    page, start_app, picture, accessible, tmp_path
):
    open_demo(page, start_app())
    page.get_by_text("64 × 64 pixels").wait_for()
    page.get_by_role("button", name="Fe Kα").click()
    page.get_by_label("Map", exact=True).get_by_text("Fe Kα").wait_for(state="attached")
    picture(page, "1-data")
    change_and_click(page, "From grid and preparation", "Cu, Ga", "Use these")
    status(page, "Cu, Ga.")
    accessible(page)

    press(page, "2 Decompose", exact=False)
    press(page, "Decompose")
    status(page, "Decompose: done")
    page.get_by_label("Name").nth(2).wait_for()
    page.locator(".bk-Figure").nth(2).wait_for()  # map, histogram, spectrum
    picture(page, "2-decompose")
    accessible(page)

    press(page, "3 Segment", exact=False)
    page.get_by_text("1 Paint pixels").wait_for()
    page.locator(".bk-Figure").first.wait_for()
    page.wait_for_timeout(1000)
    frame = map_frame(page)
    strokes = {
        "1 Brg": [
            [(14, 20), (13, 40), (10, 58)],
            [(36, 37), (42, 56)],
            [(14, 3), (26, 2)],
            [(60, 48), (50, 52)],
        ],
        "2 Fp": [
            [(22, 40), (27, 38)],
            [(54, 30), (60, 36)],
            [(37, 3), (38, 12)],
            [(50, 6), (52, 12)],
            [(21, 21), (24, 27), (31, 26)],
            [(52, 35), (58, 39)],
        ],
        "3 Ca-Pv": [
            [(29, 10), (27, 17)],
            [(46, 61), (54, 62)],
            [(8, 2), (3, 7)],
            [(43, 5), (45, 8)],
            [(48, 24), (47, 29)],
        ],
    }
    for name, lines in strokes.items():
        press(page, name, exact=False)
        for points in lines:  # in quick succession: none may be lost
            drag(page, frame, 64, points)
    status(page, "Ca-Pv")
    steady = []
    wait_until(page, lambda: steady.append(painted(page)) or steady[-6:-1] == steady[-1:] * 5)
    assert map_frame(page) == frame  # the map has not moved under the mouse
    before = painted(page)
    page.keyboard.press("e")
    drag(page, frame, 64, [(36, 37), (42, 56)], hold=400)  # as who takes aim
    wait_until(page, lambda: painted(page)["Brg"] < before["Brg"])
    page.keyboard.press("Control+z")
    wait_until(page, lambda: painted(page) == before)
    page.keyboard.press("p")
    picture(page, "3-painted")

    press(page, "Train")
    status(page, "Trained on painted traces")
    picture(page, "4-regions")
    accessible(page)
    before = page.get_by_role("row", name="pure Brg").inner_text()
    slider = page.get_by_role("slider").nth(1)
    slider.focus()
    for _ in range(20):
        slider.press("ArrowRight")
    page.get_by_text("Smoothness: 3").wait_for()
    row = page.get_by_role("row", name="pure Brg")
    wait_until(page, lambda: row.inner_text() != before)
    for overlay in ("Probability", "Uncertainty", "Left out", "Phase map", "Regions"):
        page.get_by_label("Overlay").select_option(overlay)
        picture(page, f"5-{overlay.lower()}")
    picture(page, "5-smooth")

    # A crash: another server goes on with what there was.
    kept = row.inner_text()
    start_app.kill()
    page.goto(start_app())
    go_on(page)
    page.get_by_text("Smoothness: 3").wait_for()
    assert row.inner_text() == kept

    press(page, "4 Spectra", exact=False)
    press(page, "Subtract")
    status(page, "Subtract: done")
    picture(page, "6-spectra")
    accessible(page)
    page.reload()
    go_on(page)
    page.get_by_text("Anchor: no Si in the grain").wait_for()

    press(page, "5 Composition", exact=False)
    press(page, "Quantify")
    status(page, "Quantify: done")
    picture(page, "7-composition")
    accessible(page)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").first.click()
    copied = "navigator.clipboard.readText()"
    wait_until(page, lambda: page.evaluate(copied).startswith("at%\tBrg\t\tFp\t\tCa-Pv"))

    press(page, "6 Export", exact=False)
    press(page, "Write the folder")
    status(page, "Write the folder: done")
    picture(page, "8-export")
    accessible(page)
    with page.expect_download() as fetched:
        press(page, "Fetch the recipe")
    recipe = tmp_path / "fetched.yaml"
    fetched.value.save_as(recipe)

    data = yaml.safe_load(recipe.read_text())
    assert data["segment"]["smoothness"] == 3
    kept = {name: len(shapes) for name, shapes in data["segment"]["traces"].items()}
    assert kept == {name[2:]: len(lines) for name, lines in strokes.items()}
    assert main(["run", str(recipe), "--out", str(tmp_path / "again"), "--quiet"]) == 0
    by_app = json.loads((tmp_path / "siftem-app" / "summary.json").read_text())
    by_command = json.loads((tmp_path / "again" / "summary.json").read_text())
    assert by_app == by_command


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.browser
@pytest.mark.usefixtures("no_pictures")
def test_the_real_map_with_a_mouse_and_the_same_numbers_again(page, start_app, map_71gpa, tmp_path):
    """All of it by mouse and keyboard, with a killed server and a reload in the middle."""
    page.goto(start_app())
    field = page.get_by_label("File: a map, or a recipe (.yaml)")
    field.fill(str(map_71gpa))
    field.press("Enter")
    status(page, "Open file: done")
    page.get_by_role("button", name="Fe Kα").wait_for()
    page.get_by_label("From grid and preparation").fill("Cu, Ga, C, Pt, Zr, Co")
    page.get_by_label("From grid and preparation").press("Tab")
    press(page, "Use these")
    status(page, "Elements: ")

    press(page, "2 Decompose", exact=False)
    press(page, "Decompose")
    status(page, "Decompose: done")
    names = page.get_by_label("Name")
    for n, name in enumerate(("Brg", "Fp", "Ca-Pv")):
        names.nth(n).fill(name)
        names.nth(n).press("Enter")
        page.get_by_text(f"phases are {'Brg, ' if n else ''}", exact=False).wait_for()

    press(page, "3 Segment", exact=False)
    page.get_by_label("Overlay").wait_for()
    page.wait_for_timeout(1500)
    frame = map_frame(page)
    strokes = {
        "1 Brg": [[(110, 110), (112, 140)], [(20, 120), (30, 140)], [(150, 15), (165, 22)]],
        "2 Fp": [[(55, 15), (65, 30)], [(140, 95), (150, 110)], [(10, 70), (25, 60)]],
        "3 Ca-Pv": [[(92, 50), (104, 58)], [(112, 62), (124, 78)], [(187, 44), (190, 56)]],
    }
    for name, lines in strokes.items():
        press(page, name, exact=False)
        for points in lines:
            drag(page, frame, 201, points)
    status(page, "Ca-Pv")
    press(page, "Train")
    status(page, "Trained on painted traces")
    kept = page.get_by_role("row", name="mixture Fp").inner_text()

    start_app.kill()
    page.goto(start_app())
    title = map_71gpa.name
    go_on(page, title)
    page.get_by_role("row", name="mixture Fp").wait_for()
    assert page.get_by_role("row", name="mixture Fp").inner_text() == kept

    press(page, "4 Spectra", exact=False)
    page.get_by_text("What is known of it").wait_for()
    page.wait_for_timeout(1500)  # the anchors that apply are offered
    page.get_by_label("Anchor").select_option("An element that the grain lacks")
    page.get_by_label("Elements", exact=True).wait_for()
    page.get_by_label("Elements", exact=True).fill("Si")
    press(page, "Subtract")
    status(page, "Subtract: done")
    page.get_by_text("Anchor: no Si in the grain").wait_for()
    page.reload()
    go_on(page, title)
    page.get_by_text("Anchor: no Si in the grain").wait_for()

    press(page, "5 Composition", exact=False)
    page.get_by_label("Thickness, nm (empty: not known)").fill("100")
    page.get_by_label("Thickness, nm (empty: not known)").press("Enter")
    press(page, "Quantify")
    status(page, "Quantify: done")
    press(page, "6 Export", exact=False)
    press(page, "Write the folder")
    status(page, "Write the folder: done")
    with page.expect_download() as fetched:
        press(page, "Fetch the recipe")
    recipe = tmp_path / "fetched.yaml"
    fetched.value.save_as(recipe)
    data = yaml.safe_load(recipe.read_text())
    drawn = {name: len(shapes) for name, shapes in data["segment"]["traces"].items()}
    assert drawn == {name[2:]: len(lines) for name, lines in strokes.items()}
    assert data["quantify"]["thickness"] == 100
    assert main(["run", str(recipe), "--out", str(tmp_path / "again"), "--quiet"]) == 0
    by_app = json.loads((tmp_path / "siftem-app" / "summary.json").read_text())
    by_command = json.loads((tmp_path / "again" / "summary.json").read_text())
    assert by_app == by_command


@pytest.fixture
def bulk_map(tmp_path):
    """A polished section: Ca in a quarter, Fe in the rest, side by side; 2 lines each."""
    energies = np.arange(0, 9, 0.02)

    def spectrum(lines):
        peaks = sum(h * np.exp(-((energies - e) ** 2) / 0.006) for e, h in lines.items())
        return peaks / peaks.sum() * 280 + 20 / energies.size

    means = np.tile(spectrum({6.40: 1.0, 7.06: 0.15}), (32, 32, 1))
    means[:, :10] = spectrum({3.69: 1.0, 4.01: 0.15})
    counts = np.random.default_rng(4).poisson(means).reshape(32 * 32, -1)
    si = SpectrumImage(
        sp.csr_array(counts.astype(np.float32)),
        (32, 32),
        axis=EnergyAxis(0.0, 0.02, energies.size),
        acquisition=Acquisition(beam_energy=15.0, elements=("Ca", "Fe"), bulk=True),
        signal_type="EDS_SEM",
        pixel_size=(250.0, 250.0),
    )
    path = tmp_path / "section.hspy"
    to_hyperspy(si).save(path)
    return path


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.usefixtures("no_pictures")
def test_a_bulk_map_with_a_mouse_and_the_same_numbers_again(page, start_app, bulk_map, tmp_path):
    """Phases side by side: nothing to paint or subtract, net lines in place of compositions."""
    page.goto(start_app())
    field = page.get_by_label("File: a map, or a recipe (.yaml)")
    field.fill(str(bulk_map))
    field.press("Enter")
    status(page, "Open file: done")
    page.get_by_text("0.25 × 0.25 µm").wait_for()
    press(page, "2 Decompose", exact=False)
    number = page.get_by_label("Number of components")
    assert number.input_value() == "As many as the counts tell"
    press(page, "Decompose")
    status(page, "Decompose: done")
    page.get_by_text("Layout: side by side").wait_for()
    page.get_by_label("Name").nth(1).wait_for()
    assert page.get_by_label("Name").count() == 2
    press(page, "3 Segment", exact=False)
    press(page, "Train")
    status(page, "The regions are the classes of the pixels")
    press(page, "4 Spectra", exact=False)
    press(page, "Sum the pixels")
    status(page, "Sum the pixels: done")
    press(page, "5 Composition", exact=False)
    press(page, "Quantify")
    status(page, "Quantify: done")
    page.get_by_text("Ratios of net lines").wait_for()
    page.get_by_text("bulk specimen").first.wait_for()
    assert not page.get_by_text("Formulas, ratios, k-factors").is_visible()
    assert not page.get_by_label("Thickness, nm (empty: not known)").is_visible()
    press(page, "6 Export", exact=False)
    press(page, "Write the folder")
    status(page, "Write the folder: done")
    with page.expect_download() as fetched:
        press(page, "Fetch the recipe")
    recipe = tmp_path / "fetched.yaml"
    fetched.value.save_as(recipe)
    assert main(["run", str(recipe), "--out", str(tmp_path / "again"), "--quiet"]) == 0
    by_app = json.loads((tmp_path / "siftem-app" / "summary.json").read_text())
    by_command = json.loads((tmp_path / "again" / "summary.json").read_text())
    assert by_app == by_command


@pytest.mark.browser
def test_two_users_have_two_sessions_and_errors_are_sentences(chromium, page, local_app, picture):
    context = chromium.new_context()
    other = context.new_page()
    other.goto(local_app)
    other.get_by_role("button", name="Open the demo").wait_for()
    open_demo(page, local_app)
    press(other, "2 Decompose", exact=False)
    other.get_by_role("button", name="Decompose", exact=True).wait_for()
    press(other, "Decompose")
    alert = other.get_by_role("alert")
    alert.wait_for()
    assert alert.inner_text() == "No map is open: open a file or the demo first."
    press(other, "1 Data", exact=False)
    field = other.get_by_label("File: a map, or a recipe (.yaml)")
    field.fill("/no/such/map.hspy")
    press(other, "Open file")
    alert.filter(has_text="no such file").wait_for()
    assert "Open the demo: done" in page.get_by_role("status").inner_text()
    picture(other, "9-error")
    context.close()


@pytest.mark.browser
def test_a_job_can_be_cancelled_and_names_are_typed_by_keyboard(page, local_app):
    open_demo(page, local_app)
    press(page, "2 Decompose", exact=False)
    press(page, "Compare")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("alert").filter(has_text="Cancelled").wait_for(timeout=LONG)
    press(page, "Decompose")
    status(page, "Decompose: done")

    # The figure that is drawn anew beside the fields leaves the cursor where it is.
    names = page.get_by_label("Name", exact=True)
    names.first.focus()
    typed = ("one", "two", "three")
    for name in typed:
        page.keyboard.press("Control+a")
        page.keyboard.type(name)
        page.keyboard.press("Enter")
        status(page, name)
        page.wait_for_timeout(1500)
        for _ in range(3):  # its role, the next map, the next name
            page.keyboard.press("Tab")
    assert [names.nth(n).input_value() for n in range(3)] == list(typed)
