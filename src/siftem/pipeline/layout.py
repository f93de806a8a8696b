"""How the phases of a run lie: as found, as the recipe corrects it, and as a map of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from siftem.decomposition.factors import Factors, component_name
from siftem.decomposition.layout import MIXED, VACUUM, Lies, PhaseLayout
from siftem.pipeline.recipe import Recipe
from siftem.segment.regions import Regions
from siftem.views import view

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


@dataclass(frozen=True, eq=False, repr=False)
class PhaseMap:
    """One label a pixel.

    Parameters
    ----------
    names : tuple of str
        Phases; label i is ``names[i]``.
    labels : ndarray of int64, shape (ny, nx)
        -1 vacuum, -2 mixed: borders, and pixels of several grains.
    """

    names: tuple[str, ...]
    labels: np.ndarray

    def __repr__(self) -> str:
        areas = ", ".join(f"{name} {area:.1f}%" for name, area in self.area_percent.items() if area)
        ny, nx = self.labels.shape
        return f"<PhaseMap {ny} x {nx} pixels: {areas}>"

    def _repr_html_(self) -> str:
        return str(view("phase_map_html")(self))

    def plot(
        self, ax: Axes | None = None, *, pixel_size: tuple[float, float] | None = None
    ) -> Axes:
        """Draw one colour a pixel, with the area of each phase.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            By default new ones.
        pixel_size : tuple of float, optional
            Height and width of a pixel in nm, for the scale bar.

        Returns
        -------
        matplotlib Axes
        """
        drawn: Axes = view("plot_phase_map")(self, ax, pixel_size=pixel_size)
        return drawn

    def to_pandas(self) -> DataFrame:
        """Return the area of each phase and its error; index: phase.

        Returns
        -------
        pandas.DataFrame
        """
        return view("phase_map_frame")(self)

    @property
    def area_percent(self) -> dict[str, float]:
        """Share of the map of each phase, of "mixed" and "vacuum", in percent."""
        shares = {name: self._share(i) for i, name in enumerate(self.names)}
        return {**shares, "mixed": self._share(MIXED), "vacuum": self._share(VACUUM)}

    @property
    def area_sigma(self) -> dict[str, float]:
        """Standard deviation of `area_percent`: a border lies anywhere within its pixels.

        All of it alike, since what moves it (the brightness and blur of both sides) does so
        everywhere: its pixels are no independent draws.
        """
        border = np.zeros(self.labels.shape, bool)
        for a, b in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
            change = self.labels[a] != self.labels[b]
            border[a] |= change
            border[b] |= change
        out = {}
        for name, label in (*((n, i) for i, n in enumerate(self.names)), ("mixed", MIXED)):
            mixed = float((self.labels == MIXED).sum()) if label != MIXED else 0.0
            touching = float((border & (self.labels == label)).sum())
            # The mixed pixels may all be the phase's, or none: uniform between.
            out[name] = 100 * float(np.hypot(touching, mixed) / np.sqrt(12)) / self.labels.size
        return out

    def _share(self, label: int) -> float:
        return 100 * float((self.labels == label).mean())


def corrected_layout(
    layout: PhaseLayout | None, recipe: Recipe, names: Sequence[str], matrix: str
) -> PhaseLayout | None:
    """Lay what the recipe says over what was found.

    Parameters
    ----------
    layout : PhaseLayout or None
    recipe : Recipe
    names : sequence of str
        Of the phases, in the order of the layout.
    matrix : str
    """
    if layout is None:
        return None
    wanted, host = recipe.known_layout, names.index(matrix)
    phases: list[Lies] = []
    for i, (name, lies) in enumerate(zip(names, layout.phases, strict=True)):
        said = recipe.phases[name].lies if name in recipe.phases else None
        if lies.role == "vacuum":
            pass
        elif i == host and wanted in ("matrix", "particles on a support"):
            role = "support" if wanted == "particles on a support" else "pure"
            lies = replace(lies, role=role, hosts=())
        elif said == "pure" or (wanted == "side by side" and said is None):
            lies = replace(lies, role="pure", hosts=(), told=said == "pure", perhaps=())
        elif i != host and (said == "embedded" or wanted in ("matrix", "particles on a support")):
            hosts = lies.hosts or lies.perhaps or (host,)
            lies = replace(lies, role="embedded", hosts=hosts, perhaps=())
        phases.append(lies)
    if wanted == "matrix":
        # Nothing is known of how much of the film its grains fill.
        grains = [p.role == "embedded" for p in phases]
        phases = [
            replace(p, even=not grain, told=p.told or grain)
            for p, grain in zip(phases, grains, strict=True)
        ]
    return replace(layout, kind=layout.kind if wanted == "auto" else wanted, phases=tuple(phases))


def describe_layout(
    layout: PhaseLayout | None, recipe: Recipe, names: Sequence[str], matrix: str
) -> str:
    """Say in one sentence how the phases lie, and where that comes from.

    Parameters
    ----------
    layout : PhaseLayout or None
        As corrected; None where the pixels do not tell.
    recipe : Recipe
    names : sequence of str
        Of all phases.
    matrix : str
    """
    if layout is None:
        if len(names) == 1:
            return f"a single phase, {matrix}"
        return f"not told by the pixels: all phases are taken to lie in {matrix}"
    said = recipe.layout != "auto" or any(p.lies is not None for p in recipe.phases.values())
    return layout.sentence(names) + (" (with what the recipe says)" if said else "")


def background(recipe: Recipe, factors: Factors) -> str:
    """Return the phase that the others lie in or on; the largest where there is none."""
    if recipe.matrix is not None:
        # By the letters of the components; those of recipes of before were A, B, C, ...
        letters = {chr(ord("A") + i): name for i, name in enumerate(factors.names)}
        letters |= {component_name(i): name for i, name in enumerate(factors.names)}
        if recipe.matrix in factors.names:
            return recipe.matrix
        return letters.get(recipe.matrix.split(" ")[0], recipe.matrix)
    found = factors.layout.background if factors.layout is not None else None
    if found is None:
        found = factors.matrix
    if found is None:
        known = [i for i, n in enumerate(factors.names) if not recipe.phases or n in recipe.phases]
        found = max(known, key=lambda i: _extent(factors, i))
    return factors.names[found]


def _extent(factors: Factors, i: int) -> float:
    if factors.layout is None:
        return float(factors.counts[i])
    lies = factors.layout.phases[i]
    return -1.0 if lies.role == "vacuum" else lies.area


def by_labels(layout: PhaseLayout | None) -> bool:
    """Whether labels make the masks.

    Grains that fill the film of a matrix in part overlap each other and have faint rims: their
    masks come from their shares. So few counts that pixels are mistaken make even grains look
    uneven, and leave next to nothing of such masks.
    """
    return layout is not None and layout.kind != "single" and not layout.surely_overlapping


def phase_map(layout: PhaseLayout | None, regions: Regions, names: Sequence[str]) -> PhaseMap:
    """Return one label a pixel, from the layout or, for grains in a matrix, from their masks."""
    if layout is not None and by_labels(layout):
        return PhaseMap(tuple(names), layout.labels)
    labels = np.full(regions.shape, names.index(regions.matrix))
    depth = np.zeros(regions.shape, int)
    for name in regions.names:
        mask = regions.mask(name).mask
        labels[mask] = names.index(name)
        depth += mask
    labels[depth > 1] = MIXED
    assert regions.excluded is not None
    labels[regions.excluded & (depth == 0)] = MIXED
    if layout is not None:
        labels[layout.labels == VACUUM] = VACUUM
    return PhaseMap(tuple(names), labels)
