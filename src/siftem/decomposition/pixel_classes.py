"""Pixels sorted into classes of one spectrum each, by their counts and their neighbours.

A mixture of multinomial laws with a Potts prior, fitted by expectation and maximisation in the
mean-field approximation: at five counts a pixel the neighbours decide together, at thousands each
pixel decides for itself, and no smoothing blurs a border. The amount of material in a pixel plays
no part, only what its counts are made of. Spectra of k phases span k - 1 directions about their
mean, which neighbours tell (`siftem.decomposition.rank`): spectra of classes are kept to these, or
noise would make classes of its own. How evenly a class is mixed is told by how its shares scatter
and rise inside of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, reduce
from operator import itemgetter

import numpy as np
import scipy.sparse as sp
from scipy.ndimage import binary_dilation, gaussian_filter

from siftem.decomposition.count_sums import share_out
from siftem.decomposition.evenness import distance_inside
from siftem.decomposition.initialise import pooling_matrix
from siftem.decomposition.neighbours import AROUND, Near, Neighbours
from siftem.decomposition.purest import binning, class_spectra
from siftem.machine import available

#: Starts are compared on about this many pixels.
_ENOUGH_PIXELS = 6_000
#: Gain in log-probability of a class for each of eight neighbours that has it.
_COUPLING = 0.5
_SWEEPS, _SETTLED = 40, 12
#: For each three classes.
_STARTS = 8
#: Counts in a smoothing window, by which the starts are chosen.
_COUNTS_IN_WINDOW = 2000.0
#: Counts of the mean spectrum that each class is given: no channel is impossible in any.
_PRIOR = 10.0
#: A class is given up below this many pixels.
_FEWEST_PIXELS = 3
#: No phase is a class with fewer of its pixels inside, and a cosine above this to a class that is
#: at least this part of what surrounds it.
_TEXTURE_INSIDE, _TEXTURE_ALIKE, _TEXTURE_BESIDE = 0.25, 0.98, 0.1
#: More pixels than this, and more of them than this part beside a third class, lie between two.
_FEWEST_BETWEEN, _TEXTURE_BETWEEN = 12, 0.4
#: Least counts of a channel in a class, as part of those of the mean spectrum.
_FLOOR = 0.01


@dataclass(frozen=True, eq=False)
class PixelClasses:
    """One class for each pixel.

    Parameters
    ----------
    labels : ndarray of int64, shape (ny, nx)
        Class of each pixel, numbered by falling area; empty pixels have that of their neighbours.
    n_classes : int
        Classes that hold any pixel: as many as asked for, or fewer.
    explained : float
        How much of the way that they explain least, of those in which neighbours tell that spectra
        differ, the means of the classes show: about 1, or next to nothing where a border took the
        class of a phase.
    """

    labels: np.ndarray
    n_classes: int
    explained: float = 1.0


@dataclass(frozen=True, eq=False)
class _Directions:
    """In which spectra differ: their mean (bins,), its noise (bins,), and vectors (bins, n).

    With the neighbours along layers that tell them, where those all around do not.
    """

    mean: np.ndarray
    noise: np.ndarray
    vectors: np.ndarray
    layers: Near | None

    @classmethod
    def of(cls, x: np.ndarray, shape: tuple[int, int], n: int, layers: Near | None) -> _Directions:
        total = x.sum(axis=1, dtype=np.float64)
        mean = x.sum(axis=0, dtype=np.float64) / max(float(total.sum()), 1e-9)
        noise = np.sqrt(np.maximum(mean, 1e-3 * float(mean.mean()) + 1e-9))
        off = np.outer(total, mean)  # in place: as large as the counts, in each of some threads
        np.subtract(x, off, out=off)
        off /= noise
        nears = AROUND if layers is None else (layers,)
        neighbours = Neighbours(off, shape, nears)
        del off
        vectors = np.linalg.eigh(sum(neighbours.in_common(near) for near in nears))[1]
        return cls(mean, noise, vectors[:, -min(max(n, 1), vectors.shape[1]) :], layers)

    def kept(self, spectra: np.ndarray) -> np.ndarray:
        """Spectra (k, bins) without what differs in no direction."""
        along = ((spectra - self.mean) / self.noise) @ self.vectors
        out = self.mean + (along @ self.vectors.T) * self.noise
        out = np.maximum(out, _FLOOR * self.mean + 1e-9)
        return np.asarray(out / out.sum(axis=1, keepdims=True))

    def explained(self, x: np.ndarray, shape: tuple[int, int], labels: np.ndarray) -> float:
        """Least part, over the directions, of what neighbours share that class means show."""
        total = x.sum(axis=1, dtype=np.float64)
        along = ((x - np.outer(total, self.mean)) / self.noise) @ self.vectors
        near = self.layers or AROUND[0]
        both = np.column_stack([along, total])
        shared = np.diag(Neighbours(both, shape, (near,)).in_common(near))
        shared = shared[:-1] / max(float(shared[-1]), 1e-300)
        held = np.bincount(labels, total)
        means = np.array([np.bincount(labels, a) for a in along.T]) / np.maximum(held, 1e-9)
        shown = (means**2 * held).sum(axis=1) / max(float(held.sum()), 1e-9)
        return float((shown / np.maximum(shared, 1e-300))[shared > 0].min(initial=1.0))

    def points(self, x: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Smoothed amounts along the directions (pixels, n), and which pixels these are."""
        total = x.sum(axis=1, dtype=np.float64)
        some = total > 0
        typical = float(np.median(total[some])) if some.any() else 1.0
        sigma = float(np.clip(np.sqrt(_COUNTS_IN_WINDOW / (4 * np.pi * typical)), 0.0, 4.0))
        along = ((x - np.outer(total, self.mean)) / self.noise) @ self.vectors
        smoothed: Callable[[np.ndarray], np.ndarray] = partial(gaussian_filter, sigma=sigma)
        if self.layers is not None:
            smoothed = self.layers.smoothed
        if sigma > 0.4 or self.layers is not None:
            along = np.stack([smoothed(a.reshape(shape)).ravel() for a in along.T], axis=1)
            total = smoothed(total.reshape(shape)).ravel()
        return np.asarray(along / np.maximum(total, 1e-9)[:, None])[some], some


