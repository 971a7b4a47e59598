"""The daemon's two sockets: binds, authenticates, reads and writes.

Knows nothing of jobs. Used on the daemon's own thread.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Hashable, Iterator
from contextlib import suppress
from enum import Enum
from typing import NamedTuple

import zmq
from zmq.utils import z85

from voidbridge_backend.daemon.log_limit import LogLimit
from voidbridge_protocol.errors import BadMessage, RequestError, UnknownKey, VoidbridgeError
from voidbridge_protocol.wire.codec import MAX_REQUEST, Frame, decode, encode
from voidbridge_protocol.wire.messages import MAX_CHUNK, Message, Refused
from voidbridge_protocol.wire.receive import receive, receive_event

from .allowed_keys import NO_KEY, Auth, Identity
from .connections import Connection, Connections, Descriptor
from .descriptors import borrowed
from .endpoints import Endpoints
from .listening_socket import listening_socket
from .unsent import USER_BYTES, UnsentBytes

log = logging.getLogger(__name__)

TURN = {False: 64, True: 8}
"""Messages taken from the control (False) and the bulk socket (True) before the other's turn.

Control therefore never waits behind more than 16 MiB.
"""
TURN_S = 0.02
"""Maximum seconds of a turn for one socket's messages. libzmq takes one message of each connection in turn."""
VIOLATIONS, MOST_VIOLATORS = 8, 4096
"""A peer gets no answers after so many malformed messages. So many such peers are remembered."""
TRACKED = 1024
"""Frames of at least so many bytes are counted until they have left. The queue's length limits smaller ones."""
CONTROL_BYTES = 16 << 20
"""Bytes that may wait for one client on its control socket: two of the largest answers."""
EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
CHECK_S, SUSPENDED_S = 1.0, 5.0
"""Seconds between checks for silent connections. If a check comes later than SUSPENDED_S, the daemon itself was
suspended, and messages are still unread.
"""
ZAP = "inproc://zeromq.zap.01"
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
    """The router's name for one connection of a client.

    A routing id alone is not enough, because a peer may choose an id that the other socket uses.
    """

    bulk: bool
    route: bytes


class Received(NamedTuple):
    """A message and its sender."""

    peer_id: PeerId
    sender: str
    """User and address, for the log."""
    descriptor: Descriptor
    identity: Identity
    message: Message
    payload: Frame | None


class Malformed(NamedTuple):
    """An invalid message, or one from an unauthorized sender."""

    peer_id: PeerId
    sender: str
    error: VoidbridgeError


