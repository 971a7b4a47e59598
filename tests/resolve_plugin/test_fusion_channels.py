"""Layers and channels that the artist names, and mattes that count from 0: Remove sets the artist's own Loaders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voidbridge_shots import channels_of, echoed, make_shot, picture, same_bits, square

FILES = range(1001, 1004)


@pytest.fixture
def layered(tmp_path: Path) -> Any:
    """A plate with two layers, and a matte file with a channel for each of two objects."""
    shot = make_shot(tmp_path / "layers", FILES)
    for frame in FILES:
        beauty = {f"beauty.{name}": plane for name, plane in picture(frame + 70).items()}
        shot.write("plate", frame, {**picture(frame), **beauty})
        whole = np.ones_like(square())
        shot.write("matte", frame, {"A": whole, "man.Y": square(), "car.Y": whole * 0})
    return shot


def tool_of(host: Any, comp: Any, shot: Any, daemon: Any, **values: Any) -> Any:
    sources = {
        role: host.loader(comp, role, sorted(shot.folder.glob(f"{role}.*"))[0])
        for role in ("plate", "matte")
    }
    group = host.new_tool(comp, **sources)
    host.module("voidbridge.operations")["remove"]["by_name"]["engine"]["choices"][3] = "echo"
    host.choose(
        group, color_space="Linear Rec.709 (sRGB)", frame_offset=1001, engine="echo", grow=0, soften=0,
        daemon=daemon.address, **values,
    )  # fmt: skip
    return group


def removed(host: Any, group: Any) -> str:
    host.press(group, "Remove")
    return str(host.until(group, lambda text: text.startswith(("done", "failed"))))


def test_a_layer_and_a_channel_that_are_named_are_what_the_loaders_give(
    host: Any, layered: Any, daemon: Any
) -> None:
    named = {"layer": "Beauty", "matte_channel": "named below", "matte_channel_name": " man.Y"}
    group = tool_of(host, host.comp(0, 2), layered, daemon, **named)
    assert removed(host, group).startswith("done: v001")
    own = channels_of(layered.file("plate", 1002))["beauty.R"]
    wanted = echoed(own, square() > 0).astype(np.float32)
    assert same_bits(host.shown(group, 1)["R"], wanted)


def test_a_matte_that_counts_from_0_lies_on_the_first_frame_of_the_comp(
    host: Any, tmp_path: Path, daemon: Any
) -> None:
    """Its files begin at 5, and the artist says that 7 belongs to the first frame."""
    shot = make_shot(tmp_path / "s", FILES, seed=41)
    holes = [np.roll(square(), 4 * i, axis=1) for i in range(5)]
    for frame in FILES:
        shot.file("matte", frame).unlink()
    for i, hole in enumerate(holes):
        shot.write("matte", 5 + i, {"A": hole})
    comp = host.comp(0, 2)
    group = tool_of(host, comp, shot, daemon, matte_start="7")
    assert removed(host, group).startswith("done: v001")
    for frame in range(3):
        own = channels_of(shot.file("plate", 1001 + frame))["R"]
        wanted = echoed(own, holes[2 + frame] > 0).astype(np.float32)
        assert same_bits(host.shown(group, frame)["R"], wanted), frame
    assert "Voidbridge: set the Loader of the matte" in comp.undone


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"layer": "specular"},
            "The plate's Loader offers no specular. It offers: B, G, R, beauty.B",
        ),
        ({"matte_channel": "named below"}, "The matte channel is a named one, and has no name"),
        (
            {"matte_channel": "named below", "matte_channel_name": "dog.Y"},
            "The matte's Loader offers no dog.Y. It offers: A, car.Y, man.Y",
        ),
        ({"matte_start": "first"}, 'The matte start "first" is not a number'),
        (
            {"matte_start": "0"},
            "The matte's Loader has no file 0. Its 3 files begin with matte.1001.exr",
        ),
    ],
)
def test_what_a_loader_does_not_have_is_said_and_nothing_is_rendered(
    host: Any, layered: Any, daemon: Any, values: dict[str, Any], said: str
) -> None:
    comp = host.comp(0, 2)
    group = tool_of(host, comp, layered, daemon, **values)
    host.press(group, "Remove")
    assert said in host.status(group)
    assert comp.rendered == []


def test_an_input_that_comes_from_no_loader_is_refused(
    host: Any, layered: Any, daemon: Any
) -> None:
    comp = host.comp(0, 2)
    group = tool_of(host, comp, layered, daemon, layer="beauty")
    plate, id = group.published["MainInput1"]
    other = host.new_tool(comp, plate=plate.links[id]).outputs[1]
    plate.links[id] = other
    host.press(group, "Remove")
    assert "which is not a Loader" in host.status(group)
