"""Maps of all line families by a fit to the counts of each pixel."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from siftem.decomposition.count_sums import share_out
from siftem.element_map_kernels import add_up_events, fit_pixels
from siftem.errors import DoubtWarning, InputError, SiftemWarning
from siftem.fit.element_search import find_elements
from siftem.fit.line_fit import LineFit, LineFitter
from siftem.fit.poisson import covariance_of
from siftem.fit.spectrum_model import quantified_family
from siftem.hyperspy_input import as_map
from siftem.large.rows_of_counts import BlockedCounts
from siftem.machine import available
from siftem.progress import Progress, shows_progress, silent
from siftem.quantification.detection_limit import warn_of_unexplained
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.views import outline
from siftem.xray.detector import Detector
from siftem.xray.elements import element_symbols

#: Name of the map of all that is no line.
CONTINUUM = "continuum"
#: What is no line: the continuum with sum peaks, in parts that overlap; a channel has at least
#: this part of their mean.
_PARTS, _LEAST = 3, 1e-3
#: Pixels that a thread takes at a time.
_PIXELS = 2048
#: Newton steps on a pixel at the most, and the gain in ln likelihood below which it is done.
_STEPS, _GAIN = 60, 1e-3
#: Sums of single pixels that are off by more than this part, and standard deviations, are told.
_OFF, _CLEAR = 0.1, 5.0
#: Families that a warning names.
_NAMED = 4
#: Standard deviations from which on lines of elements that are not listed are told.
_UNLISTED = 8.0


@dataclass(frozen=True, eq=False)
class ElementMaps:
    """Counts of line families in each pixel.

    Parameters
    ----------
    names : tuple of str
        Families such as "Fe K", then "continuum".
    counts : ndarray of float32, shape (names, ny, nx)
        Detected in all lines of a family within the fitted range. The continuum holds sum peaks.
    sigma : ndarray of float32, shape (names, ny, nx)
        Standard deviations by counting. The response and the ratios of lines within a family are
        those of the whole map; their errors are alike in all pixels and not in it.
    fit : LineFit
        Of the sum of all pixels.
    nonnegative : bool
        Whether counts are kept from being negative.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> maps = siftem.element_maps(
    ...     phantom.spectrum_image, ["O", "Mg", "Al", "Si", "Ca", "Fe", "Cu"], nonnegative=False
    ... )
    >>> maps.names[maps.index("Mg")], maps["Mg"].shape
    ('Mg K', (32, 32))
    """

    __repr__ = outline

    names: tuple[str, ...]
    counts: np.ndarray
    sigma: np.ndarray
    fit: LineFit
    nonnegative: bool

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements with a map, in the order they were asked for."""
        return tuple(dict.fromkeys(f.element for f in self.fit.model.families))

    @property
    def totals(self) -> np.ndarray:
        """Counts of all pixels together by the fit to their sum; float64 (names,).

        Sums of maps that can't be negative are too large for what is faint; these are not.
        """
        n = len(self.names) - 1
        lines = self.fit.amplitudes[:n] * self.fit.design[:, :n].sum(axis=0)
        rest = (self.fit.design[:, n:] @ self.fit.amplitudes[n:]).sum()
        return np.append(lines, rest)

    def index(self, name: str) -> int:
        """Position of a family, or of that by which an element is quantified.

        Raises
        ------
        InputError
            When there is none.
        """
        if name in self.names:
            return self.names.index(name)
        family = quantified_family(self.fit.model.families, name, self.fit.spectrum.axis)
        if family is None:
            raise InputError(
                f"there is no map of {name!r}: there are {', '.join(self.elements)} and "
                f"{', '.join(self.names)}"
            )
        return self.names.index(family.name)

    def __getitem__(self, name: str) -> np.ndarray:
        """Counts of a family ("Fe L"), or of an element ("Fe": K before L before M); (ny, nx)."""
        return np.asarray(self.counts[self.index(name)])


