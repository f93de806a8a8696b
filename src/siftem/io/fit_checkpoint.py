"""The state of a fit on disk, so that a killed one goes on where it was."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from siftem.decomposition.blockwise import BlockWeights, remove_orphans
from siftem.decomposition.sweep_state import Pace, SweepState
from siftem.errors import InputError
from siftem.files.atomic import replacing

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