def pixel_classes(
    counts: sp.csr_array,
    shape: tuple[int, int],
    n_classes: int,
    *,
    n_phases: int | None = None,
    layers: Near | None = None,
    random_state: int = 0,
) -> PixelClasses:
    """Sort pixels into classes.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (ny * nx, m)
    shape : tuple of int
        (ny, nx).
    n_classes : int
        At most this many.
    n_phases : int, optional
        Whose mixtures all spectra are, when more classes are wanted than there are phases.
    layers : Near, optional
        Neighbours along thin layers, where those all around tell less
        (`siftem.decomposition.rank.Kinds`).
    random_state : int
        Seed of the starts.

    Returns
    -------
    PixelClasses

    References
    ----------
    G. Celeux, F. Forbes, N. Peyrard, Pattern Recognition 36 (2003) 131 (mean-field fits of hidden
    Markov random fields).
    """
    # In double precision as all that it is multiplied with: else each product copies it.
    x = np.asarray((counts.astype(np.float32) @ binning(counts.shape[1])).todense(), np.float64)
    directions = _Directions.of(x, shape, (n_phases or n_classes) - 1, layers)
    start = _best_start(x, shape, n_classes, directions, random_state)
    labels, number = _by_area(_fitted(x, shape, start, directions)[0].argmax(axis=1))
    return PixelClasses(labels.reshape(shape), number, directions.explained(x, shape, labels))


def classes_from(
    counts: sp.csr_array,
    shape: tuple[int, int],
    spectra: np.ndarray,
    *,
    layers: Near | None = None,
) -> np.ndarray:
    """Sort pixels into classes by a fit that starts from given spectra.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (ny * nx, m)
    shape : tuple of int
        (ny, nx).
    spectra : ndarray of shape (k, m)
        Of the classes, each summing to one.
    layers : Near, optional
        As of `pixel_classes`.

    Returns
    -------
    ndarray of int64, shape (ny, nx)
        Class of each pixel, in the order of the spectra.
    """
    bins = binning(counts.shape[1])
    x = np.asarray((counts.astype(np.float32) @ bins).todense(), np.float64)
    start = np.maximum((bins.T @ spectra.T).T, 1e-9)
    directions = _Directions.of(x, shape, len(spectra) - 1, layers)
    return np.asarray(_fitted(x, shape, start, directions)[0].argmax(axis=1).reshape(shape))


