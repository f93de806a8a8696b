"""From vacancies to photons: Coster-Kronig transfer and fluorescence yields."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from siftem.errors import InputError
from siftem.xray.atomic_data import SUBSHELLS, fluorescence_yield, vacancy_transfer
from siftem.xray.cross_sections import (
    CrossSectionTable,
    checked_beam_energy,
    ionisation_cross_section,
)
from siftem.xray.elements import atomic_number


def shell_of(shell: str) -> str:
    """Return the shell, "K", "L" or "M", of a family name such as "L" or "L3"."""
    if shell in SUBSHELLS:
        return shell
    if shell in SUBSHELLS["L"]:
        return "L"
    raise InputError(f"shell must be one of K, L, M, L1, L2 or L3, got {shell!r}")


@lru_cache(maxsize=4096)
def subshell_emission(
    element: str, shell: str, beam_energy: float, table: CrossSectionTable | None = None
) -> Mapping[str, float]:
    """Return the photons that each subshell of a shell emits.

    A vacancy in L1 can move to L2 or L3 before a photon is emitted (Coster-Kronig), so
    the number of vacancies V exceeds the primary ones::

        V_j = sigma_j + sum_{i<j} f_ij V_i
        emission_j = V_j omega_j

    Vacancies that reach a shell from a decay further inside (K to L) are neglected: at
    100 keV and more they add less than a few percent.

    Parameters
    ----------
    element : str
        Chemical symbol.
    shell : {"K", "L", "M"}
        The shell.
    beam_energy : float
        In keV.
    table : CrossSectionTable, optional
        Cross-sections that take over from the computed ones.

    Returns
    -------
    mapping of str to float
        Subshell -> photons x cm2 per electron and atom.

    References
    ----------
    Yields omega and probabilities f: xraylib, Schoonjans et al. 2011, Spectrochim. Acta
    B 66, 776; K and L after Krause 1979, J. Phys. Chem. Ref. Data 8, 307.
    """
    if shell not in SUBSHELLS:
        raise InputError(f"shell must be K, L or M, got {shell!r}")
    number = atomic_number(element)
    beam_energy = checked_beam_energy(beam_energy)
    vacancies: dict[str, float] = {}
    for subshell in SUBSHELLS[shell]:
        primary = ionisation_cross_section(element, subshell, beam_energy, table=table)
        moved = sum(
            vacancy_transfer(number, inner, subshell) * count for inner, count in vacancies.items()
        )
        vacancies[subshell] = primary + moved
    return MappingProxyType(
        {s: count * fluorescence_yield(number, s) for s, count in vacancies.items()}
    )
