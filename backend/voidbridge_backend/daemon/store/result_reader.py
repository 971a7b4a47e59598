"""Reads pieces of results. The client checks the whole; only after damage is a result hashed here too."""

from __future__ import annotations

import os
from pathlib import Path

from voidbridge_protocol.errors import DamagedFile
from voidbridge_protocol.transfer.hashing import sha256_of
from voidbridge_protocol.wire.messages import Get, ResultFile


def read_piece(get: Get, path: Path, result: ResultFile) -> bytes:
    """Returns the piece that `get` asks for.

    Raises `DamagedFile` if the result is gone or cut; after `get.verify` also if it is not what its hash says.
    """
    try:
        if get.verify and sha256_of(path)[0] != result.sha256:
            raise _damaged(result, "its hash is another")
        length = min(get.length, max(result.size - get.offset, 0))
        with path.open("rb", buffering=0) as file:
            piece = os.pread(file.fileno(), length, get.offset)
    except OSError as error:
        raise _damaged(result, error.strerror or str(error)) from error
    if len(piece) < length:
        raise _damaged(result, f"it has {get.offset + len(piece)} of {result.size} bytes")
    return piece


def _damaged(result: ResultFile, damage: str) -> DamagedFile:
    return DamagedFile(
        f"the result of frame {result.frame} changed on the daemon's disk: {damage}",
        "The daemon makes it again; the client waits for it.",
        (result.sha256,),
    )
