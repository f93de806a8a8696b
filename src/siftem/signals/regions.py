"""Regions from maps in one call, without a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from siftem.decomposition.factors import Factors
from siftem.errors import InputError
from siftem.old_names import takes_old_names
from siftem.pipeline.recipe import make_recipe
from siftem.pipeline.results import Matched
from siftem.pipeline.steps.features import feature_images
from siftem.pipeline.steps.regions import cut
from siftem.pipeline.steps.segment import classify
from siftem.progress import Progress, shows_progress, silent
from siftem.segment.regions import Regions
from siftem.signals.learning_results import spectrum_image_of


@shows_progress
@takes_old_names(seed="random_state")
def find_regions(
    signal: Any,
    factors: Factors,
    *,
    matrix: str | None = None,
    names: Mapping[str, str] | None = None,
    smoothness: float = 1.0,
    margin: int = 1,
    trees: int = 200,
    random_state: int = 0,
    progress: Progress = silent,
) -> Regions:
    """Find each grain by forest and graph cut, trained on the most certain pixels.

    The same steps as in ``siftem run``. For painted traces use :func:`siftem.run` with a
    recipe, or `siftem.PixelClassifier` and `siftem.graph_cut` themselves.

    Parameters
    ----------
    signal : hyperspy.signals.BaseSignal or SpectrumImage
        The map; of several signals of one scan any.
    factors : Factors
        From `decompose` or :func:`siftem.decompose`.
    matrix : str, optional
        Component that is everywhere; by default the one that was identified, else the one
        with most counts.
    names : mapping of str to str, optional
        New names of components, such as ``{"A": "Brg"}``; ``matrix`` is a new name then.
    smoothness : float
        Of the graph cut.
    margin : int
        Pixels to keep away from borders.
    trees : int
        Of the forest.
    random_state : int
    progress : Progress

    Returns
    -------
    Regions

    Raises
    ------
    InputError
        When a component is unknown, there is only one, or nothing is left of a grain.

    Examples
    --------
    >>> from siftem import signals as sft
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> s = siftem.to_hyperspy(phantom.spectrum_image.without_zero_peak())
    >>> regions = sft.find_regions(s, siftem.decompose(s, 3, identify=False), trees=20)
    >>> regions.pure.shape, len(regions.names)
    ((32, 32), 2)
    """
    si = spectrum_image_of(signal)
    if factors.maps.shape[1:] != si.shape:
        raise InputError(
            f"the factors are of a map of {factors.maps.shape[1:]} pixels, but the signal has "
            f"{si.shape}"
        )
    if len(factors.names) < 2:
        raise InputError("regions need two components or more: decompose into more")
    new = dict(names or {})
    unknown = [n for n in new if n not in factors.names]
    if unknown:
        raise InputError(f"there is no component {unknown[0]!r}: {', '.join(factors.names)}")
    named = factors.reordered(
        tuple(range(len(factors.names))), tuple(new.get(n, n) for n in factors.names)
    )
    if matrix is None:
        most = int(np.argmax(factors.counts))
        matrix = named.names[most if factors.matrix is None else factors.matrix]
    if matrix not in named.names:
        raise InputError(f"the matrix {matrix!r} is not among {', '.join(named.names)}")
    recipe = make_recipe(
        {
            "input": {"demo": {}},  # a recipe must name an input; this one is not read
            "segment": {
                "smoothness": smoothness,
                "margin": margin,
                "trees": trees,
                "random_state": random_state,
            },
        }
    )
    matched = Matched(named, matrix, ())
    images = feature_images(si, matched)
    classified = classify(recipe, matched, images, progress=progress)
    return cut(
        recipe, matched, images, classified, smoothness=smoothness, progress=progress
    ).regions
