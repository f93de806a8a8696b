"""The composition of a phase from the spectrum of a thin film (Cliff & Lorimer 1975)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from siftem.errors import InputError
from siftem.fit.line_fit import LineFit, LineFitter
from siftem.fit.spectrum_model import Absorption, Calibration
from siftem.fit.stand_ins import stand_ins, warn_of_stand_ins
from siftem.hyperspy_input import as_spectrum
from siftem.quantification.detection_limit import family_limits, measurable, warn_of_unexplained
from siftem.quantification.factor_lines import resolved_factors, warn_of_factors
from siftem.quantification.film import (
    AbsorbingFilm,
    Film,
    FilmRange,
    Range,
    absorption_feedback,
    attenuation_sigma,
    checked_angle,
    compositions_in,
    escaping_shares,
    film_range,
    lost_by_absorber,
    warn_of_unknown_film,
    window_losses,
)
from siftem.quantification.fractions import Composition
from siftem.quantification.k_values import GivenKFactors, KValues, k_values
from siftem.quantification.minerals import Quantity, oxygen_map
from siftem.quantification.standards import ZetaFactors, mass_thickness
from siftem.spectrum import Spectrum
from siftem.xray.cross_sections import CrossSectionTable
from siftem.xray.detector import Detector
from siftem.xray.elements import element_symbols

__all__ = ["Composition", "Film", "quantify"]

#: Rounds of composition and absorption; four digits settle in three.
_ROUNDS = 8


def quantify(
    spectrum: Spectrum,
    elements: Sequence[str],
    *,
    support: Sequence[str] = (),
    beam_energy: float | None = None,
    thickness: Range | None = None,
    density: Range | None = None,
    take_off_angle: float | None = None,
    detector: Detector | None = None,
    calibration: Calibration | None = None,
    k_factors: GivenKFactors | None = None,
    energy_range: tuple[float | None, float | None] = (0.25, None),
    n_continuum: int | None = None,
    split_l: bool = False,
    oxygen: str = "measured",
    zeta_factors: ZetaFactors | None = None,
    dose: float | None = None,
    cross_sections: CrossSectionTable | None = None,
    warn_above: float | None = 15.0,
) -> Composition:
    """Quantify the spectrum of a phase in a thin film.

    ``C_i = k_i I_i / sum(k I)`` over ``elements``; the ``I`` are photons emitted, from a
    fit of all lines and the continuum at once. With thickness and density, absorption in
    the film is corrected, iterated with the composition.

    Parameters
    ----------
    spectrum : Spectrum
        Pure phase: integrated, or with the matrix subtracted; or such a HyperSpy signal.
    elements : sequence of str
        Elements of the phase.
    support : sequence of str
        Elements of the grid, holder or preparation: fitted, but left out of the sum.
    beam_energy, take_off_angle : float, optional
        keV and degrees; by default those of the acquisition.
    thickness, density : float or pair of float, optional
        nm and g/cm3, or the least and the most that they may be; both or none. Density is
        never guessed. Without them nothing is corrected, and the intervals hold any film up
        to 1e-3 kg/m2 (200 nm of 5 g/cm3). A thickness of 0 alone: nothing is absorbed.
    detector : Detector, optional
        By default one with the acquisition's resolution.
    calibration : Calibration, optional
        Energy scale; fitted by default.
    k_factors : GivenKFactors, optional
        Override computed ones.
    energy_range : tuple
        Fitted range in keV.
    n_continuum : int, optional
        Terms of the continuum; by default as many and as stiff as the spectrum asks for.
    split_l : bool
        Free the L1, L2 and L3 groups; L3 then quantifies.
    oxygen : {"measured", "stoichiometry"}
        Take O from its own line, or as much as the usual charges of the cations need.
    zeta_factors : ZetaFactors, optional
        Instead of k-factors: they also give the mass thickness, and with the take-off angle
        the absorption, so that neither thickness nor density is needed.
    dose : float, optional
        Electrons that hit the pixels of the spectrum; with ``zeta_factors``.
    cross_sections : CrossSectionTable, optional
        Your own, for the computed k-factors.
    warn_above : float or None
        Significance from which on lines in the residual that no element explains are told;
        None looks for none.

    Returns
    -------
    Composition

    Raises
    ------
    InputError
        When nothing was asked for, an element is unknown, none has a line in the range or was
        found, the beam energy is unknown, or only one of thickness and density is given.

    Warns
    -----
    SiftemWarning
        When an element has no line in the range: it is left out. When the residual shows
        lines of other elements; the likely ones are named. When the film is not known and
        can change the composition by more than 2 at%.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> spectrum = siftem.integrate(si, phantom.mask("Brg", at_least=0.99), name="Brg")
    >>> elements = ["O", "Mg", "Al", "Si", "Ca", "Fe"]
    >>> c = siftem.quantify(spectrum, elements, support=["Cu"], thickness=100, density=4.2)
    >>> round(float(c.weight_fractions.sum()), 6)
    1.0
    >>> c.elements[int(c.atomic_fractions.argmax())]
    'O'
    >>> print(c.ratio("Mg/(Mg+Fe)"))
    0.9... +- 0.0... (systematic 0.0...)
    """
    spectrum = as_spectrum(spectrum)
    asked, support = element_symbols(elements), element_symbols(support)
    if not asked:
        raise InputError("name the elements to quantify, for example elements=['O', 'Mg', 'Si']")
    _refuse_bulk(spectrum)
    given = _given_factors(k_factors, zeta_factors, thickness, density, dose)
    if oxygen not in ("measured", "stoichiometry"):
        raise InputError(f"oxygen must be 'measured' or 'stoichiometry', got {oxygen!r}")
    fitter = LineFitter.of(
        spectrum.acquisition,
        asked,
        support,
        beam_energy=beam_energy,
        detector=detector,
        calibration=calibration,
        energy_range=energy_range,
        n_continuum=n_continuum,
        split_l=split_l,
    )
    energy, detector = fitter.beam_energy, fitter.detector
    angle = take_off_angle or spectrum.acquisition.take_off_angle
    known = film_range(thickness, density, angle) if zeta_factors is None else FilmRange(None)
    film = known.film
    amount_map = oxygen_map(asked, oxygen)
    alone = film is None and zeta_factors is None
    first = fitter.fit(spectrum, model_error=alone)
    wanted = measurable(first, asked)
    if wanted != asked:
        if "O" not in wanted:  # nor can its stoichiometric amount be tied to a line
            oxygen = "measured"
        amount_map = oxygen_map(wanted, oxygen)
    factors, shells = None, dict.fromkeys(wanted, "")
    if given is not None:
        factors = resolved_factors(given, first, wanted, detector)
        shells = {e: "".join(factors.shells_of(e)) for e in wanted}
    index = [first.index(e, shells[e] or None) for e in wanted]
    families = [first.model.families[i] for i in index]
    if given is not None and factors is not None:
        warn_of_factors(given, factors, families, energy, detector)
    k = k_values(families, energy, detector, factors, cross_sections)
    lines = _Lines(wanted, index, k, amount_map)

    def by_dose(fit: LineFit) -> Quantity:
        assert dose is not None
        return mass_thickness(fit, index, k, amount_map, dose)

    settled = _settled(
        spectrum, first, fitter, lines, film, angle, None if zeta_factors is None else by_dose
    )
    fit = settled.fit
    if warn_above is not None:
        warn_of_unexplained(fit, spectrum.name, warn_above)
        warn_of_stand_ins(fit, spectrum.name)
    shares = escaping_shares(fit, index, settled.absorption)
    behind_window = known.unknown and detector.window is None and "given" not in k.source
    film_ends = _film_ends(known, fit, lines, shares, behind_window=behind_window)
    found = _with_errors(settled, lines, shares, by_stoichiometry=oxygen == "stoichiometry")
    found = replace(
        found,
        not_in_range=tuple(dict.fromkeys(e for e in (*asked, *fit.dropped) if e not in wanted)),
        film_ends=film_ends,
        stand_in_ends=_without_stand_ins(fit, lines),
    )
    mode = found.film_mode()
    found = replace(found, systematic=found.systematic + np.outer(mode, mode))
    if known.unknown and film_ends is not None and warn_above is not None:
        now, then = (
            dict(zip(wanted, c.atomic_fractions.tolist(), strict=True))
            for c in (found, replace(found, weight_fractions=film_ends[-1]))
        )
        warn_of_unknown_film(spectrum.name, now, then, known.ends[-1], window=behind_window)
    return found


def _given_factors(
    k_factors: GivenKFactors | None,
    zeta_factors: ZetaFactors | None,
    thickness: Range | None,
    density: Range | None,
    dose: float | None,
) -> GivenKFactors | None:
    """Return the factors that stand in place of computed ones, or refuse what can't be used."""
    if zeta_factors is not None:
        if thickness is not None or density is not None or k_factors is not None:
            raise InputError(
                "zeta_factors replace thickness, density and k_factors: give only the dose"
            )
        if dose is None or not 0 < dose < np.inf:
            raise InputError(
                f"zeta_factors need the dose, the number of electrons that hit the region "
                f"(current x live time / 1.602e-19 C), got {dose}"
            )
        return zeta_factors.as_k_factors()
    if k_factors is not None and not isinstance(k_factors, GivenKFactors):
        raise InputError(
            f"k_factors must be GivenKFactors, which say what lines their values are for and "
            f"whether the detector is in them, got {type(k_factors).__name__}"
        )
    return k_factors


