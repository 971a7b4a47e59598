"""Reads an OpenEXR header without decoding a pixel. Standard library only.

This header is the source of truth: attributes stay raw bytes in the file's order, so a result can carry each of
them. The layout is that of "OpenEXR File Layout" (openexr.com), version 2.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from voidbridge_protocol.errors import UnreadableFrame

from .compression import CODECS
from .part import (
    Attribute,
    Channel,
    Part,
    PixelType,
    Tiles,
    TimeCode,
    Window,
    flat_count,
    flat_refusal,
    numbers_of,
    subsampled,
    text_of,
)

__all__ = [
    "Attribute",
    "Channel",
    "Header",
    "Part",
    "PixelType",
    "Tiles",
    "TimeCode",
    "Window",
    "check",
    "chunk_count",
    "flat_count",
    "flat_refusal",
    "parse_header",
    "part_from",
    "read_header",
]

MAGIC = 20000630
TILED, LONG_NAMES, DEEP, MULTIPART = 0x200, 0x400, 0x800, 0x1000
"""Bits of the version field."""

MAX_EDGE = 65536
"""Maximum accepted edge in pixels; fuzzed windows are mostly far larger."""
MAX_HEADER = 64 << 20
"""Maximum header size in bytes. Large headers carry previews and manifests of some megabytes."""
MAX_NAMES = 20_000
"""Maximum number of names (attributes, types, channels), because each costs time. A file with 200 parts has
12,000.
"""
MAX_BYTES = 8 << 30
"""Maximum decoded bytes of one part."""


LINE_ORDERS = ("increasing", "decreasing", "random")
PART_TYPES = ("scanlineimage", "tiledimage", "deepscanline", "deeptile")


@dataclass(frozen=True)
class Header:
    """The file content before the first chunk."""

    version: int
    parts: tuple[Part, ...]
    size: int
    """Bytes from the magic number to the chunk tables."""

    @property
    def multipart(self) -> bool:
        return bool(self.version & MULTIPART)


def read_header(path: Path, name: str = "") -> Header:
    """The checked header of a file. Raises `UnreadableFrame` naming it, as `name` if one is given."""
    name = name or path.name
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            begin = file.read(256 << 10)
            try:
                header = parse_header(begin, name)
            except UnreadableFrame:
                if size <= len(begin):
                    raise
                header = parse_header(begin + file.read(MAX_HEADER), name)
    except OSError as error:
        raise UnreadableFrame(f"{name}: {error.strerror or error}", _HINT_OPEN) from error
    check(header, size, name)
    return header


def parse_header(data: bytes | mmap.mmap, name: str = "the file") -> Header:
    """Parses the header at the beginning of `data`; `name` is the file's name in errors.

    Raises `UnreadableFrame`, and nothing else, for an invalid header.
    """
    cursor = _Cursor(data, name)
    magic, version = cursor.unpack("<ii")
    if magic != MAGIC:
        raise UnreadableFrame(f"{name} is not an OpenEXR file")
    if version & 0xFF != 2:
        raise UnreadableFrame(f"{name} has version {version & 0xFF} of the format, not 2")
    limit = 255 if version & LONG_NAMES else 31
    listed = [_attributes(cursor, limit)]
    if version & MULTIPART:
        while attributes := _attributes(cursor, limit):
            listed.append(attributes)
    size = cursor.at
    parts = []
    for number, attributes in enumerate(listed):
        part = part_from(attributes, version, f"{name}, part {number}" if len(listed) > 1 else name)
        count = chunk_count(part, bool(version & MULTIPART))
        if count is not None:
            if not 0 <= count * 8 <= len(data) - cursor.at:  # negative for a window inside out
                raise UnreadableFrame(f"{name} ends within its table of {count} chunks")
            part = replace(part, offsets=cursor.unpack(f"<{count}Q"))
        parts.append(part)
    return Header(version, tuple(parts), size)


def chunk_count(part: Part, multipart: bool) -> int | None:
    """Returns the length of the part's chunk table, or None if neither format nor file states it."""
    stated = part.find("chunkCount", "int")
    if multipart or part.deep:
        numbers = None if stated is None else numbers_of("<i", stated.value)
        return int(numbers[0]) if numbers and numbers[0] >= 0 else None
    return None if part.tiles and part.tiles.level_mode else flat_count(part)


def check(header: Header, file_size: int, name: str = "the file") -> None:
    """Rejects implausible files with `UnreadableFrame`, before a decoder allocates memory for them.

    The ratio limit compares each part with the whole file. It only has to stop bombs, so it is loose.
    """
    for part in header.parts:
        for window in (part.data_window, part.display_window):
            if not (1 <= window.width <= MAX_EDGE and 1 <= window.height <= MAX_EDGE):
                raise UnreadableFrame(f"{name} claims a window of {window}")
        if part.deep:
            continue
        claimed = part.decoded_bytes
        if claimed > min(MAX_BYTES, part.codec.ratio * file_size) and not subsampled(part):
            raise UnreadableFrame(
                f"{name} has {file_size} bytes and claims {claimed} bytes of "
                f"{'uncompressed' if part.compression == 'none' else part.compression} pixels"
            )


