"""Holds replies about a job until the job table is on disk: one fsync for all changes of a turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from voidbridge_protocol.errors import SpoolFull
from voidbridge_protocol.wire.codec import Frame
from voidbridge_protocol.wire.messages import Message, Refused

from .router import PeerId

TABLE_FULL = SpoolFull("the daemon's disk is full: it cannot store the state of its jobs")


class _Held(NamedTuple):
    peer_id: PeerId
    message: Message
    payload: Frame | None
    uncommitted: bool
    """True if it depends on uncommitted changes; False if it only follows such a reply."""


class Replies:
    """All messages on the control socket pass through here, so each client receives them in order."""

    def __init__(
        self,
        send: Callable[[PeerId, Message, Frame | None], None],
        is_committed: Callable[[str], bool],
    ) -> None:
        """`is_committed` returns True if everything about a job is on disk."""
        self._send = send
        self._is_committed = is_committed
        self._held: list[_Held] = []
        self._waiting: set[PeerId] = set()

    def send(self, peer_id: PeerId, message: Message, payload: Frame | None = None) -> None:
        """Sends at once if possible: a question about one job does not wait for the disk because of another."""
        job = getattr(message, "job", "")
        uncommitted = bool(job) and not self._is_committed(job)
        if uncommitted or peer_id in self._waiting:
            self._held.append(_Held(peer_id, message, payload, uncommitted))
            self._waiting.add(peer_id)
        else:
            self._send(peer_id, message, payload)

    def release(self, committed: bool) -> None:
        """Sends held replies. Without `committed`, each waiting client gets the reason, once."""
        held, self._held = self._held, []
        self._waiting.clear()
        told: set[PeerId] = set()
        for peer_id, message, payload, uncommitted in held:
            if committed or not uncommitted:
                self._send(peer_id, message, payload)
            elif peer_id not in told:
                told.add(peer_id)
                self._send(
                    peer_id, Refused(TABLE_FULL.code, TABLE_FULL.text, TABLE_FULL.hint), None
                )
