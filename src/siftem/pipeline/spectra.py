"""Region spectra, pure spectra, compositions and signal-to-noise gains of a run."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from siftem.errors import InputError, SiftemWarning
from siftem.fit.line_fit import LineFit, fit_lines
from siftem.fit.spectrum_model import Calibration
from siftem.pipeline.recipe import AnchorChoice, Phase, Recipe
from siftem.pipeline.results import LineGain
from siftem.quantify.composition import Composition, quantify
from siftem.quantify.k_values import GivenKFactors
from siftem.segment.regions import Regions
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.unmix.anchors import Absent, Anchor, GivenScale, KnownRatio, MostMatrix
from siftem.unmix.integrate import integrate
from siftem.unmix.subtract import subtract
from siftem.xray.detector import Detector
from siftem.xray.lines import parse_line


@dataclass(frozen=True)
class FitSettings:
    """What every line fit of a run has in common.

    Parameters
    ----------
    elements, support : tuple of str
    beam_energy : float
        keV.
    detector : Detector
    calibration : Calibration
        Fitted once to the whole map, which has the most counts.
    recipe : Recipe
    """

    elements: tuple[str, ...]
    support: tuple[str, ...]
    beam_energy: float
    detector: Detector
    calibration: Calibration
    recipe: Recipe

    def fit(self, spectrum: Spectrum) -> LineFit:
        """Fit all lines of a spectrum, without absorption."""
        return fit_lines(
            spectrum,
            self.elements,
            support=self.support,
            beam_energy=self.beam_energy,
            detector=self.detector,
            calibration=self.calibration,
            energy_range=self.recipe.quantify.energy_range,
            n_continuum=self.recipe.quantify.continuum_terms,
            split_l=self.recipe.quantify.free_l_groups,
        )


def fit_settings(recipe: Recipe, si: SpectrumImage, elements: tuple[str, ...]) -> FitSettings:
    """Fit the energy scale and resolution to the whole map.

    Raises
    ------
    InputError
        When the beam energy is unknown.
    """
    acquisition = si.acquisition
    if acquisition.beam_energy is None:
        raise InputError(
            "the file does not say the beam energy: "
            "give acquisition.beam_energy (keV) in the recipe"
        )
    detector = Detector(resolution=acquisition.resolution or 130.0)
    whole = Spectrum(si.sum_spectrum(), si.axis, name="whole map", acquisition=acquisition)
    support = tuple(e for e in recipe.support if e not in elements)
    found = fit_lines(
        whole,
        elements,
        support=support,
        beam_energy=acquisition.beam_energy,
        detector=detector,
        energy_range=recipe.quantify.energy_range,
        n_continuum=recipe.quantify.continuum_terms,
        split_l=recipe.quantify.free_l_groups,
    )
    return FitSettings(
        elements, support, acquisition.beam_energy, detector, found.calibration, recipe
    )


def with_film_calibration(
    settings: FitSettings, matrix: Spectrum, composition: Composition
) -> FitSettings:
    """Fit the energy scale once more, to the pure matrix with its absorption.

    Absorption bends the continuum at the edges and weakens soft lines; a fit without it puts
    part of that into the charge-collection depth, and O comes out wrong by half a percent.

    Parameters
    ----------
    settings : FitSettings
        With the calibration of the whole map.
    matrix : Spectrum
        Of the whole pure matrix: a single phase with most counts.
    composition : Composition
        Of the matrix; its absorption is used.

    Returns
    -------
    FitSettings
        The same ones when no film is given.
    """
    absorption = composition.fit.model.absorption
    if absorption is None:
        return settings
    found = fit_lines(
        matrix,
        settings.elements,
        support=settings.support,
        beam_energy=settings.beam_energy,
        detector=settings.detector,
        absorption=absorption,
        energy_range=settings.recipe.quantify.energy_range,
        n_continuum=settings.recipe.quantify.continuum_terms,
        split_l=settings.recipe.quantify.free_l_groups,
    )
    return replace(settings, calibration=found.calibration)


def region_spectra(
    si: SpectrumImage, regions: Regions, *, required: Collection[str] = ()
) -> dict[str, Spectrum]:
    """Integrate the pure matrix and each mixture.

    Parameters
    ----------
    si : SpectrumImage
    regions : Regions
    required : collection of str
        Grains that the recipe names: it is an error when nothing is left of their mixture.

    Returns
    -------
    dict of str to Spectrum
        The matrix under its own name, then "<grain> + <matrix>".

    Warns
    -----
    SiftemWarning
        When a grain that was not asked for by name has an empty mixture; it is left out.

    Raises
    ------
    InputError
        When the pure matrix, or the mixture of a required grain, is empty.
    """
    out = {regions.matrix: integrate(si, regions.pure.required(), name=regions.matrix)}
    for grain in regions.names:
        label = mixture_name(grain, regions.matrix)
        mixture = regions.mixture(grain)
        if not mixture and grain not in required:
            warnings.warn(
                f"{grain} overlaps other grains in all its pixels: no spectrum of it",
                SiftemWarning,
                stacklevel=2,
            )
            continue
        out[label] = integrate(si, mixture.required(), name=label)
    return out


def mixture_name(grain: str, matrix: str) -> str:
    """Name of the spectrum of a grain's mixture with the matrix."""
    return f"{grain} + {matrix}"


