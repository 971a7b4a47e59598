"""Jobs of the tool for Fusion that end otherwise, meet each other, or outlive their comp."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import voidbridge_fusion as fusion
import voidbridge_stage as stage
from voidbridge_fusion_shots import FILES, is_removed, shot_of, tool_of, versions
from voidbridge_shots import channels_of, make_shot


@pytest.fixture
def shot(tmp_path: Path) -> Any:
    return shot_of(tmp_path)


@pytest.mark.parametrize("name", ["status.json", "said.txt", "rendered/plate.0001.exr"])
def test_a_version_is_begun_in_no_folder_with_a_file_that_it_would_replace(
    host: Any, shot: Any, daemon: Any, name: str
) -> None:
    group = tool_of(host, host.comp(), shot, daemon.address)
    host.press(group, "Remove")
    host.until(group, lambda s: s.startswith("done"))
    (first,) = host.folder.glob("Voidbridge/*/v001")
    foreign = first.with_name("v002") / name
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"of the artist")
    host.choose(group, grow=1)
    host.press(group, "Remove")
    host.until(group, lambda s: s.startswith("done: v003"))
    assert foreign.read_bytes() == b"of the artist"
    assert [path.name for path in foreign.parents[name.count("/")].iterdir()] == [
        name.split("/")[0]
    ]


def test_a_cancelled_job_leaves_nothing_half_and_the_earlier_result(
    host: Any, shot: Any, daemon: Any
) -> None:
    group = tool_of(host, host.comp(), shot, daemon.address)
    host.press(group, "Remove")
    host.until(group, lambda s: s.startswith("done"))
    host.choose(group, steps=1000)
    assert host.status(group) == "out of date: steps changed since v001"
    host.press(group, "Remove")
    host.until(group, lambda s: s.startswith("removing"))
    host.press(group, "Cancel")
    if "cancelled" not in host.status(group):
        host.until(group, lambda s: "cancelled" in s)
    assert host.status(group) == "cancelled; out of date: steps changed since v001"
    assert versions(host) == ["v001"]
    assert is_removed(host, group, shot)
    host.press(group, "Cancel")
    assert "not working" in host.status(group)


def test_files_of_the_artist_in_the_next_versions_folder_are_left_alone(
    host: Any, shot: Any, daemon: Any
) -> None:
    group = tool_of(host, host.comp(), shot, daemon.address)
    host.press(group, "Remove")
    host.until(group, lambda s: s.startswith("done"))
    (first,) = host.folder.glob("Voidbridge/*/v001")
    second = first.with_name("v002")
    second.mkdir()
    for name in ("plate.1001.exr", "result.1002.exr"):
        (second / name).write_bytes(b"the work of a week")
    host.choose(group, seed=3)
    host.press(group, "Remove")
    assert host.until(group, lambda s: "done" in s).startswith("done: v003")
    assert {path.read_bytes() for path in second.iterdir()} == {b"the work of a week"}


def test_a_source_that_comes_into_the_way_of_a_running_job_is_kept(
    host: Any, shot: Any, daemon: Any
) -> None:
    group = tool_of(host, host.comp(), shot, daemon.address, steps=3)
    with daemon.held():
        host.press(group, "Remove")
        stage.eventually(daemon.has_running_job, "the job to run")
        (folder,) = host.folder.glob("Voidbridge/*/v001")
        plate = (folder / "plate.1002.exr").read_bytes()
        (folder / "result.1002.exr").write_bytes(plate)
    text = host.until(group, lambda s: s.startswith("failed"))
    assert "result.1002.exr is a source of this job" in text
    assert (folder / "result.1002.exr").read_bytes() == plate


def test_a_missing_daemon_is_said_within_seconds_with_address_and_command(
    host: Any, shot: Any
) -> None:
    group = tool_of(host, host.comp(), shot, "tcp://127.0.0.1:9")
    host.press(group, "Remove")
    text = host.until(group, lambda s: s.startswith("failed"))
    assert "127.0.0.1:9" in text
    assert "voidbridge serve" in text
    assert versions(host) == []
    assert group.TileColor == {"R": 0.56, "G": 0.18, "B": 0.18}


def test_a_job_that_fails_says_why_and_what_to_do(host: Any, shot: Any, daemon: Any) -> None:
    group = tool_of(host, host.comp(), shot, daemon.address, color_space="another, named below",
                    color_space_name="No Such Space")  # fmt: skip
    host.press(group, "Remove")
    text = host.until(group, lambda s: s.startswith("failed"))
    assert "No Such Space" in text
    host.choose(group, color_space="ACEScg")
    host.press(group, "Remove")
    assert host.until(group, lambda s: s.startswith("done")).startswith("done: v00")


def test_a_command_that_is_not_there_is_said(host: Any, shot: Any, tmp_path: Path) -> None:
    host.lua.execute(
        "require('voidbridge.config').command = function() return {'/nowhere/voidbridge'} end"
    )
    group = tool_of(host, host.comp(), shot, "")
    host.press(group, "Remove")
    text = host.until(group, lambda s: s.startswith("failed"))
    assert "ended with 127" in text
    assert "/nowhere/voidbridge" in text


def test_a_killed_daemon_is_waited_for_and_the_job_goes_on(host: Any, shot: Any) -> None:
    with stage.daemon() as own:
        own.wait_for_worker()
        group = tool_of(host, host.comp(), shot, own.address, steps=3)
        with own.held():
            host.press(group, "Remove")
            stage.eventually(own.has_running_job, "the job to run")
            own.kill()
        own.start()
        assert (
            host.until(group, lambda s: "done" in s) == "done: v001, frames 0-2 (files 1001-1003)"
        )
        assert is_removed(host, group, shot)


def test_a_killed_child_is_told_apart_and_the_same_request_goes_on(
    host: Any, shot: Any, daemon: Any
) -> None:
    group = tool_of(host, host.comp(), shot, daemon.address, steps=3)
    with daemon.held():
        host.press(group, "Remove")
        stage.eventually(daemon.has_running_job, "the job to run")
        (status,) = host.folder.glob("Voidbridge/*/v001/status.json")
        pid = stage.json.loads(status.read_text())["pid"]
        os.kill(pid, signal.SIGKILL)
        assert "ended with 137" in host.until(group, lambda s: s.startswith("failed"))
    host.press(group, "Remove")
    host.until(group, lambda s: "done" in s)
    assert is_removed(host, group, shot)


def test_the_same_again_is_answered_from_the_store(host: Any, shot: Any, daemon: Any) -> None:
    group = tool_of(host, host.comp(), shot, daemon.address)
    host.press(group, "Remove")
    host.until(group, lambda s: "done" in s)
    host.press(group, "Remove")
    text = host.until(group, lambda s: "done" in s)
    assert text == "done: v002, frames 0-2 (files 1001-1003), from the daemon's store"


def test_two_comps_at_once_do_not_touch_each_other(host: Any, shot: Any, daemon: Any) -> None:
    one = tool_of(host, host.comp(), shot, daemon.address, steps=40)
    other = tool_of(host, host.comp(), shot, daemon.address, steps=41)
    host.press(one, "Remove")
    host.press(other, "Remove")
    host.press(one, "Cancel")
    if "cancelled" not in host.status(one):
        host.until(one, lambda s: "cancelled" in s)
    assert "done" in host.until(other, lambda s: "done" in s)
    assert is_removed(host, other, shot)
    assert not is_removed(host, one, shot)


def test_a_copy_is_a_tool_of_its_own(host: Any, shot: Any, daemon: Any) -> None:
    comp = host.comp()
    group = tool_of(host, comp, shot, daemon.address)
    host.press(group, "Remove")
    host.until(group, lambda s: "done" in s)
    copy = tool_of(host, comp, shot, daemon.address)
    for mine, theirs in zip(copy.children, group.children, strict=True):
        mine.inputs, mine.seen = dict(theirs.inputs), dict(theirs.seen)
        mine.data, mine.passed = dict(theirs.data), theirs.passed
    assert copy.Name == "Voidbridge_1"
    assert copy.children[0].Name != group.children[0].Name
    host.press(copy, "Fetch")
    assert host.status(copy) == "not rendered"
    assert not is_removed(host, copy, shot)
    host.press(copy, "Remove")
    host.until(copy, lambda s: "done" in s)
    assert host.status(copy).startswith("done: v001, frames 0-2 (files 1001-1003)")
    assert len(list(host.folder.glob("Voidbridge/*"))) == 2
    host.press(group, "Fetch")
    assert host.status(group).startswith("done: v001")


@pytest.mark.parametrize(
    ("without", "route"),
    [((), "ffi"), (("ffi",), "executebg"), (("ffi", "executebg"), "popen")],
    ids=["ffi", "executebg", "popen"],
)
def test_the_first_route_that_works_starts_the_child(
    plugin: Path, tmp_path: Path, shot: Any, daemon: Any, without: tuple[str, ...], route: str
) -> None:
    host = fusion.Stage(plugin, tmp_path, without=without)
    host.lua.execute("""
        local launch = require('voidbridge.launch')
        local start = launch.start
        launch.start = function(folder) routed = start(folder) return routed end
    """)
    group = tool_of(host, host.comp(), shot, daemon.address)
    host.press(group, "Remove")
    assert host.lua.eval("routed") == route
    host.until(group, lambda s: "done" in s)
    assert is_removed(host, group, shot)
    assert host.mistakes == []


def test_where_no_route_works_the_command_is_said_and_works_by_hand(
    plugin: Path, tmp_path: Path, shot: Any, daemon: Any
) -> None:
    host = fusion.Stage(plugin, tmp_path, without=("ffi", "executebg", "popen"))
    group = tool_of(host, host.comp(), shot, daemon.address)
    host.press(group, "Remove")
    assert host.status(group).startswith("start it by hand, then press Fetch: sh '")
    command = host.console[-1].splitlines()[-1]
    host.press(group, "Fetch")
    assert "not started yet" in host.status(group)
    for _ in range(2):  # the second does nothing
        subprocess.run(command, shell=True, check=True)
    host.press(group, "Fetch")
    assert host.status(group) == "done: v001, frames 0-2 (files 1001-1003)"
    host.press(group, "Remove")
    host.press(group, "Cancel")
    assert host.status(group).startswith("cancelled; done: v001")
    assert versions(host) == ["v001"]


def test_remove_stays_until_the_end_where_that_is_asked_for(
    host: Any, shot: Any, daemon: Any
) -> None:
    group = tool_of(host, host.comp(), shot, daemon.address, wait=True, steps=20)
    host.press(group, "Remove")
    assert host.status(group) == "done: v001, frames 0-2 (files 1001-1003)"


def test_check_connection_tells_what_it_found(host: Any, shot: Any, daemon: Any) -> None:
    group = tool_of(host, host.comp(), shot, daemon.address)
    host.press(group, "Check")
    assert host.status(group).startswith("The connection works")
    host.choose(group, daemon="tcp://127.0.0.1:9")
    host.press(group, "Check")
    assert "127.0.0.1:9" in host.status(group)
    assert not list(host.folder.glob("Voidbridge/*/check*"))


def test_the_job_is_opened_in_the_browser_by_the_daemons_page(
    host: Any, shot: Any, daemon: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, opened, served = (tmp_path / name for name in ("browser", "opened", "served"))
    browser.write_text(
        f'#!/bin/sh\necho $PPID > "{served}"\ncat "${{1#file://}}" > "{opened}.tmp"\nmv "{opened}.tmp" "{opened}"\n'
    )
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    group = tool_of(host, host.comp(), shot, daemon.address)
    host.press(group, "Remove")
    host.until(group, lambda s: "done" in s)
    (status,) = host.folder.glob("Voidbridge/*/v001/status.json")
    host.press(group, "Browse")
    stage.eventually(opened.exists, "the browser")
    os.kill(int(served.read_text()), signal.SIGTERM)
    assert json.loads(status.read_text())["job"] in opened.read_text()
    host.choose(group, daemon="")
    host.press(group, "Browse")
    assert "has no page" in host.status(group)


def test_the_report_has_the_controls_and_the_last_job(host: Any, shot: Any, daemon: Any) -> None:
    group = tool_of(host, host.comp(), shot, daemon.address, seed=77)
    host.press(group, "Remove")
    host.until(group, lambda s: "done" in s)
    host.press(group, "Report")
    for words in ("seed = 77", "Fusion 19.1", "Voidbridge macro version 1", '"event": "done"'):
        assert words in host.clipboard


def test_the_script_for_a_selected_tool_adds_one_and_then_fetches(host: Any, shot: Any) -> None:
    comp = host.comp()
    plate = host.loader(comp, "plate", shot.file("plate", 1001))
    script = (host.plugin / "Scripts/Tool/Voidbridge.lua").read_text()
    host.run(script, plate)
    (group,) = (tool for tool in comp.tools if tool.ID == "GroupOperator")
    own = channels_of(shot.file("plate", 1001))["G"].astype(np.float32)
    assert np.array_equal(host.shown(group, 0)["G"], own)
    host.run(script, group)
    assert host.status(group) == "not rendered"


def test_a_mistake_of_ours_is_said_and_traced(host: Any, shot: Any) -> None:
    host.lua.execute("require('voidbridge.host').scene = function() local x = nil; return x.y end")
    group = tool_of(host, host.comp(), shot, "")
    host.press(group, "Remove")
    assert host.status(group).startswith("failed in Voidbridge itself; the Console says where: ")
    assert "stack traceback" in host.console[-1]
    assert "stack traceback" not in host.status(group)


def test_a_tool_of_a_later_release_is_left_alone(host: Any, shot: Any) -> None:
    group = tool_of(host, host.comp(), shot, "")
    group.children[0].data["VoidbridgeVersion"] = 99
    host.press(group, "Remove")
    assert "made by a later release" in host.status(group)
    assert versions(host) == []


def test_a_tool_that_lacks_a_control_behaves_as_by_default(
    host: Any, shot: Any, daemon: Any
) -> None:
    """Macros that are in a comp keep the controls that they were saved with."""
    group = tool_of(host, host.comp(), shot, daemon.address)
    for id in ("VbHandles", "VbPrompt", "VbQuality"):
        del group.children[0].inputs[id]
    group.children[0].data["VoidbridgeVersion"] = 0
    host.press(group, "Remove")
    assert host.until(group, lambda s: "done" in s).startswith("done: v001")


def test_a_preview_is_called_one_wherever_it_is_named(host: Any, shot: Any, daemon: Any) -> None:
    """The settings are taken from the version's record, so the test changes that record."""
    group = tool_of(host, host.comp(), shot, daemon.address)
    host.press(group, "Remove")
    host.until(group, lambda s: "done" in s)
    (record,) = host.folder.glob("Voidbridge/*/v001/version.json")
    written = json.loads(record.read_text())
    written["made_with"] |= {"engine": "void", "quality": "preview"}
    record.write_text(json.dumps(written))
    host.choose(group, engine="void", quality="preview")
    host.press(group, "Fetch")
    assert host.status(group) == "done: v001 (preview), frames 0-2 (files 1001-1003)"
    host.choose(group, quality="full")
    assert host.status(group) == "out of date: quality changed since v001 (preview)"


