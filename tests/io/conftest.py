"""Small HyperSpy signals made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest


@pytest.fixture(scope="session")
def make_signal() -> Callable[..., Any]:
    """Build a HyperSpy signal; ``energy`` and ``scan`` set (offset, scale, unit) of its axes."""
    import hyperspy.api as hs

    def make(
        data: np.ndarray,
        *,
        signal_type: str = "EDS_TEM",
        energy: tuple[float, float, Any] = (-0.1, 0.01, "keV"),
        scan: tuple[float, Any] = (2.0, "nm"),
        title: str = "EDS",
        kind: str = "Signal1D",
    ) -> Any:
        signal = getattr(hs.signals, kind)(np.asarray(data))
        signal.set_signal_type(signal_type)
        signal.metadata.General.title = title
        axes = signal.axes_manager
        scan_axes = axes.signal_axes if kind == "Signal2D" else axes.navigation_axes
        for axis in scan_axes:
            axis.scale, axis.units = scan
        if kind == "Signal1D":
            axis = axes.signal_axes[0]
            axis.offset, axis.scale, axis.units = energy
        return signal

    return make


@pytest.fixture(scope="session")
def save_together() -> Callable[..., Path]:
    """Write several signals (with different titles) into one .hspy file."""

    def save(path: Path, *signals: Any) -> Path:
        for number, signal in enumerate(signals):
            part = path.with_name(f"part{number}.hspy")
            signal.save(part, overwrite=True)
            with h5py.File(part) as source, h5py.File(path, "a") as target:
                target.attrs.update(source.attrs)
                for name in source["Experiments"]:
                    source.copy(f"Experiments/{name}", target.require_group("Experiments"))
        return path

    return save


@pytest.fixture
def counts() -> np.ndarray:
    """A sparse little cube (4, 5, 60) with known counts."""
    return np.random.default_rng(7).poisson(0.1, (4, 5, 60)).astype(np.uint8)
