"""A disk that both sides see: frames are imported by their paths. If anything is odd, they are sent."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from voidbridge_relay import relayed_daemon
from voidbridge_shots import Shot, make_shot, picture
from voidbridge_stage import (
    SECONDS,
    Daemon,
    Finished,
    called,
    check_echo,
    command,
    daemon,
    environment,
    run_words,
    voidbridge,
)

from voidbridge_protocol.conformance import conformance
from voidbridge_protocol.job_task import Listener

FRAMES = range(1001, 1005)
HELD = 1 << 40


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the daemon sees it."""
    return tmp_path_factory.mktemp("disk")


@pytest.fixture(scope="module")
def made(disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with that disk, which clients call by another name as well."""
    theirs = tmp_path_factory.getbasetemp() / "theirs"
    with daemon("--shares", f"{disk},{theirs}={disk}") as made:
        yield made


@pytest.fixture
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The same disk as the client sees it, under the name that it has there."""
    folder = tmp_path_factory.getbasetemp() / "theirs"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def run(made: Daemon, shot: Shot, out: Path, *more: object) -> Finished:
    words = run_words(shot, out, made.address, "--user", out.parent.name, "--json", *more)
    done = called(*words)
    assert done.code == 0, done.err
    check_echo(shot, out)
    return done


def came(done: Finished) -> tuple[int, int]:
    """(bytes that were sent, files that were imported)"""
    event = done.event("done")
    return event["uploaded"], event["imported"]


def kept(made: Daemon, user: str) -> set[str]:
    drawer = made.spool / "objects" / hashlib.sha256(user.encode()).hexdigest()[:16]
    return {path.name for path in drawer.iterdir()}


def hashes(shot: Shot) -> set[str]:
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in shot.folder.iterdir()}


def test_no_byte_of_a_frame_goes_over_the_wire(tmp_path: Path) -> None:
    """Counted on the wire itself."""
    shot = make_shot(tmp_path / "in", FRAMES, 180, 320, seed=900)
    with relayed_daemon("--shares", tmp_path / "in") as net:
        net.relay.hold("up", HELD)
        words = run_words(shot, tmp_path / "out", net.address, "--json")
        done = called(*words)
        carried = HELD - net.relay._allowed["up"]
        assert done.code == 0, done.err
        check_echo(shot, tmp_path / "out")
        files = len(hashes(shot))
        assert came(done) == (0, files)
        assert done.event("imported")["files"] == files
        assert 0 < carried < 1000 * (files + len(FRAMES)) < shot.size() / 10
        assert not [event for event in done.events if event["event"] == "uploading"]


