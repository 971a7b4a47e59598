"""Results of the tool for Fusion: earlier ones, closed comps, caches, and what is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import voidbridge_fusion as fusion
from voidbridge_fusion_shots import is_removed, shot_of, tool_of
from voidbridge_shots import channels_of


@pytest.fixture
def shot(tmp_path: Path) -> Any:
    return shot_of(tmp_path)


def test_earlier_results_are_kept_and_can_be_shown_again(host: Any, shot: Any, daemon: Any) -> None:
    comp = host.comp(file=str(host.folder / "shot.comp"))
    group = tool_of(host, comp, shot, daemon.address)
    for seed in (0, 1):
        host.choose(group, seed=seed)
        host.press(group, "Remove")
        host.until(group, lambda s: "done" in s)
    newer = host.shown(group, 1)["R"]
    assert group.GetInput("VbVersionShown") == 2
    host.choose(group, version_shown=1)
    host.press(group, "Show")
    assert host.status(group) == "out of date: seed changed since v001"
    assert not np.array_equal(host.shown(group, 1)["R"], newer)
    host.choose(group, version_shown=0)
    host.press(group, "Show")
    assert not is_removed(host, group, shot)
    assert host.status(group) == "not rendered"
    host.choose(group, version_shown=7)
    host.press(group, "Show")
    assert host.status(group) == "there is no result v007"
    host.choose(group, version_shown=2)
    host.press(group, "Show")
    assert host.status(group) == "done: v002, frames 0-2 (files 1001-1003)"
    (result,) = (t for t in group.children if t.data["Voidbridge"] == "load_result")
    assert result.inputs["Clip"].startswith("Comp:/voidbridge/")


def test_a_result_keeps_its_trim_when_a_newer_one_is_shown(
    host: Any, shot: Any, daemon: Any
) -> None:
    group = tool_of(host, host.comp(), shot, daemon.address)
    host.press(group, "Remove")
    host.until(group, lambda s: "done" in s)
    (result,) = (t for t in group.children if t.data["Voidbridge"] == "load_result")
    for id, value in {
        "GlobalIn": 1.0,
        "ClipTimeStart": 1.0,
        "HoldFirstFrame": 0.0,
        "Depth": 4.0,
    }.items():
        result.store(id, value)
    host.choose(group, seed=3)
    host.press(group, "Remove")
    host.until(group, lambda s: "done" in s)
    names = ("GlobalIn", "HoldFirstFrame", "GlobalOut", "ClipTimeStart", "ClipTimeEnd", "Depth")
    assert {n: result.inputs[n] for n in names} == {
        "GlobalIn": 0, "HoldFirstFrame": 1, "GlobalOut": 2, "ClipTimeStart": 1, "ClipTimeEnd": 2, "Depth": 4,
    }  # fmt: skip
    assert is_removed(host, group, shot)
    own = channels_of(shot.file("plate", 1001))["R"].astype(np.float32)
    assert np.array_equal(host.shown(group, 0)["R"], own)


def test_a_slider_that_is_dragged_shows_no_version_and_makes_one_step_of_undo(
    host: Any, shot: Any, daemon: Any
) -> None:
    comp = host.comp()
    group = tool_of(host, comp, shot, daemon.address)
    for seed in (0, 1):
        host.choose(group, seed=seed)
        host.press(group, "Remove")
        host.until(group, lambda s: "done" in s)
    newer = host.shown(group, 1)["R"]
    comp.undone.clear()
    host.drag(group, "version_shown", range(2, -1, -1))
    assert comp.undone == []
    assert np.array_equal(host.shown(group, 1)["R"], newer)
    host.drag(group, "grow", range(1, 40))
    assert comp.undone == ["Voidbridge: status"]
    assert host.status(group) == "out of date: grow changed since v002"


@pytest.mark.parametrize(
    ("cache", "place"), [("Comp:/vb 2", "shots/vb 2"), ("vb", "shots/vb"), ("../up", "up")]
)
def test_a_cache_folder_of_the_comp_or_beside_it_is_found(
    host: Any, shot: Any, daemon: Any, cache: str, place: str
) -> None:
    (host.folder / "shots").mkdir()
    comp = host.comp(file=str(host.folder / "shots/a.comp"))
    group = tool_of(host, comp, shot, daemon.address, cache=cache)
    host.press(group, "Remove")
    host.until(group, lambda s: "done" in s)
    assert len(list((host.folder / place).glob("*/v001/result.*.exr"))) == 3
    assert is_removed(host, group, shot)


def test_a_comp_that_was_closed_finds_its_job_again(
    host: Any, plugin: Path, shot: Any, daemon: Any, tmp_path: Path
) -> None:
    """The comp is opened in another Fusion, which knows only what the comp holds."""
    group = tool_of(host, host.comp(), shot, daemon.address)
    host.press(group, "Remove")
    again = fusion.Stage(plugin, tmp_path)
    opened = tool_of(again, again.comp(), shot, daemon.address)
    for mine, theirs in zip(opened.children, group.children, strict=True):
        mine.inputs, mine.seen, mine.data = dict(theirs.inputs), dict(theirs.seen), theirs.data
    assert again.until(opened, lambda s: "done" in s).startswith("done: v001")
    assert is_removed(again, opened, shot)
    assert again.mistakes == []


def test_a_result_that_is_gone_is_said(host: Any, shot: Any, daemon: Any) -> None:
    group = tool_of(host, host.comp(), shot, daemon.address)
    host.press(group, "Remove")
    host.until(group, lambda s: "done" in s)
    (file,) = host.folder.glob("Voidbridge/*/v001/result.1002.exr")
    file.unlink()
    host.press(group, "Fetch")
    assert host.status(group) == "v001 lacks 1 files, result.1002.exr first"
    with pytest.raises(RuntimeError, match="not there"):
        host.shown(group, 1)
