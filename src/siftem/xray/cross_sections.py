"""From electrons to photons: how often a vacancy is opened in an inner shell, and what fills it.

Coster-Kronig transfer moves vacancies within a shell; fluorescence yields make photons of them.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np

from siftem.errors import InputError
from siftem.xray.elements import (
    OCCUPANCY,
    SUBSHELLS,
    atomic_number,
    binding_energy,
    fluorescence_yield,
    symbol_of,
    vacancy_transfer,
)

_RYDBERG = 0.013605693  # keV
_BOHR_RADIUS = 0.529177211e-8  # cm
_ELECTRON_REST_ENERGY = 510.99895  # keV

# keV. Tabulated K edges of light elements are those of solids, from the Fermi level, and
# lie up to 2.5% below the binding energy of the free atom, of which the cross-section is a
# steep function. Free-atom values of Bote et al. 2009 for B to F.
_FREE_ATOM_K = {5: 0.19561, 6: 0.29100, 7: 0.40485, 8: 0.53728, 9: 0.68838}


def checked_beam_energy(beam_energy: float) -> float:
    """Return ``beam_energy`` as a float, or raise when it can't be one in keV."""
    try:
        energy = float(beam_energy)
    except (TypeError, ValueError):
        raise InputError(f"beam_energy must be a number in keV, got {beam_energy!r}") from None
    if not 0 < energy <= 3000:
        raise InputError(
            f"beam_energy must be in keV, above 0 and at most 3000, got {energy:g}; "
            "write 200 for a microscope at 200 kV"
        )
    return energy


