"""The node Generate end to end: a real child process, a real daemon, and OpenEXR files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voidbridge_scripts import given, plate, read_of
from voidbridge_shots import Shot, make_shot

SPACE = "Linear Rec.709 (sRGB)"
FRAMES = range(1001, 1009)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Shot:
    return make_shot(tmp_path_factory.mktemp("Clip [A] über"), FRAMES, seed=5)


def generate_node(host: Any, shot: Shot, daemon: Any, first: int, last: int, **changes: Any) -> Any:
    from voidbridge_nuke import group, operations

    reads = read_of(shot, "plate", shot.frames) + "push 0\npush 0\npush $Nplate\n"
    node = host.stage.load(reads + group.text(operation=operations.GENERATE))[-1]
    values = {
        "color_space": SPACE,
        "daemon": daemon.address,
        "depth": "32 bit float",
        "frame_range": "custom",
        "first": first,
        "last": last,
        "grain": "off",
    }
    for name, value in {**values, **changes}.items():
        node[name].setValue(value)
    return node


def press(host: Any, node: Any) -> str:
    """Presses Generate and waits; the status line at the end."""
    from voidbridge_nuke import controller

    host.stage.press("generate", node)
    host.stage.until(lambda: not controller.RUNNING, "the job to end")
    return str(node["status"].value())


def made(node: Any, frame: int) -> Path:
    return Path(str(node["result_files"].value()).replace("%V", "main") % frame)


def test_frames_are_taken_again_and_shown_in_the_plate(host: Any, clip: Shot, daemon: Any) -> None:
    node = generate_node(host, clip, daemon, 1004, 1005)
    assert press(host, node) == "done: v001, frames 1004-1005"
    (record,) = made(node, 1004).parent.glob("*.voidbridge.json")
    told = json.loads(record.read_text())
    assert told["settings"]["mode"] == "retake"
    assert told["generated"]["frames"] == "1004-1005"
    assert not np.array_equal(given(host, node, 1004)["R"], plate(clip, 1004)["R"])
    for frame in (1003, 1006):
        assert np.array_equal(given(host, node, frame)["R"], plate(clip, frame)["R"])
    node["motion"].setValue("hold")
    host.stage.settle()
    assert node["status"].value() == "out of date: motion changed since v001"
    assert press(host, node) == "done: v002, frames 1004-1005"
    assert list(node["version_shown"].values())[-2:] == ["v001", "v002"]


def test_a_clip_is_carried_on_beyond_its_end(host: Any, clip: Shot, daemon: Any) -> None:
    node = generate_node(host, clip, daemon, 1009, 1010, mode="extend", motion="hold")
    assert press(host, node) == "done: v001, frames 1009-1010"
    for frame in (1009, 1010):
        assert np.array_equal(given(host, node, frame)["R"], plate(clip, 1008)["R"])


def test_two_clips_are_joined_and_a_change_of_the_second_counts_only_then(
    host: Any, clip: Shot, daemon: Any
) -> None:
    """The second clip counts from its own first frame."""
    node = generate_node(host, clip, daemon, 1009, 1011, mode="bridge")
    assert "input tail" in press(host, node) or "input tail" in host.stage.messages[-1]
    tail = make_shot(host.stage.folder / "B", range(7, 27), seed=6)
    read = host.stage.load(read_of(tail, "plate", tail.frames))[-1]
    node.setInput(1, read)
    assert press(host, node) == "done: v001, frames 1009-1011"
    folder = made(node, 1009).parent
    assert sorted(path.name for path in folder.glob("tail.*.exr")) == [
        f"tail.main.{frame:04d}.exr" for frame in range(7, 23)
    ]
    told = json.loads(next(folder.glob("*.voidbridge.json")).read_text())
    assert (told["settings"]["mode"], told["generated"]["frames"]) == ("bridge", "1009-1011")
    read["file"].setValue("/elsewhere.%04d.exr")
    host.stage.settle()
    node["motion"].setValue("continue")
    host.stage.settle()
    assert "tail" in node["status"].value()


def test_a_frame_of_a_reference_stands_for_the_last_of_the_plate(host: Any, clip: Shot) -> None:
    from voidbridge_nuke import graph, request
    from voidbridge_nuke import host as nuke_host

    node = generate_node(
        host, clip, type("Daemon", (), {"address": ""}), 1009, 1010, mode="from-frame", engine="ltx"
    )
    still = make_shot(host.stage.folder / "C", range(40, 43), seed=7)
    node.setInput(2, host.stage.load(read_of(still, "plate", still.frames))[-1])

    def words() -> list[str]:
        asked = request.resolve(nuke_host.values(node), graph.scene(node))
        return request.command((), asked, "/v", "main")

    assert words()[:3] == ["generate", "from-frame", "/v/reference.main.0040.exr"]
    assert {"--plate-start=1008", "--frames=1009-1010"} <= set(words())
    node["reference_frame"].setValue("42")
    assert words()[2] == "/v/reference.main.0042.exr"
    node["reference_frame"].setValue("43")
    with pytest.raises(request.NodeError, match="no frame 43"):
        words()
    node["mode"].setValue("text")
    assert words()[2] == "/v/plate.main.%04d.exr"


def test_a_next_take_has_the_next_seed(host: Any, clip: Shot, daemon: Any) -> None:
    node = generate_node(host, clip, daemon, 1004, 1005)
    host.stage.press("next_take", node)
    assert host.stage.messages == [
        "morph has no seed, so it has no other take. Choose ltx, or another motion."
    ]
    node["engine"].setValue("ltx")
    host.stage.press("next_take", node)
    host.stage.until(lambda: not controller().RUNNING, "the job to end")
    assert node["seed"].value() == 1


def controller() -> Any:
    from voidbridge_nuke import controller as found

    return found


@pytest.mark.parametrize(
    ("mode", "first", "last", "said"),
    [
        ("retake", 1001, 1003, "retake cannot make frames 1001-1003"),
        ("extend", 1010, 1011, "extend cannot make frames 1010-1011"),
        ("text", 999, 1000, "text cannot make frames 999-1000"),
        ("hdr", 1008, 1009, "hdr cannot make frames 1008-1009"),
    ],
)
def test_a_range_that_a_mode_cannot_make_is_refused_before_anything_is_rendered(
    mode: str, first: int, last: int, said: str, host: Any, clip: Shot, daemon: Any
) -> None:
    node = generate_node(host, clip, daemon, first, last, mode=mode)
    press(host, node)
    (message,) = host.stage.messages
    assert said in message
    assert not node["result_files"].value()


def test_a_mode_that_needs_a_model_says_so(host: Any, clip: Shot, daemon: Any) -> None:
    node = generate_node(host, clip, daemon, 1009, 1010, mode="text", prompt="rain")
    assert "the mode text needs a model" in press(host, node)
