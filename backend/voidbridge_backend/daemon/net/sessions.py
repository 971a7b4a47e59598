"""Maps clients to their connections on the two sockets, and to the jobs that they watch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from voidbridge_backend.daemon.store.spool import UserFile
from voidbridge_protocol.errors import TooMany, UnknownSession
from voidbridge_protocol.wire.messages import Get

from .allowed_keys import Identity
from .router import PeerId


@dataclass
class JobList:
    """A list of jobs on its way to a client: the remaining jobs, in one flat queue."""

    jobs: deque[str]
    told: int = 0


@dataclass
class Session:
    """One client, over all its connections."""

    user: str
    """Owner of its jobs."""
    identity: Identity
    control: PeerId
    last_heard: float
    """Time of its last message, in seconds of a monotonic clock."""
    bulk: PeerId | None = None
    spent: int = 0
    """Payload bytes of this client on their way to the disk, at most the window."""
    importing: int = 0
    """Number of unanswered imports."""
    gets: deque[Get] = field(default_factory=deque)
    """Requested pieces of results that wait for room."""
    reading: int = 0
    """Bytes of results that are being read for this client."""
    watching: set[str] = field(default_factory=set)
    """Jobs that this client watches."""
    receiving: set[UserFile] = field(default_factory=set)
    """Files that this client is sending."""
    offered: dict[UserFile, int] = field(default_factory=dict)
    """Files for a job that this client is going to submit, with their sizes in bytes."""
    is_submitting: bool = False
    """True while a request of this client is being read, or waits for room."""
    job_list: JobList | None = None
    """The list that this client requested and has not fully received."""

    @property
    def sees(self) -> str | None:
        """Returns the user whose jobs this client sees; None for all jobs."""
        return None if self.identity.admin else self.user


class Sessions:
    """Every client by its session id and by its connections."""

    def __init__(self, most: int) -> None:
        """Allows `most` clients of one user at once."""
        self._most = most
        self._named: dict[str, Session] = {}
        self._names: dict[PeerId, str] = {}

    def hello(
        self, name: str, user: str, identity: Identity, peer_id: PeerId, now: float
    ) -> set[UserFile]:
        """Registers a client, possibly again on new sockets. Returns the same as `disconnected`.

        Raises `TooMany`, and `UnknownSession` if the session was begun with another key.
        """
        left: set[UserFile] = set()
        if old := self._named.get(name):
            if old.identity != identity:
                raise UnknownSession("the daemon does not know this session")
            left = self.disconnected(old.control)
        if self.is_full(user):
            raise TooMany(
                f"{self._most} clients of {user} are connected; this daemon allows no more"
            )
        self._named[name] = Session(user, identity, peer_id, now)
        self._names[peer_id] = name
        return left

    def is_full(self, user: str) -> bool:
        return len(self.of_user(user)) >= self._most

    def of_user(self, user: str) -> list[PeerId]:
        """Returns the control connections of a user's clients, some of which may be closed."""
        return [session.control for session in self._named.values() if session.user == user]

    def join_bulk(self, name: str, peer_id: PeerId, identity: Identity) -> Session:
        """Registers the bulk connection of a known client. Raises `UnknownSession`."""
        session = self._named.get(name)
        if session is None or session.identity != identity or not peer_id.bulk:
            raise UnknownSession("the daemon does not know this session")
        if session.bulk:
            self._names.pop(session.bulk, None)
        session.gets.clear()  # the client asks again on its new connection
        session.bulk = peer_id
        self._names[peer_id] = name
        return session

    def of(self, peer_id: PeerId, identity: Identity, now: float) -> Session:
        """Returns the client of this connection. Raises `UnknownSession`."""
        session = self._named.get(self._names.get(peer_id, ""))
        if session is None or session.identity != identity:
            raise UnknownSession("the daemon does not know this connection")
        session.last_heard = now
        return session

    def expired(self, since: float, may_stay: Callable[[Identity], bool]) -> list[PeerId]:
        """Returns the control connections of clients that are silent since then, or may not stay."""
        return [
            session.control
            for session in self._named.values()
            if session.last_heard < since or not may_stay(session.identity)
        ]

    def __len__(self) -> int:
        """Number of connected clients."""
        return len(self._named)

    def watching(self, job: str) -> list[Session]:
        return [session for session in self._named.values() if job in session.watching]

    def watched(self) -> dict[str, list[Session]]:
        """Returns every watched job with its watchers."""
        found: dict[str, list[Session]] = {}
        for session in self._named.values():
            for job in session.watching:
                found.setdefault(job, []).append(session)
        return found

    def peer_ids_of(self, peer_id: PeerId) -> list[PeerId]:
        """Returns every connection of the client with this control connection."""
        session = self._named.get(self._names.get(peer_id, ""))
        if session is None:
            return []
        return [session.control, *((session.bulk,) if session.bulk else ())]

    def disconnected(self, peer_id: PeerId) -> set[UserFile]:
        """Removes a client by its connection. Returns the files that nobody sends any more."""
        name = self._names.pop(peer_id, None)
        session = self._named.get(name) if name else None
        if session is None or name is None:
            return set()
        if session.control == peer_id:
            del self._named[name]
            if session.bulk:
                self._names.pop(session.bulk, None)
        session.job_list = None
        session.gets.clear()
        left, session.receiving = session.receiving, set()
        return {
            file
            for file in left
            if not any(file in other.receiving for other in self._named.values())
        }
