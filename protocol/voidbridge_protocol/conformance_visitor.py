"""A raw client for `conformance`: says anything, and checks each answer."""

from __future__ import annotations

import time
import uuid
from typing import TypeVar

import zmq

from .errors import (
    ProtocolError,
)
from .wire.codec import Frame, decode, encode
from .wire.connection import bulk_address
from .wire.messages import (
    OLDEST,
    PROTOCOL,
    Credit,
    Got,
    Hello,
    JoinBulk,
    Message,
    Ping,
    Pong,
    Ready,
    Refused,
    Status,
    Welcome,
)

Wanted = TypeVar("Wanted", bound=Message)

PATIENCE_S = 4.0


class Broken(AssertionError):
    """Raised when a daemon violates a rule."""


class Visitor:
    """A client that can send any message, valid or not."""

    def __init__(self, address: str, patience: float) -> None:
        self._address = address
        self._patience = patience
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.session = uuid.uuid4().hex
        self.user = "conformance"
        self.control = self._socket(address)
        self.bulk: zmq.Socket[bytes] | None = None

    def close(self) -> None:
        self._context.destroy(linger=0)

    def hello(self, oldest: int = OLDEST, newest: int = PROTOCOL) -> Hello:
        return Hello(oldest, newest, self.session, self.user, "conformance checks")

    def introduced(self, attach: bool = False) -> Welcome:
        self.say(self.hello())
        welcome = self.expect(Welcome)
        if self.bulk is not None:
            self.bulk.close()
        self.bulk = self._socket(bulk_address(self._address, welcome.bulk))
        if attach:
            self.say_bulk(JoinBulk(self.session))
            self.expect(Credit, self.bulk)
        return welcome

    def say(self, message: Message, payload: Frame | None = None) -> None:
        self.say_raw(encode(message, payload))

    def say_raw(self, frames: list[Frame]) -> None:
        self.control.send_multipart(frames)

    def say_bulk(self, message: Message, payload: Frame | None = None) -> None:
        assert self.bulk is not None
        self.bulk.send_multipart(encode(message, payload))

    def expect(self, kind: type[Wanted], socket: zmq.Socket[bytes] | None = None) -> Wanted:
        """Returns the next message of this kind. Skips other messages about the job, but not a refusal."""
        socket = socket or self.control
        until = time.monotonic() + self._patience
        while (left := until - time.monotonic()) > 0 and socket.poll(int(left * 1000) + 1):
            try:
                message, _ = decode(socket.recv_multipart())
            except ProtocolError as error:
                raise Broken(f"sent an unreadable message: {error.text}") from error
            if isinstance(message, kind):
                return message
            if isinstance(message, Refused):
                raise Broken(f"no {kind.kind!r} but {message.code}: {message.text}")
            if not isinstance(message, (Status, Ready, Credit, Got)):
                raise Broken(f"no {kind.kind!r} but {message.kind!r}")
        raise Broken(f"no {kind.kind!r} within {self._patience:g} s")

    def expect_refusal(self, code: str, socket: zmq.Socket[bytes] | None = None) -> Refused:
        refused = self.expect(Refused, socket)
        if refused.code != code:
            raise Broken(f"refused with {refused.code}, not {code}: {refused.text}")
        if not refused.text:
            raise Broken(f"refused with {code} and no text")
        return refused

    def expect_life(self) -> None:
        self.say(Ping())
        self.expect(Pong)

    def _socket(self, address: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.linger = 0
        socket.connect(address)
        return socket


def require(holds: bool, text: str) -> None:
    if not holds:
        raise Broken(text)
