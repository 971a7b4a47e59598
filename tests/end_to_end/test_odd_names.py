"""Names that a terminal seldom shows: bytes that are no UTF-8, names at the limit, frames below zero."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from voidbridge_shots import Shot, make_shot
from voidbridge_stage import Finished, command, environment

Run = Callable[..., Finished]
LATIN = os.fsdecode("Stra\xdfe".encode("latin-1"))


def ran(*words: object, stdin: bytes = b"") -> Finished:
    """The bytes of the words as they are; `run` with a daemon of its own unless one is named."""
    done = subprocess.run(
        [os.fsencode(word) for word in command(*words)],
        input=stdin, capture_output=True, env=environment(), timeout=120,
    )  # fmt: skip
    return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())


def words_of(shot: Shot, result: object) -> tuple[object, ...]:
    return ("run", shot.plate, shot.matte, "-o", result, "--engine", "echo", "--json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / LATIN
    try:
        made.mkdir()
    except OSError:
        pytest.skip("this file system takes no names in Latin-1")
    return made


@pytest.mark.parametrize("own", [True, False], ids=["own daemon", "named daemon"])
def test_a_folder_with_a_name_in_latin_1_is_worked_in(
    daemon: Any, tmp_path: Path, folder: Path, own: bool
) -> None:
    shot = make_shot(folder / "in", range(1001, 1003), 24, 32)
    more = () if own else ("--daemon", daemon.address, "--user", "latin")
    done = ran(*words_of(shot, folder / "out/r.%04d.exr"), *more)
    assert done.code == 0, done.err
    assert Path(done.event("frame")["path"]).is_file()
    assert json.loads((folder / "out/r.1001-1002.voidbridge.json").read_bytes())
    again = ran(*words_of(shot, folder / "in/plate.%04d.exr"), *more)
    assert (again.code, again.event("error")["code"]) == (2, "request.overwrites-source")


@pytest.mark.parametrize("option", ["--prompt", "--color-space", "--user", "--engine"])
def test_a_text_that_is_no_utf_8_is_refused(tmp_path: Path, option: str) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003), 24, 32)
    done = ran(*words_of(shot, tmp_path / "r.%04d.exr"), f"{option}={LATIN}")
    assert (done.code, done.event("error")["code"]) == (2, "request.setting"), done.err
    assert option in done.event("error")["text"]


def test_a_plate_whose_name_is_nearly_too_long_is_worked_on(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003), 24, 32)
    stem = "p" * 236
    for frame in shot.frames:
        shot.file("plate", frame).rename(tmp_path / f"in/{stem}.{frame}.exr")
    done = run(shot, tmp_path / "r.%04d.exr", plate=tmp_path / f"in/{stem}.%04d.exr")
    assert done.code == 0, done.err
    done = run(shot, f"{tmp_path}/out/", plate=tmp_path / f"in/{stem}.%04d.exr")
    assert (done.code, done.event("error")["code"]) == (2, "request.output-unwritable")
    assert done.event("error")["text"].count("p" * 200) == 1


@pytest.mark.parametrize("role", ["plate", "matte", "result", "status"])
def test_a_name_that_no_disk_takes_is_refused(run: Run, tmp_path: Path, role: str) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003), 24, 32)
    long = tmp_path / ("n" * 300 + ".%04d.exr")
    files = {role: long} if role in ("plate", "matte") else {}
    words = ["--status-file", long] if role == "status" else []
    done = run(shot, long if role == "result" else tmp_path / "r.%04d.exr", *words, **files)
    assert done.code == 2, done.err
    assert done.event("error")["code"].startswith("request.")
    assert "Traceback" not in done.err


@pytest.mark.parametrize("typed", [["--frames", "-3-2"], ["--frames=-3-2"], ["--frames", "-3--1"]])
def test_a_range_below_zero_is_taken_as_it_is_typed(
    run: Run, tmp_path: Path, typed: list[str]
) -> None:
    shot = make_shot(tmp_path / "in", range(3), 24, 32)
    for frame in (-3, -2, -1):
        for role in ("plate", "matte"):
            (tmp_path / f"in/{role}.{frame:04d}.exr").write_bytes(shot.file(role, 1).read_bytes())
    done = run(shot, tmp_path / "out/r.%04d.exr", *typed)
    assert done.code == 0, done.err
    assert done.event("done")["frames"] == [-3, -1 if typed[-1].endswith("-1") else 2]
