"""Patterns and ranges name exactly the frames that were asked for, or say what is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voidbridge_backend.cli.commands.jobs import left_out_notes
from voidbridge_backend.sequences.patterns import FrameRange, Sequence, compact, frames_for
from voidbridge_protocol.errors import BadPattern, BadSetting, MissingFrames


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch()


@pytest.mark.parametrize(
    ("pattern", "frame", "name"),
    [
        ("plate.%04d.exr", 1001, "plate.1001.exr"),
        ("plate.%04d.exr", 7, "plate.0007.exr"),
        ("plate.%04d.exr", 10000, "plate.10000.exr"),
        ("plate.%04d.exr", -5, "plate.-005.exr"),
        ("plate.%d.exr", 7, "plate.7.exr"),
        ("plate.####.exr", 12, "plate.0012.exr"),
        ("plate.@@@.exr", 12, "plate.012.exr"),
        ("plate.#.exr", 12, "plate.12.exr"),
        ("plate.$F4.exr", 12, "plate.0012.exr"),
        ("shot 1 #3_plâte.%06d.exr", 12, "shot 1 #3_plâte.000012.exr"),
        ("you@host_v12.####.exr", 1, "you@host_v12.0001.exr"),
        ("plate_%04d_v002.exr", 1, "plate_0001_v002.exr"),
        ("50% grey.%04d.exr", 1, "50% grey.0001.exr"),
    ],
)
def test_a_pattern_names_one_file_for_each_frame(pattern: str, frame: int, name: str) -> None:
    for folder in "", "/mnt/show/shot 010/", "take#1/":
        sequence = Sequence.parse(folder + pattern)
        assert sequence.path(frame) == Path(folder) / name


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("plate.1001.exr", 1001),
        ("plate_v02.0999.exr", 999),
        ("shot-1001.exr", 1001),
        ("plate.-5.exr", -5),
        ("v003.exr", 3),
        ("plate.exr", 1),
    ],
)
def test_a_single_file_is_the_frame_of_its_last_number(name: str, frame: int) -> None:
    sequence = Sequence.parse(f"somewhere/{name}")
    assert sequence.single == frame
    assert sequence.path(frame) == Path("somewhere") / name
    with pytest.raises(MissingFrames, match=f"is frame {frame} only"):
        sequence.path(frame + 1)


@pytest.mark.parametrize(
    ("pattern", "said", "hint"),
    [
        ("a.%04d.%03d.exr", "2 places", "one place"),
        ("a.%04d.####.exr", "%04d and ####", "one place"),
        ("shot.%04d/plate.exr", "folder's name", "Only the file"),
        ("plate.*.exr", "wildcard", "%04d"),
        ("plate.[0-9].exr", "wildcard", "%04d"),
        ("plate.%4d.exr", "spaces", "%04d"),
        ("plate.%04x.exr", "unknown placeholder", "%04d"),
        ("plate.%V.%04d.exr", "view", "one job for each view"),
        ("plate.%v.%04d.exr", "view", "one job for each view"),
        ("%V/plate.%04d.exr", "view", "one job for each view"),
        ("", "empty", "%04d"),
        ("somewhere/", "folder", "%04d"),
    ],
)
def test_a_pattern_that_cannot_be_meant_says_why(pattern: str, said: str, hint: str) -> None:
    with pytest.raises(BadPattern) as failure:
        Sequence.parse(pattern)
    assert said in failure.value.text
    assert hint in failure.value.hint


def test_a_folder_is_no_sequence(tmp_path: Path) -> None:
    with pytest.raises(BadPattern, match="is a folder"):
        Sequence.parse(tmp_path)


def test_a_file_that_is_there_is_meant_literally(tmp_path: Path) -> None:
    touch(tmp_path, "odd#name.[3].exr")
    assert Sequence.parse(tmp_path / "odd#name.[3].exr").scan() == [3]


@pytest.mark.parametrize("folder", ["pct%20dir", "100%done", "100%", "%d%20x", "a%5B1%5D"])
def test_a_percent_that_is_no_frame_number_is_part_of_a_name(tmp_path: Path, folder: str) -> None:
    touch(tmp_path, "p%20dark.0007.exr")
    (tmp_path / folder).mkdir()
    touch(tmp_path / folder, "p%20dark.0007.exr")
    sequence = Sequence.parse(tmp_path / folder / "p%20dark.####.exr")
    assert (sequence.folder.name, sequence.scan()) == (folder, [7])
    assert Sequence.parse(str(sequence)) == sequence
    assert Sequence.parse(tmp_path / folder / "p%20dark.0007.exr").scan() == [7]


def test_a_folder_that_is_there_is_meant_literally_and_a_new_one_may_have_a_percent(
    tmp_path: Path,
) -> None:
    (tmp_path / "take %04d").mkdir()
    touch(tmp_path / "take %04d", "p.0001.exr")
    assert Sequence.parse(tmp_path / "take %04d" / "p.%04d.exr").scan() == [1]
    assert Sequence.parse("new%20dir/r.%04d.exr").folder == Path("new%20dir")


def test_windows_paths_are_taken_apart_too() -> None:
    sequence = Sequence.parse(r"D:\show\shot 010\plate.%04d.exr")
    assert (sequence.prefix, sequence.suffix) == ("plate.", ".exr")
    assert str(sequence.folder) == r"D:\show\shot 010"


@given(st.integers(-99999, 999999), st.sampled_from(["%d", "%04d", "%08d", "###", "@@@@@@"]))
def test_every_frame_is_found_where_it_was_put(frame: int, placeholder: str) -> None:
    sequence = Sequence.parse(f"a (1)+.{placeholder}.exr")
    again = Sequence.parse(str(sequence))
    assert again == sequence
    assert again.path(frame) == sequence.path(frame)


def test_the_frames_on_disk_are_those_of_the_pattern_only(tmp_path: Path) -> None:
    touch(tmp_path, "p.0009.exr", "p.0010.exr", "p.-003.exr", "p.10000.exr")
    touch(
        tmp_path, "p.011.exr", "p.00012.exr", "p.0013.exr.tmp", "p.0014.jpg", "q.0015.exr", "p.exr"
    )
    assert Sequence.parse(tmp_path / "p.%04d.exr").scan() == [-3, 9, 10, 10000]


def test_numbers_in_another_form_are_no_frames_and_are_said_to_be_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "p.-0003.exr", "p.-0002.exr", "p.0001.exr", "p.00001.exr", "p.exr", "q.7.exr")
    sequence = Sequence.parse(tmp_path / "p.%04d.exr")
    assert sequence.scan() == [1]
    assert sequence.otherwise_spelled() == [
        ("p.-0002.exr", "p.-002.exr"),
        ("p.-0003.exr", "p.-003.exr"),
    ]
    (note,) = left_out_notes([sequence, Sequence.parse(tmp_path / "q.#.exr")])
    assert note.startswith(f"2 files are left out of {sequence}, as p.-0002.exr: ")
    assert "spells that number p.-002.exr" in note


def test_unpadded_frames_sort_as_numbers(tmp_path: Path) -> None:
    touch(tmp_path, "p.9.exr", "p.10.exr", "p.100.exr", "p.0011.exr")
    assert Sequence.parse(tmp_path / "p.%d.exr").scan() == [9, 10, 100]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("1001-1100", 1001, 1100),
        ("1001", 1001, 1001),
        ("-5-10", -5, 10),
        ("-10--5", -10, -5),
        (" 1 - 2 ", 1, 2),
    ],
)
def test_ranges_are_read(text: str, first: int, last: int) -> None:
    frames = FrameRange.parse(text)
    assert (frames.first, frames.last, len(frames)) == (first, last, last - first + 1)
    assert FrameRange.parse(str(frames)) == frames


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1001-1100x2", "has a step"),
        ("1100-1001", "ends before it begins"),
        ("1,5,9", "several parts"),
        ("all", "not a frame range"),
        ("1001-", "not a frame range"),
        ("", "not a frame range"),
    ],
)
def test_other_ranges_are_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        FrameRange.parse(text)


def test_gaps_are_named_compactly(tmp_path: Path) -> None:
    gone = {1004, 1010, 1011, 1012}
    touch(tmp_path, *(f"p.{frame}.exr" for frame in range(1001, 1101) if frame not in gone))
    sequence = Sequence.parse(tmp_path / "p.####.exr")
    for wanted in None, FrameRange(1001, 1100):
        with pytest.raises(MissingFrames, match=r"no 1004, 1010-1012 \(4 of 100 frames\)"):
            frames_for(sequence, wanted)
    assert frames_for(sequence, FrameRange(1005, 1009)) == [1005, 1006, 1007, 1008, 1009]


def test_handles_reach_as_far_as_frames_are_there_without_a_gap(tmp_path: Path) -> None:
    touch(tmp_path, *(f"p.{frame}.exr" for frame in (997, 999, 1000, 1001, 1002, 1003)))
    sequence = Sequence.parse(tmp_path / "p.%d.exr")
    assert frames_for(sequence, FrameRange(1001, 1002), 1) == [1000, 1001, 1002, 1003]
    assert frames_for(sequence, FrameRange(1001, 1002), 8) == [999, 1000, 1001, 1002, 1003]
    assert frames_for(sequence, FrameRange(1001, 1002)) == [1001, 1002]


def test_a_sequence_without_a_file_says_what_is_there_instead(tmp_path: Path) -> None:
    cases = [
        (tmp_path / "gone" / "p.%04d.exr", "does not exist"),
        (tmp_path / "p.%04d.exr", "nothing in the folder ends in .exr"),
    ]
    touch(tmp_path, "notes.txt")
    for pattern, said in cases:
        with pytest.raises(MissingFrames, match=said):
            frames_for(Sequence.parse(pattern), None)
    touch(tmp_path, *(f"plate.{frame}.exr" for frame in range(1, 6)))
    with pytest.raises(MissingFrames, match=r"the folder has plate\.1\.exr, .* and 2 more"):
        frames_for(Sequence.parse(tmp_path / "roto_v3.%04d.exr"), None)
    with pytest.raises(MissingFrames, match=r"did you mean plate\.%d\.exr\?"):
        frames_for(Sequence.parse(tmp_path / "plate.%04d.exr"), None)


def test_a_long_list_of_gaps_stays_short() -> None:
    assert compact(range(0, 100, 2), most=3) == "0, 2, 4 and 47 more"
    assert compact([3, 1, 2, -1]) == "-1, 1-3"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("mate.%04d.exr", "matte.%04d.exr"),
        ("matte.%04d.png", "matte.%04d.exr"),
        ("Matte_2.%04d.exr", "matte_2.%04d.exr"),
        ("stil_v02.tif", "still_v02.tif"),
    ],
)
def test_a_mistyped_name_is_answered_with_the_one_that_is_there(
    tmp_path: Path, typed: str, meant: str
) -> None:
    for name in ("matte.1001.exr", "matte.1002.exr", "matte_2.1001.exr", "still_v02.tif", "a.txt"):
        (tmp_path / name).touch()
    with pytest.raises(MissingFrames, match=re.escape(f"did you mean {meant}?")):
        frames_for(Sequence.parse(tmp_path / typed), None)


def test_a_mistyped_folder_is_answered_with_the_one_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "mattes").mkdir()
    with pytest.raises(MissingFrames, match=r"did you mean mattes\?"):
        frames_for(Sequence.parse(tmp_path / "matts" / "m.%04d.exr"), None)
