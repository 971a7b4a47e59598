"""Holds replies about a job until the job table is on disk: one fsync for all changes of a turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from voidbridge_protocol.codec import Frame
from voidbridge_protocol.errors import SpoolFull
from voidbridge_protocol.messages import Message, Refused

from .router import PeerId

TABLE_FULL = SpoolFull("the daemon's disk is full: it cannot store the state of its jobs")


class _Held(NamedTuple):
    line: PeerId
    message: Message
    payload: Frame | None
    unsettled: bool
    """True if it depends on uncommitted changes; False if it only follows such a reply."""


class Replies:
    """All messages on the control socket pass through here, so each client receives them in order."""

    def __init__(
        self,
        send: Callable[[PeerId, Message, Frame | None], None],
        is_settled: Callable[[str], bool],
    ) -> None:
        """`is_settled` returns True if everything about a job is on disk."""
        self._send = send
        self._is_settled = is_settled
        self._held: list[_Held] = []
        self._waiting: set[PeerId] = set()

    def send(self, line: PeerId, message: Message, payload: Frame | None = None) -> None:
        """Sends at once if possible: a question about one job does not wait for the disk because of another."""
        job = getattr(message, "job", "")
        unsettled = bool(job) and not self._is_settled(job)
        if unsettled or line in self._waiting:
            self._held.append(_Held(line, message, payload, unsettled))
            self._waiting.add(line)
        else:
            self._send(line, message, payload)

    def release(self, settled: bool) -> None:
        """Sends held replies. Without `settled`, each waiting client gets the reason, once."""
        held, self._held = self._held, []
        self._waiting.clear()
        told: set[PeerId] = set()
        for line, message, payload, unsettled in held:
            if settled or not unsettled:
                self._send(line, message, payload)
            elif line not in told:
                told.add(line)
                self._send(line, Refused(TABLE_FULL.code, TABLE_FULL.text, TABLE_FULL.hint), None)