def test_names_that_end_in_a_digit_are_no_part_of_a_frame_number(
    host: Any, tmp_path: Path, daemon: Any
) -> None:
    """A Saver takes digits at the end of a name for its number."""
    shot = make_shot(tmp_path / "shot_010", FILES, seed=4711)
    for role in ("plate", "matte"):
        for number in FILES:
            shot.file(role, number).rename(shot.folder / f"{role}_v02.{number}.exr")
    comp = host.comp(file=str(tmp_path / "comp_v007"))
    sources = {
        r: host.loader(comp, r, shot.folder / f"{r}_v02.1001.exr") for r in ("plate", "matte")
    }
    group = host.new_tool(comp, **sources)
    host.module("voidbridge.operations")["remove"]["by_name"]["engine"]["choices"][3] = "echo"
    host.choose(group, color_space="ACEScg", engine="echo", daemon=daemon.address,
                cache=str(tmp_path / "cache_2"), frame_range="custom", first=2, last=2, handles=0)  # fmt: skip
    host.press(group, "Remove")
    assert host.until(group, lambda s: "done" in s) == "done: v001, frames 2-2"
    (version,) = (tmp_path / "cache_2").glob("*/v001")
    assert sorted(path.name for path in version.glob("*.exr")) == [
        "matte.0002.exr", "plate.0002.exr", "result.0002.exr",
    ]  # fmt: skip
    record = (version / "version.json").read_text()
    assert '"plate plate_v02.1001.exr"' in record
