"""Ratios of net X-ray lines: what a spectrum says without any model of the specimen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from siftem.errors import InputError
from siftem.fit.line_fit import LineFitter
from siftem.fit.spectrum_model import Calibration
from siftem.fit.stand_ins import warn_of_stand_ins
from siftem.hyperspy_input import as_spectrum
from siftem.printed_numbers import measured
from siftem.quantification.detection_limit import family_limits, measurable, warn_of_unexplained
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.elements import element_symbols

#: A reference that several spectra share has at least this part of the strongest lines of each.
_SHARED = 0.05


@dataclass(frozen=True, eq=False)
class LineRatios:
    """Net counts of each element's line family, relative to those of a reference.

    Parameters
    ----------
    name : str
        Of the spectrum.
    elements : tuple of str
    families : tuple of str
        What each was measured by, such as "Fe K".
    reference : str
        One of the elements.
    counts : ndarray of shape (elements,)
        Net detected counts of the families.
    values : ndarray of shape (elements,)
        ``counts / counts[reference]``.
    covariance : ndarray of shape (elements, elements)
        Of ``values``, from counting, from what the model can't describe and from ratios of lines
        within families that tables do not agree on.
    found : ndarray of shape (elements,), bool
        Whether the counts exceed the critical level of Currie 1968.
    """

    name: str
    elements: tuple[str, ...]
    families: tuple[str, ...]
    reference: str
    counts: np.ndarray
    values: np.ndarray
    covariance: np.ndarray
    found: np.ndarray

    def __repr__(self) -> str:
        base = self.families[self.elements.index(self.reference)]
        lines = [
            f"{family}/{base} = {measured(value, sigma).value} +- {measured(value, sigma).sigma}"
            if seen
            else f"{family}/{base}: {family} not found"
            for family, value, sigma, seen in zip(
                self.families, self.values, self.sigma, self.found, strict=True
            )
            if family != base
        ]
        return "\n".join([f"<LineRatios of {self.name or 'a spectrum'}, net counts>", *lines])

    @property
    def sigma(self) -> np.ndarray:
        """Standard deviation of each ratio; (elements,)."""
        return np.sqrt(np.maximum(np.diag(self.covariance), 0.0))

    def __getitem__(self, element: str) -> float:
        """Ratio of an element's line to that of the reference."""
        if element not in self.elements:
            raise InputError(f"there is no ratio of {element}: {', '.join(self.elements)}")
        return float(self.values[self.elements.index(element)])

    def relative_to(self, reference: str) -> LineRatios:
        """Return the same lines relative to those of another element that was found.

        Raises
        ------
        InputError
            When it is not among them, or was not found.
        """
        if reference not in self.elements or not self.found[self.elements.index(reference)]:
            raise InputError(f"there are no lines of {reference} to compare with in {self.name!r}")
        base = self.elements.index(reference)
        values = self.values / self.values[base]
        slopes = np.eye(values.size)
        slopes[:, base] -= values
        slopes /= self.values[base]
        covariance = slopes @ self.covariance @ slopes.T
        return replace(self, reference=reference, values=values, covariance=covariance)

    def describe(self) -> str:
        """All ratios in one line of text; what was not found is said to be so."""
        base = self.families[self.elements.index(self.reference)]
        parts = [
            f"{family} {value:.3g} +- {sigma:.1g}" if found else f"{family} not found"
            for element, family, value, sigma, found in zip(
                self.elements, self.families, self.values, self.sigma, self.found, strict=True
            )
            if element != self.reference
        ]
        return f"net lines relative to {base}: {', '.join(parts)}"


def with_one_reference(found: Mapping[str, LineRatios]) -> dict[str, LineRatios]:
    """Return ratios to one element in all spectra, which can then be compared.

    It is the one whose least share of the strongest lines of a spectrum is greatest. Where none
    is strong in all, each keeps its own.

    Parameters
    ----------
    found : mapping of str to LineRatios
        By spectrum.
    """
    shares: dict[str, list[float]] = {}
    for ratios in found.values():
        most = float(ratios.counts.max())
        for element, counts, seen in zip(ratios.elements, ratios.counts, ratios.found, strict=True):
            shares.setdefault(element, []).append(float(counts) / most if seen else 0.0)
    least = {e: min(s) for e, s in shares.items() if len(s) == len(found)}
    best = max(least, key=lambda e: least[e], default="")
    if not best or least[best] < _SHARED:
        return dict(found)
    return {name: ratios.relative_to(best) for name, ratios in found.items()}