def without_texture(
    counts: sp.csr_array, shape: tuple[int, int], classes: PixelClasses, *, bulk: bool = False
) -> PixelClasses:
    """Give classes that are a phase's unevenness from pixel to pixel back to that phase.

    A fine-grained phase differs a little from pixel to pixel, and many counts part what is more of
    one kind from what is more of another: a class of patches one or two pixels wide, whose spectrum
    is nearly that of the class around it, is no phase. How many counts there are would else decide
    on the phases. In a thin film a class between two others is no texture: shells are thin, and are
    nearly what lies above and below them.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (ny * nx, m)
        Of X-ray lines; energy losses of all phases are nearly alike.
    shape : tuple of int
        (ny, nx).
    classes : PixelClasses
    bulk : bool
        A bulk specimen, in which nothing lies above anything else.
    """
    labels, k = classes.labels.copy(), classes.n_classes
    spectra = class_spectra(counts, labels, k)
    unit = spectra / np.maximum(np.linalg.norm(spectra, axis=1, keepdims=True), 1e-300)
    for c in range(k - 1, 0, -1):  # the smallest class first
        own = labels == c
        if (distance_inside(own) > 1.5)[own].mean() > _TEXTURE_INSIDE:
            continue
        around = np.bincount(labels[binary_dilation(own, np.ones((3, 3))) & ~own], minlength=k)
        cosines = np.where(around > _TEXTURE_BESIDE * around.sum(), unit @ unit[c], 0.0)
        host = int(cosines[:c].argmax())  # the larger ones
        unlike = np.flatnonzero(unit @ unit[host] < _TEXTURE_ALIKE)
        beside = binary_dilation(np.isin(labels, unlike), np.ones((3, 3)))
        between = own.sum() > _FEWEST_BETWEEN and beside[own].mean() > _TEXTURE_BETWEEN
        if cosines[host] > _TEXTURE_ALIKE and (bulk or not between):
            labels[own] = host
    flat, number = _by_area(labels.ravel())
    return replace(classes, labels=flat.reshape(shape), n_classes=number)


def labels_by(counts: sp.csr_array, shape: tuple[int, int], spectra: np.ndarray) -> np.ndarray:
    """Give each pixel the class whose spectrum its counts and its neighbours point to.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (ny * nx, m)
        Or `siftem.large.rows_of_counts.BlockedCounts`.
    shape : tuple of int
        (ny, nx).
    spectra : ndarray of shape (k, m)
        Of the classes, each summing to one.

    Returns
    -------
    ndarray of int64, shape (ny, nx)
    """
    bins = binning(spectra.shape[1])
    shapes = (bins.T @ spectra.T).T
    logarithms = bins @ np.log(np.maximum(shapes, 1e-9)).T
    evidence = np.asarray(counts @ logarithms, np.float32, order="C")
    belongs = _normalised(evidence)
    for _ in range(_SETTLED):
        belongs = _normalised(evidence + np.float32(_COUPLING) * _neighbours(belongs, shape))
    return np.asarray(belongs.argmax(axis=1).reshape(shape))


def _by_area(labels: np.ndarray) -> tuple[np.ndarray, int]:
    area = np.bincount(labels)
    kept = [c for c in np.argsort(-area, kind="stable") if area[c] > 0]
    place = np.zeros(area.size, np.int64)
    place[kept] = np.arange(len(kept))
    return place[labels], len(kept)


