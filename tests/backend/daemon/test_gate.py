"""What comes in through the daemon's sockets, and what it leaves behind in the log."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from voidbridge_stage import SECONDS

from voidbridge_backend.addresses import Addresses
from voidbridge_backend.gate import Garbled, Gate
from voidbridge_backend.ration import LINES, MINUTE_S

Socket = zmq.Socket[Any]


@pytest.fixture
def place() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="vbg-") as folder:
        yield f"ipc://{Path(folder)}/ctl"


@pytest.fixture
def gate(place: str) -> Iterator[Gate]:
    made = Gate(Addresses.of(place), None)
    yield made
    made.close()


@pytest.fixture
def client(place: str) -> Iterator[Socket]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as made:
        made.linger = 0
        made.connect(place)
        yield made


def garbled(gate: Gate, count: int) -> list[Garbled]:
    """So many that were heard."""
    found: list[Garbled] = []
    until = time.monotonic() + SECONDS
    while len(found) < count:
        assert time.monotonic() < until, f"{len(found)} of {count} came"
        found += [heard for heard in gate.heard() if isinstance(heard, Garbled)]
    return found


def test_who_is_refused_all_the_time_does_not_fill_the_log(
    gate: Gate, client: Socket, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    gate.tick(time.monotonic() + MINUTE_S)
    for _ in range(300):
        client.send(b"nothing")
        (rude,) = garbled(gate, 1)
        gate.refusal(rude.line, rude.peer, rude.error)
        gate._strikes.clear()  # as if it came on a new connection each time
    assert caplog.text.count("refused:") == LINES
    gate.tick(time.monotonic() + 3 * MINUTE_S)
    assert f"{300 - LINES} lines were not written" in caplog.text