def test_what_was_handed_over_is_kept_like_what_was_sent(
    made: Daemon, disk: Path, tmp_path: Path
) -> None:
    """It survives kill -9, its place on the disk may be given up, and a second job needs nothing."""
    shot = make_shot(disk / "kept", FRAMES, seed=901)
    assert came(run(made, shot, tmp_path / "out"))[0] == 0
    assert kept(made, tmp_path.name) == hashes(shot)
    for path in (made.spool / "objects").glob("*/*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    made.kill()
    made.start()
    again = run(made, shot, tmp_path / "out", "--force")
    assert came(again) == (0, 0)


def test_a_daemon_with_shared_folders_keeps_to_the_protocol(made: Daemon) -> None:
    assert conformance(made.address, SECONDS) == []


def test_a_disk_may_have_another_name_on_each_side(
    made: Daemon, disk: Path, theirs: Path, tmp_path: Path
) -> None:
    shot = make_shot(theirs / "show", FRAMES, seed=902)
    shutil.copytree(shot.folder, disk / "show")
    assert came(run(made, shot, tmp_path / "out")) == (0, len(hashes(shot)))


def test_a_disk_that_is_not_mounted_there_costs_nothing_but_the_sending(
    made: Daemon, theirs: Path, tmp_path: Path
) -> None:
    shot = make_shot(theirs / "local", FRAMES, seed=903)
    size = sum({path.read_bytes(): path.stat().st_size for path in shot.folder.iterdir()}.values())
    assert came(run(made, shot, tmp_path / "out")) == (size, 0)


def test_another_file_of_the_same_name_is_not_taken_for_it(
    made: Daemon, disk: Path, theirs: Path, tmp_path: Path
) -> None:
    """An older version, as a cache of the network's may show it; the result is that of the client's file."""
    shot = make_shot(theirs / "versions", FRAMES, seed=904)
    shutil.copytree(shot.folder, disk / "versions")
    Shot(disk / "versions", FRAMES).write("plate", 1002, picture(9))
    changed = shot.file("plate", 1002)
    done = run(made, shot, tmp_path / "out")
    assert came(done) == (changed.stat().st_size, len(hashes(shot)) - 1)
    assert kept(made, tmp_path.name) == hashes(shot)


def test_what_lies_elsewhere_is_sent_beside_it(made: Daemon, disk: Path, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", FRAMES, seed=905)
    (disk / "mixed").mkdir()
    for frame in FRAMES:
        shutil.move(shot.file("plate", frame), disk / "mixed")
        shot.file("plate", frame).symlink_to(disk / "mixed" / shot.file("plate", frame).name)
    uploaded, handed = came(run(made, shot, tmp_path / "out"))
    mattes = {shot.file("matte", frame).read_bytes() for frame in FRAMES}
    assert (uploaded, handed) == (sum(map(len, mattes)), len(FRAMES)), "links lead there"


def test_frames_that_are_being_rendered_are_handed_over_too(
    made: Daemon, disk: Path, tmp_path: Path
) -> None:
    shot = make_shot(disk / "growing", FRAMES, seed=906)
    words = run_words(shot, tmp_path / "out", made.address, "--frames-from-stdin", "--json")
    done = subprocess.run(
        command(*words, "--user", tmp_path.name),
        input=b"1001-1002\n1003-1004\nend\n",
        capture_output=True,
        env=environment(),
        timeout=2 * SECONDS,
    )
    assert done.returncode == 0, done.stderr
    check_echo(shot, tmp_path / "out")
    assert came(Finished(0, done.stdout.decode(), ""))[0] == 0
    assert kept(made, tmp_path.name) == hashes(shot)


def test_a_daemon_of_ones_own_takes_everything_from_where_it_lies(tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", FRAMES, seed=907)
    words = run_words(shot, tmp_path / "out", "")
    own = [word for word in words if word not in ("--daemon", "")]
    done = voidbridge(*own, "--spool", tmp_path / "spool", "--devices", "cpu", "--json")
    assert done.code == 0, done.err
    check_echo(shot, tmp_path / "out")
    assert came(done) == (0, len(hashes(shot)))


def test_what_is_handed_over_counts_as_sent(tmp_path: Path) -> None:
    """Of the megabytes a second that a user may send: what is imported next has to wait for them."""
    shot = make_shot(tmp_path / "in", FRAMES, 360, 640, seed=908)
    size = sum({path.read_bytes(): path.stat().st_size for path in shot.folder.iterdir()}.values())
    told: list[tuple[int, int]] = []
    listener = Listener(imported=lambda done, of: told.append((done, of)))
    with daemon("--shares", shot.folder, extra={"VOIDBRIDGE_MAX_UPLOAD_MB_S": "2"}) as made:
        began = time.monotonic()
        made.submit(shot, listener=listener)
        seconds = time.monotonic() - began
    assert told[-1][0] == len(hashes(shot))
    assert size > 4_000_000
    assert seconds > size / 2e6 - 1.1, "but for the burst of a second"


def test_a_share_that_is_no_folder_is_a_setting_that_cannot_be() -> None:
    done = voidbridge("serve", "--shares", "shows")
    assert done.code == 2
    assert "the setting shares cannot be 'shows'" in done.err
