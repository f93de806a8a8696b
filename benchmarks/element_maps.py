"""How many spectra a second are fitted by `siftem.element_maps`, and by PyMca beside it.

    python -m benchmarks.element_maps                  # 512 x 512 pixels, 100 counts each
    python -m benchmarks.element_maps --size 128 --dose 300

The model case with twelve elements, twenty families. PyMca's fast linear fit (least squares, all
channels, negative amounts fitted again without the element) is measured where it is installed, on
64 lines of the map as dense numbers, with the same families; it needs no fit to the sum before,
which is in siftem's times.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np

import siftem
from siftem.errors import SiftemWarning

ELEMENTS = ("O", "Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "Hf", "Lu", "U", "Cu")
#: Families with lines below 20 keV, as PyMca names them.
PEAKS = {
    **{element: ["K"] for element in ("O", "Mg", "Al", "Si", "Ca")},
    **{element: ["K", "L"] for element in ("Fe", "Cu")},
    **{element: ["L", "M"] for element in ("Nd", "Sm", "Hf", "Lu", "U")},
}
_LINES = 64


def told(name: str, spectra: int, work: Callable[[], object]) -> None:
    """Do some work once for its kernels, then print what it takes."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(
        f"{name:34s}{wall:7.2f} s{processor:8.2f} processor s"
        f"{spectra / wall:11,.0f} spectra/s{spectra / processor:11,.0f} a processor second"
    )


def by_pymca(si: siftem.SpectrumImage) -> None:
    """Measure PyMca, if it is there."""
    try:
        from PyMca5.PyMcaPhysics.xrf import ClassMcaTheory, FastXRFLinearFit
    except ImportError as error:
        print(f"PyMca: not here ({error})")
        return
    ny, nx = min(_LINES, si.shape[0]), si.shape[1]
    dense = si.counts[: ny * nx].toarray().astype(np.float32).reshape(ny, nx, -1)
    config = ClassMcaTheory.ClassMcaTheory().configure()
    config["peaks"] = PEAKS
    config["detector"].update(zero=si.axis.offset, gain=si.axis.scale)
    first = si.axis.window_kev(0.2, None).start
    config["fit"].update(linearfitflag=1, use_limit=1, xmin=first, xmax=si.n_channels - 1)
    for refit in (0, 1):
        fit = FastXRFLinearFit.FastXRFLinearFit()
        told(
            f"PyMca, {'negative ones again' if refit else 'as it comes'}",
            ny * nx,
            lambda fit=fit, refit=refit: fit.fitMultipleSpectra(
                y=dense, configuration=config, refit=refit, weight=0, concentrations=0
            ),
        )


def main() -> None:
    """Simulate and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--dose", type=float, default=100.0)
    asked = parser.parse_args()
    warnings.simplefilter("ignore", SiftemWarning)
    si = siftem.simulate_demo((asked.size, asked.size), dose=asked.dose).spectrum_image
    print(si)
    small = siftem.simulate_demo((16, 16), dose=asked.dose).spectrum_image
    siftem.element_maps(small, ELEMENTS)  # compiled by now
    for signed in (False, True):
        for jobs in (1, 2):
            told(
                f"siftem, {'signed' if signed else 'not negative'}, threads: {jobs}",
                si.n_pixels,
                lambda signed=signed, jobs=jobs: siftem.element_maps(
                    si, ELEMENTS, nonnegative=not signed, n_jobs=jobs
                ),
            )
    by_pymca(si)


if __name__ == "__main__":
    main()
