"""One connection to a daemon: opens, keeps alive and closes a control socket and a bulk socket.

Handles sockets and time only, no jobs or files. Use it on one thread.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import zmq

from voidbridge_protocol.errors import (
    DaemonUnavailable,
    KeysDiffer,
    UnknownKey,
    VersionMismatch,
    VoidbridgeError,
    WrongDaemon,
    from_code,
)

from . import keys, zmtp_probe
from .codec import Frame, decode, encode
from .keys import Keys
from .messages import MAX_CHUNK, Hello, Message, Ping, Pong, Refused, Welcome
from .receive import receive, receive_event

PING_EVERY_S = 2.0
SILENCE_S = 10.0
"""Seconds without any message, not even a ping, after which a daemon counts as gone."""
POLL_MS = 50
TURN = 64
"""Messages taken from one socket before the other gets its turn."""
HIGH_WATER = 64
"""Messages that libzmq queues. Credit stays far below, so the queue is never the limit."""
HANDSHAKES = 3
"""Consecutive failed handshakes after which the network is ruled out as the cause."""
EVENTS = (
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class ConnectionLost(DaemonUnavailable):
    """The connection to the daemon broke. `Client.run` reconnects automatically."""

    code = DaemonUnavailable.code


@dataclass(frozen=True)
class ConnectionOptions:
    """A daemon's address, the client's identity to it, and how long to wait."""

    address: str
    hello: Hello
    patience: float
    """Seconds to wait for an answer."""
    reconnect: float
    """Seconds to wait for a daemon that disappeared during a job."""
    keys: Keys | None = None
    """Needed, except for a Unix socket and for a daemon on this machine without keys."""


class ServerConnection:
    """An open connection to a daemon.

    Raises `DaemonUnavailable` if no daemon answers. Raises `UnknownKey`, `WrongDaemon` or `KeysDiffer` if the
    keys do not match, or the error that the daemon sends.
    """

    def __init__(self, peer: ConnectionOptions, patience: float | None = None) -> None:
        self.peer = peer
        if keys.are_needed(peer.address) and peer.keys is None:
            raise KeysDiffer(
                f"{peer.address} is reached over a network, and no --server-key is given for it"
            )
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._poller = zmq.Poller()
        self._bulk: zmq.Socket[bytes] | None = None
        self._attached = False
        self._handshakes_failed = 0
        self._last_heard = self._pinged = self._polled = time.monotonic()
        try:
            self._control = self._socket(peer.address)
            # Without the monitor, only silence would reveal a killed daemon. It begins before the socket connects:
            # libzmq reports a refused handshake once, and may not try again.
            self._monitor = self._control.get_monitor_socket(EVENTS)
            self._poller.register(self._monitor, zmq.POLLIN)
            self._connect(self._control, peer.address)
            self.welcome = self._introduce(patience or peer.patience)
            bulk = bulk_address(peer.address, self.welcome.bulk)
            self._bulk = self._socket(bulk)
            self._connect(self._bulk, bulk)
        except BaseException:  # Ctrl-C too: sockets left open would delay the end of the process
            self.close()
            raise

    def close(self) -> None:
        """Closes at once and drops unsent messages. Calling it again is harmless."""
        if self._context.closed:
            return
        # A monitor that is still attached would block the context forever.
        for socket in (self._control,) if hasattr(self, "_control") else ():
            socket.disable_monitor()
        self._context.destroy(linger=0)

    def send(self, message: Message, payload: Frame | None = None) -> None:
        """Sends on the control socket."""
        try:
            self._control.send_multipart(encode(message, payload), zmq.NOBLOCK)
        except zmq.Again as error:
            raise ConnectionLost(
                f"the daemon at {self.peer.address} accepts no messages"
            ) from error

    def send_bulk(self, message: Message, payload: Frame | None = None) -> bool:
        """Sends on the bulk socket. Returns False if its queue is full; the caller tries again later."""
        assert self._bulk is not None
        try:
            self._bulk.send_multipart(encode(message, payload), zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return False
        self._attached = True  # every later bulk message follows a `JoinBulk`
        return True

    def receive(self, timeout_ms: int) -> Iterator[tuple[Message, Frame | None]]:
        """Yields messages from both sockets. Answers pings and raises refusals.

        Raises `ConnectionLost` if the daemon is gone.
        """
        if time.monotonic() - self._polled > PING_EVERY_S:
            self._last_heard = (
                time.monotonic()
            )  # this process was suspended, so the daemon's silence proves nothing
        ready = dict(self._poller.poll(timeout_ms))
        self._polled = time.monotonic()
        for socket in (self._control, self._bulk):
            if socket is None or socket not in ready:
                continue
            for _ in range(TURN):
                try:
                    frames = receive(socket)
                except zmq.Again:
                    break
                self._last_heard = time.monotonic()
                message, payload = decode([frame.buffer for frame in frames])
                match message:
                    case Ping():
                        self.send(Pong())
                    case Pong():
                        pass
                    case Refused():
                        raise from_code(message.code, message.text, message.hint)
                    case _:
                        yield message, payload
        if self._monitor in ready:
            event, _ = receive_event(self._monitor)  # one event per turn is enough
            self._handle_event(event)
        self._keep_alive()

    def answers(self, patience: float | None = None) -> Iterator[tuple[Message, Frame | None]]:
        """Yields messages until the caller stops. Raises `DaemonUnavailable` on silence."""
        patience = patience or self.peer.patience
        until = time.monotonic() + patience
        while time.monotonic() < until:
            for item in self.receive(POLL_MS):
                until = time.monotonic() + patience
                yield item
        raise DaemonUnavailable(
            f"no answer from a daemon at {self.peer.address} within {round(patience, 1):g} s"
        )

    def _introduce(self, patience: float) -> Welcome:
        try:
            self.send(self.peer.hello)
        except ConnectionLost:
            while self._monitor.poll(0):  # a refused handshake is the reason, if there was one
                self._handle_event(receive_event(self._monitor)[0])
            raise
        for message, _ in self.answers(patience):
            if isinstance(message, Welcome):
                return self._checked(message)
        raise AssertionError("answers() ends by raising")

    def _checked(self, welcome: Welcome) -> Welcome:
        hello = self.peer.hello
        if not hello.oldest <= welcome.version <= hello.newest:
            raise VersionMismatch(
                f"the daemon ({welcome.software}) chose protocol {welcome.version}; "
                f"this client ({hello.software}) speaks {hello.oldest} to {hello.newest}"
            )
        return welcome

    def _handle_event(self, event: int) -> None:
        address = self.peer.address
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._handshakes_failed = 0
        elif event == zmq.EVENT_DISCONNECTED:
            if not self._handshakes_failed:  # otherwise libzmq retries by itself
                raise ConnectionLost(f"the daemon at {address} closed the connection")
        elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            raise UnknownKey(f"{address} does not know the key of this client")
        else:
            self._handshakes_failed += 1
            cut = event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
            if error := self._diagnosis(cut and self._handshakes_failed < HANDSHAKES):
                raise error

    def _diagnosis(self, may_be_the_network: bool) -> VoidbridgeError | None:
        """Returns the reason for a failed handshake, or None if another attempt may tell more."""
        address = self.peer.address
        asks = zmtp_probe.mechanism(address) if address.startswith("tcp://") else ""
        if asks is None:
            return ConnectionLost(f"the daemon at {address} closed the connection")
        if asks == "CURVE" and not self.peer.keys:
            return KeysDiffer(f"the daemon at {address} requires keys, and this client has none")
        if asks == "NULL" and self.peer.keys:
            return KeysDiffer(
                f"the daemon at {address} uses no keys, and this client expects one",
                "Omit --server-key for a daemon on this machine or behind a tunnel.",
            )
        if may_be_the_network:
            return None
        if asks == "CURVE":
            return WrongDaemon(
                f"the daemon at {address} does not match the public key given with --server-key"
            )
        return DaemonUnavailable(
            f"the service at {address} is not a Voidbridge daemon",
            "Check the address and the port; the default port is 5577.",
        )

    def _keep_alive(self) -> None:
        now = self._polled
        if now - self._last_heard > SILENCE_S:
            raise ConnectionLost(
                f"the daemon at {self.peer.address} has been silent for {SILENCE_S:g} s"
            )
        # Also while the daemon talks: it drops a client that stays silent.
        if now - self._pinged > PING_EVERY_S:
            self._pinged = now
            self.send(Ping())
            if self._attached:
                self.send_bulk(Ping())

    def _socket(self, address: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.linger = 0
        socket.ipv6 = "[" in address
        socket.sndhwm = socket.rcvhwm = HIGH_WATER
        socket.maxmsgsize = MAX_CHUNK + keys.ADDED
        if self.peer.keys and address.startswith("tcp://"):
            own = self.peer.keys.own
            socket.curve_serverkey = self.peer.keys.daemon.encode()
            socket.curve_publickey, socket.curve_secretkey = (
                own.public.encode(),
                own.secret.encode(),
            )
        socket.reconnect_ivl, socket.reconnect_ivl_max = 200, 5000
        return socket

    def _connect(self, socket: zmq.Socket[bytes], address: str) -> None:
        try:
            socket.connect(address)
        except zmq.ZMQError as error:
            raise DaemonUnavailable(
                f"{address!r} is not a valid daemon address: {error}",
                "Write it as tcp://HOST:5577.",
            ) from error
        self._poller.register(socket, zmq.POLLIN)


def bulk_address(control: str, bulk: str) -> str:
    """Returns the bulk socket's address: its port on the daemon's known host, or its own path."""
    if control.startswith("tcp://") and bulk.isdigit():
        return f"{control.rpartition(':')[0]}:{bulk}"
    return bulk
