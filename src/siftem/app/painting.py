"""Painted traces as they stand in the recipe, with undo and an eraser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from siftem.errors import InputError
from siftem.pipeline.recipe_sections import Shape
from siftem.pipeline.steps.segment import painted_masks, shape_mask

Shapes = dict[str, tuple[Shape, ...]]
Points = Sequence[tuple[float, float]]

#: Strokes that can be taken back.
_MOST_UNDO = 200


class PaintedTraces:
    """Strokes of each phase, as ``segment.traces`` of a recipe takes them.

    Parameters
    ----------
    shape : tuple of int
        Scan size (ny, nx).
    traces : str or mapping, optional
        Of a recipe. A file is turned into pixels, so that strokes can be added to it.
    phases : sequence of str
    """

    def __init__(
        self,
        shape: tuple[int, int],
        traces: str | Mapping[str, Sequence[Shape]] | None = None,
        phases: Sequence[str] = (),
    ) -> None:
        self.shape = shape
        if isinstance(traces, str):
            masks = painted_masks(traces, shape, phases)
            self.shapes: Shapes = {n: (_runs(m),) for n, m in masks.items()}
        else:
            self.shapes = {n: tuple(s) for n, s in (traces or {}).items()}
        #: Of each phase the shapes of which the pixels are known, and these: they are asked for
        #: several times after each stroke, of which most phases have no new one.
        self._drawn: dict[str, tuple[tuple[Shape, ...], np.ndarray]] = {}
        self._before: list[Shapes] = []
        self._undone: list[Shapes] = []

    def paint(self, phase: str, points: Points, width: float) -> None:
        """Add a stroke of a phase.

        Parameters
        ----------
        phase : str
        points : sequence of (y, x)
            In pixels; a pixel's centre lies at whole numbers.
        width : float
            In pixels.

        Raises
        ------
        InputError
            When no pixel of the map is painted.
        """
        stroke = self._stroke(points, width)
        self._keep()
        self.shapes = {**self.shapes, phase: (*self.shapes.get(phase, ()), stroke)}

    def fill(self, phase: str, points: Points) -> None:
        """Paint all pixels whose centres lie inside a line that closes by itself.

        Raises
        ------
        InputError
            When it encloses no pixel of the map.
        """
        line = _rounded(points)
        if len(line) < 3:
            raise InputError("draw around some pixels: a line to fill needs three points")
        shape = Shape(polygon=tuple(line))
        shape_mask(shape, self.shape)
        self._keep()
        self.shapes = {**self.shapes, phase: (*self.shapes.get(phase, ()), shape)}

    def erase(self, points: Points, width: float) -> None:
        """Take the pixels under a stroke from all phases."""
        gone = shape_mask(self._stroke(points, width), self.shape)
        after: Shapes = {}
        for name, mask in self.masks().items():
            if not (mask & gone).any():
                after[name] = self.shapes[name]
            elif (mask & ~gone).any():
                after[name] = (_runs(mask & ~gone),)
        self._keep()
        self.shapes = after

    def clear(self) -> None:
        """Remove all strokes; undo brings them back."""
        if self.shapes:
            self._keep()
            self.shapes = {}

    def undo(self) -> bool:
        """Take back the last stroke; return whether there was one."""
        if not self._before:
            return False
        self._undone.append(self.shapes)
        self.shapes = self._before.pop()
        return True

    def redo(self) -> bool:
        """Do again what was taken back last; return whether there was something."""
        if not self._undone:
            return False
        self._before.append(self.shapes)
        self.shapes = self._undone.pop()
        return True

    def renamed(self, names: Mapping[str, str]) -> PaintedTraces:
        """Return the traces under other names of the phases; those without one are dropped."""
        out = PaintedTraces(self.shape)
        out.shapes = {names[n]: s for n, s in self.shapes.items() if n in names}
        return out

    def masks(self) -> dict[str, np.ndarray]:
        """Return the painted pixels of each phase; bool (ny, nx), not to be written to."""
        now = self.shapes
        for name, shapes in now.items():
            if name not in self._drawn or self._drawn[name][0] is not shapes:
                mask = painted_masks({name: shapes}, self.shape, (name,))[name]
                mask.flags.writeable = False
                self._drawn[name] = shapes, mask
        return {name: self._drawn[name][1] for name in now}

    def pixels(self) -> dict[str, int]:
        """Return the number of painted pixels of each phase."""
        return {name: int(mask.sum()) for name, mask in self.masks().items()}

    def for_recipe(self) -> dict[str, tuple[Shape, ...]] | None:
        """Return what ``segment.traces`` says; None when nothing is painted."""
        return dict(self.shapes) or None

    def _stroke(self, points: Points, width: float) -> Shape:
        stroke = Shape(line=tuple(_rounded(points)), width=width)
        shape_mask(stroke, self.shape)
        return stroke

    def _keep(self) -> None:
        self._before = [*self._before[1 - _MOST_UNDO :], self.shapes]
        self._undone.clear()


def _rounded(points: Points) -> list[tuple[float, float]]:
    """Return points to a hundredth of a pixel, none twice in a row."""
    rounded = [(round(float(y), 2), round(float(x), 2)) for y, x in points]
    line = [p for i, p in enumerate(rounded) if i == 0 or p != rounded[i - 1]]
    if not line:
        raise InputError("a stroke needs at least one point: drag over the map")
    if not np.isfinite(line).all():
        raise InputError("a stroke must consist of numbers")
    return line


def _runs(mask: np.ndarray) -> Shape:
    """Return a mask as runs of pixels along rows."""
    steps = np.diff(mask.astype(np.int8), axis=1, prepend=0, append=0)
    rows, first = np.nonzero(steps == 1)
    _, behind = np.nonzero(steps == -1)
    runs = zip(rows.tolist(), first.tolist(), (behind - 1).tolist(), strict=True)
    return Shape(runs=tuple(runs))
