"""Export: everything in one folder, and each kind of file by itself."""

from __future__ import annotations

import html
import io
import shlex
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import panel as pn

from siftem.app.map_images import takes_background
from siftem.app.map_step import MapStep
from siftem.app.painting import PaintedTraces
from siftem.app.spectrum_figure import Curve
from siftem.app.step_view import StepPage, put_text
from siftem.app.style import CONTROL_CSS, FIELD, RESIZED, WIDE
from siftem.errors import InputError, RecipeError
from siftem.pipeline.recipe import EACH_MAP, read_recipe
from siftem.pipeline.store import check_destination
from siftem.report.folder import REPORT, export, is_exported

_WIDTHS = {
    "85 mm (one column)": 85.0,
    "175 mm (two columns)": 175.0,
    "180 mm (a page)": 180.0,
}

_FILES, _RECIPE = "Files", "Recipe"
#: What can be fetched of a folder: label, file name, patterns of its files, what it is.
KINDS = (
    ("Report", "report.html", ("report.html",), "one HTML file with figures and tables"),
    (
        "Figures",
        "figures.zip",
        ("*.png", "*.svg", "*.pdf"),
        "in the chosen formats",
    ),
    ("Spectra", "spectra.zip", ("spectra/*.msa",), "EMSA, of pure phases and mixtures"),
    ("Regions, TIFF", "regions.tif", ("regions.tif",), "stack of masks with the pixel size"),
    ("Regions, ROI", "regions.zip", ("regions.zip",), "outlines for ImageJ's ROI Manager"),
    ("HyperSpy", "maps.hspy", ("maps.hspy",), "maps and spectra of the components"),
    ("Numbers", "summary.json", ("summary.json",), "all numbers with their errors"),
    ("Everything", "siftem.zip", ("**/*",), "the whole folder"),
)


