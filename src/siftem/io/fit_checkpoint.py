"""What a fit begins from: spectra from a table or a run, or the state of a killed one."""

from __future__ import annotations

import csv
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siftem.decomposition.blockwise import BlockWeights, remove_orphans
from siftem.decomposition.solver import Pace, SweepState
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError, ReadError
from siftem.files.atomic import replacing
from siftem.io.vendor_files import opened

_MOST_BYTES = 256 * 2**20
#: Energies of a uniform axis may be off by this share of a channel (rounded when written).
_UNEVEN = 1e-3


@dataclass(frozen=True, eq=False)
class SpectraSet:
    """Spectra that share an energy axis.

    Parameters
    ----------
    values : ndarray of shape (k, channels), float64
        Not negative; each sums to more than zero.
    axis : EnergyAxis
    names : tuple of str
    """

    values: np.ndarray
    axis: EnergyAxis
    names: tuple[str, ...]

    def on_axis(self, axis: EnergyAxis) -> np.ndarray:
        """Return the spectra on another axis; each sums to one.

        Counts are shared out by the overlap of channels: the running sum is interpolated
        between channel edges, which keeps all counts that lie within the new axis.

        Parameters
        ----------
        axis : EnergyAxis

        Returns
        -------
        ndarray of shape (k, axis.size)

        Raises
        ------
        InputError
            When these spectra end before the new axis does, by more than one channel, or
            one of them is empty there.
        """
        own, new = self.axis.to_kev(), axis.to_kev()
        if own.first > new.first + new.scale or own.last < new.last - new.scale:
            raise InputError(
                f"the shared spectra run from {own.first:.4g} to {own.last:.4g} keV, "
                f"but the map from {new.first:.4g} to {new.last:.4g} keV: "
                f"narrow the energy range, or share spectra that cover it"
            )
        same = abs(own.scale - new.scale) * new.size < 1e-6 * new.scale
        shift = (new.offset - own.offset) / own.scale
        first = round(shift)
        if same and abs(shift - first) < 1e-6 and 0 <= first <= own.size - new.size:
            values = self.values[:, first : first + new.size]
        else:
            running = np.concatenate(
                [np.zeros((len(self.values), 1)), np.cumsum(self.values, axis=1)], axis=1
            )
            values = np.array([np.diff(np.interp(new.edges, own.edges, row)) for row in running])
        sums = values.sum(axis=1, keepdims=True)
        if not (sums > 0).all():
            empty = self.names[int(np.argmin(sums))]
            raise InputError(f"the shared spectrum {empty} holds nothing in the map's energy range")
        return np.ascontiguousarray(values / sums)


