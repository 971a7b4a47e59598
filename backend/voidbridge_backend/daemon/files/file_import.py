"""Imports files from shared folders into the spool, as if they had been sent.

Separate threads open and read them, so an unreachable shared disk blocks neither the daemon nor other senders.
Each piece takes the path of a `put`, so all guarantees for a sent file hold for an imported one.
"""

from __future__ import annotations

import hmac
import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import FileIO
from itertools import count
from math import inf
from time import monotonic

from voidbridge_backend.daemon.store.io_threads import IoThreads
from voidbridge_backend.daemon.store.spool import Spool, UserFile
from voidbridge_protocol.errors import NotHere, TransferFailed, WrongOffset
from voidbridge_protocol.transfer.shared_files import proof
from voidbridge_protocol.wire.messages import MAX_CHUNK, ImportFile, Message, Nack, Put

from .shares import Shares

log = logging.getLogger(__name__)

READERS = 2
AHEAD = 4
"""Maximum pieces of a file that wait to be written."""
PATIENCE_S = 10.0
"""Seconds after which an unresponsive shared disk is given up: the client uploads the file."""
SAID = "this file has to be uploaded"
"""The same for every reason. A client need not know why a file cannot be opened."""

Callback = Callable[[Message, int], None]
"""Receives `Got` or `Nack`, and the number of copied bytes."""


@dataclass(eq=False)
class _Running:
    """One file during its import. It is over once answered, on the daemon's own thread."""

    file: UserFile
    asked: ImportFile
    start: int
    callback: Callback
    reading_since: float = inf
    """Time of the last read from the shared disk; infinite while none is pending."""
    copied: int = 0
    is_left: bool = False
    is_over: bool = False


class FileImport:
    """Used on the daemon's own thread; `tell` runs functions there."""

    def __init__(
        self,
        shares: Shares,
        spool: Spool,
        disk: IoThreads,
        epoch: str,
        notify: Callable[[Callable[[], None]], None],
    ) -> None:
        self.prefixes = shares.prefixes
        self._shares, self._spool, self._disk = shares, spool, disk
        self._epoch = epoch
        self._notify = notify
        self._waiting: list[_Running] = []
        self._busy: set[_Running] = set()
        """Files that the threads work on, even if they are over."""
        self._orders: queue.SimpleQueue[_Running] = queue.SimpleQueue()
        self._count = count(1)
        self._turns: Counter[str] = Counter()
        """The last turn of each user."""
        for _ in range(READERS if self.prefixes else 0):
            # No pool: the end of the process would wait for its threads, even for an absent disk.
            threading.Thread(target=self._work, name="takes", daemon=True).start()

    def begin(self, file: UserFile, message: ImportFile, callback: Callback) -> None:
        """Starts the copy. `callback` is always called once."""
        going = _Running(file, message, self._spool.partial(file), callback)
        if not self.prefixes or self._is_stuck():
            self._end(going, None)
        else:
            self._waiting.append(going)
            self._dispatch()

    def refusal(self, file: UserFile) -> Nack:
        """Returns the one answer for every file that is not imported."""
        return Nack(file.sha256, self._spool.partial(file), NotHere.code, SAID)

    def leave(self, files: Iterable[UserFile]) -> None:
        """Drops files that nobody waits for. A file that is complete by then is still reported."""
        left = set(files)
        for going in self._busy:
            going.is_left |= going.file in left
        for going in [going for going in self._waiting if going.file in left]:
            self._end(going, None)

    def tick(self, now: float, is_full: bool = False) -> None:
        """Call it often. If the disk is full, the remaining space is not for imports."""
        for going in self._busy:
            going.is_left |= is_full
            if not going.is_over and now - going.reading_since > PATIENCE_S:
                log.warning("a shared disk does not answer: its files are uploaded")
                self._end(going, None)
        if self._waiting and (is_full or self._is_stuck()):
            for going in list(self._waiting):
                self._end(going, None)

    def _is_stuck(self) -> bool:
        """Returns True if every thread waits for a disk that was given up."""
        return len(self._busy) == READERS and all(going.is_over for going in self._busy)

    def _dispatch(self) -> None:
        """Serves the user with the longest wait since the last turn, so that no user waits for another's."""
        while self._waiting and len(self._busy) < READERS:
            going = min(self._waiting, key=lambda going: self._turns[going.file.user])
            self._waiting.remove(going)
            self._turns[going.file.user] = next(self._count)
            self._busy.add(going)
            self._orders.put(going)

    def _back(self, going: _Running, reply: Message | None) -> None:
        self._busy.discard(going)
        self._end(going, reply)
        self._dispatch()

    def _end(self, going: _Running, reply: Message | None) -> None:
        if going.is_over:
            return
        going.is_over = True
        if going in self._waiting:
            self._waiting.remove(going)
        going.callback(reply or self.refusal(going.file), going.copied)

    # -- on the threads that read -------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            going = self._orders.get()
            self._notify(partial(self._back, going, self._copied(going)))

    def _copied(self, going: _Running) -> Message | None:
        """Returns the spool's answer for the file; None if there is no such file here."""
        going.reading_since = monotonic()
        reply = None
        with suppress(OSError):
            if file := self._shares.open(going.asked.path, going.asked.size):
                with file:
                    reply = self._written(going, file)
        going.reading_since = inf
        if isinstance(reply, Nack) and reply.code in (TransferFailed.code, WrongOffset.code):
            return None  # a file other than the client's, or one that is also being sent
        return reply

    def _written(self, going: _Running, file: FileIO) -> Message | None:
        asked = going.asked
        if not hmac.compare_digest(
            proof(self._epoch, asked.sha256, asked.size, file).encode(), asked.proof.encode()
        ):
            return None
        answers: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        open_ = 0
        for put, piece in _pieces(going, file):
            if going.is_left or going.is_over:
                return None
            going.reading_since = inf
            try:
                self._disk.write(going.file.user, put, piece, answers.put)
            except RuntimeError:  # the daemon is stopping
                return None
            going.copied += len(piece)
            open_ += 1
            if open_ == AHEAD:
                open_ -= 1
                if reply := answers.get():
                    return reply
            going.reading_since = monotonic()
        going.reading_since = inf
        replies = (answers.get() for _ in range(open_))
        return next((reply for reply in replies if reply), None)


def _pieces(going: _Running, file: FileIO) -> Iterator[tuple[Put, bytes]]:
    """Yields the missing pieces of the file, in order. Ends early if it has become shorter."""
    asked, offset = going.asked, going.start
    file.seek(offset)
    while True:
        wanted = min(MAX_CHUNK, asked.size - offset)
        piece = file.read(wanted)
        if len(piece) < wanted:
            return
        yield Put(asked.sha256, asked.size, offset), piece
        offset += wanted
        if offset == asked.size:
            return
