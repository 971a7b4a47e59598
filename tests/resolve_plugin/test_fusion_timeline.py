"""The script for the timeline of Resolve Studio, against the sandbox of resolvescript with what that lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ResolveScript.sandbox import api
from voidbridge_shots import channels_of, make_shot
from voidbridge_stage import leftovers

from voidbridge_backend.tools.install import command
from voidbridge_nuke.child_environment import KEEP, child_environment, rules
from voidbridge_resolve import timeline

FILES = range(1001, 1009)


class Item(api.FakeClip):
    """A clip on the timeline that shows files of a sequence from `left` on."""

    def __init__(self, path: str, start: int, frames: int, left: int, right: int) -> None:
        super().__init__(
            Path(path).name,
            start,
            start + frames - 1,
            api.FakeMediaPoolItem(path, {"File Path": path}),
        )
        self._left, self._right = left, right

    def GetStart(self, subframe: bool) -> float:
        return float(super().GetStart())

    def GetDuration(self, subframe: bool) -> float:
        return float(super().GetDuration())

    def GetLeftOffset(self, subframe: bool) -> float:
        return float(self._left)

    def GetRightOffset(self, subframe: bool) -> float:
        return float(self._right)


class Timeline(api.FakeTimeline):
    """`exclusive`: whether a clip ends before the frame `endFrame` of its description.

    It does in Studio 21.0, as davinci-resolve-mcp #82 measured, and Resolve_Script PR 23. Others may differ.
    """

    def __init__(self, tracks: list[list[Any]], exclusive: bool = True) -> None:
        super().__init__("cut", 86400, 90000, 23.976, tracks, [])
        self.current: Any = tracks[0][0]
        self.exclusive = exclusive
        self.marks: dict[str, dict[str, int]] = {}

    def GetMarkInOut(self) -> dict[str, dict[str, int]]:
        return self.marks

    def DeleteClips(self, items: list[Any], ripple: bool) -> bool:
        assert ripple is False
        for track in self._video:
            track[:] = [item for item in track if item not in items]
        return True

    def GetCurrentVideoItem(self) -> Any:
        return self.current

    def AddTrack(self, kind: str, options: dict[str, Any]) -> bool:
        assert (kind, options) == ("video", {})
        self._video.append([])
        return True


class Pool(api.FakeMediaPool):
    def __init__(self, cut: Timeline) -> None:
        super().__init__(api.FakeFolder("Master", []))
        self.cut = cut

    def ImportMedia(self, items: list[dict[str, Any]]) -> list[Any]:
        (item,) = items
        for number in range(item["StartIndex"], item["EndIndex"] + 1):
            assert Path(item["FilePath"] % number).is_file()
        return [api.FakeMediaPoolItem(item["FilePath"])]

    def AppendToTimeline(self, items: list[dict[str, Any]]) -> list[Any]:
        (item,) = items
        frames = item["endFrame"] - item["startFrame"] + (not self.cut.exclusive)
        made = Item(item["mediaPoolItem"].GetName(), item["recordFrame"], frames, 0, 0)
        self.cut._video[item["trackIndex"] - 1].append(made)
        return [made]


def resolve(cut: Timeline) -> Any:
    project = api.FakeProject("film", [cut], Pool(cut))
    return api.FakeResolve(api.FakeProjectManager({"film": project}, "film"))


def placed(shot: Any, role: str, start: int = 86500, frames: int = 4, left: int = 2) -> Item:
    path = str(shot.folder / f"{role}.[{FILES[0]}-{FILES[-1]}].exr")
    return Item(path, start, frames, left, len(FILES) - left - frames)


@pytest.mark.parametrize("exclusive", [True, False])
def test_what_is_used_of_the_clip_comes_back_above_it(
    tmp_path: Path, daemon: Any, monkeypatch: pytest.MonkeyPatch, exclusive: bool
) -> None:
    shot = make_shot(tmp_path / "Plätze [A] 01", FILES, seed=611)
    cut = Timeline([[placed(shot, "plate")], [placed(shot, "matte")]], exclusive)
    monkeypatch.setattr(timeline, "HANDLES", 1)
    echo = ("--engine=echo", "--grow=0", "--soften=0", f"--daemon={daemon.address}")
    monkeypatch.setattr(timeline, "OPTIONS", echo)
    said: list[str] = []
    for number in (1, 2):
        result = timeline.remove(resolve(cut), command(), said.append)
        assert Path(result) == shot.folder / f"voidbridge/plate_v00{number}/plate.%04d.exr"
        assert sorted(p.name for p in Path(result).parent.glob("*.exr")) == [
            f"plate.{n}.exr" for n in range(1003, 1007)
        ]
        (item,) = cut.GetItemListInTrack("video", 2 + number)
        assert (item.GetStart(False), item.GetDuration(False)) == (86500, 4)
        hole = channels_of(shot.file("matte", 1004))["A"] > 0
        plate = channels_of(shot.file("plate", 1004))["R"]
        changed = channels_of(Path(result % 1004))["R"] != plate
        assert np.array_equal(changed, hole)
    assert leftovers(shot.folder) == []


@pytest.mark.parametrize("from_start", [True, False])
def test_marked_frames_are_taken_again_and_each_take_comes_above(
    tmp_path: Path, daemon: Any, monkeypatch: pytest.MonkeyPatch, from_start: bool
) -> None:
    """Whether marks count from the timeline's start, 86400, is not documented: both are understood."""
    shot = make_shot(tmp_path / "Plätze [A] 01", FILES, seed=611)
    cut = Timeline([[placed(shot, "plate", frames=6, left=1)]])
    offset = 0 if from_start else 86400
    cut.marks = {"video": {"in": 102 + offset, "out": 103 + offset}}
    monkeypatch.setattr(timeline, "TAKE_OPTIONS", (f"--daemon={daemon.address}",))
    before = {path: path.read_bytes() for path in shot.folder.glob("*.exr")}
    for number, more in enumerate(("--motion=continue", "--motion=hold"), 1):
        monkeypatch.setattr(timeline, "TAKE_OPTIONS", (more, f"--daemon={daemon.address}"))
        result = timeline.generate(resolve(cut), command(), print)
        folder = shot.folder / f"voidbridge/takes/plate_1004-1005/take_00{number}"
        assert Path(result).parent == folder
        assert sorted(path.name for path in folder.glob("*.exr")) == [
            f"plate_1004-1005.{n}.exr" for n in (1004, 1005)
        ]
        (item,) = cut.GetItemListInTrack("video", 1 + number)
        assert (item.GetStart(False), item.GetDuration(False)) == (86502, 2)
    assert {path: path.read_bytes() for path in shot.folder.glob("*.exr")} == before


