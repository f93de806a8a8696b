"""Templates filled: what was run with which versions, and the overview of many runs as one file.

Nothing is taken for HTML that is none, nothing may be missing.
"""

from __future__ import annotations

import base64
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from jinja2 import Environment, PackageLoader, StrictUndefined

from siftem import __version__
from siftem.pipeline.file_contents import file_name
from siftem.pipeline.results import RunResult
from siftem.printed_numbers import significant, whole_number
from siftem.report.table import Table

#: Packages whose versions may change a result.
_PACKAGES = (
    "numpy",
    "scipy",
    "numba",
    "hyperspy",
    "exspy",
    "rosettasciio",
    "scikit-learn",
    "scikit-image",
    "PyMaxflow",
    "xraylib",
    "matplotlib",
    "pydantic",
)


def versions() -> dict[str, str]:
    """Return the versions of siftem, Python and the packages that results depend on."""
    out = {"siftem": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            out[package] = version(package)
        except PackageNotFoundError:
            out[package] = "not installed"
    return out


def facts(result: RunResult) -> dict[str, str]:
    """Return what was run, as pairs of a word and a short text."""
    si, recipe = result.spectrum_image, result.recipe
    if recipe.input.demo is not None:
        demo = recipe.input.demo
        source = f"simulated, {demo.dose:g} counts a pixel, seed {demo.random_state}"
    elif recipe.input.file is None:
        source = f"example {recipe.input.example}"
    else:
        source = recipe.input.file
        if recipe.input.signal is not None:
            source += f", signal {recipe.input.signal}"
    ny, nx = si.shape
    size = f"{ny} × {nx} pixels (height × width)"
    if si.pixel_size is not None:
        dy, dx = si.pixel_size
        each = f"{dx:.4g}" if abs(dx - dy) < 1e-6 * dx else f"{dy:.4g} × {dx:.4g}"
        size += f" of {each} nm"
    axis = si.axis
    energies = (
        f"{axis.size} channels of {1e3 * axis.to_kev().scale:.4g} eV, "
        f"{axis.first:.4g} to {axis.last:.4g} {axis.unit}"
    )
    counts = (
        f"{whole_number(si.total)}, {significant(si.total / si.n_pixels, 3)} a pixel, "
        f"{significant(100 * si.density, 2)}% of all channels not zero"
    )
    out = {"input": source, "map": size, "energies": energies, "counts": counts}
    acquisition = []
    if si.acquisition.beam_energy is not None:
        acquisition.append(f"{si.acquisition.beam_energy:g} kV")
    if si.acquisition.take_off_angle is not None:
        acquisition.append(f"take-off angle {si.acquisition.take_off_angle:.4g}°")
    if si.acquisition.resolution is not None:
        acquisition.append(f"resolution {si.acquisition.resolution:g} eV at Mn Kα")
    if si.acquisition.beam_current is not None:
        acquisition.append(f"{si.acquisition.beam_current:g} nA")
    if si.acquisition.live_time is not None:
        acquisition.append(f"live time {si.acquisition.live_time:g} s")
    if acquisition:
        out["acquisition"] = ", ".join(acquisition)
    out["phases"] = ", ".join(result.factors.names)
    if recipe.elements:
        out["elements"] = ", ".join(recipe.elements)
    if recipe.support:
        out["support lines"] = ", ".join(recipe.support) + " (fitted, left out of all sums)"
    factors = result.factors
    decomposition = [f"Poisson factorisation into {len(factors.names)} components"]
    if factors.pooled_pixels is not None:
        decomposition.append(f"{whole_number(factors.pooled_pixels)} pooled pixels")
    if factors.n_iter:  # none where the spectra of pure pixels serve as they are
        decomposition.append(f"{factors.n_iter} sweep{'s' * (factors.n_iter > 1)}")
    decomposition.append("converged" if factors.converged else "stopped before it converged")
    out["decomposition"] = ", ".join(decomposition)
    return out


def resource_facts(resources: Mapping[str, float] | None) -> dict[str, str]:
    """Return time and memory as pairs of a word and a short text."""
    out = {}
    for key, value in (resources or {}).items():
        if key == "seconds":
            out["time"] = f"{value:.1f} s"
        elif key == "peak_memory_MB":
            out["peak memory"] = f"{value:.0f} MB"
        else:
            out[key.replace("_", " ")] = significant(float(value), 4)
    return out


def environment() -> Environment:
    """Return the environment of all templates, with filters for tables as CSV."""
    made = Environment(
        loader=PackageLoader("siftem.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["base64"] = lambda text: encoded(text.encode("utf-8"))
    made.filters["file_name"] = file_name
    return made


def encoded(data: bytes) -> str:
    """Return bytes in base64, for a page."""
    return base64.b64encode(data).decode("ascii")


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
