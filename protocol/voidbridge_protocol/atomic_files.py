"""Files that are visible only when they are whole: written as NAME.tmp, fsynced, renamed."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from .errors import DiskFull


def temporary(target: Path) -> Path:
    """Where a file is while it is not whole."""
    return target.with_name(target.name + ".tmp")


def publish(target: Path) -> None:
    """Renames the temporary file, written and fsynced before, to its name. Raises `DiskFull`."""
    try:
        os.replace(temporary(target), target)
    except OSError as error:
        temporary(target).unlink(missing_ok=True)
        raise disk_error(target, error) from error


def write_whole(target: Path, data: bytes | memoryview) -> None:
    """Raises `DiskFull`, and leaves nothing behind then."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary(target).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        temporary(target).unlink(missing_ok=True)
        raise disk_error(target, error) from error
    publish(target)


def disk_error(path: Path, error: OSError) -> DiskFull:
    """What went wrong with a file, with the numbers."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(path.parent).free
        return DiskFull(f"{path} cannot be written: {free / 2**20:.0f} MB are free")
    return DiskFull(
        f"{path} cannot be written: {error.strerror or error}",
        "Check the folder's rights and that its disk is there, then run it again.",
    )
