"""`run --frames-from-stdin`: frames travel while a host renders the others."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import voidbridge_shots as shots
import voidbridge_stage as stage

FRAMES = range(1001, 1007)


@pytest.fixture
def shot(tmp_path: Path) -> Any:
    """Rendered as far as 1004."""
    made = shots.make_shot(tmp_path / "s", FRAMES, seed=71)
    for role in ("plate", "matte"):
        for frame in (1005, 1006):
            made.file(role, frame).rename(tmp_path / f"{role}.{frame}")
    return made


def render_the_rest(shot: Any) -> None:
    for role in ("plate", "matte"):
        for frame in (1005, 1006):
            (shot.folder.parent / f"{role}.{frame}").rename(shot.file(role, frame))


class Child:
    """The command, with a pipe to its standard input."""

    def __init__(self, *words: object) -> None:
        self.process = subprocess.Popen(
            stage.command(*words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=stage.environment(),
        )

    def say(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def end(self) -> Any:
        out, err = self.process.communicate(timeout=stage.SECONDS)
        return stage.Finished(self.process.returncode, out.decode(), err.decode())


@pytest.fixture
def child(shot: Any, tmp_path: Path, daemon: Any, request: Any) -> Iterator[Child]:
    made = Child(
        *stage.run_words(shot, tmp_path / "r", daemon.address, "--frames-from-stdin", "--json"),
        "--user", request.node.name,
    )  # fmt: skip
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.end()


def contents(shot: Any, frames: range) -> dict[str, int]:
    """Bytes by hash."""
    files = [shot.file(role, frame) for role in ("plate", "matte") for frame in frames]
    found = [path.read_bytes() for path in files]
    return {hashlib.sha256(data).hexdigest(): len(data) for data in found}


def arrived(daemon: Any, shot: Any, frames: range) -> bool:
    there = {path.name for path in (daemon.spool / "objects").glob("*/*")}
    return set(contents(shot, frames)) <= there


def test_what_is_rendered_arrives_while_the_rest_is_not_there(
    shot: Any, child: Child, tmp_path: Path, daemon: Any
) -> None:
    child.say("1001-1003")
    child.say("1004")
    stage.eventually(lambda: arrived(daemon, shot, range(1001, 1005)), "the frames in the spool")
    render_the_rest(shot)
    child.say("1005-1006")
    child.say("end")
    done = child.end()
    assert done.code == 0, done.err
    assert done.event("rendered")["sent"] > 0
    assert done.event("done")["frames"] == [1001, 1006]
    assert done.event("done")["uploaded"] >= sum(contents(shot, FRAMES).values())
    stage.check_echo(shot, tmp_path / "r")


def test_a_host_that_goes_away_has_asked_for_nothing(
    shot: Any, child: Child, tmp_path: Path, daemon: Any
) -> None:
    child.say("1001-1004")
    done = child.end()
    assert done.code == 5
    assert "before all frames were rendered" in done.event("error")["text"]
    assert not [event for event in done.events if event["event"] == "accepted"]


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [("1001-1006", 2, "1005"), ("tomorrow", 2, "not a frame range")],
    ids=["a file that is not there", "no frames"],
)
def test_what_is_named_wrongly_ends_it(
    child: Child, line: str, code: int, said: str, daemon: Any
) -> None:
    child.say(line)
    done = child.end()
    assert done.code == code
    assert said in done.event("error")["text"]


def test_a_daemon_that_is_killed_meanwhile_is_told_again(shot: Any, tmp_path: Path) -> None:
    with stage.daemon() as daemon:
        words = stage.run_words(
            shot, tmp_path / "r", daemon.address, "--frames-from-stdin", "--json"
        )
        child = Child(*words)
        daemon.wait_for_worker()
        child.say("1001-1003")
        stage.eventually(lambda: arrived(daemon, shot, range(1001, 1004)), "the first frames")
        stage.eventually(lambda: "engine echo loaded" in daemon.log, "its engine")
        daemon.kill()
        child.say("1004")
        daemon.start()
        stage.eventually(lambda: arrived(daemon, shot, range(1001, 1005)), "the next frame")
        render_the_rest(shot)
        child.say("end")
        done = child.end()
    assert done.code == 0, done.err
    assert done.event("done")["uploaded"] < 2 * shot.size()
    stage.check_echo(shot, tmp_path / "r")


def test_frames_that_are_written_again_are_read_again(
    shot: Any, child: Child, tmp_path: Path, daemon: Any
) -> None:
    child.say("1001-1004")
    stage.eventually(lambda: arrived(daemon, shot, range(1001, 1005)), "the frames in the spool")
    shot.write("plate", 1002, shots.picture(999))
    render_the_rest(shot)
    child.say("end")  # what nobody named is found like any other frame
    assert child.end().code == 0
    stage.check_echo(shot, tmp_path / "r")
