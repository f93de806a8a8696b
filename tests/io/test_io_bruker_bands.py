"""Pixel records are packed here after the description of the format, then read back."""

import struct

import numpy as np
import pytest

from siftem.errors import ReadError
from siftem.io.counts import CountsBuilder
from siftem.io.formats import bruker
from siftem.io.formats.bruker import bruker_blocks

CHANNELS = 64


def head(x, packing, n_pulses, body):
    return struct.pack("<IHHIHHHI", x, CHANNELS, CHANNELS, 0, packing, 0, n_pulses, len(body))


def as_16_bit(x, spectrum):
    pulses = np.repeat(np.arange(CHANNELS), spectrum).astype("<u2")
    body = pulses.tobytes()
    return head(x, 0, len(pulses), body) + body


def as_12_bit(x, spectrum):
    """Four pulses in three byte-swapped 16-bit words."""
    pulses = np.repeat(np.arange(CHANNELS), spectrum)
    padded = np.concatenate([pulses, np.zeros(-len(pulses) % 4, int)])
    body = b""
    for a, b, c, d in padded.reshape(-1, 4):
        bits = (int(a) << 36) | (int(b) << 24) | (int(c) << 12) | int(d)
        straight = bits.to_bytes(6, "big")
        body += bytes(straight[i] for i in (1, 0, 3, 2, 5, 4))
    return head(x, 1, len(pulses), body) + body


def as_runs(x, spectrum, extra=()):
    """Runs of 32 channels of 16 bits each on a gain of 3, then extra pulses."""
    body = b""
    for start in range(0, CHANNELS, 32):
        part = spectrum[start : start + 32]
        if not part.any():
            body += struct.pack("<BB", 0, 32)
        else:
            values = (part - 3).astype("<u2")
            body += struct.pack("<BBI", 4, 32, 3) + values.tobytes()
    body += bytes(4)  # the size of the extra pulses belongs to the body
    if extra:
        body = body[:-4] + struct.pack("<I", 2 * len(extra))
    tail = np.asarray(extra, "<u2").tobytes()
    return head(x, 2, len(extra), body) + body + tail


class FakeFile:
    def __init__(self, content, piece):
        self.content, self.piece = content, piece
        self.vfs = {"EDSDatabase": {"HeaderData": 0, "SpectrumData0": 0}}

    def get_file(self, name):
        assert name == "EDSDatabase/SpectrumData0"
        return self

    def get_iter_and_properties(self):
        starts = range(0, len(self.content), self.piece)
        return (self.content[i : i + self.piece] for i in starts), self.piece, len(starts)


@pytest.fixture
def fake(monkeypatch):
    def install(rows, shape=None, piece=37, cut=None):
        header = struct.pack("<ii", *(shape or (len(rows), 3))) + bytes(0x1A0 - 8)
        content = header + b"".join(struct.pack("<I", len(r)) + b"".join(r) for r in rows)
        content = content[:cut]
        monkeypatch.setattr(bruker, "_container", lambda name: FakeFile(content, piece))

    return install


def read(shape, **options):
    builder = CountsBuilder(shape[0] * shape[1], shape[2])
    for pixels, block in bruker_blocks("any.bcf", shape, **options):
        builder.add(pixels, block)
    return builder.result()[0].toarray().reshape(shape)


@pytest.fixture
def cube():
    cube = np.random.default_rng(3).poisson(0.5, (4, 3, CHANNELS))
    cube[1, 1, 10] = 700  # wraps round in 8 bits
    cube[2] += 3
    cube[2, 0, :32] = 0
    cube[3, 1] = 0  # left out of the stream
    return cube


def packed(cube):
    return [
        [as_16_bit(x, s) for x, s in enumerate(cube[0])],
        [as_12_bit(x, s) for x, s in enumerate(cube[1])],
        [as_runs(x, s) for x, s in enumerate(cube[2])],
        [as_12_bit(0, cube[3, 0]), as_16_bit(2, cube[3, 2])],
    ]


@pytest.mark.parametrize("budget", [1, 2 * 3 * CHANNELS * 4, 10**8])
@pytest.mark.parametrize("piece", [37, 100_000])
def test_every_packing_in_bands_of_any_size(fake, cube, budget, piece):
    fake(packed(cube), piece=piece)
    np.testing.assert_array_equal(read((4, 3, CHANNELS), budget=budget), cube)


def test_extra_pulses_come_on_top(fake, cube):
    rows = packed(cube)
    rows[2][1] = as_runs(1, cube[2, 1], extra=[5, 5, 40])
    cube[2, 1, 5] += 2
    cube[2, 1, 40] += 1
    fake(rows)
    np.testing.assert_array_equal(read((4, 3, CHANNELS)), cube)


def test_a_stream_cut_short(fake, cube):
    fake(packed(cube), cut=-200)
    with pytest.raises(ReadError, match="cut short"):
        read((4, 3, CHANNELS))


def test_headers_that_contradict_themselves(fake, cube):
    fake(packed(cube), shape=(4, 4))
    with pytest.raises(ReadError, match="4 x 3 pixels by its image, but 4 x 4"):
        read((4, 3, CHANNELS))
    rows = packed(cube)
    rows[0][0] = as_16_bit(9, cube[0, 0])  # beyond the end of the row
    fake(rows)
    with pytest.raises(ReadError, match="pixel 9"):
        read((4, 3, CHANNELS))
    rows[0] = [as_16_bit(0, cube[0, 0])] * 4
    fake(rows)
    with pytest.raises(ReadError, match="4 pixels of 3"):
        read((4, 3, CHANNELS))
    rows[0] = [head(0, 0, 500, b"1234") + b"1234"]  # more pulses than bytes
    fake(rows)
    with pytest.raises(ReadError, match="contradicts"):
        read((4, 3, CHANNELS))
