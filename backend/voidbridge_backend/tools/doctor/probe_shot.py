"""The smallest shot that proves intact pixels: three frames of 8 x 4, with the engine `echo`.

It is written and read with the standard library alone, so a workstation without the daemon's packages can test
any daemon. Pixels are handled as words of half floats, never as numbers, because the test compares bits.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from voidbridge_backend.client.submission import Submission
from voidbridge_backend.exr.chunks import ExrChunk, chunks_of, file_of
from voidbridge_backend.exr.header import Attribute, parse_header
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol.errors import EngineFailed, UnreadableFrame
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.transfer.atomic_files import write_whole

FRAMES = range(1001, 1004)
WIDTH, HEIGHT = 8, 4
RGB = "BGR"
"""In the order of a file, which is alphabetical."""

HALF = 0x3800
"""The word of 0.5; the following 1024 words go up to 1 in steps of 2^-11."""
ONE = 0x3C00
LIGHT, LIGHT_ECHOED = 0x4C00, 0x4820
"""16.0, a highlight inside the matte, and its result from `echo`: 8.25."""
KEPT = {(0, 0): 0x7E2A, (1, 0): 0xFC00, (2, 0): 0x8000, (7, 3): 0x7BFF}
"""Outside the matte at (x, y): a NaN with a payload, minus infinity, minus zero, the largest half."""

Words = list[list[int]]
"""[row of one channel][x], rows from the top, the channels of a row in the order of the file."""


def write(folder: Path) -> Submission:
    """Writes plate and matte to `folder` and returns their submission. Raises `DiskFull`."""
    plate = Sequence.parse(folder / "plate.%04d.exr")
    matte = Sequence.parse(folder / "matte.%04d.exr")
    for frame in FRAMES:
        write_whole(plate.path(frame), file_of_rows(RGB, _plate(frame)))
        write_whole(matte.path(frame), file_of_rows("A", _matte()))
    settings = RemoveSettings(engine="echo", matte_kind="matte", threshold=0.5, grow=0, soften=0)
    # Forced, because an answer from the daemon's store would not test its workers.
    return Submission({"plate": plate, "matte": matte}, settings, force=True)


def check(result: Sequence) -> None:
    """Raises `EngineFailed` if a frame or a single bit is wrong."""
    if result.scan() != list(FRAMES):
        raise EngineFailed(f"{FRAMES[0]}-{FRAMES[-1]} were sent, but {result.scan()} came back")
    for frame in FRAMES:
        rows = _rows(result.path(frame))
        for outside, where in ((True, "outside"), (False, "inside")):
            wrong = sum(
                word != wanted
                for (x, y), word, wanted in _beside(rows, expected(frame))
                if _in_matte(x, y) is not outside
            )
            if wrong:
                raise EngineFailed(f"frame {frame}: {wrong} values {where} the matte are wrong")


def _in_matte(x: int, y: int) -> bool:
    return 2 <= x < 6 and 1 <= y < 3


def _plate(frame: int) -> Words:
    """Every value differs from its neighbors, and between channels and frames."""

    def word(x: int, y: int, channel: int) -> int:
        if (x, y) == (3, 1):
            return LIGHT
        return KEPT.get((x, y), HALF + 8 * (x + 8 * y + 32 * channel + frame - FRAMES[0]))

    return [[word(x, y, c) for x in range(WIDTH)] for y in range(HEIGHT) for c in range(len(RGB))]


def expected(frame: int) -> Words:
    """Returns the expected result. `echo` halves and adds 1/4, which exactly halves a word's distance to 0.5."""
    rows = _plate(frame)
    for number, row in enumerate(rows):
        for x in range(WIDTH):
            if _in_matte(x, number // len(RGB)):
                row[x] = LIGHT_ECHOED if row[x] == LIGHT else HALF + (row[x] - HALF) // 2
    return rows


def _matte() -> Words:
    return [[ONE * _in_matte(x, y) for x in range(WIDTH)] for y in range(HEIGHT)]


def _beside(rows: Words, wanted: Words) -> Iterator[tuple[tuple[int, int], int, int]]:
    for number, (row, beside) in enumerate(zip(rows, wanted, strict=True)):
        for x, (word, want) in enumerate(zip(row, beside, strict=True)):
            yield (x, number // len(RGB)), word, want


def file_of_rows(channels: str, rows: Words) -> bytes:
    """Returns an uncompressed scanline file of half floats, ACEScg."""
    window = struct.pack("<4i", 0, 0, WIDTH - 1, HEIGHT - 1)
    listed = b"".join(name.encode() + b"\0" + struct.pack("<iiii", 1, 0, 1, 1) for name in channels)
    attributes = [
        Attribute("channels", "chlist", listed + b"\0"),
        Attribute("colorInteropID", "string", b"lin_ap1_scene"),
        Attribute("compression", "compression", b"\0"),
        Attribute("dataWindow", "box2i", window),
        Attribute("displayWindow", "box2i", window),
        Attribute("lineOrder", "lineOrder", b"\0"),
        Attribute("pixelAspectRatio", "float", struct.pack("<f", 1)),
        Attribute("screenWindowCenter", "v2f", struct.pack("<2f", 0, 0)),
        Attribute("screenWindowWidth", "float", struct.pack("<f", 1)),
    ]
    chunks = []
    for y in range(HEIGHT):
        lines = rows[y * len(channels) : (y + 1) * len(channels)]
        data = b"".join(struct.pack(f"<{WIDTH}H", *line) for line in lines)
        chunks.append(ExrChunk(0, y, y, struct.pack("<ii", y, len(data)) + data))
    return file_of(2, [attributes], chunks, multipart=False)


def _rows(path: Path) -> Words:
    """Returns the words of a result, whose file must be of the plate's kind."""
    data = path.read_bytes()
    header = parse_header(data, path.name)
    part = header.parts[0]
    names = "".join(channel.name for channel in part.channels)
    window = part.data_window
    found = (names, part.compression, window.width, window.height)
    if found != (RGB, "none", WIDTH, HEIGHT):
        raise UnreadableFrame(f"{path.name} came back as {found}")
    rows = []
    for chunk in chunks_of(data, header, 0, path.name):
        words = struct.unpack(f"<{WIDTH * len(RGB)}H", bytes(chunk.payload)[8:])
        rows += [list(words[i : i + WIDTH]) for i in range(0, len(words), WIDTH)]
    return rows
