"""The report: the result's numbers, nothing from outside, nothing hostile."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import scipy
import yaml
from made_up_run import ELEMENTS, RATIOS, build_run

from siftem import __version__
from siftem.pipeline.recipe import make_recipe
from siftem.printed_numbers import MISSING, range_text, with_error
from siftem.quantification.open_ranges import atomic_ratio, interval_of, oxide_percent
from siftem.report.html import figure1_caption, render_report
from siftem.report.table import ASSUMED, BELOW_LIMIT

PNG = b"\x89PNG\r\n\x1a\n made-up picture"
FIGURES = {"figure1": PNG + b"1", "figure2": PNG + b"2", "fit_Brg": PNG + b"3"}
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Tags, attributes, text and tables of a page; fails when tags are not nested."""

    def __init__(self, html):
        super().__init__()
        self.stack, self.tags, self.texts = [], [], []
        self.tables, self.captions = [], []
        self.feed(html)
        self.close()
        assert self.stack == [], f"never closed: {self.stack}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)
        if tag == "table":
            self.tables.append([])
            self.captions.append("")
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag, f"</{tag}> is out of place"

    def handle_data(self, data):
        self.texts.append(data)
        if self.stack and self.stack[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data
        elif self.stack and self.stack[-1] == "caption":
            self.captions[-1] += data

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def table(self, caption):
        return self.tables[self.captions.index(caption)]


@pytest.fixture(scope="module")
def html(made_run):
    resources = {"seconds": 12.34, "peak_memory_MB": 567.8}
    return render_report(made_run, figures=FIGURES, resources=resources)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def phase_tables(page):
    """The composition table of each phase, by the order of the phases."""
    return [t for t in page.tables if t[0][0] == "element" and "LOD, wt%" in t[0]]


def test_the_page_is_well_formed_and_starts_as_html(html, page):
    assert html.startswith("<!DOCTYPE html>")
    assert ("html", {"lang": "en"}) in page.tags
    assert "{{" not in html and "{%" not in html


def test_compositions_are_the_results(made_run, page):
    tables = phase_tables(page)
    phases = [n for n in made_run.pure if n in made_run.compositions]
    assert len(tables) == len(phases) == 3
    seen = set()
    assumed = {"Fp": ("Si",), "Ca-Pv": ("Mg",)}
    for phase, table in zip(phases, tables, strict=True):
        c = made_run.compositions[phase]
        oxides = c.oxides()
        at_sigma = np.sqrt(np.diag(c.atomic_covariance))
        for i, row in enumerate(table[1:]):
            assert row[0] == c.elements[i]
            if c.elements[i] in assumed.get(phase, ()):
                assert row[2:4] == [ASSUMED, ASSUMED]
                assert row[-1] == ""
                continue
            assert float(row[-1]) == pytest.approx(100 * c.detection_limits[i], rel=0.05)
            seen.add(bool(c.found[i]))
            if not c.found[i]:
                assert row[2:4] == [BELOW_LIMIT, BELOW_LIMIT]
                continue
            expected = [
                (c.weight_fractions[i], c.sigma[i], c.weight_interval_95[i]),
                (c.atomic_fractions[i], at_sigma[i], c.atomic_interval_95[i]),
            ]
            for (value, sigma, interval), start in zip(expected, (2, 5), strict=True):
                shown, error, own = row[start : start + 3]
                assert f"{shown} {error}" == with_error(100 * value, 100 * sigma)
                assert own == f"({range_text(*(100 * interval))})"
            if row[0] != "O":
                label = row[8].translate(str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789"))
                quantity = oxides[label]
                assert f"{row[9]} {row[10]}" == with_error(quantity.value, quantity.sigma)
                interval = interval_of(c, oxide_percent(c, row[0]))
                assert row[11] == f"({range_text(*interval)})"
    # Both kinds of rows were there to be checked.
    assert seen == {True, False}


def _unit(text):
    """One unit of the last digit."""
    decimals = len(text.partition(".")[2])
    return 10.0**-decimals


def test_the_overview_sets_phases_side_by_side(made_run, page):
    table = page.table("Composition of the pure phases")
    assert table[0] == ["at%", "Brg", "Fp", "Ca-Pv"]
    assert [row[0] for row in table[1:]] == list(ELEMENTS)
    oxygen = made_run.compositions["Fp"]
    low, high = 100 * oxygen.atomic_interval_95[0]
    sigma = oxygen.atomic_covariance[0, 0] ** 0.5
    assert high - low > 6 * 100 * sigma  # k-factors leave far more open than counting
    assert table[1][4] == f"({range_text(low, high)})"
    assert float(table[1][3]) == pytest.approx(100 * oxygen.atomic_fractions[0], abs=0.5)


def test_ratios_with_their_intervals(made_run, page):
    table = page.table("Atomic ratios")
    assert [row[0] for row in table[1:]] == list(RATIOS)
    for row, ratio in zip(table[1:], RATIOS, strict=True):
        for k, phase in enumerate(("Brg", "Fp", "Ca-Pv")):
            value, error, interval = row[1 + 3 * k : 4 + 3 * k]
            c = made_run.compositions[phase]
            quantity = c.ratio(ratio)
            assert f"{value} {error}".strip() == with_error(quantity.value, quantity.sigma)
            shown = range_text(*interval_of(c, atomic_ratio(c, ratio)))
            assert interval == ("" if shown == MISSING else f"({shown})")


def test_systematic_errors_are_said_to_be_apart(page):
    assert "kept apart, not added" in page.text
    assert "systematic error" in page.text


def test_anchors_and_scales(made_run, page):
    rows = {row[0]: row for row in page.table("What was taken off")[1:]}
    for grain, element in (("Fp", "Si"), ("Ca-Pv", "Mg")):
        scaled = made_run.scale_of(grain)
        assert rows[grain][1] == "Brg"
        assert element in rows[grain][2]
        assert f"{rows[grain][3]} {rows[grain][4]}" == with_error(scaled.scale, scaled.scale_sigma)
        share = scaled.scale * made_run.pure["Brg"].values.sum() / scaled.counts.sum()
        assert float(rows[grain][6]) == pytest.approx(100 * share, abs=0.06)


def test_region_pixels_and_shares(made_run, page):
    rows = {row[0]: row for row in page.table("Regions")[1:]}
    for region, pixels in made_run.segmentation.regions.pixel_counts().items():
        assert int(rows[region][1].replace("\u2009", "")) == pixels
        assert float(rows[region][2]) == pytest.approx(100 * pixels / 720, abs=0.051)


def test_signal_to_noise_gains(made_run, page):
    table = page.table("Signal to noise of faint lines in pure Brg")
    gain = made_run.gains[0]
    row = table[1]
    assert row[0] == "Nd Lα"
    assert float(row[3]) == pytest.approx(gain.whole, abs=0.051)
    assert float(row[4]) == pytest.approx(gain.rectangle, abs=0.051)
    assert float(row[6]) == pytest.approx(gain.gain_at_equal_signal, rel=0.006)
    assert float(row[7]) == pytest.approx(gain.area_ratio, rel=0.006)
    assert float(row[8]) == pytest.approx(gain.area_ratio**0.5, rel=0.006)


def test_truth_stands_beside_what_was_found(made_run, page):
    rows = {r[0]: r for r in page.table("Masks and spectra against the truth")[1:]}
    assert rows["Fp"][1:] == ["0.912", "1.23"]
    assert rows["Ca-Pv"][1:] == ["0.877", "4.56"]
    assert rows["Brg"][1] == ""
    table = page.table("Fp against the truth")
    iron = next(r for r in table if r[0] == "Fe")
    assert float(iron[1]) == 22.0
    c = made_run.compositions["Fp"]
    i = c.elements.index("Fe")
    assert f"{iron[2]} {iron[3]}" == with_error(100 * c.weight_fractions[i], 100 * c.sigma[i])
    away = (c.weight_fractions[i] - 0.22) / np.hypot(c.sigma[i], c.systematic_sigma[i])
    assert float(iron[5]) == pytest.approx(away, abs=0.051)
    assert next(r for r in table if r[0] == "Si")[-1] == "below LOD"


def test_k_factors_absorption_and_energy_scale(made_run, page):
    c = made_run.compositions["Brg"]
    for i, row in enumerate(page.table("k-factors and absorption")[1:]):
        assert row[0] == c.elements[i]
        assert float(row[2]) == pytest.approx(c.k.values[i], rel=1e-3)
        assert float(row[3]) == pytest.approx(100 * c.k.relative_sigma[i], rel=0.05)
        assert row[4] == c.k.source[i]
        assert float(row[5]) == pytest.approx(c.absorption[i], abs=6e-4)
    scale = {row[0]: row for row in page.table("Energy scale")[1:]}
    assert float(scale["shift"][1]) == pytest.approx(1e3 * made_run.calibration.shift, rel=0.006)
    resolution = float(scale["resolution at Mn Kα"][1])
    assert resolution == pytest.approx(made_run.calibration.resolution, rel=1e-3)


def test_film_recipe_versions_and_resources_are_told(made_run, page):
    assert "100 nm of 4.20 g/cm³ at a take-off angle of 22°" in page.text
    recipe = next(text for text in page.texts if "siftem: 1" in text)
    assert make_recipe(yaml.safe_load(recipe)) == made_run.recipe
    for found in (__version__, np.__version__, scipy.__version__, "12.3 s", "568 MB"):
        assert found in page.text
    assert any(tag == "details" for tag, _ in page.tags)


def test_warnings_come_before_everything_else(html):
    assert "the first warning" in html
    heading = "<h2>What was run</h2>"
    places = [html.index(w) for w in ("the first warning", "the second warning", heading)]
    assert places == sorted(places)


def test_a_run_without_warnings_says_so(made_run):
    html = render_report(replace(made_run, warnings=()), figures={})
    assert "No warnings" in html
    assert "No warnings" in render_report(made_run, figures={})  # notes put no number in doubt
    grave = "Fp: the model does not describe this spectrum at 1 keV"
    html = render_report(replace(made_run, warnings=("a note", grave), doubts=(grave,)), figures={})
    assert "No warnings" not in html
    assert "1 warning, below" in html
    assert html.index(grave) < html.index("1 more note") < html.index("a note")


def test_pictures_are_inside_the_page_with_captions(page):
    sources = [a["src"] for tag, a in page.tags if tag == "img"]
    prefix = "data:image/png;base64,"
    assert all(s.startswith(prefix) for s in sources)
    assert [base64.b64decode(s.removeprefix(prefix)) for s in sources] == list(FIGURES.values())
    assert "(b–d) Counts that each component gave" in page.text
    assert "Nd Lα over the whole pure region" in page.text


def test_the_caption_says_why_there_is_no_dark_field(made_run):
    missing = "The file holds no image (HAADF, BF, SE) of the same scan."
    assert missing in figure1_caption(made_run)
    si = replace(made_run.spectrum_image, survey=np.ones(made_run.spectrum_image.shape))
    caption = figure1_caption(replace(made_run, spectrum_image=si))
    assert caption.startswith("(a) HAADF")
    assert missing not in caption


def test_nothing_is_fetched_or_run(html, page):
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "iframe", "object", "embed", "form", "base", "svg"}
    for _, attributes in page.tags:
        assert not any(key.startswith("on") for key in attributes)
        for key in ("src", "href", "action", "srcset", "data", "poster"):
            assert attributes.get(key, "data:").startswith(("data:", "#"))
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style and "@import" not in style
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"base64,[\w+/=]+", "", html))
    policy = next(a for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy["content"]


def test_hostile_names_and_warnings_are_text():
    names = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "{{ 7 * 7 }} & Ca")
    run = build_run(names, warnings=("<b>bold</b> </style><script>",))
    page = Page(render_report(run, figures={}))
    tags = [tag for tag, _ in page.tags]
    assert "script" not in tags and "b" not in tags
    assert all("onerror" not in attributes for _, attributes in page.tags)
    assert names[0] in page.text
    assert "{{ 7 * 7 }} & Ca" in page.text
    assert "<b>bold</b> </style><script>" in page.text