class Router:
    """Owns both sockets. Without `auth` it accepts every peer that reaches them."""

    def __init__(self, addresses: Endpoints, auth: Auth | None, max_unauthenticated: int) -> None:
        """Raises `RequestError` if an address is in use or unavailable."""
        self._auth = auth
        self.announced = addresses.announced
        """The bulk socket's address as clients learn it."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._violations: dict[PeerId, int] = {}
        self._refused_keys: set[tuple[bytes, str]] = set()
        self._log_limit = LogLimit()
        self._connections = Connections(max_unauthenticated)
        self._checked = 0.0
        self._unsent = UnsentBytes()
        self.large = 0
        """Number of messages with a large frame that came or went since the start."""
        self._users: dict[PeerId, str] = {}
        self._descriptors: dict[PeerId, Descriptor] = {}
        if auth:  # before the sockets: without it libzmq would accept every key
            self._zap_requests = self._context.socket(zmq.REP)
            self._zap_requests.linger = 0
            self._zap_requests.bind(ZAP)
        self._sockets = {
            False: self._bound(addresses.control, MAX_REQUEST),
            True: self._bound(addresses.bulk, MAX_CHUNK),
        }
        self._monitors = {
            bulk: end.get_monitor_socket(EVENTS) for bulk, end in self._sockets.items()
        }
        with_keys = " with keys" if auth else ""
        log.info("listening on %s%s", addresses.control, with_keys)

    def _bound(self, address: str, largest: int) -> zmq.Socket[bytes]:
        try:
            return listening_socket(self._context, address, largest, self._auth)
        except RequestError:
            self._context.destroy(linger=0)
            raise

    def close(self) -> None:
        for end in self._sockets.values():
            end.disable_monitor()  # otherwise the context waits forever
        self._context.destroy(linger=200)

    def register(self, poller: zmq.Poller) -> None:
        zap_requests = [self._zap_requests] if self._auth else []
        for end in (*self._sockets.values(), *self._monitors.values(), *zap_requests):
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
                peer_id, sender = PeerId(bulk, route.bytes), _address(route)
                if self._violations.get(peer_id, 0) >= VIOLATIONS:
                    continue
                try:
                    identity = self._identity(route)
                    sender = f"{identity.user}@{sender}" if identity.user else sender
                    self.large += len(frames) > 1 and len(frames[-1]) >= TRACKED
                    received = decode([frame.buffer for frame in frames])
                    descriptor = Descriptor(bulk, int(route.get(zmq.SRCFD)))
                    yield Received(peer_id, sender, descriptor, identity, *received)
                except VoidbridgeError as error:
                    yield Malformed(peer_id, sender, error)

    def mark_authenticated(self, received: Received) -> None:
        """Marks the connection of a valid message as authenticated."""
        self._connections.authenticated(received.descriptor, time.monotonic())
        if received.peer_id in self._users:
            self._descriptors[received.peer_id] = received.descriptor

    def refusal(self, peer_id: PeerId, sender: str, error: VoidbridgeError) -> Refused:
        """Returns the answer to an error. A peer with too many malformed messages is ignored from then on."""
        if isinstance(error, BadMessage):
            if len(self._violations) > MOST_VIOLATORS:
                self._violations.clear()
            self._violations[peer_id] = self._violations.get(peer_id, 0) + 1
        self.log_peer(sender, f"refused: {error.text}", code=error.code)
        return Refused(error.code, error.text, error.hint)

    def send(self, peer_id: PeerId, message: Message, payload: Frame | None = None) -> bool:
        """Returns True if this client is still there and may continue."""
        sent = self.try_send(peer_id, message, payload)
        # On control a lost message is harmless, because `query` returns the whole state. Nothing on bulk is
        # repeated, so there the client has to reconnect.
        return sent is Sent.ON_ITS_WAY or (sent is Sent.NO_ROOM and not peer_id.bulk)

    def try_send(self, peer_id: PeerId, message: Message, payload: Frame | None = None) -> Sent:
        """Sends at once or not at all."""
        frames = encode(message, payload)
        size = sum(len(frame) for frame in frames if len(frame) >= TRACKED)
        if size and not peer_id.bulk and not self.has_room(peer_id, size):
            return Sent.NO_ROOM
        self.large += size > 0
        last = zmq.Frame(frames[-1], copy=False, track=True) if size else frames[-1]
        try:
            parts = [peer_id.route, *frames[:-1], last]
            self._sockets[peer_id.bulk].send_multipart(parts, zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return Sent.NO_ROOM
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return Sent.NOBODY
        if isinstance(last, zmq.Frame) and last.tracker:
            user = self._users.get(peer_id, "")
            self._unsent.add(peer_id, user, size, last.tracker, time.monotonic())
        return Sent.ON_ITS_WAY

    def assign(self, peer_id: PeerId, user: str) -> None:
        """Notes that this connection belongs to `user`."""
        self._users[peer_id] = user

    def forget(self, peer_id: PeerId) -> None:
        """Forgets the user of a connection whose client is gone."""
        self._users.pop(peer_id, None)
        self._descriptors.pop(peer_id, None)

    def has_room(self, peer_id: PeerId, size: int) -> bool:
        """Returns True if `size` more bytes may wait for this client on its control socket."""
        waiting, of_user = self.unsent(peer_id)
        return waiting + size <= CONTROL_BYTES and of_user + size <= USER_BYTES

    def unsent(self, peer_id: PeerId) -> tuple[int, int]:
        """Returns the bytes that wait for this connection, and for all connections of its user."""
        waiting = self._unsent.of_peer(peer_id, time.monotonic())
        return waiting, self._unsent.of_user(self._users.get(peer_id, ""))

    def is_allowed(self, identity: Identity) -> bool:
        """Returns True if an accepted client may stay."""
        return not self._auth or self._auth.allowed.identity(identity.key) == identity

    def log_peer(self, sender: str, text: str, level: int = logging.INFO, **fields: object) -> None:
        """Writes a log line that an outside peer causes; after too many, lines are only counted."""
        if self._log_limit.allows(sender):
            log.log(level, "%s", text, extra={**fields, "peer": sender})

    def tick(self, now: float) -> None:
        """Writes counted log lines and closes silent or stalled connections. Call it often."""
        for sender, lines in self._log_limit.suppressed(now):
            log.warning("%d lines were not written", lines, extra={"peer": sender})
        if now - self._checked > CHECK_S:
            if now - self._checked > SUSPENDED_S:
                self._connections.restart_deadlines(now)
            self._checked = now
            for connection in self._connections.overdue(now):
                _disconnect(connection)
            for peer_id in self._unsent.stalled(now):
                self._close(peer_id)

    def _close(self, peer_id: Hashable) -> None:
        """Ends a connection that takes nothing. This frees the memory of its waiting messages."""
        descriptor = self._descriptors.pop(peer_id, None) if isinstance(peer_id, PeerId) else None
        if descriptor and (connection := self._connections.get(descriptor)):
            self.log_peer(connection.address, "a client takes nothing: its connection is closed")
            _disconnect(connection)

    # -- open connections ----------------------------------------------------------------------------

    def _accept_connections(self) -> None:
        for bulk, monitor in self._monitors.items():
            while monitor.poll(0):
                event, number = receive_event(monitor)
                descriptor = Descriptor(bulk, number)
                if event == zmq.EVENT_ACCEPTED:
                    self._register(descriptor)
                else:
                    self._connections.closed(descriptor)

    def _register(self, descriptor: Descriptor) -> None:
        try:
            with borrowed(descriptor.number) as end:
                address = str(end.getpeername()[0]) if end.family != socket.AF_UNIX else ""
                mark = os.fstat(end.fileno()).st_ino
        except OSError:
            return  # already closed; on Windows a connection is no descriptor, and stays
        for connection in self._connections.opened(
            Connection(descriptor, mark, address, time.monotonic())
        ):
            self.log_peer(
                connection.address, "too many connections before a hello: the oldest is closed"
            )
            _disconnect(connection)

    # -- authentication --------------------------------------------------------------------------------

    def _identity(self, frame: zmq.Frame) -> Identity:
        """Returns the user of this message's key. Raises `UnknownKey` if the key was revoked."""
        if not self._auth:
            return NO_KEY
        identity = self._auth.allowed.identity(str(frame.get(KEY)))
        if identity is None:
            raise UnknownKey("the key of this client is no longer allowed")
        return identity

    def _answer_zap_requests(self) -> None:
        """Answers ZAP requests (RFC 27): libzmq asks about every peer after the CURVE handshake."""
        while self._auth:
            try:
                version, number, _, address, _, mechanism, *credentials = (
                    self._zap_requests.recv_multipart(zmq.NOBLOCK)
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
            self._zap_requests.send_multipart([version, number, *answer])

    def _log_refused_key(self, address: bytes, key: str) -> None:
        """Logs each refused key once."""
        if (address, key) not in self._refused_keys:
            if len(self._refused_keys) >= MOST_VIOLATORS:
                self._refused_keys.clear()
            self._refused_keys.add((address, key))
            sender = address.decode("ascii", "replace")
            self.log_peer(sender, f"refused the key {key}", logging.WARNING)


def _disconnect(connection: Connection) -> None:
    """Shuts a connection down; libzmq notices and closes it."""
    with suppress(OSError), borrowed(connection.descriptor.number) as end:
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
