"""The folder of a run: written whole or not at all, and read back as objects."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from siftem import __version__
from siftem.decomposition.layout import MIXED
from siftem.errors import InputError, ReadError, SiftemError, SiftemWarning
from siftem.files.atomic import left_beside, name_beside, refusals_told
from siftem.io.exchange import write_emsa
from siftem.io.hyperspy_export import write_maps
from siftem.io.imagej_rois import write_rois
from siftem.io.images import write_label_image, write_regions, write_values
from siftem.pipeline.file_contents import file_names
from siftem.pipeline.layout import PhaseMap
from siftem.pipeline.mass_thickness import film_map
from siftem.pipeline.parts import attempted
from siftem.pipeline.results import RunResult
from siftem.pipeline.stored_results import read_stored, rebuilt, write_stored
from siftem.pipeline.summary import spectrum_files
from siftem.segment.classifier import PixelClassifier
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.unmixed import Unmixed

#: By this file a folder is known to be siftem's, so that it may be replaced.
MARK = "summary.json"
#: Folder with the classifier of each grain, which other runs may use.
CLASSIFIER = "classifier"
#: Keys of all steps, by which a run is known to be that of a recipe.
KEYS = "keys.json"
#: Endings of hidden folders beside that of a run, while it is written.
_DRAFT, _OLD = ".draft", ".old"
#: Label of mixed pixels in the phase map.
_MIXED = 255


def check_destination(folder: str | Path) -> Path:
    """Return the folder, absolute, if a run may write there, before any work is done.

    Raises
    ------
    InputError
        When it is a file, lies in one or where nothing may be written, can't be a name, or is a
        folder with other things in it.
    """
    try:
        folder = Path(folder).absolute()
    except OSError:
        raise InputError(
            "the folder that this runs in is gone: change to one that is there"
        ) from None
    with refusals_told(f"in {folder}"):
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file: choose another output folder")
        if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).exists():
            raise InputError(
                f"{folder} holds files that are not a run of siftem: choose another output folder"
            )
        above = next(parent for parent in folder.parents if parent.exists())
        if not above.is_dir():
            raise InputError(f"{above} is a file: choose another output folder than {folder}")
    if not os.access(above, os.W_OK):
        raise InputError(f"cannot write in {above}: Permission denied")
    return folder


@contextmanager
def whole_folder(folder: str | Path) -> Iterator[Path]:
    """Give a temporary folder that takes the place of ``folder`` when all went well.

    An earlier run in ``folder`` is replaced as a whole; when anything fails it stays as it
    was, and nothing half-written is left. What a killed run left is tidied up by the next.

    Warns
    -----
    SiftemWarning
        When a run was killed while it wrote there: its draft is removed, and the earlier results
        are put back where they were.
    """
    folder = check_destination(folder)
    draft, old = name_beside(folder, _DRAFT), name_beside(folder, _OLD)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        tidy_up(folder)
        draft.mkdir()
        yield draft
        if folder.exists():
            folder.replace(old)
        draft.replace(folder)
    except OSError as error:
        raise SiftemError(f"cannot write {folder}: {error.strerror or error}") from None
    finally:
        if old.exists() and not folder.exists():
            old.replace(folder)
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def tidy_up(folder: Path) -> None:
    """Put back the results, and remove the drafts, of runs that were killed while they wrote.

    Parameters
    ----------
    folder : Path
        Where results are written; absolute.

    Warns
    -----
    SiftemWarning
        When there was anything to do.
    """
    done = []
    for old in left_beside(folder, _OLD):
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.replace(folder)
            done.append("the earlier results are back in their place")
    for draft in left_beside(folder, _DRAFT):
        shutil.rmtree(draft, ignore_errors=True)
        done.append("its draft is removed")
    if done:
        warnings.warn(
            f"a run was killed while it wrote {folder}: {' and '.join(dict.fromkeys(done))}",
            SiftemWarning,
            stacklevel=3,
        )


def write_data(result: RunResult, folder: Path) -> None:
    """Write recipe, spectra, maps, regions and phase map of a run.

    Parameters
    ----------
    result : RunResult
    folder : Path
        Exists and is empty.
    """
    (folder / "recipe.yaml").write_text(result.recipe.to_yaml(), encoding="utf-8")
    si = result.spectrum_image
    (folder / "spectra").mkdir()
    files = spectrum_files(result)
    unmixed = {} if result.unmixed is None else result.unmixed.spectra
    of_unmixing = {f"{n}_unmixed": s for n, s in unmixed.items()}
    for name, spectrum in {**result.spectra, **result.pure, **of_unmixing}.items():
        _written(files[name], write_emsa, folder / files[name], spectrum, si.acquisition)
    if result.unmixed is not None:
        _written("unmixed.hspy", _write_unmixed, result.unmixed, si, folder)
    classifiers = file_names(result.classifiers)
    for grain, classifier in result.classifiers.items():
        (folder / CLASSIFIER).mkdir(exist_ok=True)
        classifier.save(folder / CLASSIFIER / f"{classifiers[grain]}.npz")
    factors = result.factors
    maps = (folder / "maps.hspy", factors.maps, factors.spectra, factors.names, si)
    _written("maps.hspy", write_maps, *maps)
    regions = result.segmentation.regions
    every = {f"mask {g}": regions.mask(g).mask for g in regions.names}
    every.update({name: region.mask for name, region in regions.as_dict().items()})
    _written("regions.tif", write_regions, folder / "regions.tif", every, si.pixel_size)
    _written("regions.zip", write_rois, folder / "regions.zip", every)
    film = film_map(result)
    if film is not None:
        images = {"mass thickness, kg/m2": film.mass, "standard deviation": film.sigma}
        path = folder / "mass_thickness.tif"
        _written(path.name, write_values, path, images, si.pixel_size)
    labels = _saved_labels(result.phase_map)
    _written("phase_map.tif", write_label_image, folder / "phase_map.tif", labels, si.pixel_size)


def _written(name: str, write: Callable[..., object], *arguments: object) -> None:
    """Write a file, or say why it is missing; what the disk refuses ends the run."""
    attempted(name, partial(write, *arguments), None)


def _saved_labels(phases: PhaseMap) -> np.ndarray:
    """Phases from 1 on, 0 for vacuum; mixed is 255, or 65535 with more phases than that."""
    mixed = _MIXED if len(phases.names) < _MIXED else 2**16 - 1
    return np.where(phases.labels == MIXED, mixed, phases.labels + 1)


def _write_unmixed(unmixed: Unmixed, si: SpectrumImage, folder: Path) -> None:
    """Write maps (NaN in pixels that took no part) and spectra, zero outside the fitted range."""
    spectra = np.zeros((len(unmixed.names), si.n_channels))
    for row, name in zip(spectra, unmixed.names, strict=True):
        found = unmixed.spectra[name]
        start = round((found.axis.offset - si.axis.offset) / si.axis.scale)
        row[start : start + found.axis.size] = found.values / found.values.sum()
    write_maps(folder / "unmixed.hspy", unmixed.maps, spectra, unmixed.names, si)
    write_maps(folder / "unmixed_sigma.hspy", unmixed.maps_sigma, spectra, unmixed.names, si)


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
