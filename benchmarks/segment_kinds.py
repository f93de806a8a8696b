"""Is the classifier as good as Fiji's on maps of many kinds? From a few strokes, against the truth.

    python -m benchmarks.segment_kinds [--draws 4] [--first 0]
    python -m benchmarks.segment_kinds --random 40 [--seed 1] [--draws 1]

Maps of discs, of small grains and needles, of large grains, of mixed ones, side by side, and of
pairs of grains of which only one was painted; two to five classes, 6 to 200 counts a pixel,
128 to 256 pixels wide. Grains end within the film, so that their share differs from grain to
grain, and the film varies in thickness. The classifier sees three channels of counts (raw), the
maps of the grains and all counts (maps), or one map only (grain, matrix). Each class has three
strokes of ten pixels. Printed is the intersection over union, averaged over classes and draws, of
the most probable class, without a cut: that of

- features and forest as Trainable Weka Segmentation has them by default: all kinds, widths of 1 to
  16 pixels, 200 random trees that try two features at a node, no weights. Weka's own forest draws
  other random numbers, and its filters differ in detail;
- a random forest of scikit-learn, as siftem had it before: all kinds, widths of 1 to 8;
- `siftem.PixelClassifier()`, without line filters.

With ``--random``, maps whose kind, classes, size, counts, contrast and images are drawn at random,
of layers, shells and blobs too, on which nothing was chosen; as Fiji against siftem.
"""

import argparse
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.draw import disk, polygon
from sklearn.ensemble import RandomForestClassifier

from benchmarks.segment_strokes import overlaps
from siftem.segment.classifier import KINDS, PixelClassifier
from siftem.segment.features import FEATURES, SIGMAS

CHANNELS = 6


class Case(NamedTuple):
    """Layout, classes, pixels on each side, counts a pixel, contrast of spectra, images seen."""

    kind: str
    classes: int
    size: int
    counts: float
    contrast: float
    seen: str


CASES = [
    Case(*case)
    for case in [
        ("discs", 2, 128, 20, 0.5, "raw"),
        ("discs", 3, 128, 60, 0.5, "maps"),
        ("discs", 2, 192, 150, 0.3, "grain"),
        ("discs", 4, 192, 60, 0.6, "raw"),
        ("small", 2, 128, 20, 0.7, "raw"),
        ("small", 3, 192, 60, 0.6, "maps"),
        ("small", 3, 128, 6, 0.9, "raw"),
        ("large", 2, 128, 8, 0.5, "raw"),
        ("large", 3, 192, 20, 0.5, "maps"),
        ("large", 2, 256, 40, 0.3, "grain"),
        ("large", 5, 192, 40, 0.6, "raw"),
        ("mixed", 3, 128, 20, 0.6, "maps"),
        ("mixed", 4, 192, 100, 0.5, "maps"),
        ("mixed", 2, 128, 200, 0.3, "raw"),
        ("mixed", 5, 192, 200, 0.5, "maps"),
        ("mosaic", 3, 128, 20, 0.6, "maps"),
        ("mosaic", 5, 192, 60, 0.6, "raw"),
        ("mosaic", 2, 128, 10, 0.4, "raw"),
        ("pairs", 2, 128, 100, 0.4, "grain"),
        ("pairs", 2, 128, 18, 0.5, "grain"),
        ("pairs", 3, 192, 60, 0.5, "maps"),
        ("pairs", 2, 192, 40, 0.4, "raw"),
        ("pairs", 2, 160, 60, 0.4, "matrix"),
    ]
]
#: Grains of each class, their least and largest radius as parts of the map, their corners.
GRAINS = {"small": (14, 0.025, 0.05, 7), "large": (3, 0.14, 0.24, 9), "mixed": (6, 0.04, 0.14, 7)}


