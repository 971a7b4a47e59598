"""Pieces of results: a damaged copy is found when its client says that it arrived damaged."""

import hashlib
from pathlib import Path

import pytest

from voidbridge_backend.daemon.store.result_reader import read_piece
from voidbridge_protocol.errors import DamagedFile
from voidbridge_protocol.wire.messages import Get, ResultFile

DATA = bytes(range(200))
RESULT = ResultFile(1001, hashlib.sha256(DATA).hexdigest(), len(DATA))


def get(offset: int = 0, length: int = 64, verify: bool = False) -> Get:
    return Get("job", 1001, offset, length, verify)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "1001.exr"
    made.write_bytes(DATA)
    return made


def test_what_was_damaged_on_the_way_is_sent_again(path: Path) -> None:
    assert read_piece(get(verify=True), path, RESULT) == DATA[:64]


def test_pieces_are_those_that_were_asked_for(path: Path) -> None:
    assert b"".join(read_piece(get(at), path, RESULT) for at in range(0, 256, 64)) == DATA
    path.write_bytes(DATA + b"more")
    assert read_piece(get(192), path, RESULT) == DATA[192:]  # never more than was announced


def test_a_copy_that_changed_is_found_when_it_arrived_damaged(path: Path) -> None:
    path.write_bytes(bytes([*DATA[:-1], 7]))
    assert read_piece(get(), path, RESULT) == DATA[:64]
    with pytest.raises(DamagedFile, match=r"frame 1001 changed .* its hash is another"):
        read_piece(get(verify=True), path, RESULT)


@pytest.mark.parametrize("verify", [False, True])
def test_a_copy_that_is_cut_or_gone_is_found_at_once(path: Path, verify: bool) -> None:
    path.write_bytes(DATA[:50])
    with pytest.raises(DamagedFile, match=r"hash is another" if verify else "50 of 200 bytes"):
        read_piece(get(verify=verify), path, RESULT)
    path.unlink()
    with pytest.raises(DamagedFile, match="No such file"):
        read_piece(get(verify=verify), path, RESULT)
