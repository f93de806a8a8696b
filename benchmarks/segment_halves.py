"""How far the regions of the real map at 71 GPa are a matter of counting noise.

    python -m benchmarks.segment_halves [--splits N] [--figures FOLDER]

splits the counts in two independent halves (the toss of a coin for each count), sends each
half through decomposition, matching, traces, forest and graph cut on its own, and compares
the masks: intersection over union of each grain phase. Then it asks which smoothness explains
the other half best. The map is fetched by `siftem example 71gpa`.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import yaml

import siftem
from siftem.figures.curves import smoothness_figure
from siftem.figures.regions import agreement_figure
from siftem.figures.style import png_bytes
from siftem.pipeline.recipe import Recipe, read_recipe
from siftem.pipeline.steps.load import input_file
from siftem.pipeline.workflow import Workflow
from siftem.thinning import thin

RECIPE = Path(__file__).parents[1] / "examples" / "71gpa.yaml"
SMOOTHNESSES = (0.0, 0.5, 1.0, 2.0, 5.0)


def recipe_of(data: str | None) -> Recipe:
    """Return the example's recipe, for the map in a given place."""
    if data is None:
        return read_recipe(RECIPE)
    content = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    return Recipe.model_validate({**content, "input": {"file": data}})


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Return the intersection over union of two masks."""
    return float((a & b).sum() / (a | b).sum())


def half_workflows(recipe, si, seed):
    """Classify two independent halves; one Workflow each, for cuts of any smoothness."""
    flows = tuple(Workflow(recipe, spectrum_image=half) for half in thin(si, random_state=seed))
    for flow in flows:
        flow.run("segment")
    return flows


def masks_at(flows, smoothness):
    """Return the masks of each half at a smoothness: a mapping of grain to mask each."""
    for flow in flows:
        flow.change(segment={"smoothness": smoothness})
    return tuple(flow.run("regions").regions.masks for flow in flows)


def save(figure, path: Path) -> None:
    """Write a figure of 200 pixels an inch."""
    path.write_bytes(png_bytes(figure, dpi=200))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--data", help="the map, where it is not in siftem's data folder")
    parser.add_argument("--figures", type=Path)
    options = parser.parse_args()
    recipe = recipe_of(options.data)
    si = siftem.load(input_file(recipe))
    print("| split | smoothness | grain | pixels in either half | IoU |\n|---|---|---|---|---|")
    for seed in range(options.splits):
        start = time.perf_counter()
        flows = half_workflows(recipe, si, seed)
        for smoothness in SMOOTHNESSES:
            first, second = masks_at(flows, smoothness)
            for grain in first:
                pixels = f"{first[grain].sum()}, {second[grain].sum()}"
                iou = agreement(first[grain], second[grain])
                print(f"| {seed} | {smoothness:g} | {grain} | {pixels} | {iou:.3f} |", flush=True)
        print(f"<!-- {time.perf_counter() - start:.0f} s -->", flush=True)
        if options.figures and seed == 0:
            halves = masks_at(flows, recipe.segment.smoothness)
            picture = agreement_figure(*halves, background=si.total_map(), pixel_size=si.pixel_size)
            save(picture, options.figures / "segmentation_halves.png")
    start = time.perf_counter()
    choice = Workflow(recipe, spectrum_image=si).choose_smoothness()
    print(f"\n{choice.message}\n<!-- {time.perf_counter() - start:.0f} s -->")
    print("| smoothness | loss of log-likelihood | standard error |\n|---|---|---|")
    for s, loss, error in zip(choice.candidates, choice.loss, choice.standard_error, strict=True):
        print(f"| {s:g} | {loss:.0f} | {error:.0f} |")
    if options.figures:
        save(smoothness_figure(choice), options.figures / "segmentation_smoothness.png")


if __name__ == "__main__":
    main()
