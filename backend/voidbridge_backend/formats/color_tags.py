"""Reads the color space that a file names. Standard library only: a client asks before it sends.

`needs_a_name` knows only what is certain. Other files are sent, and the daemon looks into them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from voidbridge_protocol.errors import BadColorSpace

from .clip_length import first_sample
from .kinds import Format

VIDEO = "ocio:itu709_rec709_scene"
FILM = "voidbridge:cineon_rec709_scene"
TAGS = {
    (1, 13): "srgb_rec709_scene",
    (1, 8): "lin_rec709_scene",
    (9, 8): "lin_rec2020_scene",
    (9, 16): "pq_rec2020_display",
    (9, 18): "hlg_rec2020_display",
    (12, 8): "lin_p3d65_scene",
    (12, 13): "srgb_p3d65_scene",
    (12, 16): "pq_p3d65_display",
    **{(1, transfer): VIDEO for transfer in (1, 6, 14, 15)},
}
"""Color spaces by primaries and transfer characteristic of ITU-T H.273, which PNG's cICP and video use."""
TRANSFERS = {
    "Printing density": FILM,
    "Logarithmic": FILM,
    "ITU-R 709-4": VIDEO,
    "SMPTE 274M": VIDEO,
}
"""Color spaces by the name of DPX's transfer characteristic (SMPTE ST 268); others do not say one."""
DPX_TRANSFER = 801
"""Place of the first picture's transfer characteristic in a DPX file."""
DPX_KNOWN = (1, 3, 5, 6)
"""The numbers of `TRANSFERS`."""
TIFF_FORMAT, TIFF_ICC, TIFF_EXIF, TIFF_BITS = 339, 34675, 34665, 258
MOST = 1000
"""Chunks, segments or entries that are looked at."""


def unnamed(source: str) -> BadColorSpace:
    """The error for a plate of integers that nothing names; `source` says which, as `DPX, 10 bits`."""
    return BadColorSpace(
        f"the plate ({source}) is not scene-linear, and nothing in it says its color space",
        "Name it with --color-space, as sRGB, Rec.709, Cineon or ACEScct.",
    )


def needs_a_name(path: Path, format_: Format) -> str:
    """Which file this is, as `DPX, 10 bits`, if it certainly does not say its color space; else empty.

    Empty for a file that cannot be read, or that is damaged: the daemon says more about it.
    """
    look = _LOOKS.get(format_.plugin)
    if look is None:
        return ""
    try:
        with path.open("rb") as file:
            found = look(file)
    except (OSError, struct.error, IndexError):
        return ""
    name = "clip, " if format_.kind == "clip" else f"{format_.name}, "
    return name + found if found else ""


def png_tag(path: Path) -> str:
    """From the chunks before the pixels: cICP, then sRGB, then a gamma of 1 (PNG, third edition)."""
    with path.open("rb") as file:
        found = dict(_png_chunks(file, (b"cICP", b"sRGB", b"gAMA")))
    if len(found.get(b"cICP", b"")) == 4:
        primaries, transfer, _, _ = found[b"cICP"]
        return TAGS.get((primaries, transfer), "")
    if b"sRGB" in found:
        return "srgb_rec709_scene"
    return "lin_rec709_scene" if found.get(b"gAMA") == struct.pack(">I", 100000) else ""


def _png_chunks(file: IO[bytes], wanted: tuple[bytes, ...]) -> Iterator[tuple[bytes, bytes]]:
    """Name and first 16 bytes of each of these chunks before the pixels."""
    file.seek(8)
    for _ in range(MOST):
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IDAT":
            return
        size = struct.unpack(">I", head[:4])[0]
        begin = file.tell()
        if head[4:] in wanted:
            yield head[4:], file.read(min(size, 16))
        file.seek(begin + size + 4)


def _png(file: IO[bytes]) -> str:
    tags = (b"IHDR", b"cICP", b"sRGB", b"gAMA", b"iCCP", b"eXIf")
    found = dict(_png_chunks(file, tags))
    return f"{found[b'IHDR'][8]} bits" if set(found) == {b"IHDR"} else ""


def _dpx(file: IO[bytes]) -> str:
    head = file.read(DPX_TRANSFER + 3)
    return "" if head[DPX_TRANSFER] in DPX_KNOWN else f"{head[DPX_TRANSFER + 2]} bits"


def _jpeg(file: IO[bytes]) -> str:
    """No profile and no Exif before the pixels."""
    file.seek(2)
    for _ in range(MOST):
        mark, kind, size = struct.unpack(">BBH", file.read(4))
        if mark != 0xFF or kind in (0xE1, 0xE2):
            return ""
        if kind == 0xDA:
            return "8 bits"
        file.seek(size - 2, 1)
    return ""


def _tiff(file: IO[bytes]) -> str:
    """Classic TIFF whose first picture has integers, no profile and no Exif."""
    order = "<" if file.read(4) == b"II*\0" else ">"
    file.seek(0)
    if file.read(4) not in (b"II*\0", b"MM\0*"):
        return ""
    (place,) = struct.unpack(order + "I", file.read(4))
    file.seek(place)
    (count,) = struct.unpack(order + "H", file.read(2))
    found = {}
    for _ in range(min(count, MOST)):
        tag, _, number, value = struct.unpack(order + "HHI4s", file.read(12))
        found[tag] = number, value
    if TIFF_ICC in found or TIFF_EXIF in found or TIFF_BITS not in found:
        return ""
    if _short(file, order, found.get(TIFF_FORMAT, (1, b"\1\0\1\0"))) != 1:
        return ""
    return f"{_short(file, order, found[TIFF_BITS])} bits"


def _short(file: IO[bytes], order: str, entry: tuple[int, bytes]) -> int:
    """The first of an entry's 16-bit values, which stand elsewhere if there are more than two."""
    number, value = entry
    if number > 2:
        file.seek(struct.unpack(order + "I", value)[0])
        value = file.read(2)
    return int(struct.unpack(order + "H", value[:2])[0])


def _mov(file: IO[bytes]) -> str:
    """ProRes whose container and first frame (SMPTE RDD 36) leave the transfer characteristic open."""
    described, place = first_sample(file)
    if described[4:7] not in (b"apc", b"ap4") or b"colr" in described:
        return ""
    file.seek(place)
    head = file.read(24)
    if head[4:8] != b"icpf" or head[23] not in (0, 2):
        return ""
    return "prores, 10 bits" if described[4:7] == b"apc" else "prores"


_LOOKS: dict[str, Callable[[IO[bytes]], str]] = {
    "png": _png,
    "dpx": _dpx,
    "jpeg": _jpeg,
    "tiff": _tiff,
    "mov": _mov,
    "bmp": lambda _: "8 bits",
    "targa": lambda _: "8 bits",
}
