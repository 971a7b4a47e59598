"""Clients that were let in and want more than their share: the daemon lives and others are answered."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from voidbridge_figures import Note
from voidbridge_raw_client import Bystander, RawClient
from voidbridge_shots import make_shot
from voidbridge_stage import Daemon, daemon

from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.messages import (
    MAX_CHUNK,
    MAX_UNANSWERED,
    Accepted,
    Cancel,
    Chunk,
    Credit,
    FrameFile,
    Get,
    GetRequest,
    Listed,
    ListJobs,
    Put,
    Refused,
    Request,
    Status,
    Submit,
)


@pytest.fixture(scope="module")
def box() -> Iterator[Daemon]:
    with daemon() as made:
        made.wait_for_worker()
        yield made


def test_lists_that_nobody_reads_are_one_list(box: Daemon, full: bool, note: Note) -> None:
    count = 400_000 if full else 40_000
    with Bystander(box) as other, RawClient(box.address) as client:
        for _ in range(count):
            client.say(ListJobs())
        listed = refused = 0
        for heard in client.until_pong():
            listed += isinstance(heard, Listed)
            refused += isinstance(heard, Refused)
        assert listed
    other.check(note, "lists", full, asked=count, listed=listed, refused=refused)


@pytest.fixture(scope="module")
def large(box: Daemon, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A done job whose result has more than one piece."""
    folder = tmp_path_factory.mktemp("large")
    shot = make_shot(folder / "in", range(1001, 1002), height=800, width=800, seed=500)
    job = box.submit(shot, user="greedy")
    box.fetch(job, folder / "out")
    assert (folder / "out" / "r.1001.exr").stat().st_size > MAX_CHUNK
    return job


def test_pieces_that_nobody_reads_are_bounded(
    box: Daemon, large: str, full: bool, note: Note
) -> None:
    sessions, pieces, most = 4, 300 if full else 100, 0.0
    with Bystander(box) as other, ExitStack() as held:
        clients = [
            held.enter_context(RawClient(box.address, f"greedy {i}")) for i in range(sessions)
        ]
        for client in clients:
            for _ in range(pieces):
                client.say_bulk(Get(large, 1001, 0, MAX_CHUNK))
        for _ in range(40):
            most = max(most, other.grown_mb())
            threading.Event().wait(0.05)
        for client in clients:
            client.until(client.bulk, Refused)
    assert most < 250
    other.check(note, "pieces", full, sessions=sessions, asked=pieces, most_mb=round(most))


def test_as_many_pieces_as_a_client_may_ask_for_come_when_it_reads(box: Daemon, large: str) -> None:
    with RawClient(box.address) as client:
        for _ in range(MAX_UNANSWERED):
            client.say_bulk(Get(large, 1001, 0, MAX_CHUNK))
        threading.Event().wait(0.5)
        for _ in range(MAX_UNANSWERED):
            assert client.until(client.bulk, Chunk, Refused).kind == "chunk"


def test_large_answers_that_nobody_reads_are_bounded(
    box: Daemon, large: str, full: bool, note: Note
) -> None:
    """A record or a request may have megabytes; here it is small and asked for more often."""
    count = 20_000 if full else 3_000
    with Bystander(box) as other, RawClient(box.address) as client:
        for _ in range(count):
            client.say(GetRequest(large))
        most = other.grown_mb()
    assert most < 50
    other.check(note, "requests", full, asked=count, most_mb=round(most))


def request_of(frames: int, size: int = 1, name: str = "") -> Request:
    """For files that nobody has; `name` makes them other files."""
    files = tuple(
        FrameFile(role, frame, hashlib.sha256(f"{name}{role}{frame}".encode()).hexdigest(), size)
        for role in ("affected", "matte", "plate")
        for frame in range(1, frames + 1)
    )
    return Request(1, frames, RemoveSettings(engine="echo"), files)


def test_large_requests_keep_nobody_waiting(box: Daemon, full: bool, note: Note) -> None:
    """A client has one on its way: the others are refused, and it submits the next when it heard of the last."""
    count, frames = (60, 19_000) if full else (10, 8_000)
    payloads = [request_of(frames, name=f"large {i}").canonical() for i in range(2)]
    accepted = refused = 0
    with Bystander(box) as other, RawClient(box.address) as client:
        for i in range(count):
            client.say(Submit(), payloads[i % 2])
        for _ in range(count):
            heard = client.until(client.control, Accepted, Refused)
            if isinstance(heard, Accepted):
                accepted += 1
                client.say(Cancel(heard.job))
            else:
                refused += 1
                assert heard.code == "daemon.too-many"
        for i in range(2):  # one after the other, each read to its end
            client.say(Submit(), payloads[i % 2])
            client.say(Cancel(client.until(client.control, Accepted).job))
    assert accepted
    size = round(len(payloads[0]) / 2**20, 1)
    other.check(
        note, "large requests", full, count=count, size_mb=size, accepted=accepted, refused=refused
    )


def test_no_more_of_a_file_is_taken_than_was_announced(box: Daemon) -> None:
    with RawClient(box.address) as client:
        request = request_of(1, size=10, name="ten bytes")
        client.say(Submit(), request.canonical())
        job = client.until(client.control, Accepted).job
        before = len(list((box.spool / "parts").iterdir()))
        file = request.files[0]
        client.say_bulk(Put(file.sha256, 80 << 20, 0), bytes(MAX_CHUNK))
        refused = client.until(client.bulk, Refused, Credit)
        assert isinstance(refused, Refused), refused
        assert "10" in refused.text
        assert len(list((box.spool / "parts").iterdir())) == before
        client.say(Submit(), request_of(1, size=11, name="ten bytes").canonical())
        assert "announced" in client.until(client.control, Refused).text
        client.say(Cancel(job))
        client.until(client.control, Status)
