"""Tables of formula units and of detection limits."""

from __future__ import annotations

from siftem.pipeline.agreement import assumed_absent
from siftem.pipeline.composition_summary import formula
from siftem.pipeline.results import RunResult
from siftem.pipeline.steps.composition import counts_for_wanted_limits
from siftem.printed_numbers import significant, whole_number
from siftem.quantification.minerals import Quantity
from siftem.quantification.open_ranges import formula_atoms, is_open
from siftem.report.composition_tables import quantified_phases
from siftem.report.contents import derived_cells, limit_text
from siftem.report.table import Cell, Table, assumed_cells, below_limit, heading, name


def formula_table(result: RunResult) -> Table | None:
    """Tabulate atoms per formula unit of the phases with a number of oxygens; None without."""
    units = {}
    for phase in quantified_phases(result):
        own = result.recipe.phases.get(phase)
        found = formula(result.compositions[phase], None if own is None else own.oxygens)
        if found is not None:
            units[phase] = found
    if not units:
        return None
    assumed = assumed_absent(result.recipe)
    elements = list(dict.fromkeys(e for unit in units.values() for e in unit["atoms"]))
    rows = []
    for element in elements:
        cells: list[Cell] = [name(element)]
        for phase, unit in units.items():
            c = result.compositions[phase]
            if element not in unit["atoms"]:
                cells.append(Cell("", "value", 3))
            elif element in assumed.get(phase, ()):
                cells.extend(assumed_cells(3))
            elif c.found[c.index(element)] or is_open(c):
                atoms = unit["atoms"][element]
                value = Quantity(atoms["value"], atoms["sigma"])
                proportion = formula_atoms(c, element, unit["oxygens"])
                cells.extend(derived_cells(c, value, atoms["systematic"], proportion))
            else:
                cells.extend(below_limit(3))
        rows.append(tuple(cells))
    total: list[Cell] = [name("cations")]
    for phase, unit in units.items():
        if is_open(result.compositions[phase]):  # the ranges of its atoms do not add up
            total.append(Cell("", "value", 3))
            continue
        total.append(Cell(f"{sum(a['value'] for a in unit['atoms'].values()):.3f}"))
        total.append(Cell("", "error", 2))
    rows.append(tuple(total))
    return Table(
        "Atoms per formula unit",
        (name(""), *(heading(f"{p}, {u['oxygens']:g} O", 3) for p, u in units.items())),
        tuple(rows),
        "Oxygens as the usual charges of the cations need (iron as Fe²⁺, uranium as U⁴⁺). The sum "
        "of the cations holds those below their LOD with their fitted values.",
    )


def limit_table(result: RunResult) -> Table | None:
    """Tabulate detection limits in parts per million by weight; None without compositions."""
    phases = quantified_phases(result)
    if not phases:
        return None
    assumed = assumed_absent(result.recipe)
    rows = []
    for element in dict.fromkeys(e for p in phases for e in result.compositions[p].elements):
        cells: list[Cell] = [name(element)]
        for phase in phases:
            c = result.compositions[phase]
            if element not in c.elements or element in assumed.get(phase, ()):
                cells.append(Cell(""))
                continue
            limit = float(c.detection_limits[c.index(element)])
            found = bool(c.found[c.index(element)])
            cells.append(Cell(limit_text(limit, per=1e6), "value" if found else "below"))
        rows.append(tuple(cells))
    return Table(
        "ppm by weight",
        (name(""), *(heading(p) for p in phases)),
        tuple(rows),
        "Found with a probability of 95% (Currie 1968, with the fit’s standard deviation at "
        "zero). Slanted: the element was not found; no limit: not even the pure element would be.",
    )


def wanted_table(result: RunResult) -> Table | None:
    """Tabulate the counts that wanted detection limits need; None when none are wanted."""
    wanted = result.recipe.quantify.wanted_limits
    phases = quantified_phases(result)
    rows = []
    for element, limit in wanted.items():
        cells: list[Cell] = [name(element), Cell(significant(1e4 * limit, 3))]
        for phase in phases:
            counts = float(result.pure[phase].values.sum())
            needed = counts_for_wanted_limits(
                result.compositions[phase], {element: limit}, counts
            ).get(element)
            if needed is None:
                cells.append(Cell("", "value", 2))
            else:
                cells.append(Cell(whole_number(needed) if needed < 1e6 else f"{needed:.2g}"))
                cells.append(Cell(f"({significant(needed / counts, 2)} ×)", "error"))
        rows.append(tuple(cells))
    if not rows or not phases:
        return None
    return Table(
        "Counts needed for wanted detection limits",
        (name(""), heading("wanted, ppm"), *(heading(p, 2) for p in phases)),
        tuple(rows),
        "In the pure spectrum of the phase; in brackets, over those of this map.",
    )
