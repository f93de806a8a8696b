"""Are errors true on real spectra? Elements that a specimen can't hold must scatter by them.

    python validation/null_elements.py FOLDER [NAME ...]

For each map of the table below that lies in the folder: the sum of all its pixels, fitted with
the elements that it holds. Some forty others are then added one at a time, each to a fit of its
own; their amounts over their errors must have a root mean square of 1, and 5% of them lie beyond 2.
For the 71 GPa map the regions of ``examples/71gpa.yaml`` come besides.

Printed are counts, reduced deviance, number of elements, root mean square, share beyond two,
the median of their errors over those of counting, and those farthest off. One that stands out by
more than 3.5 sigma on the positive side may be there: each of its peaks is then looked for by
itself, with no other lines and free in its place, and told with significance and place. A real
element shows where its lines are; a fault of the model need not. What siftem finds by itself to
be there, in the sum of all pixels as a run does (`siftem.fit.null_elements`), is then fitted, too,
for a second row.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

import siftem
from siftem.errors import InputError, SiftemWarning
from siftem.fit.line_evidence import FoundElement
from siftem.fit.line_fit import LineFit, fit_lines
from siftem.fit.null_elements import contaminants_of
from siftem.pipeline.recipe import read_recipe
from siftem.pipeline.workflow import run
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.lines import Line, LineFamily, visible_lines

#: From this many sigma on it is looked whether an element is there.
_MAY_BE_THERE = 3.5
RECIPE = Path(__file__).resolve().parents[1] / "examples" / "71gpa.yaml"
#: Tried where they are not listed: of everything that has a line of its own.
ABSENT = [
    "Na", "P", "S", "Cl", "K", "Sc", "Ti", "V", "Cr", "Mn", "Ni", "Zn", "Ge", "As", "Se", "Br",
    "Rb", "Sr", "Y", "Nb", "Mo", "Ag", "Cd", "In", "Sn", "Sb", "Te", "I", "Cs", "Ba", "La", "Ce",
    "Pr", "Gd", "Tb", "Dy", "Er", "Yb", "Ta", "Re", "Au", "Pb", "Bi", "Th",
]  # fmt: skip
PYROLITE = ("O Mg Al Si Ca Fe Nd Sm Hf Lu U", "Cu Ga C Pt Zr Co")
DACITE = ("O Na Mg Al Si P S Cl K Ca Ti Mn Fe", "C")
#: File -> elements of the specimen, and those of support and column.
MAPS = {
    "71GPa_experimental_data.hspy": PYROLITE,
    "P45_12bit_packed_8bit.bcf": DACITE,
    "P45_8bit_compressed_80keV_range.bcf": DACITE,
    "P45_the_default_job.bcf": DACITE,
    "30x30_minerals.bcf": ("O Na Mg Al Si P K Ca Ti Mn Fe Ce Nd Gd Sm Th La V Cr", "C"),
    "core_shell.hspy": ("Fe Pt O", "C Cu Si Co Zr S Cr"),
    "SiO2_particles.hspy": ("Si O", "C Cu"),
    "jeol_64.pts": ("Al O Si", "C Cu Co Fe Cr Au"),
    "fei_SI_SuperX-HAADF_20frames_10x50.emd": ("Ni Cr Fe Nb Ti Mo Al O Si", "C Cu Zr"),
}


def spectra_of(path: Path) -> Iterator[Spectrum]:
    """Yield the sum of a map, and of its regions where a recipe finds them."""
    if path.name.startswith("71GPa"):
        result = run(read_recipe(RECIPE))
        yield from result.spectra.values()
    si = siftem.load(path).without_zero_peak()
    yield siftem.integrate(si, np.ones(si.shape, bool), name="whole map")


def fitted(spectrum: Spectrum, elements: list[str], support: list[str], **change) -> LineFit:
    return fit_lines(
        spectrum,
        elements,
        support=support,
        beam_energy=spectrum.acquisition.beam_energy or 200.0,
        detector=Detector(resolution=spectrum.acquisition.resolution or 130.0),
        energy_range=(0.25, None),
        **change,
    )


def scatter(spectrum: Spectrum, elements: list[str], support: list[str]) -> str:
    """Fit absent elements one at a time; say how they scatter."""
    base = fitted(spectrum, elements, support)
    z, wider = {}, []
    for element in ABSENT:
        if element in (*elements, *support):
            continue
        try:
            fit = fitted(spectrum, [*elements, element], support, calibration=base.calibration)
            i = fit.index(element)
        except InputError:  # no line in the range
            continue
        z[element] = fit.unbounded[i] / np.sqrt(fit.covariance[i, i])
        wider.append(np.sqrt(fit.covariance[i, i] / fit.counting_covariance[i, i]))
    values = np.array(list(z.values()))
    worst = sorted(z, key=lambda e: -abs(z[e]))[:4]
    seen = "".join("\n" + peaks_of(base, e) for e in worst if z[e] > _MAY_BE_THERE)
    return (
        f"{base.spectrum.counts.sum():.2g} | {base.reduced_deviance:.2f} | {values.size} | "
        f"{np.sqrt((values**2).mean()):.2f} | {100 * (abs(values) > 2).mean():.0f}% | "
        f"{np.median(wider):.2f} | " + ", ".join(f"{e} {z[e]:+.1f}" for e in worst) + " |" + seen
    )


def unlisted(spectrum: Spectrum, elements: list[str], support: list[str]) -> list[FoundElement]:
    """Find what is there and in no list, as a run does."""
    base = fitted(spectrum, elements, support)

    def beside(more: tuple[str, ...]) -> LineFit:
        return fitted(spectrum, elements, [*support, *more], calibration=base.calibration)

    return list(contaminants_of(base, beside)[0])


def peaks_of(base: LineFit, element: str) -> str:
    """Say for each clear peak of an element how far it stands out alone, and where it lies."""
    axis = base.spectrum.axis.to_kev()
    lines = visible_lines(
        element, beam_energy=base.model.beam_energy, low=1.0, high=axis.last, min_weight=0.2
    )
    told = []
    for line in lines:
        energies = line.energy + np.linspace(-0.12, 0.12, 49)
        gain, z = alone(base, element, energies)
        best = int(np.argmax(gain))
        near = energies[gain > gain[best] - 1.0]
        told.append(
            f"{line.name} {line.energy:.3f}: {z[24]:+.1f}, best {z[best]:+.1f} at "
            f"{energies[best]:.3f} [{near.min():.3f}, {near.max():.3f}]"
        )
    return f"    {element} " + "; ".join(told)


def alone(base: LineFit, element: str, energies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gain of twice the log likelihood, and z, of one peak at each of some energies."""
    families = [LineFamily(element, "K", (Line(element, "?", "K", e, 1.0),)) for e in energies]
    model = replace(base.model, families=tuple(families), emitted=None, valence=())
    lines = model.line_columns(base.spectrum.axis, base.calibration)
    own = np.hstack([base.design, base.slopes])
    p = own.shape[1]
    weighted, information = base.misfit.eliminated(np.hstack([own, lines]), 1.0 / base.mean)
    inner = np.linalg.pinv(information[:p, :p] + base.precision, hermitian=True)
    cross = information[p:, :p]
    left = np.diag(information)[p:] - ((cross @ inner) * cross).sum(axis=1)
    # What was fitted is at its optimum within bounds: nothing pulls it.
    pull = weighted.T[p:] @ (base.spectrum.counts - base.mean)
    z = pull / np.sqrt(left)
    return np.where(z > 0, z**2, 0.0), z


def main() -> None:
    warnings.simplefilter("ignore", SiftemWarning)
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    print(
        "| map, spectrum | with | counts | deviance | N | rms | beyond 2 | error/counting | far |"
    )
    for name, (elements, support) in MAPS.items():
        path = folder / name
        if not path.exists() or (names and not any(name.startswith(n) for n in names)):
            continue
        try:
            spectra = list(spectra_of(path))
            found = unlisted(spectra[-1], elements.split(), support.split())
            told = ", ".join(f"{f.line} {f.significance:.1f}" for f in found)
            for spectrum in spectra:
                for what, more in (("as listed", []), (told, [f.element for f in found])):
                    if what:
                        z = scatter(spectrum, elements.split(), [*support.split(), *more])
                        print(f"| {name[:12]}, {spectrum.name} | {what} | {z}", flush=True)
        except InputError as error:
            print(f"{name}: {error}")


if __name__ == "__main__":
    main()
