"""Tables of formula units, detection limits and lattice strain.

And those that programs for thermobarometry and mineral maps read.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import replace

from siftem.minerals.lattice_strain import OnumaDiagram
from siftem.pipeline.composition_doubts import assumed_absent
from siftem.pipeline.mass_thickness import film_regions
from siftem.pipeline.minerals import mineral_compositions, names_of, onuma_diagrams
from siftem.pipeline.results import RunResult
from siftem.pipeline.steps.composition import counts_for_wanted_limits
from siftem.pipeline.summary import formula
from siftem.printed_numbers import range_text, significant, whole_number
from siftem.quantification.composition import Composition
from siftem.quantification.minerals import Quantity
from siftem.quantification.open_ranges import formula_atoms, is_open
from siftem.report.composition_tables import quantified_phases
from siftem.report.table import (
    Cell,
    Table,
    assumed_cells,
    below_limit,
    derived_cells,
    error_cells,
    heading,
    limit_text,
    name,
)


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
                cells.extend(derived_cells(c, value, proportion))
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


#: Oxides in the order in which such programs list them; iron as FeOt there.
_USUAL = (
    "SiO2", "TiO2", "Al2O3", "FeO", "MnO", "MgO", "CaO", "Na2O", "K2O", "Cr2O3", "P2O5", "NiO"
)  # fmt: skip
_TOTAL_IRON = {"FeO": "FeOt"}


def oxide_csv(result: RunResult) -> str:
    """Return oxides of each phase in weight percent, one row a phase; empty without oxides.

    Columns are named as Thermobar, mineralML and XMapTools read them (iron as FeOt), each with its
    total standard deviation beside it ("SiO2_sigma"): all errors but what is not known at all.
    """
    rows: dict[str, dict[str, str]] = {}
    found = names_of(result)
    for phase, c in mineral_compositions(result).items():
        values = c.oxides()
        if not values:
            continue
        errors = _total(c).oxides()
        best = found[phase].best if phase in found else None
        row = {"Sample": phase, "Mineral": best or ""}
        for oxide, q in values.items():
            column = _TOTAL_IRON.get(oxide, oxide)
            absent = q.assumed_absent
            row[column] = "" if absent else f"{q.value:.6g}"
            row[f"{column}_sigma"] = "" if absent else f"{errors[oxide].sigma:.3g}"
        rows[phase] = row
    if not rows:
        return ""
    listed = {oxide for row in rows.values() for oxide in row} - {"Sample", "Mineral"}
    order = [_TOTAL_IRON.get(o, o) for o in _USUAL]
    plain = sorted(o for o in listed if not o.endswith("_sigma"))
    oxides = [o for o in order if o in plain] + [o for o in plain if o not in order]
    columns = ["Sample", "Mineral", *(c for o in oxides for c in (o, f"{o}_sigma"))]
    return _csv(columns, list(rows.values()))


def partition_csv(result: RunResult) -> str:
    """Return all partition coefficients with their errors; empty without any."""
    columns = [
        "element", "numerator", "denominator", "D", "sigma", "systematic", "low_95", "high_95",
        "limit", "charge", "radius_A",
    ]  # fmt: skip
    radii = {(d.phases, p.element): p for d in onuma_diagrams(result, fewest=1) for p in d.points}
    rows = []
    for d in result.partition:
        point = radii.get((d.phases, d.element))
        low, high = d.interval_95
        numbers = (d.value, d.sigma, d.systematic, low, high)
        texts = [f"{v:.6g}" if v == v and abs(v) != float("inf") else "" for v in numbers]
        rows.append(
            dict(zip(columns, (d.element, *d.phases, *texts, d.limit), strict=False))
            | ({} if point is None else {"charge": str(point.charge),
                                         "radius_A": f"{point.radius:g}"})
        )  # fmt: skip
    return _csv(columns, rows) if rows else ""


def film_table(result: RunResult) -> Table | None:
    """Tabulate the mass thickness of each phase's region; None where it is not known."""
    rows = []
    for phase, region in film_regions(result).items():
        density = result.recipe.phases[phase].density if phase in result.recipe.phases else None
        rows.append(
            (
                name(phase),
                *error_cells(1e3 * region.mean, 1e3 * region.sigma, 1e3 * region.systematic),
                Cell(significant(100 * region.scatter / region.mean, 2)),
                Cell(significant(1e3 * region.effective, 4)),
                Cell("" if density is None else significant(region.in_nm(density), 3)),
            )
        )
    if not rows:
        return None
    by = "counting" if result.recipe.calibrate.film_map == "counts" else "the HAADF image's noise"
    return Table(
        "Thickness of the film",
        (
            name("region of"), heading("g/m²", 3), heading("scatter, %"),
            heading("effective, g/m²"), heading("effective, nm"),
        ),
        tuple(rows),
        f"Mean mass thickness ± {by} (± the film of {result.matrix}, which sets the scale); "
        f"scatter from pixel to pixel without counting. Effective: the even film that absorbs the "
        f"softest line alike.",
    )  # fmt: skip


def strain_table(diagrams: Iterable[OnumaDiagram]) -> Table | None:
    """Tabulate the curves of lattice strain; None where none could be fitted."""
    rows = []
    for diagram in diagrams:
        for curve in diagram.curves:
            ends = curve.intervals_95
            modulus = ends.get("young_modulus")
            bound = " (not enclosed)" if curve.at_bound else ""
            rows.append(
                (
                    name(" / ".join(diagram.phases)),
                    name(f"{curve.charge}+: {', '.join(curve.elements)}"),
                    Cell(significant(curve.strain_free, 3)),
                    Cell(range_text(*ends["strain_free"]), "error"),
                    Cell(f"{curve.best_radius:.3f}{bound}", "flag" if bound else "value"),
                    Cell(range_text(*ends["best_radius"]), "error"),
                    Cell("" if modulus is None else significant(curve.young_modulus or 0.0, 3)),
                    Cell("" if modulus is None else range_text(*modulus), "error"),
                )
            )
    if not rows:
        return None
    return Table(
        "Lattice strain",
        (
            name("pair"), name("cations"), heading("D0"), heading("95%"), heading("r0, Å"),
            heading("95%"), heading("E, GPa"), heading("95%"),
        ),
        tuple(rows),
        "Blundy & Wood (1994), with the ionic radii of Shannon (1976). E needs a temperature in "
        "the recipe. Not enclosed: the best radius may lie beyond the cations, as far as it "
        "is allowed to, and D0 and r0 mean little.",
    )  # fmt: skip


def _total(c: Composition) -> Composition:
    return replace(c, covariance=c.covariance + c.systematic)


def _csv(columns: list[str], rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
