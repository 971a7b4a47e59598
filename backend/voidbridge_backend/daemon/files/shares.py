"""Folders that the daemon shares with its clients' machines, and the one way to open a file in them.

Only this module turns a client's file name into a path. It opens only a plain file inside a shared folder,
after all links are resolved, even if links change meanwhile.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.transfer.shared_files import WINDOWS, below

FOLDER = os.O_RDONLY | getattr(os, "O_PATH", 0) | getattr(os, "O_DIRECTORY", 0)
FILE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True)
class Share:
    """A folder of this machine, and its name on the clients."""

    prefix: str
    folder: Path
    """With all links resolved, so that changing one later has no effect."""

    @classmethod
    def parse(cls, text: str) -> Share:
        """Parses FOLDER, or PREFIX=FOLDER if clients use another name. Raises `BadSetting`."""
        prefix, mark, rest = text.rpartition("=/")
        folder = os.path.normpath(os.path.expanduser(mark[1:] + rest))
        prefix = (prefix if mark else folder).rstrip("/")
        if WINDOWS.match(prefix):
            prefix = prefix.replace("\\", "/").rstrip("/")
        if not prefix.startswith("/") and not WINDOWS.match(prefix):
            raise _unusable(text, f"{prefix!r} is not an absolute path of a client")
        if not os.path.isabs(folder) or folder.strip("/") == "":
            raise _unusable(text, f"{folder!r} is not a folder that can be shared")
        return cls(prefix, Path(os.path.realpath(folder)))


class Shares:
    """All shares. Files below `closed`, such as the spool and the keys, are never opened."""

    def __init__(self, texts: Iterable[str] = (), closed: Iterable[Path] = ()) -> None:
        """Raises `BadSetting`."""
        self._shares = [Share.parse(text) for text in texts if text]
        self._closed = [Path(os.path.realpath(folder)) for folder in closed]
        if self._shares and os.open not in os.supports_dir_fd:
            raise BadSetting(
                "on this system a daemon cannot open shared files safely",
                "Omit the setting shares: files are uploaded then.",
            )

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Their names on the clients."""
        return tuple(dict.fromkeys(share.prefix for share in self._shares))

    @property
    def missing(self) -> list[Path]:
        """Returns shared folders that do not exist, for example on an unmounted disk."""
        return [share.folder for share in self._shares if not share.folder.is_dir()]

    def open(self, path: str, size: int) -> FileIO | None:
        """Opens the file with this client-side name and size; None in every other case."""
        for share in self._shares:
            names = below(share.prefix, path)
            if names is None:
                continue
            try:
                if file := self._opened(share.folder.joinpath(*names), size):
                    return file
            except (OSError, ValueError):  # absent, unreadable, invalid name: all the same
                continue
        return None

    def _opened(self, path: Path, size: int) -> FileIO | None:
        real = Path(os.path.realpath(path, strict=True))
        if any(real.is_relative_to(folder) for folder in self._closed):
            return None
        if not any(real.is_relative_to(share.folder) for share in self._shares):
            return None
        return _open_without_links(real, size)


def _open_without_links(path: Path, size: int) -> FileIO | None:
    """Opens a plain file, folder by folder from the root, so that a link swapped in meanwhile is an error.

    It never opens a device or a pipe; one swapped in at the last moment does not block.
    """
    root, *folders, name = path.parts
    folder = os.open(root, FOLDER | NO_LINK)
    try:
        for each in folders:
            inner = os.open(each, FOLDER | NO_LINK, dir_fd=folder)
            os.close(folder)
            folder = inner
        if not _is_plain(os.stat(name, dir_fd=folder, follow_symlinks=False), size):
            return None
        file = os.open(name, FILE | NO_LINK, dir_fd=folder)
    finally:
        os.close(folder)
    if not _is_plain(os.fstat(file), size):
        os.close(file)
        return None
    return FileIO(file)


def _is_plain(found: os.stat_result, size: int) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_size == size


def _unusable(text: str, reason: str) -> BadSetting:
    return BadSetting(
        f"the setting shares cannot be {text!r}: {reason}",
        'Use folders of this machine, as "/mnt/shows", or "Z:/=/mnt/shows" if clients use another name.',
    )
