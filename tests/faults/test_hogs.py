"""Peers that want too much: slow, chatty, large. Others notice nothing, and the daemon does not grow."""

from __future__ import annotations

import hashlib
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq
from voidbridge_figures import Note
from voidbridge_machine import free_ports, in_time
from voidbridge_shots import make_shot
from voidbridge_stage import SECONDS, Daemon, check_echo, daemon, eventually

from voidbridge_backend.daemon.net.connections import UNAUTHENTICATED
from voidbridge_protocol.client import Client
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.codec import MAX_REQUEST, decode, encode
from voidbridge_protocol.wire.messages import (
    MAX_UNANSWERED,
    OLDEST,
    PROTOCOL,
    Accepted,
    Credit,
    FrameFile,
    Got,
    Hello,
    JoinBulk,
    Message,
    Put,
    Refused,
    Request,
    Submit,
)

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)
"""ZMTP 3.0, without security."""
READY = b"\x04\x29\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"


@pytest.fixture(scope="module")
def box() -> Iterator[Daemon]:
    with daemon(address=f"tcp://127.0.0.1:{free_ports(2)}") as made:
        made.wait_for_worker()
        yield made


class Others:
    """Somebody who asks the daemon something all the time meanwhile, and how long that takes."""

    def __init__(self, on: Daemon) -> None:
        self._on = on
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.seconds: list[float] = []

    def __enter__(self) -> Others:
        self.before = self._on.resident_mb()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        eventually(lambda: len(self.seconds) > 20)
        self._over.set()
        self._thread.join()
        self.grown = self._on.resident_mb() - self.before

    def _ask(self) -> None:
        with Client(self._on.address, user="other", software="test", patience=SECONDS) as client:
            while not self._over.wait(0.02):
                began = time.monotonic()
                client.jobs()
                self.seconds.append(time.monotonic() - began)

    def check(self, note: Note, what: str, **figures: Any) -> None:
        slowest = sorted(self.seconds)[int(len(self.seconds) * 0.99)]
        note(
            14, what=what, **figures, grown_mb=round(self.grown, 1), p99_ms=round(1000 * slowest, 1)
        )
        assert self.grown < 50
        assert in_time(slowest, 1)  # of a machine that does all of this at once


class ConnectionOptions:
    """Both sockets of a client, introduced."""

    def __init__(self, on: Daemon, context: zmq.Context[Any]) -> None:
        host, _, port = on.address.rpartition(":")
        self.control = self._socket(context, on.address)
        self.bulk = self._socket(context, f"{host}:{int(port) + 1}")
        self.say(self.control, Hello(OLDEST, PROTOCOL, "hog", "hog", "test"))
        self.until(self.control, "welcome")
        self.say(self.bulk, JoinBulk("hog"))
        self.until(self.bulk, "credit")

    def _socket(self, context: zmq.Context[Any], address: str) -> Any:
        made = context.socket(zmq.DEALER)
        made.linger = 0
        made.connect(address)
        return made

    def say(self, end: Any, message: Message, payload: bytes | None = None) -> None:
        end.send_multipart([bytes(frame) for frame in encode(message, payload)])

    def until(self, end: Any, kind: str) -> Any:
        while True:
            message = self.hear(end)
            if message.kind == kind:
                return message

    def hear(self, end: Any) -> Message:
        assert end.poll(SECONDS * 1000), "no answer"
        return decode(end.recv_multipart())[0]


def test_connections_that_never_finish_a_word_are_in_nobodys_way(
    box: Daemon, tmp_path: Path, full: bool, note: Note
) -> None:
    count, port = 500 if full else 50, int(box.address.rpartition(":")[2])
    shot = make_shot(tmp_path / "in", range(1001, 1003), seed=140)
    with ExitStack() as held, Others(box) as others:
        slow = []
        for i in range(count):
            slow.append(held.enter_context(socket.create_connection(("127.0.0.1", port + i % 2))))
        for letter in GREETING[:10]:  # a byte at a time
            for end in slow:
                try:
                    end.sendall(bytes([letter]))
                except OSError:
                    continue  # hung up on already
            threading.Event().wait(0.3 if full else 0.1)
        box.fetch(box.submit(shot), tmp_path / "out")
    check_echo(shot, tmp_path / "out")
    others.check(note, "slow greetings", connections=count)


