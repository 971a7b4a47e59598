"""The daemon's two sockets: binds, authenticates, reads and writes.

Knows nothing of jobs. Used on the daemon's own thread.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
import time
from collections.abc import Hashable, Iterator
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from voidbridge_protocol import keys
from voidbridge_protocol.codec import MAX_HEADER, MAX_REQUEST, Frame, decode, encode
from voidbridge_protocol.errors import BadMessage, RequestError, UnknownKey, VoidbridgeError
from voidbridge_protocol.messages import MAX_CHUNK, Message, Refused
from voidbridge_protocol.receive import receive

from .allowed_keys import OURSELVES, Auth, Identity
from .connections import Connection, Connections, Descriptor
from .descriptors import borrowed
from .endpoints import Endpoints
from .log_limit import LogLimit
from .unsent import USER_BYTES, UnsentBytes

log = logging.getLogger(__name__)

TURN = {False: 64, True: 8}
"""Messages taken from control and bulk before the other's turn, so control never waits behind more than 16 MiB."""
TURN_S = 0.02
"""Seconds of a turn that go into one socket's messages. libzmq takes one of each connection in turn."""
STRIKES, MOST_STRUCK = 8, 4096
"""Malformed messages after which a peer gets no answers, and the maximum number of such peers to remember."""
TRACKED = 1024
"""Bytes of a frame from which on it is counted until it has left. Of smaller ones the queue's length is enough."""
CONTROL_BYTES = 16 << 20
"""Bytes that may wait for one client on its control socket: two of the largest answers."""
EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
LOOK_S, AWAY_S = 1.0, 5.0
"""Seconds between checks for silent connections. If a check is later than AWAY_S, the daemon itself was
suspended and messages are still unread.
"""
ZAP, DOMAIN = "inproc://zeromq.zap.01", b"voidbridge"
KEY = "User-Id"
"""The message property in which libzmq returns the user id of a ZAP answer: here the key."""


class Sent(Enum):
    """The outcome of sending a message."""

    ON_ITS_WAY = "on its way"
    NO_ROOM = "no room"
    """The client is slow; the message was not sent."""
    NOBODY = "nobody"
    """The client is gone."""


class PeerId(NamedTuple):
    """A connection. A routing id alone is not enough, because a peer may choose the id of another socket's."""

    bulk: bool
    route: bytes


class Received(NamedTuple):
    """A message and its sender."""

    line: PeerId
    peer: str
    """The sender's address, for the log."""
    place: Descriptor
    identity: Identity
    message: Message
    payload: Frame | None


class Malformed(NamedTuple):
    """An invalid message, or one from an unauthorized sender."""

    line: PeerId
    peer: str
    error: VoidbridgeError