_HINT_OPEN = "Check that the file exists and that its folder is readable on this machine."


class _Cursor:
    """Reads forward through the file and never past its end."""

    def __init__(self, data: bytes | mmap.mmap, name: str) -> None:
        self.data, self.name, self.at = data, name, 0
        self._names = 0

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.data):
            raise UnreadableFrame(f"{self.name} ends within its header")
        self.at += count
        return bytes(self.data[self.at - count : self.at])

    def unpack(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def word(self, limit: int) -> str:
        """Reads a zero-terminated name of at most `limit` bytes."""
        self._names += 1
        if self._names > MAX_NAMES:
            raise UnreadableFrame(f"{self.name} has more than {MAX_NAMES} names in its header")
        end = self.data.find(b"\0", self.at, self.at + limit + 1)
        if end < 0:
            raise UnreadableFrame(f"{self.name} has a name in its header without an end")
        return self.take(end + 1 - self.at)[:-1].decode("latin-1")


def _attributes(cursor: _Cursor, limit: int) -> tuple[Attribute, ...]:
    found = []
    while name := cursor.word(limit):
        kind = cursor.word(limit)
        (size,) = cursor.unpack("<i")
        if cursor.at + size > MAX_HEADER:
            raise UnreadableFrame(f"{cursor.name} has a header of more than {MAX_HEADER >> 20} MB")
        found.append(Attribute(name, kind, cursor.take(size)))
    return tuple(found)


def part_from(attributes: tuple[Attribute, ...], version: int, name: str) -> Part:
    """A part of these attributes, with what they mean. Raises `UnreadableFrame`; `name` is what it says."""
    by_name = {attribute.name: attribute for attribute in attributes}

    def value(attribute: str, kind: str, layout: str) -> tuple[Any, ...]:
        found = by_name.get(attribute)
        numbers = numbers_of(layout, found.value) if found and found.type == kind else None
        if numbers is None:
            raise UnreadableFrame(f"{name} has no readable attribute {attribute}")
        return numbers

    (compression,) = value("compression", "compression", "<B")
    (line_order,) = value("lineOrder", "lineOrder", "<B")
    if compression >= len(CODECS):
        raise UnreadableFrame(f"{name} has compression {compression}, which is not known")
    if line_order >= len(LINE_ORDERS):
        raise UnreadableFrame(f"{name} has line order {line_order}, which does not exist")
    kind = _part_type(by_name.get("type"), version)
    if kind not in PART_TYPES:
        raise UnreadableFrame(f"{name} is of type {kind!r}, which does not exist")
    tiles = None
    if kind in ("tiledimage", "deeptile"):
        width, height, mode = value("tiles", "tiledesc", "<IIB")
        if not (1 <= width <= MAX_EDGE and 1 <= height <= MAX_EDGE and mode & 15 < 3):
            raise UnreadableFrame(f"{name} claims tiles of {width}x{height}, mode {mode}")
        tiles = Tiles(width, height, mode & 15)
    aspect = value("pixelAspectRatio", "float", "<f")[0]
    part_name, view = by_name.get("name"), by_name.get("view")
    return Part(
        attributes=attributes,
        channels=_channels(by_name.get("channels"), name),
        data_window=Window(*value("dataWindow", "box2i", "<4i")),
        display_window=Window(*value("displayWindow", "box2i", "<4i")),
        codec=CODECS[compression],
        line_order=LINE_ORDERS[line_order],
        pixel_aspect=aspect,
        type=kind,
        tiles=tiles,
        name=text_of(part_name.value) if part_name else "",
        view=text_of(view.value) if view else "",
    )


def _part_type(stated: Attribute | None, version: int) -> str:
    """Returns the part type. For a single flat part the flags decide, because Nuke forwards `type` from other
    files.
    """
    if not version & (MULTIPART | DEEP):
        return "tiledimage" if version & TILED else "scanlineimage"
    return text_of(stated.value) if stated else "scanlineimage"


def _channels(found: Attribute | None, name: str) -> tuple[Channel, ...]:
    if found is None or found.type != "chlist":
        raise UnreadableFrame(f"{name} has no channel list")
    cursor = _Cursor(found.value, f"{name}, list of channels")
    channels = []
    while channel := cursor.word(255):
        kind, p_linear, x_sampling, y_sampling = cursor.unpack("<iB3xii")
        if not 0 <= kind <= 2 or x_sampling < 1 or y_sampling < 1:
            raise UnreadableFrame(
                f"{name} claims a channel of type {kind}, sampling {x_sampling}x{y_sampling}"
            )
        label = text_of(channel.encode("latin-1"))
        channels.append(Channel(label, PixelType(kind), x_sampling, y_sampling, bool(p_linear)))
    if len({channel.name for channel in channels}) != len(channels):
        raise UnreadableFrame(f"{name} has two channels of the same name")
    return tuple(channels)
