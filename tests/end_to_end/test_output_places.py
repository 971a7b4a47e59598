"""Results that could not be made are refused before anything is sent, under codes of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from voidbridge_shots import Shot, make_shot
from voidbridge_stage import Finished, called

Run = Callable[..., Finished]


@pytest.fixture
def shot(tmp_path: Path) -> Shot:
    return make_shot(tmp_path / "in", range(1001, 1003), 24, 32)


def refused(done: Finished, code: str, *words: str) -> None:
    error = done.event("error")
    assert (done.code, error["code"]) == (2, code), done.err
    for word in words:
        assert word in error["text"]
    assert not {event["event"] for event in done.events} & {"accepted", "uploading", "frame"}


@pytest.mark.parametrize("name", ["r.%04d.png", "r.%04d.tif", "r.%04d.exr.bak", "r.%04d"])
def test_a_name_of_another_format_is_refused(
    run: Run, shot: Shot, tmp_path: Path, name: str
) -> None:
    refused(run(shot, tmp_path / "out" / name), "request.output-format", name)
    assert not (tmp_path / "out").exists()


def test_a_name_in_capitals_is_taken(run: Run, shot: Shot, tmp_path: Path) -> None:
    assert run(shot, tmp_path / "out/R.%04d.EXR").code == 0
    assert (tmp_path / "out/R.1001.EXR").is_file()


def test_fetch_refuses_another_format_too(daemon: Any, shot: Shot, tmp_path: Path) -> None:
    job = daemon.submit(shot, user="formats")
    done = called(
        "fetch", job, "-o", tmp_path / "r.%04d.png", "--daemon", daemon.address,
        "--user", "formats", "--json",
    )  # fmt: skip
    refused(done, "request.output-format", ".png")


def test_a_folder_in_the_place_of_a_result_is_refused(run: Run, shot: Shot, tmp_path: Path) -> None:
    (tmp_path / "out/r.1002.exr").mkdir(parents=True)
    done = run(shot, tmp_path / "out/r.%04d.exr", "--overwrite")
    refused(done, "request.output-unwritable", "r.1002.exr is a folder")


def test_a_file_in_the_place_of_the_folder_is_refused(run: Run, shot: Shot, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    refused(run(shot, tmp_path / "file/a/r.%04d.exr"), "request.output-unwritable", "is a file")


def test_a_name_that_is_too_long_is_refused(run: Run, shot: Shot, tmp_path: Path) -> None:
    """With the frame number and .tmp behind it."""
    name = "r" * 245 + ".%04d.exr"
    refused(run(shot, tmp_path / name), "request.output-unwritable", "258 bytes", "255")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(run: Run, shot: Shot, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o555)
    refused(run(shot, tmp_path / "out/new/r.%04d.exr"), "request.output-unwritable", "out")


@pytest.mark.skipif(sys.platform != "linux", reason="needs a disk whose rights promise too much")
def test_a_folder_that_only_seems_possible_is_refused_before_the_work(shot: Shot, run: Run) -> None:
    refused(run(shot, "/proc/new/r.%04d.exr"), "request.output-unwritable", "/proc")
