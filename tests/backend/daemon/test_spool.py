"""Files come in in pieces, in any order and more than once, and are visible only when they are whole."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voidbridge_stage import environment

from voidbridge_backend.config import SPOOL_MARK
from voidbridge_backend.daemon.store.spool import OffsetGap, Spool, UserFile
from voidbridge_protocol.errors import SpoolFull, TransferFailed

CONTENT = random.Random(1).randbytes(10_000)
NAME = hashlib.sha256(CONTENT).hexdigest()
FILE = UserFile("ana", NAME)
DRAWER = hashlib.sha256(b"ana").hexdigest()[:16]


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(tmp_path)
    yield made
    made.pause(FILE)


def taken(spool: Spool, size: int, offset: int, piece: bytes) -> bool:
    """Whether the file is whole by this piece."""
    if not spool.receive(FILE, size, offset, piece):
        return False
    spool.finalize(FILE)
    return True


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != SPOOL_MARK
    }


def test_a_file_is_there_when_its_last_piece_is(spool: Spool) -> None:
    for offset in range(0, 9_000, 1_000):
        piece = CONTENT[offset : offset + 1_000]
        assert not taken(spool, len(CONTENT), offset, piece)
        assert not spool.has(FILE)
        assert spool.partial(FILE) == offset + 1_000
    assert taken(spool, len(CONTENT), 9_000, CONTENT[9_000:])
    assert spool.has(FILE)
    assert spool.partial(FILE) == 0
    assert files_in(spool.folder) == {f"objects/{DRAWER}/{NAME}": CONTENT}


pieces = st.lists(
    st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(1, 4_000)), min_size=1, max_size=30
)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(pieces=pieces, restarts=st.sets(st.integers(0, 29)))
def test_pieces_may_come_twice_and_overlap_but_leave_no_gap(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[int, int]], restarts: set[int]
) -> None:
    spool = Spool(tmp_path_factory.mktemp("spool"))
    have = 0
    for turn, (offset, length) in enumerate(pieces):
        if turn in restarts:  # of the daemon: what it had taken is there
            spool.pause(FILE)
            spool = Spool(spool.folder)
        piece = CONTENT[offset : offset + length]
        if have < len(CONTENT) and offset > have:
            with pytest.raises(OffsetGap) as gap:
                taken(spool, len(CONTENT), offset, piece)
            assert gap.value.have == have
        else:
            taken(spool, len(CONTENT), offset, piece)
            have = max(have, offset + len(piece))
        assert spool.has(FILE) == (have == len(CONTENT))
    assert taken(spool, len(CONTENT), 0, CONTENT)
    assert files_in(spool.folder) == {f"objects/{DRAWER}/{NAME}": CONTENT}


def test_the_next_file_is_received_while_one_is_settled(spool: Spool) -> None:
    other = UserFile(FILE.user, hashlib.sha256(b"other").hexdigest())
    assert spool.receive(FILE, len(CONTENT), 0, CONTENT)
    assert not spool.has(FILE)
    assert spool.receive(
        FILE, len(CONTENT), 9_000, CONTENT[9_000:]
    )  # its sender was cut off, and came back
    assert spool.receive(other, 5, 0, b"other")
    for file in (FILE, FILE, other):
        spool.finalize(file)
        assert spool.has(file)
    assert {path.name for path in spool.user_dir(FILE.user).iterdir()} == {NAME, other.sha256}


def test_what_was_dropped_is_not_settled_by_the_next_who_asks(spool: Spool) -> None:
    assert spool.receive(FILE, len(CONTENT), 0, bytes(len(CONTENT)))
    for what in ("another hash", "part was dropped"):
        with pytest.raises(TransferFailed, match=what):
            spool.finalize(FILE)


def test_nobody_else_on_the_machine_can_look_into_it(tmp_path: Path) -> None:
    for folder in (tmp_path / "new", tmp_path / "old"):
        (tmp_path / "old").mkdir(mode=0o755, exist_ok=True)
        Spool(folder)
        assert folder.stat().st_mode & 0o777 == 0o700


def test_bytes_of_another_name_are_dropped_and_can_be_sent_again(spool: Spool) -> None:
    wrong = bytes(len(CONTENT))
    with pytest.raises(TransferFailed, match="another hash"):
        taken(spool, len(CONTENT), 0, wrong)
    assert (spool.has(FILE), spool.partial(FILE)) == (False, 0)
    assert files_in(spool.folder) == {}
    assert taken(spool, len(CONTENT), 0, CONTENT)


def test_more_bytes_than_were_announced_are_dropped(spool: Spool) -> None:
    with pytest.raises(TransferFailed, match="more than the 5000 bytes"):
        taken(spool, 5_000, 0, CONTENT)
    assert files_in(spool.folder) == {}


def test_a_part_that_was_damaged_on_the_disk_is_found_out(spool: Spool) -> None:
    taken(spool, len(CONTENT), 0, CONTENT[:4_000])
    spool.pause(FILE)
    part = spool.part_path(FILE)
    part.write_bytes(b"?" + part.read_bytes()[1:])
    reopened = Spool(spool.folder)
    with pytest.raises(TransferFailed):
        taken(reopened, len(CONTENT), 4_000, CONTENT[4_000:])
    assert taken(reopened, len(CONTENT), 0, CONTENT)


def test_a_part_with_every_byte_is_finished_by_an_empty_piece(spool: Spool) -> None:
    """The state after a daemon was killed between the last write and the rename."""
    (spool.part_path(FILE)).write_bytes(CONTENT)
    assert spool.partial(FILE) == len(CONTENT)
    assert taken(spool, len(CONTENT), len(CONTENT), b"")
    assert files_in(spool.folder) == {f"objects/{DRAWER}/{NAME}": CONTENT}


def test_the_name_is_given_only_after_the_content_is_on_the_disk(tmp_path: Path) -> None:
    """In the order of the system's own calls: write, fsync, rename, fsync of the folder."""
    trace = tmp_path / "calls"
    script = f"""
import os, sys
from voidbridge_backend.config import SPOOL_MARK
from voidbridge_backend.daemon.store.spool import UserFile, Spool
spool = Spool(__import__("pathlib").Path({str(tmp_path / "spool")!r}))
calls = []
def heard(event, arguments):
    if event == "os.rename":
        calls.append("rename " + os.path.basename(os.path.dirname(os.fspath(arguments[1]))))
sys.addaudithook(heard)
fsync = os.fsync
def spoken(fd):
    calls.append("fsync " + os.path.basename(os.readlink(f"/proc/self/fd/{{fd}}")))
    fsync(fd)
os.fsync = spoken
data = bytes.fromhex({CONTENT.hex()!r})
file = UserFile({FILE.user!r}, {NAME!r})
assert spool.receive(file, len(data), 0, data)
spool.finalize(file)
open({str(trace)!r}, "w").write("\\n".join(calls))
"""
    subprocess.run([sys.executable, "-c", script], check=True, env=environment(), timeout=120)
    said = trace.read_text().splitlines()
    assert sorted(said) == sorted(
        [f"fsync {DRAWER}.{NAME}", "fsync objects", f"rename {DRAWER}", f"fsync {DRAWER}"]
    )
    assert said[-2:] == [f"rename {DRAWER}", f"fsync {DRAWER}"]


def test_a_full_disk_is_said_with_its_room_and_loses_nothing(spool: Spool) -> None:
    """A limit on the size of files stands for the full disk: the system refuses the write as it would."""
    taken(spool, len(CONTENT), 0, CONTENT[:1_000])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, hard))
    try:
        with pytest.raises(SpoolFull, match="cannot be written") as full:
            taken(spool, len(CONTENT), 1_000, CONTENT[1_000:])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert isinstance(full.value.__cause__, OSError)
    assert full.value.__cause__.errno == errno.EFBIG
    assert spool.partial(FILE) == 4_096
    assert taken(spool, len(CONTENT), 4_096, CONTENT[4_096:])


def test_what_a_job_made_goes_with_the_job(spool: Spool) -> None:
    folder = spool.job_folder("j1")
    spool.result_path("j1", 1001).write_bytes(b"one")
    spool.provenance_path("j1").write_bytes(b"{}")
    assert {path.parent for path in folder.iterdir()} == {folder}
    spool.drop_job("j1")
    spool.drop_job("j1")
    assert not folder.exists()
    assert os.path.isdir(spool.folder)
