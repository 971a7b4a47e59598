"""Programs that stand still, links that move, disks that cannot be written and a table that is damaged at work."""

from __future__ import annotations

import random
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from voidbridge_figures import Note
from voidbridge_machine import stopped
from voidbridge_raw_client import RawClient
from voidbridge_shots import make_shot
from voidbridge_stage import (
    Daemon,
    Going,
    called,
    check_echo,
    daemon,
    eventually,
    run_words,
    voidbridge,
)

from voidbridge_protocol.errors import VoidbridgeError
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.transfer.hashing import sha256_of
from voidbridge_protocol.wire.messages import Accepted, Cancel, FrameFile, Request, Submit

FRAMES = range(1001, 1004)


@pytest.fixture(scope="module")
def box() -> Iterator[Daemon]:
    with daemon() as made:
        made.wait_for_worker()
        yield made


def test_a_client_that_never_reached_its_daemon_says_so_within_seconds(
    box: Daemon, tmp_path: Path
) -> None:
    """A socket that takes connections proves no daemon: a farm tries again later, another machine perhaps."""
    shot = make_shot(tmp_path / "in", FRAMES, seed=910)
    assert box.process
    with stopped(box.process.pid):
        done = called(*run_words(shot, tmp_path / "out", box.address, "--json"))
    assert (done.code, done.event("error")["code"]) == (3, "daemon.unavailable")
    done = called(*run_words(shot, tmp_path / "out", box.address, "--json"))
    assert done.code == 0, done.err
    check_echo(shot, tmp_path / "out")


def test_a_client_that_works_waits_for_a_daemon_that_stands_still(
    box: Daemon, tmp_path: Path, full: bool
) -> None:
    shot = make_shot(tmp_path / "in", FRAMES, seed=911)
    with box.held():  # it keeps the job running
        going = Going(*run_words(shot, tmp_path / "out", box.address, "--json"), "--steps", 30)
        going.until_state("running")
        assert box.process
        with stopped(box.process.pid):
            going.until_event("trouble")  # the client notes the silence by itself
            if full:
                threading.Event().wait(30)
    done = going.end()
    assert done.code == 0, done.err
    check_echo(shot, tmp_path / "out")


MOVER = """
import os, sys
link, good, bad = sys.argv[1:]
while True:
    for target in (good, bad):
        os.symlink(target, link + ".new")
        os.replace(link + ".new", link)
"""


def test_links_that_another_process_moves_lead_nowhere(
    tmp_path: Path, full: bool, note: Note
) -> None:
    """The folder of a shot is now the shot, now a folder that is not shared with files of the same names."""
    share, secret = tmp_path / "share", tmp_path / "secret"
    count = 60 if full else 3
    most = 60  # Chance decides which jobs see only one folder: the test goes on until one is done.
    shot = make_shot(share / "real", FRAMES, seed=913)
    make_shot(secret, FRAMES, seed=914)
    link = share / "shot"
    link.symlink_to(shot.folder)
    words = (link, shot.folder, secret)
    with daemon("--shares", share) as box:
        box.wait_for_worker()
        mover = subprocess.Popen(["python3", "-c", MOVER, *map(str, words)])
        codes: list[int] = []
        try:
            for i in range(most):
                if i >= count and 0 in codes:
                    break
                moved = type(shot)(link, FRAMES)
                out = tmp_path / f"out {i}"
                done = called(*run_words(moved, out, box.address, "--json", "--user", f"u{i}"))
                # The client reads through the link too: its frames may be changing.
                codes.append(done.code)
        finally:
            mover.kill()
            mover.wait()
        stored = list((box.spool / "objects").glob("*/*"))
        assert all(sha256_of(path)[0] == path.name for path in stored)
        assert {0} <= set(codes) <= {0, 2, 3, 4}
        assert box.process
        assert box.process.poll() is None, box.log
    note(32, what="links that move", jobs=len(codes), done=codes.count(0), stored=len(stored))


def test_a_spool_that_cannot_be_written_is_an_error_in_words(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a disk can be mounted by root only")
    try:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for words in (("serve", "--listen", f"ipc://{tmp_path}/ctl"), ("scrub",)):
            done = voidbridge(*words, "--spool", disk)
            assert done.code == 2, done.err
            assert "Traceback" not in done.err
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_table_that_is_damaged_at_work_ends_nobodys_work(
    tmp_path: Path, full: bool, note: Note
) -> None:
    rounds, rng, errors = 6 if full else 2, random.Random(915), list[VoidbridgeError]()
    shot = make_shot(tmp_path / "in", FRAMES, seed=915)
    with daemon() as box:
        box.wait_for_worker()
        large = fill(box, 8)
        table = box.spool / "jobs.db"
        for i in range(rounds):
            with table.open("r+b") as file:
                for _ in range(rng.choice((20, 400))):
                    file.seek(rng.randrange(4096, table.stat().st_size))
                    file.write(rng.randbytes(1))
                if i % 5 == 1:  # everything but the first page
                    file.seek(4096)
                    file.write(rng.randbytes(table.stat().st_size - 4096))
            submit_again(box, large)
            out = tmp_path / f"out {i}"
            try:
                box.fetch(box.submit(shot, user="somebody"), out)
            except VoidbridgeError as error:
                errors.append(error)
            else:
                check_echo(shot, out)
        assert box.process
        assert box.process.poll() is None, box.log
        assert box.terminate()[0] == 0
        box.start()
        box.fetch(box.submit(shot), tmp_path / "last")
        check_echo(shot, tmp_path / "last")
        starts = box.log.count("the job table is damaged")
    assert all(error.hint for error in errors)
    assert starts
    note(33, what="damage at work", rounds=rounds, errors=len(errors), new_tables=starts)


def fill(box: Daemon, count: int) -> list[bytes]:
    """Requests that the table has, more than its cache holds."""
    found = []
    for number in range(count):
        files = tuple(
            FrameFile(role, frame, f"{number:032x}{role == 'plate':016x}{frame:016x}", 1)
            for role in ("matte", "plate")
            for frame in range(1, 4001)
        )
        found.append(Request(1, 4000, RemoveSettings(engine="echo"), files).canonical())
    submit_again(box, found)
    return found


def submit_again(box: Daemon, requests: list[bytes]) -> None:
    """Submits and cancels. The daemon may drop the connection: it starts anew if it finds its table damaged."""
    for request in requests:
        with RawClient(box.address, user="large") as client:
            client.say(Submit(), request)
            if client.control.poll(3000):
                heard = client.hear(client.control)
                if isinstance(heard, Accepted):
                    client.say(Cancel(heard.job))
    eventually(lambda: box.health().ready)
