"""The steps of the road on HyperSpy signals; regions from maps without a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from siftem.decomposition import factors as factorisation
from siftem.decomposition import shared_spectra
from siftem.decomposition.factors import Factors
from siftem.eels import background, noise
from siftem.eels import subtract as by_edges
from siftem.eels.edges import Edge
from siftem.eels.ratios import ElementalRatios
from siftem.eels.ratios import elemental_ratios as ratios_of_edges
from siftem.errors import InputError
from siftem.io.hyperspy_bridge import from_hyperspy
from siftem.io.hyperspy_export import to_hyperspy
from siftem.io.signal_metadata import read_acquisition, read_layout, text_in
from siftem.io.spectrum_signals import signal_to_spectrum
from siftem.old_names import takes_old_names
from siftem.pipeline.recipe import make_recipe
from siftem.pipeline.results import Matched, RunResult
from siftem.pipeline.steps.features import feature_images
from siftem.pipeline.steps.regions import cut
from siftem.pipeline.steps.segment import classify
from siftem.pipeline.workflow import Workflow
from siftem.progress import Progress, shows_progress, silent
from siftem.quantification import line_ratios as bulk
from siftem.quantification.composition import Composition
from siftem.quantification.composition import quantify as quantify_spectrum
from siftem.segment.regions import Regions
from siftem.signals.learning_results import checked_layout, spectrum_image_of, store
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing import integrate as integration
from siftem.unmixing.anchors import Anchor, GivenScale
from siftem.unmixing.subtract import subtract as subtract_spectra


class SignalFactors(NamedTuple):
    """A factorisation as HyperSpy signals, and as siftem has it.

    Parameters
    ----------
    maps : hyperspy.signals.Signal2D
        Counts of each component; navigation axis over components.
    spectra : hyperspy.signals.Signal1D
        Of the kind of the signal that was factorised; each sums to one.
    factors : Factors
    """

    maps: Any
    spectra: Any
    factors: Factors


def decompose(signal: Any, n_components: int = 3, **options: Any) -> SignalFactors:
    """Factorise a signal by Poisson NMF, and put the result into ``signal.learning_results``.

    Parameters
    ----------
    signal : hyperspy.signals.BaseSignal
        A map of counts. Energy losses that are no counts go through `as_counts` first.
    n_components : int
    **options
        As for :func:`siftem.decompose`.

    Returns
    -------
    SignalFactors

    Examples
    --------
    >>> from siftem import signals as sft
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> s = siftem.to_hyperspy(phantom.spectrum_image.without_zero_peak())
    >>> maps, spectra, factors = sft.decompose(s, 2)
    >>> maps.data.shape, len(spectra.data), s.learning_results.output_dimension
    ((2, 32, 32), 2, 2)
    """
    checked_layout(signal)  # before the work
    si = from_hyperspy(signal)
    found = factorisation.decompose(si, n_components, **options)
    store(signal, found)
    return _as_signals(found, si)


def decompose_together(
    signals: Sequence[Any], n_components: int = 3, **options: Any
) -> tuple[SignalFactors, ...]:
    """Factorise several signals of one scan, with common maps; see the function in siftem.

    Parameters
    ----------
    signals : sequence of hyperspy.signals.BaseSignal
    n_components : int
    **options
        As for :func:`siftem.decompose_together`.

    Returns
    -------
    tuple of SignalFactors
        One for each signal; each is in its ``learning_results``, too.

    Examples
    --------
    >>> from siftem import signals as sft
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> s = siftem.to_hyperspy(phantom.spectrum_image.without_zero_peak())
    >>> soft, hard = s.isig[:3.0], s.isig[3.0:]
    >>> two = sft.decompose_together([soft, hard], 2)
    >>> [found.maps.data.shape for found in two]
    [(2, 32, 32), (2, 32, 32)]
    """
    for signal in signals:
        checked_layout(signal)
    images = [from_hyperspy(s) for s in signals]
    found = shared_spectra.decompose_together(images, n_components, **options)
    for signal, factors in zip(signals, found, strict=True):
        store(signal, factors)
    return tuple(_as_signals(f, si) for f, si in zip(found, images, strict=True))


def integrate(signal: Any, region: Any, *, name: str | None = None) -> Any:
    """Sum the pixels of a region (True = included) into a spectrum with Poisson errors.

    Parameters
    ----------
    signal : hyperspy.signals.BaseSignal
    region : array of bool (ny, nx), Region, or a signal of such
        A signal without signal axes, or a Signal2D, counts by its data.
    name : str, optional

    Returns
    -------
    hyperspy.signals.BaseSignal
        Of the kind of ``signal``.

    Examples
    --------
    >>> from siftem import signals as sft
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> s = siftem.to_hyperspy(phantom.spectrum_image.without_zero_peak())
    >>> spectrum = sft.integrate(s, phantom.mask("Fp"), name="Fp")
    >>> spectrum.metadata.General.title, spectrum.data.shape == s.data.shape[2:]
    ('Fp', True)
    """
    mask = np.asarray(region.data) if hasattr(region, "axes_manager") else region
    si = from_hyperspy(signal)
    return to_hyperspy(integration.integrate(si, mask, name=name), like=si)


def subtract(
    mixture: Any,
    matrix: Any,
    *,
    anchor: Anchor | by_edges.AbsentEdge | by_edges.EdgeRatio,
    **options: Any,
) -> Any:
    """Take the matrix out of a mixture.

    Parameters
    ----------
    mixture, matrix : hyperspy.signals.BaseSignal
        Single spectra on the same axis.
    anchor : Absent, KnownRatio, Stoichiometry, GivenScale, AbsentEdge or EdgeRatio
    **options
        As for :func:`siftem.subtract`, with anchors on X-ray lines.

    Returns
    -------
    hyperspy.signals.BaseSignal
        ``metadata.Siftem.scale``, ``.scale_sigma`` and ``.anchor`` tell what was taken out.

    Examples
    --------
    >>> from siftem import signals as sft
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> s = siftem.to_hyperspy(phantom.spectrum_image.without_zero_peak())
    >>> grains = {name: phantom.mask(name) for name in ("Fp", "Ca-Pv")}
    >>> regions = siftem.Regions((32, 32), matrix="Brg", masks=grains)
    >>> matrix = sft.integrate(s, regions.pure)
    >>> mixture = sft.integrate(s, regions.mixture("Fp"))
    >>> pure = sft.subtract(mixture, matrix, anchor=siftem.Absent("Si"), support=["Cu"])
    >>> 0 < pure.metadata.Siftem.scale < 1
    True
    """
    first, second = signal_to_spectrum(mixture), signal_to_spectrum(matrix)
    for_losses = (by_edges.AbsentEdge, by_edges.EdgeRatio, GivenScale)
    if mixture.metadata.Signal.signal_type == "EELS" and not isinstance(anchor, for_losses):
        raise InputError(
            f"energy losses have no X-ray lines for {type(anchor).__name__}: anchor on edges "
            "with siftem.AbsentEdge or siftem.EdgeRatio, or give the scale"
        )
    pure = subtract_spectra(first, second, anchor=anchor, **options)
    signal = _like(pure, mixture)
    for key in ("scale", "scale_sigma", "anchor"):
        signal.metadata.set_item(f"Siftem.{key}", getattr(pure, key))
    return signal


def quantify(spectrum: Any, elements: Sequence[str], **options: Any) -> Composition:
    """Quantify a single X-ray spectrum; see :func:`siftem.quantify` for the options.

    Examples
    --------
    >>> from siftem import signals as sft
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> s = siftem.to_hyperspy(phantom.spectrum_image.without_zero_peak())
    >>> spectrum = sft.integrate(s, phantom.mask("Fp"))
    >>> found = sft.quantify(spectrum, ["O", "Mg", "Si", "Fe"], support=["Cu"])
    >>> found.elements
    ('O', 'Mg', 'Si', 'Fe')
    """
    return quantify_spectrum(signal_to_spectrum(spectrum), elements, **options)


def line_ratios(spectrum: Any, elements: Sequence[str], **options: Any) -> bulk.LineRatios:
    """Compare net lines of a bulk specimen; see :func:`siftem.line_ratios` for the options.

    Examples
    --------
    >>> from siftem import signals as sft
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> s = siftem.to_hyperspy(phantom.spectrum_image.without_zero_peak())
    >>> spectrum = sft.integrate(s, phantom.mask("Brg"))
    >>> found = sft.line_ratios(spectrum, ["Mg", "Si", "Fe"], reference="Si", support=["Cu"])
    >>> float(found["Si"])
    1.0
    """
    return bulk.line_ratios(signal_to_spectrum(spectrum), elements, **options)


def remove_background(spectrum: Any, low: float, high: float) -> Any:
    """Take the power law off that fits between two energies (unit of the axis).

    Unlike HyperSpy's ``remove_background`` it works on a single spectrum and carries the
    error of the extrapolation.

    Examples
    --------
    >>> import numpy as np
    >>> from siftem import signals as sft
    >>> s = siftem.to_hyperspy(siftem.simulate_elnes((16, 16), counts=400).spectrum_image)
    >>> spectrum = sft.integrate(s, np.ones((16, 16), bool))
    >>> net = sft.remove_background(spectrum, 402, 452)
    >>> bool(net.data.sum() < spectrum.data.sum())
    True
    """
    return _like(background.remove_background(signal_to_spectrum(spectrum), low, high), spectrum)


def elemental_ratios(spectrum: Any, edges: Sequence[Edge | str], **options: Any) -> ElementalRatios:
    """Ratios of atoms from edges; see :func:`siftem.elemental_ratios` for the options.

    Examples
    --------
    >>> import numpy as np
    >>> from siftem import signals as sft
    >>> s = siftem.to_hyperspy(siftem.simulate_elnes((16, 16), counts=400).spectrum_image)
    >>> spectrum = sft.integrate(s, np.ones((16, 16), bool))
    >>> titanium = siftem.Edge("Ti_L3", background=(402, 452), signal=(453, 500))
    >>> oxygen = siftem.Edge("O_K", background=(502, 528), signal=(530, 560))
    >>> sft.elemental_ratios(
    ...     spectrum, [titanium, oxygen], convergence_angle=10.0, collection_angle=20.0
    ... ).elements
    ('Ti', 'O')
    """
    return ratios_of_edges(signal_to_spectrum(spectrum), edges, **options)


def as_counts(signal: Any, *, model: noise.NoiseModel | None = None) -> Any:
    """Turn an analogue energy-loss map into equivalent counts, by its own noise.

    Parameters
    ----------
    signal : hyperspy.signals.BaseSignal
        A map as recorded; may hold negative values.
    model : NoiseModel, optional
        By default estimated from the data.

    Returns
    -------
    hyperspy.signals.BaseSignal
        Lazy. Its ``metadata.Siftem.pedestal`` is taken off by `integrate`; don't rebin it.
        ``metadata.Siftem.notes`` tells what was found, and HyperSpy's
        ``Noise_properties.Variance_linear_model`` of the *original* signal is set to it.

    Examples
    --------
    >>> import numpy as np
    >>> from siftem import signals as sft
    >>> elnes = siftem.simulate_elnes((16, 16), counts=400).spectrum_image
    >>> s = siftem.to_hyperspy(elnes)
    >>> s.data = 3.0 * s.data.compute()  # a camera that shows three for each electron
    >>> counted = sft.as_counts(s)
    >>> round(s.data.sum() / counted.data.sum().compute())
    3
    """
    layout = read_layout(signal, "EELS")
    if len(layout.order) == 4:
        raise InputError(
            "as_counts needs one map, not a stack of frames: sum them first, s.sum('frame') with "
            "the name of their axis"
        )
    if layout.order != (0, 1, 2) or layout.reverse:
        raise InputError("as_counts needs a map over (y, x) with energies that rise")
    acquisition, _ = read_acquisition(signal.metadata)
    data = signal.data.compute() if hasattr(signal.data, "dask") else signal.data
    si, found = noise.as_counts(
        data,
        layout.axis,
        noise=model,
        pixel_size=layout.pixel_size,
        acquisition=acquisition,
        title=text_in(signal.metadata, "General.title"),
    )
    node = "Signal.Noise_properties.Variance_linear_model"
    signal.metadata.set_item(f"{node}.gain_factor", found.gain)
    signal.metadata.set_item(f"{node}.gain_offset", found.floor)
    signal.metadata.set_item(f"{node}.correlation_factor", found.correlation_factor)
    counted = to_hyperspy(si)
    counted.metadata.set_item("Siftem.notes", list(si.notes))
    return counted


@shows_progress
def run(signal: Any, *, progress: Progress = silent, **sections: Any) -> RunResult:
    """Run the whole road on a signal.

    Parameters
    ----------
    signal : hyperspy.signals.BaseSignal
    progress : Progress
    **sections
        Keys of a recipe but ``input``: ``elements=[...]``, ``phases={...}``, ``matrix=...``.

    Returns
    -------
    RunResult
        For :func:`siftem.write_results`; ``.factors`` are in ``signal.learning_results``.

    Examples
    --------
    >>> from siftem import signals as sft
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> s = siftem.to_hyperspy(phantom.spectrum_image.without_zero_peak())
    >>> elements = ["O", "Mg", "Al", "Si", "Ca", "Fe"]
    >>> result = sft.run(s, elements=elements, support=["Cu"], decompose={"components": 2})
    >>> len(result.factors.names) == s.learning_results.output_dimension
    True
    """
    checked_layout(signal)
    si = from_hyperspy(signal)
    if "input" in sections:
        raise InputError("the signal is the input: leave input out of the recipe's sections")
    recipe = make_recipe({"input": {"file": si.title or "signal"}, **sections})
    result = Workflow(recipe, spectrum_image=si).result(progress=progress)
    store(signal, result.factors)
    return result


def _as_signals(found: Factors, si: SpectrumImage) -> SignalFactors:
    maps = to_hyperspy(found.maps, like=si, title="maps")
    spectra = to_hyperspy(Spectrum(found.spectra[0], found.axis, name="spectra"), like=si)
    stack = _stacked(spectra, found)
    for signal in (maps, stack):
        signal.metadata.set_item("Siftem.names", list(found.names))
    return SignalFactors(maps, stack, found)


def _stacked(one: Any, found: Factors) -> Any:
    """A signal like ``one`` that holds all spectra over a component axis."""
    copy = one.deepcopy()
    del copy.metadata.Signal.Noise_properties
    axis = copy.axes_manager.signal_axes[0].get_axis_dictionary()
    count = {"name": "component", "size": len(found.spectra), "navigate": True}
    stack = type(one)(np.array(found.spectra), axes=[count, axis])
    stack.metadata.add_dictionary(copy.metadata.as_dictionary())
    return stack


def _like(spectrum: Spectrum, signal: Any) -> Any:
    """A signal of the kind and with the metadata of another one."""
    out = to_hyperspy(spectrum)
    out.set_signal_type(signal.metadata.Signal.signal_type)
    own = out.metadata.as_dictionary()
    kept = signal.metadata.deepcopy()
    for key in ("Acquisition_instrument", "Sample"):
        if kept.has_item(key):
            out.metadata.set_item(key, kept.get_item(key))
    out.metadata.General.title = own["General"]["title"]
    return out


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
