"""What kind of signal a file holds: X-rays of a thin or thick specimen, or energy losses."""

from __future__ import annotations

from typing import Any

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis

#: Where a file is silent, an axis that reaches this energy (keV) is one of X-rays: energy
#: losses are seldom recorded so far out, and no X-ray detector's range ends before it.
_XRAY_END = 3.0
#: Scanning microscopes with bulk specimens do not go beyond this beam energy (keV).
_SCANNING_END = 30.0
_KNOWN = ("EDS_TEM", "EDS_SEM", "EELS")


def signal_type_of(
    stated: str, axis: EnergyAxis, acquisition: Acquisition, metadata: Any, axis_name: str = ""
) -> tuple[str, tuple[str, ...]]:
    """Return the kind of signal in HyperSpy's words, and a note where it had to be assumed.

    Parameters
    ----------
    stated : str
        What the file says.
    axis : EnergyAxis
    acquisition : Acquisition
    metadata : hyperspy.misc.utils.DictionaryTreeBrowser
        Tells by which detectors it holds.
    axis_name : str
        Such as "Energy loss".

    Returns
    -------
    signal_type : str
        "EDS_TEM", "EDS_SEM" or "EELS"; "" when nothing tells.
    notes : tuple of str
    """
    if stated in _KNOWN:
        return stated, ()
    has = {
        kind: any(
            metadata.has_item(f"Acquisition_instrument.{mode}.Detector.{kind}")
            for mode in ("TEM", "SEM")
        )
        for kind in ("EDS", "EELS")
    }
    if stated.startswith("EDS"):
        kind = "EDS"
    elif "loss" in axis_name.lower() or (has["EELS"] and not has["EDS"]):
        kind = "EELS"
    elif stated == "" and (
        axis.unit == "keV" or (has["EDS"] and not has["EELS"]) or axis.to_kev().last > _XRAY_END
    ):
        kind = "EDS"
    else:
        return "", (
            "the file does not name the kind of signal, and its energies fit X-rays and losses: "
            "if it is one, say acquisition: {signal_type: EDS_TEM} (or EDS_SEM, EELS) in a recipe",
        )
    if kind == "EDS":
        beam = acquisition.beam_energy
        kind = "EDS_SEM" if beam is not None and beam <= _SCANNING_END else "EDS_TEM"
    return kind, (f"the file does not name the kind of signal: taken as {kind}",)
