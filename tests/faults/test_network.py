"""A client and a daemon with keys are on two machines, as far as one machine can be two.

The line is long and loses packets, is cut during a transfer, or leaves a connection with only one end.
"""

from __future__ import annotations

import hashlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from voidbridge_figures import Note
from voidbridge_guarded import Guarded, guarded_daemon
from voidbridge_line import ENDS, Line, inside
from voidbridge_shots import Shot, make_shot
from voidbridge_stage import Going, check_echo, eventually, run_words

RATE_MBIT, DELAY_MS, LOSS = 100, 40, 0.01
"""80 ms there and back."""
WINDOW = 1 << 20


@dataclass
class Far:
    """A daemon at the other end of a line."""

    daemon: Guarded
    line: Line

    def run(self, shot: Shot, out: Path, *more: object) -> Going:
        words = [*run_words(shot, out, self.daemon.address), *self.daemon.words("ana"), *more]
        with inside(self.line.client):
            return Going(*words)

    def attempts(self, job: str) -> int:
        with inside(self.line.daemon), self.daemon.client("probe") as probe:
            return probe.status(job).attempt

    def connections(self, address: str) -> int:
        """That the daemon's machine holds to this one."""
        assert self.daemon.process
        known = Path(f"/proc/{self.daemon.process.pid}/net/tcp").read_text()
        remote = socket.inet_aton(address)[::-1].hex().upper()
        return len(re.findall(rf" {remote}:\w+ 01 ", known))


@pytest.fixture(scope="module")
def far() -> Iterator[Far]:
    try:
        line = Line(RATE_MBIT, DELAY_MS, LOSS)
    except OSError as error:
        pytest.skip(f"no network namespaces with TUN devices here: {error}")
    try:
        with inside(line.daemon):
            serving = guarded_daemon("--window-mb", 1, address=f"tcp://{ENDS[0]}:5577")
            made = serving.__enter__()
        try:
            made.let_in("ana")
            yield Far(made, line)
        finally:
            serving.__exit__(None, None, None)
    finally:
        line.close()


def shot_for(folder: Path, full: bool, seed: int) -> Shot:
    """8 MB with --full, and a quarter of that."""
    return make_shot(folder, range(1001, 1041 if full else 1011), 180, 320, seed=seed)


def to_send(shot: Shot, far: Far) -> int:
    """Bytes of the files that are not with the daemon, each once."""
    there = {path.name for path in (far.daemon.spool / "objects").glob("*/*")}
    files = {path.read_bytes() for path in shot.folder.iterdir()}
    return sum(len(data) for data in files if hashlib.sha256(data).hexdigest() not in there)


def paused(seconds: float) -> None:
    threading.Event().wait(seconds)


def test_a_shot_goes_over_a_long_line_that_loses_packets(
    far: Far, tmp_path: Path, full: bool, note: Note
) -> None:
    shot = shot_for(tmp_path / "in", full, 800)
    size, before, began = to_send(shot, far), far.line.carried(), time.monotonic()
    done = far.run(shot, tmp_path / "out").end()
    seconds = time.monotonic() - began
    assert done.code == 0, done.err
    assert done.event("done")["uploaded"] == size
    assert not [event for event in done.events if event["event"] == "trouble"]
    check_echo(shot, tmp_path / "out")
    back, there = (after - was for after, was in zip(far.line.carried(), before, strict=True))
    note(
        24,
        what="100 Mbit, 80 ms, 1% loss",
        sent_mb=round(size / 1e6, 1),
        carried_mb=(round(there / 1e6, 1), round(back / 1e6, 1)),
        seconds=round(seconds, 1),
    )
    assert there < 1.4 * size + 200_000  # packets, encryption, what TCP says again


@pytest.mark.parametrize("when", ["upload", "fetch"])
def test_a_line_that_is_cut_is_sat_out(
    far: Far, tmp_path: Path, full: bool, note: Note, when: str
) -> None:
    if when == "fetch" and not full:
        pytest.skip("with --full only")
    shot = shot_for(tmp_path / "in", full, 810 + len(when))
    size = to_send(shot, far)
    going = far.run(shot, tmp_path / "out")
    if when == "upload":
        going.until(
            lambda event: event["event"] == "uploading" and event["sent"] > event["total"] / 3
        )
    else:
        going.until_event("frame")
    far.line.cut()
    # What was whole on either side stays as it is.
    kept = files_of(far.daemon.spool / "objects") | files_of(tmp_path / "out")
    was_cut = time.monotonic()
    going.until_event("trouble")
    if full:
        paused(30 - (time.monotonic() - was_cut))
    far.line.mend()
    mended = time.monotonic()
    done = going.end()
    assert done.code == 0, done.err
    check_echo(shot, tmp_path / "out")
    assert "silent for" in done.event("trouble")["text"]
    again = done.event("done")["uploaded"] - size
    assert again <= WINDOW if when == "upload" else again == 0
    assert {path: path.stat().st_ino for path in kept} == kept
    assert far.attempts(done.event("done")["job"]) == 1
    note(
        24,
        what=f"cut of {mended - was_cut:.0f} s in the {when}",
        sent_again_kb=again // 1000,
        whole_files_kept=len(kept),
        seconds_after=round(time.monotonic() - mended, 1),
    )


def files_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_ino for path in folder.rglob("*") if whole(path)}


def whole(path: Path) -> bool:
    return path.is_file() and path.suffix != ".tmp"


def test_a_client_whose_daemon_vanished_without_a_word_finds_the_next(
    far: Far, tmp_path: Path, full: bool, note: Note
) -> None:
    """The daemon dies while the line is cut, so that nothing tells the client's end of the connection."""
    shot = shot_for(tmp_path / "in", full, 820)
    size = to_send(shot, far)
    going = far.run(shot, tmp_path / "out", "--steps", 2)
    going.until_event("frame")
    far.line.cut()
    far.daemon.kill()
    with inside(far.line.daemon):
        far.daemon.start()
    far.line.mend()
    mended = time.monotonic()
    done = going.end()
    assert done.code == 0, done.err
    assert done.event("trouble")
    assert done.event("done")["uploaded"] == size
    check_echo(shot, tmp_path / "out")
    assert far.attempts(done.event("done")["job"]) <= 2
    note(24, what="daemon replaced behind a cut", seconds_after=round(time.monotonic() - mended, 1))


def test_a_machine_that_vanished_without_a_word_is_forgotten(
    far: Far, tmp_path: Path, full: bool, note: Note
) -> None:
    """The last test here: its client has another address than those before."""
    if not full:
        pytest.skip("minutes of silence: with --full only")
    shot = shot_for(tmp_path / "in", full, 830)
    size = to_send(shot, far)
    going = far.run(shot, tmp_path / "out")
    going.until(lambda event: event["event"] == "uploading" and event["sent"] > event["total"] / 3)
    held = far.connections(ENDS[1])
    far.line.cut()
    going.kill()
    far.line.change_client()
    far.line.mend()
    vanished = time.monotonic()
    again = far.run(shot, tmp_path / "out").end()  # its half-open connection is in nobody's way
    assert again.code == 0, again.err
    check_echo(shot, tmp_path / "out")
    assert again.event("done")["uploaded"] < size
    assert held >= 2
    eventually(lambda: not far.connections(ENDS[1]), "the connections to be closed", 200)
    note(24, what="half-open", forgotten_after_s=round(time.monotonic() - vanished, 1))
