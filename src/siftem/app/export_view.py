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
from siftem.app.painting import PaintedTraces
from siftem.app.step_view import StepPage, View, put_text
from siftem.app.style import CONTROL_CSS, CONTROLS, RESIZED
from siftem.errors import InputError, RecipeError
from siftem.pipeline.recipe import EACH_MAP, read_recipe
from siftem.pipeline.store import check_destination
from siftem.report.folder import REPORT, export, is_exported

_WIDTHS = {
    "85 mm (one column)": 85.0,
    "175 mm (two columns)": 175.0,
    "180 mm (a page)": 180.0,
}
_FIELD = {"width": CONTROLS - 30, "stylesheets": [CONTROL_CSS], "margin": (2, 8)}

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


class ExportView(View):
    """Files of a run."""

    name = "Export"

    def __init__(self, page: StepPage) -> None:
        super().__init__(page)
        self.folder = pn.widgets.TextInput(
            name="Folder", value=str(Path.cwd() / "siftem-app"), **_FIELD
        )
        self.width = pn.widgets.Select(
            name="Width of the figures", options=_WIDTHS, value=180.0, **_FIELD
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
            name="Trace lines in figure 1(g)", placeholder="Nd La, Sm La", **_FIELD
        )
        self.recipe = pn.widgets.FileDownload(
            callback=self._recipe_file,
            filename="recipe.yaml",
            label="Fetch the recipe",
            button_type="success",
            width=CONTROLS - 40,
            stylesheets=[CONTROL_CSS],
        )
        self.files = pn.Column()
        self.how = self.text("", width=self.room.content - 40)
        self.controls[:] = [
            self.text("<h2>All results</h2>"),
            self.folder,
            self.text("<p>Figures as</p>"),
            self.formats,
            self.width,
            self.lines,
            self.button("Write the folder", self.write, kind="success", width=CONTROLS - 40),
            self.text("<h2>The recipe</h2>"),
            self.recipe,
            self.text(
                "<p class='hint'>All that these results depend on, painted traces too. Run on "
                "the command line it gives the same numbers.</p>",
                width=CONTROLS - 30,
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
        self.written = pn.Column(
            self.text_of, self.button("Take this recipe", self.take_recipe, width=160)
        )
        self.content[:] = [self.how, pn.Row(self.files, self.written)]

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
            self.how.object = "<p>Open a map first.</p>"
            self.files[:] = []
            self.written.visible = False
            return
        self.written.visible = True
        folder = self._destination()
        self._show_figures()
        put_text(self.text_of, self.session.recipe.to_yaml())
        self.text_of.param.update(
            width=min(760, self.room.content - 570), height=self.room.height - 160
        )
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
                    width=190,
                    stylesheets=[CONTROL_CSS],
                ),
                self.text(f"<p>{name}: {about}</p>", margin=(8, 8)),
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
        """Link the report, where the page has a server that can show it."""
        reports = self.page.reports
        if reports is None:
            return ""
        link = html.escape(reports.link(folder / REPORT))
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
