"""The overview of many runs as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from siftem.report.provenance import environment, versions
from siftem.report.table import Table


@dataclass(frozen=True)
class MapLine:
    """One map in the overview.

    Parameters
    ----------
    name : str
    link : str
        Relative address of its report; empty when there is none.
    cells : tuple of str
        One for each column of `Overview.columns`.
    notes, error : str
    """

    name: str
    link: str
    cells: tuple[str, ...] = ()
    notes: str = ""
    error: str = ""


@dataclass(frozen=True)
class PhaseTable:
    """Compositions of one phase in all maps."""

    name: str
    table: Table


@dataclass(frozen=True)
class Thumbnail:
    """A small picture that leads to a report.

    Parameters
    ----------
    label, link : str
    data : str
        The JPEG in base64.
    """

    label: str
    link: str
    data: str


@dataclass(frozen=True)
class Overview:
    """What the overview shows.

    Parameters
    ----------
    title : str
    warnings, columns : sequence of str
    maps : sequence of MapLine
    phases : sequence of PhaseTable
    ratios : sequence of Table
    partition : sequence of Table
    strain : Table or None
        Curves of lattice strain.
    calibration : sequence of Table
        Of all maps together.
    onuma : str
        A PNG in base64; empty when there is none.
    pictures : sequence of Thumbnail
    recipe : str
        As YAML.
    """

    title: str
    warnings: Sequence[str]
    columns: Sequence[str]
    maps: Sequence[MapLine]
    phases: Sequence[PhaseTable]
    ratios: Sequence[Table]
    partition: Sequence[Table]
    strain: Table | None
    calibration: Sequence[Table]
    onuma: str
    pictures: Sequence[Thumbnail]
    recipe: str


def render_overview(overview: Overview) -> str:
    """Write an overview as HTML that needs nothing else, but for the reports it leads to."""
    return (
        environment()
        .get_template("overview.html.j2")
        .render(
            title=overview.title,
            warnings=overview.warnings,
            columns=overview.columns,
            maps=overview.maps,
            phases=overview.phases,
            ratios=overview.ratios,
            partition=overview.partition,
            onuma=overview.onuma,
            strain=overview.strain,
            calibration=overview.calibration,
            pictures=overview.pictures,
            recipe=overview.recipe,
            versions=versions(),
        )
    )
