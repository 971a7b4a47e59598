"""Frames on a node's disk, and their way there: the actor's own class, called without Ray."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from voidbridge_backend.cluster.delivery import Delivery, DeliveryStopped, Incoming
from voidbridge_backend.cluster.node_cache import PIECE, NodeCache
from voidbridge_protocol.errors import DamagedFile


def frame(folder: Path, size: int = 100, seed: int = 0) -> Path:
    """A file whose name is its hash."""
    data = bytes((seed + n) % 251 for n in range(997)) * (size // 997 + 1)
    name = hashlib.sha256(data[:size]).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data[:size])
    return folder / name


def delivery(cache: NodeCache, calls: list[str], spool: Path | None = None) -> Delivery:
    """Calls the node's cache, as the actor does."""

    def call(method: str, *given: Any) -> Any:
        calls.append(method)
        if method == "sees":
            return Path(given[0]).read_text() == given[1]
        if method == "import_file":
            return cache.import_file(given[0], given[1], Path(given[2]))
        return getattr(cache, method)(*given)

    return Delivery(call, spool, lambda done, of: None)


def test_a_frame_goes_to_a_node_once_and_in_pieces(tmp_path: Path) -> None:
    cache, calls = NodeCache(tmp_path / "node", 1 << 40), list[str]()
    sent = frame(tmp_path / "objects" / "user", 2 * PIECE + 5)
    way = delivery(cache, calls)
    for _ in range(2):
        way.send(sent.parent, [sent.name], threading.Event())
    assert calls == ["missing", "receive", "receive", "receive", "finish", "missing"]
    assert cache.begin("run", "user", [sent.name]) == []
    assert (cache.inputs("run") / sent.name).read_bytes() == sent.read_bytes()


def test_a_node_that_sees_the_spool_reads_frames_by_itself(tmp_path: Path) -> None:
    cache, calls = NodeCache(tmp_path / "node", 1 << 40), list[str]()
    sent = frame(tmp_path / "objects" / "user")
    delivery(cache, calls, tmp_path).send(sent.parent, [sent.name], threading.Event())
    assert calls == ["sees", "missing", "import_file"]
    assert cache.missing("user", [sent.name]) == []
    assert cache.missing("other", [sent.name]) == [sent.name]


def test_a_damaged_frame_is_kept_nowhere(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path / "node", 1 << 40)
    sent = frame(tmp_path / "objects" / "user")
    sent.write_bytes(b"something else")
    with pytest.raises(DamagedFile) as found:
        delivery(cache, []).send(sent.parent, [sent.name], threading.Event())
    assert found.value.files == (sent.name,)
    assert cache.missing("user", [sent.name]) == [sent.name]
    assert list((tmp_path / "node" / "tmp").iterdir()) == []


def test_a_cancelled_job_sends_no_further_frame(tmp_path: Path) -> None:
    sent, stop, calls = frame(tmp_path / "objects" / "user"), threading.Event(), list[str]()
    stop.set()
    with pytest.raises(DeliveryStopped):
        delivery(NodeCache(tmp_path / "node", 1 << 40), calls).send(sent.parent, [sent.name], stop)
    assert calls == ["missing"]


def test_the_least_recently_used_frames_go_first_and_a_running_job_keeps_its_own(
    tmp_path: Path,
) -> None:
    cache = NodeCache(tmp_path / "node", 250)
    names = []
    for seed in range(4):
        sent = frame(tmp_path / "objects" / "user", 100, seed)
        delivery(cache, []).send(sent.parent, [sent.name], threading.Event())
        os.utime(tmp_path / "node" / "objects" / "user" / sent.name, (seed, seed))
        names.append(sent.name)
    assert cache.begin("run", "user", names[:1]) == []
    assert cache.clean() == 200
    assert cache.missing("user", names) == names[:2]
    assert (cache.inputs("run") / names[0]).stat().st_size == 100
    cache.end("run")
    assert not cache.inputs("run").exists()


@pytest.mark.parametrize("name", ["../other", "a/b", ".runs", ""])
def test_a_name_never_leaves_the_cache(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no name of a file"):
        NodeCache(tmp_path / "node", 1).missing("user", [name])


def test_a_result_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    arriving = Incoming(tmp_path)
    arriving.add(b"one ")
    arriving.add(b"two")
    assert not (tmp_path / "1001.exr").exists()
    assert arriving.sha256 == hashlib.sha256(b"one two").hexdigest()
    arriving.publish("1001.exr")
    assert [path.name for path in tmp_path.iterdir()] == ["1001.exr"]
