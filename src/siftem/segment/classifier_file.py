"""How a pixel classifier is kept on disk: settings and painted pixels, never a pickle.

The file is a NumPy .npz with the arrays ``description`` (JSON text), ``samples`` (painted
pixels x features, float32), ``labels`` (painted pixels), and ``traces_0``, ``traces_1``, ...
(the label images that were painted, one for each map). Reading it trains the
classifier again with the same seed, which takes a fraction of a second, gives the same
forest, and runs no code from the file.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, NamedTuple
from warnings import warn

import numpy as np

from siftem.errors import InputError, ReadError, SiftemWarning

#: What the description says it is, and the version of its layout.
FORMAT, FORMAT_VERSION = "siftem pixel classifier", 2
#: Up to this version the forest was scikit-learn's random one.
_RANDOM_FOREST = 1
#: Traces are mostly zeros and shrink to nothing: so many bytes are always believed.
_BELIEVED_BYTES, _BYTES_PER_STORED_BYTE = 2**29, 64


def write_classifier(
    path: str | Path,
    *,
    settings: Mapping[str, Any],
    names: tuple[str, ...],
    samples: np.ndarray,
    labels: np.ndarray,
    traces: Sequence[np.ndarray] = (),
) -> None:
    """Write what is needed to train a classifier again.

    Parameters
    ----------
    path : str or Path
        Must end in ``.npz``.
    settings : mapping
        Constructor parameters. A ``classifier`` among them must be one of scikit-learn's
        with plain parameters (numbers, text, lists).
    names : tuple of str
        Names of the features.
    samples : ndarray of shape (painted, n_features), float32
    labels : ndarray of shape (painted,), integer
    traces : sequence of ndarray (ny, nx), integer
        Label images, kept for the reader; training needs ``samples`` only.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise InputError(f"a classifier is saved as an .npz file, got {path.name!r}")
    plain = {
        name: _describe(value) if name == "classifier" else _plain(value)
        for name, value in settings.items()
    }
    description = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "scikit-learn": version_of("scikit-learn"),
        "settings": plain,
        "feature_names": list(names),
    }
    arrays: dict[str, Any] = {f"traces_{i}": painted for i, painted in enumerate(traces)}
    arrays.update(description=np.array(json.dumps(description)), samples=samples, labels=labels)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


class SavedClassifier(NamedTuple):
    """What a classifier's file holds.

    Attributes
    ----------
    settings : dict
        Constructor parameters, the classifier rebuilt.
    names : tuple of str
        Names of the features.
    samples : ndarray of shape (painted, n_features), float32
    labels : ndarray of shape (painted,), int64
    traces : tuple of ndarray (ny, nx), integer
        Label images; none in files that were written without them.
    """

    settings: dict[str, Any]
    names: tuple[str, ...]
    samples: np.ndarray
    labels: np.ndarray
    traces: tuple[np.ndarray, ...]


def read_classifier(path: str | Path) -> SavedClassifier:
    """Read what `write_classifier` wrote.

    Warns where what is trained again may differ from what was saved: a forest of an older
    siftem, or a classifier of another release of scikit-learn.

    Returns
    -------
    SavedClassifier
    """
    try:
        _refuse_bloated(Path(path))
        with np.load(path, allow_pickle=False) as file:
            description = json.loads(str(file["description"]))
            samples, labels = file["samples"], file["labels"]
            numbers = sorted(int(n.removeprefix("traces_")) for n in file if "traces_" in n)
            traces = tuple(file[f"traces_{i}"] for i in numbers)
        if description["format"] != FORMAT:
            raise ValueError("its description is of something else")
        version, written_by = int(description["version"]), str(description["scikit-learn"])
        settings, names = dict(description["settings"]), tuple(description["feature_names"])
        described = settings.pop("classifier")
        if samples.shape != (*labels.shape, len(names)):
            raise ValueError("its arrays do not fit each other")
    except FileNotFoundError as error:
        raise ReadError(f"there is no file {path}") from error
    except Exception as error:  # zipfile, zlib and NumPy raise several kinds on damage
        said = " ".join(str(error).split())[:80]
        raise ReadError(
            f"{path} is not a saved pixel classifier: {said or type(error).__name__}"
        ) from error
    if version > FORMAT_VERSION:
        raise ReadError(f"{path} was saved by a newer siftem: update siftem to read it")
    if described is None and version <= _RANDOM_FOREST:
        said = "by an older siftem, with another kind of forest: the probabilities will differ"
        warn(f"{path} was saved {said}", SiftemWarning, stacklevel=3)
    elif described is not None and _release(written_by) != _release(
        present := version_of("scikit-learn")
    ):
        warn(
            f"{path} was saved with scikit-learn {written_by}, this is {present}: "
            "the probabilities may differ slightly",
            SiftemWarning,
            stacklevel=3,
        )
    settings["classifier"] = None if described is None else _rebuild(described, path)
    return SavedClassifier(settings, names, samples, labels.astype(np.int64), traces)


def _refuse_bloated(path: Path) -> None:
    """Look at the sizes before the data: a small archive can fill the memory."""
    with zipfile.ZipFile(path) as packed:
        claimed = sum(item.file_size for item in packed.infolist())
    if claimed > max(_BELIEVED_BYTES, _BYTES_PER_STORED_BYTE * path.stat().st_size):
        raise ValueError(f"it claims {claimed / 1e9:.3g} GB in a few MB")


def _plain(value: Any) -> Any:
    """Turn NumPy scalars, tuples and sets into what JSON holds."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _describe(classifier: Any) -> dict[str, Any] | None:
    if classifier is None:
        return None
    name = type(classifier).__name__
    parameters = {key: _plain(value) for key, value in classifier.get_params(deep=False).items()}
    try:
        if _known_classifiers().get(name) is not type(classifier):
            raise TypeError(name)
        json.dumps(parameters)
    except TypeError:
        raise InputError(
            f"this {name} cannot be saved: only a scikit-learn classifier whose parameters are "
            "numbers, text or lists can; keep the traces and train again instead"
        ) from None
    return {"name": name, "parameters": parameters}


def _rebuild(described: Any, path: str | Path) -> Any:
    try:
        # Looked up among scikit-learn's own, so a file cannot make Python import anything.
        return _known_classifiers()[described["name"]](**described["parameters"])
    except (KeyError, TypeError) as error:
        raise ReadError(
            f"{path} asks for a classifier that this scikit-learn does not have: {error}"
        ) from error


def _known_classifiers() -> dict[str, type]:
    from sklearn.utils.discovery import all_estimators  # takes a second, and is seldom needed

    return dict(all_estimators(type_filter="classifier"))


def _release(version: str) -> list[str]:
    return version.split(".")[:2]
