"""A small run, put together from made-up phases with known compositions."""

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from siftem.acquisition import Acquisition
from siftem.decomposition.factors import Factors
from siftem.energy_axis import EnergyAxis
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.pipeline.composition_doubts import assumed_absent
from siftem.pipeline.fit_settings import fit_settings
from siftem.pipeline.recipe import make_recipe
from siftem.pipeline.region_spectra import region_spectra
from siftem.pipeline.results import Matched, RunResult, Segmentation, Truth
from siftem.pipeline.steps.composition import line_gains, partition_coefficients
from siftem.pipeline.steps.spectra import RegionSpectra
from siftem.pipeline.steps.unmix import unmixed_phases
from siftem.pipeline.subtraction import pure_spectra
from siftem.progress import silent
from siftem.segment.regions import Region, Regions
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.integrate import integrate
from siftem.xray.detector import Detector
from siftem.xray.k_factors import k_factor_family
from siftem.xray.lines import line_families

AXIS = EnergyAxis(0.21, 0.02, 480)
SHAPE = (24, 30)
DOSE = 4000.0
WEIGHTS = {
    "Brg": {"O": 0.47, "Mg": 0.22, "Si": 0.26, "Ca": 0.01, "Fe": 0.04},
    "Fp": {"O": 0.35, "Mg": 0.43, "Fe": 0.22},
    "Ca-Pv": {"O": 0.41, "Si": 0.24, "Ca": 0.33, "Nd": 0.02},
}
ELEMENTS = ("O", "Mg", "Si", "Ca", "Fe", "Nd")
RATIOS = ("(Mg+Fe)/O", "Mg/(Mg+Fe)")


def made_recipe(names):
    matrix, first, second = names
    return make_recipe(
        {
            "title": "A made-up run",
            "input": {"file": "made-up.hspy"},
            "elements": list(ELEMENTS),
            "matrix": matrix,
            "phases": {
                matrix: {"high": ["Si"], "density": 4.2, "oxygens": 3},
                first: {"high": ["Fe"], "anchor": {"absent": ["Si"]}, "density": 4.1, "oxygens": 1},
                second: {"high": ["Ca"], "anchor": {"absent": ["Mg"]}, "density": 4.4},
            },
            "quantify": {
                "thickness": 100,
                "ratios": list(RATIOS),
                "wanted_limits": {"Nd": 0.01},
            },
            "figures": {"trace_lines": ["Nd La"]},
        }
    )


def phase_spectrum(weights):
    """Expected counts of a thin film without absorption, sum 1."""
    detector = Detector()
    families = line_families(weights, beam_energy=200.0, low=AXIS.first, high=AXIS.last)
    model = SpectrumModel(tuple(families), 200.0, detector, 2)
    photons = [weights[f.element] / k_factor_family(f.element, f.shell, 200.0) for f in families]
    lines = model.line_columns(AXIS, Calibration()) @ np.array(photons)
    continuum = model.continuum_columns(AXIS, Calibration())[:, 0]
    spectrum = lines + 0.15 * lines.sum() * continuum / continuum.sum()
    return spectrum / spectrum.sum()


def build_run(names=("Brg", "Fp", "Ca-Pv"), **changes):
    rng = np.random.default_rng(5)
    spectra = np.array([phase_spectrum(w) for w in WEIGHTS.values()])
    masks = {name: np.zeros(SHAPE, bool) for name in names[1:]}
    masks[names[1]][3:15, 3:14] = True
    masks[names[2]][9:21, 11:20] = True
    amounts = np.ones((3, *SHAPE))
    amounts[1], amounts[2] = 0.6 * masks[names[1]], 0.4 * masks[names[2]]
    amounts[0] -= 0.9 * np.maximum(amounts[1], amounts[2])
    maps = DOSE * amounts
    counts = rng.poisson(maps.reshape(3, -1).T @ spectra).astype(float)
    si = SpectrumImage(
        sp.csr_array(counts),
        SHAPE,
        AXIS,
        pixel_size=(2.0, 2.0),
        acquisition=Acquisition(beam_energy=200.0, take_off_angle=22.0, resolution=130.0),
        title="made up",
    )
    recipe = made_recipe(names)
    factors = Factors(maps, spectra, AXIS, names, 123.4, 17, True)
    regions = Regions(SHAPE, matrix=names[0], masks=masks)
    boxes = []
    for number, (top, left) in enumerate(((16, 2), (2, 22)), start=1):
        mask = np.zeros(SHAPE, bool)
        mask[top : top + 5, left : left + 5] = True
        boxes.append(Region(f"confined rectangle {number}", mask))
    settings = fit_settings(recipe, si, ELEMENTS)
    integrated = region_spectra(si, regions, Matched(factors, names[0], ELEMENTS))
    pure = pure_spectra(integrated, regions, settings)
    confined = [integrate(si, box) for box in boxes]
    compositions = {
        name: settings.quantified(spectrum, name.split(" + ")[0], look_for_others=False)
        for name, spectrum in {**pure, **integrated}.items()
    }
    unmixed = unmixed_phases(
        recipe,
        si,
        regions,
        RegionSpectra(settings, integrated, pure, compositions),
        progress=silent,
    )
    by_unmixing = {
        name: settings.quantified(spectrum, look_for_others=False)
        for name, spectrum in unmixed.spectra.items()
    }
    pairs = [(name, names[0]) for name in names[1:]]
    result = RunResult(
        recipe=recipe,
        spectrum_image=si,
        factors=factors,
        segmentation=Segmentation(
            regions=regions,
            probabilities={n: m.astype(float) for n, m in masks.items()},
            traces={n: m.astype(np.int8) for n, m in masks.items()},
            out_of_bag=dict.fromkeys(masks, 0.987),
            painted=False,
        ),
        rectangles=tuple(boxes),
        spectra=integrated,
        pure=pure,
        compositions=compositions,
        calibration=settings.calibration,
        gains=line_gains(("Nd La",), integrated[names[0]], confined, settings),
        warnings=("the first warning", "the second warning"),
        truth=Truth(
            overlap={names[1]: 0.912, names[2]: 0.877},
            threshold=0.15,
            angles=dict(zip(names, (0.31, 1.23, 4.56), strict=True)),
            weight_fractions=dict(zip(names, WEIGHTS.values(), strict=True)),
        ),
        rectangle_spectrum=confined[0],
        unmixed=unmixed,
        unmixed_compositions=by_unmixing,
        partition=partition_coefficients(
            compositions, pairs, names[0], {}, assumed=assumed_absent(recipe)
        ),
        unmixed_partition=partition_coefficients(
            by_unmixing, pairs, names[0], {}, assumed=assumed_absent(recipe)
        ),
    )
    return replace(result, **changes)
