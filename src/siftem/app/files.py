"""Files between the browser and the disk: maps that are sent, reports that are opened."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import param
from panel.custom import JSComponent
from tornado.web import RequestHandler, stream_request_body

from siftem.errors import InputError
from siftem.files.atomic import name_beside, replacing

#: Endings of what can be opened.
_NAMES = "hspy zspy emd bcf pts dm3 dm4 h5 hdf5 nxs rpl ser msa spx elid asw"
MAPS = tuple(f".{name}" for name in _NAMES.split())
RECIPES = (".yaml", ".yml")
#: Largest file that is taken from the browser, bytes; what must stay free on the disk.
_LARGEST, _FREE = 16 * 10**9, 10**9
#: Files that are listed as opened lately.
_MOST_RECENT = 8
_RECENT = "recent.json"
#: Folder, beside the sessions, of what came from the browser.
UPLOADS = "uploads"


class RecentFiles:
    """Files that were opened lately, the last first.

    Parameters
    ----------
    folder : Path
        In which they are listed.
    """

    def __init__(self, folder: Path) -> None:
        self._list, self._uploads = folder / _RECENT, folder / UPLOADS

    def found(self) -> list[Path]:
        """Return those that are still there."""
        try:
            names = json.loads(self._list.read_text(encoding="utf-8"))
            return [p for p in map(Path, names) if p.is_file() or p.suffix == ".zspy"]
        except (OSError, ValueError, TypeError):
            return []

    def add(self, path: Path) -> None:
        """Put a file first; where nothing can be written nothing is.

        What came from the browser is dated by it: see `SavedSessions.remove_uploads`.
        """
        names = [str(path), *(str(p) for p in self.found() if p != path)][:_MOST_RECENT]
        with contextlib.suppress(OSError, InputError):
            self._list.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with replacing(self._list) as draft:
                draft.write_text(json.dumps(names), encoding="utf-8")
            if path.parent == self._uploads:
                os.utime(path)


@stream_request_body
class Upload(RequestHandler):
    """Takes one file from the browser and writes it to the disk as it comes."""

    def initialize(self, folder: Path, largest: int = _LARGEST) -> None:
        """Take the folder, and the most bytes."""
        self._folder, self._largest = folder / UPLOADS, largest
        self._draft: Path | None = None
        self._file: BinaryIO | None = None
        self._refused = False

    def prepare(self) -> None:
        """Refuse what is too large or no map, before any of it is read."""
        name = Path(self.get_query_argument("name", "").replace("\\", "/")).name
        size = int(self.request.headers.get("Content-Length", "0"))
        # What is refused is read to its end all the same, so that the browser hears why.
        self.request.connection.set_max_body_size(10 * self._largest)
        suffix = Path(name).suffix.lower()
        if suffix not in (*MAPS, *RECIPES):
            self._refuse(415, f"the file {name} is no map that siftem reads by its ending")
        elif size > self._largest:
            self._refuse(
                413,
                f"the file {name} has {size / 1e9:.1f} GB, more than the "
                f"{self._largest / 1e9:g} GB that a browser may send: open it by its path",
            )
        else:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if size > shutil.disk_usage(self._folder).free - _FREE:
                self._refuse(507, f"there is no room for {name} on the disk of {self._folder}")
                return
            self._target = self._folder / name
            self._draft = name_beside(self._target, ".part")
            self._file = self._draft.open("xb")

    def data_received(self, chunk: bytes) -> None:
        """Write what has come."""
        if self._file is not None:
            self._file.write(chunk)

    def post(self) -> None:
        """Answer with the path of the file."""
        if self._file is None or self._draft is None:
            return
        self._file.close()
        target, n = self._target, 1
        while target.exists():
            n += 1
            target = self._target.with_stem(f"{self._target.stem}-{n}")
        self._draft.replace(target)
        self._file = self._draft = None
        self.write({"path": str(target)})

    def on_finish(self) -> None:
        """Leave nothing half."""
        self.on_connection_close()

    def on_connection_close(self) -> None:
        """Leave nothing half when the browser goes."""
        if self._file is not None and self._draft is not None:
            self._file.close()
            self._draft.unlink(missing_ok=True)
            self._file = self._draft = None

    def _refuse(self, status: int, why: str) -> None:
        self.set_status(status)
        self.finish({"error": why})


class Reports:
    """Reports that pages may open in a tab, each under a name that cannot be guessed."""

    def __init__(self) -> None:
        self._paths: dict[str, Path] = {}

    def link(self, path: Path) -> str:
        """Return the address of a report, the same as long as it is the same file."""
        for name, known in self._paths.items():
            if known == path:
                return f"report/{name}"
        name = secrets.token_urlsafe(12)
        self._paths[name] = path
        return f"report/{name}"

    def path(self, name: str) -> Path | None:
        """Return the file behind a name."""
        return self._paths.get(name)


class ShownReport(RequestHandler):
    """Gives a report to a tab of its own."""

    def initialize(self, reports: Reports) -> None:
        """Take the reports that there are."""
        self._reports = reports

    def get(self, name: str) -> None:
        """Answer with the report, or that it is not there."""
        path = self._reports.path(name)
        if path is None or not path.is_file():
            self.set_status(404)
            self.write("There is no such report any more: write the folder again.")
            return
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.write(path.read_bytes())


class DropZone(JSComponent):
    """A file is chosen, or dropped anywhere on the page, and sent to the app.

    Parameters
    ----------
    came : callable
        Called with the path of the file on the disk of the app.
    failed : callable
        Called with a sentence.
    """

    endings = param.String(default=",".join([*MAPS, *RECIPES]))

    _esm = """
    export function render({ model, el }) {
      const style = document.createElement("style")
      style.textContent = `
        label { display: block; margin: 2px 8px; padding: 8px; text-align: center;
          border: 1.5px dashed var(--siftem-line, #9a9aa0); border-radius: 4px; cursor: pointer;
          color: var(--siftem-ink, #1d1d1f);
          font: 13px "Segoe UI", "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; }
        label.over { border-color: #0072B2; background: var(--siftem-stripe, #eef4fa); }
        label:focus-within { outline: 3px solid #E69F00; }
        input { position: absolute; opacity: 0; width: 1px; height: 1px; }`
      const label = document.createElement("label"), input = document.createElement("input")
      const idle = "Drop a map here, or choose a file"
      const text = document.createElement("span")
      input.type = "file"
      input.accept = model.endings
      text.textContent = idle
      label.append(input, text)
      el.append(style, label)
      const send = (file) => {
        const request = new XMLHttpRequest()
        request.open("POST", "upload?name=" + encodeURIComponent(file.name))
        request.upload.addEventListener("progress", e => {
          text.textContent = `Sending ${file.name}: ${Math.round(100 * e.loaded / e.total)}%` })
        const end = (told) => { text.textContent = idle; model.send_msg(told) }
        request.addEventListener("load", () => {
          try { end(JSON.parse(request.responseText)) }
          catch { end({error: `${file.name} could not be sent`}) } })
        request.addEventListener("error", () => end({error: `${file.name} could not be sent`}))
        request.send(file)
      }
      input.addEventListener("change", () => {
        if (input.files.length) send(input.files[0])
        input.value = "" })
      const over = (e) => {
        if (!e.dataTransfer?.types.includes("Files")) return
        e.preventDefault()
        label.classList.add("over") }
      const away = () => label.classList.remove("over")
      const drop = (e) => {
        if (!e.dataTransfer?.files.length) return
        e.preventDefault()
        away()
        send(e.dataTransfer.files[0]) }
      const all = {dragover: over, dragleave: away, drop}
      for (const [name, does] of Object.entries(all)) document.addEventListener(name, does)
      model.on("remove", () => {
        for (const [name, does] of Object.entries(all)) document.removeEventListener(name, does) })
    }
    """

    def __init__(
        self, came: Callable[[str], None], failed: Callable[[str], None], **options: Any
    ) -> None:
        super().__init__(**options)
        self._came, self._failed = came, failed

    def _handle_msg(self, message: Any) -> None:
        if "path" in message:
            self._came(str(message["path"]))
        else:
            self._failed(str(message.get("error", "the file could not be sent")))