def grain(size, radius, rng, corners, centre=None):
    """Pixels of an irregular polygon."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    y, x = rng.uniform(0.1 * size, 0.9 * size, 2) if centre is None else centre
    r = radius * rng.uniform(0.75, 1.25, corners)
    return polygon(y + r * np.sin(angles), x + r * np.cos(angles), (size, size))


def needle(size, rng):
    """Pixels of a thin rectangle."""
    centre, angle = rng.uniform(0.1 * size, 0.9 * size, 2), rng.uniform(0, np.pi)
    along = rng.uniform(0.12, 0.25) * size * np.array([np.sin(angle), np.cos(angle)])
    across = rng.uniform(1.5, 3) * np.array([np.cos(angle), -np.sin(angle)])
    signs = ((1, 1), (1, -1), (-1, -1), (-1, 1))
    return polygon(*np.array([centre + a * along + b * across for a, b in signs]).T, (size, size))


def labels_of(case, rng):
    """Class of each pixel; 0 is the matrix, or one of several side by side."""
    size = case.size
    labels = np.zeros((size, size), int)
    if case.kind == "mosaic":
        seeds = rng.uniform(0, size, (7 * case.classes, 2))
        classes = rng.permutation(np.arange(len(seeds)) % case.classes)
        pixels = np.indices((size, size)).reshape(2, -1).T
        return classes[cKDTree(seeds).query(pixels)[1]].reshape(size, size)
    if case.kind == "layers":
        y, x = np.indices((size, size)) / size
        bent = ndimage.gaussian_filter(rng.normal(size=(size, size)), size / 10)
        angle = rng.uniform(0, np.pi)
        depth = y * np.cos(angle) + x * np.sin(angle) + 0.05 * bent / bent.std()
        edges = np.sort(rng.uniform(depth.min(), depth.max(), 3 * case.classes))
        return rng.permutation(np.arange(edges.size + 1) % case.classes)[
            np.searchsorted(edges, depth)
        ]
    if case.kind == "blobs":
        fields = rng.normal(size=(case.classes, size, size))
        fields = ndimage.gaussian_filter(fields, (0, size / 18, size / 18))
        fields /= fields.std(axis=(1, 2), keepdims=True)
        fields[0] += 0.6
        return fields.argmax(axis=0)
    if case.kind == "shells":
        for n in range(4 * case.classes):
            y, x = rng.uniform(0.1, 0.9, 2) * size
            outer = rng.uniform(0.06, 0.14) * size
            first, second = rng.integers(1, case.classes, 2) if case.classes > 2 else (1, 1)
            labels[disk((y, x), outer, shape=labels.shape)] = 1 + n % (case.classes - 1)
            labels[disk((y, x), 0.55 * outer, shape=labels.shape)] = (0, first, second)[n % 3]
        return labels
    for k in range(1, case.classes):
        if case.kind == "discs":
            for _ in range(6):
                radius = rng.uniform(0.04, 0.12) * size
                labels[disk(rng.uniform(0.08, 0.92, 2) * size, radius, shape=labels.shape)] = k
        elif case.kind == "pairs":
            for middle in (0.27, 0.73):
                centre = rng.uniform(0.25, 0.75), middle + rng.uniform(-0.06, 0.06)
                radius = rng.uniform(0.1, 0.2) * size
                labels[grain(size, radius, rng, 9, np.multiply(centre, size))] = k
        else:
            many, least, largest, corners = GRAINS[case.kind]
            for _ in range(many):
                labels[grain(size, rng.uniform(least, largest) * size, rng, corners)] = k
            for _ in range(3 if case.kind == "small" else 0):
                labels[needle(size, rng)] = k
    return labels


def counts_of(case, labels, rng):
    """Counts (channels, ny, nx) and the spectra (classes, channels) they were drawn from."""
    spectra = np.exp(case.contrast * rng.normal(size=(case.classes, CHANNELS)))
    spectra /= spectra.sum(axis=1, keepdims=True)
    shares = np.zeros((case.classes, *labels.shape))
    for k in range(1, case.classes):
        patches, n = ndimage.label(labels == k)
        inside = np.concatenate([[0.0], rng.uniform(0.55, 1.0, n)])[patches]
        shares[k] = ndimage.gaussian_filter(inside, 0.7)
    shares[0] = 1.0 - shares[1:].sum(axis=0)
    if case.kind in ("mosaic", "layers"):
        shares = np.stack([labels == k for k in range(case.classes)]).astype(float)
        shares = ndimage.gaussian_filter(shares, (0, 0.7, 0.7))
    bent = ndimage.gaussian_filter(rng.normal(size=labels.shape), case.size / 5)
    film = 1 + 0.25 * bent / abs(bent).max()
    film *= 1 + 0.3 * (np.arange(case.size) / case.size - 0.5)
    return rng.poisson(case.counts * film * np.einsum("kyx,kc->cyx", shares, spectra)), spectra


def images_of(case, counts, spectra):
    """What the classifier sees, and whether it is raw counts."""
    if case.seen == "raw":
        telling = np.argsort(-abs(spectra[1:] - spectra[:1]).max(axis=0))[:3]
        return {str(c): counts[c] for c in telling}, True
    flat = counts.reshape(CHANNELS, -1).astype(float)
    found = np.linalg.lstsq(spectra.T, flat, rcond=None)[0].clip(0)
    blur = partial(ndimage.gaussian_filter, sigma=1)
    total = blur(counts.sum(axis=0).astype(float))
    maps = [blur(one) / np.maximum(total, 1e-9) for one in found.reshape(-1, *total.shape)]
    if case.seen == "maps":
        return {**{str(k): one for k, one in enumerate(maps) if k}, "counts": total}, False
    return {case.seen: maps[1 if case.seen == "grain" else 0]}, False


def strokes(case, labels, rng, n=3, length=10):
    """Straight strokes in each class; of pairs of grains only the left one is painted."""
    traces = np.zeros(labels.shape, int)
    for k in range(case.classes):
        own = labels == k
        if case.kind == "pairs" and k:
            own[:, case.size // 2 :] = False
        starts = np.argwhere(ndimage.distance_transform_edt(own) > 1.5)
        reach, tries, drawn = np.arange(length) - (length - 1) / 2, 0, 0
        while drawn < n:
            tries += 1
            if tries % 400 == 0 and reach.size > 3:
                reach = reach[1:-1]
            (y, x), angle = starts[rng.integers(len(starts))], rng.uniform(0, np.pi)
            ys = np.round(y + reach * np.sin(angle)).astype(int)
            xs = np.round(x + reach * np.cos(angle)).astype(int)
            inside = min(ys.min(), xs.min()) >= 0 and max(ys.max(), xs.max()) < case.size
            if inside and own[ys, xs].all():
                traces[ys, xs] = k + 1
                drawn += 1
    return traces


def random_case(number):
    """A case on which nothing was chosen."""
    rng = np.random.default_rng([number, 2026])
    kinds = ("discs", "small", "large", "mixed", "mosaic", "pairs", "layers", "blobs", "shells")
    classes = int(rng.integers(2, 6))
    seen = ("raw", "maps", "grain", "matrix") if classes == 2 else ("raw", "maps")
    return Case(
        str(rng.choice(kinds)),
        classes,
        int(rng.choice([96, 128, 160, 192])),
        round(float(np.exp(rng.uniform(np.log(6), np.log(300)))), 1),
        round(float(rng.uniform(0.3, 0.9)), 2),
        str(rng.choice(seen)),
    )


def drawn(case, draw, number):
    """Truth, images, whether they are counts, and traces."""
    for attempt in range(100):
        rng = np.random.default_rng([number, draw, attempt])
        labels = labels_of(case, rng)
        left = labels[:, : case.size // 2] if case.kind == "pairs" else labels
        if min(np.count_nonzero(left == k) for k in range(case.classes)) > 100:
            break
    else:
        raise ValueError(f"no map of {case} has 100 pixels of each class")
    counts, spectra = counts_of(case, labels, rng)
    images, raw = images_of(case, counts, spectra)
    return labels, images, raw, strokes(case, labels, rng)


METHODS = {
    "as Fiji": lambda: PixelClassifier(
        RandomForestClassifier(200, max_features=2, random_state=0),
        features=FEATURES,
        sigmas=SIGMAS,
    ),
    "random forest": lambda: PixelClassifier(
        RandomForestClassifier(100, min_samples_leaf=2, class_weight="balanced", random_state=0),
        features=FEATURES,
    ),
    "siftem": PixelClassifier,
    "without lines": lambda: PixelClassifier(features=KINDS[:-1]),
}


def scores_of(case, draw, number, methods):
    """Mean intersection over union of each method."""
    truth, images, raw, traces = drawn(case, draw, number)
    found = (m().set_params(poisson=raw).fit(images, traces).predict(images) - 1 for m in methods)
    return [np.mean(overlaps(one, truth, case.classes)) for one in found]


def row(case, scores):
    about = f"{case.kind} | {case.classes} | {case.size} | {case.counts:g} | {case.seen}"
    print(f"| {about} |", " | ".join(f"{s:.3f}" for s in scores), "|", flush=True)


def head(names):
    print("| map | classes | pixels | counts | seen |", " | ".join(names), "|")
    print("|---" * (5 + len(names)) + "|")


def at_random(n, seed, draws):
    """Print maps that nobody has seen, and how often siftem is no worse in the mean of draws."""
    names = ("as Fiji", "siftem")
    head(names)
    every = []
    for number in range(1000 * seed, 1000 * seed + n):
        case = random_case(number)
        methods = [METHODS[name] for name in names]
        scores = [scores_of(case, draw, number, methods) for draw in range(draws)]
        every.append(np.mean(scores, axis=0))
        row(case, every[-1])
    gain = np.diff(every, axis=1).ravel()
    print("| mean | | | | |", " | ".join(f"{s:.3f}" for s in np.mean(every, axis=0)), "|")
    print(
        f"siftem is no worse in {np.sum(gain >= 0)} of {n}, by over .005 worse in "
        f"{np.sum(gain < -0.005)}, at most by {max(-gain.min(), 0):.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.random:
        return at_random(options.random, options.seed, options.draws)
    head(METHODS)
    every = []
    for number, case in enumerate(CASES):
        draws = range(options.first, options.first + options.draws)
        scores = [scores_of(case, draw, number, METHODS.values()) for draw in draws]
        every.append(np.mean(scores, axis=0))
        row(case, every[-1])
    print("| mean | | | | |", " | ".join(f"{s:.3f}" for s in np.mean(every, axis=0)), "|")
    return None


if __name__ == "__main__":
    main()
