"""k-factors: from X-ray intensities to weight fractions of a thin film.

All k-factors here are by weight, relative to a reference family, and as emitted: the
detector and absorption are not in them. Each function says in its name whether the
intensity is the alpha line or the whole family.
"""

from __future__ import annotations

from functools import lru_cache

from siftem.errors import InputError
from siftem.xray.cross_sections import CrossSectionTable, checked_beam_energy, shell_of
from siftem.xray.elements import atomic_weight
from siftem.xray.lines import family_emission, line_family

#: Relative standard uncertainty of a computed k-factor, by the shell of the element.
_UNCERTAINTY = {"K": 0.10, "L": 0.175, "M": 0.30}


@lru_cache(maxsize=4096)
def emission(
    element: str, shell: str, beam_energy: float, *, table: CrossSectionTable | None = None
) -> float:
    """Return the photons of a whole family per electron and atom per cm2.

    The sum over the subshells of cross-section, Coster-Kronig transfer and fluorescence
    yield, ``sum_j V_j omega_j``; see `siftem.xray.cross_sections.subshell_emission`. Photons
    into the full sphere, from a film too thin for energy loss.

    Parameters
    ----------
    element : str
        Chemical symbol.
    shell : {"K", "L", "M", "L1", "L2", "L3"}
        The family. M is qualitative.
    beam_energy : float
        In keV.
    table : CrossSectionTable, optional
        Cross-sections that take over from the computed ones.

    Returns
    -------
    float
        cm2.
    """
    family = line_family(element, shell, beam_energy=beam_energy, table=table)
    return family_emission(family, checked_beam_energy(beam_energy), table)


def k_factor_family(
    element: str,
    shell: str,
    beam_energy: float,
    *,
    reference: tuple[str, str] = ("Si", "K"),
    table: CrossSectionTable | None = None,
) -> float:
    """Return the k-factor by weight for intensities of whole families, without detector.

    ``C / C_ref = k I / I_ref`` with weight fractions C and photons I of all the lines of
    the family, hence ``k = (A / A_ref) (emission_ref / emission)``.

    Parameters
    ----------
    element : str
        Chemical symbol.
    shell : {"K", "L", "M", "L1", "L2", "L3"}
        The measured family; a subshell group stands for the lines of that subshell only.
    beam_energy : float
        In keV.
    reference : tuple of str
        Element and family that has k = 1.
    table : CrossSectionTable, optional
        Cross-sections that take over from the computed ones.

    Returns
    -------
    float

    References
    ----------
    Cliff & Lorimer 1975, J. Microsc. 103, 203. See `k_factor_uncertainty`.
    """
    return _k_factor(
        element, emission(element, shell, beam_energy, table=table),
        reference[0], emission(*reference, beam_energy, table=table),
    )  # fmt: skip


def k_factor_alpha(
    element: str,
    shell: str,
    beam_energy: float,
    *,
    reference: tuple[str, str] = ("Si", "K"),
    table: CrossSectionTable | None = None,
) -> float:
    """Return the k-factor by weight for intensities of alpha lines, without detector.

    As `k_factor_family`, with the photons of the alpha lines alone, of the element and of
    the reference: Ka = K-L2 + K-L3, La = L3-M4 + L3-M5, Ma = M5-N6 + M5-N7.

    Parameters
    ----------
    element : str
        Chemical symbol.
    shell : {"K", "L", "M", "L3"}
        The measured family.
    beam_energy : float
        In keV.
    reference : tuple of str
        Element and family whose alpha line has k = 1.
    table : CrossSectionTable, optional
        Cross-sections that take over from the computed ones.

    Returns
    -------
    float

    Raises
    ------
    InputError
        When the family has no alpha line.
    """
    return _k_factor(
        element, _alpha_emission(element, shell, beam_energy, table),
        reference[0], _alpha_emission(*reference, beam_energy, table),
    )  # fmt: skip


def k_factor_uncertainty(shell: str) -> float:
    """Return the relative standard uncertainty of a computed k-factor.

    Parameters
    ----------
    shell : {"K", "L", "M", "L1", "L2", "L3"}
        The measured family.

    Returns
    -------
    float
        0.10 for K, 0.175 for L and 0.30 for M: what the spread of published
        cross-sections and yields amounts to. It is a systematic error, the same for every
        spectrum, so it is kept apart from counting statistics.
    """
    return _UNCERTAINTY[shell_of(shell)]


def _alpha_emission(
    element: str, shell: str, beam_energy: float, table: CrossSectionTable | None
) -> float:
    family = line_family(element, shell, beam_energy=beam_energy, table=table)
    if family.alpha_fraction == 0:
        raise InputError(
            f"the family {family.name} has no alpha line; use the k-factor of the whole family"
        )
    return emission(element, shell, beam_energy, table=table) * family.alpha_fraction


def _k_factor(element: str, emitted: float, reference: str, emitted_reference: float) -> float:
    return atomic_weight(element) / atomic_weight(reference) * emitted_reference / emitted
