"""Messages come in through the daemon's sockets, and some leave a line in the log."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from voidbridge_stage import SECONDS, eventually
from zmq.utils.monitor import recv_monitor_message

from voidbridge_backend.daemon.log_limit import LINES, MINUTE_S
from voidbridge_backend.daemon.net.connections import HELLO_S, SILENT_S
from voidbridge_backend.daemon.net.endpoints import Endpoints
from voidbridge_backend.daemon.net.router import Malformed, PeerId, Received, Router
from voidbridge_protocol.wire.codec import encode
from voidbridge_protocol.wire.messages import Ping

Socket = zmq.Socket[Any]


@pytest.fixture
def place() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="vbg-") as folder:
        yield f"ipc://{Path(folder)}/ctl"


@pytest.fixture
def router(place: str) -> Iterator[Router]:
    made = Router(Endpoints.of(place), None, max_unauthenticated=2)
    yield made
    made.close()


@pytest.fixture
def client(place: str) -> Iterator[Socket]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as made:
        made.linger = 0
        made.connect(place)
        yield made


def garbled(router: Router, count: int) -> list[Malformed]:
    """So many that were heard."""
    found: list[Malformed] = []
    until = time.monotonic() + SECONDS
    while len(found) < count:
        assert time.monotonic() < until, f"{len(found)} of {count} came"
        found += [heard for heard in router.receive() if isinstance(heard, Malformed)]
    return found


def test_who_is_refused_all_the_time_does_not_fill_the_log(
    router: Router, client: Socket, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    router.tick(time.monotonic() + MINUTE_S)
    client.send(b"nothing")
    (rude,) = garbled(router, 1)
    for number in range(300):
        connection = PeerId(bulk=False, route=b"%d" % number)  # a new one each time
        router.refusal(connection, rude.sender, rude.error)
    assert caplog.text.count("refused:") == LINES
    router.tick(time.monotonic() + 3 * MINUTE_S)
    assert f"{300 - LINES} lines were not written" in caplog.text


class Person:
    """Somebody who has finished the handshake. One connection is all: ZeroMQ is not to try again."""

    def __init__(self, place: str, router: Router) -> None:
        self._context = zmq.Context()
        self.end = self._context.socket(zmq.DEALER)
        self.end.linger, self.end.reconnect_ivl = 0, -1
        self._wakeup = self.end.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        )
        self.end.connect(place)
        assert eventually(lambda: list(router.receive()) or self._wakeup.poll(0))
        assert recv_monitor_message(self._wakeup)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED
        list(router.receive())

    def say(self) -> None:
        self.end.send_multipart([bytes(frame) for frame in encode(Ping())])

    def is_hung_up_on(self, router: Router, seconds: float = SECONDS) -> bool:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            list(router.receive())
            if self._wakeup.poll(10):
                return True
        return False

    def close(self) -> None:
        self.end.disable_monitor()
        self._context.destroy(linger=0)


@pytest.fixture
def people(place: str, router: Router) -> Iterator[list[Person]]:
    made = [Person(place, router) for _ in range(2)]
    yield made
    for each in made:
        each.close()


def test_who_finishes_the_handshake_and_says_nothing_is_hung_up_on(
    router: Router, people: list[Person]
) -> None:
    silent, talking = people
    talking.say()
    (heard,) = eventually(lambda: list(router.receive()))
    assert isinstance(heard, Received)
    router.mark_authenticated(heard)

    def passes(seconds: float) -> None:
        """The daemon looks every second."""
        while clock[0] < seconds:
            clock[0] += 1.1
            router.tick(began + clock[0])

    began, clock = time.monotonic(), [0.0]
    router.tick(began)
    passes(HELLO_S - 5)
    assert not silent.is_hung_up_on(router, 0.1)
    passes(HELLO_S + 5)
    assert silent.is_hung_up_on(router)
    passes(SILENT_S - 5)
    assert not talking.is_hung_up_on(router, 0.1)
    passes(SILENT_S + 5)
    assert talking.is_hung_up_on(router)


def test_a_newcomer_is_let_in_and_the_oldest_who_said_nothing_goes(
    router: Router, place: str, people: list[Person]
) -> None:
    first, second = people
    people.append(Person(place, router))
    assert first.is_hung_up_on(router)
    assert not second.is_hung_up_on(router, 0.1)
    people[-1].say()
    assert eventually(lambda: list(router.receive()))
