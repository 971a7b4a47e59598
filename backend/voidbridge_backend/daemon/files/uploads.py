"""Incoming files: handles each piece that a client sends, and each file to import."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from voidbridge_backend.daemon.jobs.service import JobService
from voidbridge_backend.daemon.net.sessions import Session
from voidbridge_backend.daemon.store.io_threads import IoThreads
from voidbridge_backend.daemon.store.spool import UserFile
from voidbridge_protocol.errors import BadMessage
from voidbridge_protocol.wire.codec import Frame
from voidbridge_protocol.wire.messages import (
    MAX_IMPORTS,
    Credit,
    Got,
    ImportFile,
    Limits,
    Message,
    Nack,
    Put,
)

from .cleanup import Cleanup
from .file_import import FileImport
from .rate_limit import RateLimit


@dataclass(frozen=True)
class Uploads:
    """Used on the daemon's own thread."""

    job_service: JobService
    disk: IoThreads
    cleanup: Cleanup
    limits: Limits
    rate_limit: RateLimit
    file_import: FileImport
    send: Callable[[Session, Message], None]
    """Sends a message on a client's bulk socket."""

    def put(self, session: Session, put: Put, payload: Frame) -> None:
        """Answered once the piece is handled. Raises `BadMessage` beyond the limits."""
        length = len(payload)
        if session.spent + length > self.limits.window:
            raise BadMessage(f"{length} bytes beyond the credit of {self.limits.window}")
        if put.size > self.limits.file:
            raise BadMessage(f"a file of {put.size} bytes; {self.limits.file} at most")
        file = UserFile(session.user, put.sha256)
        self._check_size(session, file, put.size)
        if file not in session.offered and not self.job_service.admission.is_wanted(file):
            # Its job was cancelled a moment ago; a file without a job must not fill the disk.
            self.send(session, Credit(length))
            return
        if full := self.cleanup.full:  # the remaining space is for running jobs
            self.send(session, Credit(length))
            self.send(session, Nack(put.sha256, put.offset, full.code, full.text))
            return
        session.spent += length
        session.receiving.add(file)
        self.disk.write(
            file.user, put, payload, lambda reply: self._stored(session, file, length, reply)
        )

    def import_file(self, session: Session, message: ImportFile) -> None:
        """Answered by one `Got` or `Nack`. Raises `BadMessage` beyond the limits."""
        if session.importing >= MAX_IMPORTS:
            raise BadMessage(f"more than {MAX_IMPORTS} imports are pending at once")
        if message.size > self.limits.file:
            raise BadMessage(f"a file of {message.size} bytes; {self.limits.file} at most")
        file = UserFile(session.user, message.sha256)
        self._check_size(session, file, message.size)
        session.importing += 1
        if self.job_service.spool.has(file):
            self._imported(session, file, Got(message.sha256), 0)
        elif file not in session.offered and not self.job_service.admission.is_wanted(file):
            self._imported(session, file, self.file_import.refusal(file), 0)
        elif full := self.cleanup.full:
            self._imported(session, file, Nack(message.sha256, 0, full.code, full.text), 0)
        else:
            session.receiving.add(file)
            self.file_import.begin(
                file, message, lambda *told: self._imported(session, file, *told)
            )

    def _check_size(self, session: Session, file: UserFile, size: int) -> None:
        """Raises `BadMessage` for a file of another size than its job, or the offer of it, announced."""
        announced = self.job_service.admission.announced(file) or session.offered.get(file, size)
        if size != announced:
            raise BadMessage(
                f"{file.sha256[:12]}: {size} bytes are to come of a file that was announced with {announced}"
            )

    def leave(self, files: Iterable[UserFile]) -> None:
        """Marks files as not being sent at the moment."""
        self.file_import.leave(files)
        self.disk.pause(files)

    def _imported(self, session: Session, file: UserFile, reply: Message, copied: int) -> None:
        if isinstance(reply, Got):
            session.receiving.discard(file)
            self.job_service.admission.file_arrived(file)

        def answer() -> None:
            session.importing -= 1
            self.send(session, reply)

        self.rate_limit.after(file.user, copied, time.monotonic(), answer)

    def _stored(self, session: Session, file: UserFile, length: int, reply: Message | None) -> None:
        if isinstance(reply, Got):
            session.receiving.discard(file)
            self.job_service.admission.file_arrived(file)

        def answer() -> None:
            session.spent -= length
            self.send(session, Credit(length))
            if reply:
                self.send(session, reply)

        self.rate_limit.after(file.user, length, time.monotonic(), answer)