class ExportView(MapStep):
    """Files of a run."""

    name = "Export"

    def __init__(self, page: StepPage) -> None:
        super().__init__(page, part=0.52, most=900)
        self.folder = pn.widgets.TextInput(
            name="Folder", value=str(Path.cwd() / "siftem-app"), **FIELD
        )
        self.width = pn.widgets.Select(
            name="Width of the figures", options=_WIDTHS, value=180.0, **FIELD
        )
        self.formats = pn.widgets.CheckBoxGroup(
            name="Figures as",
            options=["png", "svg", "pdf"],
            value=["png"],
            inline=True,
            stylesheets=[CONTROL_CSS],
            margin=(2, 8),
        )
        self.lines = pn.widgets.TextInput(
            name="Trace lines in figure 1(g)", placeholder="Nd La, Sm La", **FIELD
        )
        self.recipe = pn.widgets.FileDownload(
            callback=self._recipe_file,
            filename="recipe.yaml",
            label="Fetch the recipe",
            button_type="success",
            **WIDE,
            stylesheets=[CONTROL_CSS],
        )
        self.files = pn.Column(margin=0, sizing_mode="stretch_width")
        self.how = self.text("")
        self.shown = pn.widgets.RadioButtonGroup(
            name="What is shown",
            options=[_FILES, _RECIPE],
            value=_FILES,
            stylesheets=[CONTROL_CSS],
            margin=(20, 5, 0, 10),
        )
        self.shown.param.watch(lambda _e: page.attempt(self._arrange), "value")
        self.controls[:] = [
            self.text("<h2>All results</h2>"),
            self.folder,
            self.text("<p>Figures as</p>"),
            self.formats,
            self.width,
            self.lines,
            self.button("Write the folder", self.write, kind="success", **WIDE),
            self.text("<h2>The recipe</h2>"),
            self.recipe,
            self.text(
                "<p class='hint'>All that these results depend on, painted traces too. Run on "
                "the command line it gives the same numbers.</p>",
                **WIDE,
            ),
        ]
        self.text_of = pn.widgets.TextAreaInput(
            name="The recipe: k-factors, ratios, oxygens and all else can be set here",
            height=300,
            width=600,
            max_length=10**7,
            sizing_mode=RESIZED,
            stylesheets=[CONTROL_CSS, "textarea { font-family: monospace; font-size: 12px; }"],
        )
        self.taking = self.button("Take this recipe", self.take_recipe, width=160)

    def write(self) -> None:
        """Do what is missing and write all of it, in a job."""
        workflow = self.session.workflow
        folder = self._destination()
        self.choose_figures()
        check_destination(folder)
        self.page.run(
            "Write the folder", lambda progress: export(workflow, folder, progress=progress)
        )

    def choose_figures(self) -> None:
        """Put formats, width and trace lines of the figures into the recipe."""
        lines = [part.strip() for part in self.lines.value.split(",") if part.strip()]
        figures = {
            "formats": [f for f in self.formats.options if f in self.formats.value] or ["png"],
            "width_mm": self.width.value,
            "trace_lines": lines,
        }
        self.session.workflow.change(figures=figures)

    def take_recipe(self) -> None:
        """Put the recipe as it stands in the text in place of the present one."""
        session = self.session
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "recipe.yaml"
            path.write_text(self.text_of.value_input or self.text_of.value, encoding="utf-8")
            try:
                recipe = read_recipe(path)
            except RecipeError as error:
                raise InputError(str(error).replace(str(path), "the recipe")) from None
        if recipe.input != session.recipe.input:
            raise InputError("this recipe names another map: open it in the step Data")
        shape, phases = session.spectrum_image.shape, tuple(recipe.phases)
        traces = PaintedTraces(shape, recipe.segment.traces, phases)
        session.workflow.set_recipe(recipe)
        session.traces = traces
        self.refresh()
        self.jobs.tell("The recipe is taken; what it changes is done again when it is needed.")

    def refresh(self) -> None:
        """Show what can be fetched."""
        if not self.session.is_open:
            self.no_map()
            return
        self._list_files()
        self._arrange()

    def _arrange(self) -> None:
        """Show map and spectra of the phases, and files or recipe below."""
        if not self.session.is_open:
            return
        spectra = self.session.workflow.get("spectra")
        colours = self.session.colours()
        pure = {} if spectra is None else spectra.pure
        curves = [
            Curve(f"pure {name}", one.values, colours[name], share=self.as_counted(one.values))
            for name, one in pure.items()
            if name in colours
        ]
        self.show_map(curves, of=(id(spectra), tuple(colours)))
        width, height = self.look.room_below
        self.text_of.param.update(width=width - 40, height=max(120, height - 80))
        recipe = self.shown.value == _RECIPE
        below = (self.text_of, self.taking) if recipe else (self.how, self.files)
        self.show(*below, fields=[self.shown])

    def resized(self) -> None:
        """Draw all in the new room."""
        super().resized()
        self._arrange()

    def _list_files(self) -> None:
        """List what can be fetched."""
        folder = self._destination()
        self._show_figures()
        put_text(self.text_of, self.session.recipe.to_yaml())
        if not is_exported(self.session.workflow, folder):
            self.how.object = (
                "<p>Press “Write the folder”: what is missing is done first, then all files are "
                "written. An earlier run in the folder is replaced.</p>"
            )
            self.files[:] = []
            return
        recipe = folder / "recipe.yaml"
        again = f"siftem run {shlex.quote(str(recipe))} --out again"
        if self.session.recipe.input.file == EACH_MAP:
            again = "write the path of the map under input.file of recipe.yaml, then run it"
        self.how.object = (
            f"<p>{self._report_link(folder)}Written to <code>{html.escape(str(folder))}</code></p>"
            f"<p>The same numbers on the command line: <code>{html.escape(again)}</code></p>"
        )
        self.files[:] = [
            pn.Row(
                pn.widgets.FileDownload(
                    callback=lambda of=(name, patterns): _packed(folder, *of),
                    filename=name,
                    label=f"Fetch: {label}",
                    width=180,
                    margin=(3, 5),
                    stylesheets=[CONTROL_CSS],
                ),
                self.text(f"<p>{name}: {about}</p>", margin=(3, 4), sizing_mode="stretch_width"),
                margin=0,
                sizing_mode="stretch_width",
            )
            for label, name, patterns, about in KINDS
            if any(folder.glob(patterns[0]))
        ]

    def _show_figures(self) -> None:
        """Show what the recipe says of figures."""
        figures = self.session.recipe.figures
        if figures.width_mm not in self.width.options.values():
            own = {f"{figures.width_mm:g} mm": figures.width_mm}
            self.width.options = {**self.width.options, **own}
        self.width.value, self.formats.value = figures.width_mm, list(figures.formats)
        put_text(self.lines, ", ".join(figures.trace_lines))
        self.lines.visible = takes_background(self.session.spectrum_image)

    def _destination(self) -> Path:
        text = (self.folder.value_input or self.folder.value).strip()
        if not text:
            raise InputError("name a folder for the results")
        return Path(text).expanduser().absolute()

    def _report_link(self, folder: Path) -> str:
        link = html.escape(self.page.reports.link(folder / REPORT))
        return f'<a href="{link}" target="_blank" rel="noopener">Open the report</a>. '

    def _recipe_file(self) -> Any:
        return io.BytesIO(self.session.recipe.to_yaml().encode())


def _packed(folder: Path, name: str, patterns: tuple[str, ...]) -> io.BytesIO:
    """One file as it is, several as a zip."""
    found = sorted(p for pattern in patterns for p in folder.glob(pattern) if p.is_file())
    if len(found) == 1 and found[0].name == name:
        return io.BytesIO(found[0].read_bytes())
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in found:
            archive.write(path, path.relative_to(folder))
    packed.seek(0)
    return packed
