"""Upload and download as state machines without sockets.

`Upload` names files on a shared disk and cuts all others into chunks, as far as the daemon's credit allows.
`Download` requests results in ranges, up to the window's bytes at once. It writes each result as NAME.tmp.
A thread of its own verifies, fsyncs and renames it, so the next result arrives meanwhile.

Both survive a broken connection and continue from the other side's position.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .atomic_files import disk_error, publish, temporary
from .errors import NotHere, TransferFailed, UnreadableFrame
from .hashing import Digest, sha256_of
from .messages import (
    MAX_IMPORTS,
    MAX_UNANSWERED,
    Chunk,
    FrameFile,
    Get,
    ImportFile,
    Nack,
    Put,
    ResultFile,
)
from .shared_files import name_of, proof
from .source_guard import SourceGuard

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
        self._to_hand: deque[tuple[str, int]] = deque()
        self._handed: set[str] = set()
        self._not_there: set[str] = set()
        self.to_hand_over = 0
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
                    self._to_hand.append((sha256, offset))
                    self.to_hand_over += 1
                else:
                    self._send(sha256, offset)

    def granted(self, amount: int) -> None:
        """Adds credit. The daemon returns a chunk's bytes once it has handled it; the first grant is the window."""
        self._credit += amount
        self._unanswered = max(self._unanswered - 1, 0)

    def confirmed(self, sha256: str) -> bool:
        """Returns True if the file was imported by path."""
        self._unconfirmed.discard(sha256)
        was_handed = sha256 in self._handed
        self._handed.discard(sha256)
        self.imported += was_handed
        return was_handed

    def refused(self, nack: Nack) -> None:
        """Sends a file again from the daemon's offset, after a wrong offset or wrong bytes."""
        if nack.sha256 not in self._unconfirmed:
            return
        if nack.code == NotHere.code and nack.sha256 in self._handed:
            self._handed.discard(nack.sha256)
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
        while self._to_hand and len(self._handed) < MAX_IMPORTS:
            sha256, offset = self._to_hand.popleft()
            name, size = self._name_there(sha256), self._size[sha256]
            try:
                with self._source[sha256].open("rb", buffering=0) as file:
                    shown = proof(self._epoch, sha256, size, file)
            except OSError:  # sending it reports the error
                name = None
            if name:
                self._handed.add(sha256)
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
        self.to_hand_over -= 1
        self._send(sha256, offset)

    def _send(self, sha256: str, offset: int) -> None:
        self._to_send.append((sha256, offset))
        self.total += self._size[sha256] - offset

    def _forget_the_rest(self) -> None:
        """Clears the queue, because the daemon will list its missing files again."""
        self.to_hand_over -= len(self._to_hand) + len(self._handed)
        self._to_send.clear()
        self._to_hand.clear()
        self._handed.clear()

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


@dataclass
class _Incoming:
    """One result while it is written to NAME.tmp."""

    result: ResultFile
    target: Path
    file: IO[bytes]
    digest: Digest
    asked: int = 0
    written: int = 0


