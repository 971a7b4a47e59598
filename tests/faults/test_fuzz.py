"""Every invalid message, request, plate and matte is answered by an error with a name.

10,000 cases of each kind with --full. The daemon and its next job are none the wiser.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import OpenEXR
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from voidbridge_figures import Note
from voidbridge_mutations import mutated, odd
from voidbridge_shots import Shot, make_shot
from voidbridge_stage import Daemon, check_echo, daemon, environment, eventually

from voidbridge_protocol import errors
from voidbridge_protocol.client import Client
from voidbridge_protocol.errors import (
    DaemonError,
    ProtocolError,
    RequestError,
    UnknownSession,
    VoidbridgeError,
)
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.codec import MAGIC, decode, decode_request, encode
from voidbridge_protocol.wire.messages import (
    CARRIES_PAYLOAD,
    OLDEST,
    PROTOCOL,
    FrameFile,
    Hello,
    JoinBulk,
    Message,
    Ping,
    Pong,
    Refused,
    Request,
    Submit,
)

HERE = Path(__file__).parent
EVERY_KIND = HERE.parent / "protocol" / "protocol_1.jsonl"
HANG_S = 120.0
ARTISTS = 4
COMPRESSIONS = [
    value for name, value in sorted(vars(OpenEXR).items()) if name.endswith("_COMPRESSION")
]
A_CLIENT = 6
"""Messages of one client: after eight that are malformed it is not answered any more."""


def everything() -> list[tuple[dict[str, Any], bytes | None]]:
    """A message of every kind as it stood on the wire of the first release: header and payload."""
    carrying = {kind.kind for kind in CARRIES_PAYLOAD}
    headers = [json.loads(line) for line in EVERY_KIND.read_text().splitlines()]
    return [(header, b"payload" if header["kind"] in carrying else None) for header in headers]


def tree(root: type[VoidbridgeError]) -> set[str]:
    return {root.code}.union(*(tree(branch) for branch in root.__subclasses__()))


def a_request(chance: random.Random) -> dict[str, Any]:
    files = tuple(
        FrameFile(role, frame, chance.randbytes(32).hex(), chance.randint(1, 1 << 30))
        for role in ("matte", "plate")
        for frame in (1001, 1002, 1003)
    )
    made: dict[str, Any] = json.loads(
        Request(1001, 1003, RemoveSettings(engine="echo"), files).canonical()
    )
    return made


# -- the codec ------------------------------------------------------------------------------------


JSON = st.deferred(
    lambda: (
        (st.none() | st.booleans() | st.integers() | st.floats() | st.text())
        | st.lists(JSON, max_size=3)
        | st.dictionaries(st.text(), JSON, max_size=3)
    )
)


def test_whatever_arrives_is_a_message_or_a_typed_error(full: bool, note: Note) -> None:
    kinds = [header["kind"] for header, _ in everything()]
    known = [json.dumps(header).encode() for header, _ in everything()]
    outcomes: Counter[str] = Counter()

    def try_it(frames: list[bytes]) -> None:
        try:
            message, payload = decode(frames)
            if isinstance(message, Submit):
                decode_request(payload or b"")
            outcomes["read"] += 1
        except (ProtocolError, RequestError):
            outcomes["refused"] += 1

    @settings(
        max_examples=5000 if full else 150,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.lists(st.binary(max_size=200), max_size=4),
        st.dictionaries(st.text(max_size=8), JSON, max_size=6),
        st.sampled_from(kinds),
        st.sampled_from(known),
        st.integers(0, 1 << 32),
    )
    def arrives(
        frames: list[bytes], fields: dict[str, Any], kind: str, header: bytes, seed: int
    ) -> None:
        chance = random.Random(seed)
        payload = [] if chance.random() < 0.6 else [chance.randbytes(20)]
        try_it(frames)
        try_it([MAGIC, json.dumps({**fields, "kind": kind}).encode(), *payload])
        try_it([MAGIC, json.dumps(odd(json.loads(header), chance)).encode(), *payload])
        try_it([MAGIC, mutated(header, chance, known), *payload])

    arrives()
    for number in range(10_000 if full else 500):
        chance = random.Random(number)
        try_it([MAGIC, b'{"kind": "submit"}', json.dumps(odd(a_request(chance), chance)).encode()])
    note(10, what="codec", **outcomes)
    assert min(outcomes["read"], outcomes["refused"]) > 50


def test_a_fuzzer_that_sees_the_branches_finds_nothing(
    tmp_path: Path, full: bool, note: Note
) -> None:
    if not full:
        pytest.skip("with --full only")
    pytest.importorskip("atheris", reason="atheris is not installed: pip install atheris")
    runs = 300_000
    for number, (header, _) in enumerate(everything()):
        (tmp_path / str(number)).write_bytes(b"h" + json.dumps(header).encode())
    (tmp_path / "request").write_bytes(b"r" + json.dumps(a_request(random.Random(0))).encode())
    words = [f"-runs={runs}", "-max_len=4096", "-timeout=10", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, HERE / "codec_atheris.py", *words],
        env={**environment(), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    note(10, what="codec, atheris", runs=runs)


# -- a daemon -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def victim() -> Iterator[Daemon]:
    with daemon() as made:
        made.wait_for_worker()
        yield made


class Stranger:
    """A client that says what it likes on both sockets of a daemon."""

    def __init__(self, context: zmq.Context[Any], on: Daemon, name: str) -> None:
        self._context = context
        with on_socket(context, on.address) as probe:
            probe.send_multipart(
                [bytes(f) for f in encode(Hello(OLDEST, PROTOCOL, name, name, "fuzz"))]
            )
            assert probe.poll(HANG_S * 1000)
            welcome = decode(probe.recv_multipart())[0]
        bulk = getattr(welcome, "bulk", "")
        self.control, self.bulk = context.socket(zmq.DEALER), context.socket(zmq.DEALER)
        for end, address in ((self.control, on.address), (self.bulk, bulk)):
            end.linger = 0
            end.connect(address)
        self.said: list[Any] = []
        self.say(self.control, encode(Hello(OLDEST, PROTOCOL, name, name, "fuzz")))
        self.say(self.bulk, encode(JoinBulk(name)))

    def say(self, end: zmq.Socket[Any], frames: Any) -> None:
        self.said.append([bytes(frame)[:200] for frame in frames])
        end.send_multipart([bytes(frame) for frame in frames])

    def answers(self, end: zmq.Socket[Any]) -> list[Message]:
        """All until the answer to a ping that is sent now."""
        self.say(end, encode(Ping()))
        found = []
        while True:
            assert end.poll(HANG_S * 1000), f"no answer after {self.said[-4:]}"
            message, _ = decode(end.recv_multipart())
            if isinstance(message, Pong):
                return found
            found.append(message)
            if getattr(message, "code", "") == UnknownSession.code:  # as is the ping's
                return found

    def __enter__(self) -> Stranger:
        return self

    def __exit__(self, *_: object) -> None:
        self.control.close()
        self.bulk.close()


@contextmanager
def on_socket(context: zmq.Context[Any], address: str) -> Iterator[zmq.Socket[Any]]:
    with context.socket(zmq.DEALER) as made:
        made.linger = 0
        made.connect(address)
        yield made


def test_every_message_that_is_not_as_it_should_be_is_answered(
    victim: Daemon, tmp_path: Path, full: bool, note: Note
) -> None:
    known = everything()
    codes = tree(errors.VoidbridgeError)
    seen: Counter[str] = Counter()
    process, before = victim.process, victim.resident_mb()
    count = 10_000 if full else 300
    with zmq.Context() as context:
        for client in range(0, count, A_CLIENT):
            with Stranger(context, victim, f"stranger {client}") as stranger:
                for number in range(client, min(client + A_CLIENT, count)):
                    chance = random.Random(number)
                    end = chance.choice((stranger.control, stranger.bulk))
                    stranger.say(end, damaged(known, chance))
                    for answer in stranger.answers(end):
                        assert not isinstance(answer, Refused) or answer.code in codes
                        seen[getattr(answer, "code", "") or answer.kind] += 1
    note(
        10,
        what="messages to a daemon",
        cases=count,
        answers=dict(seen.most_common()),
        daemon_mb=(round(before, 1), round(victim.resident_mb(), 1)),
    )
    assert victim.process is process
    still_works(victim, tmp_path, 900)


def damaged(known: list[tuple[dict[str, Any], bytes | None]], chance: random.Random) -> list[bytes]:
    header, payload = chance.choice(known)
    if header["kind"] == "submit" and chance.random() < 0.8:
        payload = json.dumps(odd(a_request(chance), chance)).encode()
        return [MAGIC, json.dumps(header).encode(), payload]
    raw = json.dumps(header).encode()
    frames = [MAGIC, raw, *([payload] if payload is not None else [])]
    match chance.randrange(5):
        case 0:
            frames[1] = mutated(raw, chance)
        case 1:
            return [mutated(MAGIC, chance), *frames[1:]]
        case 2:
            return [*frames, chance.randbytes(chance.randrange(5000))]
        case _:
            frames[1] = json.dumps(odd(header, chance)).encode()
    return frames


def still_works(on: Daemon, tmp_path: Path, seed: int) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003), seed=seed)
    on.fetch(on.submit(shot), tmp_path / "out")
    check_echo(shot, tmp_path / "out")


def test_a_shot_with_a_broken_file_fails_alone(
    victim: Daemon, tmp_path: Path, full: bool, note: Note
) -> None:
    """Some artists at once, each with one shot after the other."""
    starts, count = len(victim.worker_pids()), 10_000 if full else 20

    def ended(number: int) -> str:
        folder = tmp_path / str(number)
        try:
            return ending_of(victim, broken_shot(folder, number))
        finally:
            shutil.rmtree(folder)

    with ThreadPoolExecutor(ARTISTS) as artists:
        outcomes = Counter(artists.map(ended, range(count)))
    note(
        10,
        what="broken files through a daemon",
        cases=count,
        **outcomes,
        workers_lost=len(victim.worker_pids()) - starts,
    )
    assert set(outcomes) <= tree(errors.VoidbridgeError) - {errors.EngineFailed.code} | {"done"}
    still_works(victim, tmp_path, 901)


def broken_shot(folder: Path, number: int) -> Shot:
    """One file of it is damaged: any byte of either kind, in a file of any compression."""
    chance = random.Random(number)
    shot = make_shot(
        folder,
        range(1001, 1003),
        seed=1000 + number,
        compression=chance.choice(COMPRESSIONS),
    )
    path = shot.file(chance.choice(["plate", "matte"]), 1002)
    path.write_bytes(mutated(path.read_bytes(), chance) or b"\0")
    return shot


def ending_of(on: Daemon, shot: Shot) -> str:
    try:
        job = on.submit(shot)
    except (RequestError, DaemonError) as error:  # found before anything was sent
        return error.code
    with Client(on.address, user="somebody", software="test") as client:
        status = eventually(lambda: found if (found := client.status(job)).state.is_final else None)
    return status.code or str(status.state.value)