@shows_progress
def element_maps(
    si: SpectrumImage,
    elements: Sequence[str] | None = None,
    *,
    support: Sequence[str] = (),
    nonnegative: bool = True,
    beam_energy: float | None = None,
    detector: Detector | None = None,
    energy_range: tuple[float | None, float | None] = (0.2, None),
    n_jobs: int | None = None,
    progress: Progress = silent,
) -> ElementMaps:
    """Fit all line families and the continuum to the counts of each pixel.

    The sum of all pixels tells the detector's response, the shape of each family and that of the
    continuum. Their amounts in a pixel then maximise its Poisson likelihood: lines that overlap
    are told apart, and the continuum is taken off, which maps of energy windows can't do.

    Amounts of a single pixel that can't be negative are best for looking at, but not unbiased:
    what is not there comes out as some tenths of its standard deviation, which sums of many
    pixels show. With ``nonnegative=False`` each count adds to the amounts by weights that are best
    for the mean spectrum of the map: without bias at any number of counts, some of them negative.
    Errors are those of that sum, for the counts that were found and one of the mean spectrum: an
    empty pixel does not tell that nothing is there. They are given for both.

    Parameters
    ----------
    si : SpectrumImage
        Counts of X-rays, in memory or on disk; or a HyperSpy signal.
    elements : sequence of str, optional
        By default those that the file lists, else those that the sum of all pixels shows.
    support : sequence of str
        Of grid and preparation; they get maps, too.
    nonnegative : bool
        False for sums and means over pixels.
    beam_energy : float, optional
        keV; by default the acquisition's.
    detector : Detector, optional
        By default of the acquisition.
    energy_range : tuple
        Fitted range in keV; None means the end of the axis.
    n_jobs : int, optional
        Threads; by default all processors.
    progress : Progress
        Called with "element maps".

    Returns
    -------
    ElementMaps

    Raises
    ------
    InputError
        When these are no X-rays, the beam energy is not known, or no element has a line.

    Warns
    -----
    SiftemWarning
        Of lines that no element explains, and where sums over pixels would be off.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> maps = siftem.element_maps(
    ...     phantom.spectrum_image, ["O", "Mg", "Al", "Si", "Ca", "Fe", "Cu"], nonnegative=False
    ... )
    >>> maps["Mg"].shape, maps.names[-1]
    ((32, 32), 'continuum')
    >>> bool(maps.sigma[maps.index("Fe L")].min() > 0)
    True
    """
    si = as_map(si)
    if not si.signal_type.startswith("EDS") and si.signal_type:
        raise InputError(
            f"element maps are fitted to X-ray lines, and this map is of type {si.signal_type}"
        )
    progress("element maps", 0.0)
    fit = _fit_of_sum(si, elements, support, beam_energy, detector, energy_range)
    names, shapes = _shapes(fit)
    n_lines, k = len(names), shapes.shape[1]
    first = si.axis.window_kev(*energy_range).start
    channels = (first, first + len(shapes))
    expected = np.maximum(fit.mean, 1e-9 * fit.mean.max())
    weighted = shapes / expected[:, None]
    gives = weighted @ covariance_of(shapes.T @ weighted)
    # Behind the parts of the continuum their sum, which is known far better than they are.
    gives = np.column_stack([gives, gives[:, n_lines:].sum(axis=1)])
    # Counts of each shape, and one of the mean spectrum, scatter the amounts by so much.
    scatter = shapes.T @ gives**2
    one_more = (expected / expected.sum() + si.pedestal) @ gives**2
    known = si.pedestal * gives.sum(axis=0)
    shown = [*range(n_lines), k]
    counts = np.empty((n_lines + 1, si.n_pixels), np.float32)
    sigma = np.empty_like(counts)

    def work(item: tuple[sp.csr_array, int, int, int]) -> tuple[int, np.ndarray]:
        rows, place, low, high = item
        start = rows.indptr[low : high + 1].astype(np.int64)
        of = slice(start[0], start[-1])
        # One type each, whatever the map has: the kernels are compiled once.
        own = (start - start[0], rows.indices[of].astype(np.int32), rows.data[of].astype(float))
        arrays = (*own, channels)
        amounts = np.tile((-known).astype(np.float32), (high - low, 1))
        add_up_events(*arrays, gives, amounts)
        sums, left = [amounts.sum(axis=0, dtype=np.float64)], 0
        total = amounts[:, :k].sum(axis=1, keepdims=True)
        if nonnegative:
            left = fit_pixels(*arrays, shapes, si.pedestal, n_lines, _GAIN, _STEPS, amounts)
            amounts[:, k] = amounts[:, n_lines:k].sum(axis=1)
        sums.append(amounts.sum(axis=0, dtype=np.float64))
        there = np.maximum(amounts[:, :k], 0.0)
        there *= np.maximum(total, 0.0) / np.maximum(there.sum(axis=1, keepdims=True), 1e-30)
        to = slice(place + low, place + high)
        counts[:, to] = amounts[:, shown].T
        sigma[:, to] = np.sqrt(there @ scatter[:, shown] + one_more[shown]).T
        return left, np.array(sums)

    unsettled, sums = 0, np.zeros((2, k + 1))
    for rows, place in _blocks(si):
        edges = range(0, rows.shape[0], _PIXELS)
        items = [(rows, place, low, min(low + _PIXELS, rows.shape[0])) for low in edges]
        for left, added in share_out(work, items, n_jobs or available()):
            unsettled, sums = unsettled + left, sums + added
        progress("element maps", (place + rows.shape[0]) / si.n_pixels)
    if unsettled:
        warnings.warn(
            f"the fit of {unsettled} of {si.n_pixels} pixels did not settle in {_STEPS} steps",
            DoubtWarning,
            stacklevel=2,
        )
    _warn_of_bias(names, sums[:, :n_lines], np.sqrt((gives**2).T @ fit.spectrum.variance))
    shape = (n_lines + 1, *si.shape)
    return ElementMaps(
        (*names, CONTINUUM), counts.reshape(shape), sigma.reshape(shape), fit, nonnegative
    )


