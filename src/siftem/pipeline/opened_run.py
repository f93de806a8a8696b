"""A run's results back as objects, from the folder that it wrote."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from siftem import __version__
from siftem.errors import InputError, ReadError, SiftemWarning
from siftem.pipeline.file_names import file_names
from siftem.pipeline.results import RunResult
from siftem.pipeline.store import CLASSIFIER, MARK
from siftem.pipeline.stored_results import read_stored, rebuilt, write_stored
from siftem.segment.classifier import PixelClassifier

__all__ = ["RESULTS", "StoredClassifiers", "open_run", "write_run"]

#: All results of a run, in its folder.
RESULTS = "results.npz"
_FORMAT, _VERSION = "siftem run", 1


class StoredClassifiers(Mapping[str, PixelClassifier]):
    """The classifiers of a run, each trained again when somebody asks for it.

    Parameters
    ----------
    folder : Path
        Of the run.
    names : tuple of str
        Grains.
    """

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self._folder, self._files = folder / CLASSIFIER, file_names(names)
        self._read: dict[str, PixelClassifier] = {}

    def __getitem__(self, name: str) -> PixelClassifier:
        if name not in self._read:
            self._read[name] = PixelClassifier.load(self._folder / f"{self._files[name]}.npz")
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def write_run(result: RunResult, folder: Path) -> None:
    """Write all results of a run to ``results.npz``, for `open_run`.

    Of a map that stayed on disk the counts are not written, but their sums.

    Parameters
    ----------
    result : RunResult
    folder : Path
        Of the run, with its classifiers.
    """
    about = {
        "format": _FORMAT,
        "version": _VERSION,
        "siftem": __version__,
        "classifiers": list(result.classifiers),
    }
    with (folder / RESULTS).open("wb") as file:
        write_stored(file, about, replace(result, classifiers={}))


def open_run(folder: str | os.PathLike[str]) -> RunResult:
    """Give the results of a finished run back, computing nothing.

    Parameters
    ----------
    folder : path-like
        That ``siftem run`` or `siftem.write_results` has written.

    Returns
    -------
    RunResult
        The same numbers, bit for bit: `siftem.write_results` writes the same
        ``summary.json`` again. Of a map that stayed on disk (``siftem run --memory``) it holds
        the sums of the counts over pixels and over channels; what needs more is refused.

    Raises
    ------
    ReadError
        When there is no run, none with its results, or they are damaged.

    Warns
    -----
    SiftemWarning
        When another version of siftem made them.

    Examples
    --------
    >>> result = siftem.open_run("siftem-demo")  # doctest: +SKIP
    >>> result.to_pandas()  # doctest: +SKIP
    """
    folder = Path(folder)
    if not (folder / MARK).is_file():
        raise ReadError(f"{folder} is not the folder of a run: there is no {MARK} in it")
    path = folder / RESULTS
    if not path.is_file():
        raise ReadError(
            f"{folder} holds no {RESULTS}, as those of a batch and of earlier versions: "
            f"run its recipe.yaml again, or read its spectra, maps and {MARK}"
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            about = read_stored(file)
            if (about["format"], about["version"]) != (_FORMAT, _VERSION):
                raise InputError("another format")
            result: RunResult = rebuilt(about, file)
            names = tuple(str(name) for name in about["classifiers"])
    # zipfile, zlib, NumPy and JSON raise a dozen kinds on damage.
    except Exception as error:
        raise ReadError(
            f"{path} is damaged or of another version ({error or type(error).__name__}): run "
            f"{folder / 'recipe.yaml'} again"
        ) from None
    if about["siftem"] != __version__:
        warnings.warn(
            f"{folder} was made by siftem {about['siftem']}, this is {__version__}",
            SiftemWarning,
            stacklevel=2,
        )
    return replace(result, classifiers=StoredClassifiers(folder, names))
