"""What an OpenEXR file says about itself, read without decoding a pixel. Standard library only.

The header here is the source of truth: attributes stay raw bytes in the file's order, so that a result can
carry every one of them. The layout is the one of "OpenEXR File Layout" (openexr.com), version 2.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass, replace
from enum import IntEnum
from fractions import Fraction
from pathlib import Path
from typing import Any

from voidbridge_protocol.errors import UnreadableFrame, UnsupportedFrame

from .compression import CODECS, Codec

MAGIC = 20000630
TILED, LONG_NAMES, DEEP, MULTIPART = 0x200, 0x400, 0x800, 0x1000
"""Bits of the version field."""

MAX_EDGE = 65536
"""Pixels of the longest edge that is believed; a fuzzed window is mostly far beyond."""
MAX_BYTES = 8 << 30
"""Decoded bytes of one part that are believed."""


class PixelType(IntEnum):
    UINT = 0
    HALF = 1
    FLOAT = 2

    @property
    def size(self) -> int:
        """Bytes of one sample."""
        return 2 if self is PixelType.HALF else 4


LINE_ORDERS = ("increasing", "decreasing", "random")
PART_TYPES = ("scanlineimage", "tiledimage", "deepscanline", "deeptile")


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels; all four edges are inside."""

    xmin: int
    ymin: int
    xmax: int
    ymax: int

    @property
    def width(self) -> int:
        return self.xmax - self.xmin + 1

    @property
    def height(self) -> int:
        return self.ymax - self.ymin + 1

    def __str__(self) -> str:
        return f"{self.width}x{self.height} at {self.xmin},{self.ymin}"


@dataclass(frozen=True)
class Channel:
    name: str
    type: PixelType
    x_sampling: int
    y_sampling: int
    p_linear: bool


@dataclass(frozen=True)
class Attribute:
    """One attribute as the file has it. Names are Latin-1 here, so every byte survives."""

    name: str
    type: str
    value: bytes


@dataclass(frozen=True)
class Tiles:
    width: int
    height: int
    level_mode: int
    """0 one level, 1 mip-mapped, 2 rip-mapped."""


@dataclass(frozen=True)
class TimeCode:
    hours: int
    minutes: int
    seconds: int
    frame: int
    drop_frame: bool

    def __str__(self) -> str:
        mark = ";" if self.drop_frame else ":"
        return f"{self.hours:02}:{self.minutes:02}:{self.seconds:02}{mark}{self.frame:02}"


@dataclass(frozen=True)
class Part:
    """One part: its attributes, and what the structural ones among them mean.

    `offsets` is the chunk table: positions in the file, rows (tiles) from the top; empty where its length
    cannot be known without reading levels.
    """

    attributes: tuple[Attribute, ...]
    channels: tuple[Channel, ...]
    data_window: Window
    display_window: Window
    codec: Codec
    line_order: str
    pixel_aspect: float
    type: str
    tiles: Tiles | None
    name: str
    view: str
    offsets: tuple[int, ...] = ()

    @property
    def compression(self) -> str:
        return self.codec.name

    @property
    def tiled(self) -> bool:
        return self.type in ("tiledimage", "deeptile")

    @property
    def deep(self) -> bool:
        return self.type in ("deepscanline", "deeptile")

    @property
    def lossless(self) -> bool:
        """Whether encoding with this part's compression gives every bit back."""
        if self.compression == "pxr24":
            return all(channel.type is not PixelType.FLOAT for channel in self.channels)
        return self.codec.exact

    @property
    def decoded_bytes(self) -> int:
        """Bytes of all flat samples, one level, without regard to subsampling."""
        area = self.data_window.width * self.data_window.height
        return area * sum(channel.type.size for channel in self.channels)

    def find(self, name: str, type: str | None = None) -> Attribute | None:
        """The attribute of that name, and of that type if one is given."""
        for attribute in self.attributes:
            if attribute.name == name and type in (None, attribute.type):
                return attribute
        return None

    def text(self, name: str) -> str | None:
        """A string attribute; bytes that are no UTF-8 are read as Latin-1."""
        found = self.find(name, "string")
        return None if found is None else _text(found.value)

    @property
    def chromaticities(self) -> tuple[float, ...] | None:
        """CIE xy of red, green, blue and white: eight numbers."""
        found = self.find("chromaticities", "chromaticities")
        return None if found is None else _numbers("<8f", found.value)

    @property
    def color_interop_id(self) -> str | None:
        return self.text("colorInteropID")

    @property
    def is_aces_container(self) -> bool:
        """SMPTE ST 2065-4: the flag is an int of 1."""
        found = self.find("acesImageContainerFlag", "int")
        return found is not None and _numbers("<i", found.value) == (1,)

    @property
    def frames_per_second(self) -> Fraction | None:
        found = self.find("framesPerSecond", "rational")
        numbers = None if found is None else _numbers("<iI", found.value)
        return Fraction(*numbers) if numbers and numbers[1] else None

    @property
    def time_code(self) -> TimeCode | None:
        """SMPTE time code in the packing of 60-field television, OpenEXR's own."""
        found = self.find("timeCode", "timecode")
        numbers = None if found is None else _numbers("<II", found.value)
        if not numbers:
            return None
        packed = numbers[0]

        def decimal(low: int, bits: int) -> int:
            field = int(packed) >> low & ((1 << bits) - 1)
            return (field >> 4) * 10 + (field & 15)

        hours, minutes, seconds = decimal(24, 6), decimal(16, 7), decimal(8, 7)
        return TimeCode(hours, minutes, seconds, decimal(0, 6), bool(packed >> 6 & 1))


