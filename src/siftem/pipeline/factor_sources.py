"""Where a recipe's k- and zeta-factors come from: written down, a file, or a standard."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from siftem.acquisition import Acquisition
from siftem.errors import InputError
from siftem.io.exchange import read_emsa
from siftem.io.hyperspy_bridge import load
from siftem.pipeline.recipe_sections import KFactors, Quantify, Standard, ZetaFactors
from siftem.quantification import standards
from siftem.quantification.k_values import GivenKFactors, factor_line
from siftem.quantification.standards import calibrate_k_factors
from siftem.spectrum import Spectrum
from siftem.xray.cross_sections import CrossSectionTable
from siftem.xray.detector import Detector

_SPECTRUM_FILES = (".msa", ".emsa", ".ems")
#: Electrons in one coulomb.
_PER_COULOMB = 1 / 1.602176634e-19


@dataclass(frozen=True)
class FactorSources:
    """What overrides computed k-factors.

    Parameters
    ----------
    k_factors : GivenKFactors or None
        Given, or calibrated with a standard.
    zeta_factors : ZetaFactors or None
    electrons_per_pixel : float or None
        With zeta-factors.
    cross_sections : CrossSectionTable or None
    """

    k_factors: GivenKFactors | None = None
    zeta_factors: standards.ZetaFactors | None = None
    electrons_per_pixel: float | None = None
    cross_sections: CrossSectionTable | None = None

    @property
    def any(self) -> bool:
        """Whether anything overrides the computed k-factors."""
        return self.given is not None or self.cross_sections is not None

    @property
    def given(self) -> GivenKFactors | None:
        """Whatever is given, as k-factors."""
        if self.zeta_factors is not None:
            return self.zeta_factors.as_k_factors()
        return self.k_factors


def factor_sources(
    quantify: Quantify, acquisition: Acquisition, n_pixels: int, detector: Detector
) -> FactorSources:
    """Read all that a recipe says about factors.

    Parameters
    ----------
    quantify : Quantify
    acquisition : Acquisition
        Of the map.
    n_pixels : int
        Of the map, for the electrons in each.
    detector : Detector

    Raises
    ------
    InputError
        When a file can't be used, or the dose is unknown.
    """
    table = quantify.cross_sections
    given: GivenKFactors | None = None
    if quantify.k_factors is not None:
        given = _given(quantify.k_factors)
    elif quantify.standard is not None:
        given = _calibrated(quantify.standard, acquisition, quantify, detector)
    zetas = electrons = None
    if quantify.zeta_factors is not None:
        zetas = _zetas(quantify.zeta_factors)
        electrons = quantify.electrons_per_pixel or _electrons(acquisition, n_pixels)
    return FactorSources(
        given, zetas, electrons, None if table is None else CrossSectionTable.from_csv(table)
    )


def read_factors(path: str | Path) -> tuple[dict[str, float], dict[str, float]]:
    """Read factors from a CSV: element or line, factor and, if known, its relative sigma.

    A first row of titles, empty rows and rows that begin with # are skipped.

    Returns
    -------
    values, relative_sigma : dict of str to float

    Raises
    ------
    InputError
        When it can't be read, or a row is something else.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the table of factors {path} can't be read: {error}") from None
    values: dict[str, float] = {}
    sigmas: dict[str, float] = {}
    titles_may_come = True
    for number, row in enumerate(csv.reader(text.splitlines()), start=1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#"):
            continue
        first, titles_may_come = titles_may_come, False
        try:
            numbers = [float(cell) for cell in cells[1:3] if cell]
            if not numbers or not np.isfinite(numbers).all():
                raise ValueError
        except ValueError:
            if first:
                continue
            raise InputError(
                f"line {number} of {path} must hold element, factor and, if known, its relative "
                f"sigma, got {','.join(row)!r}"
            ) from None
        line = cells[0]
        factor_line(line)
        if line in values:
            raise InputError(f"{path} gives {line} twice: keep one of the rows")
        values[line] = numbers[0]
        if len(numbers) > 1:
            sigmas[line] = numbers[1]
    if not values:
        raise InputError(f"the table of factors {path} holds no values")
    return values, sigmas


def _read(section: KFactors | ZetaFactors) -> tuple[dict[str, float], dict[str, float]]:
    if section.file is None:
        assert section.values is not None
        return section.values, section.relative_sigma
    values, sigmas = read_factors(section.file)
    return values, {**sigmas, **section.relative_sigma}


def _given(section: KFactors) -> GivenKFactors:
    values, sigmas = _read(section)
    return GivenKFactors(
        values=values,
        line=section.line,
        detector=section.detector,
        relative_sigma=sigmas,
        reference=section.reference,
    )


def _zetas(section: ZetaFactors) -> standards.ZetaFactors:
    values, sigmas = _read(section)
    return standards.ZetaFactors(
        values=values,
        line=section.line,
        detector=section.detector,
        relative_sigma=sigmas,
        reference=section.reference,
    )


def _calibrated(
    standard: Standard, acquisition: Acquisition, quantify: Quantify, detector: Detector
) -> GivenKFactors:
    spectrum = _standard_spectrum(standard)
    return calibrate_k_factors(
        spectrum,
        standard.weight_percent,
        reference=standard.reference,
        relative_sigma=standard.relative_sigma,
        support=standard.support,
        beam_energy=spectrum.acquisition.beam_energy or acquisition.beam_energy,
        thickness=standard.thickness,
        density=standard.density,
        take_off_angle=standard.take_off_angle
        or spectrum.acquisition.take_off_angle
        or acquisition.take_off_angle,
        detector=detector,
        energy_range=quantify.energy_range,
        n_continuum=quantify.continuum_terms,
    )


def _standard_spectrum(standard: Standard) -> Spectrum:
    path = Path(standard.file)
    if path.suffix.lower() in _SPECTRUM_FILES:
        return read_emsa(path)
    si = load(path, signal=standard.signal).without_zero_peak()
    return Spectrum(
        si.sum_spectrum(),
        si.axis,
        name=si.title or path.stem,
        n_pixels=si.n_pixels,
        acquisition=si.acquisition,
    )


def _electrons(acquisition: Acquisition, n_pixels: int) -> float:
    current, time = acquisition.beam_current, acquisition.live_time
    if current is None or time is None:
        raise InputError(
            "zeta-factors need the electrons that hit a pixel: give quantify.electrons_per_pixel, "
            "or acquisition.beam_current (nA) and live_time (s)"
        )
    return 1e-9 * current * time * _PER_COULOMB / n_pixels
