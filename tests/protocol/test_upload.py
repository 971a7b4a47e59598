"""Uploads as states: credit, resuming, refusals and damage."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from voidbridge_protocol.errors import TransferFailed, UnreadableFrame
from voidbridge_protocol.transfer.upload import TRIES, Upload, hash_file
from voidbridge_protocol.wire.messages import MAX_UNANSWERED, FrameFile, Nack, Put

CHUNK = 10
MUCH = 1 << 30
Piece = tuple[int, bytes]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


Uploads = Callable[..., tuple[Upload, list[FrameFile]]]


@pytest.fixture
def upload_of(tmp_path: Path) -> Iterator[Uploads]:
    made: list[Upload] = []

    def make(*contents: bytes) -> tuple[Upload, list[FrameFile]]:
        upload, files = new_upload(tmp_path, *contents)
        made.append(upload)
        return upload, files

    yield make
    for upload in made:
        upload.close()


def new_upload(folder: Path, *contents: bytes) -> tuple[Upload, list[FrameFile]]:
    paths = [folder / f"plate.{1001 + i}.exr" for i in range(len(contents))]
    for path, data in zip(paths, contents, strict=True):
        path.write_bytes(data)
    files = [hash_file(path, "plate", 1001 + i) for i, path in enumerate(paths)]
    return Upload(files, paths, CHUNK), files


def sent_by(upload: Upload) -> list[tuple[Put, bytes]]:
    sent = []
    while piece := upload.next_chunk():
        sent.append(piece)
    return sent


def joined(pieces: list[tuple[Put, bytes]]) -> dict[str, list[Piece]]:
    files: dict[str, list[Piece]] = {}
    for put, data in pieces:
        files.setdefault(put.sha256, []).append((put.offset, data))
    return files


def test_a_file_is_sent_in_chunks_from_its_beginning(upload_of: Uploads) -> None:
    data = bytes(range(25))
    upload, files = upload_of(data)
    upload.wanted([0], ())
    upload.granted(MUCH)

    name = files[0].sha256
    assert joined(sent_by(upload)) == {name: [(0, data[:10]), (10, data[10:20]), (20, data[20:])]}
    assert not upload.done
    upload.confirmed(name)
    assert upload.done


def test_nothing_is_sent_without_credit_and_never_more_than_it(upload_of: Uploads) -> None:
    upload, _ = upload_of(bytes(45))
    upload.wanted([0], ())
    assert sent_by(upload) == []

    upload.granted(25)
    assert sum(len(data) for _, data in sent_by(upload)) == 20
    upload.granted(10)
    assert sum(len(data) for _, data in sent_by(upload)) == 10
    upload.granted(10)
    assert upload.sent == 30
    assert sum(len(data) for _, data in sent_by(upload)) == 15


def test_only_so_many_pieces_are_unanswered_however_small_they_are(upload_of: Uploads) -> None:
    upload, files = upload_of(*(bytes([i]) for i in range(100)))
    upload.wanted(range(100), ())
    upload.granted(MUCH)

    assert len(sent_by(upload)) == MAX_UNANSWERED
    upload.granted(1)
    upload.granted(1)
    assert len(sent_by(upload)) == 2
    assert len(files) == 100


def test_only_what_is_wanted_is_sent_from_where_the_daemon_stands(upload_of: Uploads) -> None:
    first, second, third = b"a" * 15, bytes(range(25)), b"c" * 15
    upload, files = upload_of(first, second, third)
    upload.wanted([1, 2], [(1, 13)])
    upload.granted(MUCH)

    assert joined(sent_by(upload)) == {
        files[1].sha256: [(13, second[13:23]), (23, second[23:])],
        files[2].sha256: [(0, third[:10]), (10, third[10:])],
    }
    assert (upload.sent, upload.total) == (27, 27)


def test_the_same_content_twice_is_sent_once(upload_of: Uploads) -> None:
    upload, files = upload_of(b"black", b"black", b"white")
    upload.wanted([0, 1, 2], ())
    upload.granted(MUCH)

    assert [put.sha256 for put, _ in sent_by(upload)] == [files[0].sha256, files[2].sha256]
    upload.confirmed(sha(b"black"))
    upload.confirmed(sha(b"white"))
    assert upload.done


def test_a_whole_file_that_the_daemon_has_not_verified_is_finished_by_an_empty_piece(
    upload_of: Uploads,
) -> None:
    upload, files = upload_of(bytes(25))
    upload.wanted([0], [(0, 25)])
    upload.granted(MUCH)
    assert joined(sent_by(upload)) == {files[0].sha256: [(25, b"")]}


def test_after_a_lost_connection_nothing_is_sent_until_the_daemon_says_what_it_lacks(
    upload_of: Uploads,
) -> None:
    upload, _ = upload_of(bytes(45))
    upload.wanted([0], ())
    upload.granted(30)
    sent_by(upload)

    upload.reconnected()
    upload.granted(MUCH)
    assert sent_by(upload) == []
    upload.wanted([0], [(0, 20)])
    assert [put.offset for put, _ in sent_by(upload)] == [20, 30, 40]
    assert (upload.sent, upload.total) == (30 + 25, 30 + 25)


def test_an_offset_nack_makes_the_upload_go_on_from_there(upload_of: Uploads) -> None:
    upload, files = upload_of(bytes(45), b"other")
    upload.wanted([0, 1], ())
    upload.granted(30)
    sent_by(upload)
    upload.granted(MUCH)
    upload.refused(Nack(files[0].sha256, 10, "protocol.offset", "the next byte should be 10"))
    offsets = {name: [o for o, _ in pieces] for name, pieces in joined(sent_by(upload)).items()}
    assert offsets == {files[0].sha256: [10, 20, 30, 40], files[1].sha256: [0]}


def test_a_file_whose_hash_never_comes_out_right_is_given_up(upload_of: Uploads) -> None:
    upload, files = upload_of(b"changed meanwhile")
    upload.wanted([0], ())
    upload.granted(MUCH)
    nack = Nack(files[0].sha256, 0, "protocol.transfer", "the bytes have another hash")
    for _ in range(TRIES - 1):
        assert len(sent_by(upload)) == 2
        upload.refused(nack)
    sent_by(upload)
    with pytest.raises(TransferFailed, match=r"plate\.1001\.exr: the bytes have another hash"):
        upload.refused(nack)


def test_a_late_nack_of_a_file_that_was_taken_changes_nothing(upload_of: Uploads) -> None:
    upload, files = upload_of(b"frame")
    upload.wanted([0], ())
    upload.granted(MUCH)
    sent_by(upload)
    upload.confirmed(files[0].sha256)
    upload.refused(Nack(files[0].sha256, 0, "protocol.offset", "late"))
    assert sent_by(upload) == []
    assert upload.done


def test_a_source_that_became_shorter_is_named(tmp_path: Path, upload_of: Uploads) -> None:
    upload, _ = upload_of(bytes(25))
    upload.wanted([0], ())
    upload.granted(MUCH)
    upload.next_chunk()
    (tmp_path / "plate.1001.exr").write_bytes(bytes(12))
    with pytest.raises(UnreadableFrame, match=r"plate\.1001\.exr became shorter"):
        sent_by(upload)
    upload.close()


def test_a_source_that_is_gone_is_named(tmp_path: Path, upload_of: Uploads) -> None:
    upload, _ = upload_of(bytes(25))
    (tmp_path / "plate.1001.exr").unlink()
    upload.wanted([0], ())
    upload.granted(MUCH)
    with pytest.raises(UnreadableFrame, match=r"plate\.1001\.exr"):
        upload.next_chunk()


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.touch(), lambda p: p.mkdir()])
def test_a_frame_that_cannot_be_hashed_is_named(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "matte.1001.exr")
    with pytest.raises(UnreadableFrame, match=r"matte frame 1001: .*matte\.1001\.exr"):
        hash_file(tmp_path / "matte.1001.exr", "matte", 1001)
