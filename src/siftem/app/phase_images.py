"""Maps of phases, and of the regions whose spectra are summed, as images to look at."""

from __future__ import annotations

from siftem.app.map_images import MapImage
from siftem.app.overlays import MapFindings, overlay_words, phases_overlay, regions_overlay
from siftem.app.session import Session
from siftem.decomposition.layout import MIXED, VACUUM

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