def _refuse_bulk(spectrum: Spectrum) -> None:
    if spectrum.acquisition.bulk:
        raise InputError(
            f"{spectrum.name or 'the spectrum'} is of a bulk specimen (SEM or XRF), for which "
            f"k-factors of thin films do not hold: siftem.line_ratios compares its net lines, "
            f"and an exported spectrum (.msa) can be quantified by a ZAF program"
        )


def behind_a_window(composition: Composition) -> Composition | None:
    """Return the composition if the detector has a polymer window of which nobody told.

    Absorption is left as it is.

    Parameters
    ----------
    composition : Composition

    Returns
    -------
    Composition or None
        None where a window was told, even that there is none, and where the film is not known
        either: its range then reaches to a window.
    """
    c = composition
    if c.fit.model.detector.window is not None or (c.film is None and c.film_ends is not None):
        return None
    families = [c.fit.model.families[i] for i in c.columns]
    lost = window_losses(families, c.fit.model.detector, c.k.source)
    amounts = c.k.values * c.fit.amplitudes[list(c.columns)] * lost
    amounts = amounts if c.amount_map is None else c.amount_map @ amounts
    return replace(c, weight_fractions=amounts / amounts.sum())


@dataclass(frozen=True, eq=False)
class _Lines:
    """The elements that can be measured, by which columns of the fits, and with which factors."""

    elements: tuple[str, ...]
    index: list[int]
    k: KValues
    #: Amounts of the elements from those that have lines.
    amount_map: np.ndarray

    def shares(self, fractions: np.ndarray) -> dict[str, float]:
        """Weight fractions by element."""
        return dict(zip(self.elements, fractions.tolist(), strict=True))


