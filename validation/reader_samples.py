"""Small files of every kind that siftem reads, and how each of them is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Sample:
    """A good file, by what it is read, and the files that have to lie beside it."""

    kind: str
    path: Path
    read: Callable[[Path], object]
    beside: tuple[Path, ...] = ()


def made_samples(folder: Path) -> list[Sample]:
    """Small files of all kinds that can be written here."""
    import hyperspy.api as hs

    import siftem
    from siftem.io.exchange import read_emsa, write_emsa
    from siftem.io.images import read_label_image, write_label_image
    from siftem.segment.classifier import PixelClassifier
    from siftem.segment.classifier_file import read_classifier

    rng = np.random.default_rng(1)
    cube = rng.poisson(0.2, (8, 9, 100)).astype(np.uint16)
    signal = hs.signals.Signal1D(cube)
    signal.set_signal_type("EDS_TEM")
    signal.metadata.General.title = "EDS"
    signal.metadata.set_item("Sample.elements", ["Mg", "Si"])
    axis = signal.axes_manager.signal_axes[0]
    axis.scale, axis.units, axis.name = 0.1, "keV", "Energy"
    samples = []
    for kind in ("hspy", "zspy", "rpl"):
        path = folder / f"made.{kind}"
        signal.save(path, **({"store_type": "zip"} if kind == "zspy" else {}))
        beside = (path.with_suffix(".raw"),) if kind == "rpl" else ()
        samples.append(Sample(kind, path, read_map, beside))
    siftem.convert(folder / "made.hspy", folder / "made.sift")
    siftem.convert(folder / "made.hspy", folder / "packed.sift", compress=True)
    samples.append(Sample("sift", folder / "made.sift", read_map))
    samples.append(Sample("sift packed", folder / "packed.sift", read_map))
    signal.transpose(signal_axes=[0, 1]).save(folder / "made.tif")
    samples.append(Sample("tif", folder / "made.tif", read_map))
    labels = np.zeros((8, 9), int)
    labels[:2], labels[5:] = 1, 2
    write_label_image(folder / "traces.tif", labels)
    samples.append(Sample("label image", folder / "traces.tif", _reading(read_label_image, (8, 9))))
    classifier = PixelClassifier().fit(cube[..., :3].transpose(2, 0, 1).astype(float), labels)
    classifier.save(folder / "pixels.npz")
    samples.append(Sample("classifier", folder / "pixels.npz", read_classifier))
    image = siftem.load(folder / "made.hspy")
    write_emsa(folder / "sum.msa", siftem.integrate(image, np.ones(image.shape, bool)))
    samples.append(Sample("msa", folder / "sum.msa", read_emsa))
    return samples


def read_map(path: Path) -> None:
    """List a file's signals, and read its map whole."""
    import siftem

    siftem.list_signals(path)
    siftem.load(path)


def _reading(read: Callable[..., object], *rest: Any) -> Callable[[Path], object]:
    return lambda path: read(path, *rest)