def _fit_of_sum(
    si: SpectrumImage,
    elements: Sequence[str] | None,
    support: Sequence[str],
    beam_energy: float | None,
    detector: Detector | None,
    energy_range: tuple[float | None, float | None],
) -> LineFit:
    fitter = LineFitter.of(
        si.acquisition,
        (),
        support,
        beam_energy=beam_energy,
        detector=detector,
        energy_range=energy_range,
    )
    total, pedestal = si.sum_spectrum(), np.full(si.n_channels, si.n_pixels * si.pedestal)
    whole = Spectrum(
        total - pedestal,
        si.axis,
        variance=total,
        background=pedestal,
        name="the sum of all pixels",
        n_pixels=si.n_pixels,
        acquisition=si.acquisition,
    )
    wanted = si.acquisition.elements if elements is None else elements
    if elements is None and not wanted:
        beam, own = fitter.beam_energy, fitter.detector
        wanted = tuple(f.element for f in find_elements(whole, beam_energy=beam, detector=own))
    fit = replace(fitter, elements=element_symbols(wanted)).fit(whole)
    if not fit.model.families:
        raise InputError("none of the elements has a line in the fitted range: name others")
    warn_of_unexplained(fit, whole.name, _UNLISTED)
    return fit


def _shapes(fit: LineFit) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the families, and shapes of sum one: theirs, then parts of all the rest; (m, k).

    Valence lines go with the family of their element that is fitted, in the ratio of the sum.
    """
    families = fit.model.families
    n = len(families)
    names = fit.names[:n]
    seen = fit.design * fit.amplitudes
    lines, rest = np.maximum(fit.design[:, :n], 0.0), seen[:, n:].sum(axis=1)
    for valence in fit.model.valence:
        at = fit.names.index(valence.name)
        own = [i for i, f in enumerate(families) if f.element == valence.element]
        strongest = max(own, key=lambda i: float(seen[:, i].sum()))
        if fit.amplitudes[strongest] > 0:
            lines[:, strongest] += seen[:, at] / fit.amplitudes[strongest]
            rest = rest - seen[:, at]
    rest = np.maximum(rest, _LEAST * max(float(rest.mean()), 1e-9))
    kev = fit.spectrum.axis.to_kev()
    place = np.log(np.maximum(kev.centers, 1e-3))
    nodes = np.linspace(place[0], place[-1], _PARTS)
    parts = rest[:, None] * np.stack([np.interp(place, nodes, e) for e in np.eye(_PARTS)], axis=1)
    shapes = np.column_stack([lines, parts])
    return names, np.ascontiguousarray(shapes / shapes.sum(axis=0))


def _blocks(si: SpectrumImage) -> Iterator[tuple[sp.csr_array, int]]:
    """Counts of the map as rows in memory, each with the number of its first pixel."""
    if not isinstance(si.counts, BlockedCounts):
        yield si.counts, 0
        return
    for first, last in si.counts.blocks:
        yield si.counts.rows(np.arange(first, last)), first


def _warn_of_bias(names: Sequence[str], sums: np.ndarray, noise: np.ndarray) -> None:
    """Tell of families whose sum over pixels is off, since single pixels can't be negative."""
    free, kept = sums
    off = np.abs(kept - free)
    told = [
        i
        for i in np.argsort(-off / noise[: len(names)])
        if off[i] > max(_OFF * abs(free[i]), _CLEAR * noise[i])
    ]
    if told:
        some = ", ".join(f"{names[i]} {kept[i]:.3g} for {free[i]:.3g}" for i in told[:_NAMED])
        warnings.warn(
            f"amounts of single pixels that can't be negative don't add up ({some}"
            f"{', ...' if len(told) > _NAMED else ''}): for sums and means over pixels use "
            f"nonnegative=False (--signed)",
            SiftemWarning,
            stacklevel=3,
        )
