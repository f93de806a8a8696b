"""Which elements a spectrum shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from siftem.blas_threads import one_blas_thread
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.fit.greedy_search import COMMON, GreedySearch, left_of, smooth_columns
from siftem.fit.line_evidence import FoundElement, line_doubt
from siftem.fit.line_fit import LineFit
from siftem.fit.line_search import CANDIDATES, LineLibrary, residual_variance
from siftem.hyperspy_input import as_spectrum
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.elements import atomic_number
from siftem.xray.response import pile_up

__all__ = ["FoundElement", "find_elements", "unexplained_lines"]

#: Elements at the most; a spectrum with more is not understood.
_MOST = 30
#: Numbers of elements after which the energy scale is fitted anew.
_CALIBRATE_AT = (2, 5, 10, 18)


def find_elements(
    spectrum: Spectrum,
    *,
    beam_energy: float | None = None,
    detector: Detector | None = None,
    significance: float = 6.0,
    candidates: Sequence[str] = CANDIDATES,
    energy_range: tuple[float | None, float | None] = (0.25, None),
) -> tuple[FoundElement, ...]:
    """Suggest the elements of a spectrum.

    The energy scale may be 150 eV off: it is found first, by the shift at which lines of
    all candidates explain the spectrum best. Then elements are added to a smooth continuum, one
    after the other: the one whose lines stand out most from what is left (score test),
    provided that all its lines that should show do show; an element that is rarely met must
    show two resolved peaks. The continuum may bend, sum peaks are allowed for, and so are
    tails, escape peaks and the ratios of lines as far as they are not known
    (`siftem.xray.lines`); a share of each peak counts as unknown. In the end all are
    fitted together and what is not significant is dropped. A suggestion: elements whose lines
    coincide can be mistaken for each other.

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

    Returns
    -------
    tuple of FoundElement
        Most counts first.

    Raises
    ------
    InputError
        When the spectrum holds no counts in the range, or no candidate has a line there.

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
    energy = beam_energy or spectrum.acquisition.beam_energy or 200.0
    detector = detector or Detector.of(spectrum.acquisition)
    cut = spectrum.sliced(spectrum.axis.window_kev(*energy_range))
    kev = cut.axis.to_kev()
    if kev.last >= energy:
        cut = spectrum.sliced(spectrum.axis.window_kev(energy_range[0], 0.98 * energy))
    counts = cut.counts
    if not counts.sum() > 0:
        raise InputError(f"spectrum {spectrum.name!r} holds no counts: no element to find")
    with one_blas_thread():
        search = GreedySearch(cut, candidates, energy, detector)
        chosen: list[str] = []
        calibrate_at = set(_CALIBRATE_AT)
        for _ in range(_MOST):
            best = search.next_element(chosen, significance)
            if best is None:
                break
            chosen.append(best)
            if len(chosen) in calibrate_at:
                # Once at each number: what is dropped then and comes again would go on for ever.
                calibrate_at.remove(len(chosen))
                search.calibrate(chosen)
                chosen = search.reconsidered(chosen, significance)
        for _ in range(2):
            search.calibrate(chosen)
            before, chosen = list(chosen), search.reconsidered(chosen, significance)
            if chosen == before:  # the scale was fitted with these very elements
                break
        return search.confirmed(chosen, significance)


def unexplained_lines(
    fit: LineFit,
    *,
    significance: float = 8.0,
    candidates: Sequence[str] = CANDIDATES,
    most: int = 10,
) -> tuple[FoundElement, ...]:
    """Name lines in the residual of a fit that none of its elements explains.

    Parameters
    ----------
    fit : LineFit
    significance : float
        Standard deviations that an element's lines must reach in the residual.
    candidates : sequence of str
        Elements that are tried.
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
        [e for e in candidates if e not in known],
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
