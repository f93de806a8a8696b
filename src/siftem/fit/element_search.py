"""Which elements a spectrum shows, and in words where a model does not describe it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from siftem.energy_axis import EnergyAxis
from siftem.errors import DoubtWarning, InputError
from siftem.fit.greedy_search import COMMON, GreedySearch, left_of, smooth_columns
from siftem.fit.line_evidence import FoundElement, line_doubt
from siftem.fit.line_search import CANDIDATES, LineLibrary, residual_variance
from siftem.fit.null_elements import null_scatter
from siftem.fit.peaks_left import peaks_left
from siftem.fit.propagation import LineFit
from siftem.hyperspy_input import as_spectrum
from siftem.machine import one_blas_thread
from siftem.progress import Progress, shows_progress, silent
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.elements import atomic_number
from siftem.xray.lines import line_families, line_family
from siftem.xray.response import pile_up

__all__ = ["FoundElement", "find_elements", "unexplained_lines"]

#: Elements at the most; a spectrum with more is not understood.
_MOST = 30
#: Numbers of elements after which the energy scale is fitted anew.
_CALIBRATE_AT = (2, 5, 10, 18)
#: A search that leaves less than this part of the misfit takes the place of another.
_MENDED = 0.5
#: Elements of one line, among the L lines of metals.
_SOFT_ONLY = ("C", "N", "O", "F", "Ne")
#: What the model lacks beside an L line reaches so far (keV).
_ON_L = 0.05


@shows_progress
def find_elements(
    spectrum: Spectrum,
    *,
    beam_energy: float | None = None,
    detector: Detector | None = None,
    significance: float = 6.0,
    candidates: Sequence[str] = CANDIDATES,
    energy_range: tuple[float | None, float | None] = (0.25, None),
    progress: Progress = silent,
) -> tuple[FoundElement, ...]:
    """Suggest the elements of a spectrum.

    The energy scale may be 150 eV off: it is found first, by the least shift at which lines of
    all candidates explain the spectrum about as well as at any; that others do, too, is told.
    The scale is then kept about there unless that leaves much unexplained. Then elements are
    added to a smooth continuum, one after the other: the one whose lines stand out most from
    what is left (score test), provided that all its lines that should show do show; an element
    that is rarely met must show two resolved peaks. Where nothing else explains a K alpha line
    of a common element that stands out by far, its K beta may be missing: `FoundElement.lacks`
    says so. The continuum may bend, sum peaks are allowed for, and so are tails, escape peaks
    and the ratios of lines as far as they are not known (`siftem.xray.lines`); a share of each
    peak counts as unknown. In the end all are fitted together and what is not significant is
    dropped. A suggestion: elements whose lines coincide can be mistaken for each other.

    Parameters
    ----------
    spectrum : Spectrum
        Or a HyperSpy signal.
    beam_energy : float, optional
        keV; by default the acquisition's, else 200.
    detector : Detector, optional
    significance : float
        Standard deviations that an element must reach.
    candidates : sequence of str
        Elements that are tried.
    energy_range : tuple
        In keV.
    progress : Progress
        Called with the elements found so far; how many there will be is not known.

    Returns
    -------
    tuple of FoundElement
        Most counts first.

    Raises
    ------
    InputError
        When the spectrum holds no counts in the range, or no candidate has a line there.

    Warns
    -----
    DoubtWarning
        When too few lines tell the scale of the energies, or nothing tells the beam energy.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> spectrum = siftem.integrate(si, phantom.mask("Brg"), name="Brg")
    >>> found = siftem.find_elements(spectrum, candidates=["O", "Mg", "Si", "Fe", "Cu", "Au"])
    >>> sorted(f.element for f in found)
    ['Cu', 'Fe', 'Mg', 'O', 'Si']
    """
    spectrum = as_spectrum(spectrum)
    if not significance > 0:
        raise InputError(f"significance must be positive, got {significance}")
    for element in candidates:
        atomic_number(element)
    if not beam_energy:
        spectrum.acquisition.tell_assumed_beam()
    energy = beam_energy or spectrum.acquisition.beam
    detector = detector or Detector.of(spectrum.acquisition)
    cut = spectrum.sliced(spectrum.axis.window_kev(*energy_range))
    kev = cut.axis.to_kev()
    if kev.last >= energy:
        cut = spectrum.sliced(spectrum.axis.window_kev(energy_range[0], 0.98 * energy))
    counts = cut.counts
    if not counts.sum() > 0:
        raise InputError(f"spectrum {spectrum.name!r} holds no counts: no element to find")
    search = partial(
        _searched, cut, energy=energy, detector=detector, significance=significance,
        progress=progress,
    )  # fmt: skip
    with one_blas_thread():
        found, fit = search(candidates, calibrate_at=_CALIBRATE_AT, near=True)
        for calibrate_at in (_CALIBRATE_AT, _CALIBRATE_AT[1:]):
            if fit is None or structure_of(fit) is None:
                break
            # The scale may be farther off; fitted to few elements, it may have taken lines of
            # others for theirs.
            again = [e for e in candidates if e not in _left_by_l_lines(found, energy)]
            later, closer = search(again, calibrate_at=calibrate_at, near=False)
            if closer is None:
                continue
            # More elements always come closer: what is wrong by the scale is wrong by far.
            if closer.reduced_deviance - 1 < _MENDED * (fit.reduced_deviance - 1):
                found, fit = later, closer
        return found


def _left_by_l_lines(found: Sequence[FoundElement], energy: float) -> set[str]:
    """Light elements that were not found, and whose one line lies on L lines of those that were."""
    seen = [f.element for f in found]
    soft = line_families(seen, beam_energy=energy, low=0.1, high=1.0)
    near = [f.alpha_energy for f in soft if f.shell == "L"]
    out = set()
    for element in _SOFT_ONLY:
        at = line_family(element, "K", beam_energy=energy).alpha_energy
        if element not in seen and any(abs(at - e) < _ON_L for e in near):
            out.add(element)
    return out


def _searched(
    cut: Spectrum,
    candidates: Sequence[str],
    *,
    energy: float,
    detector: Detector,
    significance: float,
    calibrate_at: Sequence[int],
    near: bool,
    progress: Progress,
) -> tuple[tuple[FoundElement, ...], LineFit | None]:
    """Search once; return the elements and their fit, None without any."""
    search = GreedySearch(cut, candidates, energy, detector)
    chosen: list[str] = []
    calibrated: list[str] = []
    waiting = set(calibrate_at)
    for _ in range(_MOST):
        best = search.next_element(chosen, significance)
        if best is None:
            break
        chosen.append(best)
        progress(f"{len(chosen)} elements so far", 0.0)
        if len(chosen) in waiting:
            # Once at each number: what is dropped then and comes again would go on for ever.
            waiting.remove(len(chosen))
            search.calibrate(chosen, near=near)
            calibrated, chosen = chosen, search.reconsidered(chosen, significance)
    for _ in range(2):
        if chosen == calibrated:  # the scale was fitted with these very elements
            break
        progress(f"checking {len(chosen)} elements", 0.0)
        search.calibrate(chosen, near=near)
        calibrated, chosen = chosen, search.reconsidered(chosen, significance)
    found, fit = search.confirmed(chosen, significance)
    if near and found and search.rival_shifts:
        rivals = ", ".join(f"{1e3 * shift:+.0f}" for shift in search.rival_shifts)
        warnings.warn(
            f"{cut.name or 'the spectrum'}: the elements are uncertain, for few lines tell the "
            f"scale of the energies: taken to be off by {1e3 * search.likely_shift:+.0f} eV, but "
            f"with {rivals} eV lines of other elements would explain it about as well. Name the "
            f"elements",
            DoubtWarning,
            stacklevel=4,
        )
    return found, fit


def unexplained_lines(
    fit: LineFit,
    *,
    significance: float = 8.0,
    most: int = 10,
) -> tuple[FoundElement, ...]:
    """Name lines in the residual of a fit that none of its elements explains.

    Parameters
    ----------
    fit : LineFit
    significance : float
        Standard deviations that an element's lines must reach in the residual.
    most : int
        Elements to name at the most.

    Returns
    -------
    tuple of FoundElement
        The likely element of each line, most significant first; each is added to the fit
        before the next is sought.
    """
    spectrum, model = fit.spectrum, fit.model
    counts = spectrum.counts
    extra = np.maximum(np.asarray(spectrum.variance) - counts, 0.0)
    variance = residual_variance(fit.mean, fit.mean - fit.continuum, spectrum.axis, extra)
    if not _stands_out(counts - fit.mean, variance, spectrum.axis, 0.5 * significance):
        return ()
    known = {f.element for f in model.families}
    library = LineLibrary(
        [e for e in CANDIDATES if e not in known],
        spectrum.axis, model.beam_energy, model.detector, fit.calibration,
    )  # fmt: skip
    if not library.families:
        return ()
    bends = smooth_columns(fit.continuum, spectrum.axis)
    energies = fit.calibration.true_energies(spectrum.axis)
    sums = pile_up(counts, spectrum.axis, energies=energies)
    design = np.hstack([fit.design, bends, sums])
    photons = fit.amplitudes[: len(model.families)]
    doubt = line_doubt(model, spectrum.axis, fit.calibration).columns(photons)
    found: list[FoundElement] = []
    while len(found) < most:
        left = left_of(counts - fit.mean, variance, design, doubt)
        passed_over = {f.element for f in found}
        standing_out = library.best(left, passed_over, significance, common=COMMON)
        if not standing_out:
            break
        best, evidence = next(iter(standing_out.items()))
        scores = library.scores(left)
        lead = library.clearest(best, scores)
        seen = float(scores.family[lead] * library.profiles[:, lead].sum())
        family = library.families[lead]
        z = float(scores.significance[library.elements.index(best)])
        found.append(FoundElement(best, family.name, family.alpha_energy, seen, z, evidence))
        design = np.hstack([design, library.profiles[:, library.of(best)]])
    return tuple(sorted(found, key=lambda f: -f.significance))


def _stands_out(
    residual: np.ndarray, variance: np.ndarray, axis: EnergyAxis, significance: float
) -> bool:
    """Whether the residual, summed over a peak's width, rises this high anywhere."""
    width = max(round(0.08 / axis.to_kev().scale), 1)
    box = np.ones(width)
    sums = np.convolve(residual, box, mode="same")
    return bool((sums > significance * np.sqrt(np.convolve(variance, box, mode="same"))).any())


