"""One part of an OpenEXR file: its raw attributes and their meaning. Standard library only.

Attributes stay raw bytes in the file's order; all else is derived from them. `header` checks plausibility.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from typing import Any

from .compression import Codec

LAYER = "voidbridge"
"""The layer that holds only the result: `voidbridge.R`, `.G`, `.B`, and its matte `.A`. It never is the plate."""
CONFIDENCE = f"{LAYER}.confidence"
"""The channel that tells how sure the engine is of each pixel of its result, 0 to 1."""


class PixelType(IntEnum):
    UINT = 0
    HALF = 1
    FLOAT = 2

    @property
    def size(self) -> int:
        """Bytes of one sample."""
        return 2 if self is PixelType.HALF else 4


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels; all four edges are inclusive."""

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
    """One attribute as stored in the file. Names are Latin-1, so every byte survives."""

    name: str
    type: str
    value: bytes


@dataclass(frozen=True)
class Tiles:
    width: int
    height: int
    level_mode: int
    """0 is one level, 1 mip-mapped, 2 rip-mapped."""


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
    """One part: its attributes, and the values of the structural ones.

    `offsets` is the chunk table: positions in the file, rows or tiles from the top. It is empty if its length
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
        """True if encoding with this part's compression preserves every bit."""
        if self.compression == "pxr24":
            return all(channel.type is not PixelType.FLOAT for channel in self.channels)
        return self.codec.exact

    @property
    def decoded_bytes(self) -> int:
        """Bytes of all flat samples of one level, ignoring subsampling."""
        area = self.data_window.width * self.data_window.height
        return area * sum(channel.type.size for channel in self.channels)

    def find(self, name: str, type: str | None = None) -> Attribute | None:
        """Returns the attribute of that name, and of that type if given."""
        for attribute in self.attributes:
            if attribute.name == name and type in (None, attribute.type):
                return attribute
        return None

    def text(self, name: str) -> str | None:
        """Returns a string attribute. Bytes that are not UTF-8 are read as Latin-1."""
        found = self.find(name, "string")
        return None if found is None else text_of(found.value)

    def strings(self, name: str) -> tuple[str, ...]:
        """A list of strings, each behind its length; empty where there is none or it is damaged."""
        found = self.find(name, "stringvector")
        texts, at, raw = [], 0, b"" if found is None else found.value
        while at + 4 <= len(raw):
            (size,) = struct.unpack_from("<i", raw, at)
            if not 0 <= size <= len(raw) - at - 4:
                return ()
            texts.append(text_of(raw[at + 4 : at + 4 + size]))
            at += 4 + size
        return tuple(texts)

    @property
    def aspect(self) -> float:
        """Width over height of a pixel; 1 where the file says nothing that can be meant, as 0."""
        stated = self.pixel_aspect
        return stated if 0.01 <= stated <= 100 else 1.0

    @property
    def chromaticities(self) -> tuple[float, ...] | None:
        """CIE xy of red, green, blue and white: eight numbers."""
        found = self.find("chromaticities", "chromaticities")
        return None if found is None else numbers_of("<8f", found.value)

    @property
    def color_interop_id(self) -> str | None:
        return self.text("colorInteropID")

    @property
    def is_aces_container(self) -> bool:
        """True for SMPTE ST 2065-4: the flag is an int of 1."""
        found = self.find("acesImageContainerFlag", "int")
        return found is not None and numbers_of("<i", found.value) == (1,)

    @property
    def frames_per_second(self) -> Fraction | None:
        found = self.find("framesPerSecond", "rational")
        numbers = None if found is None else numbers_of("<iI", found.value)
        return Fraction(*numbers) if numbers and numbers[1] else None

    @property
    def time_code(self) -> TimeCode | None:
        """SMPTE time code, unpacked as 60-field television, OpenEXR's own packing."""
        found = self.find("timeCode", "timecode")
        numbers = None if found is None else numbers_of("<II", found.value)
        if not numbers:
            return None
        packed = numbers[0]

        def decimal(low: int, bits: int) -> int:
            field = int(packed) >> low & ((1 << bits) - 1)
            return (field >> 4) * 10 + (field & 15)

        hours, minutes, seconds = decimal(24, 6), decimal(16, 7), decimal(8, 7)
        return TimeCode(hours, minutes, seconds, decimal(0, 6), bool(packed >> 6 & 1))


def flat_refusal(part: Part) -> str | None:
    """Returns the reason why this part's pixels cannot be written back unchanged, or None if they can."""
    if part.deep:
        return f"it is deep ({part.type}); flatten it first"
    if part.tiles is not None and part.tiles.level_mode:
        kind = ("mip", "rip")[part.tiles.level_mode - 1]
        return f"it is {kind}-mapped, a texture; write it with one level"
    if subsampled(part):
        names = ", ".join(c.name for c in part.channels if (c.x_sampling, c.y_sampling) != (1, 1))
        return f"its channels {names} are subsampled; write all channels at one size"
    return None


def flat_count(part: Part) -> int:
    """Returns the number of chunks of a flat part with one level."""
    window = part.data_window
    if part.tiles is None:
        return -(-window.height // part.codec.rows)
    return -(-window.width // part.tiles.width) * -(-window.height // part.tiles.height)


def subsampled(part: Part) -> bool:
    """Returns True if a channel has fewer samples than the part has pixels."""
    return any((c.x_sampling, c.y_sampling) != (1, 1) for c in part.channels)


def text_of(raw: bytes) -> str:
    """Decodes UTF-8, otherwise Latin-1."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def numbers_of(layout: str, raw: bytes) -> tuple[Any, ...] | None:
    """Unpacks with `struct`. Returns None if the length does not match."""
    return struct.unpack(layout, raw) if len(raw) == struct.calcsize(layout) else None
