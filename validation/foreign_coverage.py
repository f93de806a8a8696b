"""Intervals of 68 and 95% must hold the truth so often on maps by a program that is not siftem's.

    SIFTEM_OTHER_PHANTOMS=FILE.py python -m validation.foreign_coverage [--cases a,b,d]
        [--doses 30,300,3000] [--seeds 6] [--size 48] [--found [--film]]

k-factors come from standards of the same instrument, drawn anew for each seed, with their errors.
Without ``--found`` regions are given: the pixels in which a phase makes at least 98% of the film
as one region, its thickness and density known. With it the whole road runs as a user runs it, with
nothing told but the elements, and its intervals hold what regions, anchors and an unknown film
leave open; with ``--film`` what was found is quantified in its film. What nobody fixed is a set
and has no probability: 68% can't be asked of it, and its intervals hold more. Numbers of whose 68%
interval it makes more than a fifth are told apart, as ranges.

The truth of given regions is what their pixels hold, a last percent of neighbours as well. Every
element of every phase counts, those that are not in a phase, too; since an interval can't end below
zero, it should hold 84 and 97.5% of these, so those that are there are counted besides by
themselves.

The other program looks up attenuation in siftem's own tables, which hardly err here by the 12% that
intervals hold for them. With given regions all is therefore told twice: as a user gets it, and with
attenuation taken for exact. Told is also how likely it would be by chance that so few or fewer of
the 68% intervals of what is there hold (exact attenuation), if each were drawn by itself: errors
of one composition are not, so that small ones are more common than they say.
"""

from __future__ import annotations

import argparse
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from unittest.mock import patch

import numpy as np
import scipy.sparse as sp
from scipy.stats import binomtest
from validation.foreign_k_factors import absorbed, k_factors
from validation.foreign_phantoms import THICKNESS, Phantom, as_signal, phantom
from validation.foreign_physics import atomic_weight

import siftem
from siftem.errors import SiftemError
from siftem.quantification.composition import Composition
from siftem.quantification.k_values import GivenKFactors
from validation import any_map_scores as scores

#: Share of a pixel's film from which on it is of one phase.
_PURE = 0.98
#: An element is there from this atomic percent on.
_THERE = 0.01
#: A number is a value if this share of its interval at the least is of errors, and no range.
_FIXED = 0.8
#: An interval that misses by a rounding error holds.
_ROUNDING = 1e-9


#: Name of a phase, its composition, that with exact attenuation if it was asked for, and the truth.
Found = tuple[str, Composition, Composition, Mapping[str, float]]


def given(made: Phantom, counts: sp.csr_array, k: dict, seed: int) -> Iterator[Found]:
    """Yield name, composition and truth (atomic percent) of phases in their true pixels."""
    axis = siftem.EnergyAxis(
        float(made.energies[0]), float(np.diff(made.energies[:2])[0]), made.energies.size, "keV"
    )
    told = siftem.Acquisition(
        beam_energy=made.beam_energy, take_off_angle=made.take_off_angle, resolution=made.resolution
    )
    share = made.maps / np.maximum(made.maps.sum(axis=0), 1e-9)
    factors = _factors(made, k, seed)
    for i, material in enumerate(made.materials):
        pixels = np.flatnonzero((share[i] > _PURE).ravel())
        if not pixels.size:
            continue
        values = np.asarray(counts[pixels].sum(axis=0)).ravel().astype(float)
        spectrum = siftem.Spectrum(values, axis, acquisition=told, name=material.name)
        told_of = {"density": material.density, "k_factors": factors, "warn_above": None}
        elements = list(made.elements)
        composition = siftem.quantify(spectrum, elements, thickness=THICKNESS, **told_of)
        with patch("siftem.quantification.film.ATTENUATION_SIGMA", 0.0):
            exact = siftem.quantify(
                spectrum,
                elements,
                thickness=THICKNESS,
                calibration=composition.fit.calibration,
                **told_of,
            )
        volumes = made.maps.reshape(len(made.maps), -1)[:, pixels].sum(axis=1)
        yield material.name, composition, exact, _mixed(made, volumes)


def _factors(made: Phantom, k: dict, seed: int) -> GivenKFactors:
    return GivenKFactors(
        values={n.split()[0]: v for n, v in k["values"].items()},
        relative_sigma={n.split()[0]: v for n, v in k["relative_sigma"].items()},
        shells={n.split()[0]: n.split()[1] for n in k["values"] if " " in n},
        reference=k["reference"],
        line=k["line"],
        detector=k["detector"],
        absorbed=absorbed(made, seed=seed),
    )


def _mixed(made: Phantom, volumes: np.ndarray) -> dict[str, float]:
    """Atoms (any unit) in a mixture of volumes of the phases."""
    atoms: dict[str, float] = defaultdict(float)
    for volume, material in zip(volumes, made.materials, strict=True):
        for element, weight in material.weight_fractions.items():
            atoms[element] += volume * material.density * weight / atomic_weight(element)
    return dict(atoms)


