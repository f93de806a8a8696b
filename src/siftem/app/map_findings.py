"""What is found about the pixels of a map as it is painted: kept until something changes."""

from __future__ import annotations

from typing import Any

import numpy as np

from siftem.app.session import Session
from siftem.pipeline.left_out import LeftOut, left_out
from siftem.segment.trace_check import (
    component_shares,
    contradictions,
    place_to_paint,
    unlike_painted,
)


class MapFindings:
    """Why pixels are left out, which traces contradict their components, where none are.

    Parameters
    ----------
    session : Session
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._shares: tuple[Any, Any] = (None, None)
        self._left: tuple[Any, LeftOut | None] = (None, None)
        self._unlike: tuple[Any, np.ndarray] = (None, np.zeros((1, 1), bool))

    def left_out(self) -> LeftOut | None:
        """Return why pixels serve no spectrum; None before there are regions."""
        cut = self._session.workflow.get("regions")
        if cut is None:
            return None
        if self._left[0] is not cut:
            features = self._session.workflow.get("features")
            found = left_out(cut.regions, self._session.result("match"), features)
            self._left = cut, found
        return self._left[1]

    def contradictions(self) -> tuple[str, ...]:
        """Return a sentence for each phase whose traces contradict its component."""
        shares, _level = self._components()
        names = self._session.result("match").factors.names
        masks = self._session.traces.masks()
        return contradictions(dict(zip(names, shares, strict=True)), masks)

    def unlike_painted(self) -> np.ndarray:
        """Return the pixels that are like no painted one; bool (ny, nx)."""
        shares, level = self._components()
        state = (id(shares), id(self._session.traces.shapes))
        if self._unlike[0] != state:
            masks = self._session.traces.masks()
            self._unlike = state, unlike_painted(shares, level, masks)
        return self._unlike[1]

    def place_to_paint(self) -> tuple[int, int] | None:
        """Return (y, x) where the next stroke would help most; None when all is like traces."""
        return place_to_paint(self.unlike_painted())

    def _components(self) -> tuple[np.ndarray, np.ndarray]:
        maps = self._session.result("match").factors.maps
        if self._shares[0] is not maps:
            self._shares = maps, component_shares(maps)
        found: tuple[np.ndarray, np.ndarray] = self._shares[1]
        return found