def _film_ends(
    known: FilmRange, fit: LineFit, lines: _Lines, shares: np.ndarray, *, behind_window: bool
) -> np.ndarray | None:
    """Compositions in the films that there may be; in the last, behind a window if it may be."""
    if not known.ends:
        return None
    index, model = lines.index, fit.model
    seen = lines.k.values * fit.amplitudes[index] * shares
    ends = compositions_in(known.ends, fit, index, lines.elements, seen, lines.amount_map)
    if behind_window:
        families = [model.families[i] for i in index]
        seen = seen * window_losses(families, model.detector, lines.k.source)
        last = known.ends[-1:]
        ends[-1:] = compositions_in(last, fit, index, lines.elements, seen, lines.amount_map)
    return ends


@dataclass(frozen=True, eq=False)
class _Settled:
    """A composition and the absorption in a film of it."""

    fit: LineFit
    amounts: np.ndarray
    fractions: np.ndarray
    film: Film | None
    absorption: Absorption | None
    areal: Quantity | None


def _settled(
    spectrum: Spectrum,
    fit: LineFit,
    fitter: LineFitter,
    lines: _Lines,
    film: Film | None,
    angle: float | None,
    by_dose: Callable[[LineFit], Quantity] | None,
) -> _Settled:
    """Fit in turn with the absorption of the composition, from the first fit on.

    ``by_dose`` tells the mass thickness where the dose is known, and so the film.
    """
    k, index, calibration = lines.k, lines.index, fitter.calibration
    fractions = np.zeros(0)
    absorption: Absorption | None = None
    areal: Quantity | None = None
    # Until the absorption has settled, fits without the model's errors do: they are quicker.
    last = film is None and by_dose is None
    for turn in range(_ROUNDS):
        if turn > 0:
            now = replace(fitter, absorption=absorption, calibration=calibration)
            fit = now.fit(spectrum, model_error=last)
        # The energy scale is fitted twice, the second time with an absorption that is about
        # right: without it, scale and charge collection would make up for it.
        calibration = fit.calibration if turn > 0 or film is None else fitter.calibration
        amounts = lines.amount_map @ (k.values * fit.amplitudes[index])
        if not amounts.sum() > 0:
            raise InputError(
                f"none of the elements {', '.join(lines.elements)} was found in "
                f"{fit.spectrum.name!r}"
            )
        new = _normalised(amounts)
        if by_dose is not None:
            areal = by_dose(fit)
            film = Film(areal.value * 1e6, 1.0, checked_angle(angle))
        settled = fractions.size and np.abs(new - fractions).max() < 1e-5
        fractions = new
        if last or film is None:
            break
        last = bool(settled) or turn == _ROUNDS - 2
        if not last:
            # What the photons seen would mean in a film of what they say: nearly the next fit's.
            seen = k.values * fit.amplitudes[index] * escaping_shares(fit, index, absorption)
            fractions = compositions_in([film], fit, index, lines.elements, seen, lines.amount_map)[
                0
            ]
        absorption = AbsorbingFilm(lines.shares(fractions), film)
    return _Settled(fit, amounts, fractions, film, absorption, areal)


