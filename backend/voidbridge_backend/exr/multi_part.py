"""Files of several parts: written from arrays, and split into files of one part. Splitting needs no library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .chunks import chunks_of, file_of
from .header import parse_header
from .seal import ATTRIBUTE, BLANK, sealed

MULTI_PART = 0x1000
"""Bit of the version field that says a file has several parts."""


def split(data: bytes, name: str = "the file") -> Iterator[tuple[str, bytes]]:
    """(part's name, file with that part alone). Chunks and attributes are copied, nothing is decoded.

    A seal is renewed.

    Raises `UnreadableFrame`.
    """
    header = parse_header(data, name)
    for index, part in enumerate(header.parts):
        chunks = [replace(chunk, part=0) for chunk in chunks_of(data, header, index, name)]
        version = header.version & ~MULTI_PART
        attributes = [
            replace(one, value=BLANK.encode()) if one.name == ATTRIBUTE else one
            for one in part.attributes
        ]
        yield part.name, sealed(file_of(version, [attributes], chunks, multipart=False))
