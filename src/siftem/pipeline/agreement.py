"""How well two ways to the same composition agree."""

from __future__ import annotations

from collections.abc import Collection

from siftem.pipeline.recipe import Recipe
from siftem.pipeline.results import RunResult
from siftem.quantification.composition import Composition
from siftem.quantification.detection_limit import QUANTILE

#: Differences of more standard deviations than this are worth a flag.
FLAGGED = 3.0


def differences(
    first: Composition, second: Composition, assumed: Collection[str] = ()
) -> dict[str, float]:
    """Return, for each element, the difference of two results in standard deviations.

    Both stand on the same counts, so their errors are not independent: when one of two
    estimates is efficient, the variance of their difference is the difference of their
    variances, and no more than the larger one (Hausman 1978, Econometrica 46, 1251). The
    difference of the weight fractions is therefore divided by the larger standard deviation,
    and at the least by that of the first at zero, since an anchor leaves none to an element
    that it fixes. Systematic errors are the same for both and left out.

    Parameters
    ----------
    first, second : Composition
        By subtraction and by unmixing.
    assumed : collection of str
        Elements whose amount was assumed and not measured.

    Returns
    -------
    dict of str to float
        ``second - first``; elements that were found by neither, or assumed, are left out.
    """
    out = {}
    for i, element in enumerate(first.elements):
        if element not in second.elements or element in assumed:
            continue
        j = second.index(element)
        if not (first.found[i] or second.found[j]):
            continue
        # Of weight fractions that add up to one, a large one moves by less.
        rest = 1.0 - float(first.weight_fractions[i])
        at_zero = rest * first.critical_levels[i] / QUANTILE
        sigma = max(float(first.sigma[i]), float(second.sigma[j]), float(at_zero))
        away = float(second.weight_fractions[j] - first.weight_fractions[i])
        out[element] = away / sigma if sigma > 0 else 0.0
    return out


def assumed_absent(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Return the elements that the anchors of each phase take for absent."""
    return {
        name: tuple(e for a in phase.anchor for e in a.absent or ())
        for name, phase in recipe.phases.items()
    }


def run_differences(result: RunResult) -> dict[str, dict[str, float]]:
    """Return the differences of unmixing from subtraction in a run, for each phase."""
    assumed = assumed_absent(result.recipe)
    return {
        name: differences(result.compositions[name], c, assumed.get(name, ()))
        for name, c in result.unmixed_compositions.items()
        if name in result.compositions
    }


def flagged(result: RunResult) -> dict[str, dict[str, float]]:
    """Return the elements of each phase on which the two ways disagree by more than 3 sigma."""
    out = {}
    for name, away in run_differences(result).items():
        far = {e: z for e, z in away.items() if abs(z) > FLAGGED}
        if far:
            out[name] = far
    return out
