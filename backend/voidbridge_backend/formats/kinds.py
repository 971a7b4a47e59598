"""Recognizes a file by its first bytes. Standard library only; a client asks this before it sends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from voidbridge_protocol.errors import UnreadableFrame, UnsupportedFrame

HEAD = 64
"""Bytes from the beginning that tell a format."""
TGA_FOOTER = b"TRUEVISION-XFILE."
"""Truevision TGA 2.0 ends with it, a dot and a zero."""
CHECK_FILE = "Check that the file exists and that its folder is readable on this machine."


@dataclass(frozen=True)
class Format:
    """A kind of file. `plugin` is OpenImageIO's name of its reader, or libav's of its demuxer."""

    name: str
    kind: Literal["exr", "still", "clip"]
    plugin: str


EXR = Format("OpenEXR", "exr", "openexr")
TGA = Format("TGA", "still", "targa")
MOV = Format("QuickTime or MP4", "clip", "mov")
MXF = Format("MXF", "clip", "mxf")
MAGIC: tuple[tuple[int, bytes, Format], ...] = (
    (0, b"\x76\x2f\x31\x01", EXR),
    (0, b"\x89PNG\r\n\x1a\n", Format("PNG", "still", "png")),
    *(
        (0, mark, Format("TIFF", "still", "tiff"))
        for mark in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    ),
    (0, b"\xff\xd8\xff", Format("JPEG", "still", "jpeg")),
    *((0, mark, Format("DPX", "still", "dpx")) for mark in (b"SDPX", b"XPDS")),
    *(
        (0, mark, Format("Cineon", "still", "cineon"))
        for mark in (b"\x80\x2a\x5f\xd7", b"\xd7\x5f\x2a\x80")
    ),
    *((0, mark, Format("Radiance HDR", "still", "hdr")) for mark in (b"#?RADIANCE", b"#?RGBE")),
    (0, b"BM", Format("BMP", "still", "bmp")),
    *((4, mark, MOV) for mark in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),
    (0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01", MXF),
)
"""Place, bytes, format: the specifications of each."""
OTHERS = (
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska"),
    (8, b"AVI ", "AVI"),
    (4, b"RED1", "RED raw"),
    (4, b"RED2", "RED raw"),
    (0, b"ARRI", "ARRI raw"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"P6", "PPM"),
    (0, b"%PDF", "PDF"),
    (0, b"<?xml", "XML text"),
)
"""Formats that are recognized and not read."""
STILLS = (".exr", ".png", ".tif", ".tiff", ".jpg", ".jpeg", ".dpx", ".cin", ".hdr", ".bmp", ".tga")
CLIPS = (".mov", ".mp4", ".m4v", ".mxf")
SUFFIXES = (*STILLS, *CLIPS)
"""Endings of names by which a folder's sequences and clips are found. The bytes of a file tell its format."""
READS = "These are read: OpenEXR, DPX, Cineon, TIFF, PNG, JPEG, HDR, TGA and BMP frames, MOV, MP4 and MXF clips."


def format_of(path: Path, name: str) -> Format:
    """Returns the format of a file. Raises `UnreadableFrame` or `UnsupportedFrame`; `name` is what they call it."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            size = file.seek(0, 2)
            file.seek(max(0, size - len(TGA_FOOTER) - 1))
            tail = file.read()
    except OSError as error:
        raise UnreadableFrame(f"{name}: {error.strerror or error}", CHECK_FILE) from error
    if not size:
        raise UnreadableFrame(f"{name} is empty", "Render or copy the file again.")
    for place, mark, found in MAGIC:
        if head[place : place + len(mark)] == mark:
            return found
    if tail.startswith(TGA_FOOTER) or _looks_like_tga(head):
        return TGA
    for place, mark, other in OTHERS:
        if head[place : place + len(mark)] == mark:
            raise UnsupportedFrame(f"{name} is {other}, which is not read", READS)
    raise UnreadableFrame(f"{name} is not a picture or clip of a known format", READS)


def is_clip(path: Path) -> bool:
    """Whether a name is that of a clip: one file of many frames."""
    return path.suffix.lower() in CLIPS


def _looks_like_tga(head: bytes) -> bool:
    """TGA 1.0 has no mark: no color map or one of 24 or 32 bits, a known type, a size, a known depth."""
    if len(head) < 18:
        return False
    mapped, kind, depth = head[1], head[2], head[16]
    size = head[12] + 256 * head[13], head[14] + 256 * head[15]
    if mapped not in (0, 1) or kind not in (1, 2, 3, 9, 10, 11) or not all(size):
        return False
    entry = head[7]
    return depth in (8, 15, 16, 24, 32) and (
        entry in (15, 16, 24, 32) if mapped else not any(head[3:8])
    )
