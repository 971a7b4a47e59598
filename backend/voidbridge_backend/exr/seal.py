"""A checksum of a result's own pixels in its header. Standard library only.

Other programs copy attributes into files of their own. The checksum tells such a file from a result. It covers
every byte behind the header and the chunk tables. CRC-32 is enough against accidents, and is no signature.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from voidbridge_protocol.errors import UnreadableFrame

from .header import Header, parse_header, read_header

ATTRIBUTE = "voidbridge/content"
BLANK = "--------"
"""The attribute's value until `sealed` replaces it by eight hexadecimal digits."""
READ_SIZE = 1 << 20


def sealed(data: bytes) -> bytes:
    """Returns the file with the checksum in place of each `BLANK`. A file without one is returned as it is."""
    return b"".join(sealed_pieces(data))


def sealed_pieces(data: bytes) -> tuple[bytes, memoryview]:
    """Returns the same file in two pieces, header and rest, so that no pixel is copied."""
    header = parse_header(data)
    head, rest, blank = data[: header.size], memoryview(data)[header.size :], _field(BLANK)
    if blank in head:
        checksum = zlib.crc32(rest[_begin(header) - header.size :])
        head = head.replace(blank, _field(f"{checksum:08x}"))
    return head, rest


def is_sealed(path: Path) -> bool:
    """Returns True if the file holds the pixels that it was sealed with. Reads the whole file if it has a seal."""
    try:
        header = read_header(path)
        seals = {part.text(ATTRIBUTE) for part in header.parts} - {None}
        return bool(seals) and f"{_checksum(path, _begin(header)):08x}" in seals
    except (OSError, UnreadableFrame):
        return False


def _checksum(path: Path, begin: int) -> int:
    checksum = 0
    with path.open("rb") as file:
        file.seek(begin)
        while block := file.read(READ_SIZE):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _begin(header: Header) -> int:
    """The first byte behind the chunk tables: the tables change with the length of the header."""
    return header.size + 8 * sum(len(part.offsets) for part in header.parts)


def _field(value: str) -> bytes:
    return (
        b"\0".join((ATTRIBUTE.encode(), b"string", struct.pack("<i", len(value)))) + value.encode()
    )
