"""Downloads as a state machine without sockets.

`Download` requests results in ranges, up to the window's bytes at once. It writes each result as NAME.tmp.
A thread of its own verifies, fsyncs and renames it, so the next result arrives meanwhile.
It survives a broken connection and continues from its own position.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from voidbridge_protocol.errors import TransferFailed
from voidbridge_protocol.wire.messages import MAX_UNANSWERED, Chunk, Get, ResultFile

from .atomic_files import create_temporary, disk_error, publish, temporary
from .hashing import Digest, sha256_of
from .source_guard import SourceGuard

TRIES = 3
"""Attempts for one result before a hash mismatch becomes an error."""


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
        self._tries.clear()
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
        # What arrived damaged may be damaged on the daemon's disk: asked so, the daemon looks.
        verify = incoming.asked == 0 and incoming.result.frame in self._tries
        get = Get(self._job, incoming.result.frame, incoming.asked, length, verify)
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
            self._settling.append((incoming, self._settler.submit(_finalize, incoming)))

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
            file = create_temporary(target)
        except OSError as error:
            raise disk_error(target, error) from error
        incoming = _Incoming(result, target, file, Digest())
        self._incoming[result.frame] = incoming
        return incoming

    def _try_again(self, incoming: _Incoming, reason: str) -> None:
        """Restarts a result from its first byte, because the written bytes cannot be trusted."""
        frame = incoming.result.frame
        self._drop(frame)
        tries = self._tries[frame] = self._tries.get(frame, 0) + 1
        if tries >= TRIES:
            raise TransferFailed(f"{incoming.target}: {reason}, {tries} times")
        self._waiting.appendleft(incoming.result)

    def _drop(self, frame: int) -> None:
        for settling, future in self._settling:
            if settling.result.frame == frame:
                wait([future])  # otherwise it would rename the next attempt's file as its own
        if incoming := self._incoming.pop(frame, None):
            with suppress(OSError):  # a full disk fails once more when the buffer is flushed
                incoming.file.close()
            temporary(incoming.target).unlink(missing_ok=True)


def _finalize(incoming: _Incoming) -> bool:
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
        return sha256_of(path)[0] == result.sha256
    except OSError:
        return False
