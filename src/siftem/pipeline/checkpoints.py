"""Results of slow steps on disk: arrays and JSON in one .npz, written whole or not at all."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from siftem.errors import SiftemError
from siftem.io.atomic import replacing
from siftem.pipeline.stored_results import read_stored, rebuilt, write_stored

_FORMAT, _VERSION = "siftem checkpoint", 2


def write_checkpoint(
    folder: Path,
    step: str,
    key: str,
    result: Any,
    warnings: tuple[str, ...],
    doubts: tuple[str, ...] = (),
) -> None:
    """Write the result of a step to ``<folder>/<step>.npz``.

    Parameters
    ----------
    folder : Path
        Made when it is not there.
    step, key : str
    result : dataclass of arrays, numbers, text and the like
    warnings : tuple of str
    doubts : tuple of str
        Those of them that put a number in doubt.

    Raises
    ------
    SiftemError
        When it can't be written, such as on a full disk; what was there stays.
    """
    about = {
        "format": _FORMAT,
        "version": _VERSION,
        "key": key,
        "warnings": list(warnings),
        "doubts": list(doubts),
    }
    path = folder / f"{step}.npz"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as draft, draft.open("wb") as file:
            write_stored(file, about, result)
    except OSError as error:
        raise SiftemError(f"cannot write {path}: {error.strerror or error}") from None


def read_checkpoint(
    folder: Path, step: str, key: str
) -> tuple[Any, tuple[str, ...], tuple[str, ...]] | None:
    """Read the result of a step, its warnings and doubts; None when none has this key.

    A file that is damaged or of another version counts as none: the step is done again.
    """
    path = folder / f"{step}.npz"
    # zipfile, zlib, NumPy and JSON raise a dozen kinds on damage.
    with contextlib.suppress(Exception), np.load(path, allow_pickle=False) as file:
        about = read_stored(file)
        known = (about["format"], about["version"], about["key"])
        if known == (_FORMAT, _VERSION, key):
            return rebuilt(about, file), tuple(about["warnings"]), tuple(about["doubts"])
    return None
