"""Who is connected: which routes of the two sockets belong to which client, and what it watches."""

from __future__ import annotations

from dataclasses import dataclass, field

from voidbridge_protocol.errors import UnknownSession
from voidbridge_protocol.messages import Hello

from .spool import Owned


@dataclass
class Session:
    """One client, over however many connections."""

    user: str
    control: bytes
    heard: float
    """When it last said something, in seconds of a monotonic clock."""
    bulk: bytes = b""
    spent: int = 0
    """Payload bytes on their way to the disk: never above the window."""
    watching: set[str] = field(default_factory=set)
    """Jobs whose news this client wants."""
    receiving: set[Owned] = field(default_factory=set)
    """Files that this client is sending."""


class Sessions:
    """Every client by the name it drew for itself, and by the routes of its sockets."""

    def __init__(self) -> None:
        self._named: dict[str, Session] = {}
        self._routes: dict[bytes, str] = {}

    def hello(self, hello: Hello, route: bytes, now: float) -> set[Owned]:
        """A client introduces itself, perhaps once more, on new sockets. Returns as `gone` does."""
        left: set[Owned] = set()
        if old := self._named.get(hello.session):
            left = self.gone(old.control)
        self._named[hello.session] = Session(hello.user, route, now)
        self._routes[route] = hello.session
        return left

    def attach(self, name: str, route: bytes) -> Session:
        """The bulk socket of a client that said hello before. Raises `UnknownSession`."""
        session = self._named.get(name)
        if session is None:
            raise UnknownSession("the daemon does not know this session")
        self._routes.pop(session.bulk, None)
        session.bulk = route
        self._routes[route] = name
        return session

    def of(self, route: bytes, now: float) -> Session:
        """Who speaks here. Raises `UnknownSession`."""
        session = self._named.get(self._routes.get(route, ""))
        if session is None:
            raise UnknownSession("the daemon does not know this connection")
        session.heard = now
        return session

    def silent(self, since: float) -> list[bytes]:
        """The control routes of clients that have said nothing since then."""
        return [session.control for session in self._named.values() if session.heard < since]

    def __len__(self) -> int:
        """Clients that are here."""
        return len(self._named)

    def watching(self, job: str) -> list[Session]:
        return [session for session in self._named.values() if job in session.watching]

    def gone(self, route: bytes) -> set[Owned]:
        """The client behind this route has left. Returns the files that nobody sends any more."""
        name = self._routes.pop(route, None)
        session = self._named.get(name) if name else None
        if session is None or name is None:
            return set()
        if session.control == route:
            del self._named[name]
            self._routes.pop(session.bulk, None)
        left, session.receiving = session.receiving, set()
        return {
            file
            for file in left
            if not any(file in other.receiving for other in self._named.values())
        }