@dataclass(frozen=True)
class Header:
    """Everything before the first chunk."""

    version: int
    parts: tuple[Part, ...]
    size: int
    """Bytes from the magic number to the chunk tables."""

    @property
    def multipart(self) -> bool:
        return bool(self.version & MULTIPART)


def read_header(path: Path) -> Header:
    """The checked header of a file. Raises `UnreadableFrame` naming it."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            begin = file.read(256 << 10)
            try:
                header = parse_header(begin, path.name)
            except UnreadableFrame:
                if size <= len(begin):
                    raise
                header = parse_header(begin + file.read(), path.name)
    except OSError as error:
        raise UnreadableFrame(f"{path}: {error.strerror or error}", _HINT_OPEN) from error
    check(header, size, path.name)
    return header


def parse_header(data: bytes | mmap.mmap, name: str = "the file") -> Header:
    """The header at the beginning of `data`; `name` is what errors call it.

    Raises `UnreadableFrame` for whatever is no header, and nothing else.
    """
    cursor = _Cursor(data, name)
    magic, version = cursor.unpack("<ii")
    if magic != MAGIC:
        raise UnreadableFrame(f"{name} is no OpenEXR file")
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
        part = _part(attributes, version, f"{name}, part {number}" if len(listed) > 1 else name)
        count = chunk_count(part, bool(version & MULTIPART))
        if count is not None:
            if count * 8 > len(data) - cursor.at:
                raise UnreadableFrame(f"{name} ends within its table of {count} chunks")
            part = replace(part, offsets=cursor.unpack(f"<{count}Q"))
        parts.append(part)
    return Header(version, tuple(parts), size)


def chunk_count(part: Part, multipart: bool) -> int | None:
    """Entries of the part's chunk table; None where neither the format nor the file says it."""
    said = part.find("chunkCount", "int")
    if multipart or part.deep:
        numbers = None if said is None else _numbers("<i", said.value)
        return int(numbers[0]) if numbers and numbers[0] >= 0 else None
    return None if part.tiles and part.tiles.level_mode else flat_count(part)


