"""Marks a PNG as made by this tool, so that only such a picture is replaced without being asked.

The mark is the text chunk `Software` of the PNG specification (W3C, section 11.3.3.2). Standard library only.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_END = len(SIGNATURE) + 25
"""Bytes of the signature and of the chunk IHDR, which is the first."""
TEXT = b"Software\0Voidbridge"


def _chunk() -> bytes:
    body = b"tEXt" + TEXT
    return struct.pack(">I", len(TEXT)) + body + struct.pack(">I", zlib.crc32(body))


def marked(png: bytes) -> bytes:
    """The bytes of the same picture with the mark behind its header."""
    return png[:HEADER_END] + _chunk() + png[HEADER_END:]


def is_marked(path: Path) -> bool:
    """Whether the file is a PNG with the mark. False if it cannot be read."""
    chunk = _chunk()
    try:
        with path.open("rb") as file:
            begin = file.read(HEADER_END + len(chunk))
    except OSError:
        return False
    return begin.startswith(SIGNATURE) and begin.endswith(chunk)
