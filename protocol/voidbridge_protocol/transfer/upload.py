"""Uploads as a state machine without sockets.

`Upload` names files on a shared disk and cuts all others into chunks, as far as the daemon's credit allows.
It survives a broken connection and continues from the daemon's position.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

from voidbridge_protocol.errors import NotHere, TransferFailed, UnreadableFrame
from voidbridge_protocol.wire.messages import (
    MAX_IMPORTS,
    MAX_UNANSWERED,
    FrameFile,
    ImportFile,
    Nack,
    Put,
)

from .hashing import sha256_of
from .shared_files import name_of, proof

TRIES = 3
"""Attempts for one file before a hash mismatch becomes an error."""


def hash_file(path: Path, role: str, frame: int) -> FrameFile:
    """Returns role, frame, hash and size of a file. Raises `UnreadableFrame`."""
    try:
        sha256, size = sha256_of(path)
    except OSError as error:
        raise UnreadableFrame(f"{role} frame {frame}: {path}: {error.strerror}") from error
    if not size:
        raise UnreadableFrame(f"{role} frame {frame}: {path} is empty")
    return FrameFile(role, frame, sha256, size)


class Upload:
    """Sends the files that the daemon still needs, within its credit."""

    def __init__(self, files: Sequence[FrameFile], sources: Sequence[Path], chunk: int) -> None:
        """`files` are in the order of `Request.files`; `sources` are their paths."""
        self._files: list[FrameFile] = []
        self._source: dict[str, Path] = {}
        self._size: dict[str, int] = {}
        self._chunk = chunk
        self._credit = 0
        self._unanswered = 0
        self._to_send: deque[tuple[str, int]] = deque()
        self._unconfirmed: set[str] = set()
        self._tries: dict[str, int] = {}
        self._open: tuple[str, IO[bytes]] | None = None
        self._epoch = ""
        self._shares: tuple[str, ...] = ()
        self._import_queue: deque[tuple[str, int]] = deque()
        self._importing: set[str] = set()
        self._not_there: set[str] = set()
        self.to_import = 0
        self.imported = 0
        """Files that the daemon imported by path, over all connections."""
        self.total = 0
        self.sent = 0
        """Payload bytes sent so far, over all connections."""
        self.add(zip(files, sources, strict=True))

    def add(self, files: Iterable[tuple[FrameFile, Path]]) -> None:
        """Appends more files."""
        for file, source in files:
            self._files.append(file)
            self._source[file.sha256] = source
            self._size[file.sha256] = file.size

    def reconnected(self, epoch: str = "", shares: Sequence[str] = ()) -> None:
        """Resets for a new connection: no credit, and nothing to send until the daemon lists missing files.

        Files inside its `shares` are imported by path instead of sent.
        """
        self._credit = self._unanswered = 0
        self._epoch, self._shares = epoch, tuple(shares)
        self._forget_the_rest()

    def wanted(self, indices: Iterable[int], partial: Iterable[tuple[int, int]]) -> None:
        """Sets the files that the daemon needs, some from an offset on. All others are dropped."""
        self._forget_the_rest()
        self._unconfirmed.clear()
        self.total = self.sent
        self.also_wanted(indices, partial)

    def also_wanted(self, indices: Iterable[int], partial: Iterable[tuple[int, int]]) -> None:
        """Adds files that the daemon needs."""
        offsets = {self._files[index].sha256: offset for index, offset in partial}
        for sha256 in dict.fromkeys(self._files[index].sha256 for index in indices):
            if sha256 not in self._unconfirmed:
                offset = offsets.get(sha256, 0)
                self._unconfirmed.add(sha256)
                if self._name_there(sha256):
                    self._import_queue.append((sha256, offset))
                    self.to_import += 1
                else:
                    self._send(sha256, offset)

    def granted(self, amount: int) -> None:
        """Adds credit. The daemon returns a chunk's bytes once it has handled it; the first grant is the window."""
        self._credit += amount
        self._unanswered = max(self._unanswered - 1, 0)

    def confirmed(self, sha256: str) -> bool:
        """Returns True if the file was imported by path."""
        self._unconfirmed.discard(sha256)
        was_import = sha256 in self._importing
        self._importing.discard(sha256)
        self.imported += was_import
        return was_import

    def refused(self, nack: Nack) -> None:
        """Sends a file again from the daemon's offset, after a wrong offset or wrong bytes."""
        if nack.sha256 not in self._unconfirmed:
            return
        if nack.code == NotHere.code and nack.sha256 in self._importing:
            self._importing.discard(nack.sha256)
            self._not_here(nack.sha256, nack.offset)
            return
        if nack.code == TransferFailed.code:
            tries = self._tries[nack.sha256] = self._tries.get(nack.sha256, 0) + 1
            if tries >= TRIES:
                raise TransferFailed(f"{self._source[nack.sha256]}: {nack.text}")
        self._to_send = deque(item for item in self._to_send if item[0] != nack.sha256)
        self._to_send.appendleft((nack.sha256, nack.offset))

    def next_import(self) -> tuple[ImportFile, None] | None:
        """Returns the next file for import by path, or None for now."""
        while self._import_queue and len(self._importing) < MAX_IMPORTS:
            sha256, offset = self._import_queue.popleft()
            name, size = self._name_there(sha256), self._size[sha256]
            try:
                with self._source[sha256].open("rb", buffering=0) as file:
                    shown = proof(self._epoch, sha256, size, file)
            except OSError:  # sending it reports the error
                name = None
            if name:
                self._importing.add(sha256)
                return ImportFile(sha256, size, name, shown), None
            self._not_here(sha256, offset)
        return None

    def next_chunk(self) -> tuple[Put, bytes] | None:
        """Returns the next chunk, or None if there is nothing to send or too little credit."""
        if not self._to_send:
            self.close()
            return None
        if self._unanswered >= MAX_UNANSWERED:
            return None
        sha256, offset = self._to_send[0]
        size = self._size[sha256]
        length = min(self._chunk, size - offset)
        if length > self._credit:
            return None
        piece = self._read(sha256, offset, length)
        self._credit -= length
        self._unanswered += 1
        self.sent += length
        if offset + length < size:
            self._to_send[0] = (sha256, offset + length)
        else:
            self._to_send.popleft()
        return Put(sha256, size, offset), piece

    @property
    def done(self) -> bool:
        """True if every file is on disk in the daemon's spool."""
        return not self._unconfirmed

    def close(self) -> None:
        if self._open:
            self._open[1].close()
            self._open = None

    def _name_there(self, sha256: str) -> str | None:
        if sha256 in self._not_there:
            return None
        return name_of(self._source[sha256], self._shares)

    def _not_here(self, sha256: str, offset: int) -> None:
        self._not_there.add(sha256)
        self.to_import -= 1
        self._send(sha256, offset)

    def _send(self, sha256: str, offset: int) -> None:
        self._to_send.append((sha256, offset))
        self.total += self._size[sha256] - offset

    def _forget_the_rest(self) -> None:
        """Clears the queue, because the daemon will list its missing files again."""
        self.to_import -= len(self._import_queue) + len(self._importing)
        self._to_send.clear()
        self._import_queue.clear()
        self._importing.clear()

    def _read(self, sha256: str, offset: int, length: int) -> bytes:
        path = self._source[sha256]
        try:
            if self._open is None or self._open[0] != sha256:
                self.close()
                self._open = (sha256, path.open("rb", buffering=0))
            file = self._open[1]
            file.seek(offset)
            piece = file.read(length)
        except OSError as error:
            raise UnreadableFrame(f"{path}: {error.strerror}") from error
        if len(piece) != length:
            raise UnreadableFrame(
                f"{path} became shorter while it was sent",
                "Render to another file name while a job is being sent, then run it again.",
            )
        return piece
