"""From vendor files and HyperSpy signals to sparse spectrum images."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from siftem.counting.door import as_counted
from siftem.errors import InputError, ReadError
from siftem.io.counts import CountsBuilder
from siftem.io.cube_blocks import BLOCK_BYTES, PixelBlock, cube_blocks
from siftem.io.formats import vendor_of
from siftem.io.signal_choice import choose_spectrum_images, find_survey, is_map, signal_type_of
from siftem.io.signal_metadata import (
    Layout,
    number_in,
    read_acquisition,
    read_layout,
    text_in,
    with_whole_live_time,
)
from siftem.io.vendor_files import (
    OpenedFile,
    StoredSignal,
    checked_path,
    damage_as_read_error,
    guarded,
    most_entries,
    opened,
    quiet,
    refuse_absurd,
)
from siftem.large.sparse_file import MapHeader, is_sparse_file, read_sparse_file, spectrum_image
from siftem.progress import Progress, shows_progress, silent
from siftem.spectrum_image import SpectrumImage


def import_readers() -> None:
    """Import what HyperSpy imports when it first reads a file, as far as it is there."""
    with quiet():
        for name in ("h5py", "zarr", "dask.array", "hyperspy.io", "rsciio.hspy"):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        _ = importlib.import_module("hyperspy.signals").Signal1D


@shows_progress
def load(
    path: str | os.PathLike[str],
    *,
    signal: int | None = None,
    energy_range: tuple[float | None, float | None] | None = None,
    progress: Progress = silent,
) -> SpectrumImage:
    """Read a spectrum image out of any file that HyperSpy reads.

    Counts become sparse block by block; no dense cube is made. When the file keeps
    X-ray detectors or frames apart, they are summed. An image of the same scan
    (HAADF, else ADF, BF, BSE or SE) becomes the survey image. Every assumption is
    said in ``notes``.

    Parameters
    ----------
    path : str or path-like
        A file; a folder for .zspy.
    signal : int, optional
        Number of the signal in the file, from 0, as ``siftem inspect`` lists them.
        Needed only when the file holds several maps.
    energy_range : tuple of float, optional
        Keep the channels between (low, high), in the unit of the file's energy axis;
        None leaves a side open.
    progress : Progress
        Called with the step and the fraction done.

    Returns
    -------
    SpectrumImage
        Counts are int32 (int64 beyond its range) when they are whole numbers, else
        float64. The energy axis keeps the unit of the file.

    Raises
    ------
    ReadError
        When the file is missing, damaged, of no known format, holds no map or several,
        or a map without a single count.
    InputError
        When a signal is not usable as a map, or has negative or NaN counts.

    Examples
    --------
    >>> si = siftem.load("map.hspy")
    >>> si.shape
    (32, 32)
    >>> axes = si.plot()
    """
    if is_sparse_file(checked_path(path)):
        si = read_sparse_file(path)
        low, high = energy_range or (None, None)
        si = si.cropped(low, high)
        if si.counts.nnz == 0:
            raise ReadError(f"{Path(path).name}: {no_counts(energy_range)}")
        return si
    with opened(path, progress=progress) as file:
        return load_opened(file, signal=signal, energy_range=energy_range, progress=progress)


def load_opened(
    file: OpenedFile,
    *,
    signal: int | None = None,
    energy_range: tuple[float | None, float | None] | None = None,
    progress: Progress = silent,
) -> SpectrumImage:
    """Read a spectrum image out of an open file: see `load`."""
    chosen = choose_spectrum_images(file, signal)
    try:
        parts = [
            _read(s, file, energy_range, _share(progress, i, len(chosen)))
            for i, s in enumerate(chosen)
        ]
        si = _summed(parts)
        if si.counts.nnz == 0:
            raise ReadError(_explain_no_counts(chosen[0], energy_range))
        with damage_as_read_error():
            survey, name = find_survey(file.signals, si.shape)
    except (InputError, ReadError) as error:
        raise type(error)(f"{file.path.name}: {error}") from error
    return as_counted(replace(si, title=file.path.stem, survey=survey, survey_name=name))


@shows_progress
def from_hyperspy(
    signal: Any,
    *,
    energy_range: tuple[float | None, float | None] | None = None,
    progress: Progress = silent,
) -> SpectrumImage:
    """Turn a HyperSpy signal into a spectrum image.

    Parameters
    ----------
    signal : hyperspy.signals.BaseSignal
        Lazy or in memory, with two navigation axes and one energy axis in eV or keV;
        a third navigation axis of frames or detectors is summed. It is not changed,
        and a lazy one is not computed as a whole.
    energy_range : tuple of float, optional
        Keep the channels between (low, high), in the unit of the energy axis.
    progress : Progress
        Called with the step and the fraction done.

    Returns
    -------
    SpectrumImage

    Raises
    ------
    InputError
        When it is not such a signal, has no counts, or negative or NaN counts.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> signal = siftem.to_hyperspy(si)  # or hs.load("map.hspy")
    >>> siftem.from_hyperspy(signal).shape
    (32, 32)
    """
    if not (hasattr(signal, "axes_manager") and hasattr(signal, "data")):
        raise InputError(
            f"signal must be a HyperSpy signal, got {type(signal).__name__}: "
            "use siftem.load for files"
        )
    stored = StoredSignal(0, signal, text_in(signal.metadata, "Signal.signal_type"), "HyperSpy")
    with quiet():
        layout = read_layout(signal, stored.signal_type)
        blocks = cube_blocks(signal.data, layout.order, window=channel_window(layout, energy_range))
        si = _assembled(stored, layout, blocks, energy_range, progress)
    if si.counts.nnz == 0:
        raise InputError("the signal holds no counts at all: every value is zero")
    return as_counted(si)


def _read(
    stored: StoredSignal,
    file: OpenedFile,
    energy_range: tuple[float | None, float | None] | None,
    progress: Progress,
) -> SpectrumImage:
    with damage_as_read_error():
        layout = read_layout(stored.signal, stored.signal_type)
        refuse_absurd(stored, layout, file.path)
        window = channel_window(layout, energy_range)
    most = most_entries(file.path)
    blocks = guarded(map_blocks(stored, layout, file, window))
    return _assembled(stored, layout, blocks, energy_range, progress, most)


def map_blocks(
    stored: StoredSignal,
    layout: Layout,
    file: OpenedFile | None,
    window: slice,
    budget: int = BLOCK_BYTES,
) -> Iterator[PixelBlock]:
    """Yield the spectra of a map block by block, as `siftem.io.cube_blocks.cube_blocks` does.

    Parameters
    ----------
    stored : StoredSignal
    layout : Layout
    file : OpenedFile or None
        Where the signal comes from.
    window : slice
        Channels to take.
    budget : int
        Bytes that a dense block may take.
    """
    data = stored.signal.data
    own = vendor_of(stored.reader).blocks
    if own is None or file is None or layout.order != (0, 1, 2):
        return cube_blocks(data, layout.order, window=window, budget=budget)
    maps = [s.number for s in file.signals if is_map(s)]
    place = maps.index(stored.number)
    whole = own(str(file.path), data.shape, map_number=place, budget=budget)
    return ((pixels, block[:, window]) for pixels, block in whole)


def _assembled(
    stored: StoredSignal,
    layout: Layout,
    blocks: Iterator[PixelBlock],
    energy_range: tuple[float | None, float | None] | None,
    progress: Progress,
    most: int | None = None,
) -> SpectrumImage:
    header = header_of(stored, layout, energy_range)
    ny, nx = layout.shape
    builder = CountsBuilder(ny * nx, header.axis.size, reverse=layout.reverse, most=most)
    done = 0
    progress("reading counts", 0.0)
    for pixels, block in blocks:
        builder.add(pixels, block)
        done += len(pixels)
        progress("reading counts", done / (ny * nx))
    counts, doubts = builder.result()
    acquisition, time_notes = with_whole_live_time(
        header.acquisition, ny * nx, float(counts.sum()), stored.signal.metadata
    )
    notes = (*header.notes, *doubts, *time_notes)
    whole = replace(header, acquisition=acquisition, notes=notes, doubts=doubts)
    return spectrum_image(whole, counts, None)


def header_of(
    stored: StoredSignal,
    layout: Layout,
    energy_range: tuple[float | None, float | None] | None,
) -> MapHeader:
    """Return all that a signal says of its map, for the channels that are read.

    Parameters
    ----------
    stored : StoredSignal
    layout : Layout
        What its axes mean.
    energy_range : tuple of float, optional
        Channels that are kept.
    """
    axis, notes = layout.axis, layout.notes
    if energy_range is not None:
        axis = axis.cropped(axis.window(*energy_range))
        low, high = axis.centers[0], axis.centers[-1]
        notes = (*notes, f"channels from {low:.4g} to {high:.4g} {axis.unit} read")
    metadata = stored.signal.metadata
    acquisition, how = read_acquisition(metadata, stored.signal.original_metadata)
    signal_type, kind = signal_type_of(
        stored.signal_type, axis, acquisition, metadata, layout.axis_name
    )
    if signal_type == "EDS_SEM":
        acquisition = replace(acquisition, bulk=True)
    return MapHeader(
        shape=layout.shape,
        axis=axis,
        pixel_size=layout.pixel_size,
        acquisition=acquisition,
        signal_type=signal_type,
        title=stored.title,
        notes=(*notes, *how, *kind),
        # Set by siftem.signals.as_counts.
        pedestal=number_in(metadata, "Siftem.pedestal") or 0.0,
    )


def channel_window(layout: Layout, energy_range: tuple[float | None, float | None] | None) -> slice:
    """Channels to read, as the file counts them."""
    if energy_range is None:
        return slice(None)
    try:
        low, high = energy_range
    except (TypeError, ValueError):
        raise InputError(f"energy_range must be (low, high), got {energy_range!r}") from None
    window = layout.axis.window(low, high)
    if layout.reverse:
        size = layout.axis.size
        return slice(size - window.stop, size - window.start)
    return window


def _summed(parts: list[SpectrumImage]) -> SpectrumImage:
    if len(parts) == 1:
        return parts[0]
    spectra = [part.sum_spectrum() for part in parts]
    everything = np.sum(spectra, axis=0)
    for number, spectrum in enumerate(spectra if len(parts) > 2 else ()):
        if spectrum.any() and np.array_equal(spectrum, everything - spectrum):
            note = f"signal {number + 1} of {len(parts)} is the sum of the other detectors"
            return replace(parts[number], notes=(*parts[number].notes, note))
    total = sp.csr_array(parts[0].counts, dtype=_wide(parts[0].counts.dtype))
    for part in parts[1:]:
        total = total + part.counts
    pedestal = sum(part.pedestal for part in parts)
    if total.dtype == np.int64 and (not total.nnz or total.data.max() <= np.iinfo(np.int32).max):
        total = total.astype(np.int32)
    note = f"summed {len(parts)} detectors"
    doubts = tuple(dict.fromkeys(doubt for part in parts for doubt in part.doubts))
    notes = tuple(dict.fromkeys((*parts[0].notes, *doubts, note)))
    return replace(parts[0], counts=total, notes=notes, doubts=doubts, pedestal=pedestal)


def _wide(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.int64) if dtype.kind == "i" else dtype


def _explain_no_counts(
    stored: StoredSignal, energy_range: tuple[float | None, float | None] | None
) -> str:
    why = vendor_of(stored.reader).no_counts
    if energy_range is None and why:
        return f"the map holds no counts at all: {why}"
    return no_counts(energy_range)


def no_counts(energy_range: tuple[float | None, float | None] | None) -> str:
    """Say that a map is empty, or the part of it that is asked for."""
    if energy_range is None:
        return "the map holds no counts at all: every value is zero"
    low, high = energy_range
    if low is None or high is None:
        where = f"below {high}" if low is None else f"above {low}"
    else:
        where = f"between {low} and {high}"
    return f"the map holds no counts {where}"


def _share(progress: Progress, part: int, parts: int) -> Progress:
    """Report one of several equal parts of the work."""

    def report(step: str, fraction: float) -> None:
        progress(step, (part + fraction) / parts)

    return report
