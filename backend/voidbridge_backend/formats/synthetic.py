"""The OpenEXR header that a frame of another format would have. A result is written with it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction

from voidbridge_backend.exr.header import Attribute, Header, Part, PixelType, TimeCode, part_from

SOURCE = "voidbridge/source"
"""The string attribute that says which format a frame came in, as `PNG, 8 bits`."""
TURNED = "shown turned"
"""How that ends if the picture was turned upright."""
VARIABLE = "variable frame rate"
"""In it, for a clip whose frames are shown for different times."""
LOSSLESS_CODECS = ("ffv1", "png", "qtrle", "r210", "rawvideo", "v210")
"""Codecs of clips that give back what was written, but for rounding; any other adds noise."""
ZIP = b"\x03"
VERSION = 2


def header_of(
    channels: Sequence[tuple[str, PixelType]],
    size: tuple[int, int],
    source: str,
    extras: Sequence[Attribute] = (),
    aspect: float = 1.0,
) -> Header:
    """One scanline part, ZIP, data and display window alike at 0,0. `size` is (width, height)."""
    ordered = sorted(channels, key=lambda channel: channel[0].encode())
    entries = b"".join(
        name.encode() + b"\0" + struct.pack("<iB3xii", kind, 0, 1, 1) for name, kind in ordered
    )
    box = struct.pack("<4i", 0, 0, size[0] - 1, size[1] - 1)
    attributes = (
        Attribute("channels", "chlist", entries + b"\0"),
        Attribute("compression", "compression", ZIP),
        Attribute("dataWindow", "box2i", box),
        Attribute("displayWindow", "box2i", box),
        Attribute("lineOrder", "lineOrder", b"\0"),
        Attribute("pixelAspectRatio", "float", struct.pack("<f", aspect)),
        Attribute("screenWindowCenter", "v2f", struct.pack("<2f", 0, 0)),
        Attribute("screenWindowWidth", "float", struct.pack("<f", 1)),
        text(SOURCE, source),
        *extras,
    )
    return Header(VERSION, (part_from(attributes, VERSION, "the frame"),), 0)


def is_lossy(part: Part) -> bool:
    """Whether a frame's values are only near those that were written."""
    format_, *rest = (part.text(SOURCE) or "").split(", ")
    return format_ == "JPEG" or (format_ == "clip" and rest[0] not in LOSSLESS_CODECS)


def text(name: str, value: str) -> Attribute:
    return Attribute(name, "string", value.encode(errors="replace"))


def number(name: str, value: float) -> Attribute:
    return Attribute(name, "float", struct.pack("<f", value))


def rate(frames_per_second: Fraction) -> Attribute:
    return Attribute(
        "framesPerSecond",
        "rational",
        struct.pack("<iI", frames_per_second.numerator, frames_per_second.denominator),
    )


def time_code(packed: int, user: int = 0) -> Attribute:
    """`packed` as SMPTE ST 12 has it for 60-field television, which DPX and OpenEXR share."""
    return Attribute(
        "timeCode", "timecode", struct.pack("<II", packed & 0xFFFFFFFF, user & 0xFFFFFFFF)
    )


def later(start: TimeCode, frames: int, numbers_a_second: int) -> TimeCode:
    """The time code so many frames later, or earlier (SMPTE ST 12-1, drop frame included)."""
    dropped = 2 * (numbers_a_second // 30) if start.drop_frame else 0
    minutes = 60 * start.hours + start.minutes
    count = (60 * minutes + start.seconds) * numbers_a_second + start.frame
    count += frames - dropped * (minutes - minutes // 10)
    if dropped:
        ten, one = 600 * numbers_a_second - 9 * dropped, 60 * numbers_a_second - dropped
        tens, rest = divmod(count, ten)
        count += 9 * dropped * tens
        if rest >= 60 * numbers_a_second:
            count += dropped * (1 + (rest - 60 * numbers_a_second) // one)
    seconds, frame = divmod(count, numbers_a_second)
    return TimeCode(seconds // 3600 % 24, seconds // 60 % 60, seconds % 60, frame, start.drop_frame)


def packed_time_code(code: TimeCode) -> int:
    """The four numbers as binary-coded decimals, frames lowest."""

    def decimal(value: int, low: int) -> int:
        return (value // 10 << 4 | value % 10) << low

    fields = decimal(code.hours, 24) | decimal(code.minutes, 16) | decimal(code.seconds, 8)
    return fields | decimal(code.frame, 0) | int(code.drop_frame) << 6


def key_code(values: Sequence[int]) -> Attribute:
    """Film manufacturer, type, prefix, count, perforation offset, perforations a frame and a count."""
    return Attribute("keyCode", "keycode", struct.pack("<7i", *values))
