"""What phases may be and how they lie, in words and as tables.

With structural formulas and the joint calibration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from siftem.decomposition.layout import MIXED, VACUUM
from siftem.errors import InputError
from siftem.minerals.calibration_results import FALSE_ALARMS, MISSED, Calibrated, ConstraintResult
from siftem.minerals.joint_calibration import JointCalibration
from siftem.minerals.structural_formula import Estimate
from siftem.pipeline.composition_doubts import run_on_support
from siftem.pipeline.layout import by_labels, describe_layout
from siftem.pipeline.mass_thickness import film_problem
from siftem.pipeline.minerals import (
    formulas_of,
    joint_calibration,
    names_of,
    names_problem,
)
from siftem.pipeline.results import RunResult
from siftem.printed_numbers import range_text, signed, significant, whole_number, with_error
from siftem.quantification.composition import Composition
from siftem.quantification.minerals import Quantity
from siftem.report.table import Cell, Table, assumed_cells, error_cells, heading, name

#: A constraint that shows only when it is off by more than so many of its widths is hardly checked.
_UNSEEN = 3.0
#: A number that is known no better than to this part of its prior width was not found.
_AS_BEFORE = 0.9
#: Shares below this are not written among the end members.
_WRITTEN = 0.005


def names_table(result: RunResult) -> Table | None:
    """Tabulate what each phase may be, the most probable first; None without names."""
    rows = []
    for phase, found in names_of(result).items():
        none = (
            name(phase),
            name("none of these"),
            Cell(_percent(found.none)),
            Cell(""),
            name(""),
        )
        own = [
            (
                name(phase),
                name(c.name),
                Cell(_percent(c.probability)),
                Cell(f"{c.distance:.1f} σ"),
                name(
                    ", ".join(
                        f"{formula} {share:.2f}"
                        for formula, share in c.members.items()
                        if share >= _WRITTEN and len(c.members) > 1
                    )
                ),
            )
            for c in found.listed
        ]
        if found.too_open:
            open_ = name("composition too open for a name")
            rows.append((name(phase), open_, Cell(""), Cell(""), name("")))
        rows += [none, *own] if found.best is None else [*own, none]
    if not rows:
        return None
    return Table(
        "What the phases may be",
        (
            name("phase"),
            name("proposal"),
            heading("probability"),
            heading("distance"),
            name("end members at the nearest composition"),
        ),
        tuple(rows),
        "Proposed by the composition with all its errors, from a table of phases; nothing is "
        "renamed. Phases of one composition share the probability. Distance: to the nearest "
        "composition of the phase, in standard deviations of all errors together.",
    )


def structure_table(result: RunResult) -> Table | None:
    """Tabulate ions on their sites and end members; None when no group is named."""
    formulas = formulas_of(result)
    if not formulas:
        return None
    rows: list[tuple[Cell, ...]] = []
    for phase, found in formulas.items():
        rows.append((name(phase), name(f"{found.group.name}: {_written(str(found))}"), _blank(4)))
        for site, held in found.sites.items():
            rows += [
                _estimate_row(site, _written(ion), e)
                for ion, e in held.items()
                if e.value or any(e.interval_95)  # ions that never get onto the site
            ]
        rows += [_estimate_row("", _written(key), e) for key, e in found.numbers.items()]
    return Table(
        "Structural formulas",
        (name("site"), name("ion or number"), heading("in a formula unit", 3), heading("95%")),
        tuple(rows),
        "Oxygens as the charges of the cations need. ± statistical, (± systematic), and the "
        "interval of all errors. Fe³⁺ by charge balance (Droop 1987) where the group has no "
        "vacancies. Sources: "
        + "; ".join(dict.fromkeys(f.group.source for f in formulas.values())),
    )


def calibration_tables(result: RunResult) -> tuple[Table, ...]:
    """Tabulate constraints, what was calibrated, and the calibrated phases; empty without."""
    joint = joint_calibration(result)
    if not isinstance(joint, JointCalibration):
        return ()
    held = result.recipe.calibrate.hold_out
    shown = joint.compositions
    rows = []
    for element in dict.fromkeys(e for c in shown.values() for e in c.elements):
        cells: list[Cell] = [name(element)]
        for phase, c in shown.items():
            if element not in c.elements:
                cells.append(_blank(3))
            elif element in result.compositions[phase].assumed_absent:
                cells.extend(assumed_cells(3))
            else:
                i = c.index(element)
                cells.extend(
                    error_cells(
                        100 * float(c.atomic_fractions[i]),
                        100 * float(c.atomic_covariance[i, i]) ** 0.5,
                        100 * float(c.atomic_systematic[i, i]) ** 0.5,
                    )
                )
        rows.append(tuple(cells))
    for ratio in result.recipe.quantify.ratios:
        cells = [name(ratio)]
        for c in shown.values():
            q = _known_ratio(c, ratio)
            cells.extend((_blank(3),) if q is None else error_cells(q.value, q.sigma, q.systematic))
        rows.append(tuple(cells))
    return (
        constraint_table(joint.constraints),
        factor_table(joint.k_factors, joint.film, joint.ferric, joint.instrument),
        Table(
            "Calibrated compositions",
            (
                name("at%"),
                *(heading(f"{n} (predicted)" if n in held else n, 3) for n in shown),
            ),
            tuple(rows),
            "± counting and model, (± all else). Predicted: held out of the calibration. Ratios of "
            "atoms: one that was said before is no measurement any more.",
        ),
    )


def constraint_table(constraints: Sequence[ConstraintResult]) -> Table:
    """Tabulate how each constraint of a joint calibration went."""
    rows = [
        (
            name(c.text + (" (held out)" if c.held_out else "")),
            Cell(significant(c.before, 4)),
            Cell(significant(c.after, 4)),
            Cell(f"{signed(c.pull)} σ", "flag" if c.disagrees else "value"),
            *(Cell(text) for text in c.off_by),
            Cell("" if c.held_out else f"{c.bits:.1f}"),
        )
        for c in constraints
    ]
    return Table(
        "What is known of the phases",
        (
            name("constraint"), heading("before"), heading("after"),
            heading("from all else"), heading("unnoticed below"), heading("told from"),
            heading("bits"),
        ),
        tuple(rows),
        "How far each lies from what all else says, in standard deviations of both. Marked: "
        f"where all hold, one of them lies so far off in {100 * FALSE_ALARMS:g}% of calibrations. "
        "Unnoticed below: if the truth is off by less, it is mostly taken for true and pulls the "
        f"rest along. Told from: in {100 * (1 - MISSED):g}% of calibrations that is told. Bits: "
        "what would be lost without it.",
    )  # fmt: skip


def factor_table(
    k_factors: Mapping[str, Calibrated],
    film: Mapping[str, Calibrated],
    ferric: Mapping[str, Calibrated],
    instrument: Mapping[str, Calibrated],
) -> Table:
    """Tabulate what a joint calibration found, beside what was known before."""
    found = (
        *((f"k of {f}, factor", k) for f, k in k_factors.items()),
        *((f"film of {n}, kg/m²", m) for n, m in film.items()),
        *((f"Fe³⁺/Fe of {n}", f) for n, f in ferric.items()),
        *instrument.items(),
    )
    return Table(
        "What was calibrated",
        (name(""), heading("after", 2), heading("before", 2)),
        tuple(_calibrated_row(label, c) for label, c in found),
        "k-factors: only their ratios matter.",
    )


def disagreements(constraints: Sequence[ConstraintResult]) -> tuple[str, ...]:
    """Say in one sentence each which constraints disagree, and which are hardly checked."""
    out = []
    unseen = [
        f"{c.text} ({c.off_by[0]})"
        for c in constraints
        if not c.held_out and c.shows_from > _UNSEEN * c.sigma
    ]
    if unseen:
        out.append(
            f"what was said of the phases is hardly checked: {'; '.join(unseen)}. What is off by "
            f"less than the number in brackets would mostly go unnoticed, and the calibrated "
            f"compositions would be off with it"
        )
    out += [
        f"{c.text}: disagrees with {'what was predicted' if c.held_out else 'all else'} by "
        f"{signed(c.pull)} sigma: it may not hold, or another constraint does not"
        for c in constraints
        if c.disagrees
    ]
    return tuple(out)


def calibration_lines(result: RunResult) -> tuple[str, ...]:
    """Say what the joint calibration made of the recipe's ratios and of Fe3+/Fe; empty without."""
    joint = joint_calibration(result)
    if not isinstance(joint, JointCalibration):
        return ()
    held, out = result.recipe.calibrate.hold_out, []
    for ratio in result.recipe.quantify.ratios:
        found = []
        for phase, c in joint.compositions.items():
            quantity = _known_ratio(c, ratio)
            if quantity is not None:
                total = float(np.hypot(quantity.sigma, quantity.systematic or 0.0))
                role = " (predicted)" if phase in held else ""
                found.append(f"{phase}{role} {with_error(quantity.value, total)}")
        if found:
            out.append(f"calibrated {ratio}, all errors: {'; '.join(found)}")
    out += [f"Fe3+/Fe of {n} by its charges: {_share(f)}" for n, f in joint.ferric.items()]
    return tuple(out)


