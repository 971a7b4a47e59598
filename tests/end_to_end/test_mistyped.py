"""Mistyped arguments get helpful messages, and missing ones get the expected defaults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from voidbridge_shots import make_shot
from voidbridge_stage import Finished, called

Run = Callable[..., Finished]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "p.%04d.exr", "m.%04d.exr", "-o", "r/", "--sead", "3"], "did you mean --seed?"),
        (["run", "p.%04d.exr", "m.%04d.exr", "-o", "r/", "--frame=1-2"], "--frame"),
        (["rnu", "p.%04d.exr"], "did you mean run?"),
        (["run", "p.%04d.exr", "m.%04d.exr", "-o", "r/", "--region", "unoin"], "mean union?"),
        (["run", "p.%04d.exr", "m.%04d.exr", "more", "-o", "r/"], "'more'"),
        (["submit", "p.%04d.exr"], "MATTE"),
        (["run", "p.%04d.exr", "m.%04d.exr", "-o", "r/", "--grow", "many"], "--grow"),
        ([], "COMMAND"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistyped_word_is_a_typed_error(words: list[str], said: str) -> None:
    done = called(*words, "--json") if words else called()
    assert done.code == 2
    assert said in done.err
    assert "--help" in done.err
    if words:
        assert done.event("error")["code"].startswith("request.")
        assert said in done.event("error")["text"]


def test_a_wildcard_that_the_shell_replaced_is_said_to_be_one(tmp_path: Path) -> None:
    names = [tmp_path / f"p.{frame}.exr" for frame in (1, 2, 3)]
    for name in names:
        name.touch()
    done = called("run", *names, "m.%04d.exr", "-o", "r/", "--json")
    assert (done.code, done.event("error")["code"]) == (2, "request.setting")
    assert "plate.####.exr" in done.event("error")["hint"]


def test_the_nearest_engine_is_named(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003), 24, 32)
    done = run(shot, tmp_path / "r.%04d.exr", "--engine", "clenplate")
    assert done.code == 2
    assert "did you mean cleanplate?" in done.event("error")["text"]


def test_the_help_says_how_far_each_setting_goes() -> None:
    text = " ".join(called("run", "--help").out.split())
    for said in ("0 to 4096", "0 to 1000", "0 to 2^63-1", "above 0 to 1", "0 to 4;", "below 1"):
        assert said in text


def test_a_wrong_folder_is_no_reason_to_render(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003), 24, 32)
    done = run(shot, tmp_path / "r.%04d.exr", plate=tmp_path / "inn/plate.%04d.exr")
    error = done.event("error")
    assert error["code"] == "request.missing-frames"
    assert "does not exist" in error["text"]
    assert "Render" not in error["hint"]
    assert "folder" in error["hint"]


@pytest.mark.parametrize("output", [[], ["-o", "there/"]], ids=["nowhere named", "a folder"])
def test_fetch_writes_into_a_folder(daemon: Any, tmp_path: Path, output: list[str]) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003), 24, 32, seed=len(output))
    job = daemon.submit(shot, user="folders")
    words = ("fetch", job, *output, "--daemon", daemon.address, "--user", "folders")
    done = called(*words, "--json", cwd=tmp_path)
    assert done.code == 0, done.err
    folder = tmp_path / (output[-1] if output else job)
    assert sorted(path.name for path in folder.iterdir()) == [
        "result.1001-1002.voidbridge.json", "result.1001.exr", "result.1002.exr"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("plate", "matte", "meant"), [("plat", "matte", "plate"), ("plate", "mattes", "matte")]
)
def test_the_nearest_folder_is_named(
    run: Run, tmp_path: Path, plate: str, matte: str, meant: str
) -> None:
    for role in ("plate", "matte"):
        shot = make_shot(tmp_path / role, range(1001, 1003), 24, 32)
        for other in {"plate", "matte"} - {role}:
            shot.remove(other, shot.frames)
    done = run(shot, f"{tmp_path}/out/", plate=tmp_path / plate, matte=tmp_path / matte)
    assert done.code == 2
    assert f"did you mean {meant}?" in done.event("error")["text"]
    assert not (tmp_path / "out").exists()
