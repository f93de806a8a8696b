"""How well, and how fast, a few strokes segment a noisy phantom.

    python benchmarks/segment_strokes.py

prints two tables. The first has mean intersection over union and label accuracy on phantoms
of two and three phases at two doses, five draws of phantom and strokes each, with three
strokes of ten pixels a class: features and forest of scikit-image's TrainableSegmenter with
its defaults, then PixelClassifier with and without the widest Gaussian; each followed by
the same graph cut. The second has times on a map of 512 x 512 with three images.
"""

import time
from functools import partial

import numpy as np
from scipy import ndimage
from skimage.draw import polygon
from skimage.feature import multiscale_basic_features
from skimage.future import TrainableSegmenter

from siftem.segment.classifier import PixelClassifier
from siftem.segment.graph_cut import graph_cut

SIZE = 128
#: Share of the counts in three images, for matrix and two grain phases.
RATES = np.array([[0.45, 0.35, 0.20], [0.25, 0.45, 0.30], [0.30, 0.20, 0.50]])


def phantom(phases, counts, rng, size=SIZE, grains=6, needles=3):
    """Labels (ny, nx) and count images (3, ny, nx) of convex grains and needles."""
    labels = np.zeros((size, size), int)
    for phase in range(1, phases):
        for _ in range(grains):
            radius, angles = rng.uniform(8, 18), np.sort(rng.uniform(0, 2 * np.pi, 7))
            y, x = rng.uniform(10, size - 10, 2)
            corners = y + radius * np.sin(angles), x + radius * np.cos(angles)
            labels[polygon(*corners, labels.shape)] = phase
        for _ in range(needles):
            centre, angle = rng.uniform(10, size - 10, 2), rng.uniform(0, np.pi)
            along = rng.uniform(15, 30) * np.array([np.sin(angle), np.cos(angle)])
            across = rng.uniform(1.5, 3) * np.array([np.cos(angle), -np.sin(angle)])
            signs = ((1, 1), (1, -1), (-1, -1), (-1, 1))
            corners = np.array([centre + a * along + b * across for a, b in signs])
            labels[polygon(*corners.T, labels.shape)] = phase
    weights = [ndimage.gaussian_filter((labels == k).astype(float), 0.7) for k in range(phases)]
    return labels, rng.poisson(counts * np.einsum("kyx,kc->cyx", weights, RATES[:phases]))


def strokes(labels, phases, rng):
    """Three straight strokes of ten pixels in each phase; 0 unpainted, 1 ... n."""
    traces = np.zeros(labels.shape, int)
    reach = np.arange(-4.5, 5)
    for phase in range(phases):
        starts = np.argwhere(ndimage.distance_transform_edt(labels == phase) > 1.5)
        drawn = 0
        while drawn < 3:
            (y, x), angle = starts[rng.integers(len(starts))], rng.uniform(0, np.pi)
            ys = np.round(y + reach * np.sin(angle)).astype(int)
            xs = np.round(x + reach * np.cos(angle)).astype(int)
            inside = (np.minimum(ys, xs) >= 0) & (np.maximum(ys, xs) < len(labels))
            if inside.all() and (labels[ys, xs] == phase).all():
                traces[ys, xs] = phase + 1
                drawn += 1
    return traces


def by_scikit_image(images, traces):
    # Its default features do not know of channels unless told.
    segmenter = TrainableSegmenter(
        features_func=partial(multiscale_basic_features, channel_axis=-1)
    )
    segmenter.clf.set_params(random_state=0)
    segmenter.fit(np.moveaxis(images.astype(float), 0, -1), traces)
    shares = segmenter.clf.predict_proba(segmenter.features.reshape(traces.size, -1))
    return shares.T.reshape(-1, *traces.shape)


def by_siftem(**options):
    def probabilities(images, traces):
        return PixelClassifier(poisson=True, **options).fit(images, traces).predict_proba(images)

    return probabilities


METHODS = {
    "scikit-image": by_scikit_image,
    "sigma 1-16": by_siftem(sigmas=(1, 2, 4, 8, 16)),
    "sigma 1-8": by_siftem(),
    "sigma 1-4": by_siftem(sigmas=(1, 2, 4)),
}


def quality():
    print("| classes | counts a pixel | method | smoothness | IoU | accuracy |")
    print("|---|---|---|---|---|---|")
    for phases in (2, 3):
        for counts in (5, 20):
            scores = {}
            for draw in range(5):
                rng = np.random.default_rng([phases, counts, draw])
                truth, images = phantom(phases, counts, rng)
                traces = strokes(truth, phases, rng)
                for name, method in METHODS.items():
                    p = method(images, traces)
                    for smoothness in (0.0, 0.5, 2.0):
                        labels = graph_cut(p, smoothness=smoothness)
                        overlap = [
                            np.sum((labels == k) & (truth == k))
                            / np.sum((labels == k) | (truth == k))
                            for k in range(phases)
                        ]
                        score = np.mean(overlap), np.mean(labels == truth)
                        scores.setdefault((name, smoothness), []).append(score)
            for (name, smoothness), values in scores.items():
                iou, accuracy = np.mean(values, axis=0)
                row = f"{phases} | {counts} | {name} | {smoothness:g} | {iou:.3f} | {accuracy:.3f}"
                print(f"| {row} |", flush=True)


def speed():
    rng = np.random.default_rng(0)
    print("\n| step, 512 x 512, three images | seconds |\n|---|---|")
    for phases in (2, 3):
        truth, images = phantom(phases, 20, rng, size=512, grains=60, needles=30)
        traces = strokes(truth, phases, rng)
        classifier = PixelClassifier(poisson=True)
        start = time.perf_counter()
        stack = classifier.compute_features(images)
        featured = time.perf_counter()
        classifier.fit(stack, traces)
        trained = time.perf_counter()
        p = classifier.predict_proba(stack)
        applied = time.perf_counter()
        print(f"| {phases} classes: features | {featured - start:.2f} |")
        print(f"| train | {trained - featured:.2f} |")
        print(f"| apply | {applied - trained:.2f} |")
        for smoothness in (0.5, 2.0, 5.0):
            start = time.perf_counter()
            graph_cut(p, smoothness=smoothness)
            print(f"| graph cut, smoothness {smoothness:g} | {time.perf_counter() - start:.2f} |")


if __name__ == "__main__":
    quality()
    speed()