def _share(found: Calibrated) -> str:
    """A share with its error, and whether next to nothing was learnt of it."""
    unknown = found.sigma > _AS_BEFORE * found.sigma_before
    return with_error(found.value, found.sigma) + (", as unknown as before" if unknown else "")


def _known_ratio(c: Composition, ratio: str) -> Quantity | None:
    """A ratio whose error is less than itself; None where it can't be had."""
    try:
        quantity = c.ratio(ratio)
    except InputError:  # an element of it was not quantified
        return None
    known = np.isfinite(quantity.value) and quantity.sigma < abs(quantity.value)
    return quantity if known else None


def mineral_notes(result: RunResult) -> tuple[str, ...]:
    """Return what is to be heeded of names and calibration, in one sentence each."""
    joint = joint_calibration(result)
    out = [names_problem(result), film_problem(result)]
    for phase, formula in formulas_of(result).items():
        out += [f"{phase} as {formula.group.name}: {doubt}" for doubt in formula.doubts]
    if isinstance(joint, str):
        out.append(joint)
    elif joint is not None:
        out += disagreements(joint.constraints)
    return tuple(text for text in out if text)


def _estimate_row(site: str, label: str, e: Estimate) -> tuple[Cell, ...]:
    if e.assumed_absent:
        return (name(site), name(label), *assumed_cells(3), Cell(""))
    return (
        name(site),
        name(label),
        *error_cells(e.value, e.sigma, e.systematic),
        Cell(range_text(*e.interval_95), "error"),
    )