#: A residual over a peak's width is told from this many standard deviations on, and only if
#: it is this share of the counts there: in sums of 1e7 counts no model is without the first.
_CLEAR, _LARGE = 8.0, 0.2
#: Standard deviations from which on a fit tells fainter lines: noise reaches this in one spectrum
#: of a thousand.
_UNLISTED = 4.0
#: Below (keV) windows and the ends of spectra differ from detector to detector.
_SOFTEST = 0.35


@dataclass(frozen=True)
class Structure:
    """A residual that is no noise.

    Parameters
    ----------
    low, high : float
        Range of energies in keV in which it stands out.
    worst : float
        Energy in keV at which it is farthest out.
    excess : float
        Residual there over a peak's width, as a share of what the model expects.
    significance : float
        The same in standard deviations.
    reduced_deviance : float
        Of the whole fit.
    """

    low: float
    high: float
    worst: float
    excess: float
    significance: float
    reduced_deviance: float


def structure_of(fit: LineFit) -> Structure | None:
    """Return where the model that fits best is clearly off the counts, or None.

    Parameters
    ----------
    fit : LineFit

    Returns
    -------
    Structure or None
    """
    kev = fit.spectrum.axis.to_kev()
    width = fit.model.detector.fwhm(np.maximum(kev.centers, 0.0)) * 1e-3
    reach = np.maximum(0.5 * width / kev.scale, 0.5)
    extra = np.maximum(fit.spectrum.variance - fit.spectrum.counts, 0.0)
    residual = _within(fit.spectrum.counts - fit.closest, reach)
    expected = _within(fit.closest, reach)
    sigma = np.sqrt(_within(fit.closest + extra, reach))
    z = residual / np.maximum(sigma, 1.0)
    share = np.abs(residual) / np.maximum(expected, 1.0)
    out = (np.abs(z) > _CLEAR) & (share > _LARGE) & (kev.centers > _SOFTEST)
    if not out.any():
        return None
    worst = int(np.argmax(np.where(out, np.abs(z), 0.0)))
    where = kev.centers[out]
    return Structure(
        float(where[0]),
        float(where[-1]),
        float(kev.centers[worst]),
        float(residual[worst] / max(expected[worst], 1.0)),
        float(z[worst]),
        fit.reduced_deviance,
    )


