"""Results out: which piece that a client asked for is read now, and which waits until it has taken others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from voidbridge_backend.daemon.jobs.service import JobService
from voidbridge_backend.daemon.net.sessions import Session
from voidbridge_backend.daemon.net.unsent import USER_BYTES
from voidbridge_backend.daemon.store.io_threads import IoThreads
from voidbridge_protocol.errors import BadMessage, VoidbridgeError
from voidbridge_protocol.wire.codec import Frame
from voidbridge_protocol.wire.messages import MAX_UNANSWERED, Get, Limits, Message, Nack, Refused


@dataclass
class Downloads:
    """Used on the daemon's own thread. Call `tick` often."""

    job_service: JobService
    disk: IoThreads
    limits: Limits
    unsent: Callable[[Session], tuple[int, int]]
    """Bytes that wait for this client on its bulk socket, and for all clients of its user."""
    send: Callable[[Session, Message, Frame | None], None]
    """Sends on a client's bulk socket."""
    _waiting: dict[int, Session] = field(default_factory=dict)
    """Clients by the identity of their sessions, longest waiting first."""

    @property
    def is_waiting(self) -> bool:
        """Whether a piece is to be read when its client has taken others."""
        return bool(self._waiting)

    def get(self, session: Session, get: Get) -> None:
        """Answered by `Chunk`. Raises `RequestError`, and `BadMessage` for more pieces than may wait."""
        self.job_service.result(get.job, get.frame)
        if len(session.gets) >= MAX_UNANSWERED:
            raise BadMessage(f"more than {MAX_UNANSWERED} pieces are asked for at once")
        session.gets.append(get)
        self._advance(session)

    def tick(self) -> None:
        """Reads what there is room for by now."""
        for session in list(self._waiting.values()):
            del self._waiting[id(session)]
            self._advance(session)

    def _advance(self, session: Session) -> None:
        while session.gets and self._has_room(session):
            get = session.gets.popleft()
            session.reading += get.length
            path = self.job_service.spool.result_path(get.job, get.frame)
            try:
                result = self.job_service.result(get.job, get.frame)
            except VoidbridgeError as error:  # forgotten since it was asked for
                self._read(session, get, Refused(error.code, error.text, error.hint), None)
                continue
            then = partial(self._read, session, get)
            self.disk.read(get, path, result, then)
        if session.gets and session.bulk:
            self._waiting[id(session)] = session

    def _has_room(self, session: Session) -> bool:
        """Twice what a client asks for at once: it is not to wait for the last piece to be let go of."""
        line, user = self.unsent(session)
        return line + session.reading < 2 * self.limits.window and user < USER_BYTES

    def _read(self, session: Session, get: Get, reply: Message, piece: Frame | None) -> None:
        session.reading -= get.length
        if isinstance(reply, Nack):
            self.job_service.damage.result_damaged(get.job, get.frame)
        self.send(session, reply, piece)
