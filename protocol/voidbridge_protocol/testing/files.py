"""The files that a scripted daemon has received, in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from voidbridge_protocol.errors import NotHere, SpoolFull, TransferFailed, WrongOffset
from voidbridge_protocol.transfer.shared_files import below, proof
from voidbridge_protocol.wire.codec import ranges
from voidbridge_protocol.wire.messages import (
    FrameFile,
    Got,
    ImportFile,
    Message,
    Missing,
    Nack,
    Put,
)


@dataclass
class ReceivedFiles:
    """Takes pieces of files, and imports files of `shares`."""

    shares: tuple[str, ...]
    has_no_room: bool
    """No received file can be written."""
    spoilt_left: int
    """Complete files that it still rejects with a hash error."""
    objects: dict[str, bytes] = field(default_factory=dict)
    """Complete files by hash."""
    _parts: dict[str, bytearray] = field(default_factory=dict)

    def missing(self, files: Sequence[FrameFile]) -> Missing:
        need = [i for i, file in enumerate(files) if file.sha256 not in self.objects]
        parts = [(i, len(self._parts.get(files[i].sha256, b""))) for i in need]
        return Missing(ranges(need), tuple((i, have) for i, have in parts if have))

    def import_file(self, epoch: str, message: ImportFile) -> Got | Nack:
        """Imports a file if it exists, the proof matches and the hash is the announced one."""
        with suppress(OSError):
            if any(below(share, message.path) for share in self.shares):
                with open(message.path, "rb", buffering=0) as file:
                    shown = proof(epoch, message.sha256, message.size, file)
                    file.seek(0)
                    data = file.read()
                if shown == message.proof and hashlib.sha256(data).hexdigest() == message.sha256:
                    self.objects[message.sha256] = data
                    return Got(message.sha256)
        have = len(self._parts.get(message.sha256, b""))
        return Nack(message.sha256, have, NotHere.code, "this file has to be uploaded")

    def put(self, put: Put, piece: bytes) -> Message | None:
        """Returns the answer to a piece, or None while the file is incomplete."""
        if self.has_no_room:
            return Nack(put.sha256, put.offset, SpoolFull.code, "the disk is full")
        if put.sha256 in self.objects:
            return Got(put.sha256) if put.offset + len(piece) == put.size else None
        part = self._parts.setdefault(put.sha256, bytearray())
        if put.offset > len(part):
            text = f"the next byte should be {len(part)}, not {put.offset}"
            return Nack(put.sha256, len(part), WrongOffset.code, text)
        part += piece[len(part) - put.offset :]
        if len(part) < put.size:
            return None
        del self._parts[put.sha256]
        spoilt, self.spoilt_left = self.spoilt_left > 0, max(self.spoilt_left - 1, 0)
        if spoilt or hashlib.sha256(part).hexdigest() != put.sha256:
            return Nack(put.sha256, 0, TransferFailed.code, "the bytes have another hash")
        self.objects[put.sha256] = bytes(part)
        return Got(put.sha256)
