"""Joint decomposition: pixels of several maps factorised together, to share spectra.

The maps lie below each other in one stack, on the channels that all of them have.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from siftem import machine
from siftem.batch.folder import BatchFolder, held, is_disk_full, told_in_one_sentence, write_whole
from siftem.batch.map_job import keep_trace, one_sentence
from siftem.energy_axis import EnergyAxis
from siftem.errors import Cancelled, InputError, SiftemError
from siftem.io.fit_checkpoint import FitCheckpoint, SpectraSet, write_spectra_table
from siftem.large.open_map import open_map
from siftem.large.sparse_file import MapHeader
from siftem.large.sparse_writer import SparseFileWriter
from siftem.pipeline.file_contents import file_content
from siftem.pipeline.parts import recorded_warnings
from siftem.pipeline.recipe import make_recipe
from siftem.pipeline.step_keys import step_key
from siftem.pipeline.steps.decompose import decomposed
from siftem.pipeline.workflow import Workflow
from siftem.progress import Progress
from siftem.spectrum_image import SpectrumImage

#: Channels of two maps count as the same when they lie closer than this share of a channel.
_SAME_CHANNEL = 0.05


@dataclass(frozen=True)
class StackLayout:
    """Maps below each other, on the channels that all have.

    Parameters
    ----------
    shape : tuple of int
        Lines and columns of the stack; narrow maps leave pixels on their right empty.
    axis : EnergyAxis
        Of the common channels, as in the first map.
    channels : dict of str to slice
        The common channels as each map counts them.
    places : dict of str to (slice, slice)
        Lines and columns of each map.
    """

    shape: tuple[int, int]
    axis: EnergyAxis
    channels: dict[str, slice]
    places: dict[str, tuple[slice, slice]]

    @classmethod
    def of(cls, images: Mapping[str, SpectrumImage]) -> StackLayout:
        """Lay out maps whose channels coincide.

        Raises
        ------
        InputError
            When they have no channels in common.
        """
        first = next(iter(images.values()))
        shifts = {n: channel_shift(first.axis, si.axis) or 0 for n, si in images.items()}
        low = max(shifts.values())
        high = min(shifts[n] + si.n_channels for n, si in images.items())
        if high <= low:
            raise InputError("the maps have no energy channels in common: leave the odd one out")
        places, top = {}, 0
        for name, si in images.items():
            ny, nx = si.shape
            places[name] = (slice(top, top + ny), slice(0, nx))
            top += ny
        return cls(
            (top, max(si.shape[1] for si in images.values())),
            first.axis.cropped(slice(low, high)),
            {n: slice(low - shift, high - shift) for n, shift in shifts.items()},
            places,
        )


def channel_shift(axis: EnergyAxis, other: EnergyAxis) -> int | None:
    """Return how many channels ``other`` begins after ``axis``; None if they don't coincide."""
    axis, other = axis.to_kev(), other.to_kev()
    size = max(axis.size, other.size)
    if abs(axis.scale - other.scale) * size > _SAME_CHANNEL * axis.scale:
        return None
    shift = (other.offset - axis.offset) / axis.scale
    if abs(shift - round(shift)) > _SAME_CHANNEL or not -other.size < round(shift) < axis.size:
        return None
    return round(shift)


def widened(counts: sp.csr_array, width: int, wanted: int) -> sp.csr_array:
    """Give each line of a map (lines * width, m) empty pixels up to a wider one's width."""
    if width == wanted:
        return counts
    lengths = np.diff(counts.indptr).reshape(-1, width)
    lengths = np.pad(lengths, ((0, 0), (0, wanted - width)))
    ends = np.concatenate([[0], np.cumsum(lengths.ravel(), dtype=np.int64)])
    return sp.csr_array((counts.data, counts.indices, ends), shape=(lengths.size, counts.shape[1]))


#: Entries that are copied at a time.
_ENTRIES = 1_000_000


@dataclass(frozen=True)
class JointJob:
    """What a worker needs to know to factorise maps together; plain data.

    Parameters
    ----------
    recipes : mapping of str to dict
        Complete recipe of each map by its name, in the order in which they are stacked.
    folder : str
        Of the batch.
    memory : str
        Budget with which the maps stay on disk; empty to load them whole.
    """

    recipes: Mapping[str, dict[str, Any]]
    folder: str
    memory: str = ""


