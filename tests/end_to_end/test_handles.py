"""Which frames beside the range are seen without being asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from voidbridge_shots import Shot, make_shot, picture
from voidbridge_stage import Finished

Run = Callable[..., Finished]
FRAMES = ("--frames", "1028-1029", "--engine", "cleanplate")


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Shot:
    return make_shot(tmp_path_factory.mktemp("shots") / "in", range(1001, 1057), 24, 32)


def handles(run: Run, shot: Shot, tmp_path: Path, *words: str) -> list[int]:
    done = run(shot, tmp_path / "out/r.%04d.exr", *words)
    assert done.code == 0, done.err
    names = sorted(path.name for path in (tmp_path / "out").glob("*.exr"))
    assert names == ["r.1028.exr", "r.1029.exr"]
    event = done.event("request")
    assert event["files"] == 2 * (2 + sum(event["handles"]))
    return list(event["handles"])


def test_24_frames_on_each_side_are_seen_by_themselves(
    run: Run, shot: Shot, tmp_path: Path
) -> None:
    assert handles(run, shot, tmp_path, *FRAMES) == [24, 24]


def test_a_number_is_taken_as_it_is(run: Run, shot: Shot, tmp_path: Path) -> None:
    assert handles(run, shot, tmp_path, *FRAMES, "--handles", "0") == [0, 0]
    assert handles(run, shot, tmp_path, *FRAMES, "--handles", "40") == [27, 27]


def test_the_test_engine_sees_nothing_in_handles(run: Run, shot: Shot, tmp_path: Path) -> None:
    assert handles(run, shot, tmp_path, *FRAMES[:2]) == [0, 0]


def test_frames_that_do_not_fit_are_left_out(run: Run, tmp_path: Path) -> None:
    """A matte that is missing, a format that differs: neither may spoil a range that is whole."""
    shot = make_shot(tmp_path / "in", range(1020, 1040), 24, 32, seed=2)
    shot.remove("matte", [1025])
    shot.write("plate", 1034, picture(1, 24, 30))
    assert handles(run, shot, tmp_path, *FRAMES) == [2, 4]
    shot.file("plate", 1031).write_bytes(b"half a file")
    assert handles(run, shot, tmp_path, *FRAMES, "--seed", "1") == [2, 1]


@pytest.mark.parametrize("text", ["-1", "many", "2.5", ""])
def test_what_is_no_number_of_frames_is_refused(
    run: Run, shot: Shot, tmp_path: Path, text: str
) -> None:
    done = run(shot, tmp_path / "r.%04d.exr", f"--handles={text}")
    assert (done.code, done.event("error")["code"]) == (2, "request.setting")