def _calibrated_row(label: str, c: Calibrated) -> tuple[Cell, ...]:
    return (
        name(label),
        *error_cells(c.value, c.sigma),
        *error_cells(c.before, c.sigma_before),
    )


def _percent(probability: float) -> str:
    return "< 0.1%" if probability < 1e-3 else f"{100 * probability:.3g}%"


def _written(text: str) -> str:
    return text.replace("Fe2+", "Fe²⁺").replace("Fe3+", "Fe³⁺")


def _blank(span: int) -> Cell:
    return Cell("", "value", span)


def layout_sentence(result: RunResult) -> str:
    """Say in one sentence how the phases lie, and where that comes from."""
    names = (result.matrix, *result.grains)
    if result.layout is not None:
        names = result.factors.names
    return describe_layout(result.layout, result.recipe, names, result.matrix)


def role_words(result: RunResult) -> dict[str, str]:
    """Say of each phase how it lies, in few words, and which are mostly support."""
    held = run_on_support(result)
    return {
        n: f"{role}, mostly support" if n in held else role for n, role in _roles(result).items()
    }


def _roles(result: RunResult) -> dict[str, str]:
    names, layout = result.factors.names, result.layout
    if not by_labels(layout):
        return {n: "matrix" if n == result.matrix else "grain" for n in names}
    assert layout is not None
    out = {}
    for c, (phase, lies) in enumerate(zip(names, layout.phases, strict=True)):
        hosts = ", in ".join(names[h] for h in lies.hosts)
        on = bool(lies.hosts) and layout.phases[lies.hosts[0]].role == "support"
        out[phase] = {
            "pure": "thin: its pixels touch others"
            if layout.is_thin(c)
            else f"pure, unless {' and '.join(names[h] for h in lies.perhaps)} lies above it"
            if lies.perhaps
            else "pure in its own pixels",
            "embedded": f"{'on' if on else 'in'} {hosts}",
            "uneven": f"mixed with {hosts}",
            "support": "support",
            "vacuum": "vacuum",
        }[lies.role]
    return out


def phase_table(result: RunResult) -> Table:
    """Tabulate area, pixels, counts and role of each phase, and what its pixels may hold."""
    shown, layout = result.phase_map, result.layout
    areas, errors, roles = shown.area_percent, shown.area_sigma, role_words(result)
    total = np.asarray(result.spectrum_image.total_map(), dtype=np.float64)
    rows = []
    labels = [*enumerate(shown.names), (MIXED, "mixed"), (VACUUM, "vacuum")]
    for label, phase in labels:
        own = shown.labels == label
        if label < 0 and not own.any():
            continue
        role, holds = (
            {MIXED: "borders and overlaps", VACUUM: "next to no counts"}.get(label, ""),
            "",
        )
        if label >= 0:
            role, holds = roles[phase], "nothing else"
            if layout is not None:
                hosts = [shown.names[h] for h in layout.phases[label].hosts]
                holds = ", ".join(hosts) or ("others beside it" if layout.is_thin(label) else holds)
            elif phase != result.matrix:
                holds = result.matrix
        pixels, counts = int(own.sum()), float(total[own].sum())
        rows.append(
            (
                name(phase),
                name(role),
                name(holds),
                *error_cells(areas[phase], errors.get(phase, 0.0)),
                Cell(whole_number(pixels)),
                Cell(whole_number(counts)),
                Cell(whole_number(counts / pixels) if pixels else ""),
            )
        )
    return Table(
        "Phases",
        (
            name("phase"),
            name("lies"),
            name("may also hold"),
            heading("area, %", 2),
            heading("pixels"),
            heading("counts"),
            heading("a pixel"),
        ),
        tuple(rows),
        "Area: share of the map, ± from the pixels at borders. In the recipe, layout: and a "
        "phase’s lies: correct how the phases lie.",
    )