def found(
    made: Phantom, counts: sp.csr_array, k: dict, seed: int, *, film: bool = False
) -> Iterator[Found]:
    """Yield name, composition and truth of phases that a run finds; the seed is for `given`."""
    from siftem import signals

    result = signals.run(
        as_signal(made, counts),
        elements=list(made.elements),
        support=list(made.support_elements),
        decompose={"components": "auto"},
        quantify={"k_factors": k},
    )
    axis = next(iter(result.pure.values())).axis
    seen = np.isin(np.round(made.energies, 6), np.round(axis.to_kev().centers, 6))
    names = list(result.pure)
    by_true = scores.matched([result.pure[n].values for n in names], made.spectra[:, seen])
    for true, at in by_true.items():
        if names[at] in result.compositions:
            material = made.materials[true]
            composition = result.compositions[names[at]]
            if film:
                composition = _in_its_film(
                    composition, result.pure[names[at]], material.density, _factors(made, k, seed)
                )
            yield material.name, composition, composition, material.at_percent


def _in_its_film(
    found: Composition, spectrum: siftem.Spectrum, density: float, factors: GivenKFactors
) -> Composition:
    """Quantify what a run found with its film told; what nobody fixed reaches as far as before."""
    families = found.fit.model.families
    told = siftem.quantify(
        spectrum,
        list(found.elements),
        support=[e for e in dict.fromkeys(f.element for f in families) if e not in found.elements],
        thickness=THICKNESS,
        density=density,
        k_factors=factors,
        calibration=found.fit.calibration,
        warn_above=None,
    )
    ends = found.identification_ends
    if ends is None or told.elements != found.elements:
        return told
    moved = np.clip(ends + (told.weight_fractions - found.weight_fractions), 0.0, None)
    return replace(told, identification_ends=moved / moved.sum(axis=1, keepdims=True))


#: Whether the 68 and 95% intervals hold, whether there is something to hold, and whether the
#: interval is a range.
Held = tuple[bool, bool, bool, bool]


def held(composition: Composition, truth: Mapping[str, float]) -> list[Held]:
    """Whether the intervals hold the truth of each element."""
    at = scores.true_percent(truth, composition.elements)
    inside = [composition.intervals(level) for level in (0.68, 0.95)]
    fixed = replace(composition, film_ends=None, identification_ends=None).intervals(0.68)
    ranges = np.ptp(inside[0], axis=1) * _FIXED > np.ptp(fixed, axis=1)
    return [
        (
            *(
                bool(ends[i, 0] - _ROUNDING <= at[e] / 100 <= ends[i, 1] + _ROUNDING)
                for ends in inside
            ),
            bool(at[e] > _THERE),
            bool(ranges[i]),
        )
        for i, e in enumerate(composition.elements)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", default="a,b,d")
    parser.add_argument("--doses", default="30,300,3000")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--found", action="store_true", help="regions as a run finds them")
    parser.add_argument("--film", action="store_true", help="with the film told to the run")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    head = "| case | phase | counts | elements | in 68% | in 95% | there | in 68% | in 95% |"
    print(
        head
        + " exact: elements | in 68% | in 95% | there | in 68% | in 95% | chance |\n"
        + "|---" * 15
        + "|"
    )
    every: list[np.ndarray] = []
    road = partial(found, film=args.film) if args.found else given
    for case in args.cases.split(","):
        for dose in map(float, args.doses.split(",")):
            of_phase: dict[str, list] = defaultdict(list)
            for seed in range(args.seeds):
                made = phantom(f"other_{case}", size=args.size, seed=seed)
                k = k_factors(made, seed=seed)
                counts = made.counts(dose, seed)
                try:
                    for name, as_told, exact, truth in road(made, counts, k, seed):
                        both = held(as_told, truth), held(exact, truth)
                        of_phase[name] += list(zip(*both, strict=True))
                except SiftemError as error:
                    print(f"{case} {dose:g} seed {seed}: {error}")
            for name, rows in of_phase.items():
                every.append(np.array(rows))
                print(f"| {case} | {name} | {dose:g}{told(every[-1])}", flush=True)
    both = np.concatenate(every)
    print(f"| all | | {told(both)}")
    ranges = both[:, 0, 3].astype(bool)
    for what, some in (("values", ~ranges), ("ranges", ranges)):
        if some.any():
            print(f"| {what} | | {told(both[some])}")


def told(rows: np.ndarray) -> str:
    """Say how often intervals hold; rows of (as told or exact, what `held` gives)."""
    text = ""
    for one in (rows[:, 0], rows[:, 1]):
        for some in (one, one[one[:, 2]]):
            share = 100 * some.mean(axis=0) if len(some) else np.full(2, np.nan)
            text += f" | {len(some)} | {share[0]:.0f} | {share[1]:.1f}"
    there = rows[:, 1][rows[:, 1, 2]]
    if not len(there):
        return f"{text} | |"
    chance = binomtest(int(there[:, 0].sum()), len(there), 0.68, alternative="less").pvalue
    return f"{text} | {chance:.2g} |"


if __name__ == "__main__":
    main()
