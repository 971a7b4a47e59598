"""Temporary folders of commands. One whose command was killed is deleted by the next command."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

MARK = ".voidbridge-temporary"
"""File in each; its command holds a lock on it. A folder without it is somebody else's."""
NEW_S = 60.0
"""A folder that is younger may not have its lock yet."""


@contextlib.contextmanager
def temporary_folder(kind: str, where: str | None = None) -> Iterator[Path]:
    """Yields a private folder named after its `kind`, in `where` or where the system has them."""
    _sweep(Path(where or tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=f"voidbridge-{kind}-", dir=where))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        _lock(folder, stack)
        yield folder


def _lock(folder: Path, stack: contextlib.ExitStack) -> None:
    """Marks the folder for as long as `stack` is open; not on a disk without locks."""
    if sys.platform == "win32":
        return
    fd = os.open(folder / MARK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    stack.callback(os.close, fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    except OSError:
        (folder / MARK).unlink()


def _sweep(where: Path) -> None:
    if sys.platform == "win32":
        return
    for folder in where.glob("voidbridge-*-*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            fd = os.open(folder / MARK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                if time.time() - os.fstat(fd).st_mtime > NEW_S:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(fd)
