"""The node shows if its result is done, out of date or lost, and which versions it has."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from voidbridge_scripts import (
    FRAMES,
    check_removed,
    given,
    node_of,
    plate,
    remove,
    with_echo,
)
from voidbridge_shots import same_bits


def test_a_changed_setting_shows_as_stale_and_going_back_as_done(
    host: Any, shot: Any, daemon: Any
) -> None:
    node = with_echo(node_of(host, shot), daemon)
    remove(host, node)
    ready = node["tile_color"].value()
    node["grow"].setValue(3)
    assert node["status"].value() == "out of date: grow changed since v001"
    assert node["state"].value() == "out of date v001"
    assert node["tile_color"].value() != ready
    node["grow"].setValue(0)
    host.stage.settle()
    assert node["status"].value() == "done: v001, frames 1001-1003"
    assert node["tile_color"].value() == ready


def test_another_plate_or_matte_makes_the_result_stale(host: Any, shot: Any, daemon: Any) -> None:
    """As after a new version of the plate, or in a script that was copied for another shot."""
    node = with_echo(node_of(host, shot), daemon)
    remove(host, node)
    for number, role in enumerate(("plate", "matte")):
        read = node.input(number)
        old = read["file"].value()
        read["file"].setValue(old.replace(role, f"{role}_v002"))
        host.stage.call(node["knobChanged"].value(), node, host.Knob("showPanel"))
        host.stage.settle()
        assert (
            node["status"].value() == f"out of date: {role}, upstream of {role} changed since v001"
        )
        read["file"].setValue(old.replace("plates", "elsewhere"))  # another machine
        host.stage.call(node["knobChanged"].value(), node, host.Knob("showPanel"))
        host.stage.settle()
        assert node["status"].value() == "done: v001, frames 1001-1003"


def test_earlier_results_are_kept_and_can_be_shown_again(host: Any, shot: Any, daemon: Any) -> None:
    node = with_echo(node_of(host, shot), daemon)
    remove(host, node)
    node["seed"].setValue(3)
    assert remove(host, node) == "done: v002, frames 1001-1003"
    assert node["version_shown"].values() == ["none", "v001", "v002"]
    node["version_shown"].setValue("v001")
    assert node["status"].value() == "out of date: seed changed since v001"
    check_removed(host, node, shot, FRAMES)
    node["version_shown"].setValue("none")
    assert same_bits(given(host, node, 1002)["R"], plate(shot, 1002)["R"])


def test_the_first_save_of_a_script_loses_no_result(host: Any, shot: Any, daemon: Any) -> None:
    node = with_echo(node_of(host, shot), daemon)
    remove(host, node)
    host.root()["name"].setValue(f"{host.stage.folder.as_posix()}/shot.nk")
    assert remove(host, node) == "done: v002, frames 1001-1003"
    assert node["version_shown"].values() == ["none", "v001", "v002"]
    assert Path(node["result_files"].value()).parents[2] == host.stage.folder / "voidbridge"


def test_a_result_that_is_gone_is_an_error_and_never_the_plate(
    host: Any, shot: Any, daemon: Any
) -> None:
    node = with_echo(node_of(host, shot), daemon)
    remove(host, node)
    Path(node["result_files"].value().replace("%V", "main") % 1002).unlink()
    with pytest.raises(RuntimeError, match="1002"):
        given(host, node, 1002)
    node["grow"].setValue(0)
    host.stage.settle()
    assert node["status"].value() == "v001 lacks 1 files, result.main.1002.exr first"
    shutil.rmtree(Path(node["result_files"].value()).parent)
    node["grow"].setValue(0)
    host.stage.settle()
    assert node["status"].value().startswith("the result is no longer at its place: ")
