"""`run --status-file` and `voidbridge @FILE`: a job for a host that has no pipe to it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import voidbridge_shots as shots
import voidbridge_stage as stage

from voidbridge_backend.tools.install import command

FRAMES = range(1001, 1004)


@pytest.fixture
def shot(tmp_path: Path) -> Any:
    return shots.make_shot(tmp_path / "s", FRAMES)


def words_of(shot: Any, folder: Path, address: str, *more: object) -> tuple[object, ...]:
    return stage.run_words(shot, folder, address, "--status-file", folder / "status.json", *more)


def status(folder: Path) -> dict[str, Any]:
    """Whole at any moment."""
    return dict(json.loads((folder / "status.json").read_text()))


def test_the_last_word_of_a_job_that_is_done(shot: Any, tmp_path: Path, daemon: Any) -> None:
    done = stage.called(*words_of(shot, tmp_path / "r", daemon.address), "--json")
    assert done.code == 0
    last = status(tmp_path / "r")
    assert (last["phase"], last["text"], last["fraction"]) == ("done", "done", 1.0)
    assert last["job"] == done.event("done")["job"]
    assert last["result"] == done.event("done")["result"]
    stage.check_echo(shot, tmp_path / "r")


def test_a_job_that_is_refused_says_why_there_too(shot: Any, tmp_path: Path, daemon: Any) -> None:
    shot.remove("plate", [1002])
    done = stage.called(*words_of(shot, tmp_path / "r", daemon.address), "--json")
    assert done.code == 2
    last, error = status(tmp_path / "r"), done.event("error")
    assert last["phase"] == "failed"
    assert (last["code"], last["text"], last["hint"]) == (
        error["code"], error["text"], error["hint"],
    )  # fmt: skip
    assert "1002" in last["text"]


def test_a_file_beside_it_cancels(shot: Any, tmp_path: Path, daemon: Any) -> None:
    folder = tmp_path / "r"
    going = stage.Going(*words_of(shot, folder, daemon.address, "--steps", 1000))
    going.until(lambda event: event.get("stage", "").startswith("removing"))
    stage.eventually(lambda: status(folder)["text"].startswith("removing"), "the stage in the file")
    assert 0 <= status(folder)["fraction"] < 1
    assert status(folder)["pid"] == going.process.pid
    (folder / "status.json.cancel").touch()
    assert going.end().code == 5
    assert status(folder)["phase"] == "cancelled"
    assert not list(folder.glob("*.exr"))


def test_an_old_file_means_that_its_writer_is_gone(shot: Any, tmp_path: Path, daemon: Any) -> None:
    folder = tmp_path / "r"
    going = stage.Going(*words_of(shot, folder, daemon.address, "--steps", 1000))
    going.until_state("running")
    first = status(folder)["alive"]
    stage.eventually(lambda: status(folder)["alive"] > first, "a sign of life")
    going.kill()
    assert status(folder)["phase"] == "working"
    cancel = ("cancel", status(folder)["job"], "--daemon", daemon.address)
    assert stage.called(*cancel).code == 0  # it would go on for a minute


def test_words_come_from_a_file_as_they_are(shot: Any, tmp_path: Path, daemon: Any) -> None:
    prompt = 'a "quoted" $HOME %PATH% — straße'
    words = words_of(shot, tmp_path / "r", daemon.address, f"--prompt={prompt}", "--json")
    file = tmp_path / "arguments für alle.txt"
    file.write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    assert stage.called(f"@{file}").code == 0
    record = json.loads((tmp_path / "r/r.1001-1003.voidbridge.json").read_text())
    assert prompt in json.dumps(record, ensure_ascii=False).replace('\\"', '"')


def test_a_job_whose_output_nobody_reads_is_no_success(
    shot: Any, tmp_path: Path, daemon: Any
) -> None:
    """The reader has gone before the first line, as a host that has crashed."""
    words = words_of(shot, tmp_path / "r", daemon.address, "--json")
    assert unread(words) == 5
    assert status(tmp_path / "r")["phase"] == "failed"


def test_a_job_whose_reader_goes_in_its_midst_is_no_success(
    shot: Any, tmp_path: Path, daemon: Any
) -> None:
    going = subprocess.Popen(
        [*command(), *map(str, words_of(shot, tmp_path / "r", daemon.address, "--json"))],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert going.stdout
    while b'"accepted"' not in going.stdout.readline():
        pass
    going.stdout.close()
    assert going.wait(stage.SECONDS) == 5
    assert status(tmp_path / "r")["phase"] == "failed"


@pytest.mark.parametrize("style", ["--json", "--openjd"])
def test_a_job_that_is_refused_ends_with_its_own_code_also_if_nobody_reads_why(
    shot: Any, tmp_path: Path, style: str
) -> None:
    shot.remove("plate", [1002])
    assert unread(words_of(shot, tmp_path / "r", "tcp://127.0.0.1:9", style)) == 2
    assert "1002" in status(tmp_path / "r")["text"]


def unread(words: tuple[object, ...]) -> int:
    """The exit code of a command whose standard output has no reader."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*command(), *map(str, words)], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    return done.returncode
