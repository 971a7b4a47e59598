"""SHA-256 of what passes by, computed on a thread of its own while the caller writes the same bytes to disk.

Hashing runs at about the speed of a good disk; one after the other they would have half of it.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

Piece = bytes | memoryview


class Digest:
    """Used by one thread. A piece must not change before the next `update` or `hexdigest` returns."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._going: Future[None] | None = None

    def update(self, piece: Piece) -> None:
        """Returns when the piece before this one has been taken in."""
        self._settle()
        self._going = _thread().submit(self._digest.update, piece)

    def hexdigest(self) -> str:
        self._settle()
        return self._digest.hexdigest()

    def _settle(self) -> None:
        if self._going:
            self._going.result()
            self._going = None


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "hashes")
