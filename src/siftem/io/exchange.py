"""Spectra as EMSA/MAS (.msa), which everyone else reads."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import numpy as np

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.errors import ReadError
from siftem.files.atomic import replacing
from siftem.io.signal_metadata import take_off_angle
from siftem.spectrum import Spectrum

_POINT = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_COMMA = re.compile(r"[-+]?(?:\d+,?\d*|,\d+)(?:[eE][-+]?\d+)?")
_RATE = re.compile(r"^(cps|(counts?|c|cts?)(/|per)s(ec|econd)?s?)(?P<per>/?k?ev)?$")
#: Rates are written with some digits: counts this near to whole numbers are whole numbers.
_WHOLE = 0.1

_FORMAT = "EMSA/MAS Spectral Data File"
_LONGEST_TITLE = 64
_MOST_BYTES = 64 * 2**20
#: Values that stand in one line at the most.
_MOST_COLUMNS = 16


def write_emsa(
    path: str | os.PathLike[str],
    spectrum: Spectrum,
    acquisition: Acquisition | None = None,
    *,
    signal_type: str = "EDS",
) -> None:
    """Write a spectrum in the EMSA/MAS format (ISO 22029), one value a line.

    The format has no place for uncertainties: write a CSV as well to keep them.

    Parameters
    ----------
    path : str or path-like
        By custom .msa; an existing file is replaced.
    spectrum : Spectrum
        Values may be negative (after a subtraction).
    acquisition : Acquisition, optional
        By default that of the spectrum: beam energy (BEAMKV), probe current (PROBECUR,
        nA), take-off angle as detector elevation at zero tilt (ELEVANGLE, XTILTSTGE),
        live time (LIVETIME).
    signal_type : str
        Any name that starts with "EDS" becomes EDS, "EELS" becomes ELS; others are
        left out.

    Raises
    ------
    InputError
        When the folder does not exist.
    """
    acquisition = acquisition or spectrum.acquisition
    axis = spectrum.axis
    title = " ".join(spectrum.name.encode("ascii", "replace").decode().split())
    header: list[tuple[str, str]] = [
        ("FORMAT", _FORMAT),
        ("VERSION", "1.0"),
        ("TITLE", title[:_LONGEST_TITLE]),
        ("DATE", ""),
        ("TIME", ""),
        ("OWNER", ""),
        ("NPOINTS", str(axis.size)),
        ("NCOLUMNS", "1"),
        ("XUNITS", axis.unit),
        ("YUNITS", "Counts"),
        ("DATATYPE", "Y"),
        ("XPERCHAN", _text(axis.scale)),
        ("OFFSET", _text(axis.offset)),
    ]
    kind = "EDS" if signal_type.startswith("EDS") else {"EELS": "ELS"}.get(signal_type)
    if kind:
        header.append(("SIGNALTYPE", kind))
    optional = [
        ("BEAMKV", acquisition.beam_energy),
        ("PROBECUR", acquisition.beam_current),
        ("ELEVANGLE", acquisition.take_off_angle),
        ("XTILTSTGE", 0.0 if acquisition.take_off_angle is not None else None),
        ("LIVETIME", acquisition.live_time),
    ]
    header += [(key, _text(value)) for key, value in optional if value is not None]
    lines = [f"#{key:<12}: {value}" for key, value in header]
    lines.append("#SPECTRUM    : Spectral Data Starts Here")
    lines += [_text(value) for value in spectrum.values]
    lines.append("#ENDOFDATA   : ")
    with replacing(path) as draft:
        draft.write_text("\n".join(lines) + "\n", encoding="ascii", newline="\r\n")


def read_emsa(path: str | os.PathLike[str]) -> Spectrum:
    """Read a spectrum in the EMSA/MAS format, values only (Y) or energies too (XY).

    Decimal commas are understood; rates (CPS) are brought back to counts by the live time.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    Spectrum
        With the variance of Poisson counts, since the format knows no other. The name
        is the title; ``notes`` tell of rates.

    Raises
    ------
    ReadError
        When the file is missing, not EMSA, cut short or without an energy axis, or holds rates
        without a live time.
    """
    file = Path(path)
    if not file.is_file():
        raise ReadError(f"cannot read {file}: there is no such file")
    if file.stat().st_size > _MOST_BYTES:
        raise ReadError(f"cannot read {file}: it is too large for one spectrum")
    text = file.read_bytes().removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    header, rows, complete = _parse(text)
    if "EMSA" not in header.get("FORMAT", ""):
        raise ReadError(f"cannot read {file}: it is not an EMSA/MAS file")
    pairs = header.get("DATATYPE", "Y").upper() == "XY"
    try:
        n_points = int(number_of(header["NPOINTS"]))
        offset, scale = number_of(header["OFFSET"]), number_of(header["XPERCHAN"])
        numbers = numbers_of(rows, n_points * (2 if pairs else 1))
    except (KeyError, ValueError) as error:
        raise ReadError(
            f"cannot read {file}: its header lacks a usable NPOINTS, OFFSET or XPERCHAN"
        ) from error
    values = numbers[1::2] if pairs else numbers
    # The last line may be filled up with zeros, where several values stand in one.
    spare = values[n_points:].any() or len(values) >= n_points + _MOST_COLUMNS
    if n_points < 1 or len(values) < n_points or spare:
        missing = "" if complete else ", it is cut short"
        raise ReadError(
            f"cannot read {file}: it promises {n_points} channels and holds {len(values)}{missing}"
        )
    unit = {"kev": "keV", "ev": "eV"}.get(header.get("XUNITS", "").lower())
    if unit is None:
        raise ReadError(
            f"cannot read {file}: its energies are in {header.get('XUNITS') or 'no unit'}, "
            "expected keV or eV"
        )
    values = values[:n_points]
    if scale < 0:
        offset, scale, values = offset + scale * (n_points - 1), -scale, values[::-1]
    acquisition = _acquisition_of(header)
    try:
        axis = EnergyAxis(offset, scale, n_points, unit)
        width = 1e3 * axis.to_kev().scale
        values, note = counts_of_rates(
            values, header.get("YUNITS", ""), acquisition.live_time, width
        )
        return Spectrum(
            values,
            axis,
            name=header.get("TITLE", ""),
            acquisition=acquisition,
            notes=(note,) if note else (),
        )
    except ValueError as error:
        raise ReadError(f"cannot read {file}: {error}") from error


def _parse(text: str) -> tuple[dict[str, str], list[str], bool]:
    header: dict[str, str] = {}
    rows: list[str] = []
    in_data = complete = False
    for line in text.splitlines():
        if line.startswith("#"):
            key, _, value = line[1:].partition(":")
            # A unit may follow the key, as in "#XPERCHAN -kV" or "#BEAMKV   -kV".
            key = key.strip().split(" ")[0].split("-")[0].upper()
            if key == "ENDOFDATA":
                complete = True
                break
            in_data = in_data or key == "SPECTRUM"
            header.setdefault(key, value.strip())
        elif in_data:
            rows.append(line)
    return header, rows, complete


def _acquisition_of(header: dict[str, str]) -> Acquisition:
    def value(key: str) -> float | None:
        with contextlib.suppress(ValueError):
            return number_of(header.get(key, ""))
        return None

    def positive(key: str) -> float | None:
        number = value(key)
        return number if number is not None and number > 0 else None

    elevation = positive("ELEVANGLE")
    angle = None
    if elevation is not None:
        angle = take_off_angle(
            elevation,
            azimuth=value("AZIMANGLE") or 0.0,
            tilt_alpha=value("XTILTSTGE") or 0.0,
            tilt_beta=value("YTILTSTGE") or 0.0,
        )
    return Acquisition(
        beam_energy=positive("BEAMKV"),
        beam_current=positive("PROBECUR"),
        take_off_angle=angle if angle is not None and angle > 0 else None,
        live_time=positive("LIVETIME"),
    )


def _text(value: float) -> str:
    """Write a number so that reading it gives the same float64; whole ones without a point."""
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)


def number_of(text: str) -> float:
    """Return the first number of a text, with a decimal point or comma.

    Raises
    ------
    ValueError
        When there is none.
    """
    for pattern in (_COMMA,) if "," in text and "." not in text else (_POINT,):
        found = pattern.match(text.strip())
        if found:
            return float(found.group().replace(",", "."))
    raise ValueError(f"no number in {text!r}")


def numbers_of(lines: list[str], expected: int) -> np.ndarray:
    """Return all numbers of the data lines.

    A comma between digits may part two numbers or be the decimal sign of one. It is the
    latter where that gives as many numbers as are expected and the former does not.

    Parameters
    ----------
    lines : list of str
    expected : int
        Numbers that the header promises.

    Returns
    -------
    ndarray of float64
    """
    text = "\n".join(lines)
    found = _POINT.findall(text)
    if len(found) > expected and "." not in text:
        by_comma = _COMMA.findall(text)
        if len(by_comma) == expected:
            found = [number.replace(",", ".") for number in by_comma]
    return np.array([float(number) for number in found])


def counts_of_rates(
    values: np.ndarray, units: str, live_time: float | None, width_ev: float
) -> tuple[np.ndarray, str]:
    """Bring rates back to counts by the live time.

    Parameters
    ----------
    values : ndarray of shape (channels,)
    units : str
        YUNITS of the header. Anything but a rate (CPS, counts/s, also per eV) leaves the
        values as they are.
    live_time : float or None
        s.
    width_ev : float
        Width of a channel, for rates per eV or keV.

    Returns
    -------
    values : ndarray of shape (channels,)
    note : str
        What was done; empty when nothing was.

    Raises
    ------
    ValueError
        When they are rates and the live time is not known.
    """
    plain = "".join(units.lower().split())
    rate = _RATE.match(plain)
    if rate is None:
        return values, ""
    if live_time is None:
        raise ValueError(
            f"its values are rates ({units}) without a live time, so that their errors cannot be "
            "known: add a line #LIVETIME (seconds) to its header, or export counts"
        )
    factor = live_time
    if rate.group("per"):
        factor *= width_ev / (1e3 if "k" in rate.group("per") else 1.0)
    counts = values * factor
    whole = np.rint(counts)
    if np.abs(counts - whole).max(initial=0.0) < _WHOLE:
        counts = whole
    return counts, f"rates ({units}) brought back to counts by the live time of {live_time:g} s"
