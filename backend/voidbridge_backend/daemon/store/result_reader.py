"""Reads results in pieces and hashes them on the way: the last piece is given out only if the whole is right.

Used on one thread. Pieces that come in order cost no second read; behind a jump, what was passed over is read too.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Hashable
from pathlib import Path

from voidbridge_protocol.errors import DamagedFile
from voidbridge_protocol.transfer.hashing import Digest
from voidbridge_protocol.wire.messages import MAX_CHUNK, ResultFile

MOST = 256
"""Results that are on their way at once and whose hashes are kept; others are read again at their end."""


class _Reading:
    """How far one client has come with one result."""

    def __init__(self) -> None:
        self.digest = Digest()
        self.offset = 0


class ResultReader:
    """`reader` names the client that asks; each has its own place in each result."""

    def __init__(self) -> None:
        self._readings: OrderedDict[Hashable, _Reading] = OrderedDict()

    def read(
        self, reader: Hashable, path: Path, result: ResultFile, offset: int, length: int
    ) -> bytes:
        """Returns a piece. Raises `DamagedFile` if the result is gone, cut or not what its hash says."""
        key = reader, path
        try:
            with path.open("rb", buffering=0) as file:
                piece = os.pread(file.fileno(), length, offset)
                end = offset + len(piece)
                if end < min(offset + length, result.size):
                    raise _damaged(result, f"it has {end} of {result.size} bytes")
                reading = self._reading(key, file.fileno(), offset)
                reading.digest.update(piece)
                reading.offset = end
        except OSError as error:
            self._readings.pop(key, None)
            raise _damaged(result, error.strerror or str(error)) from error
        if end >= result.size:
            del self._readings[key]
            if reading.digest.hexdigest() != result.sha256:
                raise _damaged(result, "its hash is another")
        return piece

    def _reading(self, key: Hashable, fd: int, offset: int) -> _Reading:
        reading = self._readings.pop(key, None)
        if reading is None or reading.offset != offset:
            if reading:
                reading.digest.hexdigest()  # else the pieces of what is given up pile up behind the hashing
            reading = _Reading()
            while reading.offset < offset:
                passed = os.pread(fd, min(MAX_CHUNK, offset - reading.offset), reading.offset)
                if not passed:
                    break
                reading.digest.update(passed)
                reading.offset += len(passed)
        self._readings[key] = reading
        if len(self._readings) > MOST:
            self._readings.popitem(last=False)[1].digest.hexdigest()
        return reading


def _damaged(result: ResultFile, damage: str) -> DamagedFile:
    return DamagedFile(
        f"the result of frame {result.frame} changed on the daemon's disk: {damage}",
        "The daemon makes it again; the client waits for it.",
        (result.sha256,),
    )
