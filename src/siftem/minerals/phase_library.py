"""The table of phases by which compositions are named, and tables of one's own."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

import numpy as np

from siftem.errors import InputError, ReadError
from siftem.views import outline
from siftem.xray.elements import element_symbols

_PART = re.compile(r"([A-Z][a-z]?|\(|\))(\d*\.?\d*)")

#: Where phases occur, by which the table can be narrowed.
SETTINGS = ("rock", "mantle", "deep", "meteorite", "ore", "technical")
#: Compositions drawn for a phase with more than one member.
SAMPLES = 256
#: Shares with a smaller range lie mostly at its lower end, as minor components do.
_MINOR = 0.5
_COLUMNS = ("name", "setting", "members", "source")


@dataclass(frozen=True)
class Member:
    """An end member of a phase.

    Parameters
    ----------
    formula : str
    least, most : float
        Share of its formula units among all.
    """

    formula: str
    least: float = 1.0
    most: float = 1.0


@dataclass(frozen=True, eq=False)
class Phase:
    """A phase of the table: a compound, or a solid solution as ranges of end members.

    Parameters
    ----------
    name, setting : str
    members : tuple of Member
        The first one makes up what the others leave.
    source : str
    """

    __repr__ = outline

    name: str
    setting: str
    members: tuple[Member, ...]
    source: str = ""

    @property
    def elements(self) -> tuple[str, ...]:
        """All elements that it may hold."""
        found = (e for m in self.members for e in known_atoms(m.formula))
        return tuple(dict.fromkeys(found))

    def shares(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw shares of the members within their ranges; (n, members), rows sum to one."""
        if len(self.members) == 1:
            return np.ones((1, 1))
        low = np.array([m.least for m in self.members])
        high = np.array([m.most for m in self.members])
        minor = (low[1:] == 0) & (high[1:] < _MINOR)
        kept = np.zeros((0, len(self.members)))
        for _ in range(200):
            unit = rng.random((4 * n, len(low) - 1))
            unit = np.where(minor, 1 - np.sqrt(1 - unit), unit)
            drawn = low[1:] + (high - low)[1:] * unit
            host = 1 - drawn.sum(axis=1)
            inside = (host >= low[0] - 1e-9) & (host <= high[0] + 1e-9)
            kept = np.vstack([kept, np.column_stack([host, drawn])[inside]])
            if len(kept) >= n:
                return kept[:n]
        raise InputError(
            f"the ranges of {self.name!r} leave hardly any composition whose members sum to one: "
            f"widen that of {self.members[0].formula}"
        )

    def atoms(self, shares: np.ndarray, elements: Sequence[str]) -> np.ndarray:
        """Return the atoms of some elements in a formula unit; (n, elements)."""
        of_members = np.array(
            [[known_atoms(m.formula).get(e, 0.0) for e in elements] for m in self.members]
        )
        return np.asarray(shares @ of_members)


@lru_cache(maxsize=1)
def shipped_phases() -> tuple[Phase, ...]:
    """Return the phases of the package's own table."""
    text = files("siftem.minerals").joinpath("phases.csv").read_text(encoding="utf-8")
    return _parsed(text, "the table of phases")


def read_phases(path: str | Path) -> tuple[Phase, ...]:
    """Read phases from a CSV of the same columns as the package's own table.

    Parameters
    ----------
    path : path-like
        Columns name, setting, members, source; ``members`` such as
        "Mg2SiO4 .4:1; Fe2SiO4 0:.6". Lines that begin with # are left out, and setting and
        source may be missing.

    Raises
    ------
    ReadError
        When there is no such file.
    InputError
        When a line is no phase; it is named.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ReadError(f"the table of phases {str(path)!r} can't be read: {error}") from None
    return _parsed(text, str(path))


def _parsed(text: str, where: str) -> tuple[Phase, ...]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    rows = csv.DictReader(lines)
    missing = {"name", "members"} - {str(c).strip() for c in rows.fieldnames or ()}
    if missing:
        raise InputError(
            f"{where}: the column {sorted(missing)[0]!r} is missing; columns are "
            f"{', '.join(_COLUMNS)}"
        )
    out: dict[str, Phase] = {}
    for row in rows:
        name = (row["name"] or "").strip()
        try:
            phase = Phase(
                name,
                (row.get("setting") or "rock").strip(),
                _members(row["members"] or ""),
                (row.get("source") or "").strip(),
            )
            if not name:
                raise InputError("it has no name")
            if phase.setting not in SETTINGS:
                raise InputError(f"its setting must be one of {', '.join(SETTINGS)}")
            if name in out:
                raise InputError("it is there twice")
            phase.shares(1, np.random.default_rng(0))
        except InputError as error:
            raise InputError(f"{where}: the phase {name!r} can't be used: {error}") from None
        out[name] = phase
    if not out:
        raise InputError(f"{where} holds no phase")
    return tuple(out.values())


def _members(text: str) -> tuple[Member, ...]:
    found = []
    for part in text.split(";"):
        words = part.split()
        if len(words) == 1:
            member = Member(words[0])
        elif len(words) == 2 and words[1].count(":") == 1:
            try:
                least, most = (float(x) for x in words[1].split(":"))
            except ValueError:
                least = most = np.nan
            member = Member(words[0], least, most)
        else:
            raise InputError(f"{part.strip()!r} is no member such as 'MgSiO3 .6:1'")
        if not 0 <= member.least <= member.most <= 1:
            raise InputError(f"the range of {member.formula} must lie within 0 and 1")
        formula_atoms(member.formula)
        found.append(member)
    return tuple(found)


@lru_cache(maxsize=4096)
def known_atoms(text: str) -> Mapping[str, float]:
    """Return the atoms of a formula unit that is read again and again: those of a table."""
    return MappingProxyType(formula_atoms(text))


def formula_atoms(text: str) -> dict[str, float]:
    """Return the atoms of a formula unit.

    Parameters
    ----------
    text : str
        Elements with numbers, which may have decimals; brackets may be nested.

    Returns
    -------
    dict of str to float

    Raises
    ------
    InputError
        When the text is no formula.
    """
    wrong = InputError(f"{text!r} is no formula such as 'Ca5(PO4)3F'")
    stack: list[dict[str, float]] = [{}]
    at = 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            raise wrong
        at = part.end()
        symbol, number = part.groups()
        if symbol == "(":
            if number:
                raise wrong
            stack.append({})
            continue
        count = float(number) if number not in ("", ".") else 1.0
        if number == "." or count <= 0:
            raise wrong
        inner = {symbol: 1.0}
        if symbol == ")":
            if len(stack) < 2 or not stack[-1]:
                raise wrong
            inner = stack.pop()
        for element, atoms in inner.items():
            stack[-1][element] = stack[-1].get(element, 0.0) + atoms * count
    if len(stack) != 1 or not stack[0]:
        raise wrong
    element_symbols(stack[0])
    return stack[0]
