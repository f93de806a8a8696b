"""How a map was taken."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

from siftem.errors import DoubtWarning

#: What stands for what is not said: eV at Mn Ka, and keV.
TYPICAL_RESOLUTION, TYPICAL_BEAM_ENERGY = 130.0, 200.0


@dataclass(frozen=True)
class Acquisition:
    """How the map was taken. ``None`` means that the file does not say.

    Parameters
    ----------
    beam_energy : float, optional
        Primary energy in keV.
    take_off_angle : float, optional
        Angle between the specimen plane and the detector, in degrees.
    resolution : float, optional
        Full width at half maximum at Mn Ka, in eV.
    live_time : float, optional
        Live time of the whole map, in seconds.
    beam_current : float, optional
        Probe current in nA.
    elements : tuple of str
        Elements that the file lists for the specimen.
    convergence_angle, collection_angle : float, optional
        Semi-angles of the probe and of the energy-loss spectrometer, in mrad.
    bulk : bool
        Whether photons come from a thick specimen, as in scanning microscopes and X-ray
        fluorescence: k-factors of thin films do not hold then.

    Examples
    --------
    >>> acquisition = siftem.Acquisition(beam_energy=200.0, live_time=600.0, elements=("Mg", "Si"))
    >>> acquisition.over(0.25).live_time
    150.0
    >>> acquisition.fwhm  # eV, a typical one: the file does not say
    130.0
    >>> acquisition.beam
    200.0
    >>> acquisition.tell_assumed_beam()  # the file says it: nothing is told
    """

    beam_energy: float | None = None
    take_off_angle: float | None = None
    resolution: float | None = None
    live_time: float | None = None
    beam_current: float | None = None
    elements: tuple[str, ...] = ()
    convergence_angle: float | None = None
    collection_angle: float | None = None
    bulk: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "elements", plain_texts(self.elements))

    @property
    def fwhm(self) -> float:
        """The resolution, or a typical one where the file does not say: eV at Mn Ka."""
        return self.resolution or TYPICAL_RESOLUTION

    @property
    def beam(self) -> float:
        """The beam energy, or a typical one where the file does not say: keV, to choose lines."""
        return self.beam_energy or TYPICAL_BEAM_ENERGY

    def tell_assumed_beam(self) -> None:
        """Warn where `beam` is not of the file: other lines may be the strongest.

        Warns
        -----
        DoubtWarning
        """
        if not self.beam_energy:
            warnings.warn(
                f"the beam energy is not known: lines are chosen as those that {self.beam:g} keV "
                f"excite; give it (beam_energy, keV)",
                DoubtWarning,
                stacklevel=3,
            )

    def over(self, share: float) -> Acquisition:
        """Return the acquisition of a part of the map: its share of the live time."""
        if self.live_time is None:
            return self
        return replace(self, live_time=share * self.live_time)


def plain_texts(value: Any) -> tuple[str, ...]:
    """Return texts as files keep them (lists, arrays, of bytes, one alone) as a plain tuple.

    Parameters
    ----------
    value : object
        None and empty texts give nothing.

    Returns
    -------
    tuple of str
    """
    if hasattr(value, "tolist"):  # NumPy: an array, or one of its scalars
        value = value.tolist()
    if value is None:
        return ()
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        value = (value,)
    texts = (v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in value)
    stripped = (text.strip(" \0") for text in texts)
    return tuple(text for text in stripped if text)
