"""A job of the node on its way: seen, cancelled, lost and found; its node renamed, copied, gone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from voidbridge_scripts import (
    FRAMES,
    check_removed,
    node_of,
    remove,
    with_echo,
)
from voidbridge_stage import daemon as daemon_of_ones_own


def test_the_artist_sees_what_happens_and_nothing_of_it_can_be_undone(
    host: Any, shot: Any, daemon: Any
) -> None:
    node = with_echo(node_of(host, shot), daemon, steps=60)
    host.stage.written.clear()
    remove(host, node)
    said = [value for name, value, _ in host.stage.written if name == "status"]
    assert said[0] == "rendering the plate, frames 1001-1003"
    assert any(re.search(r"removing \d+ of 180", line) for line in said)
    assert said[-1] == "done: v001, frames 1001-1003"
    assert all(level > 0 for _, _, level in host.stage.written)


def test_a_missing_daemon_is_said_within_seconds_with_address_and_command(
    host: Any, shot: Any
) -> None:
    node = with_echo(node_of(host, shot), type("Gone", (), {"address": "tcp://127.0.0.1:9"}))
    text = remove(host, node)
    assert text.startswith("failed: ")
    assert "127.0.0.1:9" in text
    assert "voidbridge serve" in text
    assert not list(host.stage.folder.rglob("v001"))


def test_a_cancelled_job_leaves_nothing_half_and_the_earlier_result(
    host: Any, shot: Any, daemon: Any
) -> None:
    from voidbridge_nuke import controller as conduct

    node = with_echo(node_of(host, shot), daemon)
    node["cache"].setValue(host.stage.folder.as_posix())
    remove(host, node)
    node["steps"].setValue(1000)
    host.stage.press("remove", node)
    host.stage.until(lambda: "removing" in node["status"].value(), "the job to run")
    host.stage.press("cancel", node)
    host.stage.until(lambda: not conduct.RUNNING, "the cancel")
    assert node["status"].value() == "cancelled; out of date: steps changed since v001"
    assert not list(host.stage.folder.rglob("v002"))
    check_removed(host, node, shot, FRAMES)


def test_the_cancel_of_nukes_own_bar_stops_the_job(host: Any, shot: Any, daemon: Any) -> None:
    from voidbridge_nuke import controller as conduct

    node = with_echo(node_of(host, shot), daemon, steps=1000)
    host.stage.press("remove", node)
    host.stage.until(lambda: "removing" in node["status"].value(), "the job to run")
    host.stage.cancel_progress = True
    host.stage.until(lambda: not conduct.RUNNING, "the cancel")
    assert node["status"].value() == "cancelled; not rendered"


def test_files_of_the_artist_in_the_next_versions_folder_are_left_alone(
    host: Any, shot: Any, daemon: Any
) -> None:
    from voidbridge_nuke import cache

    node = with_echo(node_of(host, shot), daemon)
    node["cache"].setValue(host.stage.folder.as_posix())
    remove(host, node)
    first = next(host.stage.folder.rglob("v001"))
    second = first.with_name("v002")
    second.mkdir()
    for name in ("plate.main.1001.exr", "result.main.1002.exr"):
        (second / name).write_bytes(b"the work of a week")
    node["seed"].setValue(3)
    assert remove(host, node) == "done: v003, frames 1001-1003"
    assert {path.read_bytes() for path in second.iterdir()} == {b"the work of a week"}
    assert cache.read(second.as_posix()) is None


def test_a_source_that_comes_into_the_way_of_a_running_job_is_kept(
    host: Any, shot: Any, daemon: Any
) -> None:
    from voidbridge_nuke import controller as conduct

    node = with_echo(node_of(host, shot), daemon, steps=3)
    with daemon.held():
        host.stage.press("remove", node)
        host.stage.until(daemon.has_running_job, "the job to run")
        folder = next(host.stage.folder.rglob("v001"))
        plate = (folder / "plate.main.1002.exr").read_bytes()
        (folder / "result.main.1002.exr").write_bytes(plate)
    host.stage.until(lambda: not conduct.RUNNING, "the job to end")
    assert node["status"].value().startswith("failed: ")
    assert "result.main.1002.exr is a source of this job" in node["status"].value()
    assert (folder / "result.main.1002.exr").read_bytes() == plate


def test_a_cancelled_plate_starts_nothing_and_the_writes_are_disabled_again(
    host: Any, shot: Any
) -> None:
    node = node_of(host, shot)
    host.stage.cancel_render_at = 1002
    assert remove(host, node) == "not rendered"
    assert host.stage.messages == []
    assert all(n["disable"].value() for n in node.nodes() if n.Class() == "Write")


def test_a_plate_frame_that_is_missing_is_named_and_nothing_is_sent(host: Any, shot: Any) -> None:
    shot.remove("plate", [1002])
    node = node_of(host, shot)
    host.stage.press("remove", node)
    (message,) = host.stage.messages
    assert "plate.1002.exr" in message


def test_a_daemon_that_is_killed_on_the_way_is_waited_for(host: Any, shot: Any) -> None:
    from voidbridge_nuke import controller as conduct

    with daemon_of_ones_own() as daemon:
        node = with_echo(node_of(host, shot), daemon, steps=3)
        with daemon.held():
            host.stage.press("remove", node)
            host.stage.until(daemon.has_running_job, "the job to run")
            daemon.kill()
        daemon.start()
        host.stage.until(lambda: not conduct.RUNNING, "the job to end")
        assert node["status"].value() == "done: v001, frames 1001-1003"
    check_removed(host, node, shot, FRAMES)


@pytest.mark.parametrize("what", ["renamed", "deleted", "saved as", "another script"])
def test_a_node_may_change_its_fate_while_it_is_at_work(
    host: Any, shot: Any, daemon: Any, what: str
) -> None:
    from voidbridge_nuke import cache
    from voidbridge_nuke import controller as conduct

    node = with_echo(node_of(host, shot), daemon, steps=5)
    node["cache"].setValue(host.stage.folder.as_posix())
    host.stage.press("remove", node)
    if what == "renamed":
        node["name"].setValue("Elsewhere")
    elif what == "deleted":
        host.delete(node)
    elif what == "saved as":
        host.root()["name"].setValue(f"{host.stage.folder.as_posix()}/later.nk")
    else:
        host.stage.clear()
    host.stage.until(lambda: not conduct.RUNNING, "the job to end")
    assert host.stage.messages == []
    (version,) = cache.versions([f"{host.stage.folder.as_posix()}/{node['node_id'].value()}"])
    assert cache.is_complete(version)
    if what in ("renamed", "saved as"):
        assert node["status"].value() == "done: v001, frames 1001-1003"


def duplicate(host: Any, node: Any) -> Any:
    """As copy and paste do: the same knobs, another name."""
    from voidbridge_nuke import group, node_text

    text = "\n".join(
        f" {line.split()[0]} {node_text.quoted(node[line.split()[0]].value())}"
        if line.startswith(" ") and line.split()[0] in node.knobs() and not line.startswith(" name")
        else line
        for line in group.text().splitlines()
    )
    (made,) = host.stage.load("push 0\npush 0\npush 0\n" + text)
    for i in range(3):
        made.setInput(i, node.input(i))
    return made


def test_a_node_that_is_collapsed_into_a_group_keeps_its_result(
    host: Any, shot: Any, daemon: Any
) -> None:
    """Nuke copies the selected nodes into the new group, and deletes the originals."""
    node = with_echo(node_of(host, shot), daemon)
    remove(host, node)
    node_id, inputs = node["node_id"].value(), [node.input(0), node.input(1)]
    copy = duplicate(host, node)
    assert copy["status"].value() == "not rendered"
    for number, fed in enumerate(inputs):
        copy.setInput(number, fed)
    host.delete(node)
    host.stage.until(lambda: copy["node_id"].value() == node_id, "the copy to take over")
    assert copy["version_shown"].value() == "v001"
    assert copy["status"].value() == "done: v001, frames 1001-1003"
    check_removed(host, copy, shot, FRAMES)


def test_a_copy_made_at_work_is_a_node_of_its_own(host: Any, shot: Any, daemon: Any) -> None:
    from voidbridge_nuke import controller as conduct

    node = with_echo(node_of(host, shot), daemon, steps=5)
    host.stage.press("remove", node)
    copy = duplicate(host, node)
    assert copy["node_id"].value() != node["node_id"].value()
    assert copy["status"].value() == "not rendered"
    copy["engine"].setValues(["echo"])
    host.stage.press("remove", copy)
    assert len(conduct.RUNNING) == 2
    host.stage.until(lambda: not conduct.RUNNING, "both jobs")
    for made in (node, copy):
        assert made["status"].value() == "done: v001, frames 1001-1003"
        check_removed(host, made, shot, FRAMES)
    assert Path(node["result_files"].value()).parent != Path(copy["result_files"].value()).parent


def test_pressing_twice_says_so(host: Any, shot: Any, daemon: Any) -> None:
    from voidbridge_nuke import controller as conduct

    node = with_echo(node_of(host, shot), daemon, steps=5)
    host.stage.press("remove", node)
    host.stage.press("remove", node)
    assert "already working" in host.stage.messages[0]
    host.stage.until(lambda: not conduct.RUNNING, "the job to end")
