"""`report` finds settings by itself, and reports progress."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from voidbridge_shots import Shot, make_shot, square
from voidbridge_stage import Finished, called, run_words

Run = Callable[..., Finished]


def with_shadow(folder: Path) -> Shot:
    shot = make_shot(folder, range(1001, 1003))
    for frame in shot.frames:
        shot.write("affected", frame, {"A": square(at=(30, 40))})
    return shot


def report(shot: Shot, result: object, *words: object) -> Finished:
    return called("report", result, shot.plate, shot.matte, "--json", *words)


def test_the_affected_matte_is_taken_from_the_record(run: Run, tmp_path: Path) -> None:
    shot, result = with_shadow(tmp_path / "in"), tmp_path / "out/r.%04d.exr"
    assert run(shot, result, "--affected", shot.affected).code == 0
    named, by_itself = report(shot, result, "--affected", shot.affected), report(shot, result)
    assert (named.code, by_itself.code) == (0, 0), by_itself.err
    assert by_itself.event("quality") == named.event("quality")
    assert by_itself.event("quality")["outside_differing"] == 0
    shot.remove("affected", shot.frames)
    error = report(shot, result).event("error")
    assert error["code"] == "request.setting"
    assert "--affected" in error["hint"]


def test_a_result_that_is_the_plate_is_called_one(run: Run, tmp_path: Path) -> None:
    shot, result = make_shot(tmp_path / "in", range(1001, 1003)), tmp_path / "out/r.%04d.exr"
    assert run(shot, result).code == 0
    assert not any("is the plate" in w for w in report(shot, result).event("quality")["warnings"])
    (tmp_path / "out/r.1002.exr").write_bytes(shot.file("plate", 1002).read_bytes())
    warnings = report(shot, result).event("quality")["warnings"]
    assert any("is the plate in the hole of 1002" in text for text in warnings)


def test_progress_reaches_its_end(daemon: Any, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1009), seed=5)
    words = run_words(shot, tmp_path / "out", daemon.address, "--steps", 5, "--user", "progress")
    done = called(*words)
    assert done.code == 0, done.err
    told = [line for line in done.err.splitlines() if line.startswith("removing ")]
    assert told[-1].startswith("removing 40 of 40")
