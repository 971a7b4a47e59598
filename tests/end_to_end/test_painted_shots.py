"""Painted clean frames through the command line and a daemon that shares no folder with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from voidbridge_shots import Shot, channels_of, exr_bytes, make_shot, picture, square
from voidbridge_stage import Finished

Run = Callable[..., Finished]
FRAMES = range(1001, 1005)
MATTE = square()


@pytest.fixture
def shot(tmp_path: Path) -> Shot:
    """The object and the camera stand still: no frame shows what is behind."""
    made = make_shot(tmp_path / "in", FRAMES)
    for frame in FRAMES:
        made.write("plate", frame, picture(1))
        made.write("matte", frame, {"A": MATTE})
    return made


def painted(path: Path, height: int = 48) -> Path:
    """A patch of 0.25, exactly over the matte."""
    alpha = np.zeros((height, 64), np.float16)
    alpha[:48] = MATTE
    light = (alpha * np.float16(0.25)).astype(np.float16)
    path.write_bytes(exr_bytes({**dict.fromkeys("RGB", light), "A": alpha}))
    return path


def test_a_painted_frame_is_uploaded_and_fills_every_frame(
    run: Run, shot: Shot, tmp_path: Path
) -> None:
    patch = painted(tmp_path / "patch.exr")
    done = run(
        shot, tmp_path / "out" / "r.%04d.exr", "--engine", "cleanplate", "--clean", f"1003={patch}"
    )
    assert done.code == 0, done.err
    assert done.event("request")["files"] == 9
    for frame in FRAMES:
        inside = channels_of(tmp_path / "out" / f"r.{frame}.exr")["R"][MATTE > 0]
        assert inside == pytest.approx(0.25, abs=0.001)
    record = json.loads((tmp_path / "out" / "r.1001-1004.voidbridge.json").read_text())
    assert record["clean"] == {"frames": [1003], "whole": []}
    assert record["files"]["clean"] == f"1003={patch}"
    assert "clean/1003" in record["sources"]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--clean", "1009={patch}"), "request.mismatch", "is none of the plate's frames"),
        (("--clean", "1003={folder}/no.exr"), "request.missing-frames", "clean frame 1003"),
        (("--clean", "1003={large}"), "request.mismatch", "the clean is 64x52"),
        (
            ("--clean", "1003={patch}", "--frames", "1001-1001", "--handles", "0"),
            "request.mismatch",
            "are sent: 1001",
        ),
    ],
)
def test_a_painted_frame_that_does_not_fit_is_refused_before_it_is_sent(
    run: Run, shot: Shot, tmp_path: Path, words: tuple[str, ...], code: str, text: str
) -> None:
    files = {
        "patch": painted(tmp_path / "patch.exr"),
        "large": painted(tmp_path / "large.exr", 52),
        "folder": tmp_path,
    }
    done = run(shot, tmp_path / "out" / "r.%04d.exr", *(word.format(**files) for word in words))
    error = done.event("error")
    assert (done.code, error["code"]) == (2, code)
    assert text in error["text"]
    assert error["hint"]
    assert "accepted" not in {event["event"] for event in done.events}


def test_a_painted_frame_is_never_written_over(run: Run, shot: Shot, tmp_path: Path) -> None:
    patch = painted(tmp_path / "r.1003.exr")
    before = patch.read_bytes()
    done = run(shot, tmp_path / "r.%04d.exr", "--clean", f"1003={patch}", "--overwrite")
    assert done.event("error")["code"] == "request.overwrites-source"
    assert patch.read_bytes() == before