def _best_start(
    x: np.ndarray,
    shape: tuple[int, int],
    n_classes: int,
    directions: _Directions,
    random_state: int,
) -> np.ndarray:
    """Spectra (k, bins) of the best of several fits to a map of pooled pixels."""
    block = int(np.ceil(np.sqrt(x.shape[0] / _ENOUGH_PIXELS)))
    if block > 1:
        x = np.asarray(pooling_matrix(shape, block).astype(np.float32) @ x)
        shape = (-(-shape[0] // block), -(-shape[1] // block))
    points, some = directions.points(x, shape)
    rng = np.random.default_rng(random_state)
    drawn = (_nearest_mean(points, n_classes, rng) for _ in range(_STARTS * -(-n_classes // 3)))
    # Two thirds of the seeds end in the same classes under other numbers: fitted once.
    starts: dict[bytes, np.ndarray] = {}
    for labels in drawn:
        starts.setdefault(_unnumbered(labels), labels)

    def fitted(nearest: np.ndarray) -> tuple[float, np.ndarray]:
        belongs = np.eye(n_classes, dtype=np.float32)[nearest]
        spectra = _spectra(belongs, x[some], x.sum(axis=0), directions)
        _, spectra, score = _fitted(x, shape, spectra, directions)
        return score, spectra

    return max(share_out(fitted, list(starts.values()), available()), key=itemgetter(0))[1]


def _unnumbered(labels: np.ndarray) -> bytes:
    """What all labels of one partition have in common, whatever the numbers of its classes."""
    _, first, place = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[place].tobytes()


def _nearest_mean(points: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Labels by k-means from scattered seeds (Arthur & Vassilvitskii 2007)."""
    means = points[[rng.integers(len(points))]]
    for _ in range(k - 1):
        away = ((points[:, None] - means) ** 2).sum(axis=2).min(axis=1).astype(np.float64)
        total = away.sum()
        pick = rng.choice(len(points), p=away / total) if total > 0 else rng.integers(len(points))
        means = np.vstack([means, points[pick]])
    labels = np.zeros(len(points), int)
    for _ in range(30):
        new = ((points[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
        if np.array_equal(new, labels):
            break
        labels = new
        for c in range(k):
            if (labels == c).any():
                means[c] = points[labels == c].mean(axis=0)
    return labels


def _spectra(
    belongs: np.ndarray, x: np.ndarray, total: np.ndarray, directions: _Directions
) -> np.ndarray:
    out = belongs.T @ x + _PRIOR * total / max(float(total.sum()), 1e-9)
    out = np.maximum(out, 1e-9)
    return directions.kept(out / out.sum(axis=1, keepdims=True))


def _fitted(
    x: np.ndarray, shape: tuple[int, int], spectra: np.ndarray, directions: _Directions
) -> tuple[np.ndarray, np.ndarray, float]:
    """Probabilities (pixels, k), spectra (k, bins), and the bound on the likelihood."""
    total = x.sum(axis=0)
    evidence = x @ np.log(spectra).T
    # The first guess: what the neighbours' counts say together.
    smoothed: Callable[[np.ndarray], np.ndarray] = partial(gaussian_filter, sigma=1.0)
    beside = _neighbours
    if directions.layers is not None:
        smoothed = directions.layers.smoothed
        beside = partial(_along, layers=directions.layers)
    first = np.stack([smoothed(e.reshape(shape)).ravel() for e in evidence.T], axis=1)
    belongs = _normalised(4 * first)
    for _ in range(_SWEEPS):
        before = belongs
        for _ in range(3):
            belongs = _normalised(evidence + _COUPLING * beside(belongs, shape))
        lost = belongs.sum(axis=0) < _FEWEST_PIXELS
        if lost.any():  # a class without pixels would come back as noise
            belongs[:, lost] = 0.0
            belongs /= np.maximum(belongs.sum(axis=1, keepdims=True), 1e-30)
        spectra = _spectra(belongs, x, total, directions)
        evidence = x @ np.log(spectra).T
        evidence[:, lost] = -1e30
        if np.abs(belongs - before).max() < 1e-3:
            break
    pairs = 0.5 * _COUPLING * float((belongs * beside(belongs, shape)).sum())
    held = belongs > 1e-12
    entropy = -float((belongs[held] * np.log(belongs[held])).sum())
    return belongs, spectra, float((belongs * evidence)[held].sum()) + pairs + entropy


def _normalised(logits: np.ndarray) -> np.ndarray:
    # Classes are few: column by column is quicker than along the last axis.
    out = logits - reduce(np.maximum, logits.T)[:, None]
    np.exp(out, out=out)
    out /= reduce(np.add, out.T)[:, None]
    return np.asarray(out)


def _along(belongs: np.ndarray, shape: tuple[int, int], layers: Near) -> np.ndarray:
    """The same of neighbours along layers, which count for half; (pixels, k)."""
    image = belongs.reshape(*shape, -1)
    far = [layers.smoothed(image[..., c], itself=False) for c in range(image.shape[-1])]
    return 8 * np.stack(far, axis=-1).reshape(belongs.shape)


def _neighbours(belongs: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Sum over the eight neighbours of each pixel; (pixels, k)."""
    image = belongs.reshape(*shape, -1)
    rows = image.copy()
    rows[1:] += image[:-1]
    rows[:-1] += image[1:]
    out = rows.copy()
    out[:, 1:] += rows[:, :-1]
    out[:, :-1] += rows[:, 1:]
    out -= image
    return np.asarray(out.reshape(belongs.shape))
