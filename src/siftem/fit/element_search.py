"""Which elements a spectrum shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.fit.line_fit import fit_lines
from siftem.fit.poisson import fit_poisson
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.elements import symbol_of
from siftem.xray.lines import family_emission, line_families

#: Gases, and elements without stable isotopes or in traces only: not proposed.
_UNLIKELY = {"He", "Ne", "Ar", "Kr", "Xe", "Tc", "Pm", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Pa"}
#: From boron to uranium.
_CANDIDATES = tuple(symbol for z in range(5, 93) if (symbol := symbol_of(z)) not in _UNLIKELY)
#: Elements at the most; a spectrum with more is not understood.
_MOST = 25


@dataclass(frozen=True)
class FoundElement:
    """An element that a spectrum shows.

    Parameters
    ----------
    element : str
    line : str
        Its strongest family in the spectrum, such as "Fe K".
    energy : float
        Energy of that family's alpha line, keV.
    counts : float
        Fitted counts of the family.
    significance : float
        Counts over their standard deviation.
    """

    element: str
    line: str
    energy: float
    counts: float
    significance: float


def find_elements(
    spectrum: Spectrum,
    *,
    beam_energy: float | None = None,
    detector: Detector | None = None,
    significance: float = 6.0,
    candidates: Sequence[str] = _CANDIDATES,
    energy_range: tuple[float | None, float | None] = (0.25, None),
) -> tuple[FoundElement, ...]:
    """Suggest the elements of a spectrum.

    Starts from the continuum alone and adds one element after the other: the one whose
    lines, with the ratios of a thin film, fit best what is left (score test of the Poisson
    likelihood), until none is significant. Each added element is then fitted with its
    families free. A suggestion: elements whose lines coincide can be mistaken.

    Parameters
    ----------
    spectrum : Spectrum
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
        When the spectrum holds no counts in the range.
    """
    energy = beam_energy or spectrum.acquisition.beam_energy or 200.0
    detector = detector or Detector(resolution=spectrum.acquisition.resolution or 130.0)
    low, high = energy_range
    unit = 1.0 if spectrum.axis.unit == "keV" else 1e3
    cut = spectrum.cropped(
        None if low is None else low * unit, None if high is None else high * unit
    )
    counts = cut.counts
    if not counts.sum() > 0:
        raise InputError(f"spectrum {spectrum.name!r} holds no counts: no element to find")
    chosen: list[str] = []
    calibration = Calibration(resolution=detector.resolution)
    columns, symbols = _element_columns(candidates, cut.axis, energy, detector, calibration)
    while len(chosen) < _MOST:
        design = _design(chosen, cut.axis, energy, detector, calibration)
        found = fit_poisson(design, counts, offset=cut.background, max_iter=40)
        # A fit to structured data is never perfect: scale the score by the misfit.
        misfit = max(1.0, found.deviance / max(counts.size - design.shape[1], 1))
        weights = 1 / found.mean
        score = columns.T @ ((counts - found.mean) * weights)
        spread = np.sqrt((columns**2).T @ weights)
        # What the fitted columns could take over does not count as new.
        overlap = columns.T @ (design * weights[:, None])
        explained = np.einsum("ep,pq,eq->e", overlap, np.linalg.pinv(found.information), overlap)
        spread = np.sqrt(np.maximum(spread**2 - explained, 1e-3 * spread**2))
        z = score / spread
        z[[symbols.index(e) for e in chosen if e in symbols]] = 0
        best = int(z.argmax())
        if z[best] < significance or z[best] < 3 * np.sqrt(misfit):
            break
        chosen.append(symbols[best])
        if len(chosen) in (2, 5, 10):
            calibration = fit_lines(
                cut, chosen, beam_energy=energy, detector=detector, energy_range=(None, None)
            ).calibration
            columns, symbols = _element_columns(candidates, cut.axis, energy, detector, calibration)
    if not chosen:
        return ()
    return _confirmed(cut, chosen, energy, detector, significance)


def _confirmed(
    spectrum: Spectrum,
    chosen: list[str],
    beam_energy: float,
    detector: Detector,
    significance: float,
) -> tuple[FoundElement, ...]:
    """Fit the chosen elements together and keep what is still significant."""
    fit = fit_lines(
        spectrum, chosen, beam_energy=beam_energy, detector=detector, energy_range=(None, None)
    )
    found = []
    for element in chosen:
        own = [i for i, f in enumerate(fit.model.families) if f.element == element]
        if not own:
            continue
        counts = [fit.amplitudes[i] * fit.design[:, i].sum() for i in own]
        strongest = own[int(np.argmax(counts))]
        z = fit.amplitudes[strongest] / fit.sigma_at_zero(strongest)
        if z >= significance:
            family = fit.model.families[strongest]
            found.append(
                FoundElement(
                    element, family.name, family.alpha_energy, float(max(counts)), float(z)
                )
            )
    return tuple(sorted(found, key=lambda f: -f.counts))


def _element_columns(
    candidates: Sequence[str],
    axis: EnergyAxis,
    beam_energy: float,
    detector: Detector,
    calibration: Calibration,
) -> tuple[np.ndarray, list[str]]:
    """One column for each element: all its families with the ratios of a thin film."""
    kev = axis.to_kev()
    columns, symbols = [], []
    for element in candidates:
        families = line_families([element], beam_energy=beam_energy, low=kev.first, high=kev.last)
        families = [f for f in families if kev.contains(f.alpha_energy)]
        if not families:
            continue
        model = SpectrumModel(tuple(families), beam_energy, detector, n_continuum=1)
        strengths = np.array([family_emission(f, beam_energy) for f in families])
        column = model.line_columns(axis, calibration) @ strengths
        if column.sum() > 0:
            columns.append(column / column.sum())
            symbols.append(element)
    if not columns:
        raise InputError("none of the candidate elements has a line in the energy range")
    return np.stack(columns, axis=1), symbols


def _design(
    chosen: list[str],
    axis: EnergyAxis,
    beam_energy: float,
    detector: Detector,
    calibration: Calibration,
) -> np.ndarray:
    kev = axis.to_kev()
    families = line_families(chosen, beam_energy=beam_energy, low=kev.first, high=kev.last)
    model = SpectrumModel(tuple(families), beam_energy, detector)
    lines = model.line_columns(axis, calibration)
    return np.hstack([lines[:, lines.any(axis=0)], model.continuum_columns(axis, calibration)])
