"""Blocks of the manual that are run when it is built, so that what is written works.

    ```{run} shell            ```{run} python
    siftem demo --out demo    import siftem
    ```                       ```

    ```{run} file recipe.yaml
    elements: [O, Mg]          # written into the working folder, and shown
    ```

Blocks of one page share a working folder, and Python blocks share their names. Output follows
the block; open matplotlib figures follow Python. A command that fails stops the build, and so does
one that only Unix shells know: readers type it in PowerShell, too.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from only_unix import ONLY_UNIX
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

#: Folder of pictures that blocks made, inside the sources, where Sphinx looks for them.
PICTURES = "_run"
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Run(SphinxDirective):
    """Run the content and show it with its output.

    Options: ``hide-output``; ``last`` (show only so many last lines of output); ``show`` (files
    that the block made, pictures, one a line); ``alt`` and ``width`` for them.
    """

    has_content = True
    required_arguments = 1
    optional_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {
        "hide-output": directives.flag,
        "last": directives.positive_int,
        "show": directives.unchanged,
        "alt": directives.unchanged,
        "width": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        """Return the code, its output and its pictures."""
        language = self.arguments[0]
        code = "\n".join(self.content)
        folder = self._folder()
        if language == "shell":
            output, pictures = self._shell(code, folder), []
        elif language == "python":
            output, pictures = self._python(code, folder)
        elif language == "file" and len(self.arguments) == 2:
            name = Path(self.arguments[1]).name
            (folder / name).write_text(code + "\n", encoding="utf-8")
            caption = nodes.paragraph("", "", nodes.strong(name, name), classes=["file-name"])
            kind = Path(name).suffix.removeprefix(".") or "text"
            return [caption, nodes.literal_block(code, code, language=kind)]
        else:
            raise self.error(f"a run block is shell, python or a file, not {language!r}")
        block = nodes.literal_block(
            code, code, language="bash" if language == "shell" else language
        )
        out: list[nodes.Node] = [block]
        lines = _CONTROL.sub("", output).replace(str(folder), ".").strip("\n").splitlines()
        lines = [line.split("\r")[-1].rstrip() for line in lines]
        last = self.options.get("last")
        if last and len(lines) > last:
            lines = ["...", *lines[-last:]]
        if lines and "hide-output" not in self.options:
            text = "\n".join(lines)
            box = nodes.container(classes=["run-output"])
            box += nodes.literal_block(text, text, language="text")
            out.append(box)
        shown = [folder / name for name in self.options.get("show", "").split()]
        for number, file in enumerate([*pictures, *shown]):
            out.append(self._picture(file, number))
        return out

    def _folder(self) -> Path:
        folders = self.env.app.run_folders  # type: ignore[attr-defined]
        page = self.env.docname
        if page not in folders:
            folders[page] = Path(tempfile.mkdtemp(prefix="siftem-manual-"))
        return folders[page]

    def _shell(self, code: str, folder: Path) -> str:
        found = ONLY_UNIX.search(code)
        if found:
            raise self.error(f"PowerShell does not know {found.group()!r}:\n{code}")
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "92",
            "NO_COLOR": "1",
            "TERM": "dumb",
            "PYTHONWARNINGS": "ignore",
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", code],
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise self.error(f"the command failed:\n{code}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def _python(self, code: str, folder: Path) -> tuple[str, list[Path]]:
        import matplotlib.pyplot as plt

        names = self.env.temp_data.setdefault("run_names", {"__name__": "__manual__"})
        output = io.StringIO()
        before = Path.cwd()
        plt.close("all")
        try:
            os.chdir(folder)
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
                exec(compile(code, self.env.docname, "exec"), names)
        except Exception:
            raise self.error(f"the block failed:\n{code}\n{traceback.format_exc()}") from None
        finally:
            os.chdir(before)
        pictures = []
        for number in plt.get_fignums():
            file = folder / f"figure-{self.env.new_serialno('run')}.png"
            plt.figure(number).savefig(file, dpi=110, bbox_inches="tight")
            pictures.append(file)
        plt.close("all")
        return output.getvalue(), pictures

    def _picture(self, file: Path, number: int) -> nodes.image:
        if not file.is_file():
            raise self.error(f"the block made no {file.name}")
        serial = self.env.new_serialno("picture")
        name = f"{self.env.docname.replace('/', '-')}-{serial}-{number}-{file.name}"
        target = Path(self.env.srcdir) / PICTURES / name
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, target)
        image = nodes.image(uri=f"/{PICTURES}/{name}", alt=self.options.get("alt", file.stem))
        if "width" in self.options:
            image["width"] = self.options["width"]
        return image


def _clean(app: Sphinx, _exception: Exception | None) -> None:
    for folder in app.run_folders.values():  # type: ignore[attr-defined]
        shutil.rmtree(folder, ignore_errors=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.run_folders = {}  # type: ignore[attr-defined]
    app.add_directive("run", Run)
    app.connect("build-finished", _clean)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