def warn_of_structure(fit: LineFit, name: str = "", *, stacklevel: int = 3) -> bool:
    """Warn when a model does not describe a spectrum or leaves peaks; say what may be missing.

    Parameters
    ----------
    fit : LineFit
    name : str
        Of the spectrum, by default its own.
    stacklevel : int
        As of `warnings.warn`.

    Returns
    -------
    bool
        Whether it warned.

    Warns
    -----
    SiftemWarning
        With the reduced deviance and the range of energies, and each peak with its significance
        and the elements that it may be of.
    """
    found, peaks = structure_of(fit), peaks_left(fit)
    if found is None and not peaks:
        return False
    label, left = name or fit.spectrum.name or "the spectrum", "; ".join(map(str, peaks))
    if found is None:
        what = f"{label}: the fit leaves what no listed element explains, peaks {left}"
    else:
        span = (
            f"from {found.low:.2f} to {found.high:.2f} keV"
            if found.high > found.low
            else f"at {found.low:.2f} keV"
        )
        looks = f"with peaks {left}" if peaks else "and no peaks of other elements stand out"
        what = (
            f"{label}: the model does not describe this spectrum {span}: reduced deviance "
            f"{found.reduced_deviance:.3g}, worst at {found.worst:.2f} keV "
            f"({100 * found.excess:+.0f}%), {looks}"
        )
    warnings.warn(
        f"{what}: what lies there has large errors; check the elements and the support",
        DoubtWarning,
        stacklevel=stacklevel,
    )
    return True


