"""Results in a shell and in a notebook: one screen each, with the same numbers as the report."""

import base64
import copy
import dataclasses
import io
import json
import pickle
import re
import zipfile
from dataclasses import replace

import joblib
import numpy as np
import pandas
import pytest
import scipy.sparse as sp
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from siftem import open_run
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError, ReadError, SiftemWarning
from siftem.pipeline.file_contents import file_names
from siftem.pipeline.store import RESULTS, write_run
from siftem.pipeline.stored_results import write_stored
from siftem.pipeline.summary import summary_text
from siftem.quantification.minerals import Quantity
from siftem.segment.classifier import PixelClassifier
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
    assert str(c.with_error("Si")) == "assumed absent"
    assert str(c.oxides()["SiO2"]) == str(c.formula_units(1)["Si"]) == "assumed absent"
    assert "+-" in str(c.with_error("Mg"))
    assert "+-" in str(c.oxides()["MgO"])
    assert str(made_run.compositions["Brg"].oxides()["SiO2"]) != "assumed absent"
    spectrum = replace(c.fit.spectrum, absent=("O", "Au"))  # neither is a cation
    other = replace(c, fit=replace(c.fit, spectrum=spectrum))
    assert not any(q.assumed_absent for q in other.oxides().values())
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


def test_new_figures_are_made_in_the_settings_of_the_user(made_run, monkeypatch):
    # Where a notebook's backend sets itself up with the first figure, it must last.
    figure, seen = plt.figure, []
    monkeypatch.setattr(
        plt, "figure", lambda **k: seen.append(plt.rcParams["font.size"]) or figure(**k)
    )
    with plt.rc_context({"font.size": 23.5}):
        for result in shown(made_run).values():
            result.plot()
    assert seen == [23.5] * len(shown(made_run))
    plt.close("all")


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


def test_what_no_detector_counts_gets_no_label_and_bars_have_two_numbers(made_run):
    si = replace(made_run.spectrum_image, axis=EnergyAxis(-0.2, 0.02, 480))
    drawn = si.plot(elements=["Si"])
    labels = [t.get_text() for band in drawn[1].child_axes for t in band.texts]
    assert "Si Kα" in labels
    assert not any("Lℓ" in text or "Lη" in text for text in labels)  # at 0.1 keV
    bar = drawn[0].images[0].colorbar
    assert len(bar.get_ticks()) == 2
    plt.close(drawn[0].figure)


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


def same(a, b):
    """Whether two results hold the same numbers, to the last bit."""
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, sp.csr_array):
        return a.dtype == b.dtype and a.shape == b.shape and (a != b).nnz == 0
    if dataclasses.is_dataclass(a):
        names = [f.name for f in dataclasses.fields(a)]
        return type(a) is type(b) and all(same(getattr(a, n), getattr(b, n)) for n in names)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(same, a, b))
    if hasattr(a, "items"):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return a == b or (a != a and b != b)


def test_results_are_pickled_and_copied(made_run):
    for result in shown(made_run).values():
        for other in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result), copy.copy(result)):
            assert same(result, other)
    # As joblib sends them to its workers.
    file = io.BytesIO()
    joblib.dump(made_run, file)
    file.seek(0)
    assert same(joblib.load(file), made_run)


def test_a_composition_as_a_table_of_pandas(made_run):
    c = made_run.compositions["Fp"]
    table = c.to_pandas()
    np.testing.assert_array_equal(table.loc["Mg", "wt_percent"], 100 * c.weight_fractions[1])
    assert table.loc["Mg", "at_low_95"] == 100 * c.atomic_interval_95[1, 0]
    numbers = table.select_dtypes("number")
    assert numbers.loc["Si"].isna().all()
    assert numbers.drop(index="Si").notna().all(axis=None)
    assert table["assumed_absent"].tolist() == [e == "Si" for e in c.elements]
    whole = made_run.to_pandas()
    pandas.testing.assert_frame_equal(whole.loc["Fp"], table)
    assert list(whole.index.unique("phase")) == ["Brg", "Fp", "Ca-Pv"]
    with pytest.raises(InputError, match="too few counts"):
        replace(made_run, compositions={}, missing={"it": "too few counts"}).to_pandas()