class Download:
    """Fetches results one by one, in ranges. A result becomes visible only when it is complete."""

    def __init__(
        self,
        job: str,
        target: Callable[[int], Path],
        chunk: int,
        window: int,
        sources: SourceGuard | None = None,
    ) -> None:
        """`target` says where the result of a frame goes. `window` bounds the bytes asked for at once.

        A file that `sources` knows is never replaced: `OverwritesSource` is raised instead.
        """
        self._sources = sources or SourceGuard()
        self._job = job
        self._target = target
        self._chunk = chunk
        self._window = window
        self._asked: dict[tuple[int, int], int] = {}  # (frame, offset): requested length in bytes
        self._tries: dict[int, int] = {}
        self._known: dict[int, ResultFile] = {}
        self._waiting: deque[ResultFile] = deque()
        self._incoming: dict[int, _Incoming] = {}
        self._settling: deque[tuple[_Incoming, Future[bool]]] = deque()
        self._settler = ThreadPoolExecutor(1, "settles")
        self.finished: dict[int, ResultFile] = {}
        self.received = 0
        """Payload bytes received so far, over all connections."""

    def announced(self, results: Iterable[ResultFile]) -> list[int]:
        """Adds results to fetch. Returns the frames that an earlier fetch has already written."""
        there = []
        for result in results:
            if self._known.get(result.frame) == result:
                continue
            self._known[result.frame] = result
            self._drop(result.frame)
            self._waiting = deque(item for item in self._waiting if item.frame != result.frame)
            self.finished.pop(result.frame, None)
            if _is_there(self._target(result.frame), result):
                self.finished[result.frame] = result
                there.append(result.frame)
            else:
                self._waiting.append(result)
        return there

    def reconnected(self) -> None:
        """Forgets requests of the old connection and asks again from the last written byte."""
        self._asked.clear()
        for incoming in self._incoming.values():
            incoming.asked = incoming.written

    def begin_again(self) -> None:
        """Forgets everything that is not finished. The daemon announces it anew."""
        for frame in list(self._incoming):
            self._drop(frame)
        self._waiting.clear()
        kept = self.finished.keys() | {incoming.result.frame for incoming, _ in self._settling}
        self._known = {frame: self._known[frame] for frame in kept}

    def next_get(self) -> Get | None:
        """Returns the next range to request, or None if the window is full or nothing is announced."""
        incoming = next(
            (item for item in self._incoming.values() if item.asked < item.result.size), None
        )
        if incoming is None and not self._waiting:
            return None
        if len(self._asked) >= MAX_UNANSWERED or sum(self._asked.values()) >= self._window:
            return None
        if incoming is None:
            incoming = self._begin(self._waiting.popleft())
        length = min(self._chunk, incoming.result.size - incoming.asked)
        get = Get(self._job, incoming.result.frame, incoming.asked, length)
        incoming.asked += length
        self._asked[get.frame, get.offset] = length
        return get

    def arrived(self, chunk: Chunk, payload: bytes | memoryview) -> None:
        """Writes a chunk. `payload` must stay unchanged until `settled` returns its frame."""
        length = self._asked.pop((chunk.frame, chunk.offset), None)
        incoming = self._incoming.get(chunk.frame)
        if chunk.job != self._job or length is None or incoming is None:
            return
        if chunk.offset != incoming.written:
            return  # requested before this frame was announced again
        if len(payload) != length:
            self._try_again(incoming, f"{len(payload)} bytes arrived instead of {length}")
            return
        self.received += length
        incoming.digest.update(payload)
        try:
            incoming.file.write(payload)
        except OSError as error:
            raise disk_error(incoming.target, error) from error
        incoming.written += len(payload)
        if incoming.written == incoming.result.size:
            del self._incoming[chunk.frame]
            self._settling.append((incoming, self._settler.submit(_settle, incoming)))

    @property
    def is_settling(self) -> bool:
        """Returns True while a complete result is being verified or renamed."""
        return bool(self._settling)

    def settled(self) -> list[int]:
        """Returns the frames finalized since the last call. Raises `DiskFull`, `TransferFailed`."""
        frames = []
        while self._settling and self._settling[0][1].done():
            incoming, is_right = self._settling.popleft()
            frame = incoming.result.frame
            if self._known[frame] != incoming.result:
                continue  # announced again meanwhile
            if is_right.result():
                self.finished[frame] = incoming.result
                frames.append(frame)
            else:
                self._try_again(incoming, "the received bytes differ from the announced ones")
        return frames

    def abandon(self) -> None:
        """Removes partial files; finished files stay."""
        self._settler.shutdown()
        for frame in list(self._incoming):
            self._drop(frame)

    def _begin(self, result: ResultFile) -> _Incoming:
        target = self._target(result.frame)
        self._sources.check([target])
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            file = temporary(target).open("wb")
        except OSError as error:
            raise disk_error(target, error) from error
        incoming = _Incoming(result, target, file, Digest())
        self._incoming[result.frame] = incoming
        return incoming

    def _try_again(self, incoming: _Incoming, what: str) -> None:
        """Restarts a result from its first byte, because the written bytes cannot be trusted."""
        frame = incoming.result.frame
        self._drop(frame)
        tries = self._tries[frame] = self._tries.get(frame, 0) + 1
        if tries >= TRIES:
            raise TransferFailed(f"{incoming.target}: {what}, {tries} times")
        self._waiting.appendleft(incoming.result)

    def _drop(self, frame: int) -> None:
        for settling, future in self._settling:
            if settling.result.frame == frame:
                wait([future])  # otherwise it would rename the next attempt's file as its own
        if incoming := self._incoming.pop(frame, None):
            with suppress(OSError):  # a full disk fails once more when the buffer is flushed
                incoming.file.close()
            temporary(incoming.target).unlink(missing_ok=True)


def _settle(incoming: _Incoming) -> bool:
    """Verifies, fsyncs and renames a complete file. Deletes it and returns False if its hash is wrong."""
    try:
        with incoming.file:
            if incoming.digest.hexdigest() != incoming.result.sha256:
                temporary(incoming.target).unlink(missing_ok=True)
                return False
            incoming.file.flush()
            os.fsync(incoming.file.fileno())
    except OSError as error:
        temporary(incoming.target).unlink(missing_ok=True)
        raise disk_error(incoming.target, error) from error
    publish(incoming.target)
    return True


def _is_there(path: Path, result: ResultFile) -> bool:
    try:
        if path.stat().st_size != result.size:
            return False
        return hash_file(path, "plate", result.frame).sha256 == result.sha256
    except (OSError, UnreadableFrame):
        return False