def test_a_gap_behind_the_clip_is_filled_from_the_frames_that_both_clips_show(
    tmp_path: Path, daemon: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shot = make_shot(tmp_path / "s", FILES, seed=611)
    one, other = placed(shot, "plate", 86500, 3, 0), placed(shot, "plate", 86505, 3, 5)
    cut = Timeline([[one, other]])
    monkeypatch.setattr(timeline, "TAKE_OPTIONS", (f"--daemon={daemon.address}",))
    result = timeline.generate(resolve(cut), command(), print)
    assert [Path(result % n).is_file() for n in (1003, 1004, 1005, 1006)] == [
        False,
        True,
        True,
        False,
    ]
    (item,) = cut.GetItemListInTrack("video", 2)
    assert (item.GetStart(False), item.GetDuration(False)) == (86503, 2)


def test_without_marks_and_without_a_gap_nothing_is_generated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shot = make_shot(tmp_path / "s", FILES)
    monkeypatch.setattr(timeline, "ACTION", "generate")
    cut = Timeline([[placed(shot, "plate")]])
    for marks in ({}, {"video": {"in": 86500, "out": 86501}}, {"audio": {"in": 0, "out": 1}}):
        cut.marks = marks
        assert timeline.main(resolve(cut), "") is False
        assert "Mark In and Out inside of the clip" in capsys.readouterr().out
    assert not (shot.folder / "voidbridge").exists()


def test_the_script_that_generates_is_installed_beside_the_other(
    plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = plugin / "Scripts/Edit/Voidbridge generate (Studio).py"
    cut = Timeline([[placed(make_shot(plugin.parent / "s", FILES), "plate")]])
    scope: dict[str, Any] = {
        "resolve": resolve(cut),
        "__file__": str(script),
        "__name__": "__main__",
    }
    exec(compile(script.read_text(encoding="utf-8"), str(script), "exec"), scope)
    assert "Mark In and Out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("tracks", "words"),
    [
        (lambda s: [[placed(s, "plate")]], "There is no matte"),
        (lambda s: [[placed(s, "plate")], [placed(s, "matte", 86502, 2)]], "covers 86502-86503"),
        (
            lambda s: [[placed(s, "plate")], [placed(s, "matte", left=1)]],
            "file 1003, is under file 1002",
        ),
        (lambda s: [[Item("/x/a.mov", 0, 4, 0, 0)]], "/x/a.mov is not an OpenEXR sequence"),
        (lambda s: [[Item(str(s.folder / "p.[1-8].exr"), 0, 4, 0, 0)]], "retimed"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path, tracks: Any, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shot = make_shot(tmp_path / "s", FILES)
    assert timeline.main(resolve(Timeline(tracks(shot))), "") is False
    assert words in capsys.readouterr().out
    assert not (shot.folder / "voidbridge").exists()


def test_a_job_that_fails_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shot = make_shot(tmp_path / "s", FILES)
    shot.remove("matte", [1004])
    cut = Timeline([[placed(shot, "plate")], [placed(shot, "matte")]])
    monkeypatch.setattr(timeline, "command_of", lambda script: command())
    assert timeline.main(resolve(cut), "") is False
    assert "1004" in capsys.readouterr().out
    assert cut.GetTrackCount("video") == 2


def test_the_lowest_free_track_is_taken() -> None:
    tracks = [[(0, 9)], [(0, 9)], [(4, 6)], [(0, 2), (8, 9)], []]
    assert timeline.free_track(tracks, 2, 2, 8) == 4
    assert timeline.free_track(tracks, 2, 1, 8) == 5
    assert timeline.free_track(tracks[:3], 2, 5, 8) == 4


def test_the_installed_script_finds_its_command_and_runs_where_resolve_is(
    plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = plugin / "Scripts/Edit/Voidbridge timeline (Studio).py"
    cut = Timeline([[placed(make_shot(plugin.parent / "s", FILES), "plate")]])
    code = compile(script.read_text(encoding="utf-8"), str(script), "exec")
    scope: dict[str, Any] = {
        "resolve": resolve(cut),
        "__file__": str(script),
        "__name__": "__main__",
    }
    exec(code, scope)
    assert "There is no matte" in capsys.readouterr().out
    assert timeline.command_of(str(script)) == command()


def test_the_installed_script_knows_its_folder_where_resolve_names_no_file(plugin: Path) -> None:
    """Whether menus of Resolve define `__file__` is not known."""
    script = plugin / "Scripts/Edit/Voidbridge timeline (Studio).py"
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(script.read_text(encoding="utf-8"), "<menu>", "exec"), scope)
    assert scope["command_of"]("") == command()


@pytest.mark.parametrize("keep", ["", "PYTHONHOME,LD_LIBRARY_PATH"])
def test_a_child_of_the_timeline_has_the_environment_that_a_child_of_nuke_has(keep: str) -> None:
    given = {
        "PATH": "/bin", "PYTHONHOME": "/opt/resolve", "LD_LIBRARY_PATH": "/opt/resolve/libs:/usr/lib/nvidia",
        "QT_X": "1", "SSL_CERT_FILE": "/x", KEEP: keep,
    }  # fmt: skip
    found = timeline.environment(given, rules(), "/opt/resolve")
    assert found == child_environment(given, "/opt/resolve", rules())