def test_other_tables_of_pandas(made_run):
    pure = made_run.pure["Fp"]
    table = pure.to_pandas()
    assert table.index.name == "energy_keV"
    np.testing.assert_allclose(table["counts"] + table["taken_off"], pure.counts)
    np.testing.assert_array_equal(table["sigma"], pure.standard_deviation)
    factors = made_run.factors
    np.testing.assert_array_equal(factors.to_pandas().to_numpy().T, factors.spectra)
    regions = made_run.segmentation.regions.to_pandas()
    assert regions["pixels"].sum() == made_run.spectrum_image.n_pixels
    assert regions["percent_of_map"].sum() == pytest.approx(100)
    assert made_run.phase_map.to_pandas()["area_percent"].sum() == pytest.approx(100)
    assert "Fp sigma" in made_run.unmixed.to_pandas()


@pytest.fixture(scope="module")
def written(made_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "summary.json").write_text(summary_text(made_run), encoding="utf-8")
    write_run(made_run, folder)
    return folder


def test_an_opened_run_holds_the_same_numbers(made_run, written):
    opened = open_run(written)
    assert same(replace(opened, classifiers={}), made_run)
    text = (written / "summary.json").read_text(encoding="utf-8")
    assert summary_text(opened) == text
    assert repr(opened) == repr(made_run)


def test_classifiers_of_an_opened_run_are_read_when_asked_for(made_run, written):
    rng = np.random.default_rng(0)
    images = {"a": rng.normal(size=(8, 8)), "b": rng.normal(size=(8, 8))}
    classifier = PixelClassifier(n_trees=3).fit(images, np.tile([1, 2], (8, 4)))
    write_run(replace(made_run, classifiers={"Ca/Pv": classifier}), written)
    (written / "classifier").mkdir()
    opened = open_run(written)
    assert list(opened.classifiers) == ["Ca/Pv"]
    with pytest.raises(ReadError):
        opened.classifiers["Ca/Pv"]
    (file,) = file_names(["Ca/Pv"]).values()
    classifier.save(written / "classifier" / f"{file}.npz")
    found = opened.classifiers["Ca/Pv"].predict_proba(images)
    np.testing.assert_array_equal(found, classifier.predict_proba(images))


def test_what_is_no_run_is_refused_in_one_line(made_run, written, tmp_path):
    with pytest.raises(ReadError, match="not the folder of a run"):
        open_run(tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(ReadError, match=r"holds no results\.npz"):
        open_run(tmp_path)
    good = (written / RESULTS).read_bytes()
    for bad in (b"", good[: len(good) // 2], b"PK" + good[100:]):
        (tmp_path / RESULTS).write_bytes(bad)
        with pytest.raises(ReadError, match=r"run .*recipe\.yaml again"):
            open_run(tmp_path)


def changed(written, tmp_path, change):
    """Write the run again with other words about it."""
    (tmp_path / "summary.json").write_text("{}")
    with zipfile.ZipFile(written / RESULTS) as old, zipfile.ZipFile(tmp_path / RESULTS, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "about.npy":
                about = json.loads(str(np.load(io.BytesIO(data))))
                change(about)
                file = io.BytesIO()
                np.save(file, np.array(json.dumps(about)))
                data = file.getvalue()
            new.writestr(name, data)


def test_nothing_but_results_is_written_to_a_file(made_run):
    @dataclasses.dataclass
    class Spectrum:  # not siftem's
        values: int

    for other in (Spectrum(3), made_run.recipe.quantify, {1, 2}, object()):
        with pytest.raises(TypeError, match="a stored result can't hold"):
            write_stored(io.BytesIO(), {}, {"it": other})


def test_nothing_but_results_is_made_of_a_file(written, tmp_path):
    changed(written, tmp_path, lambda about: about["result"].update(kind="Popen"))
    with pytest.raises(ReadError, match="Popen"):
        open_run(tmp_path)


def test_results_of_another_version_are_told(made_run, written, tmp_path):
    changed(written, tmp_path, lambda about: about.update(siftem="0.0.9"))
    with pytest.warns(SiftemWarning, match=r"made by siftem 0\.0\.9"):
        open_run(tmp_path)
