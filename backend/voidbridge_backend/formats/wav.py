"""WAV files of this tool: 24-bit PCM, with a mark that tells them from other people's. Standard library only.

The mark is the text `ISFT` of a list `INFO` before the samples (Multimedia Programming Interface and Data
Specifications 1.0, 1991).
"""

from __future__ import annotations

import struct
from pathlib import Path

SAMPLE = 3
"""Bytes of a sample."""
NAME = b"Voidbridge\0\0"
MARK = b"LIST" + struct.pack("<I", 12 + len(NAME)) + b"INFOISFT" + struct.pack("<I", 11) + NAME
PLACE = 36
"""Bytes before the mark."""


def wav(samples: bytes, channels: int, rate: int) -> bytes:
    """The bytes of a file. `samples` are little-endian and signed, one of each channel after the other.

    `rate` is in samples a second.
    """
    form = struct.pack(
        "<HHIIHH", 1, channels, rate, rate * channels * SAMPLE, channels * SAMPLE, 24
    )
    padding = b"\0" * (len(samples) % 2)
    body = b"".join(
        [
            b"WAVEfmt ",
            struct.pack("<I", len(form)),
            form,
            MARK,
            b"data",
            struct.pack("<I", len(samples)),
            samples,
            padding,
        ]
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def is_own_wav(path: Path) -> bool:
    """Whether the file has the mark. False if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(PLACE + len(MARK))[PLACE:] == MARK
    except OSError:
        return False