def pure_spectra(
    spectra: Mapping[str, Spectrum], regions: Regions, settings: FitSettings
) -> dict[str, Spectrum]:
    """Subtract the matrix from each mixture with the recipe's anchors."""
    matrix = spectra[regions.matrix]
    out: dict[str, Spectrum] = {regions.matrix: matrix}
    for grain in regions.names:
        mixture = spectra.get(mixture_name(grain, regions.matrix))
        if mixture is None:
            continue
        phase = settings.recipe.phases.get(grain, Phase())
        out[grain] = subtract(
            mixture,
            matrix,
            anchor=make_anchor(phase.anchor, settings.elements),
            elements=settings.elements,
            support=settings.support,
            beam_energy=settings.beam_energy,
            detector=settings.detector,
            calibration=settings.calibration,
            energy_range=settings.recipe.quantify.energy_range,
            name=grain,
        )
    return out


def make_anchor(choice: AnchorChoice, elements: tuple[str, ...]) -> Anchor:
    """Build the anchor that a recipe asks for."""
    if choice.absent is not None:
        return Absent(*choice.absent)
    if choice.ratio is not None:
        r = choice.ratio
        return KnownRatio(r.numerator, r.denominator, r.value, sigma=r.sigma, by=r.by)
    if choice.scale is not None:
        return GivenScale(choice.scale.value, choice.scale.sigma)
    return MostMatrix(elements)


def compositions(
    pure: Mapping[str, Spectrum],
    spectra: Mapping[str, Spectrum],
    settings: FitSettings,
) -> dict[str, Composition]:
    """Quantify each phase, and the mixtures as they were before the subtraction."""
    out = {}
    for name, spectrum in {**pure, **spectra}.items():
        phases = settings.recipe.phases
        phase = phases.get(name) or phases.get(name.split(" + ")[0]) or Phase()
        out[name] = quantified(spectrum, phase, settings)
    return out


def quantified(spectrum: Spectrum, phase: Phase, settings: FitSettings) -> Composition:
    """Quantify one spectrum; with absorption when thickness and density are known."""
    recipe = settings.recipe
    has_film = recipe.quantify.thickness is not None and phase.density is not None
    return quantify(
        spectrum,
        settings.elements,
        support=settings.support,
        beam_energy=settings.beam_energy,
        thickness=recipe.quantify.thickness if has_film else None,
        density=phase.density if has_film else None,
        detector=settings.detector,
        calibration=settings.calibration,
        k_factors=_given(recipe),
        energy_range=recipe.quantify.energy_range,
        n_continuum=recipe.quantify.continuum_terms,
        split_l=recipe.quantify.free_l_groups,
    )


def _given(recipe: Recipe) -> GivenKFactors | None:
    k = recipe.quantify.k_factors
    if k is None:
        return None
    return GivenKFactors(
        values=k.values,
        line=k.line,
        detector=k.detector,
        relative_sigma=k.relative_sigma,
        reference=k.reference,
    )


def line_gains(
    lines: tuple[str, ...],
    whole: Spectrum,
    rectangles: Sequence[Spectrum],
    settings: FitSettings,
) -> tuple[LineGain, ...]:
    """Compare lines over the whole pure matrix with the same lines over confined rectangles.

    Parameters
    ----------
    lines : tuple of str
        Such as "Nd La".
    whole : Spectrum
        Of the whole pure matrix.
    rectangles : sequence of Spectrum
        Of rectangles of one size.
    settings : FitSettings

    Returns
    -------
    tuple of LineGain
    """
    fits = [settings.fit(spectrum) for spectrum in (whole, *rectangles)]
    out = []
    for line in lines:
        element, shell, _ = parse_line(line, beam_energy=settings.beam_energy)
        signals, noises = [], []
        for fit in fits:
            index = fit.index(element, shell)
            seen = float(fit.design[:, index].sum())
            signals.append(float(fit.amplitudes[index]) * seen)
            noises.append(float(fit.covariance[index, index] ** 0.5) * seen)
        out.append(
            LineGain(
                line=line,
                signal_whole=signals[0],
                noise_whole=noises[0],
                signals_rectangles=tuple(signals[1:]),
                noise_rectangle=sum(noises[1:]) / len(noises[1:]),
                area_ratio=whole.n_pixels / rectangles[0].n_pixels,
            )
        )
    return tuple(out)