def test_the_same_result_gives_the_same_page(made_run, html):
    resources = {"seconds": 12.34, "peak_memory_MB": 567.8}
    assert render_report(made_run, figures=FIGURES, resources=resources) == html


def test_a_run_without_elements_still_has_a_report(made_run):
    bare = replace(
        made_run,
        compositions={},
        pure={"Brg": made_run.pure["Brg"]},
        calibration=None,
        gains=(),
        rectangles=(),
        rectangle_spectrum=None,
        truth=None,
    )
    page = Page(render_report(bare, figures={"figure1": PNG, "figure2": PNG}))
    assert "pure Brg" in page.text
    assert "Compositions" not in page.text
    assert "Spectra of the mixtures; nothing was subtracted" in page.text


def test_oxides_are_left_out_when_a_valence_is_unknown(made_run):
    c = made_run.compositions["Brg"]
    odd = replace(c, elements=(*c.elements[:-1], "Ar"))
    run = replace(made_run, compositions={"Brg": odd})
    page = Page(render_report(run, figures={}))
    assert "MgO" not in page.text
    assert len(phase_tables(page)) == 1


def test_unknown_resources_are_shown_as_they_come(made_run):
    page = Page(render_report(made_run, figures={}, resources={"disk_MB": 12.0}))
    assert "disk MB 12.00" in page.text
