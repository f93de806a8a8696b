"""Results in a shell and in a notebook: one screen each, with the same numbers as the report."""

import base64
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from siftem.quantify.minerals import Quantity
from siftem.views import VIEWS, view

SCREEN = (40, 120)  # lines, characters


def shown(run):
    return {
        "SpectrumImage": run.spectrum_image,
        "Factors": run.factors,
        "Regions": run.segmentation.regions,
        "Spectrum": run.spectra["Brg"],
        "PureSpectrum": run.pure["Fp"],
        "Composition": run.compositions["Fp"],
        "Unmixed": run.unmixed,
        "Phase map": run.phase_map,
        "Run": run,
    }


def test_each_result_fits_on_one_screen(made_run):
    others = (made_run.segmentation, made_run.compositions["Fp"].fit, made_run.rectangles)
    for result in (*shown(made_run).values(), *others):
        lines = repr(result).splitlines()
        assert len(lines) <= SCREEN[0]
        assert sum(len(line) // SCREEN[1] + 1 for line in lines) <= SCREEN[0]
        assert "array([" not in repr(result)


def test_what_a_repr_tells(made_run):
    assert "'Fp'" in repr(made_run.pure["Fp"])
    assert made_run.pure["Fp"].anchor in repr(made_run.pure["Fp"])
    shares = made_run.factors.counts / made_run.factors.counts.sum()
    for name, share in zip(made_run.factors.names, shares, strict=True):
        assert f"{name} {100 * share:.1f}%" in repr(made_run.factors)
    area = made_run.phase_map.area_percent["Fp"]
    assert f"Fp {area:.1f}%" in repr(made_run.phase_map)
    assert "NOT converged" in repr(replace(made_run.factors, converged=False))
    assert "NOT converged" not in repr(made_run.factors)


def test_a_composition_reads_as_in_the_report(made_run):
    c = made_run.compositions["Fp"]
    rows = {line.split()[0]: line for line in repr(c).splitlines()[2:-1]}
    assert set(rows) == set(c.elements)
    mg = c.index("Mg")
    value, sigma = 100 * c.atomic_fractions[mg], 100 * c.atomic_covariance[mg, mg] ** 0.5
    first = re.match(r"Mg +([\d.]+) ± ([\d.]+) \(± ([\d.]+)\)", rows["Mg"])
    assert float(first[1]) == pytest.approx(value, abs=0.06)
    assert float(first[2]) == pytest.approx(sigma, rel=0.06)
    low, high = 100 * c.atomic_interval_95[mg]
    ends = re.search(r"([\d.]+) to ([\d.]+)", rows["Mg"])
    assert float(ends[1]) <= low < high <= float(ends[2])
    # No number for what an anchor took for absent, nor for what was not found.
    assert c.assumed_absent == ("Si",)
    assert rows["Si"].split()[1:3] == ["assumed", "absent"]
    assert "±" not in rows["Si"]
    missing = [e for e, found in zip(c.elements, c.found, strict=True) if not found and e != "Si"]
    assert missing
    assert all("< LOD" in rows[e] for e in missing)


def test_a_run_reads_as_its_phases(made_run):
    text = repr(made_run)
    head = next(line for line in text.splitlines() if "Ca-Pv" in line and "layout" not in line)
    assert head.split() == ["Brg", "Fp", "Ca-Pv"]
    (si,) = (line for line in text.splitlines() if line.startswith("Si, at%"))
    assert "assumed absent" in si
    broken = replace(made_run, missing={"the unmixing": "of a reason"})
    assert "the unmixing is missing: of a reason" in repr(broken)
    assert "the unmixing is missing: of a reason" in broken._repr_html_()


def test_numbers_print_with_their_errors(made_run):
    assert str(Quantity(0.8873, 0.0012, 0.0142)) == "0.8873 +- 0.0012 (systematic 0.014)"
    assert str(Quantity(0.8873, 0.0012)) == "0.8873 +- 0.0012"
    c = made_run.compositions["Fp"]
    ratio = c.ratio("Mg/(Mg+Fe)")
    assert ratio.systematic == c.ratio_systematic("Mg/(Mg+Fe)")
    assert str(ratio).startswith(f"{ratio.value:.3f}")
    # Nothing fixes how much of the matrix is in it: no value with an error, but a range.
    wide = 0.5 * (c.weight_fractions + made_run.compositions["Brg"].weight_fractions)
    free = c.with_range(wide / wide.sum()).ratio("Mg/(Mg+Fe)")
    low, high = map(float, re.match(r"([\d.]+) to ([\d.]+) \(95%", str(free)).groups())
    assert low < ratio.value < high
    assert "+-" not in str(free)


def test_notebooks_show_a_table_and_a_picture(made_run):
    for title, result in shown(made_run).items():
        page = result._repr_html_()
        assert title in page
        assert "<table>" in page
        (data,) = re.findall(r"data:image/png;base64,([^\"]+)", page)
        assert base64.b64decode(data).startswith(b"\x89PNG")
        assert len(page) < 400_000


def test_names_cannot_break_out_of_the_page(made_run):
    bad = replace(made_run.pure["Fp"], name="<script>$x$")
    page = bad._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_plots_return_axes_and_draw_into_those_given(made_run):
    for title, result in shown(made_run).items():
        drawn = np.ravel(result.plot())
        assert all(isinstance(ax, Axes) for ax in drawn), title
        assert drawn[0].figure.number in plt.get_fignums()  # a notebook shows it
        plt.close(drawn[0].figure)
    figure, ax = plt.subplots()
    for name in ("Spectrum", "PureSpectrum", "Composition", "Regions", "Phase map"):
        ax.clear()
        assert shown(made_run)[name].plot(ax) is ax
        assert ax.lines or ax.images
    assert plt.get_fignums() == [figure.number]
    plt.close(figure)


def test_a_plotted_spectrum_holds_its_values(made_run):
    pure = made_run.pure["Fp"]
    _, ax = plt.subplots()
    pure.plot(ax, log=False, elements=["Fe"])
    heights = [line.get_ydata()[:-1] for line in ax.lines if len(line.get_ydata()) > 2]
    assert any(np.array_equal(h, pure.values) for h in heights)
    assert any(np.allclose(h, pure.counts) for h in heights)  # the mixture behind it
    assert ax.get_title() == "Fp"
    labels = [t.get_text() for band in ax.child_axes for t in band.texts]
    assert "Fe Kα" in labels
    plt.close(ax.figure)


def test_a_plotted_composition_holds_its_intervals(made_run):
    c = made_run.compositions["Fp"]
    _, ax = plt.subplots()
    c.plot(ax, by="weight")
    spans = [tuple(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2]
    wanted = [
        tuple(100 * ends)
        for e, ends in zip(c.elements, c.weight_interval_95, strict=True)
        if e != "Si"
    ]
    np.testing.assert_allclose(spans, wanted)
    assert [t.get_text() for t in ax.texts] == ["assumed absent"]
    plt.close(ax.figure)


def test_every_view_is_there():
    for name in VIEWS:
        assert callable(view(name))
