"""An imported file is treated as a sent one, and a disk that is away delays nobody."""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import FileIO
from pathlib import Path

import pytest

from voidbridge_backend.daemon.files import file_import
from voidbridge_backend.daemon.files.file_import import PATIENCE_S, READERS, FileImport
from voidbridge_backend.daemon.files.shares import Shares
from voidbridge_backend.daemon.store.io_threads import IoThreads
from voidbridge_backend.daemon.store.spool import Spool, UserFile
from voidbridge_protocol.errors import NotHere, SpoolFull
from voidbridge_protocol.transfer.shared_files import proof
from voidbridge_protocol.wire.messages import MAX_CHUNK, Got, ImportFile, Message, Nack

EPOCH = "e1"


class Stage:
    """A takeover with a real spool, whose own thread is the test's."""

    def __init__(self, folder: Path, shares: Callable[[Path], Shares]) -> None:
        self.show = folder / "show"
        self.show.mkdir()
        self.spool = Spool(folder / "spool")
        self._mailbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.disk = IoThreads(self.spool, self._mailbox.put)
        self.file_import = FileImport(
            shares(self.show), self.spool, self.disk, EPOCH, self._mailbox.put
        )
        self.told: list[tuple[Path, Message, int]] = []

    def file(self, name: str, size: int = 5000) -> Path:
        path = self.show / name
        path.write_bytes(hashlib.shake_128(name.encode()).digest(size))
        return path

    def asked(self, path: Path) -> ImportFile:
        data = path.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        with path.open("rb") as file:
            return ImportFile(sha256, len(data), str(path), proof(EPOCH, sha256, len(data), file))

    def begin(self, path: Path, asked: ImportFile | None = None, user: str = "ana") -> UserFile:
        asked = asked or self.asked(path)
        file = UserFile(user, asked.sha256)
        self.file_import.begin(file, asked, lambda *told: self.told.append((path, *told)))
        return file

    def until_told(self, count: int) -> None:
        while len(self.told) < count:
            self._mailbox.get(timeout=120)()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path, lambda show: Shares([str(show)]))
    yield made
    made.disk.close()


@pytest.mark.parametrize("size", [1, 5000, MAX_CHUNK, 3 * MAX_CHUNK + 7, 9 * MAX_CHUNK])
def test_a_file_comes_into_the_spool_whole(stage: Stage, size: int) -> None:
    path = stage.file("a.exr", size)
    file = stage.begin(path)
    stage.until_told(1)
    assert stage.told == [(path, Got(file.sha256), size)]
    assert stage.spool.object_path(file).read_bytes() == path.read_bytes()
    assert not list((stage.spool.folder / "parts").iterdir())


def test_what_was_sent_of_it_before_is_not_copied_again(stage: Stage) -> None:
    path = stage.file("a.exr")
    asked = stage.asked(path)
    file = UserFile("ana", asked.sha256)
    for have in (2000, 5000):
        stage.spool.part_path(file).write_bytes(path.read_bytes()[:have])
        stage.begin(path, asked)
        stage.until_told(1)
        assert stage.told.pop() == (path, Got(file.sha256), 5000 - have)
        stage.spool.object_path(file).unlink()


def refused(stage: Stage, path: Path, asked: ImportFile) -> tuple[Nack, int]:
    stage.begin(path, asked)
    stage.until_told(1)
    _, reply, copied = stage.told.pop()
    assert isinstance(reply, Nack)
    return reply, copied


def test_whatever_is_wrong_is_answered_in_the_same_words(stage: Stage, tmp_path: Path) -> None:
    path, outside = stage.file("a.exr"), tmp_path / "a.exr"
    outside.write_bytes(path.read_bytes())
    asked = stage.asked(path)
    replies = {
        refused(stage, path, wrong)
        for wrong in (
            replace(asked, path=str(stage.show / "absent.exr")),
            replace(asked, path=str(outside)),
            replace(asked, path=str(stage.show)),
            replace(asked, proof="0" * 64),
            replace(asked, proof="\N{SNOWMAN}"),
            replace(asked, size=asked.size + 1),
        )
    }
    assert replies == {(Nack(asked.sha256, 0, NotHere.code, file_import.SAID), 0)}
    assert not list((stage.spool.folder / "parts").iterdir())


def test_who_knows_a_hash_but_not_the_file_gets_nothing(stage: Stage) -> None:
    """A hash may stand in a record or a log; the proof takes the file."""
    path, other = stage.file("a.exr"), stage.file("b.exr")
    asked, guessed = stage.asked(path), stage.asked(other)
    reply, copied = refused(stage, path, ImportFile(asked.sha256, 5000, asked.path, guessed.proof))
    assert (reply.code, copied) == (NotHere.code, 0)


def test_a_file_that_has_changed_since_it_was_hashed_is_not_kept(stage: Stage) -> None:
    """So little that the proof does not show it: what counts in the end is the hash of all of it."""
    path = stage.file("a.exr", 500_000)
    asked = stage.asked(path)
    data = bytearray(path.read_bytes())
    for place in range(0, len(data), 100):  # the first byte that no piece of the proof holds
        data[place] ^= 1
        path.write_bytes(data)
        with path.open("rb") as file:
            if proof(EPOCH, asked.sha256, asked.size, file) == asked.proof:
                break
        data[place] ^= 1
    reply, copied = refused(stage, path, asked)
    assert (reply.code, reply.offset, copied) == (NotHere.code, 0, 500_000)
    assert not stage.spool.has(UserFile("ana", asked.sha256))
    assert not list((stage.spool.folder / "parts").iterdir())


