"""Results as arrays and JSON in one .npz: nothing in it is run, no other kinds are made of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import scipy.sparse as sp
import yaml

from siftem.acquisition import Acquisition
from siftem.decomposition.factors import Factors
from siftem.decomposition.identify import Indeterminacy
from siftem.decomposition.layout import Lies, PhaseLayout
from siftem.decomposition.neighbours import Near
from siftem.decomposition.rank import Kinds, RankChoice
from siftem.decomposition.support import Below
from siftem.eels.edges import Edge, EdgeSignal
from siftem.eels.ratios import ElementalRatios
from siftem.energy_axis import EnergyAxis
from siftem.errors import SiftemError
from siftem.files.atomic import replacing
from siftem.fit.line_fit import LineFit
from siftem.fit.misfit import Misfit
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.large.disk_images import let_go
from siftem.large.rows_of_counts import BlockedCounts, CountSums, LeftCounts
from siftem.pipeline.open_scales import OpenScale
from siftem.pipeline.recipe import Recipe, make_recipe
from siftem.pipeline.results import Decomposed, LineGain, RunResult, Segmentation, Truth
from siftem.quantification.composition import Composition
from siftem.quantification.film import AbsorbingFilm, Film
from siftem.quantification.k_values import KValues
from siftem.quantification.line_ratios import LineRatios
from siftem.quantification.minerals import Quantity
from siftem.quantification.partition import PartitionCoefficient
from siftem.segment.regions import Region, Regions
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.scale_range import ScaleRange
from siftem.unmixing.subtract import PureSpectrum, Subtracted
from siftem.unmixing.unmixed import Unmixed
from siftem.xray.detector import Detector
from siftem.xray.lines import Line, LineFamily

_FORMAT, _VERSION = "siftem checkpoint", 2

#: What may be in such a file: nothing else is ever made from one.
_KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        AbsorbingFilm, Acquisition, Below, Calibration, Composition, CountSums, Decomposed,
        Detector, Edge, EdgeSignal, ElementalRatios, EnergyAxis, Factors, Film, Indeterminacy,
        Kinds, KValues, Lies, Line, LineFamily, LineFit, LineGain, LineRatios, Misfit, Near,
        OpenScale, PartitionCoefficient, PhaseLayout, PureSpectrum, Quantity, RankChoice, Region,
        Regions, RunResult, ScaleRange, Segmentation, Spectrum, SpectrumImage, SpectrumModel,
        Subtracted, Truth, Unmixed,
    )
}  # fmt: skip


class _Arrays:
    """Arrays that are put aside under a name each, the same array once."""

    def __init__(self) -> None:
        self.named: dict[str, np.ndarray] = {}
        self._known: dict[int, str] = {}

    def add(self, array: np.ndarray) -> str:
        name = self._known.setdefault(id(array), f"array{len(self.named)}")
        self.named[name] = array
        return name


def write_stored(file: BinaryIO, about: Mapping[str, Any], result: Any) -> None:
    """Write a result with what is to be known of it before it is read.

    Parameters
    ----------
    file : binary file
    about : mapping of str to plain data
    result : dataclass of arrays, numbers, text and the like

    Raises
    ------
    TypeError
        When the result holds anything else.
    """
    arrays = _Arrays()
    text = json.dumps({**about, "result": _plain(result, arrays)})
    # Whole numbers shrink to a fifth, and hardly more by longer work; floats do not.
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in {"about": np.array(text), **arrays.named}.items():
            packed = array.dtype.kind in "iubU"
            member = f"{name}.npy"
            with archive.open(
                member if packed else zipfile.ZipInfo(member), "w", force_zip64=True
            ) as out:
                np.lib.format.write_array(out, np.asanyarray(array), allow_pickle=False)
            let_go(array)


def read_stored(file: Any) -> dict[str, Any]:
    """Return what `write_stored` has written about a result, the result still as plain data.

    Parameters
    ----------
    file : NpzFile
        Opened with ``allow_pickle=False``.
    """
    about: dict[str, Any] = json.loads(str(file["about"]))
    return about


def rebuilt(about: Mapping[str, Any], file: Any) -> Any:
    """Return the result itself, from what `read_stored` returned and the same file."""
    return _rebuilt(about["result"], file, {})


def _plain(value: Any, arrays: _Arrays) -> Any:
    """Turn a result into JSON, its arrays put aside under numbers."""
    if value is None or type(value) in (bool, int, float, str):  # nearly all of it
        return value
    if isinstance(value, np.ndarray):
        return {"array": arrays.add(value)}
    if isinstance(value, sp.csr_array):
        parts = [arrays.add(part) for part in (value.data, value.indices, value.indptr)]
        return {"sparse": parts, "shape": list(value.shape)}
    if isinstance(value, BlockedCounts):
        return {"left": _plain(CountSums.of(value), arrays)}
    if isinstance(value, Recipe):
        return {"recipe": value.to_yaml()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = type(value).__name__
        if _KINDS.get(kind) is not type(value):
            raise TypeError(f"a stored result can't hold a {kind}")
        fields = [f.name for f in dataclasses.fields(value) if f.init]
        return {"kind": kind, "fields": {f: _plain(getattr(value, f), arrays) for f in fields}}
    if isinstance(value, Mapping):
        return {"mapping": [[k, _plain(v, arrays)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_plain(v, arrays) for v in value]}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (int, float, str)):
        return value
    raise TypeError(f"a stored result can't hold a {type(value).__name__}")


def _rebuilt(value: Any, file: Any, known: dict[str, np.ndarray]) -> Any:
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return _array(value["array"], file, known)
    if "sparse" in value:
        parts = [_array(name, file, known) for name in value["sparse"]]
        return sp.csr_array(tuple(parts), shape=tuple(value["shape"]))
    if "left" in value:
        return LeftCounts(_rebuilt(value["left"], file, known))
    if "recipe" in value:
        return make_recipe(yaml.safe_load(value["recipe"]), stored=True)
    if "mapping" in value:
        return {k: _rebuilt(v, file, known) for k, v in value["mapping"]}
    if "tuple" in value:
        return tuple(_rebuilt(v, file, known) for v in value["tuple"])
    fields = {k: _rebuilt(v, file, known) for k, v in value["fields"].items()}
    return _KINDS[value["kind"]](**fields)


def _array(name: str, file: Any, known: dict[str, np.ndarray]) -> np.ndarray:
    if name not in known:
        known[name] = file[name]
    return known[name]


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