def _with_errors(
    settled: _Settled, lines: _Lines, shares: np.ndarray, *, by_stoichiometry: bool
) -> Composition:
    """The composition with its errors from counting, model, line ratios and factors.

    ``shares`` are those of the photons that leave the film.
    """
    fit, fractions, film = settled.fit, settled.fractions, settled.film
    k, index, amount_map = lines.k, lines.index, lines.amount_map
    total = settled.amounts.sum()
    # dC/dI of C = M k I / sum(M k I), M being the map of amounts.
    closed = (np.eye(len(fractions)) - fractions[:, None]) @ amount_map
    jacobian = closed * k.values / total
    by_factor = closed * (k.values * fit.amplitudes[index] / total)
    if film is not None:
        back = absorption_feedback(fit, index, lines.shares(fractions), film, by_factor)
        jacobian, by_factor = back @ jacobian, back @ by_factor
    block = np.ix_(index, index)
    by_ratios = jacobian @ fit.ratio_covariance[block] @ jacobian.T
    noise = (fit.covariance - fit.ratio_covariance)[block]
    by_model = noise - fit.counting_covariance[block]
    lost = lost_by_absorber(fit, index, settled.absorption)
    before = k.absorbed or (None,) * len(lost)
    by_film = [attenuation_sigma(*pair) for pair in zip(lost, before, strict=True)]
    relative = np.hypot(k.relative_sigma, by_film)
    limits = [family_limits(fit, i) for i in index]
    scale = k.values / total
    measured_by = [fit.model.families[i].name for i in index]
    if by_stoichiometry:
        scale = np.where(np.array(lines.elements) == "O", 0.0, scale)
        measured_by[lines.elements.index("O")] = "O by stoichiometry"
    return Composition(
        name=fit.spectrum.name,
        elements=lines.elements,
        weight_fractions=fractions,
        covariance=jacobian @ noise @ jacobian.T,
        systematic=(by_factor * relative**2) @ by_factor.T + by_ratios,
        critical_levels=scale * np.array([limit.critical for limit in limits]),
        detection_limits=scale * np.array([limit.detection for limit in limits]),
        families=tuple(measured_by),
        columns=tuple(index),
        k=k,
        absorption=shares,
        fit=fit,
        film=film,
        relative_systematic=relative,
        mass_thickness=settled.areal,
        amount_map=amount_map,
        unbounded=_normalised(amount_map @ (k.values * fit.unbounded[index])),
        model=jacobian @ by_model @ jacobian.T,
        by_ratios=by_ratios,
    )


def _without_stand_ins(fit: LineFit, lines: _Lines) -> np.ndarray | None:
    """Weight fractions when an element that may be another one is that; (stand-ins, n)."""
    ends = []
    for one in stand_ins(fit):
        photons = np.maximum(one.left[lines.index], 0.0)
        amounts = lines.amount_map @ (lines.k.values * photons)
        if amounts.sum() > 0:
            ends.append(_normalised(amounts))
    return np.array(ends) if ends else None


def _normalised(amounts: np.ndarray) -> np.ndarray:
    return np.asarray(amounts / amounts.sum())