@dataclass(frozen=True, eq=False)
class CrossSectionTable:
    """A user's own ionisation cross-sections, which take over from the computed ones.

    Parameters
    ----------
    entries : dict
        ``(Z, subshell) -> ((beam energy in keV, cross-section in cm2), ...)``.
        Subshells are "K", "L1" to "L3", "M1" to "M5".
    source : str
        Where the values come from, for the report.

    Notes
    -----
    Subshells that the table does not hold keep the computed value. Between two beam
    energies the logarithm of the cross-section is linear in the logarithm of the
    energy. Outside the tabulated energies there is no extrapolation but an error.
    """

    entries: dict[tuple[int, str], tuple[tuple[float, float], ...]]
    source: str = ""
    _sorted: dict[tuple[int, str], np.ndarray] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        tables: dict[tuple[int, str], np.ndarray] = {}
        for (number, subshell), rows in self.entries.items():
            symbol = symbol_of(number)
            if subshell not in OCCUPANCY:
                raise InputError(
                    f"a cross-section table holds the shell {subshell!r} of {symbol}; "
                    f"expected one of {', '.join(OCCUPANCY)}"
                )
            table = np.array(sorted(rows), dtype=np.float64).reshape(-1, 2)
            if table.size == 0 or not (np.isfinite(table).all() and (table > 0).all()):
                raise InputError(
                    f"beam energies and cross-sections of {symbol} {subshell} must be positive "
                    "numbers in a cross-section table"
                )
            if np.unique(table[:, 0]).size != len(table):
                raise InputError(
                    f"a cross-section table gives {symbol} {subshell} twice at one beam energy"
                )
            tables[number, subshell] = table
        object.__setattr__(self, "_sorted", tables)

    @classmethod
    def from_csv(cls, path: str | Path) -> CrossSectionTable:
        """Read a table from a CSV file.

        Parameters
        ----------
        path : str or Path
            Four columns: Z (or the symbol), shell, beam energy in keV, cross-section in
            cm2. A first row of column titles, empty rows and rows that begin with # are
            skipped.

        Returns
        -------
        CrossSectionTable
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the cross-section table {path} can't be read: {error}") from error
        collected: dict[tuple[int, str], list[tuple[float, float]]] = {}
        seen_any = False
        for line, row in enumerate(csv.reader(text.splitlines()), start=1):
            cells = [cell.strip() for cell in row]
            if not any(cells) or cells[0].startswith("#"):
                continue
            first, seen_any = not seen_any, True
            try:
                name, shell, energy, value = cells[:4]
                pair = (float(energy), float(value))
            except ValueError:
                if first:
                    continue
                raise InputError(
                    f"line {line} of {path} must hold Z, shell, beam energy (keV) and "
                    f"cross-section (cm2), got {','.join(row)!r}"
                ) from None
            number = int(name) if name.isdigit() else atomic_number(name)
            collected.setdefault((number, shell.upper()), []).append(pair)
        if not collected:
            raise InputError(f"the cross-section table {path} holds no values")
        return cls({key: tuple(rows) for key, rows in collected.items()}, source=str(path))

    def cross_section(self, number: int, subshell: str, beam_energy: float) -> float | None:
        """Return the tabulated cross-section in cm2, or None if the table lacks the subshell.

        Parameters
        ----------
        number : int
            Atomic number.
        subshell : str
            "K", "L1" ... "M5".
        beam_energy : float
            In keV.
        """
        table = self._sorted.get((number, subshell))
        if table is None:
            return None
        energies, values = table.T
        slack = 1e-3 * beam_energy
        if not energies[0] - slack <= beam_energy <= energies[-1] + slack:
            raise InputError(
                f"the cross-section table {self.source} gives {symbol_of(number)} {subshell} from "
                f"{energies[0]:g} to {energies[-1]:g} keV but the beam energy is "
                f"{beam_energy:g} keV; add a row at that energy"
            )
        return float(np.exp(np.interp(np.log(beam_energy), np.log(energies), np.log(values))))


def _ionisation_energy(number: int, subshell: str) -> float:
    if subshell == "K" and number in _FREE_ATOM_K:
        return _FREE_ATOM_K[number]
    return binding_energy(number, subshell)


def casnati(binding: float, electrons: int, beam_energy: float) -> float:
    """Return the ionisation cross-section of a subshell by electron impact, for K and L.

    With u = E0 / I, j = m c^2 / I, n electrons in the subshell of binding energy I, R the
    Rydberg energy and a0 the Bohr radius::

        sigma = n a0^2 (R/I)^2 F psi phi ln(u) / u
        psi = (I/R)^(-0.0318 + 0.3160/u - 0.1135/u^2)
        phi = 10.57 exp(-1.736/u + 0.317/u^2)
        F = (1+2j)/(u+2j) ((u+j)/(1+j))^2
            [(1+u)(u+2j)(1+j)^2 / (j^2(1+2j) + u(u+2j)(1+j)^2)]^(3/2)

    Parameters
    ----------
    binding : float
        I in keV.
    electrons : int
        n of the subshell.
    beam_energy : float
        E0 in keV.

    Returns
    -------
    float
        cm2 per atom; 0 when the beam energy does not exceed the binding energy.

    Notes
    -----
    Fitted by its authors to K shells; used for L subshells with their own binding energy
    and occupancy. At 200 keV it lies above the distorted-wave results of Bote et al.
    2009 (At. Data Nucl. Data Tables 95, 871) by 15% (O K) to 7% (Fe K) and 5% (Nd L3);
    L1 of heavy elements is 15 to 30% too high. K shells of B to F use the binding energy
    of the free atom.

    References
    ----------
    Casnati, Tartari, Baraldi 1982, J. Phys. B 15, 155. F is Gryzinski's relativistic
    factor.
    """
    u = beam_energy / binding
    if u <= 1:
        return 0.0
    j = _ELECTRON_REST_ENERGY / binding
    relativistic = (1 + 2 * j) / (u + 2 * j) * ((u + j) / (1 + j)) ** 2
    relativistic *= (
        (1 + u) * (u + 2 * j) * (1 + j) ** 2 / (j**2 * (1 + 2 * j) + u * (u + 2 * j) * (1 + j) ** 2)
    ) ** 1.5
    psi = (binding / _RYDBERG) ** (-0.0318 + 0.3160 / u - 0.1135 / u**2)
    phi = 10.57 * np.exp(-1.736 / u + 0.317 / u**2)
    area = electrons * _BOHR_RADIUS**2 * (_RYDBERG / binding) ** 2
    return float(area * relativistic * psi * phi * np.log(u) / u)


def ionisation_cross_section(
    element: str, subshell: str, beam_energy: float, *, table: CrossSectionTable | None = None
) -> float:
    """Return the ionisation cross-section of a K, L or M subshell.

    Parameters
    ----------
    element : str
        Chemical symbol.
    subshell : {"K", "L1", "L2", "L3", "M1", ..., "M5"}
        The ionised subshell.
    beam_energy : float
        In keV.
    table : CrossSectionTable, optional
        A table of the user's, which is asked first.

    Returns
    -------
    float
        cm2 per atom; 0 for a subshell that the beam can't ionise or the atom lacks.

    Notes
    -----
    K and L: `casnati`. M: the same formula with the binding energy and the occupancy of
    the subshell, outside the range it was fitted for. It is qualitative: for U M5 at 200
    keV it is 10% below Bote et al. 2009, and larger errors are to be expected.
    """
    number = atomic_number(element)
    if subshell not in OCCUPANCY:
        raise InputError(f"subshell must be one of {', '.join(OCCUPANCY)}, got {subshell!r}")
    beam_energy = checked_beam_energy(beam_energy)
    if table is not None:
        value = table.cross_section(number, subshell, beam_energy)
        if value is not None:
            return value
    binding = _ionisation_energy(number, subshell)
    if binding == 0:
        return 0.0
    return casnati(binding, OCCUPANCY[subshell], beam_energy)


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
