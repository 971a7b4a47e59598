"""Frames that a host renders during the upload: standard input names the complete ones.

A line names a frame or a range, for every role that covers all frames, as `1001-1020`. The last line is
`end`; an earlier end of input means cancelled. Named frames are hashed and sent; the request is made at the
end.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO

from voidbridge_backend.sequences.patterns import FrameRange
from voidbridge_protocol.errors import BadSetting, JobCancelled, VoidbridgeError
from voidbridge_protocol.operations import operation
from voidbridge_protocol.transfer.upload import hash_file
from voidbridge_protocol.wire.messages import FrameFile

from . import submission

END = "end"
State = tuple[int, int, int]
"""Of a file: inode, bytes, nanoseconds of its last change."""


class StreamInput:
    """Reads `lines` on its own thread. Use it as a context manager."""

    def __init__(self, shot: submission.Submission, lines: IO[bytes]) -> None:
        covering = [role.name for role in operation(shot.operation).roles if role.covers_all]
        # Files of the other roles are complete, and are read with the request.
        self._roles = {name: shot.files[name] for name in covering if name in shot.files}
        self._lines = lines
        self._hashers = ThreadPoolExecutor(submission.HASHERS, "hashes")
        self._hashing: deque[tuple[Path, Future[FrameFile]]] = deque()
        self._ended = False
        self._wrong: VoidbridgeError | None = None
        self._known: dict[Path, tuple[State, FrameFile]] = {}

    def __enter__(self) -> StreamInput:
        threading.Thread(target=self._read, name="frames from stdin", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._hashers.shutdown(cancel_futures=True)

    def more(self) -> Sequence[tuple[FrameFile, Path]] | None:
        """Returns files completed since the last call; None after the last.

        Raises `UnreadableFrame`, `BadSetting` for a line that is not a range, `JobCancelled` if the last line
        never came.
        """
        ended = self._ended  # read first: frames named before the end are handled below
        found = []
        while self._hashing and self._hashing[0][1].done():
            path, future = self._hashing.popleft()
            found.append((future.result(), path))
        if found or self._hashing:
            return found
        if self._wrong:
            raise self._wrong
        return None if ended else found

    def hash_of(self, path: Path, role: str, frame: int) -> FrameFile:
        """Same as `hash_file`, but a file unchanged since it was named is not read again."""
        known = self._known.get(path)
        if known and known[0] == _state(path):
            return known[1]
        return hash_file(path, role, frame)

    def _read(self) -> None:
        try:
            for line in self._lines:
                word = line.decode("utf-8", "replace").strip()
                if word == END:
                    self._ended = True
                    return
                if word:
                    self._named(FrameRange.parse(word))
            self._wrong = JobCancelled("standard input ended before all frames were rendered")
        except VoidbridgeError as error:
            self._wrong = error
        except OSError as error:
            self._wrong = BadSetting(f"standard input cannot be read: {error.strerror}")

    def _named(self, frames: FrameRange) -> None:
        for frame in range(frames.first, frames.last + 1):
            for role, sequence in self._roles.items():
                path = sequence.path(frame)
                self._hashing.append((path, self._hashers.submit(self._hash, path, role, frame)))

    def _hash(self, path: Path, role: str, frame: int) -> FrameFile:
        state = _state(path)
        file = hash_file(path, role, frame)
        self._known[path] = state, file
        return file


def _state(path: Path) -> State:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0  # reading it reports the error
    return found.st_ino, found.st_size, found.st_mtime_ns