@dataclass(frozen=True)
class JointSpectra:
    """What a joint decomposition left.

    Parameters
    ----------
    content : str
        SHA-256 of the table of spectra.
    failed : mapping of str to str
        Maps that took no part, and why.
    notes : tuple of str
        What the decomposition warned of.
    windows : mapping of str to (float, float)
        Energy range in keV of the maps that have channels beyond those that all have.
    """

    content: str
    failed: Mapping[str, str]
    notes: tuple[str, ...] = ()
    windows: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def find_shared_spectra(job: JointJob, progress: Progress) -> JointSpectra:
    """Factorise all maps together and write their common spectra, unless that is done.

    Maps that can't be read, or whose channels are others, are left out and named.

    Parameters
    ----------
    job : JointJob
    progress : Progress

    Raises
    ------
    SiftemError
        When no map is left, or nothing can be written.
    """
    folder = BatchFolder(Path(job.folder))
    with (
        told_in_one_sentence(folder.root),
        held(folder.lock(".joint"), wait=-1),
    ):
        key = _key(job)
        earlier = _earlier(folder, key)
        if earlier is not None and not earlier.failed:
            return earlier
        # No map is called so: names of maps begin with a letter, a digit or _.
        state = folder.checkpoints(".joint")
        state.mkdir(parents=True, exist_ok=True)
        with recorded_warnings() as notes, contextlib.ExitStack() as opened:
            images, failed = _images(job, opened, folder, progress)
            # Maps that failed are tried again; when they still fail, the spectra stay.
            if earlier is not None and earlier.failed == failed:
                return earlier
            windows = _windows(images)
            stack = _stack(job, images, opened, state, progress)
            names = ", ".join(images)
            recipe = make_recipe(dict(job.recipes[next(iter(images))]))
            checkpoint = FitCheckpoint(state / "fit.npz")
            done = decomposed(recipe, stack, checkpoint=checkpoint, progress=progress)
            factors = done.factors
        write_spectra_table(
            folder.shared_spectra(), SpectraSet(factors.spectra, factors.axis, factors.names)
        )
        notes.insert(0, f"shared spectra by a joint decomposition of {names}")
        content = file_content(folder.shared_spectra())
        found = JointSpectra(content, failed, tuple(notes), windows)
        data = {"key": key, "content": content, "failed": dict(failed), "notes": notes}
        data["windows"] = windows
        write_whole(folder.private / "joint.json", json.dumps(data, indent=1) + "\n")
        return found


def _key(job: JointJob) -> str:
    parts = []
    for name, data in job.recipes.items():
        try:
            parts.append((name, step_key("decompose", make_recipe(data))))
        except SiftemError as error:
            parts.append((name, str(error)))
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _earlier(folder: BatchFolder, key: str) -> JointSpectra | None:
    with contextlib.suppress(
        OSError, ValueError, LookupError, TypeError, AttributeError, SiftemError
    ):
        data = json.loads((folder.private / "joint.json").read_text(encoding="utf-8"))
        content = file_content(folder.shared_spectra())
        if data["key"] == key and data["content"] == content:
            windows = {n: (float(a), float(b)) for n, (a, b) in data["windows"].items()}
            return JointSpectra(content, dict(data["failed"]), tuple(data["notes"]), windows)
    return None


def _stack(
    job: JointJob,
    images: Mapping[str, SpectrumImage],
    opened: contextlib.ExitStack,
    state: Path,
    progress: Progress,
) -> SpectrumImage:
    """All maps as one, in memory or on disk."""
    if not job.memory:
        return stacked(images)[0]
    return opened.enter_context(stacked_on_disk(images, job.memory, state / "stack", progress))


def _prepared(
    job: JointJob, name: str, opened: contextlib.ExitStack, state: Path, progress: Progress
) -> SpectrumImage:
    recipe = make_recipe(dict(job.recipes[name]))
    if not job.memory:
        return Workflow(recipe).run("prepare").spectrum_image
    from siftem.batch.map_job import kept_on_disk

    scratch = state / "maps" / name
    image = opened.enter_context(kept_on_disk(recipe, job.memory, scratch, progress))
    return Workflow(recipe, spectrum_image=image).run("prepare").spectrum_image


