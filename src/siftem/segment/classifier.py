"""A pixel classifier trained on a few painted traces.

Its settings go by name, as those of scikit-learn's estimators do, whose import takes a second.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy.special import xlogy

from siftem.errors import InputError
from siftem.large.disk_images import converted
from siftem.segment.classifier_file import read_classifier, write_classifier
from siftem.segment.features import (
    LARGEST_WHOLE,
    FeatureTiles,
    PixelFeatures,
    feature_tiles,
    pixel_features,
    thread_count,
)
from siftem.segment.forest import Forest
from siftem.segment.images import Images


class Estimator:
    """What ``sklearn.base.clone``, pipelines and searches ask of an estimator.

    The parameters are those of the constructor, which does no more than to store them.
    """

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; ``deep`` adds those of an estimator among them."""
        own = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        if deep:
            for name, value in list(own.items()):
                if hasattr(value, "get_params"):
                    own |= {f"{name}__{n}": v for n, v in value.get_params().items()}
        return own

    def set_params(self, **params: Any) -> Self:
        """Change parameters by name, ``name__inner`` those of an estimator among them."""
        known = inspect.signature(type(self)).parameters
        for name, value in params.items():
            outer, _, inner = name.partition("__")
            if outer not in known:
                raise InputError(
                    f"{type(self).__name__} has no parameter {outer!r}; it has {', '.join(known)}"
                )
            if inner:
                getattr(self, outer).set_params(**{inner: value})
            else:
                setattr(self, outer, value)
        return self

    def __repr__(self) -> str:
        known = inspect.signature(type(self)).parameters.items()
        own = ((n, p.default, getattr(self, n)) for n, p in known)
        changed = ", ".join(f"{n}={v!r}" for n, default, v in own if repr(v) != repr(default))
        return f"{type(self).__name__}({changed})"

    def __sklearn_tags__(self) -> Any:
        from sklearn.base import BaseEstimator

        return BaseEstimator().__sklearn_tags__()


#: Pixels that one thread classifies at a time: about 10 MB of features.
BLOCK = 2**15

#: Features that are known already, or computed when they are needed.
Features = PixelFeatures | FeatureTiles

#: What a classifier looks at by default. Strokes lie inside of grains, where gradients are small:
#: they teach that a border is something else. A width of 16 pixels tells where a pixel is rather
#: than what it is: a forest then learns the places that were painted. On maps of many kinds it is
#: better without them (benchmarks/segment_kinds.py).
KINDS = ("original", "gaussian", "hessian", "difference", "membrane")
WIDTHS = (1.0, 2.0, 4.0, 8.0)


