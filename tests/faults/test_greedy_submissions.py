"""Submissions that ask for more than a user's share, while another user is answered: the daemon lives."""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from voidbridge_figures import Note
from voidbridge_machine import free_ports
from voidbridge_raw_client import Bystander, RawClient
from voidbridge_stage import SECONDS, Daemon, daemon

from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.codec import encode
from voidbridge_protocol.wire.messages import (
    MAX_CHUNK,
    OLDEST,
    PROTOCOL,
    Accepted,
    Cancel,
    Credit,
    FrameFile,
    Hello,
    Put,
    Refused,
    Request,
    Status,
    Submit,
)

NAME = 150_000
"""Characters of a name."""
FILE = 256 << 20
"""Bytes of a promised file; a daemon takes larger ones."""


@pytest.fixture(scope="module")
def box() -> Iterator[Daemon]:
    with daemon(extra={"VOIDBRIDGE_HTTP_PORT": str(free_ports())}) as made:
        made.wait_for_worker()
        yield made


def request_of(frames: int, size: int = 1, name: str = "", engine: str = "echo") -> Request:
    """For files that nobody has; `name` makes them other files."""
    files = tuple(
        FrameFile(role, frame, hashlib.sha256(f"{name}{role}{frame}".encode()).hexdigest(), size)
        for role in ("matte", "plate")
        for frame in range(1, frames + 1)
    )
    return Request(1, frames, RemoveSettings(engine=engine), files)


def submitted(client: RawClient, made: Request) -> Accepted | Refused:
    client.say(Submit(), made.canonical())
    answer: Accepted | Refused = client.until(client.control, Accepted, Refused)
    return answer


@pytest.mark.parametrize("is_one", [False, True], ids=["many jobs", "one job"])
def test_jobs_that_are_submitted_and_cancelled_again_and_again(
    box: Daemon, full: bool, note: Note, is_one: bool
) -> None:
    """Each request has half a megabyte; there are 300 jobs, or one a thousand times."""
    count, frames = (1_000 if is_one else 300, 2_100) if full else (20, 2_100)
    first = request_of(frames, name="again")
    with Bystander(box) as other, RawClient(box.address) as client:
        for number in range(count):
            made = first if is_one else request_of(frames, name=f"again {number}")
            answer = submitted(client, made)
            assert isinstance(answer, Accepted), answer
            client.say(Cancel(answer.job))
            client.until(client.control, Status)
    size = round(len(first.canonical()) / 2**20, 2)
    what = "one job again" if is_one else "submits and cancels"
    other.check(note, what, full, count=count, size_mb=size)


def test_jobs_that_promise_the_whole_disk(box: Daemon, full: bool, note: Note) -> None:
    free = shutil.disk_usage(box.spool).free
    frames = free // 4 // (2 * FILE) + 1  # twice of it: other programs may delete meanwhile
    with Bystander(box) as other:
        with RawClient(box.address) as client:
            answers = [
                submitted(client, request_of(frames, FILE, f"promise {number}"))
                for number in range(8)
            ]
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        assert {answer.code for answer in refused} == {"daemon.spool-full"}
        with RawClient(box.address, "honest", "honest") as client:
            answer = submitted(client, request_of(1, name="honest"))
            assert isinstance(answer, Accepted), answer
            client.say(Cancel(answer.job))
        with RawClient(box.address, "again") as client:  # so that the next test has the room
            for one in answers:
                if isinstance(one, Accepted):
                    client.say(Cancel(one.job))
                    client.until(client.control, Status)
    other.check(note, "promises", full, count=8, refused=len(refused))


def test_priorities_above_the_users(box: Daemon, full: bool, note: Note) -> None:
    made = request_of(1, name="urgent").canonical()
    with Bystander(box) as other, RawClient(box.address) as client:
        for _ in range(30):
            client.say(Submit(priority=2**62), made)
            assert client.until(client.control, Refused, Accepted).kind in ("refused", "accepted")
    other.check(note, "priorities", full, count=30)


def test_pieces_of_a_file_beyond_what_was_announced(box: Daemon, full: bool, note: Note) -> None:
    """A connection is ignored after eight of them, so there are several."""
    made = request_of(1, size=10, name="more than announced")
    with Bystander(box) as other:
        for number in range(6):
            with RawClient(box.address, f"greedy {number}") as client:
                answer = submitted(client, made)
                assert isinstance(answer, Accepted), answer
                for piece in range(7):
                    put = Put(made.files[0].sha256, 80 << 20, piece * MAX_CHUNK)
                    client.say_bulk(put, bytes(MAX_CHUNK))
                    assert client.until(client.bulk, Refused, Credit).kind == "refused"
    assert not list((box.spool / "parts").iterdir())
    other.check(note, "more than announced", full, count=42)


def test_names_without_end_and_connections_that_say_nothing(
    box: Daemon, full: bool, note: Note
) -> None:
    found = re.search(r"health and metrics on http://127\.0\.0\.1:(\d+)", box.log)
    assert found
    port, count = int(found[1]), 600 if full else 60
    with Bystander(box) as other, ExitStack() as held, RawClient(box.address) as client:
        for _ in range(5):
            hello = encode(Hello(OLDEST, PROTOCOL, "x", "NAME", "test"))
            long = [bytes(frame).replace(b"NAME", b"n" * NAME) for frame in hello]
            client.control.send_multipart(long)
            assert client.until(client.control, Refused).code == "protocol.bad-message"
        with RawClient(box.address, "another") as another:
            payload = request_of(1, name="long", engine="ENGINE").canonical()
            another.say(Submit(), payload.replace(b"ENGINE", b"e" * NAME))
            answer = another.until(another.control, Refused, Accepted)
            assert isinstance(answer, Refused)
            assert len(answer.text) < 2_000

        for _ in range(count):
            one = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=SECONDS))
            one.sendall(b"GET /he")
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/health/live", timeout=SECONDS
        ) as live:
            assert live.status == 200
    assert "Traceback" not in box.log
    other.check(note, "names and slow HTTP", full, connections=count)
