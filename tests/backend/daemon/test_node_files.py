"""Frames on a node's disk, and their way there: the actor's own class, called without Ray."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from voidbridge_stage import full_disk

from voidbridge_backend.cluster.delivery import Delivery, DeliveryStopped, Incoming, damaged
from voidbridge_backend.cluster.frame_socket import (
    PIECE,
    SECRET,
    ConnectionBroke,
    FrameReceiver,
)
from voidbridge_backend.cluster.node_cache import NodeCache
from voidbridge_protocol.errors import DamagedFile


def frame(folder: Path, size: int = 100, seed: int = 0) -> Path:
    """A file whose name is its hash."""
    data = bytes((seed + n) % 251 for n in range(997)) * (size // 997 + 1)
    name = hashlib.sha256(data[:size]).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data[:size])
    return folder / name


def header(**fields: Any) -> bytes:
    data = json.dumps(fields).encode()
    return len(data).to_bytes(4, "big") + data


class Node:
    """A node's cache behind the actor's methods, and its end for frames."""

    def __init__(self, folder: Path, capacity: int = 1 << 40, spool: Path | None = None) -> None:
        self.cache, self.calls = NodeCache(folder, capacity), list[str]()
        self.receiver = FrameReceiver(self.cache, "127.0.0.1")
        self.way = Delivery(self._call, self.receiver.place, spool, lambda done, of: None)

    def _call(self, method: str, *given: Any) -> Any:
        self.calls.append(method)
        if method == "sees":
            return Path(given[0]).read_text() == given[1]
        if method == "import_file":
            return self.cache.import_file(given[0], given[1], Path(given[2]))
        return getattr(self.cache, method)(*given)

    def send(self, *frames: Path, stop: threading.Event | None = None) -> None:
        names = [path.name for path in frames]
        self.way.send(frames[0].parent, names, stop or threading.Event())


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path / "node")
    yield made
    made.receiver.close()


def test_frames_go_to_a_node_once(node: Node, tmp_path: Path) -> None:
    sizes = [2 * PIECE + 5, 1, PIECE, 70_000, 5, 6]
    sent = [frame(tmp_path / "objects" / "user", size, seed) for seed, size in enumerate(sizes)]
    names = [path.name for path in sent]
    for _ in range(2):
        node.send(*sent)
        assert node.cache.missing("user", names) == []
    assert node.calls == ["missing", "missing"]
    assert node.cache.begin("run", "user", names) == []
    for path in sent:
        assert (node.cache.inputs("run") / path.name).read_bytes() == path.read_bytes()
    assert list((tmp_path / "node" / "tmp").iterdir()) == []


def test_a_sender_without_the_secret_is_served_nothing(node: Node, tmp_path: Path) -> None:
    sent = frame(tmp_path / "objects" / "user")
    stranger = replace(node.receiver.place, secret=bytes(SECRET))
    node.way = Delivery(node._call, stranger, None, lambda done, of: None)
    with pytest.raises(ConnectionBroke):
        node.send(sent)
    assert node.cache.missing("user", [sent.name]) == [sent.name]


@pytest.mark.parametrize(
    "said",
    [
        b"\xff\xff\xff\xff",
        b"\0\0\0\2{}",
        b"\0\0\0\2[]",
        header(user="../..", name="a" * 64, size=1) + b"x",
        header(user="user", name="a/b", size=1) + b"x",
        header(user="user", name="a" * 64, size=100) + b"cut off",
    ],
    ids=["too long", "no fields", "a list", "a folder above", "a path", "cut off"],
)
def test_nonsense_ends_its_connection_and_leaves_nothing(
    node: Node, tmp_path: Path, said: bytes
) -> None:
    place = node.receiver.place
    with socket.create_connection((place.host, place.port)) as line:
        line.sendall(place.secret + said)
        with suppress(OSError):  # it may have closed already, with some of that unread
            line.shutdown(socket.SHUT_WR)
            assert line.recv(1) == b""
    assert [p for p in (tmp_path / "node").rglob("*") if p.is_file()] == []
    node.send(frame(tmp_path / "objects" / "user"))


def test_a_node_that_is_gone_breaks_the_connection(node: Node, tmp_path: Path) -> None:
    node.receiver.close()
    with pytest.raises(ConnectionBroke, match="no connection for frames"):
        node.send(frame(tmp_path / "objects" / "user"))


def test_a_node_without_room_says_so_and_takes_the_next_frame(tmp_path: Path) -> None:
    near = Node(tmp_path / "node", spool=tmp_path)
    large, small = (frame(tmp_path / "objects" / "user", size) for size in (3 * PIECE, 9))
    # Room for the proof that both see one disk, and for a piece of the frame.
    with full_disk(PIECE), pytest.raises(ConnectionBroke, match="its disk is full"):
        near.send(large)
    assert [p for p in (tmp_path / "node").rglob("*") if p.is_file()] == []
    near.send(small)
    near.receiver.close()
    assert near.cache.missing("user", [large.name, small.name]) == [large.name]


def test_a_node_that_sees_the_spool_reads_frames_by_itself(tmp_path: Path) -> None:
    near = Node(tmp_path / "node", spool=tmp_path)
    sent = frame(tmp_path / "objects" / "user")
    near.send(sent)
    near.receiver.close()
    assert near.calls == ["sees", "missing", "import_file"]
    assert near.cache.missing("user", [sent.name]) == []
    assert near.cache.missing("other", [sent.name]) == [sent.name]


def test_a_frame_that_is_gone_here_is_kept_nowhere(node: Node, tmp_path: Path) -> None:
    sent = frame(tmp_path / "objects" / "user")
    sent.unlink()
    with pytest.raises(DamagedFile) as found:
        node.send(sent)
    assert found.value.files == (sent.name,)
    assert node.cache.missing("user", [sent.name]) == [sent.name]
    assert list((tmp_path / "node" / "tmp").iterdir()) == []


def test_a_frame_that_a_worker_finds_damaged_is_sent_again_over_the_network(
    tmp_path: Path,
) -> None:
    """The node saw other bytes at the path than the daemon."""
    near = Node(tmp_path / "node", spool=tmp_path)
    sent = frame(tmp_path / "objects" / "user")
    right = sent.read_bytes()
    sent.write_bytes(b"something else")
    near.send(sent)
    sent.write_bytes(right)
    near.cache.forget("user", [sent.name])
    near.way.send(sent.parent, [sent.name], threading.Event(), by_path=False)
    near.receiver.close()
    assert near.calls == ["sees", "missing", "import_file", "missing"]
    assert near.cache.begin("run", "user", [sent.name]) == []
    assert (near.cache.inputs("run") / sent.name).read_bytes() == right


def test_a_cancelled_job_sends_no_further_frame(node: Node, tmp_path: Path) -> None:
    sent, stop = frame(tmp_path / "objects" / "user"), threading.Event()
    stop.set()
    with pytest.raises(DeliveryStopped):
        node.send(sent, stop=stop)
    assert node.calls == ["missing"]


def test_the_least_recently_used_frames_go_first_and_a_running_job_keeps_its_own(
    tmp_path: Path,
) -> None:
    small = Node(tmp_path / "node", 250)
    cache, names = small.cache, list[str]()
    for seed in range(4):
        sent = frame(tmp_path / "objects" / "user", 100, seed)
        small.send(sent)
        os.utime(tmp_path / "node" / "objects" / "user" / sent.name, (seed, seed))
        names.append(sent.name)
    small.receiver.close()
    assert cache.begin("run", "user", names[:1]) == []
    assert cache.clean() == 200
    assert cache.missing("user", names) == names[:2]
    assert (cache.inputs("run") / names[0]).stat().st_size == 100
    cache.end("run")
    assert not cache.inputs("run").exists()


@pytest.mark.parametrize("name", ["../other", "a/b", ".runs", ""])
def test_a_name_never_leaves_the_cache(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a name of a file"):
        NodeCache(tmp_path / "node", 1).missing("user", [name])


def test_a_result_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    arriving = Incoming(tmp_path)
    arriving.add(b"one ")
    arriving.add(b"two")
    assert not (tmp_path / "1001.exr").exists()
    assert arriving.sha256 == hashlib.sha256(b"one two").hexdigest()
    arriving.publish("1001.exr")
    assert [path.name for path in tmp_path.iterdir()] == ["1001.exr"]


def test_the_daemons_own_frames_are_told_from_those_that_a_node_damages(tmp_path: Path) -> None:
    whole, short, empty = (frame(tmp_path, seed=seed) for seed in range(3))
    short.write_bytes(short.read_bytes()[:-1])
    empty.write_bytes(b"")
    names = [whole.name, short.name, empty.name, "0" * 64]
    assert damaged(tmp_path, names) == names[1:]
    assert damaged(tmp_path, [whole.name]) == []