def flat_count(part: Part) -> int:
    """The chunks of a flat part of one level."""
    window = part.data_window
    if part.tiles is None:
        return -(-window.height // part.codec.rows)
    return -(-window.width // part.tiles.width) * -(-window.height // part.tiles.height)


def check(header: Header, file_size: int, name: str = "the file") -> None:
    """Refuses what no renderer writes, before a decoder allocates for it: `UnreadableFrame`.

    The bound on the ratio counts the whole file for each part; it has to stop bombs, not to be tight.
    """
    for part in header.parts:
        for window in (part.data_window, part.display_window):
            if not (1 <= window.width <= MAX_EDGE and 1 <= window.height <= MAX_EDGE):
                raise UnreadableFrame(f"{name} claims a window of {window}")
        if part.deep:
            continue
        claimed = part.decoded_bytes
        if claimed > min(MAX_BYTES, part.codec.ratio * file_size) and not _subsampled(part):
            raise UnreadableFrame(
                f"{name} has {file_size} bytes and claims {claimed} bytes of {part.compression} pixels"
            )


def plate_part(header: Header) -> int:
    """The part that is the plate: the first with R, G and B, else the first that has them in a layer.

    Of a multi-view file that is the default view. `UnsupportedFrame` says what was found instead.
    """
    for in_layer in (False, True):
        for index, part in enumerate(header.parts):
            names = rgb_names(part)
            if names is not None and ("." in names[0]) is in_layer:
                _refuse_unsupported(part, names)
                return index
    found = "; ".join(", ".join(c.name for c in part.channels) for part in header.parts)
    if any({"RY", "BY"} <= {c.name for c in part.channels} for part in header.parts):
        raise UnsupportedFrame(f"the plate is luminance-chroma ({found}); it has no R, G and B")
    raise UnsupportedFrame(f"the plate has no channels R, G and B, only: {found or 'none'}")


def rgb_names(part: Part) -> tuple[str, str, str] | None:
    """The part's channels for red, green and blue: `R`, else `layer.R`, in any of the usual spellings."""
    names = {channel.name for channel in part.channels}
    prefixes = [""]
    for channel in part.channels:
        layer, dot, last = channel.name.rpartition(".")
        if dot and last in ("R", "r", "red") and layer + dot not in prefixes:
            prefixes.append(layer + dot)
    for prefix in prefixes:
        for red, green, blue in (("R", "G", "B"), ("r", "g", "b"), ("red", "green", "blue")):
            chosen = prefix + red, prefix + green, prefix + blue
            if names.issuperset(chosen):
                return chosen
    return None


def flat_refusal(part: Part) -> str | None:
    """Why this part's pixels cannot be given back whole, in words; None when they can."""
    if part.deep:
        return f"it is deep ({part.type}); flatten it first"
    if part.tiles is not None and part.tiles.level_mode:
        kind = ("mip", "rip")[part.tiles.level_mode - 1]
        return f"it is {kind}-mapped, a texture; write it with one level"
    if _subsampled(part):
        names = ", ".join(c.name for c in part.channels if (c.x_sampling, c.y_sampling) != (1, 1))
        return f"its channels {names} are subsampled; write all channels at one size"
    return None


def _refuse_unsupported(part: Part, names: tuple[str, str, str]) -> None:
    reason = flat_refusal(part)
    if reason is not None:
        raise UnsupportedFrame(f"the plate cannot be worked on: {reason}")
    for channel in part.channels:
        if channel.name in names and channel.type is PixelType.UINT:
            raise UnsupportedFrame(f"the plate's channel {channel.name} is uint, not half or float")


def _subsampled(part: Part) -> bool:
    return any((c.x_sampling, c.y_sampling) != (1, 1) for c in part.channels)


_HINT_OPEN = "Check that the file exists and that its folder can be read from here."


class _Cursor:
    """Reads forward through the file and refuses to leave it."""

    def __init__(self, data: bytes | mmap.mmap, name: str) -> None:
        self.data, self.name, self.at = data, name, 0

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.data):
            raise UnreadableFrame(f"{self.name} ends within its header")
        self.at += count
        return bytes(self.data[self.at - count : self.at])

    def unpack(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def word(self, limit: int) -> str:
        """A zero-terminated name of at most `limit` bytes."""
        end = self.data.find(b"\0", self.at, self.at + limit + 1)
        if end < 0:
            raise UnreadableFrame(f"{self.name} has a name in its header without an end")
        return self.take(end + 1 - self.at)[:-1].decode("latin-1")


def _attributes(cursor: _Cursor, limit: int) -> tuple[Attribute, ...]:
    found = []
    while name := cursor.word(limit):
        kind = cursor.word(limit)
        (size,) = cursor.unpack("<i")
        found.append(Attribute(name, kind, cursor.take(size)))
    return tuple(found)


def _part(attributes: tuple[Attribute, ...], version: int, name: str) -> Part:
    by_name = {attribute.name: attribute for attribute in attributes}

    def value(wanted: str, kind: str, layout: str) -> tuple[Any, ...]:
        found = by_name.get(wanted)
        numbers = _numbers(layout, found.value) if found and found.type == kind else None
        if numbers is None:
            raise UnreadableFrame(f"{name} has no readable attribute {wanted}")
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
        name=_text(part_name.value) if part_name else "",
        view=_text(view.value) if view else "",
    )


def _part_type(said: Attribute | None, version: int) -> str:
    """The flags decide for a single flat part: Nuke forwards `type` from files of another kind."""
    if not version & (MULTIPART | DEEP):
        return "tiledimage" if version & TILED else "scanlineimage"
    return _text(said.value) if said else "scanlineimage"


def _channels(found: Attribute | None, name: str) -> tuple[Channel, ...]:
    if found is None or found.type != "chlist":
        raise UnreadableFrame(f"{name} has no list of channels")
    cursor = _Cursor(found.value, f"{name}, list of channels")
    channels = []
    while channel := cursor.word(255):
        kind, p_linear, x_sampling, y_sampling = cursor.unpack("<iB3xii")
        if not 0 <= kind <= 2 or x_sampling < 1 or y_sampling < 1:
            raise UnreadableFrame(
                f"{name} claims a channel of type {kind}, sampling {x_sampling}x{y_sampling}"
            )
        label = _text(channel.encode("latin-1"))
        channels.append(Channel(label, PixelType(kind), x_sampling, y_sampling, bool(p_linear)))
    if len({channel.name for channel in channels}) != len(channels):
        raise UnreadableFrame(f"{name} has two channels of one name")
    return tuple(channels)


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _numbers(layout: str, raw: bytes) -> tuple[Any, ...] | None:
    return struct.unpack(layout, raw) if len(raw) == struct.calcsize(layout) else None