def write_spectra_table(path: str | os.PathLike[str], spectra: SpectraSet) -> None:
    """Write spectra as CSV: a column of energies, then one column for each spectrum.

    Numbers are written so that reading them gives the same float64.
    """
    lines = [",".join([f"energy_{spectra.axis.unit}", *map(_quoted, spectra.names)])]
    for energy, row in zip(spectra.axis.centers, spectra.values.T, strict=True):
        lines.append(",".join([f"{energy:.12g}", *(repr(float(v)) for v in row)]))
    with replacing(path) as draft:
        draft.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def read_spectra(path: str | os.PathLike[str]) -> SpectraSet:
    """Read spectra from a table (.csv) or from the maps.hspy of a run.

    Parameters
    ----------
    path : path-like
        A table has a first row of titles, ``energy_keV`` or ``energy_eV`` and a name for
        each spectrum, then one row a channel, evenly spaced.

    Raises
    ------
    ReadError
        When it is missing, or holds something else.
    """
    file = Path(path)
    if not file.is_file():
        raise ReadError(f"cannot read the shared spectra {file}: there is no such file")
    if file.stat().st_size > _MOST_BYTES:
        raise ReadError(f"cannot read the shared spectra {file}: it is too large for spectra")
    try:
        found = _from_signal(file) if file.suffix.lower() == ".hspy" else _from_table(file)
        values = found.values
        if not np.isfinite(values).all() or (values < 0).any():
            raise ValueError("spectra must be numbers that are not negative")
        if not (values.sum(axis=1) > 0).all():
            raise ValueError("a spectrum is empty")
    except (OSError, ValueError, IndexError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ReadError(f"cannot read the shared spectra {file}: {reason}") from None
    return found


def _from_table(file: Path) -> SpectraSet:
    rows = list(csv.reader(file.read_text(encoding="utf-8-sig").splitlines()))
    rows = [row for row in rows if row and not row[0].startswith("#")]
    if len(rows) < 3 or not rows[0][0].strip().startswith("energy_"):
        raise ValueError(
            "the first row must be energy_keV (or energy_eV) and the names of the spectra"
        )
    names = tuple(cell.strip() for cell in rows[0][1:])
    numbers = np.array([[float(cell) for cell in row] for row in rows[1:]])
    if not names or numbers.shape[1] != len(names) + 1:
        raise ValueError("every row needs an energy and a number for each spectrum")
    energies = numbers[:, 0]
    scale = (energies[-1] - energies[0]) / (len(energies) - 1)
    even = energies[0] + scale * np.arange(len(energies))
    if not scale > 0 or np.abs(energies - even).max() > _UNEVEN * scale:
        raise ValueError("its energies must rise in even steps")
    # Twelve digits were written: what lies behind them is rounding.
    axis = EnergyAxis(
        float(energies[0]),
        float(f"{scale:.10g}"),
        len(energies),
        rows[0][0].strip().removeprefix("energy_"),
    )
    return SpectraSet(np.ascontiguousarray(numbers[:, 1:].T), axis, names)


def _from_signal(file: Path) -> SpectraSet:
    with opened(file) as content:
        for signal in (stored.signal for stored in content.signals):
            axes = signal.axes_manager
            if axes.signal_dimension == 1 and axes.navigation_dimension == 1:
                energy = axes.signal_axes[0]
                axis = EnergyAxis(
                    float(energy.offset), float(energy.scale), int(energy.size), str(energy.units)
                )
                values = np.array(signal.data, dtype=np.float64)
                names = signal.metadata.get_item("Siftem.names")
                if names is None or len(names) != len(values):
                    names = [f"spectrum {i + 1}" for i in range(len(values))]
                return SpectraSet(values, axis, tuple(str(n) for n in names))
    raise ValueError("it holds no list of spectra: give the maps.hspy of a run, or a CSV table")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(c in name for c in ',"\n') else name


_VERSION = 2


class FitCheckpoint:
    """Keeps the state of a Poisson fit in one file, now and then.

    Give it to ``siftem.decompose`` or ``siftem.PoissonNMF``. After a kill, the same call with
    the same counts and settings goes on from the last state and gives, to the last bit, what
    an undisturbed fit would have given. A file of another fit is ignored and
    overwritten; when the fit ends, the file is removed.

    Parameters
    ----------
    path : str or path-like
        File to write; its folder must exist.
    every : float
        Seconds between two states.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> kept = siftem.FitCheckpoint("fit.npz", every=60.0)
    >>> nmf = siftem.PoissonNMF(2, max_iter=3, checkpoint=kept).fit(si.counts)
    >>> kept.due(), kept.path.exists()  # removed when the fit has come to its end
    (False, False)
    """

    def __init__(self, path: str | os.PathLike[str], *, every: float = 30.0) -> None:
        self.path = Path(path)
        if not every >= 0:
            raise InputError(f"every must be seconds, zero or more, got {every!r}")
        self.every = every
        self._last = time.monotonic()
        self._folder: Any = None

    def due(self) -> bool:
        """Whether it is time to keep the state again."""
        return time.monotonic() - self._last >= self.every

    def keep(self, key: str, state: SweepState) -> None:
        """Write the state under a draft name, then rename it."""
        weights, numbers = state.weights, state.pace.numbers()
        arrays: dict[str, Any] = {
            "at": state.at,
            "ahead": state.ahead,
            "history": np.array(state.history),
            "numbers": np.array(list(numbers.values())),
            "names": np.array(list(numbers)),
            "key": np.array(key),
            "version": np.array(_VERSION),
        }
        if state.best is not None:
            arrays["best"] = state.best
        folder = None
        if not isinstance(weights, BlockWeights):
            arrays["weights"] = weights
        elif weights.folder is None:
            arrays["first"] = weights.scale
        else:
            folder = weights.folder
            folder.leave()
            arrays["folder"] = np.array(folder.path.name)
            arrays["sums"], arrays["scale"] = weights.file_sums, weights.scale
        with replacing(self.path) as draft, draft.open("wb") as stream:
            np.savez(stream, **arrays)
        if self._folder is not None and self._folder is not folder:
            self._folder.remove()
        self._folder = folder
        self._last = time.monotonic()

    def load(self, key: str, weights: Any) -> SweepState | None:
        """Read what was kept; None when there is nothing, or it is of another fit."""
        found = self._read(key, weights)
        if isinstance(weights, BlockWeights):
            kept = None if found is None else found.weights.folder
            remove_orphans(weights.rows.counts.scratch, None if kept is None else kept.path)
        return found

    def _read(self, key: str, weights: Any) -> SweepState | None:
        try:
            with np.load(self.path, allow_pickle=False) as kept:
                if int(kept["version"]) != _VERSION or str(kept["key"]) != key:
                    return None
                found: Any = None
                if isinstance(weights, BlockWeights):
                    if "folder" in kept:
                        # By its name: the files may have moved, and none but a folder of
                        # weights is ever removed.
                        name = Path(str(kept["folder"])).name
                        if not name.startswith("weights-"):
                            return None
                        folder = weights.rows.counts.scratch / name
                        found = weights.found_in(folder, kept["sums"], kept["scale"])
                        self._folder = None if found is None else found.folder
                elif "weights" in kept:
                    found = kept["weights"]
                if found is None:
                    return None
                numbers = zip(kept["names"].tolist(), kept["numbers"].tolist(), strict=True)
                return SweepState(
                    at=kept["at"],
                    ahead=kept["ahead"],
                    best=kept["best"],
                    weights=found,
                    history=kept["history"].tolist(),
                    pace=Pace.of(dict(numbers)),
                )
        except Exception:  # zipfile, zlib and NumPy raise a dozen kinds on damage
            return None  # a damaged state is as good as none

    def done(self) -> None:
        """Remove the state: the fit has ended."""
        self.path.unlink(missing_ok=True)
        if self._folder is not None:
            self._folder.remove()
            self._folder = None
