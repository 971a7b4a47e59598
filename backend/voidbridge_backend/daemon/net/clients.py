"""Sends to connected clients in order, and forgets those that are gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from voidbridge_backend.daemon.store.spool import UserFile
from voidbridge_protocol.errors import VoidbridgeError
from voidbridge_protocol.wire.codec import Frame
from voidbridge_protocol.wire.messages import Message

from .replies import Replies
from .router import PeerId, Router
from .sessions import Session, Sessions

FORGET_S = 60.0
"""Seconds of silence after which a client is forgotten; it should ping every two seconds."""


class Clients:
    """The sessions of all clients and their connections. Used on the daemon's own thread."""

    def __init__(
        self, router: Router, most_clients: int, is_committed: Callable[[str], bool]
    ) -> None:
        """`most_clients` of one user at once. `is_committed` tells if everything about a job is on disk."""
        self.router = router
        self.sessions = Sessions(most_clients)
        self._replies = Replies(self.send_now, is_committed)
        self.on_left: Callable[[Iterable[UserFile]], None] = lambda files: None
        """Receives the files that no connected client sends any more."""

    def send(self, peer_id: PeerId, message: Message, payload: Frame | None = None) -> None:
        """Control messages wait until their job is on disk; bulk messages go out at once."""
        (self.send_now if peer_id.bulk else self._replies.send)(peer_id, message, payload)

    def send_now(self, peer_id: PeerId, message: Message, payload: Frame | None = None) -> None:
        if not self.router.send(peer_id, message, payload):
            self.disconnect(peer_id)

    def send_bulk(self, session: Session, message: Message, payload: Frame | None = None) -> None:
        if session.bulk:  # otherwise the connection was lost meanwhile
            self.send_now(session.bulk, message, payload)

    def refuse(self, peer_id: PeerId, sender: str, error: VoidbridgeError) -> None:
        self.send(peer_id, self.router.refusal(peer_id, sender, error))

    def release_replies(self, committed: bool) -> None:
        """Sends held replies. Without `committed`, each waiting client gets the reason, once."""
        self._replies.release(committed)

    def unsent(self, session: Session) -> tuple[int, int]:
        """Returns the bytes that wait on a client's bulk socket, and for all clients of its user."""
        return self.router.unsent(session.bulk) if session.bulk else (0, 0)

    def is_watched(self, job: str) -> bool:
        """Returns True if a connected client watches this job."""
        return bool(self.sessions.watching(job))

    def disconnect(self, peer_id: PeerId) -> None:
        """Forgets a client, which has to say hello again; its files stay."""
        for each in self.sessions.peer_ids_of(peer_id):
            self.router.forget(each)
        self.on_left(self.sessions.disconnected(peer_id))

    def forget_silent(self, now: float) -> None:
        """Forgets silent clients and those whose key is no longer allowed."""
        for peer_id in self.sessions.expired(now - FORGET_S, self.router.is_allowed):
            self.disconnect(peer_id)
