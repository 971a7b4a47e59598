"""How many frames a clip has, from its container alone. Standard library only: a client asks before it sends."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from voidbridge_protocol.errors import UnreadableFrame, UnsupportedFrame

from .kinds import CHECK_FILE, MOV, MXF, format_of

MOST_BOXES = 10_000
MOST_TABLE = 64 << 20
"""Bytes of a table that is read; one of 200,000 frames has 800,000."""
MXF_HEAD = 1 << 20
"""Bytes of an MXF file in which its picture is described."""
LOCAL_SET = b"\x06\x0e\x2b\x34\x02\x53\x01\x01\x0d\x01\x01\x01\x01\x01"
SEQUENCE, DATA_DEFINITION, DURATION = 0x0F, 0x0201, 0x0202
"""A track's sequence, what is on it, and how many edit units it has (SMPTE ST 377-1, Structural Component)."""
PICTURE = b"\x01\x03\x02\x02\x01"
"""Within the label of a data definition: picture essence (SMPTE RP 224)."""


def frames_in(path: Path) -> int:
    """Frames of the first picture track. Raises `UnreadableFrame` or `UnsupportedFrame` with what to do."""
    found = format_of(path, path.name)
    try:
        with path.open("rb") as file:
            if found == MOV:
                count = _in_mov(file, path.stat().st_size, path.name)
            else:
                count = _in_mxf(file.read(MXF_HEAD)) if found == MXF else None
    except (struct.error, OverflowError) as error:
        raise UnreadableFrame(f"{path.name} is damaged: its tables end early", COPY) from error
    except OSError as error:
        raise UnreadableFrame(f"{path.name}: {error.strerror or error}", CHECK_FILE) from error
    if count is None:
        raise UnsupportedFrame(
            f"{path.name} does not say how many frames it has",
            "Write it as QuickTime without fragments, as MXF OP1a, or as a sequence of frames.",
        )
    if not 0 < count <= 10_000_000:
        raise UnreadableFrame(f"{path.name} claims {count} frames", COPY)
    return count


COPY = "Copy or export the clip again."


def first_sample(file: IO[bytes]) -> tuple[bytes, int]:
    """The table that describes a QuickTime's first picture track, and the place of its first sample.

    Empty and 0 if there is none.
    """
    for places in _video_tables(file, file.seek(0, 2)):
        for name, kind in ((b"stco", ">I"), (b"co64", ">Q")):
            if name in places and b"stsd" in places:
                (place,) = struct.unpack_from(kind, _bytes(file, *places[name]), 8)
                return _bytes(file, *places[b"stsd"])[8:], int(place)
    return b"", 0


def display_matrix(path: Path) -> tuple[int, int, int, int]:
    """a, b, c and d of the first picture track, as ISO/IEC 14496-12 names them in 8.3.2; all 0 if there is none."""
    with path.open("rb") as file:
        for places in _video_tables(file, file.seek(0, 2)):
            head = _bytes(file, *places[b"tkhd"]) if b"tkhd" in places else b""
            begin = 52 if head[:1] == b"\1" else 40
            if len(head) >= begin + 36:
                a, b, _, c, d = struct.unpack_from(">5i", head, begin)
                return a, b, c, d
    return 0, 0, 0, 0


def _in_mov(file: IO[bytes], size: int, called: str) -> int | None:
    """The samples in the sizes' table of the first track with a video handler (ISO/IEC 14496-12).

    Raises `UnreadableFrame` for a file without tables, `UnsupportedFrame` for one without a picture.
    """
    if not any(name == b"moov" for name, _, _ in _boxes(file, 0, size)):
        raise UnreadableFrame(
            f"{called} has no table of its frames (moov): it was cut off, or its recording was interrupted",
            COPY,
        )
    tables = list(_video_tables(file, size))
    if not tables:
        raise UnsupportedFrame(f"{called} has no picture", "Give a clip with a picture track.")
    for places in tables:
        if b"stsz" in places:
            _, _, count = struct.unpack(">III", _bytes(file, *places[b"stsz"])[:12])
            if count:
                return int(count)
    return None


def _video_tables(file: IO[bytes], size: int) -> Iterator[dict[bytes, tuple[int, int]]]:
    """The places of each picture track's tables, by name."""
    for name, begin, end in _boxes(file, 0, size):
        if name != b"moov":
            continue
        for track, low, high in _boxes(file, begin, end):
            places: dict[bytes, tuple[int, int]] = {}
            if track == b"trak":
                for table, *place in _within(file, low, high, (b"mdia", b"minf", b"stbl")):
                    # QuickTime has a second handler, of the data
                    places.setdefault(table, (place[0], place[1]))
            if b"hdlr" in places and _bytes(file, *places[b"hdlr"])[8:12] == b"vide":
                yield places


def _within(
    file: IO[bytes], begin: int, end: int, into: tuple[bytes, ...]
) -> Iterator[tuple[bytes, int, int]]:
    for name, low, high in _boxes(file, begin, end):
        yield name, low, high
        if name in into:
            yield from _within(file, low, high, into)


def _boxes(file: IO[bytes], begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    for _ in range(MOST_BOXES):
        if begin + 8 > end:
            return
        file.seek(begin)
        size, name = struct.unpack(">I4s", file.read(8))
        head = 8
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
            head = 16
        size = size or end - begin
        if size < head or begin + size > end:
            return
        yield name, begin + head, begin + size
        begin += size


def _bytes(file: IO[bytes], begin: int, end: int) -> bytes:
    file.seek(begin)
    return file.read(min(end - begin, MOST_TABLE))


def _in_mxf(head: bytes) -> int | None:
    """The duration of the first sequence of pictures that says one."""
    at = 0
    while at + 20 <= len(head):
        key, length, value = _klv(head, at)
        if key[:14] == LOCAL_SET and key[14] == SEQUENCE:
            said = dict(_local_tags(head[value : value + length]))
            if PICTURE in said.get(DATA_DEFINITION, b"") and len(said.get(DURATION, b"")) == 8:
                (count,) = struct.unpack(">q", said[DURATION])
                if count > 0:
                    return int(count)
        at = value + length
    return None


def _klv(data: bytes, offset: int) -> tuple[bytes, int, int]:
    """Key, length of the value, and its place."""
    first = data[offset + 16]
    if first < 0x80:
        return data[offset : offset + 16], first, offset + 17
    size = first & 0x7F
    return (
        data[offset : offset + 16],
        int.from_bytes(data[offset + 17 : offset + 17 + size], "big"),
        offset + 17 + size,
    )


def _local_tags(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        tag, size = struct.unpack_from(">HH", data, at)
        yield tag, data[at + 4 : at + 4 + size]
        at += 4 + size