class PixelClassifier(Estimator):
    """Learn classes from painted traces and give each pixel its probabilities.

    By default a forest of extremely randomised trees (`siftem.segment.forest`) on the features
    of `siftem.segment.features.pixel_features`. All classes weigh the same in it, so that longer
    traces are little advantage to a class. The share p of T trees that vote for a class (each
    leaf with its own fractions) becomes

        q = (T p + s) / (T + s K),     K classes, s = ``smoothing``,

    and q to the power of ``sharpness``, with a sum of one, its probability. The first is the rule
    of succession: no class is ever ruled out by a handful of painted pixels, which
    matters because a graph cut can never overturn a probability of zero.

    Parameters
    ----------
    classifier : scikit-learn classifier, optional
        Used (as a clone) instead of the forest; it needs ``predict_proba``, which is then
        taken as it is, and it weights the classes as it was told to.
    features, sigmas, poisson
        As in `siftem.segment.features.pixel_features`; by default without gradients, and
        with sigmas of 1, 2, 4 and 8 pixels.
    n_trees : int
        Trees of the forest.
    max_features : "sqrt", "log2", int or float
        Features tried at each split: root or logarithm of their number, a number, or a share.
    min_samples_leaf : int
        Fewest painted pixels in a leaf; larger gives smoother probabilities.
    smoothing : float
        Votes added to each class of the forest; not negative.
    sharpness : float
        Positive. Trees with limits at random disagree also where their mean is sure, which a cut
        would take for doubt: with 2, one of smoothness 1 keeps more of small grains.
    random_state : int
        Seed. Results do not depend on the number of threads.
    n_jobs : int, optional
        Threads; by default one for each core.

    Attributes
    ----------
    classes_ : ndarray of shape (classes,), int64
        The labels 1 ... n of the traces, in the order of the probabilities.
    channels_ : tuple of str
        Names of the images that it was trained on.
    feature_names_ : tuple of str
        Names of the features, ``"channel: feature"``.
    oob_score_ : float
        Accuracy on the painted pixels by the trees that did not see them; NaN for other
        classifiers. Neighbouring pixels of a trace resemble each other, so this flatters.
    traces_ : tuple of ndarray (ny, nx)
        What was painted, one label image for each map it was trained on.
    feature_importances_ : ndarray of shape (n_features,)
        Share of each feature in the decisions, where the classifier tells.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.zeros((2, 24, 24))
    >>> images[0, :, :12], images[1, :, 12:] = 9.0, 9.0
    >>> traces = np.zeros((24, 24), int)
    >>> traces[4:20, 3:6], traces[4:20, 18:21] = 1, 2  # painted pixels of two classes
    >>> classifier = siftem.PixelClassifier(n_trees=20)
    >>> features = classifier.compute_features(images)  # once, for several trainings
    >>> found = classifier.fit(features, traces).predict(features)
    >>> found[0, 0], found[0, -1]
    (np.int64(1), np.int64(2))
    >>> classifier.predict_proba(features).shape, classifier.uncertainty(features).shape
    ((2, 24, 24), (24, 24))
    >>> classifier.save("classifier.npz")
    >>> again = siftem.PixelClassifier.load("classifier.npz")
    >>> bool((again.predict(images) == found).all())
    True
    """

    def __init__(
        self,
        classifier: Any = None,
        *,
        features: Sequence[str] = KINDS,
        sigmas: Sequence[float] = WIDTHS,
        poisson: bool | Collection[str] = False,
        n_trees: int = 200,
        max_features: str | int | float = "sqrt",
        min_samples_leaf: int = 2,
        smoothing: float = 1.0,
        sharpness: float = 2.0,
        random_state: int = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.classifier = classifier
        self.features = features
        self.sigmas = sigmas
        self.poisson = poisson
        self.n_trees = n_trees
        self.max_features = max_features
        self.min_samples_leaf = min_samples_leaf
        self.smoothing = smoothing
        self.sharpness = sharpness
        self.random_state = random_state
        self.n_jobs = n_jobs

    def compute_features(
        self, images: Images, *, in_tiles: bool = False
    ) -> PixelFeatures | FeatureTiles:
        """Return the features of one map with this classifier's settings.

        The result can stand for ``images`` in every method, so that they are computed once. Beyond
        512 MB (some two million pixels), or with ``in_tiles``, it computes them tile by tile.
        """
        options: dict[str, Any] = {
            "features": self.features,
            "sigmas": self.sigmas,
            "poisson": self.poisson,
            "n_jobs": self.n_jobs,
        }
        tiles = feature_tiles(images, **options)
        if in_tiles or 4 * np.prod(tiles.shape, dtype=np.int64) > LARGEST_WHOLE:
            return tiles
        return pixel_features(images, **options)

    def fit(
        self,
        images: Images | Features | list[Images | Features],
        traces: np.ndarray | list[np.ndarray],
    ) -> PixelClassifier:
        """Train on painted pixels.

        Parameters
        ----------
        images : mapping of str to ndarray (ny, nx), ndarray (n, ny, nx), or PixelFeatures
            The channels of one map; a list of these for several maps.
        traces : ndarray of shape (ny, nx), integer
            0 where nothing is painted, else the class, 1 ... n; a list for several maps.

        Returns
        -------
        PixelClassifier
            Itself.
        """
        if isinstance(images, list) != isinstance(traces, list):
            raise InputError("images and traces must both be lists, or both be of one map")
        maps = images if isinstance(images, list) else [images]
        labels = traces if isinstance(traces, list) else [traces]
        if len(maps) != len(labels) or not maps:
            raise InputError(
                f"each map needs its traces, but there are {len(maps)} maps and "
                f"{len(labels)} label images"
            )
        names: tuple[str, ...] | None = None
        samples, classes, kept = [], [], list[np.ndarray]()
        for one, painted in zip(maps, labels, strict=True):
            stack: Any = one
            if not isinstance(one, PixelFeatures | FeatureTiles):
                stack = self.compute_features(one)
            if names is not None and stack.names != names:
                raise InputError(
                    f"every map must have the same images: {_listed(_channels(names))} in the "
                    f"first, {_listed(_channels(stack.names))} in another"
                )
            names = stack.names
            painted = _check_traces(painted, stack.shape[:2])
            where = painted > 0
            samples.append(stack.at(where))
            classes.append(painted[where].astype(np.int64))
            kept.append(painted)
        assert names is not None
        self._fit_samples(np.concatenate(samples), np.concatenate(classes), names)
        narrow = np.min_scalar_type(int(self.classes_[-1]))
        self.traces_ = tuple(converted(one, narrow) for one in kept)
        return self

    def predict_proba(self, images: Images | Features) -> np.ndarray:
        """Return the probability of each class.

        Parameters
        ----------
        images : mapping of str to ndarray (ny, nx), ndarray (n, ny, nx), or PixelFeatures
            The same channels as in training, by name; others in a mapping are ignored.

        Returns
        -------
        ndarray of shape (classes, ny, nx), float64
            Sums to one over classes; the order is that of ``classes_``.
        """
        found = self._features_for_prediction(images)
        if isinstance(found, FeatureTiles):
            whole = np.empty((len(self.classes_), *found.shape[:2]))
            for lines, columns, values in found.tiles():
                whole[:, lines, columns] = self.predict_proba(PixelFeatures(values, found.names))
                del values  # before the next tile is made
            return whole
        if isinstance(self.estimator_, Forest):
            shares = self.estimator_.shares(np.moveaxis(found.values, -1, 0)).astype(np.float64)
            votes = (self.n_trees * shares + self.smoothing) ** self.sharpness
            return votes / votes.sum(axis=0)
        values = found.values
        ny, nx, n_features = values.shape
        flat, out = values.reshape(-1, n_features), np.empty((len(self.classes_), ny * nx))

        def classify(start: int) -> None:
            block = np.ascontiguousarray(flat[start : start + BLOCK])
            out[:, start : start + BLOCK] = self.estimator_.predict_proba(block).T

        # Blocks of a fixed size, each by one thread: the order of all sums is then fixed.
        with ThreadPoolExecutor(thread_count(self.n_jobs)) as pool:
            list(pool.map(classify, range(0, ny * nx, BLOCK)))
        return out.reshape(-1, ny, nx)

    def predict(self, images: Images | Features) -> np.ndarray:
        """Return the most probable class of each pixel, as in the traces; (ny, nx) int64."""
        best = self.predict_proba(images).argmax(axis=0)
        return self.classes_[best]

    def uncertainty(self, images: Images | Features) -> np.ndarray:
        """Return the entropy of each pixel's probabilities; see `normalised_entropy`."""
        return normalised_entropy(self.predict_proba(images))

    @property
    def feature_importances_(self) -> np.ndarray:
        """Share of each feature, sums to one; (n_features,). Not every classifier has it."""
        self._check_fitted()
        return self.estimator_.feature_importances_

    @property
    def channel_importances_(self) -> dict[str, float]:
        """Share of each image in the decisions: the sum over its features."""
        shares = dict.fromkeys(self.channels_, 0.0)
        for name, share in zip(self.feature_names_, self.feature_importances_, strict=True):
            shares[_channel(name)] += float(share)
        return shares

    def save(self, path: str | Path) -> None:
        """Write settings, traces and their features to an .npz file, pickling nothing.

        See `siftem.segment.classifier_file`.
        """
        self._check_fitted()
        write_classifier(
            path,
            settings={k: v for k, v in self.get_params(deep=False).items() if k != "n_jobs"},
            names=self.feature_names_,
            samples=self._samples,
            labels=self._labels,
            traces=self.traces_,
        )

    @classmethod
    def load(cls, path: str | Path, *, n_jobs: int | None = None) -> PixelClassifier:
        """Read a classifier written by `save` and train it again: the same forest."""
        found = read_classifier(path)
        classifier = cls(**found.settings, n_jobs=n_jobs)
        classifier._fit_samples(found.samples, found.labels, found.names)
        classifier.traces_ = found.traces
        return classifier

    def _fit_samples(self, samples: np.ndarray, labels: np.ndarray, names: tuple[str, ...]) -> None:
        classes = np.unique(labels)
        if classes.size == 0:
            raise InputError("the traces are empty: paint some pixels of each class")
        if classes.size == 1:
            raise InputError(f"the traces hold only class {classes[0]}: paint at least two classes")
        missing = sorted(set(range(1, int(classes[-1]) + 1)) - set(classes.tolist()))
        if missing:
            raise InputError(
                f"class {missing[0]} has no painted pixels though class {classes[-1]} has: "
                "paint some or renumber the classes"
            )
        estimator = self._new_estimator()
        self.estimator_ = estimator.fit(samples, labels)
        self.classes_ = classes.astype(np.int64)
        self.feature_names_ = names
        self.channels_ = _channels(names)
        self.oob_score_ = float(getattr(estimator, "oob_score_", np.nan))
        self._samples, self._labels = samples, labels

    def _new_estimator(self) -> Any:
        if self.classifier is not None:
            if not hasattr(self.classifier, "predict_proba"):
                raise InputError(
                    f"classifier must have predict_proba, {type(self.classifier).__name__} "
                    "has not: choose one that gives probabilities"
                )
            from sklearn.base import clone

            estimator = clone(self.classifier)
            if estimator.get_params().get("random_state", 0) is None:
                estimator.set_params(random_state=self.random_state)
            return estimator
        if not isinstance(self.random_state, int | np.integer) or self.random_state < 0:
            raise InputError(
                f"random_state must be an integer seed from 0 up, got {self.random_state!r}"
            )
        for name, least in (("n_trees", 1), ("min_samples_leaf", 1), ("smoothing", 0)):
            if not getattr(self, name) >= least:
                raise InputError(f"{name} must be {least} or more, got {getattr(self, name)!r}")
        if not self.sharpness > 0:
            raise InputError(f"sharpness must be a positive number, got {self.sharpness!r}")
        return Forest(
            int(self.n_trees),
            max_features=self.max_features,
            min_samples_leaf=int(self.min_samples_leaf),
            random_state=int(self.random_state),
            n_jobs=thread_count(self.n_jobs),
        )

    def _features_for_prediction(self, images: Images | Features) -> PixelFeatures | FeatureTiles:
        self._check_fitted()
        if not isinstance(images, PixelFeatures | FeatureTiles):
            if isinstance(images, Mapping):
                lacking = [name for name in self.channels_ if name not in images]
                if lacking:
                    raise InputError(
                        f"the classifier was trained on {_listed(self.channels_)}, but the "
                        f"images lack {_listed(lacking)}"
                    )
                images = {name: images[name] for name in self.channels_}
            images = self.compute_features(images)
        if images.names != self.feature_names_:
            raise InputError(
                f"the classifier was trained on {len(self.feature_names_)} features of "
                f"{_listed(self.channels_)}, got {len(images.names)} of "
                f"{_listed(_channels(images.names))}: give the same images and settings"
            )
        return images

    def _check_fitted(self) -> None:
        if not hasattr(self, "estimator_"):
            raise InputError("the classifier is not trained yet: call fit with traces first")


def normalised_entropy(probabilities: np.ndarray) -> np.ndarray:
    """Return how undecided each pixel is: ``-sum_k p_k log p_k / log K``.

    Parameters
    ----------
    probabilities : ndarray of shape (classes, ny, nx)
        Sum to one over the K >= 2 classes.

    Returns
    -------
    ndarray of shape (ny, nx), float64
        0 where one class is certain, 1 where all are equally probable.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 3 or p.shape[0] < 2:
        raise InputError(
            f"probabilities must have shape (classes, ny, nx) with two classes or more, "
            f"got {p.shape}"
        )
    return -xlogy(p, p).sum(axis=0).clip(max=0.0) / np.log(p.shape[0])


def _check_traces(traces: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    traces = np.asarray(traces)
    if traces.shape != shape:
        raise InputError(
            f"traces must have the shape of the images, {shape}, got {traces.shape}: "
            "they would lie outside the image"
        )
    if traces.dtype.kind not in "iu":
        raise InputError(
            f"traces must be integers (0 unpainted, 1 ... n the classes), got {traces.dtype}"
        )
    if traces.size and traces.min() < 0:
        raise InputError(f"traces must not be negative (0 is unpainted), got {traces.min()}")
    return traces


def _channel(feature_name: str) -> str:
    return feature_name.rsplit(": ", 1)[0]


def _channels(feature_names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_channel(name) for name in feature_names))


def _listed(names: Collection[str]) -> str:
    return ", ".join(repr(name) for name in names)
