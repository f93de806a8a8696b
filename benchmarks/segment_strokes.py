"""How well, and how fast, a few strokes segment a noisy phantom.

    python -m benchmarks.segment_strokes

prints three tables. The first has mean intersection over union and label accuracy on
phantoms of two and three phases at two doses, five draws of phantom and strokes each, with
three strokes of ten pixels a class: features and forest of scikit-image's TrainableSegmenter
with its defaults, and PixelClassifier, each followed by a graph cut of the same smoothness
(PyMaxflow's with the shares of the trees kept from zero; that of siftem). The second has the
smoothness that `suggest_smoothness` chooses, against the best by truth. The third has times on
maps of 512 x 512 and 256 x 256 with three images.
"""

import time
from functools import partial

import maxflow
import numpy as np
from scipy import ndimage
from skimage.draw import polygon
from skimage.feature import multiscale_basic_features
from skimage.future import TrainableSegmenter

from siftem.segment.classifier import PixelClassifier
from siftem.segment.graph_cut import graph_cut
from siftem.segment.smoothness import suggest_smoothness

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


def by_pymaxflow(p, smoothness):
    """Cut in the plain way: logarithms of shares that are kept from zero."""
    p = np.maximum(p, 1e-3)
    if len(p) > 2:  # PyMaxflow's own expansion knows four neighbours only
        return graph_cut(p / p.sum(axis=0), smoothness=smoothness)
    graph = maxflow.Graph[float]()
    nodes = graph.add_grid_nodes(p.shape[1:])
    structure = np.array([[0, 0, 0], [0, 0, 1], [1, 1, 1]])
    graph.add_grid_edges(nodes, smoothness, structure=structure, symmetric=True)
    graph.add_grid_tedges(nodes, -np.log(p[0]), -np.log(p[1]))
    graph.maxflow()
    return 1 - graph.get_grid_segments(nodes).astype(int)


def by_siftem_cut(p, smoothness):
    return graph_cut(p, smoothness=smoothness)


#: Name: probabilities and cut.
METHODS = {
    "TrainableSegmenter + PyMaxflow": (by_scikit_image, by_pymaxflow),
    "siftem": (by_siftem(), by_siftem_cut),
    "siftem, sigma 1-16": (by_siftem(sigmas=(1, 2, 4, 8, 16)), by_siftem_cut),
}
SMOOTHNESSES = (0.0, 0.5, 2.0, 5.0)


def overlaps(labels, truth, phases):
    return [
        np.sum((labels == k) & (truth == k)) / np.sum((labels == k) | (truth == k))
        for k in range(phases)
    ]


def cases():
    for phases in (2, 3):
        for counts in (5, 20):
            yield phases, counts


def draws(phases, counts):
    for draw in range(5):
        rng = np.random.default_rng([phases, counts, draw])
        truth, images = phantom(phases, counts, rng)
        yield truth, images, strokes(truth, phases, rng)


def quality():
    print("| classes | counts a pixel | method | smoothness | IoU | accuracy |")
    print("|---|---|---|---|---|---|")
    for phases, counts in cases():
        scores = {}
        for truth, images, traces in draws(phases, counts):
            for name, (method, cut) in METHODS.items():
                p = method(images, traces)
                for smoothness in SMOOTHNESSES:
                    labels = cut(p, smoothness)
                    score = np.mean(overlaps(labels, truth, phases)), np.mean(labels == truth)
                    scores.setdefault((name, smoothness), []).append(score)
        for (name, smoothness), values in scores.items():
            iou, accuracy = np.mean(values, axis=0)
            row = f"{phases} | {counts} | {name} | {smoothness:g} | {iou:.3f} | {accuracy:.3f}"
            print(f"| {row} |", flush=True)


def suggested():
    print("\n| classes | counts a pixel | suggested | IoU there | best IoU, at | IoU at 5 |")
    print("|---|---|---|---|---|---|")
    for phases, counts in cases():
        rows = []
        for truth, images, traces in draws(phases, counts):
            segment = partial(by_siftem(), traces=traces)
            choice = suggest_smoothness(images, segment)
            p = segment(images)
            iou = {
                s: np.mean(overlaps(graph_cut(p, smoothness=s), truth, phases))
                for s in choice.candidates
            }
            best = max(iou, key=iou.get)
            rows.append((choice.smoothness, iou[choice.smoothness], iou[best], best, iou[5.0]))
        chosen, there, most, at, strong = zip(*rows, strict=True)
        listed = ", ".join(f"{s:g}" for s in chosen), ", ".join(f"{s:g}" for s in at)
        print(
            f"| {phases} | {counts} | {listed[0]} | {np.mean(there):.3f} | "
            f"{np.mean(most):.3f}, {listed[1]} | {np.mean(strong):.3f} |",
            flush=True,
        )


def speed():
    rng = np.random.default_rng(0)
    print("\n| map, three images | features | train | apply | cut, smoothness 0.5 | 2 | 5 |")
    print("|---|---|---|---|---|---|---|")
    for size in (512, 256):
        for phases in (2, 3):
            many = (size // 64) ** 2
            truth, images = phantom(phases, 20, rng, size=size, grains=many, needles=many // 2)
            traces = strokes(truth, phases, rng)
            rounds = np.array([one_round(images, traces) for _ in range(3)])
            times = " | ".join(f"{seconds:.2f} s" for seconds in np.median(rounds, axis=0))
            print(f"| {size} x {size}, {phases} classes | {times} |", flush=True)


def one_round(images, traces):
    classifier = PixelClassifier(poisson=True)
    clock = [time.perf_counter()]
    stack = classifier.compute_features(images)
    clock.append(time.perf_counter())
    classifier.fit(stack, traces)
    clock.append(time.perf_counter())
    p = classifier.predict_proba(stack)
    clock.append(time.perf_counter())
    for smoothness in (0.5, 2.0, 5.0):
        graph_cut(p, smoothness=smoothness)
        clock.append(time.perf_counter())
    return np.diff(clock)


if __name__ == "__main__":
    quality()
    suggested()
    speed()
