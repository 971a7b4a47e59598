"""What a TD asks for in Fusion: one frame, an estimate, archives, farm files, many tools, and what a site adds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lupa.luajit21 import LuaError
from voidbridge_fusion_shots import is_removed, shot_of, tool_of, versions
from voidbridge_shots import channels_of


@pytest.fixture
def shot(tmp_path: Path) -> Any:
    return shot_of(tmp_path)


def done(host: Any, group: Any) -> str:
    return str(host.until(group, lambda s: s.startswith(("done", "failed"))))


def removed(host: Any, group: Any, **values: Any) -> str:
    host.choose(group, **values)
    host.press(group, "Remove")
    return done(host, group)


def shows(host: Any, group: Any, version: str) -> bool:
    """Whether frame 1 is that of a version."""
    (file,) = host.folder.glob(f"Voidbridge/*/{version}/result.1002.exr")
    return bool((channels_of(file)["R"] == host.shown(group, 1)["R"]).all())


def script(host: Any, name: str) -> str:
    return str((host.plugin / f"Scripts/Comp/Voidbridge {name}.lua").read_text())


def test_a_test_frame_is_a_version_of_the_shown_frame_alone(
    host: Any, shot: Any, daemon: Any
) -> None:
    group = tool_of(host, host.comp(), shot, daemon.address)
    group.comp.time = 1
    host.press(group, "TestFrame")
    text = host.until(group, lambda s: "v001" in s)
    assert text == "out of date: frames changed since v001"
    assert shows(host, group, "v001")
    (folder,) = host.folder.glob("Voidbridge/*/v001")
    assert [path.name for path in folder.glob("result.*.exr")] == ["result.1002.exr"]
    assert removed(host, group).startswith("done: v002, frames 0-2")


def test_an_estimate_comes_from_the_daemons_own_record_and_says_so(
    host: Any, shot: Any, daemon: Any
) -> None:
    group = tool_of(host, host.comp(), shot, daemon.address, steps=9)  # settings of no other test
    host.press(group, "Estimate")
    assert "not known: no job of remove by echo with these settings" in host.status(group)
    removed(host, group)
    host.press(group, "Estimate")
    assert host.status(group).startswith("About ")
    assert "Measured: 1 job of remove by echo with these settings, 3 frames of" in host.status(
        group
    )


def test_old_versions_go_at_the_second_press_to_an_archive_or_for_good(
    host: Any, shot: Any, daemon: Any, tmp_path: Path
) -> None:
    group = tool_of(host, host.comp(), shot, daemon.address)
    for grow in (0, 1):
        removed(host, group, grow=grow)
    host.press(group, "Archive")
    assert host.status(group).startswith("No archive folder is named.")
    place = tmp_path / "Archiv für Läufe"
    host.choose(group, archive_to=str(place))
    host.press(group, "Archive")
    assert host.status(group).startswith(f"Move to {place}: v001 (1 MB): 1 MB in all?")
    assert versions(host) == ["v001", "v002"]
    host.press(group, "Archive")
    assert host.status(group).startswith(
        f"1 versions lie in {place}, each copy verified; done: v002"
    )
    assert versions(host) == ["v002"]
    assert [path.parent.name for path in place.glob("*/*/manifest.json")] == ["v001"]
    host.press(group, "Purge")
    assert host.status(group).startswith("There is no other version.")
    removed(host, group, grow=2)
    (second,) = host.folder.glob("Voidbridge/*/v002")
    (second / "notes.txt").write_text("mine")
    for _ in range(2):
        host.press(group, "Purge")
    assert "v002 could be deleted" in host.status(group)
    assert [path.name for path in second.iterdir()] == ["notes.txt"]
    assert shows(host, group, "v003"), "the one that is shown stays"


def test_a_plain_loader_plays_without_the_tool(host: Any, shot: Any, daemon: Any) -> None:
    group = tool_of(host, host.comp(), shot, daemon.address)
    host.press(group, "MakeLoader")
    assert host.status(group) == "There is no result yet. Press Remove, then Fetch."
    removed(host, group)
    host.press(group, "MakeLoader")
    (made,) = (tool for tool in group.comp.tools if tool.Name == "VoidbridgeFiles")
    for frame in range(3):
        assert (made.image(frame)["R"] == host.shown(group, frame)["R"]).all()


def test_a_farm_gets_a_job_that_fetch_finds_and_the_render_behind_it(
    host: Any, shot: Any, daemon: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = tool_of(host, host.comp(), shot, daemon.address, farm="deadline", farm_then="render it")
    host.press(group, "Submit")
    assert "send them there: deadlinecommand -SubmitMultipleJobs -Dependent" in host.status(group)
    (farm,) = host.folder.glob("Voidbridge/*/farm-v001")
    assert (farm / "then_commands.txt").read_text() == "render it\n"
    (task,) = (farm / "remove_commands.txt").read_text().splitlines()
    host.environment["HOST_VOIDBRIDGE_SUBMIT"] = "sh -c 'sh remove_commands.txt && echo job 7'"
    assert task.startswith("sh ")
    (first,) = host.folder.glob("Voidbridge/*/v001")
    files = sorted(first.iterdir())
    host.choose(group, grow=1)
    for button in ("Submit", "Remove", "TestFrame"):
        host.press(group, button)
        assert host.status(group).startswith("A farm has the job of v001, which has not ended.")
    host.press(group, "Fetch")
    assert host.status(group) == "the farm has not started it yet"
    (data,) = (tool.data for tool in group.children if "VoidbridgeState" in tool.data)
    data["VoidbridgeState"]["job"] = 0  # as in a comp that was closed before it was saved
    for button in ("Purge", "Archive"):
        host.choose(group, archive_to=str(host.folder / "archive"))
        host.press(group, button)
        assert host.status(group).startswith("There is no other version.")
    data["VoidbridgeState"]["job"] = 1
    assert sorted(first.iterdir()) == files
    for name, text in (("started.txt", ""), ("status.json", '{"phase": "working", "alive": 1}')):
        (first / name).write_text(text)
    host.press(group, "Remove")
    assert host.status(group).startswith("A farm has the job of v001, which has not ended.")
    mark = first / "submitted.txt"
    host.press(group, "Cancel")
    assert not mark.exists(), "a farm's job whose process is lost"
    mark.touch()
    for name in ("started.txt", "status.json", "status.json.cancel"):
        (first / name).unlink()
    assert sorted(first.iterdir()) == files
    host.press(group, "Cancel")
    assert not first.exists(), "the artist gave it up"
    host.press(group, "Submit")
    assert host.status(group) == "the farm has the job: job 7; press Fetch when it is done"
    assert done(host, group).startswith("done: v002")
    assert shows(host, group, "v002")


def test_all_selected_tools_start_and_one_script_follows_them_all(
    host: Any, shot: Any, daemon: Any
) -> None:
    comp = host.comp()
    one, other = (tool_of(host, comp, shot, daemon.address, steps=steps) for steps in (4, 5))
    lost = tool_of(host, comp, shot, daemon.address, color_space="not chosen yet")
    host.run_in(comp, script(host, "Start selected"))
    assert host.console == ["Voidbridge: no Voidbridge is selected."]
    comp.selection = [one, one.children[0], other, lost, comp.tools[0]]
    host.run_in(comp, script(host, "Start selected"))
    assert "The color space of the plate is not chosen" in host.console[-1]
    host.run_in(comp, script(host, "Follow"))
    assert [host.status(group)[:10] for group in (one, other)] == ["done: v001"] * 2
    assert all(is_removed(host, group, shot) for group in (one, other))


def test_a_job_is_followed_without_fetch_where_scripts_run_beside_each_other(
    host: Any, shot: Any, daemon: Any
) -> None:
    group = tool_of(host, host.comp(), shot, daemon.address, steps=20, follow=True)
    host.press(group, "Remove")
    assert host.status(group) == "working"
    host.turn()
    assert host.status(group).startswith("done: v001")
    assert is_removed(host, group, shot)
    host.wrong = "scripts"
    host.choose(group, grow=1)
    host.press(group, "Remove")
    assert host.status(group) == "working; press Fetch", "without such scripts Fetch is asked for"
    assert done(host, group).startswith("done: v002")


@pytest.mark.parametrize(
    ("own", "studio", "stops"),
    [
        ("the studio's", "", True),
        ("the studio's", "warn", False),
        ("refuse", "off", True),
        ("off", "refuse", False),
    ],
)
def test_a_check_before_a_render_ends_with_an_error_as_the_policy_says(
    host: Any, shot: Any, own: str, studio: str, stops: bool
) -> None:
    comp = host.comp()
    group = tool_of(host, comp, shot, "", guard=own)
    host.environment["FUSION_VOIDBRIDGE_GUARD"] = studio
    if stops:
        with pytest.raises(LuaError, match="Voidbridge is not rendered"):
            host.run_in(comp, script(host, "Check"))
    else:
        host.run_in(comp, script(host, "Check"))
    told = [line for line in host.console if "is not rendered" in line]
    assert bool(told) is (own != "off")
    group.passed = True
    host.run_in(comp, script(host, "Check"))


def test_a_new_tool_has_the_sites_values_where_the_artist_chose_none(
    host: Any, shot: Any, tmp_path: Path
) -> None:
    path = tmp_path / "site.json"
    host.environment["FUSION_VOIDBRIDGE_DEFAULTS"] = str(path)
    path.write_text(
        json.dumps({"remove": {"daemon": "tcp://127.0.0.1:9", "grow": 4, "threshold": 0.5}})
    )
    group = tool_of(host, host.comp(), shot, "", threshold=0.25)
    host.press(group, "Fetch")
    assert group.GetInput("VbDaemon") == "tcp://127.0.0.1:9"
    assert group.GetInput("VbThreshold") == 0.25
    assert group.GetInput("VbGrow") == 0, "the artist's own 0"
    for text, said in (
        ("{", "cannot be read"),
        ('{"remove": {"speed": 1}}', "the unknown control speed"),
        ('{"remove": {"engine": "magic"}}', "give engine the value magic"),
        ('{"remove": {"grow": "4"}}', "give grow the value 4"),
    ):
        path.write_text(text)
        other = tool_of(host, host.comp(), shot, "")
        host.press(other, "Fetch")
        assert said in host.status(other)


def test_a_site_is_called_with_each_finished_result_and_its_errors_stop_nothing(
    host: Any, shot: Any, daemon: Any, tmp_path: Path
) -> None:
    call = tmp_path / "publish.lua"
    host.environment["FUSION_VOIDBRIDGE_PUBLISH"] = str(call)
    call.write_text("return function(record) published = record end")
    group = tool_of(host, host.comp(), shot, daemon.address)
    assert removed(host, group).startswith("done: v001")
    record = host.lua.globals().published
    assert (record["tool"], record["version"], record["operation"]) == (
        "Voidbridge",
        "v001",
        "remove",
    )
    assert Path(record["files"]).is_file()
    call.write_text("error('the tracker is down')")
    assert removed(host, group, grow=1).startswith("done: v002")
    assert "the tracker is down" in host.console[-1]