def test_connections_that_say_nothing_after_the_handshake_make_room(
    box: Daemon, tmp_path: Path, full: bool, note: Note
) -> None:
    """libzmq keeps them for ever: the daemon itself ends the oldest, and clients are let in all the time."""
    count, port = 600 if full else 3 * UNAUTHENTICATED, int(box.address.rpartition(":")[2])
    shot = make_shot(tmp_path / "in", range(1001, 1003), seed=141)
    with ExitStack() as held, Others(box) as others:
        before = descriptors(box)
        for i in range(count):
            end = held.enter_context(socket.create_connection(("127.0.0.1", port + i % 2)))
            end.sendall(GREETING + READY)
        eventually(lambda: descriptors(box) < before + UNAUTHENTICATED + 20, "room")
        box.fetch(box.submit(shot), tmp_path / "out")
        most = descriptors(box) - before
    check_echo(shot, tmp_path / "out")
    assert most > UNAUTHENTICATED // 2, "they were held at first"
    others.check(note, "silent after the handshake", connections=count, held=most)


def descriptors(on: Daemon) -> int:
    assert on.process
    return len(list(Path(f"/proc/{on.process.pid}/fd").iterdir()))


def test_a_hundred_thousand_pieces_are_as_good_as_one(box: Daemon, full: bool, note: Note) -> None:
    size = 100_000 if full else 3000
    data = random.Random(1).randbytes(size)
    plate = FrameFile("plate", 1001, hashlib.sha256(data).hexdigest(), size)
    matte = FrameFile("matte", 1001, "0" * 64, 1000)
    request = Request(1001, 1001, RemoveSettings(engine="echo"), (matte, plate))
    with zmq.Context() as context, Others(box) as others:
        peer = ConnectionOptions(box, context)
        peer.say(peer.control, Submit(), request.canonical())
        accepted = peer.until(peer.control, "accepted")
        assert isinstance(accepted, Accepted)
        unanswered, arrived = 0, False
        for offset in range(size):  # a byte each
            peer.say(peer.bulk, Put(plate.sha256, size, offset), data[offset : offset + 1])
            unanswered += 1
            while unanswered >= MAX_UNANSWERED:
                unanswered -= isinstance(peer.hear(peer.bulk), Credit)
        while not arrived:
            message = peer.hear(peer.bulk)
            assert isinstance(message, (Credit, Got)), message
            arrived = isinstance(message, Got)
        peer.control.close()
        peer.bulk.close()
    with Client(box.address, user="hog", software="test") as client:
        client.cancel(accepted.job)
    others.check(note, "pieces of one byte", pieces=size)


def test_ten_gigabytes_are_refused_before_there_is_room_for_them(box: Daemon, note: Note) -> None:
    ten = 10 << 30
    with zmq.Context() as context, Others(box) as others:
        peer = ConnectionOptions(box, context)
        peer.say(peer.bulk, Put("1" * 64, ten, 0), bytes(1000))
        refused = peer.hear(peer.bulk)
        assert isinstance(refused, Refused)
        assert str(ten) in refused.text
        files = tuple(FrameFile(role, 1, "2" * 64, ten) for role in ("matte", "plate"))
        large = Request(1, 1, RemoveSettings(engine="echo"), files)
        peer.say(peer.control, Submit(), large.canonical())
        assert "MB" in peer.until(peer.control, "refused").text
        peer.control.close()
        peer.bulk.close()
        port = int(box.address.rpartition(":")[2])
        for length in (ten, MAX_REQUEST + (1 << 20)):
            with socket.create_connection(("127.0.0.1", port)) as raw:
                raw.settimeout(SECONDS)
                raw.sendall(GREETING + READY + b"\x02" + struct.pack(">Q", length) + bytes(1000))
                while raw.recv(4096):  # its greeting, then the end of the connection
                    pass
    others.check(note, "10 GB announced")


def test_the_next_client_has_a_daemon_as_before(box: Daemon, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003), seed=142)
    box.fetch(box.submit(shot), tmp_path / "out")
    check_echo(shot, tmp_path / "out")
    assert not list((box.spool / "parts").iterdir())
