"""Streaming SHA-256, computed on its own thread while the caller writes the same bytes to disk.

Hashing is about as fast as a good disk. In turn, each would run at half speed.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path

Piece = bytes | memoryview

READ_SIZE = 1024 * 1024
"""Bytes that are read at once."""
AHEAD = 4
"""Maximum number of queued pieces. The number keeps both threads from waiting on each other after every piece."""


def sha256_of(path: Path) -> tuple[str, int]:
    """SHA-256 of a file in hexadecimal, and its bytes. Raises `OSError`."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while block := file.read(READ_SIZE):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def digest_of(contents: Iterable[bytes]) -> str:
    """One SHA-256 in hexadecimal that stands for these contents in this order."""
    each = (hashlib.sha256(content).digest() for content in contents)
    return hashlib.sha256(b"".join(each)).hexdigest()


class Digest:
    """A running SHA-256. Use it on one thread; a piece must stay unchanged until `hexdigest` returns."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._going: deque[Future[None]] = deque()

    def update(self, piece: Piece) -> None:
        """Queues a piece. Returns once at most `AHEAD` pieces are queued."""
        self._wait_for(AHEAD - 1)
        self._going.append(_thread().submit(self._digest.update, piece))

    def hexdigest(self) -> str:
        self._wait_for(0)
        return self._digest.hexdigest()

    def _wait_for(self, most: int) -> None:
        while len(self._going) > most:
            self._going.popleft().result()


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "hashes")