def line_ratios(
    spectrum: Spectrum,
    elements: Sequence[str],
    *,
    reference: str | None = None,
    support: Sequence[str] = (),
    beam_energy: float | None = None,
    detector: Detector | None = None,
    calibration: Calibration | None = None,
    energy_range: tuple[float | None, float | None] = (0.25, None),
    n_continuum: int | None = None,
    warn_above: float | None = 15.0,
) -> LineRatios:
    """Fit all lines and compare their net counts, without k-factors.

    For bulk specimens (scanning microscopes, X-ray fluorescence), where a composition needs
    corrections for absorption, fluorescence and backscattering in the thick specimen. Ratios
    of one pair of lines can be compared between phases of similar composition, and with a
    standard measured alike.

    Parameters
    ----------
    spectrum : Spectrum
    elements : sequence of str
        Two or more.
    reference : str, optional
        By default the element with most net counts.
    support : sequence of str
        Fitted, but left out.
    beam_energy : float, optional
        keV; by default that of the acquisition. For X-ray fluorescence the highest photon
        energy that excites.
    detector, calibration, energy_range, n_continuum, warn_above
        As for :func:`siftem.quantify`.

    Returns
    -------
    LineRatios

    Raises
    ------
    InputError
        When fewer than two elements are named or have lines in the range, the beam energy is
        unknown, or the reference is not found.

    Warns
    -----
    SiftemWarning
        When an element has no line in the range: it is left out. When the model does not
        describe the spectrum, or the residual shows lines of other elements.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> spectrum = siftem.integrate(si, phantom.mask("Brg"), name="Brg")
    >>> found = siftem.line_ratios(spectrum, ["Mg", "Si", "Fe"], reference="Si", support=["Cu"])
    >>> found.families
    ('Mg K', 'Si K', 'Fe K')
    >>> found["Si"]
    1.0
    """
    spectrum = as_spectrum(spectrum)
    asked, support = element_symbols(elements), element_symbols(support)
    if len(asked) < 2:
        raise InputError("line_ratios compares two elements or more, e.g. elements=['Fe', 'Si']")
    fit = LineFitter.of(
        spectrum.acquisition,
        asked,
        support,
        beam_energy=beam_energy,
        detector=detector,
        calibration=calibration,
        energy_range=energy_range,
        n_continuum=n_continuum,
    ).fit(spectrum)
    wanted = measurable(fit, asked)
    if len(wanted) < 2:
        raise InputError(
            f"only {wanted[0]} has a line in the fitted range: nothing to compare it with"
        )
    index = [fit.index(e) for e in wanted]
    seen = np.array([float(fit.design[:, i].sum()) for i in index])
    counts = seen * fit.amplitudes[index]
    found = np.array([fit.amplitudes[i] > family_limits(fit, i).critical for i in index])
    if reference is None:
        reference = wanted[int(np.argmax(counts))]
    if reference not in wanted:
        raise InputError(f"the reference {reference} is not among {', '.join(wanted)}")
    base = wanted.index(reference)
    if not found[base]:
        raise InputError(
            f"the lines of the reference {reference} were not found in {spectrum.name!r}: "
            "choose another one"
        )
    if warn_above is not None:
        warn_of_unexplained(fit, spectrum.name, warn_above)
        warn_of_stand_ins(fit, spectrum.name)
    values = counts / counts[base]
    slopes = np.eye(len(wanted))
    slopes[:, base] -= values
    slopes *= seen / counts[base]
    return LineRatios(
        name=spectrum.name,
        elements=wanted,
        families=tuple(fit.names[i] for i in index),
        reference=reference,
        counts=counts,
        values=values,
        covariance=slopes @ fit.covariance[np.ix_(index, index)] @ slopes.T,
        found=found,
    )
