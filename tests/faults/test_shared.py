"""Several clients of one daemon: they share it fairly, none disturbs another, and the daemon does not grow."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import OpenEXR
import pytest
import zmq
from voidbridge_relay import Net, relayed_daemon
from voidbridge_shots import make_shot
from voidbridge_stage import SECONDS, Daemon, Going, check_echo, daemon, eventually, run_words

from voidbridge_protocol.client import Client
from voidbridge_protocol.wire.codec import encode
from voidbridge_protocol.wire.messages import OLDEST, PROTOCOL, Hello, JoinBulk, ListJobs, Put


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    with relayed_daemon() as made:
        made.daemon.wait_for_worker()
        yield made


def started(on: Daemon) -> list[str]:
    """Jobs in the order of their starts."""
    lines = [line for line in on.log.splitlines() if " started job=" in line]
    return [line.split("job=")[1].split()[0] for line in lines]


def test_two_users_share_the_daemon_and_the_second_sees_its_place(net: Net, tmp_path: Path) -> None:
    shots = [make_shot(tmp_path / f"in{i}", range(1001, 1003), seed=200 + i) for i in range(5)]
    before = len(started(net.daemon))
    with net.daemon.held():  # it keeps her first job running
        first = net.daemon.submit(shots[0], "ana", steps=2)
        net.daemon.wait_for_state(first, "running")
        hers = [net.daemon.submit(shot, "ana", steps=2) for shot in shots[1:4]]
        ben = Going(*run_words(shots[4], tmp_path / "out", net.address, "--user", "ben"))
        job = ben.until_event("accepted")["job"]
        # Behind the one that runs, before the three of hers that were there first.
        assert ben.until_state("queued")["ahead"] == 1
        assert [net.daemon.status(waiting).ahead for waiting in hers] == [2, 3, 4]
    done = ben.end()
    assert done.code == 0, done.err
    check_echo(shots[4], tmp_path / "out")
    for waiting in hers:
        net.daemon.wait_for_state(waiting, "done")
    assert started(net.daemon)[before:] == [first, job, *hers]


def test_one_shot_submitted_by_ten_at_once_runs_once(net: Net, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1004), seed=210)
    before = len(started(net.daemon))
    jobs: list[str] = []
    threads = [
        threading.Thread(target=lambda: jobs.append(net.daemon.submit(shot, "crowd", steps=1)))
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert len(jobs) == 10
    assert len(set(jobs)) == 1
    net.daemon.wait_for_state(jobs[0], "done")
    assert len(started(net.daemon)) == before + 1
    net.daemon.fetch(jobs[0], tmp_path / "out")
    check_echo(shot, tmp_path / "out")


def noise_on(port: int, seed: int) -> None:
    """Strangers on a port: other protocols, noise, a connection that falls silent."""
    noise = random.Random(seed)
    for words in (
        b"GET / HTTP/1.1\r\nHost: render\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + noise.randbytes(500),
        noise.randbytes(100_000),
        b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f",
        b"",
    ):
        with socket.create_connection(("127.0.0.2", port)) as end:
            end.settimeout(0.2)
            try:
                end.sendall(words)
                end.recv(1000)
            except OSError:
                continue  # hung up on, or not answered


def rude_messages(port: int, seed: int) -> None:
    """From a peer that speaks ZeroMQ and nothing that makes sense on it."""
    noise = random.Random(seed)
    context = zmq.Context()
    hello = Hello(OLDEST, PROTOCOL, f"rude {seed}", "rude", "test")
    for offset in (0, 1):
        with context.socket(zmq.DEALER) as dealer:
            dealer.linger = 100
            dealer.connect(f"tcp://127.0.0.2:{port + offset}")
            good = [bytes(frame) for frame in encode(hello)]
            dealer.send_multipart(good)
            dealer.send_multipart([bytes(f) for f in encode(JoinBulk(f"rude {seed}"))])
            for _ in range(6):
                damaged = [bytearray(frame) for frame in good]
                for _ in range(4):
                    frame = noise.choice(damaged)
                    frame[noise.randrange(len(frame))] = noise.randrange(256)
                dealer.send_multipart([bytes(frame) for frame in damaged])
            dealer.send_multipart([noise.randbytes(1000) for _ in range(3)])
            dealer.send_multipart([b""] * 20)
            piece = encode(Put("0" * 64, 1 << 30, 0), b"nobody asked for this")
            dealer.send_multipart([bytes(frame) for frame in piece])
            dealer.poll(200)
    context.destroy(linger=100)


def test_noise_on_the_port_disturbs_nobody(net: Net, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1021), 90, 160, seed=220)
    going = Going(*run_words(shot, tmp_path / "out", net.address, "--steps", 2))
    going.until_event("accepted")
    for seed in range(2):
        for offset in (0, 1):
            noise_on(net.relay.port + offset, seed)
        rude_messages(net.relay.port, seed)
    done = going.end()
    assert done.code == 0, done.err
    check_echo(shot, tmp_path / "out")
    assert not [event for event in done.events if event["event"] == "trouble"]
    assert not list((net.daemon.spool / "parts").iterdir())
    assert "Traceback" not in net.daemon.log


def test_control_is_quick_while_files_pass(net: Net, tmp_path: Path) -> None:
    """A cancel or a question never queues behind the upload of another."""
    shot = make_shot(tmp_path / "in", range(1001, 1041), 180, 320, seed=230)
    net.relay.hold("up", shot.size() // 2)
    going = Going(*run_words(shot, tmp_path / "out", net.address))
    net.relay.wait_until_held("up")
    with Client(net.daemon.address, user="other", software="test", patience=SECONDS) as client:
        assert client.jobs()  # answered while the other one's upload stands still
    net.relay.release()
    assert going.end().code == 0
    check_echo(shot, tmp_path / "out")


def test_a_user_sends_no_faster_than_allowed_and_loses_nothing(tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1005), 540, 960, seed=235)
    with daemon(extra={"VOIDBRIDGE_MAX_UPLOAD_MB_S": "3"}) as slow:
        began = time.monotonic()
        job = slow.submit(shot)
        # The first second's worth may come at once, and the last piece's credit is not waited for.
        assert time.monotonic() - began > shot.size() / 3e6 - 2.0
        slow.wait_for_state(job, "done")
        slow.fetch(job, tmp_path / "out")
    assert shot.size() > 9e6
    check_echo(shot, tmp_path / "out")


def test_the_daemon_does_not_grow_with_what_passes_through_it(net: Net, tmp_path: Path) -> None:
    """80 MB in, and as much out, through windows of 16 MB."""

    def pass_through(seed: int, frames: range) -> int:
        raw = {"compression": OpenEXR.NO_COMPRESSION}
        shot = make_shot(tmp_path / f"in{seed}", frames, 540, 960, seed=seed, **raw)
        net.daemon.fetch(net.daemon.submit(shot), tmp_path / f"out{seed}")
        check_echo(shot, tmp_path / f"out{seed}")
        return shot.size()

    pass_through(240, range(1001, 1008))  # fills the windows once
    before = net.daemon.resident_mb()
    passed = pass_through(241, range(1001, 1015)) + pass_through(242, range(1001, 1015))
    grown = net.daemon.resident_mb() - before
    assert passed > 80e6
    assert grown < 24, f"{grown:.0f} MB more after {passed / 1e6:.0f} MB"


def test_clients_that_come_and_go_leave_nothing_behind(net: Net) -> None:
    def descriptors() -> int:
        assert net.daemon.process
        return len(list(Path(f"/proc/{net.daemon.process.pid}/fd").iterdir()))

    net.daemon.jobs()
    before = descriptors()
    for _ in range(40):
        with Client(net.daemon.address, user="passing", software="test") as client:
            client.jobs()
    eventually(lambda: descriptors() <= before + 4, "the connections to be closed")


def test_a_question_from_a_stranger_is_told_to_introduce_itself(net: Net) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(net.daemon.address)
        dealer.send_multipart([bytes(frame) for frame in encode(ListJobs())])
        assert dealer.poll(SECONDS * 1000)
        assert b"protocol.unknown-session" in b"".join(dealer.recv_multipart())
