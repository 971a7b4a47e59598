"""What is said of a job waits until that is in the job table, on disk: one fsync for all that a turn changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from voidbridge_protocol.codec import Frame
from voidbridge_protocol.errors import SpoolFull
from voidbridge_protocol.messages import Message, Refused

from .router import PeerId

TABLE_FULL = SpoolFull("the daemon's disk is full: it cannot write down how its jobs stand")


class _Held(NamedTuple):
    line: PeerId
    message: Message
    payload: Frame | None
    unsettled: bool
    """Or it only follows what is."""


class Replies:
    """Everything that is said on the control socket passes through here: each client hears it in its order."""

    def __init__(
        self,
        send: Callable[[PeerId, Message, Frame | None], None],
        is_settled: Callable[[str], bool],
    ) -> None:
        """`is_settled` says whether everything about a job is on disk."""
        self._send = send
        self._is_settled = is_settled
        self._held: list[_Held] = []
        self._waiting: set[PeerId] = set()

    def send(self, line: PeerId, message: Message, payload: Frame | None = None) -> None:
        """At once when it can be: who asks about one job does not wait for the disk because of another."""
        job = getattr(message, "job", "")
        unsettled = bool(job) and not self._is_settled(job)
        if unsettled or line in self._waiting:
            self._held.append(_Held(line, message, payload, unsettled))
            self._waiting.add(line)
        else:
            self._send(line, message, payload)

    def release(self, settled: bool) -> None:
        """Says what was held; if it is not `settled`, each client that waits for the table hears why, once."""
        held, self._held = self._held, []
        self._waiting.clear()
        told: set[PeerId] = set()
        for line, message, payload, unsettled in held:
            if settled or not unsettled:
                self._send(line, message, payload)
            elif line not in told:
                told.add(line)
                self._send(line, Refused(TABLE_FULL.code, TABLE_FULL.text, TABLE_FULL.hint), None)
