"""Sessions on disk: what a reload, a closed window or a killed server would lose.

Each session has a folder with its recipe (traces are in it) and state as JSON, and the results of
slow steps as arrays; nothing in it is ever run.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siftem.app.files import UPLOADS
from siftem.datasets import cache_folder
from siftem.errors import SiftemError
from siftem.files.atomic import replacing
from siftem.pipeline.recipe import Recipe, make_recipe
from siftem.pipeline.road import STEPS
from siftem.pipeline.workflow import Workflow

#: What a step of the pipeline means to the user.
_WORDS = {
    "match": "decomposed",
    "regions": "regions cut",
    "spectra": "subtracted",
    "composition": "quantified",
}
#: Names the folder of all sessions, in place of the one among the user's data.
FOLDER_VARIABLE = "SIFTEM_SESSIONS"
_FORMAT, _VERSION = "siftem session", 1
_STATE, _OWNER = "session.json", "owner"
#: Sessions and bytes that are kept; the latest always is.
_MOST, _MOST_BYTES = 10, 2 * 10**9
#: Seconds that a file from the browser is kept after it was opened, when no session needs it.
_UPLOAD_KEPT = 24 * 3600.0
#: Bytes of a state that is read: thousands of strokes take some.
_LONGEST = 10**8
#: Files of a session: nothing else is ever removed.
_FILES = ("*.npz", _STATE, _OWNER, ".*.part*")


@dataclass(frozen=True, eq=False)
class SavedSession:
    """A session as it was left.

    Parameters
    ----------
    folder : Path
    saved : datetime
        When it was last kept, UTC.
    title : str
        Name of its map.
    about : str
        What was done, in a few words.
    until : str
        The last step of the pipeline that was done.
    shown : int
        The step of the page that was in front, from 0.
    recipe : Recipe
    """

    folder: Path
    saved: dt.datetime
    title: str
    about: str
    until: str
    shown: int
    recipe: Recipe

    def age(self, now: dt.datetime | None = None) -> str:
        """Say how long ago it was kept, such as "10 minutes ago"."""
        now = now or dt.datetime.now(dt.UTC)
        minutes = int((now - self.saved).total_seconds() // 60)
        for size, name in ((60 * 24, "day"), (60, "hour"), (1, "minute")):
            if minutes >= size:
                n = minutes // size
                return f"{n} {name}{'' if n == 1 else 's'} ago"
        return "a moment ago"


class SavedSessions:
    """The sessions that a user can go on with.

    Parameters
    ----------
    folder : Path, optional
        By default ``sessions`` among the user's data, or what SIFTEM_SESSIONS names.
    """

    def __init__(self, folder: Path | None = None) -> None:
        named = os.environ.get(FOLDER_VARIABLE)
        self.folder = folder or (Path(named) if named else cache_folder() / "sessions")

    def new_folder(self) -> Path:
        """Return the folder of a new session, which is made when it is first written."""
        return self.folder / f"{dt.datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"

    def found(self) -> list[SavedSession]:
        """Return what can be gone on with, the latest first; what is damaged is left out."""
        read = [found for path in self._folders() if (found := _read(path)) is not None]
        return sorted(read, key=lambda s: s.saved, reverse=True)

    def forget(self, session: SavedSession) -> None:
        """Remove a session from the disk."""
        if session.folder.parent == self.folder:
            _remove(session.folder)

    def remove_uploads(self) -> str:
        """Remove files from the browser that no session needs, a day after they were opened.

        Returns
        -------
        str
            What was removed, in a sentence; empty when nothing was.
        """
        needed = {Path(s.recipe.input.file or "") for s in self.found()}
        latest = dt.datetime.now().timestamp() - _UPLOAD_KEPT
        names, size = [], 0
        with contextlib.suppress(OSError):
            for path in sorted((self.folder / UPLOADS).iterdir()):
                told = path.stat()
                if path.is_file() and path not in needed and told.st_mtime < latest:
                    path.unlink()
                    names.append(path.name)
                    size += told.st_size
        if not names:
            return ""
        copies, them = ("A copy", "it") if len(names) == 1 else ("Copies", "them")
        return (
            f"{copies} of {', '.join(names)} ({size / 1e6:,.1f} MB), sent from the browser, went "
            f"from the disk: no session needs {them} any more."
        )

    def prune(self) -> None:
        """Remove the oldest sessions beyond the most that are kept."""
        total = 0
        for n, session in enumerate(self.found()):
            total += sum(p.stat().st_size for p in session.folder.glob("*.npz"))
            if n >= _MOST or (n and total > _MOST_BYTES):
                self.forget(session)

    def _folders(self) -> list[Path]:
        try:
            return [p for p in self.folder.iterdir() if (p / _STATE).is_file()]
        except OSError:
            return []


class Keeper:
    """Keeps one session on disk, off the event loop; of several changes the last is written.

    Who goes on with a session owns it: another page that still has it open keeps its own state in
    a new folder from then on, so that neither loses anything.

    Parameters
    ----------
    sessions : SavedSessions
    folder : Path
    state : callable
        Returns what is written, plain data, or None as long as there is nothing worth it.
    failed : callable
        Called once, in a thread, with a sentence when nothing can be written.
    moved : callable
        Called, in a thread, with another folder when somebody else goes on with this one.
    """

    def __init__(
        self,
        sessions: SavedSessions,
        folder: Path,
        state: Callable[[], Mapping[str, Any] | None],
        failed: Callable[[str], None],
        moved: Callable[[Path], None],
    ) -> None:
        self.folder = folder
        self._sessions, self._state = sessions, state
        self._failed, self._moved = failed, moved
        self._owner = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._dirty = self._told = self._closed = False
        self._thread: threading.Thread | None = None

    def take(self) -> None:
        """Own the folder from now on."""
        with contextlib.suppress(OSError, SiftemError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write_owner()

    def changed(self) -> None:
        """Write the present state soon."""
        with self._lock:
            if self._closed:
                return
            self._dirty = True
            if self._thread is not None and self._thread.is_alive():
                return
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write what is still to be written, and nothing after that."""
        with self._lock:
            self._closed = True
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(10)

    def wait(self) -> None:
        """Wait until all is written."""
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._dirty:
                    self._thread = None
                    return
                self._dirty = False
            try:
                state = self._state()
                if state is not None:
                    self._write(state)
            except (OSError, SiftemError) as error:
                if not self._told:
                    self._told = True
                    reason = getattr(error, "strerror", None) or str(error)
                    self._failed(f"Your work is not kept for later: {reason}.")

    def _write(self, state: Mapping[str, Any]) -> None:
        new = not self.folder.is_dir()
        if not new and not self._owned():
            before, self.folder = self.folder, self._sessions.new_folder()
            self.folder.mkdir(mode=0o700, parents=True)
            for path in before.glob("*.npz"):
                shutil.copyfile(path, self.folder / path.name)
            self._moved(self.folder)
            new = True
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if new or not (self.folder / _OWNER).exists():
            self.folder.chmod(0o700)  # the first result may have made it
            self._write_owner()
            self._sessions.prune()
        now = dt.datetime.now(dt.UTC).isoformat()
        data = {"format": _FORMAT, "version": _VERSION, "saved": now, **state}
        with replacing(self.folder / _STATE) as draft:
            draft.write_text(json.dumps(data), encoding="utf-8")

    def _owned(self) -> bool:
        path = self.folder / _OWNER
        return not path.exists() or path.read_text(encoding="ascii") == self._owner

    def _write_owner(self) -> None:
        with replacing(self.folder / _OWNER) as draft:
            draft.write_text(self._owner, encoding="ascii")


