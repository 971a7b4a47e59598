"""SHA-256 of what passes by, computed on a thread of its own while the caller writes the same bytes to disk.

Hashing runs at about the speed of a good disk; one after the other they would have half of it.
"""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path

Piece = bytes | memoryview

READ_SIZE = 1024 * 1024
"""Bytes that are read at once."""
AHEAD = 4
"""Pieces that are waiting to be hashed at most: so many that neither thread waits for the other after each."""


def sha256_of(path: Path) -> tuple[str, int]:
    """SHA-256 of a file in hexadecimal, and its bytes. Raises `OSError`."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while block := file.read(READ_SIZE):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


class Digest:
    """Used by one thread. A piece must not change before `hexdigest` returns."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._going: deque[Future[None]] = deque()

    def update(self, piece: Piece) -> None:
        """Returns when no more than `AHEAD` pieces are to be hashed."""
        self._settle(AHEAD - 1)
        self._going.append(_thread().submit(self._digest.update, piece))

    def hexdigest(self) -> str:
        self._settle(0)
        return self._digest.hexdigest()

    def _settle(self, most: int) -> None:
        while len(self._going) > most:
            self._going.popleft().result()


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "hashes")
