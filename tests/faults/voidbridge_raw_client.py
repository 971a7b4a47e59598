"""A client that keeps to no rule but its own, and a bystander who asks the daemon something meanwhile.

Loaded under the name `voidbridge_raw_client` by `conftest.py`.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import zmq
from voidbridge_figures import Note
from voidbridge_machine import in_time
from voidbridge_stage import SECONDS, Daemon, eventually

from voidbridge_protocol.client import Client
from voidbridge_protocol.wire.codec import decode, encode
from voidbridge_protocol.wire.connection import bulk_address
from voidbridge_protocol.wire.messages import (
    OLDEST,
    PROTOCOL,
    Credit,
    Hello,
    JoinBulk,
    Message,
    Ping,
    Pong,
    Welcome,
)

WAIT_S = SECONDS
MEMORY_MB = 20.0
"""The daemon is back within so much of what it had before an attack."""
P99_S = 0.1
"""So long another user waits for an answer during an attack, on a machine of its own."""


class RawClient:
    """Both sockets of a client, introduced. A context."""

    def __init__(self, address: str, name: str = "greedy", user: str = "greedy") -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self.control = self._socket(address)
        self.say(Hello(OLDEST, PROTOCOL, name, user, "test"))
        welcome = self.until(self.control, Welcome)
        self.bulk = self._socket(bulk_address(address, welcome.bulk))
        self.say_bulk(JoinBulk(name))
        self.until(self.bulk, Credit)

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    def _socket(self, address: str) -> Any:
        made = self._context.socket(zmq.DEALER)
        made.linger = 0
        made.connect(address)
        return made

    def say(self, message: Message, payload: bytes | None = None) -> None:
        self.control.send_multipart(encode(message, payload))

    def say_bulk(self, message: Message, payload: bytes | None = None) -> None:
        self.bulk.send_multipart(encode(message, payload))

    def hear(self, end: Any) -> Message:
        assert end.poll(WAIT_S * 1000), "no answer"
        return decode(end.recv_multipart())[0]

    def until_pong(self) -> Iterator[Message]:
        """The messages up to the answer to a ping. A full queue loses that answer too, so it asks again."""
        for _ in range(round(WAIT_S)):
            self.say(Ping())
            while self.control.poll(1000):
                heard, _ = decode(self.control.recv_multipart())
                if isinstance(heard, Pong):
                    return
                yield heard
        raise AssertionError("no answer")

    def until(self, end: Any, *kinds: type[Message]) -> Any:
        """The next message of these kinds; others are passed over."""
        while True:
            message = self.hear(end)
            if isinstance(message, kinds):
                return message


class Bystander:
    """Asks how a job that does not exist stands, all the time, and notes how long each answer takes."""

    def __init__(self, on: Daemon) -> None:
        self._on = on
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._failed: Exception | None = None
        self.seconds: list[float] = []

    def __enter__(self) -> Bystander:
        self.before_mb = self._on.resident_mb()
        gc.collect()
        gc.disable()  # a collection of this process would count as the daemon's delay
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._failed is None:
            eventually(lambda: self._failed or len(self.seconds) > 100)
        self._over.set()
        self._thread.join()
        gc.enable()

    def _ask(self) -> None:
        try:
            with Client(
                self._on.address, user="bystander", software="test", patience=SECONDS
            ) as client:
                client.health()  # the introduction is no answer
                while not self._over.wait(0.01):
                    began = time.monotonic()
                    client.health()
                    self.seconds.append(time.monotonic() - began)
        except Exception as error:
            self._failed = error

    def check(self, note: Note, what: str, strict: bool, **figures: Any) -> None:
        """The daemon lives, the bystander was answered, and the memory is given back.

        `strict` holds the answers against `P99_S`; a machine with other tests on it is held to a second,
        and to more the busier it is.
        """
        assert self._failed is None, self._failed
        assert self._on.process
        assert self._on.process.poll() is None, self._on.log
        p99 = sorted(self.seconds)[int(len(self.seconds) * 0.99)]
        assert in_time(p99, P99_S if strict else 1.0), f"{1000 * p99:.0f} ms"
        eventually(lambda: self.grown_mb() < MEMORY_MB, f"memory: {self.grown_mb():.0f} MB more")
        note(30, what=what, **figures, p99_ms=round(1000 * p99, 1), grown_mb=round(self.grown_mb()))

    def grown_mb(self) -> float:
        return self._on.resident_mb() - self.before_mb
