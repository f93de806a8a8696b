"""A first look at HDF5 files from another process: the library can loop or crash on damage."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

from siftem.errors import ReadError
from siftem.files import hdf5_walk

#: Processor time that a small file may take (some milliseconds do), and bytes for each further
#: second; a busy machine may need longer, and where the system can't limit processor time this
#: counts instead.
_SECONDS, _BYTES_PER_SECOND = 3.0, 10_000_000
_TIMES_BUSY, _SECONDS_TO_START = 20, 60.0
_lock = threading.Lock()
_looker: _Looker | None = None
_fine: dict[str, tuple[int, int]] = {}


class _NoAnswer(Exception):
    pass


class _Looker:
    """The other process; it ends with this one, whose end closes its standard input."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        # -P: the modules beside the script are no top-level ones.
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(hdf5_walk.__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # Ctrl-C is for this process, which then ends the other one.
            start_new_session=os.name == "posix",
        )
        self.answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        atexit.register(self.end)
        self._answer(_SECONDS_TO_START)

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.answers.put(line)
        self.answers.put("")

    def ask(self, path: str, seconds: float) -> str:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it has ended
            self.process.stdin.write(json.dumps([path, seconds]) + "\n")
            self.process.stdin.flush()
        return self._answer(_TIMES_BUSY * seconds)

    def _answer(self, seconds: float) -> str:
        try:
            line = self.answers.get(timeout=seconds)
        except queue.Empty:
            line = ""
        if not line:
            raise _NoAnswer
        return str(json.loads(line))

    def end(self) -> None:
        if self.owner != os.getpid():
            return
        atexit.unregister(self.end)
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            for stream in (self.process.stdin, self.process.stdout):
                if stream is not None:
                    stream.close()


def refuse_endless_hdf5(file: Path) -> None:
    """Refuse an HDF5 file over which the library loops for ever or crashes.

    Nothing can stop it in this process, not even SIGTERM. A file is looked at once as long as its
    size and time stay the same.

    Parameters
    ----------
    file : Path

    Raises
    ------
    ReadError
    """
    global _looker
    state = (file.stat().st_size, file.stat().st_mtime_ns)
    place = str(file.absolute())
    with _lock:
        if _fine.get(place) == state:
            return
        if _looker is None or _looker.owner != os.getpid():
            try:
                _looker = _Looker()
            except (OSError, _NoAnswer):  # no further process is allowed: read on as one must
                return
        seconds = _SECONDS + state[0] / _BYTES_PER_SECOND
        try:
            wrong = _looker.ask(place, seconds)
        except BaseException as error:
            _looker.end()
            _looker = None
            if not isinstance(error, _NoAnswer):
                raise
            wrong = "the HDF5 library loops for ever or crashes over it"
        if not wrong:
            _fine[place] = state
    if wrong:
        raise ReadError(f"cannot read {file}: {wrong}, so it is damaged")
