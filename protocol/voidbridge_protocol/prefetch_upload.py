"""Uploads files before their request exists, while a host still renders.

The daemon stores them in its spool by hash, without a job. The later request asks only for files that are still
missing, so correctness never depends on this upload.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import BadMessage, JobCancelled
from .job_client import ABOUT_A_FILE, JobClient
from .job_task import Listener
from .transfer.upload import Upload
from .wire.codec import Frame, indices
from .wire.connection import ServerConnection
from .wire.messages import MAX_OFFERED, FrameFile, Message, Missing, Nack, Offer, Welcome

More = Callable[[], "Sequence[tuple[FrameFile, Path]] | None"]
"""Returns files completed since the last call, without waiting; None after the last one."""


class PrefetchUpload(JobClient):
    """Offers files as they appear and sends the ones that the daemon lacks, until there are no more.

    If the daemon accepts no early files, or has no space, it only keeps the connection alive. Raises any error of
    `more`.
    """

    def __init__(
        self,
        wire: ServerConnection,
        more: More,
        listener: Listener,
        operation: str = "remove",
        engine: str = "",
    ) -> None:
        super().__init__(wire, lambda frame: Path(), listener)
        self._more = more
        self._operation = operation
        self._engine = engine
        self._files: list[FrameFile] = []
        self._sources: list[Path] = []
        self._offered: deque[tuple[int, int]] = deque()
        """First and end index of each unanswered offer."""
        self._ended = False
        self._is_taking = True

    def begin(self, welcome: Welcome) -> None:
        if self._upload is None:
            self._upload = Upload((), (), welcome.limits.chunk)
        self._upload.reconnected(welcome.epoch, welcome.shares)
        self._upload.wanted((), ())
        self._offered.clear()
        self._offer(0)

    def is_over(self) -> bool:
        """Returns True even if some files are unsent: the request should not wait behind its own files."""
        return self._ended

    def _push(self) -> bool:
        if not self._ended:
            self._look_for_more()
        return super()._push()

    def _look_for_more(self) -> None:
        assert self._upload is not None
        found = self._more()
        self._ended = found is None
        if found:
            behind = len(self._files)
            self._files += [file for file, _ in found]
            self._sources += [path for _, path in found]
            self._upload.add(found)
            self._offer(behind)

    def _offer(self, start: int) -> None:
        if not self._is_taking:
            return
        for first in range(start, len(self._files), MAX_OFFERED):
            part = self._files[first : first + MAX_OFFERED]
            self._offered.append((first, first + len(part)))
            self._wire.send(Offer(tuple(part), self._operation, self._engine))

    def _take(self, message: Message, payload: Frame | None) -> None:
        if isinstance(message, Missing):
            self._missing(message)
        elif isinstance(message, Nack) and message.code not in ABOUT_A_FILE:
            # The daemon cannot write the file. The later request decides if that ends the job.
            self._is_taking = False
            if self._upload:
                self._upload.wanted((), ())
        else:
            super()._take(message, payload)

    def _missing(self, message: Missing) -> None:
        if not self._offered:
            raise BadMessage("the daemon asks for files that were not offered")
        assert self._upload is not None
        first, behind = self._offered.popleft()
        need = [first + index for index in indices(message.need, behind - first)]
        partial = [(first + index, offset) for index, offset in message.partial]
        if self._is_taking:
            self._upload.also_wanted(need, partial)
            self._lacked = self._upload.total - self._upload.sent

    def _look_for_cancel(self) -> None:
        if self._listener.should_cancel():
            raise JobCancelled("cancelled while the plate was being rendered")
