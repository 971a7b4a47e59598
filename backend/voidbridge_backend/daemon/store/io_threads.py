"""Writes and reads the spool's files on separate threads, so that a slow disk blocks nobody.

One thread writes, which keeps the pieces of a file in order, and one fsyncs. One thread reads, and one scans
the spool and deletes. Their results go to `tell`, which handles them on the daemon's own thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from voidbridge_backend.worker import malloc
from voidbridge_protocol.errors import DamagedFile, VoidbridgeError
from voidbridge_protocol.wire.codec import Frame
from voidbridge_protocol.wire.messages import Chunk, Get, Got, Message, Nack, Put, ResultFile

from .result_reader import read_piece
from .retention import Survey
from .spool import OffsetGap, Spool, UserFile

IDLE_S = 3.0
"""Memory that large messages had is kept for the next ones, unless none comes for so long."""


class IoThreads:
    """Owns all of these threads."""

    def __init__(self, spool: Spool, notify: Callable[[Callable[[], None]], None]) -> None:
        self._spool = spool
        self._notify = notify
        self._writing = ThreadPoolExecutor(1, "writes")
        self._settling = ThreadPoolExecutor(1, "settles")
        self._reading = ThreadPoolExecutor(1, "reads")
        self._clearing = ThreadPoolExecutor(1, "clears")
        self._large = 0
        """Large messages until `tick` last looked."""
        self._ticked = 0.0
        self._is_trimmed = True

    def write(
        self, user: str, put: Put, payload: Frame, callback: Callable[[Message | None], None]
    ) -> None:
        """Stores a piece of a user's file; `callback` gets the answer, or None for a piece that needs none."""
        self._writing.submit(self._take, user, put, payload, callback)

    def read(
        self,
        get: Get,
        path: Path,
        result: ResultFile,
        callback: Callable[[Message, bytes | None], None],
    ) -> None:
        """Reads a piece of a result; `callback` gets the answer."""
        self._reading.submit(self._give, get, path, result, callback)

    def tick(self, now: float, large: int) -> None:
        """Gives memory back to the system when no large message came or went for a while. Call it often.

        `large` counts them since the start: pieces of files, requests and answers.
        """
        if now - self._ticked < IDLE_S:
            return
        self._ticked = now
        if large != self._large:
            self._large, self._is_trimmed = large, False
        elif not self._is_trimmed:
            self._is_trimmed = True
            self._clearing.submit(malloc.give_back)

    def pause(self, files: Iterable[UserFile]) -> None:
        """Marks files as not being sent at the moment."""
        for file in files:
            self._writing.submit(self._spool.pause, file)

    def drop_part(self, name: str) -> None:
        """Deletes a partial file after its queued pieces are written."""
        self._writing.submit(self._spool.drop_part, name)

    def survey(self, callback: Callable[[Survey], None]) -> None:
        """`callback` gets the content of the spool."""
        self._clearing.submit(self._survey, callback)

    def empty_trash(self, callback: Callable[[], None]) -> None:
        """`callback` is called once everything discarded before is deleted from the disk."""
        # Through the writing thread, because files from earlier `drop_part` calls have to be deleted too.
        self._writing.submit(self._clearing.submit, self._empty_trash, callback)

    def close(self) -> None:
        self._writing.shutdown(cancel_futures=True)
        self._settling.shutdown(cancel_futures=True)
        self._reading.shutdown(cancel_futures=True)
        self._clearing.shutdown(cancel_futures=True)

    def _survey(self, callback: Callable[[Survey], None]) -> None:
        found = self._spool.survey()
        self._notify(lambda: callback(found))

    def _empty_trash(self, callback: Callable[[], None]) -> None:
        try:
            self._spool.empty_trash()
        finally:
            self._notify(callback)

    def _take(
        self, user: str, put: Put, payload: Frame, callback: Callable[[Message | None], None]
    ) -> None:
        file = UserFile(user, put.sha256)
        try:
            if self._spool.receive(file, put.size, put.offset, payload):
                self._settling.submit(self._finalize, file, callback)
                return
        except VoidbridgeError as error:
            self._answer(put.sha256, error, callback)
        else:
            self._notify(lambda: callback(None))

    def _finalize(self, file: UserFile, callback: Callable[[Message | None], None]) -> None:
        try:
            self._spool.finalize(file)
        except VoidbridgeError as error:
            self._answer(file.sha256, error, callback)
        else:
            self._notify(lambda: callback(Got(file.sha256)))

    def _answer(
        self, sha256: str, error: VoidbridgeError, callback: Callable[[Message | None], None]
    ) -> None:
        offset = error.have if isinstance(error, OffsetGap) else 0
        self._notify(lambda: callback(Nack(sha256, offset, error.code, error.text)))

    def _give(
        self,
        get: Get,
        path: Path,
        result: ResultFile,
        callback: Callable[[Message, bytes | None], None],
    ) -> None:
        reply: Message
        piece: bytes | None = None
        try:
            piece = read_piece(get, path, result)
            reply = Chunk(get.job, get.frame, get.offset)
        except DamagedFile as error:
            reply = Nack(result.sha256, 0, error.code, error.text)
        self._notify(lambda: callback(reply, piece))
