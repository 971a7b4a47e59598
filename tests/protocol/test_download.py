"""Downloads as states: credit, resuming, damage, and no half-written file."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from voidbridge_protocol.errors import DiskFull, TransferFailed
from voidbridge_protocol.transfer.atomic_files import write_whole
from voidbridge_protocol.transfer.download import Download
from voidbridge_protocol.wire.messages import MAX_UNANSWERED, Chunk, Get, ResultFile

CHUNK = 10
MUCH = 1 << 30


Piece = tuple[int, bytes]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Shelf:
    """Returns a daemon's answer."""

    def __init__(self, folder: Path, *contents: bytes) -> None:
        self.folder = folder
        self.data = {1001 + i: data for i, data in enumerate(contents)}
        self.download = Download("job", self.target, CHUNK, 4 * CHUNK)

    def target(self, frame: int) -> Path:
        return self.folder / "out" / f"{frame}.exr"

    def results(self) -> list[ResultFile]:
        return [ResultFile(frame, sha(data), len(data)) for frame, data in self.data.items()]

    def asked(self) -> list[Get]:
        gets = []
        while get := self.download.next_get():
            gets.append(get)
        return gets

    def answer(self, get: Get) -> int | None:
        """The frame that came into its place by that."""
        piece = self.data[get.frame][get.offset : get.offset + get.length]
        self.download.arrived(Chunk("job", get.frame, get.offset), piece)
        return next(iter(self.settled()), None)

    def settled(self) -> list[int]:
        frames = []
        while self.download.is_settling:
            frames += self.download.settled()
        return frames

    def answer_all(self) -> list[int]:
        done = []
        while gets := self.asked():
            done += [frame for get in gets if (frame := self.answer(get)) is not None]
        return done

    def left_behind(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*.tmp"))


Shelves = Callable[..., Shelf]


@pytest.fixture
def shelf_of(tmp_path: Path) -> Iterator[Shelves]:
    made: list[Shelf] = []

    def make(*contents: bytes) -> Shelf:
        made.append(Shelf(tmp_path, *contents))
        return made[-1]

    yield make
    for shelf in made:
        shelf.download.abandon()


def test_results_arrive_whole_under_their_names(shelf_of: Shelves) -> None:
    shelf = shelf_of(bytes(range(25)), b"short", bytes(10))
    assert shelf.download.announced(shelf.results()) == []
    assert shelf.answer_all() == [1001, 1002, 1003]
    for frame, data in shelf.data.items():
        assert shelf.target(frame).read_bytes() == data
    assert sorted(shelf.download.finished) == [1001, 1002, 1003]
    assert shelf.download.received == 40
    assert shelf.left_behind() == []


def test_no_more_is_asked_for_than_the_window_holds(shelf_of: Shelves) -> None:
    shelf = shelf_of(bytes(1000))
    shelf.download.announced(shelf.results())
    gets = shelf.asked()
    assert [get.offset for get in gets] == [0, 10, 20, 30]
    shelf.answer(gets[0])
    assert [get.offset for get in shelf.asked()] == [40]


def test_only_so_many_gets_are_unanswered_however_small_the_results_are(shelf_of: Shelves) -> None:
    shelf = shelf_of(*(bytes([i]) for i in range(100)))
    shelf.download = Download("job", shelf.target, CHUNK, MUCH)
    shelf.download.announced(shelf.results())
    assert len(shelf.asked()) == MAX_UNANSWERED


def test_a_result_is_invisible_until_it_is_whole(shelf_of: Shelves) -> None:
    shelf = shelf_of(bytes(25))
    shelf.download.announced(shelf.results())
    first, *_ = shelf.asked()
    assert shelf.answer(first) is None
    assert not shelf.target(1001).exists()
    assert shelf.left_behind() == ["1001.exr.tmp"]


def test_what_is_given_up_leaves_nothing_half_written(tmp_path: Path, shelf_of: Shelves) -> None:
    shelf = shelf_of(b"done", bytes(25))
    shelf.download.announced(shelf.results())
    first, second, *_ = shelf.asked()
    assert shelf.answer(first) == 1001
    shelf.answer(second)
    shelf.download.abandon()
    assert shelf.left_behind() == []
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1001.exr"]


def test_a_result_that_is_there_already_is_not_fetched_again(shelf_of: Shelves) -> None:
    shelf = shelf_of(b"there", b"stale", b"short")
    shelf.target(1001).parent.mkdir()
    shelf.target(1001).write_bytes(b"there")
    shelf.target(1002).write_bytes(b"STALE")
    shelf.target(1003).write_bytes(b"sho")
    assert shelf.download.announced(shelf.results()) == [1001]
    assert {get.frame for get in shelf.asked()} == {1002, 1003}


def test_an_announcement_that_is_repeated_changes_nothing(shelf_of: Shelves) -> None:
    shelf = shelf_of(bytes(25))
    shelf.download.announced(shelf.results())
    shelf.download.announced(shelf.results())
    assert shelf.answer_all() == [1001]
    shelf.download.announced(shelf.results())
    assert shelf.asked() == []


def test_after_a_lost_connection_a_result_goes_on_behind_what_is_written(shelf_of: Shelves) -> None:
    shelf = shelf_of(bytes(range(45)))
    shelf.download.announced(shelf.results())
    gets = shelf.asked()
    shelf.answer(gets[0])
    shelf.answer(gets[1])

    shelf.download.reconnected()
    shelf.download.announced(shelf.results())
    again = shelf.asked()
    assert [get.offset for get in again] == [20, 30, 40]
    assert [shelf.answer(get) for get in again] == [None, None, 1001]
    assert shelf.target(1001).read_bytes() == bytes(range(45))


@pytest.mark.parametrize(
    "damage", [lambda d: bytes(len(d)), lambda d: d[:-1]], ids=["bits", "short"]
)
def test_what_arrives_damaged_is_asked_for_again_from_the_start(
    shelf_of: Shelves, damage: Callable[[bytes], bytes]
) -> None:
    shelf = shelf_of(bytes(range(1, 26)))
    shelf.download.announced(shelf.results())
    whole = shelf.data[1001]
    shelf.data[1001] = damage(whole)
    gets = shelf.asked()
    assert [shelf.answer(get) for get in gets] == [None, None, None]
    assert shelf.left_behind() == []
    shelf.data[1001] = whole
    again = shelf.asked()
    assert [get.offset for get in again] == [0, 10, 20]
    # The daemon looks at its own copy before it sends the first piece again.
    assert [get.verify for get in gets + again] == [False] * 3 + [True, False, False]
    assert [shelf.answer(get) for get in again] == [None, None, 1001]
    assert shelf.target(1001).read_bytes() == whole


def test_what_the_daemon_made_again_is_fetched_without_a_doubt(shelf_of: Shelves) -> None:
    shelf = shelf_of(b"result")
    shelf.download.announced(shelf.results())
    for _ in range(
        5
    ):  # results that were damaged on the daemon's disk are no failures of the network
        [get] = shelf.asked()
        assert not get.verify
        whole, shelf.data[1001] = shelf.data[1001], b"RESULT"
        shelf.answer(get)
        assert [get.verify for get in shelf.asked()] == [True]
        shelf.download.begin_again()
        shelf.download.reconnected()
        shelf.data[1001] = whole
        shelf.download.announced(shelf.results())
    assert shelf.answer_all() == [1001]


def test_what_always_arrives_damaged_is_given_up_by_name(shelf_of: Shelves) -> None:
    shelf = shelf_of(b"result")
    shelf.download.announced(shelf.results())
    shelf.data[1001] = b"RESULT"
    with pytest.raises(TransferFailed, match=r"1001\.exr.*3 times"):
        shelf.answer_all()
    assert shelf.left_behind() == []
    assert not shelf.target(1001).exists()


def test_a_result_that_is_announced_anew_is_fetched_anew_in_a_whole_window(
    shelf_of: Shelves,
) -> None:
    shelf = shelf_of(bytes(100))
    shelf.download.announced(shelf.results())
    old = shelf.asked()
    shelf.answer(old[0])
    shelf.data[1001] = bytes(range(100))
    shelf.download.announced(shelf.results())
    for get in old[1:]:
        shelf.answer(get)  # what was on its way
    assert shelf.answer_all() == [1001]
    assert shelf.target(1001).read_bytes() == bytes(range(100))


def test_a_result_that_is_announced_anew_while_it_is_put_in_place_is_fetched_anew(
    shelf_of: Shelves,
) -> None:
    shelf = shelf_of(bytes(8))
    shelf.download.announced(shelf.results())
    [get] = shelf.asked()
    shelf.download.arrived(Chunk("job", 1001, 0), shelf.data[1001][: get.length])
    shelf.data[1001] = bytes(range(8))
    shelf.download.announced(shelf.results())
    assert shelf.settled() == []
    assert shelf.answer_all() == [1001]
    assert shelf.target(1001).read_bytes() == bytes(range(8))


def test_what_nobody_asked_for_is_not_written(shelf_of: Shelves) -> None:
    shelf = shelf_of(bytes(25))
    shelf.download.announced(shelf.results())
    shelf.asked()
    shelf.download.arrived(Chunk("other job", 1001, 0), bytes(10))
    shelf.download.arrived(Chunk("job", 7, 0), bytes(10))
    shelf.download.arrived(Chunk("job", 1001, 999), bytes(10))
    assert shelf.download.received == 0
    assert not shelf.download.is_settling


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, shelf_of: Shelves) -> None:
    shelf = shelf_of(b"result")
    (tmp_path / "out").write_text("a file where the folder should be")
    shelf.download.announced(shelf.results())
    with pytest.raises(DiskFull, match=r"out.1001\.exr cannot be written"):
        shelf.asked()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_a_full_disk_is_an_error_with_a_name_and_leaves_nothing(
    tmp_path: Path, shelf_of: Shelves
) -> None:
    shelf = shelf_of(b"result")
    shelf.target(1001).parent.mkdir()
    (tmp_path / "out" / "1001.exr.tmp").symlink_to("/dev/full")
    shelf.download.announced(shelf.results())
    with pytest.raises(DiskFull, match=r"1001\.exr cannot be written: \d+ MB are free"):
        shelf.answer_all()
    shelf.download.abandon()
    assert os.listdir(tmp_path / "out") == []


def test_a_small_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "provenance.json"
    write_whole(target, b"{}")
    write_whole(target, b'{"again": 1}')
    assert target.read_bytes() == b'{"again": 1}'
    assert os.listdir(target.parent) == ["provenance.json"]
    (tmp_path / "folder").mkdir()
    with pytest.raises(DiskFull, match="folder cannot be written"):
        write_whole(tmp_path / "folder", b"x")
    assert not list(tmp_path.glob("*.tmp"))
