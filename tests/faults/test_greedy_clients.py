"""Clients that were let in and want more than their share: the daemon lives and others are answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from voidbridge_figures import Note
from voidbridge_raw_client import Bystander, RawClient
from voidbridge_stage import Daemon, daemon, make_shot

from voidbridge_protocol.messages import (
    MAX_CHUNK,
    MAX_UNANSWERED,
    Chunk,
    Get,
    GetRequest,
    Listed,
    ListJobs,
    Ping,
    Pong,
    Refused,
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
        client.say(Ping())
        listed = refused = 0
        while not isinstance(heard := client.hear(client.control), Pong):
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
