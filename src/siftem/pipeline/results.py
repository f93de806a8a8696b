"""What a run found, ready for figures, tables and files.

Including what a whole region shows of a faint line beside a confined rectangle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from siftem.decomposition.factors import Factors
from siftem.decomposition.layout import PhaseLayout
from siftem.decomposition.rank import Kinds, RankChoice
from siftem.eels.ratios import ElementalRatios
from siftem.fit.spectrum_model import Calibration
from siftem.pipeline.layout import PhaseMap, phase_map
from siftem.pipeline.open_scales import OpenScale
from siftem.pipeline.recipe import Recipe
from siftem.quantification.composition import Composition
from siftem.quantification.line_ratios import LineRatios
from siftem.quantification.partition import PartitionCoefficient
from siftem.segment.classifier import PixelClassifier, normalised_entropy
from siftem.segment.features import FeatureTiles, PixelFeatures
from siftem.segment.regions import Region, Regions
from siftem.segment.traces import GrainShares, component_shares
from siftem.simulate.phantom import Phantom
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.subtract import PureSpectrum
from siftem.unmixing.unmixed import Unmixed
from siftem.views import outline, view

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class LineGain:
    """Signal to noise of one line over the whole pure matrix and over a confined rectangle.

    Signals are net counts of the line's family from the fit, noises their standard
    deviations. Over one rectangle a faint line's signal is a matter of luck (its signal to
    noise scatters by 1), so the mean over all rectangles that fit is compared.

    Parameters
    ----------
    line : str
        Such as "Nd La".
    signal_whole, noise_whole : float
        Over the whole pure region, in counts.
    signals_rectangles : tuple of float
        Over each disjoint rectangle of the same size that fits into the region.
    noise_rectangle : float
        Mean noise over one of the rectangles.
    area_ratio : float
        Pixels of the whole region over those of one rectangle.
    """

    line: str
    signal_whole: float
    noise_whole: float
    signals_rectangles: tuple[float, ...]
    noise_rectangle: float
    area_ratio: float

    @property
    def whole(self) -> float:
        """Signal to noise over the whole pure region."""
        return self.signal_whole / self.noise_whole

    @property
    def rectangle(self) -> float:
        """Signal to noise over one rectangle: the mean over all of them."""
        signals = self.signals_rectangles
        return sum(signals) / len(signals) / self.noise_rectangle

    @property
    def gain(self) -> float:
        """Ratio of the two; infinite when the rectangles show nothing."""
        return self.whole / self.rectangle if self.rectangle > 0 else float("inf")

    @property
    def gain_at_equal_signal(self) -> float:
        """Gain if both held the line at the same strength per pixel: from the noises alone."""
        return self.area_ratio * self.noise_rectangle / self.noise_whole


@dataclass(frozen=True, eq=False)
class Loaded:
    """A spectrum image as it is in the file and, for a simulated one, its truth."""

    spectrum_image: SpectrumImage
    phantom: Phantom | None


@dataclass(frozen=True, eq=False)
class Prepared:
    """A spectrum image as it is decomposed: acquisition corrected, energies cropped."""

    spectrum_image: SpectrumImage
    phantom: Phantom | None


@dataclass(frozen=True, eq=False)
class Decomposed:
    """Components in the order of the solver, and how their number was chosen.

    Parameters
    ----------
    factors : Factors
        Named A, E, G, J, ...
    choice : Kinds or RankChoice or None
        With "auto": of X-ray maps what neighbours have in common, of energy losses the held-out
        deviance.
    kinds : Kinds or None
        Ways in which spectra of an X-ray map differ, whatever the number of components.
    """

    factors: Factors
    choice: Kinds | RankChoice | None
    kinds: Kinds | None = None


@dataclass(frozen=True, eq=False)
class Matched:
    """Components as phases.

    Parameters
    ----------
    factors : Factors
        Phases first, in the order of the recipe.
    matrix : str
        The phase that the others lie in or on; where they lie side by side, the largest.
    elements : tuple of str
        Elements to quantify: the recipe's, else those that the file lists.
    layout : PhaseLayout or None
        How the phases lie, in the order of the factors; None where the pixels do not tell, and
        all are taken to lie in the matrix.
    """

    factors: Factors
    matrix: str
    elements: tuple[str, ...]
    layout: PhaseLayout | None = None

    @property
    def grains(self) -> tuple[str, ...]:
        """All components but the matrix."""
        return tuple(n for n in self.factors.names if n != self.matrix)

    @cached_property
    def smooth_shares(self) -> tuple[np.ndarray, np.ndarray]:
        """Smoothed share of each component, (k, ny, nx), and smoothed counts, (ny, nx).

        Traces are compared with them, in the app at each stroke.
        """
        return component_shares(self.factors.maps)


@dataclass(frozen=True, eq=False)
class FeatureImages:
    """What the classifier looks at.

    Parameters
    ----------
    images : mapping of str to ndarray of shape (ny, nx), float32
        Share of each grain over its noise, and "counts".
    shares : GrainShares
        The same with noise, vacuum and rims.
    features : PixelFeatures
        Filtered images.
    poisson : tuple of str
        Which images are raw counts.
    """

    __repr__ = outline

    images: Mapping[str, np.ndarray]
    shares: GrainShares
    features: PixelFeatures | FeatureTiles
    poisson: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Classified:
    """What the classifier says.

    Parameters
    ----------
    probabilities : mapping of str to ndarray (ny, nx), float32
        Probability of each grain phase.
    traces : mapping of str to ndarray (ny, nx), int8
        For each grain phase: 2 present, 1 absent, 0 unused.
    out_of_bag : mapping of str to float
        Share of trace pixels that the forest classifies rightly when it has not seen them.
    painted : bool
        Whether traces, or a classifier trained on some, were given.
    classifiers : mapping of str to PixelClassifier
    """

    __repr__ = outline

    probabilities: Mapping[str, np.ndarray]
    traces: Mapping[str, np.ndarray]
    out_of_bag: Mapping[str, float]
    painted: bool
    classifiers: Mapping[str, PixelClassifier]

    def uncertainty(self, grain: str) -> np.ndarray:
        """Entropy of a grain's probability, 0 to 1; (ny, nx)."""
        present = self.probabilities[grain]
        return normalised_entropy(np.stack([1 - present, present]))


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Regions and how they came about.

    Parameters
    ----------
    regions : Regions
        Pure matrix, grain masks, mixtures, intersections.
    probabilities : mapping of str to ndarray (ny, nx)
        Probability of each grain phase, before the cut.
    traces : mapping of str to ndarray (ny, nx)
        For each grain phase: 2 present, 1 absent, 0 unused.
    out_of_bag : mapping of str to float
        Share of trace pixels that the forest classifies rightly when it has not seen them.
    painted : bool
        Whether the traces were given.
    smoothness : float
        Of the cut.
    """

    __repr__ = outline

    regions: Regions
    probabilities: Mapping[str, np.ndarray]
    traces: Mapping[str, np.ndarray]
    out_of_bag: Mapping[str, float]
    painted: bool
    smoothness: float = 1.0


@dataclass(frozen=True, eq=False)
class Quantified:
    """All numbers of a run.

    Parameters
    ----------
    compositions : mapping of str to Composition
        Of each phase by subtraction, and of "<grain> + <matrix>" mixtures.
    unmixed : mapping of str to Composition
        Of each phase by unmixing; empty without it.
    partition : tuple of PartitionCoefficient
        From the subtracted spectra.
    unmixed_partition : tuple of PartitionCoefficient
        From the unmixed ones.
    gains : tuple of LineGain
        Of the trace lines.
    rectangles : tuple of Region
        Confined rectangles of pure matrix that fit.
    rectangle_spectrum : Spectrum or None
        Of the first one.
    missing : mapping of str to str
        What could not be had, and why.
    """

    __repr__ = outline

    compositions: Mapping[str, Composition]
    unmixed: Mapping[str, Composition]
    partition: tuple[PartitionCoefficient, ...]
    unmixed_partition: tuple[PartitionCoefficient, ...]
    gains: tuple[LineGain, ...]
    rectangles: tuple[Region, ...]
    rectangle_spectrum: Spectrum | None
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Truth:
    """How close a simulated run came to what was simulated.

    Parameters
    ----------
    overlap : mapping of str to float
        Intersection over union of each grain mask with the true one.
    threshold : float
        Share of the thickness from which on a pixel truly holds the grain.
    angles : mapping of str to float
        Angle of each pure spectrum to the true one, degrees.
    weight_fractions : mapping of str to mapping of str to float
        True composition of each phase.
    unmixed_angles : mapping of str to float
        Angle of each unmixed spectrum to the true one; empty without unmixing.
    """

    overlap: Mapping[str, float]
    threshold: float
    angles: Mapping[str, float]
    weight_fractions: Mapping[str, Mapping[str, float]]
    unmixed_angles: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, repr=False)
class RunResult:
    """All results of a run.

    Parameters
    ----------
    recipe : Recipe
        Complete: running it again gives the same numbers.
    spectrum_image : SpectrumImage
        As decomposed (cropped).
    factors : Factors
        Maps and spectra, phases first, in the order of the recipe.
    segmentation : Segmentation
    rectangles : tuple of Region
        Confined rectangles of pure matrix that fit, the first as one would draw it.
    spectra : mapping of str to Spectrum
        Integrated: the pure matrix under its own name, "<grain> + <matrix>" for mixtures.
    pure : mapping of str to Spectrum
        Pure spectrum of each phase: the matrix integrated, the grains after subtraction.
    compositions : mapping of str to Composition
        Of each phase, and of "<grain> + <matrix>" mixtures.
    calibration : Calibration or None
        Energy scale fitted to the whole map; None without quantification.
    gains : tuple of LineGain
        Of the trace lines.
    warnings : tuple of str
        In one sentence each.
    truth : Truth or None
        For simulated maps.
    rectangle_spectrum : Spectrum or None
        Of the first rectangle.
    unmixed : Unmixed or None
        Spectra and maps by one likelihood of all pixels, where it was asked for.
    unmixed_compositions : mapping of str to Composition
        Of its spectra.
    partition, unmixed_partition : tuple of PartitionCoefficient
        By both ways.
    classifiers : mapping of str to PixelClassifier
        Of each grain.
    ratios : mapping of str to ElementalRatios or LineRatios
        Where compositions cannot be had: of atoms from the edges of energy losses, of net X-ray
        lines for a bulk specimen; of each phase, and of "<grain> + <matrix>" mixtures.
    layout : PhaseLayout or None
        How the phases lie, in the order of the factors.
    open_scales : mapping of str to OpenScale
        Of grains without anchors: what is not known of them.
    missing : mapping of str to str
        Parts that could not be had, and why; it is among the warnings, too.
    doubts : tuple of str
        Those of the warnings that put numbers in doubt: each `siftem.DoubtWarning`.
    """

    recipe: Recipe
    spectrum_image: SpectrumImage
    factors: Factors
    segmentation: Segmentation
    rectangles: tuple[Region, ...]
    spectra: Mapping[str, Spectrum]
    pure: Mapping[str, Spectrum]
    compositions: Mapping[str, Composition]
    calibration: Calibration | None
    gains: tuple[LineGain, ...]
    warnings: tuple[str, ...] = ()
    truth: Truth | None = None
    rectangle_spectrum: Spectrum | None = field(default=None)
    unmixed: Unmixed | None = None
    unmixed_compositions: Mapping[str, Composition] = field(default_factory=dict)
    partition: tuple[PartitionCoefficient, ...] = ()
    unmixed_partition: tuple[PartitionCoefficient, ...] = ()
    classifiers: Mapping[str, PixelClassifier] = field(default_factory=dict)
    ratios: Mapping[str, ElementalRatios | LineRatios] = field(default_factory=dict)
    layout: PhaseLayout | None = None
    open_scales: Mapping[str, OpenScale] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return str(view("run_text")(self))

    def _repr_html_(self) -> str:
        return str(view("run_html")(self))

    def plot(self) -> np.ndarray:
        """Draw the phase map, the compositions and the pure spectra.

        Returns
        -------
        ndarray of matplotlib Axes, shape (3,)
            In this order.
        """
        return np.asarray(view("plot_run")(self))

    def to_pandas(self) -> DataFrame:
        """Return the compositions of all phases; index: phase and element.

        The columns are those of `Composition.to_pandas`.

        Returns
        -------
        pandas.DataFrame
        """
        return view("run_frame")(self)

    @property
    def phase_map(self) -> PhaseMap:
        """One label a pixel."""
        return phase_map(self.layout, self.segmentation.regions, self.factors.names)

    @property
    def quantified(self) -> bool:
        """Whether there are compositions or ratios of a phase, or nothing was to be quantified.

        X-rays are; energy losses are where the recipe names edges.
        """
        wanted = self.spectrum_image.signal_type.startswith("EDS") or self.recipe.quantify.edges
        found = any(name in self.pure for name in (*self.compositions, *self.ratios))
        return found or not wanted

    @property
    def matrix(self) -> str:
        """Name of the matrix phase."""
        return self.segmentation.regions.matrix

    @property
    def grains(self) -> tuple[str, ...]:
        """Names of the grain phases."""
        return tuple(n for n in self.pure if n != self.matrix)

    def scale_of(self, grain: str) -> PureSpectrum | None:
        """Return the pure spectrum of a grain with its scale, None if it was not subtracted."""
        found = self.pure.get(grain)
        return found if isinstance(found, PureSpectrum) else None