class Shrinking(Shares):
    """Somebody cuts the file off at the very moment when it is opened."""

    def open(self, path: str, size: int) -> FileIO | None:
        file = super().open(path, size)
        with Path(path).open("rb+") as other:
            other.truncate(MAX_CHUNK + 1000)
        return file


def test_a_file_that_becomes_shorter_is_left_to_the_client(tmp_path: Path) -> None:
    stage = Stage(tmp_path, lambda show: Shrinking([str(show)]))
    path = stage.file("a.exr", MAX_CHUNK + 1000)
    asked = stage.asked(path)
    longer = path.read_bytes() + bytes(2 * MAX_CHUNK)
    path.write_bytes(longer)
    with path.open("rb") as file:
        shown = proof(EPOCH, asked.sha256, len(longer), file)
    try:
        reply, _ = refused(stage, path, ImportFile(asked.sha256, len(longer), asked.path, shown))
        assert reply.code == NotHere.code
        assert not stage.spool.has(UserFile("ana", asked.sha256))
    finally:
        stage.disk.close()


class Hanging(Shares):
    """A disk whose server is away: whoever asks it for something waits."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__(texts)
        self.back = threading.Event()
        self.asked = threading.Semaphore(0)

    def open(self, path: str, size: int) -> FileIO | None:
        self.asked.release()
        assert self.back.wait(120)
        return super().open(path, size)


Hung = tuple[Stage, Hanging]


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[Hung]:
    shares: list[Hanging] = []

    def made(show: Path) -> Shares:
        shares.append(Hanging([str(show)]))
        return shares[0]

    stage = Stage(tmp_path, made)
    yield stage, shares[0]
    shares[0].back.set()
    stage.disk.close()


def test_a_disk_that_does_not_answer_is_given_up_until_it_does(hung: Hung) -> None:
    stage, disk = hung
    paths = [stage.file(f"{number}.exr") for number in range(READERS + 2)]
    for path in paths[:-1]:
        stage.begin(path)
    for _ in range(READERS):
        assert disk.asked.acquire(timeout=120)
    stage.file_import.tick(time.monotonic())
    assert stage.told == [], "not yet"
    stage.file_import.tick(time.monotonic() + PATIENCE_S + 1)
    assert {path for path, _, _ in stage.told} == set(paths[:-1]), "who waits behind it too"
    stage.begin(paths[-1])
    assert stage.told[-1][0] == paths[-1], "nobody else is kept waiting for it"
    assert {type(reply) for _, reply, _ in stage.told} == {Nack}
    stage.told.clear()
    disk.back.set()
    # What was given up is not kept in the end, and the threads go on with what comes now.
    last = stage.file("last.exr")
    while not stage.told:
        file = stage.begin(last)
        stage.until_told(1)
        if isinstance(stage.told[0][1], Nack):
            stage.told.clear()
            stage._mailbox.get(timeout=120)()
    assert stage.told[0][1] == Got(file.sha256)
    assert not any(stage.spool.has(UserFile("ana", stage.asked(p).sha256)) for p in paths)


def test_nothing_more_is_copied_to_a_disk_that_is_full(hung: Hung) -> None:
    stage, disk = hung
    files = [stage.begin(stage.file(f"{number}.exr")) for number in range(READERS + 1)]
    stage.file_import.tick(time.monotonic(), is_full=True)
    assert len(stage.told) == 1, "who waits is told at once"
    disk.back.set()
    stage.until_told(READERS + 1)
    assert {reply for _, reply, _ in stage.told} == {
        stage.file_import.refusal(file) for file in files
    }
    assert not list((stage.spool.folder / "parts").iterdir())


def test_nobody_waits_behind_everything_of_somebody_else(hung: Hung) -> None:
    stage, disk = hung
    mine = [stage.file(f"{number}.exr") for number in range(READERS + 4)]
    for path in mine:
        stage.begin(path)
    his = stage.file("his.exr")
    stage.begin(his, user="ben")
    disk.back.set()
    stage.until_told(len(mine) + 1)
    order = [path for path, _, _ in stage.told]
    assert order.index(his) <= 2 * READERS
    assert {type(reply) for _, reply, _ in stage.told} == {Got}


def test_who_leaves_may_come_back_for_the_same_file(stage: Stage) -> None:
    path = stage.file("a.exr", 8 * MAX_CHUNK)
    file = stage.begin(path)
    stage.file_import.leave([file])
    stage.begin(path)  # as the next connection does
    stage.until_told(2)
    assert Got(file.sha256) in [reply for _, reply, _ in stage.told]
    assert stage.spool.object_path(file).read_bytes() == path.read_bytes()
    waits = [stage.begin(stage.file(f"{n}.exr")) for n in range(READERS + 1)][-1]
    stage.file_import.leave([waits])
    assert stage.told[2][1] == stage.file_import.refusal(waits)
    stage.until_told(2 + READERS + 1)


def test_without_shares_there_is_no_thread_and_no_answer_but_one(tmp_path: Path) -> None:
    before = threading.active_count()
    stage = Stage(tmp_path, lambda show: Shares())
    path = stage.file("a.exr")
    stage.begin(path)
    assert [reply.code for _, reply, _ in stage.told if isinstance(reply, Nack)] == [NotHere.code]
    stage.disk.close()
    assert threading.active_count() == before


def test_a_spool_that_is_full_says_so_as_to_a_put(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: UserFile, size: int, offset: int, piece: bytes) -> bool:
        raise SpoolFull("no room")

    monkeypatch.setattr(stage.spool, "receive", full)
    path = stage.file("a.exr")
    reply, _ = refused(stage, path, stage.asked(path))
    assert (reply.code, reply.text) == (SpoolFull.code, "no room")
