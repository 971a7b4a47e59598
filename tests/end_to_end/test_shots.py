"""Shots through the command line: which frames come back, and which are refused before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voidbridge_shots import Shot, channels_of, echoed, make_shot, picture, same_bits, square
from voidbridge_stage import Finished, leftovers

Run = Callable[..., Finished]


def check(shot: Shot, folder: Path, frames: range, seed: int = 0) -> None:
    """Exactly these frames came back, each with its own echo under its own matte."""
    names = {path.name for path in folder.glob("*.exr")}
    assert names == {f"r.{frame:04d}.exr" for frame in frames}
    for frame in frames:
        plate = channels_of(shot.file("plate", frame))
        hole = channels_of(shot.file("matte", frame))["A"] >= 0.1
        result = channels_of(folder / f"r.{frame:04d}.exr")
        assert result.keys() == plate.keys()
        for name, samples in plate.items():
            assert same_bits(result[name], echoed(samples, hole, seed)), (frame, name)


def refused(done: Finished, code: str, *words: str) -> None:
    """With this error and these words in its text, before a byte was sent."""
    error = done.event("error")
    assert (done.code, error["code"], error["exit"]) == (2, code, 2), done.err
    for word in words:
        assert word in error["text"]
    assert error["hint"]
    assert error["text"] in done.err
    assert not {event["event"] for event in done.events} & {"accepted", "uploading"}


@pytest.mark.parametrize(
    ("first", "count"),
    [(1001, 3), (1, 3), (0, 2), (99_998, 4), (1001, 1), (1001, 2), (1001, 5)],
)
def test_the_frames_come_back_under_their_own_numbers(
    run: Run, tmp_path: Path, first: int, count: int
) -> None:
    shot = make_shot(tmp_path / "in", range(first, first + count))
    done = run(shot, tmp_path / "out" / "r.%04d.exr", "--seed", 5)
    assert done.code == 0, done.err
    assert done.event("done")["frames"] == [first, first + count - 1]
    check(shot, tmp_path / "out", shot.frames, seed=5)


def test_a_range_inside_the_files_is_all_that_is_read(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1008))
    shot.file("plate", 1001).write_bytes(b"no frame of this shot")
    done = run(shot, tmp_path / "out" / "r.####.exr", "--frames", "1003-1005")
    assert done.code == 0, done.err
    assert done.event("request")["files"] == 6
    check(shot, tmp_path / "out", range(1003, 1006))


def test_handles_are_seen_and_not_returned(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1008))
    done = run(
        shot, tmp_path / "out" / "r.%04d.exr", "--frames", "1003-1005", "--handles", 8, "--steps", 5
    )
    assert done.code == 0, done.err
    assert done.event("request") == {
        "event": "request", "frames": [1003, 1005], "handles": [2, 2], "files": 14
    }  # fmt: skip
    # The engine sees all seven frames, and completes three with five steps for each.
    assert max(e["of"] for e in done.events if e.get("stage") == "removing") == 15
    check(shot, tmp_path / "out", range(1003, 1006))


def test_a_single_file_gives_a_single_file(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1017, 1018))
    files = {role: shot.file(role, 1017) for role in ("plate", "matte")}
    done = run(shot, tmp_path / "out" / "clean.exr", **files)
    assert done.code == 0, done.err
    assert done.event("done")["frames"] == [1017, 1017]
    plate, hole = channels_of(files["plate"]), square(at=(12, 20)) > 0
    assert same_bits(channels_of(tmp_path / "out/clean.exr")["G"], echoed(plate["G"], hole))


def test_a_folder_as_the_result_keeps_the_plates_names(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    done = run(shot, f"{tmp_path / 'clean'}/")
    assert done.code == 0, done.err
    found = sorted(path.name for path in (tmp_path / "clean").iterdir())
    assert found == ["plate.1001-1002.voidbridge.json", "plate.1001.exr", "plate.1002.exr"]


def test_chunks_of_a_farm_keep_a_record_each_in_one_folder(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(5))
    for words in ("0-1", "2-3", "4"):
        done = run(shot, tmp_path / "out/r.%04d.exr", f"--frames={words}")
        assert done.code == 0, done.err
        record = Path(done.event("done")["sidecar"])
        assert record == tmp_path / f"out/r.{words}.voidbridge.json"
    records = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")]
    assert sorted(record["frames"] for record in records) == [[0, 1], [2, 3], [4, 4]]


def test_blanks_and_letters_of_all_kinds_may_be_in_paths(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "Straße 7 — 東京" / "a b", range(1001, 1003))
    folder = tmp_path / "fértig & 'quoted' % #1"
    done = run(shot, folder / "r.%04d.exr")
    assert done.code == 0, done.err
    assert done.event("done")["result"] == str(folder / "r.%04d.exr")
    assert done.event("frame")["path"].startswith(str(folder))
    check(shot, folder, shot.frames)


def test_frames_without_a_hole_come_back_as_they_were(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1005))
    for frame in (1001, 1003):
        shot.write("matte", frame, {"A": np.zeros((48, 64), np.float16)})
    done = run(shot, tmp_path / "out" / "r.%04d.exr")
    assert done.code == 0, done.err
    check(shot, tmp_path / "out", shot.frames)


def test_an_empty_matte_gives_the_plate_back_and_says_so(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1004))
    for frame in shot.frames:
        shot.write("matte", frame, {"A": np.zeros((48, 64), np.float16)})
    done = run(shot, tmp_path / "out" / "r.%04d.exr", "--steps", 1000)
    assert done.code == 0, done.err
    assert any("empty in every frame" in text for text in done.event("done")["warnings"])
    assert not [e for e in done.events if e.get("stage") == "removing"]
    check(shot, tmp_path / "out", shot.frames)


def test_a_matte_over_the_whole_frame_has_to_be_allowed_and_is_mentioned(
    run: Run, tmp_path: Path
) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    for frame in shot.frames:
        shot.write("matte", frame, {"A": np.ones((48, 64), np.float16)})
    full = run(shot, tmp_path / "out" / "r.%04d.exr", "--matte-kind", "matte")
    assert (full.code, full.event("error")["code"]) == (2, "request.matte.full")
    done = run(shot, tmp_path / "out" / "r.%04d.exr", "--matte-kind", "matte", "--allow-full-matte")
    assert done.code == 0, done.err
    assert any("matte" in text for text in done.event("done")["warnings"])
    check(shot, tmp_path / "out", shot.frames)


@pytest.mark.parametrize("role", ["plate", "matte"])
def test_a_gap_is_named_before_anything_is_sent(run: Run, tmp_path: Path, role: str) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1011))
    shot.remove(role, [1004, 1006, 1007])
    done = run(shot, tmp_path / "out" / "r.%04d.exr")
    refused(done, "request.missing-frames", "1004, 1006-1007")
    assert not (tmp_path / "out").exists()


def test_a_matte_of_another_size_is_refused(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    for frame in shot.frames:
        shot.write("matte", frame, {"A": square(24, 32, at=(5, 5))})
    refused(run(shot, tmp_path / "r.%04d.exr"), "request.mismatch", "32x24", "64x48")


def test_a_matte_of_another_range_is_refused(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1006))
    shot.remove("matte", [1004, 1005])
    refused(run(shot, tmp_path / "r.%04d.exr"), "request.missing-frames", "1004-1005")


def test_a_plate_that_changes_its_format_is_refused(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1004))
    shot.write("plate", 1003, picture(1, 48, 60))
    refused(run(shot, tmp_path / "r.%04d.exr"), "request.mismatch", "1003", "60x48")


@pytest.mark.parametrize("output", ["in/plate.%04d.exr", "in/../in/plate.####.exr", "in/", "in"])
def test_the_plate_is_never_overwritten(run: Run, tmp_path: Path, output: str) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    before = shot.file("plate", 1001).read_bytes()
    refused(run(shot, f"{tmp_path}/{output}"), "request.overwrites-source", "overwrite")
    assert shot.file("plate", 1001).read_bytes() == before


def test_the_plate_is_not_overwritten_through_a_link(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    (tmp_path / "elsewhere").symlink_to(tmp_path / "in")
    refused(
        run(shot, tmp_path / "elsewhere" / "plate.%04d.exr"),
        "request.overwrites-source",
        "overwrite",
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--frames", "1005-1001"], "request.setting"),
        (["--frames", "1001-1003x2"], "request.setting"),
        (["--frames", "1001-1009"], "request.missing-frames"),
        (["--threshold", "0"], "request.setting"),
        (["--seed", "-1"], "request.setting"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_asked_for_is_refused(
    run: Run, tmp_path: Path, words: list[str], code: str
) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1004))
    refused(run(shot, tmp_path / "r.%04d.exr", *words), code)


def test_an_engine_that_nobody_has_is_refused_with_those_that_there_are(
    run: Run, tmp_path: Path
) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    done = run(shot, tmp_path / "r.%04d.exr", "--engine", "magic")
    refused(done, "request.setting", "magic", "cleanplate")


def test_a_damaged_plate_is_named_with_its_frame(run: Run, tmp_path: Path) -> None:
    """Its header is whole, so that only the one who decodes it can see it."""
    shot = make_shot(tmp_path / "in", range(1001, 1005))
    path = shot.file("plate", 1003)
    data = bytearray(path.read_bytes())
    data[-2000:-1000] = bytes(1000)
    path.write_bytes(data)
    done = run(shot, tmp_path / "out" / "r.%04d.exr")
    error = done.event("error")
    assert (done.code, error["code"]) == (2, "request.unreadable"), done.err
    assert "frame 1003" in error["text"]
    assert leftovers(tmp_path) == []


def test_a_plate_cut_short_is_named_before_anything_is_sent(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1005))
    path = shot.file("plate", 1002)
    path.write_bytes(path.read_bytes()[:200])
    refused(run(shot, tmp_path / "r.%04d.exr"), "request.unreadable", "frame 1002")


def test_the_same_shot_twice_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1004))
    made: list[dict[str, bytes]] = []
    for folder in ("one", "two"):
        done = run(shot, tmp_path / folder / "r.%04d.exr", "--force")
        assert done.code == 0, done.err
        assert done.event("done")["from_store"] is False
        made.append({path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()})
    assert made[0] == made[1]
    assert len(made[0]) == 4


def test_the_default_engine_keeps_every_bit_outside_its_reach(run: Run, tmp_path: Path) -> None:
    """`cleanplate`, with the growth and softness that it has unasked."""
    shot = make_shot(tmp_path / "in", range(1001, 1005), 90, 160)
    words: list[Any] = ["--engine", "cleanplate", "--grow", 4, "--soften", 3]
    done = run(shot, tmp_path / "out" / "r.%04d.exr", *words)
    assert done.code == 0, done.err
    for frame in shot.frames:
        plate = channels_of(shot.file("plate", frame))
        result = channels_of(tmp_path / "out" / f"r.{frame}.exr")
        rows, columns = np.nonzero(channels_of(shot.file("matte", frame))["A"])
        near = np.zeros((90, 160), bool)
        near[
            max(rows.min() - 8, 0) : rows.max() + 9, max(columns.min() - 8, 0) : columns.max() + 9
        ] = 1
        inside = channels_of(shot.file("matte", frame))["A"] > 0
        for name in "RGB":
            assert same_bits(result[name][~near], plate[name][~near])
            assert (result[name][inside] != plate[name][inside]).mean() > 0.9