def _windows(images: Mapping[str, SpectrumImage]) -> dict[str, tuple[float, float]]:
    """Energy ranges that give each map the channels of the stack, where it has more."""
    common = StackLayout.of(images).axis.to_kev()
    # Centres of the channels; those of the maps differ by far less than this.
    slack = 0.25 * common.scale
    low, high = common.centers[0] - slack, common.centers[-1] + slack
    window = (round(float(low), 9), round(float(high), 9))
    return {n: window for n, si in images.items() if si.n_channels > common.size}


def _images(
    job: JointJob, opened: contextlib.ExitStack, folder: BatchFolder, progress: Progress
) -> tuple[dict[str, SpectrumImage], dict[str, str]]:
    """Prepared maps that have the same channels, and why others were left out."""
    images: dict[str, SpectrumImage] = {}
    failed: dict[str, str] = {}
    for i, name in enumerate(job.recipes):
        progress("load", i / len(job.recipes))
        try:
            si = _prepared(job, name, opened, folder.checkpoints(".joint"), progress)
            if images:
                first, reference = next(iter(images.items()))
                if channel_shift(reference.axis, si.axis) is None:
                    raise InputError(
                        f"its energy channels are not those of {first}, the first map of the joint "
                        f"decomposition: run it on its own, or calibrate the maps alike"
                    )
            images[name] = si
        except Exception as error:
            if isinstance(error, Cancelled) or is_disk_full(error):
                raise
            failed[name] = one_sentence(error)
            if not isinstance(error, SiftemError):
                keep_trace(folder, name, error)
    progress("load", 1.0)
    if not images:
        raise SiftemError(
            f"none of the maps can be used for a joint decomposition; the first one: "
            f"{next(iter(failed.values()))}"
        )
    return images, failed


def stacked(
    images: Mapping[str, SpectrumImage],
) -> tuple[SpectrumImage, dict[str, tuple[slice, slice]]]:
    """Stack maps below each other into one spectrum image, on the channels that all have.

    Narrow maps get empty pixels on their right, which say nothing about the spectra.

    Parameters
    ----------
    images : mapping of str to SpectrumImage
        Their channels coincide; axis, acquisition and title are those of the first.

    Returns
    -------
    stack : SpectrumImage
    places : dict of str to (slice, slice)
        Rows and columns of each map in the stack.

    Raises
    ------
    InputError
        When they have no channels in common.
    """
    layout = StackLayout.of(images)
    parts = []
    for name, si in images.items():
        counts = sp.csr_array(si.counts[:, layout.channels[name]])
        parts.append(widened(counts, si.shape[1], layout.shape[1]))
    stack = replace(
        next(iter(images.values())),
        counts=sp.vstack(parts, format="csr"),
        shape=layout.shape,
        axis=layout.axis,
        survey=None,
        notes=(),
    )
    return stack, layout.places


@contextlib.contextmanager
def stacked_on_disk(
    images: Mapping[str, SpectrumImage], memory: str, scratch: Path, progress: Progress
) -> Iterator[SpectrumImage]:
    """Stack maps as `siftem.batch.joint.stacked` does, without loading them.

    Parameters
    ----------
    images : mapping of str to SpectrumImage
        From `siftem.open_map`; their channels coincide.
    memory : str
        Budget such as "2GB".
    scratch : Path
        Folder for the stack and for what is worked out of it. It is removed when all went well,
        and kept after an error or a kill, to go on from.
    progress : Progress

    Yields
    ------
    SpectrumImage
        Its ``counts`` are blocks on disk.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    layout = StackLayout.of(images)
    first = next(iter(images.values()))
    header = replace(MapHeader.of(first), shape=layout.shape, axis=layout.axis, notes=())
    with SparseFileWriter(scratch / "stack.sift", header) as writer:
        for done, (name, si) in enumerate(images.items()):
            progress("stack", done / len(images))
            counts = si.counts.columns(layout.channels[name])
            ny, nx = si.shape
            lines = max(1, int(_ENTRIES * ny / max(si.counts.nnz, 1)))
            for y in range(0, ny, lines):
                stop = min(y + lines, ny)
                part = counts.reader.read(y * nx, stop * nx)
                writer.append(widened(part, nx, layout.shape[1]))
    progress("stack", 1.0)
    with open_map(
        scratch / "stack.sift", memory=memory, n_jobs=machine.available(), scratch=scratch
    ) as stack:
        yield stack
    shutil.rmtree(scratch, ignore_errors=True)
