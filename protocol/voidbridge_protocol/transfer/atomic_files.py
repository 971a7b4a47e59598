"""Atomic file writes. A file is written as NAME.tmp, fsynced, then renamed, so readers only see complete files."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO

from voidbridge_protocol.errors import DiskFull


def temporary(target: Path) -> Path:
    """Returns the path of the temporary file that is written before `target` is published."""
    return target.with_name(target.name + ".tmp")


def create_temporary(target: Path) -> IO[bytes]:
    """Opens a new temporary file of `target` for writing. Raises `OSError`.

    An old one is removed first: if it is a link, the file behind it stays as it is.
    """
    unfinished = temporary(target)
    if unfinished.is_file() or not unfinished.exists():
        unfinished.unlink(missing_ok=True)
    return unfinished.open("wb")


def publish(target: Path) -> None:
    """Renames the temporary file, already written and fsynced, to its final name. Raises `DiskFull`."""
    try:
        os.replace(temporary(target), target)
    except OSError as error:
        with suppress(OSError):  # the first error says more
            temporary(target).unlink(missing_ok=True)
        raise disk_error(target, error) from error


def write_whole(target: Path, *pieces: bytes | memoryview) -> None:
    """Writes a file of these pieces atomically. Raises `DiskFull` and leaves no partial file behind."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with create_temporary(target) as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        with suppress(OSError):  # the first error says more
            temporary(target).unlink(missing_ok=True)
        raise disk_error(target, error) from error
    publish(target)


def disk_error(path: Path, error: OSError) -> DiskFull:
    """Turns an `OSError` on a file into a `DiskFull` that names the path and the free space."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(path.parent).free
        return DiskFull(f"{path} cannot be written: {free / 2**20:.0f} MB are free")
    return DiskFull(
        f"{path} cannot be written: {error.strerror or error}",
        "Check the folder's permissions and that its disk is mounted, then run it again.",
    )
