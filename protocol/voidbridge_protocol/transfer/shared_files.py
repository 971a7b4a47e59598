"""File import by path: the allowed names, and the proof that a client can read the file.

Both ends of a shared disk see the same file, often under different names: `Z:/shows/a.exr` on a workstation is
`/mnt/shows/a.exr` on the render box. A daemon tells clients the client-side names of its shared folders. A client
names a file only inside one of those, and proves that it can read bytes at unpredictable positions. A known
SHA-256 alone is therefore not enough to make a daemon open a file.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from voidbridge_protocol.wire.messages import MAX_PATH

PROBES, PROBE = 16, 4096
"""Number of sampled pieces of a file, and the bytes of each."""
WINDOWS = re.compile(r"[A-Za-z]:([\\/]|$)|[\\/]{2}")
"""Beginning of an absolute Windows path: a drive, or two slashes and a server."""


def below(prefix: str, path: str) -> tuple[str, ...] | None:
    """Returns the path parts from `prefix` to `path`, or None if `path` is not inside `prefix`.

    Both are absolute, as clients name them. On Windows, the case of the prefix and the kind of slashes are
    ignored. A path with `..`, or with an invalid name, is inside nothing.
    """
    start, names = _names(prefix), _names(path)
    count = len(start)
    if [_folded(name, prefix) for name in names[:count]] != [_folded(n, prefix) for n in start]:
        return None
    rest = tuple(names[count:])
    if not rest or any(name in ("", ".", "..") or "\0" in name for name in rest):
        return None
    return rest


def name_of(path: Path, shares: Iterable[str]) -> str | None:
    """Returns the name of a local file inside the daemon's shared folders, or None if it is in none of them."""
    shares = tuple(shares)
    for each in (os.path.abspath, os.path.realpath) if shares else ():
        name = each(path).replace(os.sep, "/")
        if len(name) <= MAX_PATH and is_text(name) and any(below(s, name) for s in shares):
            return name
    return None


def proof(epoch: str, sha256: str, size: int, file: IO[bytes]) -> str:
    """Returns the SHA-256, in hexadecimal, of the epoch in UTF-8 and of 16 pieces of the file, 4096 bytes each.

    Piece n begins at the first 8 bytes, big-endian, of the SHA-256 of "EPOCH SHA256 n", modulo size - 4096 + 1.
    If a file is shorter, each piece is the whole file. The daemon draws the epoch, so a client cannot choose the
    positions. Raises `OSError`.
    """
    digest = hashlib.sha256(epoch.encode())
    for number in range(PROBES):
        drawn = hashlib.sha256(f"{epoch} {sha256} {number}".encode()).digest()
        file.seek(int.from_bytes(drawn[:8], "big") % max(size - PROBE + 1, 1))
        digest.update(file.read(min(PROBE, size)))
    return digest.hexdigest()


def _names(path: str) -> list[str]:
    if WINDOWS.match(path):
        path = path.replace("\\", "/")
    return path.rstrip("/").split("/")


def _folded(name: str, prefix: str) -> str:
    return name.casefold() if WINDOWS.match(prefix) else name


def is_text(name: str) -> bool:
    """Returns False for a file name that is not UTF-8, which cannot be sent."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
