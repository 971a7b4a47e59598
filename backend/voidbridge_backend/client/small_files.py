"""Files that people write by hand, as prompts and shows: read whole, with a bound. Standard library only."""

from __future__ import annotations

import errno
import os
from pathlib import Path

MAX_BYTES = 4 << 20
"""Bytes of such a file; eight objects with a thousand prompts each have a tenth of it."""


def read_small(path: Path) -> bytes:
    """The content of a plain file. Raises `OSError` for a pipe, a device, and more than `MAX_BYTES`."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not a plain file", str(path))
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise OSError(errno.EFBIG, f"it has more than {MAX_BYTES >> 20} MB", os.fspath(path))
    return content