class Router:
    """Both sockets. Without `auth`, every peer that reaches them is accepted."""

    def __init__(self, addresses: Endpoints, auth: Auth | None, max_unauthenticated: int) -> None:
        """Raises `RequestError` if an address is in use or unavailable."""
        self._auth = auth
        self.announced = addresses.announced
        """The bulk socket's address as clients learn it."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._strikes: dict[PeerId, int] = {}
        self._knocked: set[tuple[bytes, str]] = set()
        self._ration = LogLimit()
        self._connections = Connections(max_unauthenticated)
        self._looked = 0.0
        self._unsent = UnsentBytes()
        self._users: dict[PeerId, str] = {}
        self._places: dict[PeerId, Descriptor] = {}
        if auth:  # before the sockets: without it libzmq would accept every key
            self._knocks = self._context.socket(zmq.REP)
            self._knocks.linger = 0
            self._knocks.bind(ZAP)
        self._sockets = {
            False: self._bind(addresses.control, MAX_REQUEST),
            True: self._bind(addresses.bulk, MAX_CHUNK),
        }
        self._doorbells = {
            bulk: end.get_monitor_socket(EVENTS) for bulk, end in self._sockets.items()
        }
        with_keys = " with keys" if auth else ""
        log.info("listening on %s%s", addresses.control, with_keys)

    def close(self) -> None:
        for end in self._sockets.values():
            end.disable_monitor()  # otherwise the context waits forever
        self._context.destroy(linger=200)

    def register(self, poller: zmq.Poller) -> None:
        knocks = [self._knocks] if self._auth else []
        for end in (*self._sockets.values(), *self._doorbells.values(), *knocks):
            poller.register(end, zmq.POLLIN)

    def receive(self) -> Iterator[Received | Malformed]:
        """Yields a bounded number of messages from both sockets."""
        self._answer_zap_requests()
        self._accept_connections()
        for bulk, end in self._sockets.items():
            until = time.monotonic() + TURN_S
            for _ in range(TURN[bulk]):
                if time.monotonic() > until:
                    break
                try:
                    route, *frames = receive(end)
                except zmq.Again:
                    break
                line, peer = PeerId(bulk, route.bytes), _address(route)
                if self._strikes.get(line, 0) >= STRIKES:
                    continue
                try:
                    identity = self._identity(route)
                    peer = f"{identity.user}@{peer}" if identity.user else peer
                    received = decode([frame.buffer for frame in frames])
                    place = Descriptor(bulk, int(route.get(zmq.SRCFD)))
                    yield Received(line, peer, place, identity, *received)
                except VoidbridgeError as error:
                    yield Malformed(line, peer, error)

    def mark_authenticated(self, received: Received) -> None:
        """Marks the connection of a valid message as authenticated."""
        self._connections.authenticated(received.place, time.monotonic())
        if received.line in self._users:
            self._places[received.line] = received.place

    def refusal(self, line: PeerId, peer: str, error: VoidbridgeError) -> Refused:
        """Returns the answer to an error. A peer with too many malformed messages is ignored from then on."""
        if isinstance(error, BadMessage):
            if len(self._strikes) > MOST_STRUCK:
                self._strikes.clear()
            self._strikes[line] = self._strikes.get(line, 0) + 1
        self.log_peer(peer, f"refused: {error.text}", code=error.code)
        return Refused(error.code, error.text, error.hint)

    def send(self, line: PeerId, message: Message, payload: Frame | None = None) -> bool:
        """Returns True if this client is still there and may continue."""
        sent = self.try_send(line, message, payload)
        # On control a lost message is harmless, because `query` returns the whole state. Nothing on bulk is
        # repeated, so there the client has to reconnect.
        return sent is Sent.ON_ITS_WAY or (sent is Sent.NO_ROOM and not line.bulk)

    def try_send(self, line: PeerId, message: Message, payload: Frame | None = None) -> Sent:
        """Sends at once or not at all."""
        frames = encode(message, payload)
        size = sum(len(frame) for frame in frames if len(frame) >= TRACKED)
        if size and not line.bulk and not self.has_room(line, size):
            return Sent.NO_ROOM
        last = zmq.Frame(frames[-1], copy=False, track=True) if size else frames[-1]
        try:
            parts = [line.route, *frames[:-1], last]
            self._sockets[line.bulk].send_multipart(parts, zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return Sent.NO_ROOM
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return Sent.NOBODY
        if isinstance(last, zmq.Frame) and last.tracker:
            user = self._users.get(line, "")
            self._unsent.add(line, user, size, last.tracker, time.monotonic())
        return Sent.ON_ITS_WAY

    def assign(self, line: PeerId, user: str) -> None:
        """From now on this connection is one of `user`'s."""
        self._users[line] = user

    def forget(self, line: PeerId) -> None:
        """Nobody is served on this connection any more."""
        self._users.pop(line, None)
        self._places.pop(line, None)

    def has_room(self, line: PeerId, size: int) -> bool:
        """Whether `size` bytes more may wait for this client on its control socket."""
        waiting, of_user = self.unsent(line)
        return waiting + size <= CONTROL_BYTES and of_user + size <= USER_BYTES

    def unsent(self, line: PeerId) -> tuple[int, int]:
        """Bytes that wait for this connection, and for all connections of its user."""
        waiting = self._unsent.of_line(line, time.monotonic())
        return waiting, self._unsent.of_user(self._users.get(line, ""))

    def is_allowed(self, identity: Identity) -> bool:
        """Returns True if an accepted client may stay."""
        return not self._auth or self._auth.allowed.identity(identity.key) == identity

    def log_peer(self, peer: str, text: str, level: int = logging.INFO, **fields: object) -> None:
        """Writes a log line that an outside peer causes; after too many, lines are only counted."""
        if self._ration.allows(peer):
            log.log(level, "%s", text, extra={**fields, "peer": peer})

    def tick(self, now: float) -> None:
        """Call it often."""
        for peer, lines in self._ration.suppressed(now):
            log.warning("%d lines were not written", lines, extra={"peer": peer})
        if now - self._looked > LOOK_S:
            if now - self._looked > AWAY_S:
                self._connections.restart_deadlines(now)
            self._looked = now
            for connection in self._connections.overdue(now):
                _disconnect(connection)
            for line in self._unsent.stalled(now):
                self._close(line)

    def _close(self, line: Hashable) -> None:
        """Ends a connection that takes nothing, which frees what waits for it."""
        place = self._places.pop(line, None) if isinstance(line, PeerId) else None
        if place and (connection := self._connections.get(place)):
            self.log_peer(connection.address, "a client takes nothing: its connection is closed")
            _disconnect(connection)

    # -- who is there -------------------------------------------------------------------------------

    def _accept_connections(self) -> None:
        for bulk, bell in self._doorbells.items():
            while bell.poll(0):
                event = recv_monitor_message(bell)
                place = Descriptor(bulk, int(event["value"]))
                if event["event"] == zmq.EVENT_ACCEPTED:
                    self._register(place)
                else:
                    self._connections.closed(place)

    def _register(self, place: Descriptor) -> None:
        try:
            with borrowed(place.descriptor) as end:
                address = str(end.getpeername()[0]) if end.family != socket.AF_UNIX else ""
                mark = os.fstat(end.fileno()).st_ino
        except OSError:
            return  # already closed; on Windows a connection is no descriptor, and stays
        for connection in self._connections.opened(
            Connection(place, mark, address, time.monotonic())
        ):
            self.log_peer(
                connection.address, "too many connections before a hello: the oldest is closed"
            )
            _disconnect(connection)

    # -- who is let in ------------------------------------------------------------------------------

    def _identity(self, frame: zmq.Frame) -> Identity:
        """Returns the user of this message's key. Raises `UnknownKey` if the key was revoked."""
        if not self._auth:
            return OURSELVES
        identity = self._auth.allowed.identity(str(frame.get(KEY)))
        if identity is None:
            raise UnknownKey("the key of this client is no longer allowed")
        return identity

    def _answer_zap_requests(self) -> None:
        """Answers ZAP requests (RFC 27): libzmq asks about every peer after the CURVE handshake."""
        while self._auth:
            try:
                version, number, _, address, _, mechanism, *credentials = (
                    self._knocks.recv_multipart(zmq.NOBLOCK)
                )
            except zmq.Again:
                return
            key = ""
            if mechanism == b"CURVE" and len(credentials) == 1 and len(credentials[0]) == 32:
                key = z85.encode(credentials[0]).decode()
            if self._auth.allowed.identity(key):
                answer = [b"200", b"OK", key.encode(), b""]
            else:
                answer = [b"400", b"this key is not allowed", b"", b""]
                self._log_refused_key(address, key)
            self._knocks.send_multipart([version, number, *answer])

    def _log_refused_key(self, address: bytes, key: str) -> None:
        """Logs each refused key once."""
        if (address, key) not in self._knocked:
            if len(self._knocked) >= MOST_STRUCK:
                self._knocked.clear()
            self._knocked.add((address, key))
            peer = address.decode("ascii", "replace")
            self.log_peer(peer, f"refused the key {key}", logging.WARNING)

    # -- binding ------------------------------------------------------------------------------------

    def _bind(self, address: str, largest: int) -> zmq.Socket[bytes]:
        router = self._context.socket(zmq.ROUTER)
        router.linger = 0
        router.ipv6 = "[" in address
        router.router_mandatory = True  # otherwise a message without space is dropped silently
        router.maxmsgsize = max(largest, MAX_HEADER) + keys.ADDED
        router.sndhwm = router.rcvhwm = 1000 if largest > MAX_CHUNK else 256
        router.handshake_ivl = 5000
        _enable_keepalive(router)
        if self._auth:
            router.curve_server = True
            router.curve_secretkey = self._auth.own.secret.encode()
            router.zap_domain = DOMAIN
        try:
            if address.startswith("ipc://"):
                _bind_privately(router, Path(address.removeprefix("ipc://")))
            else:
                router.bind(address)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise RequestError(
                f"cannot listen on {address}: {error}",
                "Stop the daemon that has this address, or choose another with --listen.",
            ) from error
        return router


