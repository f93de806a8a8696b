"""Masks, probabilities and traces as colours over a map."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from siftem.decomposition.layout import MIXED, VACUUM
from siftem.figures.regions import MIXED_COLOUR, VACUUM_COLOUR
from siftem.pipeline.layout import PhaseMap
from siftem.pipeline.left_out import (
    BORDER,
    EXCLUDED,
    INTERSECTION,
    MIXED_REASON,
    VACUUM_REASON,
    LeftOut,
)
from siftem.segment.regions import Regions

#: Of pixels that hold several grains: seen on dark and on bright maps, and of no phase.
OVERLAP_COLOUR = "#7DF9FF"
#: Of the reasons for which pixels are left out; rims have the last one.
_REASON_COLOURS = {
    BORDER: "#F0E442",
    INTERSECTION: OVERLAP_COLOUR,
    VACUUM_REASON: "#FFFFFF",
    MIXED_REASON: MIXED_COLOUR,
    EXCLUDED: "#8B4513",
}
#: Of pixels that are like no painted one.
UNLIKE_COLOUR = "#FFB000"
_RIM_COLOUR = "#FF4FD8"

#: Colours of traces lie opaque over what they train.
_TRACE_ALPHA = 235


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of a hexadecimal colour."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def regions_overlay(regions: Regions, colours: Mapping[str, str]) -> np.ndarray:
    """Colour each region of a map; what is left out stays clear.

    Parameters
    ----------
    regions : Regions
    colours : mapping of str to str
        Of the phases.

    Returns
    -------
    ndarray of uint8, shape (ny, nx, 4)
    """
    layers = [(regions.pure.mask, colours[regions.matrix])]
    layers += [(regions.mixture(name).mask, colours[name]) for name in regions.names]
    layers.append((regions.intersection.mask, OVERLAP_COLOUR))
    out = np.zeros((*regions.shape, 4), np.uint8)
    for mask, colour in layers:
        out[mask] = (*rgb_of(colour), 255)
    return out


def mask_overlay(mask: np.ndarray, colour: str) -> np.ndarray:
    """Colour the pixels of a mask; uint8 (ny, nx, 4)."""
    out = np.zeros((*mask.shape, 4), np.uint8)
    out[mask] = (*rgb_of(colour), 255)
    return out


def phases_overlay(shown: PhaseMap, colours: Mapping[str, str]) -> np.ndarray:
    """Colour each pixel by its phase, mixed ones grey and vacuum white; uint8 (ny, nx, 4)."""
    table = np.zeros((len(shown.names) + 2, 4), np.uint8)
    for i, name in enumerate(shown.names):
        table[i] = (*rgb_of(colours[name]), 255)
    # These labels are indices from the end.
    table[VACUUM], table[MIXED] = (*rgb_of(VACUUM_COLOUR), 255), (*rgb_of(MIXED_COLOUR), 255)
    return table[shown.labels]


def reason_colour(reason: str) -> str:
    """Return the colour of pixels that are left out for a reason."""
    return _REASON_COLOURS.get(reason, _RIM_COLOUR)


def left_out_overlay(left: LeftOut) -> np.ndarray:
    """Colour each pixel that is left out by its reason; uint8 (ny, nx, 4)."""
    table = np.zeros((len(left.reasons) + 1, 4), np.uint8)
    for i, reason in enumerate(left.reasons):
        table[i] = (*rgb_of(reason_colour(reason)), 255)
    return table[left.numbers]  # -1 is the last, which stays clear


def probability_overlay(probability: np.ndarray, colour: str) -> np.ndarray:
    """Colour each pixel the more opaque, the more probable a phase is; uint8 (ny, nx, 4)."""
    out = np.empty((*probability.shape, 4), np.uint8)
    out[..., :3] = rgb_of(colour)
    out[..., 3] = np.rint(255 * np.clip(probability, 0, 1))
    return out


def traces_overlay(
    masks: Mapping[str, np.ndarray], colours: Mapping[str, str], shape: tuple[int, int]
) -> np.ndarray:
    """Colour painted pixels; those of two phases have the colour of an overlap."""
    out = np.zeros((*shape, 4), np.uint8)
    painted = np.zeros(shape, int)
    for name, mask in masks.items():
        out[mask] = (*rgb_of(colours.get(name, "#000000")), _TRACE_ALPHA)
        painted += mask
    out[painted > 1] = (*rgb_of(OVERLAP_COLOUR), _TRACE_ALPHA)
    return out