def session_state(workflow: Workflow, shown: int) -> dict[str, Any]:
    """Return what is kept of a session, plain data: see `SavedSession`."""
    recipe = workflow.recipe
    until = next((s for s in reversed(STEPS) if workflow.done(s)), "prepare")
    return {
        "title": input_name(recipe),
        "about": work_done(recipe, until),
        "until": until,
        "shown": shown,
        "recipe": recipe.model_dump(mode="json", exclude_none=True),
    }


def input_name(recipe: Recipe) -> str:
    """Return what the map of a recipe is called in the list of sessions."""
    source = recipe.input
    if source.file is not None:
        return Path(source.file).name
    if source.demo is not None:
        return "the demo, {} × {} pixels".format(*source.demo.shape)
    return f"the example {source.example}"


def work_done(recipe: Recipe, until: str) -> str:
    """Say in a few words what was done in a session."""
    done = [words for step, words in _WORDS.items() if STEPS.index(step) <= STEPS.index(until)]
    painted = ["painted"] if recipe.segment.traces else []
    return "; ".join([", ".join(recipe.phases) or "no phases yet", *painted, *done[-1:]])


def _read(folder: Path) -> SavedSession | None:
    path = folder / _STATE
    try:
        if path.stat().st_size > _LONGEST:
            return None
        data = json.loads(path.read_text(encoding="utf-8"))
        if (data["format"], data["version"]) != (_FORMAT, _VERSION) or data["until"] not in STEPS:
            return None
        return SavedSession(
            folder=folder,
            saved=dt.datetime.fromisoformat(data["saved"]).astimezone(dt.UTC),
            title=str(data["title"]),
            about=str(data["about"]),
            until=data["until"],
            shown=int(data["shown"]),
            recipe=make_recipe(data["recipe"], stored=True),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SiftemError):
        return None


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for pattern in _FILES:
            for path in folder.glob(pattern):
                path.unlink(missing_ok=True)
        folder.rmdir()
