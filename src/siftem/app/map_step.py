"""A step of the road: its controls at the side of one large map and one large spectrum.

Maps of phases, and of the regions whose spectra are summed, are among the images of all steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from siftem.app.map_and_spectrum import MapAndSpectrum
from siftem.app.map_images import MapImage, map_images
from siftem.app.overlays import MapFindings, overlay_words, phases_overlay, regions_overlay
from siftem.app.session import Session
from siftem.app.spectrum_figure import Curve
from siftem.app.step_view import StepPage, View
from siftem.decomposition.layout import MIXED, VACUUM
from siftem.pipeline.results import Matched


class MapStep(View):
    """What all steps do once a map is open.

    Parameters
    ----------
    page : StepPage
    palette : str
        Of the map, to begin with.
    part : float
        Part of the height beside the map for what stands below the spectrum.
    most : int
        It needs no more than this, screen pixels.
    log : bool
        Logarithmic counts to begin with.
    """

    def __init__(
        self,
        page: StepPage,
        *,
        palette: str = "Grey",
        part: float = 0.42,
        most: int = 400,
        log: bool = True,
    ) -> None:
        super().__init__(page)
        self.look = MapAndSpectrum(
            page.attempt,
            palette=palette,
            reach=lambda: float(self.reach()),
            part=part,
            most=most,
            log=log,
        )
        self._state: object = None

    def reach(self) -> float:
        """Return the width, in pixels, of what is summed under the cursor."""
        return 1.0

    def matched(self) -> Matched | None:
        """Return the components, None before there are any."""
        found: Matched | None = self.session.workflow.get("match") if self.session.is_open else None
        return found

    def show_map(
        self, curves: Sequence[Curve] = (), *, of: object, chosen: str | None = None
    ) -> None:
        """Show map and spectrum; ``of`` is what the curves depend on.

        Parameters
        ----------
        curves : sequence of Curve
        of : object
            Nothing is drawn again as long as this, the map and its images are the same.
        chosen : str, optional
            The map to show, when the images are new; by default the one before, else the first.
        """
        session, matched = self.session, self.matched()
        si, elements, edges = session.spectrum_image, session.elements(), session.edges()
        maps = None if matched is None else matched.factors.maps
        names = None if matched is None else matched.factors.names
        pictures = (id(si), elements, edges, id(maps), names, self._pictures_of())
        if self._state == (pictures, of):
            return
        same = isinstance(self._state, tuple) and self._state[0] == pictures
        self._state = pictures, of
        if same:
            self.look.beside(curves)
            return
        images = {one.name: one for one in self.first_images()}
        # What was not known before comes to the front.
        news = [name for name in images if name not in self.look.images]
        images |= map_images(si, None if matched is None else matched.factors, elements, edges)
        self.look.open(
            si,
            images,
            elements,
            room=self.room,
            chosen=chosen or next(iter(news), None),
            ranges=self.page.map_ranges(),
            curves=curves,
            edges=edges,
        )

    def first_images(self) -> list[MapImage]:
        """Return the maps that stand before all others."""
        return phase_images(self.session)

    def as_counted(self, whole: np.ndarray) -> Callable[[np.ndarray], float]:
        """Return the part of a spectrum with as many counts as some pixels, for `Curve`."""
        counts = self.session.spectrum_image.total_map().ravel()
        total = float(np.nansum(whole)) or 1.0
        return lambda rows: float(counts[rows].sum()) / total

    def _pictures_of(self) -> Any:
        """What the first images are made of."""
        cut = self.session.workflow.get("regions")
        matched = self.matched()
        return id(cut), None if matched is None else id(matched.layout)

    def show(self, *below: Any, fields: Sequence[Any] = ()) -> None:
        """Bring map and spectrum to the front, with what stands below."""
        self.look.show_fields(fields)
        if self.look.figure is not None:  # zoomed in another step, meanwhile
            self.look.figure.place_scale_bar()
        if list(self.look.below) != list(below):  # drawn anew, a field would lose the cursor
            self.look.below[:] = list(below)
        if list(self.content) != [self.look.panel]:
            self.content[:] = [self.look.panel]

    def resized(self) -> None:
        """Draw all in the new room."""
        super().resized()
        if self.session.is_open:
            self.look.resized(self.room)

    def close(self) -> None:
        """Let go of everything."""
        self.look.close()
        super().close()

    def no_map(self) -> None:
        """Say that there is nothing to see yet."""
        self._state = None
        self.content[:] = [self.text("<p>Open a map first.</p>", margin=(30, 20))]


PHASES, REGIONS = "Phase map", "Regions"


def phase_images(session: Session) -> list[MapImage]:
    """Return the regions and the phase map, as far as there are any."""
    if session.workflow.get("match") is None:
        return []
    found = [regions_image(session), phase_image(session)]
    return [image for image in found if image is not None]


def phase_image(session: Session) -> MapImage | None:
    """Return the phase of each pixel; None before it is known."""
    shown = session.phase_map()
    if shown is None:
        return None
    words = {**dict(enumerate(shown.names)), VACUUM: "vacuum", MIXED: "mixed"}
    return MapImage(
        PHASES,
        "",
        session.spectrum_image.total_map,
        over=lambda: phases_overlay(shown, session.colours()),
        words=lambda y, x: words[int(shown.labels[y, x])],
    )


def regions_image(session: Session) -> MapImage | None:
    """Return the regions whose pixels are summed; None before there are any."""
    cut = session.workflow.get("regions")
    if cut is None:
        return None
    regions, findings = cut.regions, MapFindings(session)
    return MapImage(
        REGIONS,
        "",
        session.spectrum_image.total_map,
        over=lambda: regions_overlay(regions, session.colours()),
        words=lambda y, x: overlay_words(REGIONS, "", session, findings, (y, x)),
    )
