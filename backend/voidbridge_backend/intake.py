"""Files in: what becomes of each piece that a client sends, and of the credit that it spent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from voidbridge_protocol.codec import Frame
from voidbridge_protocol.errors import BadMessage
from voidbridge_protocol.messages import Credit, Got, Limits, Message, Nack, Put

from .disk import Disk
from .janitor import Janitor
from .ledger import Ledger
from .pace import Pace
from .sessions import Session
from .spool import Owned


@dataclass(frozen=True)
class Intake:
    """Used on the daemon's own thread."""

    ledger: Ledger
    disk: Disk
    janitor: Janitor
    limits: Limits
    pace: Pace
    say: Callable[[Session, Message], None]
    """Says something on a client's bulk socket."""

    def put(self, session: Session, put: Put, payload: Frame) -> None:
        """Answered when the piece has been dealt with. Raises `BadMessage` for what is beyond the limits."""
        length = len(payload)
        if session.spent + length > self.limits.window:
            raise BadMessage(f"{length} bytes beyond the credit of {self.limits.window}")
        if put.size > self.limits.file:
            raise BadMessage(f"a file of {put.size} bytes; {self.limits.file} at most")
        file = Owned(session.user, put.sha256)
        if file not in session.offered and not self.ledger.is_wanted(file):
            # Its job was cancelled a moment ago; nobody fills this disk with what no job asks for.
            self.say(session, Credit(length))
            return
        if full := self.janitor.full:  # what is left of the disk is for what runs
            self.say(session, Credit(length))
            self.say(session, Nack(put.sha256, put.offset, full.code, full.text))
            return
        session.spent += length
        session.receiving.add(file)
        self.disk.take(
            file.user, put, payload, lambda reply: self._stored(session, file, length, reply)
        )

    def _stored(self, session: Session, file: Owned, length: int, reply: Message | None) -> None:
        if isinstance(reply, Got):
            session.receiving.discard(file)
            self.ledger.file_arrived(file)

        def answer() -> None:
            session.spent -= length
            self.say(session, Credit(length))
            if reply:
                self.say(session, reply)

        self.pace.after(file.user, length, time.monotonic(), answer)
