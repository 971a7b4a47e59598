"""Layers and channels that the artist names, and mattes whose numbers are not the plate's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voidbridge_scripts import FRAMES, given, node_of, plate, remove, with_echo
from voidbridge_shots import channels_of, echoed, exr_bytes, picture, same_bits, square

DONE = "done: v001, frames 1001-1003"


@pytest.fixture
def layered(shot: Any) -> Any:
    """A plate with two layers, and a matte file with a channel for each of two objects."""
    for frame in FRAMES:
        beauty = {f"beauty.{name}": plane for name, plane in picture(frame + 50).items()}
        shot.write("plate", frame, {**picture(frame), **beauty})
        whole = np.ones_like(square())
        shot.write("matte", frame, {"A": whole, "man.R": square(), "car.R": whole * 0})
    return shot


def test_a_layer_that_is_named_is_worked_on_and_comes_back_as_that_layer(
    host: Any, layered: Any, daemon: Any
) -> None:
    node = with_echo(node_of(host, layered), daemon, layer="beauty", matte_channel="man.red")
    assert remove(host, node) == DONE
    sent = Path(str(node["plate_files"].value()).replace("%V", "main") % 1002)
    before = plate(layered, 1002)
    assert same_bits(channels_of(sent)["R"].astype(np.float32), before["beauty.R"])
    shown, hole = given(host, node, 1002), square() > 0
    wanted = echoed(channels_of(layered.file("plate", 1002))["beauty.R"], hole)
    assert same_bits(shown["beauty.R"], wanted.astype(np.float32))
    assert all(same_bits(shown[name], before[name]) for name in "RGB")
    node["output"].setValue("difference")
    assert np.array_equal(
        given(host, node, 1002)["R"] > 0, hole & (shown["beauty.R"] != before["beauty.R"])
    )


def test_the_layer_of_a_result_stays_its_own_when_another_is_named(
    host: Any, layered: Any, daemon: Any
) -> None:
    node = with_echo(node_of(host, layered), daemon, layer="beauty", matte_channel="man.red")
    remove(host, node)
    shown = given(host, node, 1002)
    node["layer"].setValue("")
    host.stage.settle()
    assert node["status"].value() == "out of date: layer changed since v001"
    assert all(same_bits(given(host, node, 1002)[name], shown[name]) for name in shown)


def test_a_channel_that_the_matte_lacks_is_one_message_that_lists_those_it_has(
    host: Any, layered: Any
) -> None:
    node = node_of(host, layered)
    node["matte_channel"].setValue("dog.red")
    host.stage.press("remove", node)
    (message,) = host.stage.messages
    assert "The input matte has no channel dog.red" in message
    assert "car.red, man.red, rgba.alpha" in message


def test_the_preview_follows_the_channel_that_is_named(host: Any, layered: Any) -> None:
    node = node_of(host, layered)
    host.stage.press("preview", node)
    node["grow"].setValue(0)
    node["soften"].setValue(0)
    for channel, removed in (("man.red", square() > 0), ("car.red", square() > 2)):
        node["matte_channel"].setValue(channel)
        host.stage.settle()
        quadmask = np.broadcast_to(given(host, node, 1002)["R"], square().shape)
        assert np.array_equal(quadmask < 0.1, removed)


def test_mattes_that_count_from_0_reach_the_frames_of_the_plate(
    host: Any, shot: Any, daemon: Any
) -> None:
    holes = {frame: np.roll(square(), 3 * i, axis=1) for i, frame in enumerate(FRAMES)}
    for i, frame in enumerate(FRAMES):
        shot.write("matte", frame, {"A": holes[frame]})
        shot.file("matte", frame).rename(shot.file("matte", i))
    node = with_echo(node_of(host, shot), daemon, matte_start="0")
    matte = node.input(1)
    matte["first"].setValue(0)
    matte["last"].setValue(len(FRAMES) - 1)
    assert remove(host, node) == DONE, host.stage.messages
    for frame in FRAMES:
        wanted = echoed(channels_of(shot.file("plate", frame))["R"], holes[frame] > 0)
        assert same_bits(given(host, node, frame)["R"], wanted.astype(np.float32)), frame


def test_the_preview_keeps_what_lies_outside_of_a_cropped_matte(host: Any, shot: Any) -> None:
    """As autocrop writes it: the data window is the object's box."""
    rows, columns = np.nonzero(square() > 0)
    top, left, bottom, right = map(int, (rows.min(), columns.min(), rows.max(), columns.max()))
    box = np.ones((bottom - top + 1, right - left + 1), np.float16)
    windows = {
        "dataWindow": (np.int32([left, top]), np.int32([right, bottom])),
        "displayWindow": (np.int32([0, 0]), np.int32(square().shape[::-1]) - 1),
    }
    for frame in FRAMES:
        shot.file("matte", frame).write_bytes(exr_bytes({"A": box}, **windows))
    node = node_of(host, shot)
    for name in ("grow", "soften"):
        node[name].setValue(0)
    host.stage.press("preview", node)
    quadmask = given(host, node, 1002)["R"]
    assert np.array_equal(quadmask < 0.5, square() > 0)
