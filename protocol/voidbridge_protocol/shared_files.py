"""A file that is handed over by its path: what it may be called, and the proof that one can read it.

Both ends of a shared disk see the same file, often under other names: `Z:/shows/a.exr` on a workstation is
`/mnt/shows/a.exr` on the render box. A daemon tells clients what its shared folders are called by them. A client
names a file only below one of those, and shows bytes of it that nobody can foretell: a SHA-256 that was found
somewhere is not enough to have a daemon open a file.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from .messages import MAX_PATH

PROBES, PROBE = 16, 4096
"""So many pieces of so many bytes are shown of a file."""
WINDOWS = re.compile(r"[A-Za-z]:([\\/]|$)|[\\/]{2}")
"""How an absolute path of Windows begins: with a drive, or with two slashes and a server."""


def below(prefix: str, path: str) -> tuple[str, ...] | None:
    """The names of folders and file that lead from `prefix` to `path`; None when it does not lie there.

    Both are absolute, as clients call them. On Windows neither the case of the prefix nor the kind of slashes
    matters. A name that leads elsewhere (`..`), or is none, does not lie anywhere.
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
    """What a daemon with these shared folders is told of a file here; None where it sees none of it."""
    shares = tuple(shares)
    for each in (os.path.abspath, os.path.realpath) if shares else ():
        name = each(path).replace(os.sep, "/")
        if len(name) <= MAX_PATH and _is_text(name) and any(below(s, name) for s in shares):
            return name
    return None


def proof(epoch: str, sha256: str, size: int, file: IO[bytes]) -> str:
    """SHA-256, in hexadecimal, of the epoch in UTF-8 and of 16 pieces of the file, of 4096 bytes each.

    Piece n begins at the first 8 bytes, big-endian, of the SHA-256 of "EPOCH SHA256 n", modulo size - 4096 + 1;
    of a file that is shorter each piece is all of it. Nobody can choose the places: the epoch is drawn by the
    daemon. Raises `OSError`.
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


def _is_text(name: str) -> bool:
    """Names of files may be bytes that are no UTF-8: such a one cannot be said on the wire."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