def warn_of_unlisted(fit: LineFit, name: str = "", *, stacklevel: int = 3) -> None:
    """Warn as `warn_of_structure` does, else of fainter lines of common elements.

    Parameters
    ----------
    fit : LineFit
    name : str
        Of the spectrum, by default its own.
    stacklevel : int
        As of `warnings.warn`.

    Warns
    -----
    DoubtWarning
        With lines, energies and significances.
    """
    if warn_of_structure(fit, name, stacklevel=stacklevel + 1):
        return
    there = null_scatter(fit, sorted(COMMON)).contaminants
    found = [f for f in there if f.significance > _UNLISTED]
    if found:
        told = ", ".join(
            f"{f.line} ({f.energy:.2f} keV, {f.significance:.1f} sigma)" for f in found
        )
        warnings.warn(
            f"{name or fit.spectrum.name or 'the spectrum'}: {told}: in no list, but there: "
            f"elements on whose lines they lie get their counts; add them to the elements or to "
            f"the support",
            DoubtWarning,
            stacklevel=stacklevel,
        )


def _within(values: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Sums over ``reach`` channels to both sides; (channels,)."""
    below = np.concatenate([[0.0], np.cumsum(values)])
    place = np.arange(values.size)
    first = np.maximum(np.floor(place - reach + 0.5).astype(int), 0)
    last = np.minimum(np.ceil(place + reach + 0.5).astype(int), values.size)
    return np.asarray(below[last] - below[first])