def _disconnect(connection: Connection) -> None:
    """Shuts a connection down; libzmq notices and closes it."""
    with suppress(OSError), borrowed(connection.place.descriptor) as end:
        if (
            os.fstat(end.fileno()).st_ino == connection.mark
        ):  # otherwise the descriptor already belongs to another connection
            end.shutdown(socket.SHUT_RDWR)


def _address(frame: zmq.Frame) -> str:
    """Returns a message's source address; a Unix socket has none."""
    try:
        return str(frame.get("Peer-Address"))
    except zmq.ZMQError:
        return "local"


def _enable_keepalive(router: zmq.Socket[bytes]) -> None:
    """Enables TCP keepalive: a machine without power closes no connection, so it would stay forever.

    It uses the system's own probes, because ZMTP's fail behind a long frame.
    """
    router.tcp_keepalive = 1
    router.tcp_keepalive_idle, router.tcp_keepalive_intvl, router.tcp_keepalive_cnt = 30, 10, 3
    router.tcp_maxrt = 60_000


def _bind_privately(router: zmq.Socket[bytes], path: Path) -> None:
    """Binds a Unix socket that only its user can open, from the first moment, in an equally private folder."""
    if str(path).startswith("@"):
        raise RequestError(
            "an abstract Unix socket has no permissions: every user of the machine could open it",
            "Use a path, as ipc:///run/user/1000/voidbridge/ctl.",
        )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = path.parent.stat()
    except OSError as error:
        raise RequestError(
            f"cannot listen on ipc://{path}: {error.strerror}", "Choose another folder."
        ) from error
    if folder.st_uid != os.geteuid() or stat.S_IMODE(folder.st_mode) & 0o077:
        raise RequestError(
            f"{path.parent} can be entered by other users of this machine, and a daemon without keys "
            "accepts every client that reaches its socket",
            f"Run: chmod 700 {path.parent}, or choose a private folder.",
        )
    if _is_served(path):
        raise zmq.ZMQError(errno.EADDRINUSE)  # libzmq would take it from its daemon
    before = os.umask(0o177)
    try:
        router.bind(f"ipc://{path}")
    finally:
        os.umask(before)


def _is_served(path: Path) -> bool:
    """Returns True if a daemon listens on this Unix socket, rather than a killed one having left it."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
