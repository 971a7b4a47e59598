"""The tool Generate end to end: a real child process, a real daemon, and OpenEXR files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voidbridge_shots import Shot, channels_of, make_shot

SPACE = "Linear Rec.709 (sRGB)"
FILES = range(1001, 1009)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Shot:
    return make_shot(tmp_path_factory.mktemp("Clip über"), FILES, seed=5)


def generate_tool(host: Any, shot: Shot, address: str, first: int, last: int, **values: Any) -> Any:
    """In a comp that goes on behind the plate, whose Loader holds its last frame."""
    comp = host.comp(0, 20)
    plate = host.loader(comp, "plate", shot.file("plate", FILES[0]))
    for id, value in {"GlobalOut": 20, "HoldLastFrame": 13}.items():
        plate.set(id, value)
    group = host.new_tool(comp, "generate", plate=plate)
    host.choose(
        group, color_space=SPACE, frame_offset=FILES[0], depth="32 bit float", daemon=address,
        frame_range="custom", first=first, last=last, grain="off", **values,
    )  # fmt: skip
    return group


def press(host: Any, group: Any) -> str:
    host.press(group, "Generate")
    if "working" not in host.status(group):
        return str(host.status(group))
    return str(host.until(group, lambda s: s.startswith(("done", "failed"))))


def version(host: Any) -> Path:
    (found,) = host.folder.glob("Voidbridge/*/v001")
    return Path(found)


def shown(host: Any, group: Any, frame: int) -> Any:
    return host.shown(group, frame)["R"].astype(np.float32)


def own(shot: Shot, number: int) -> Any:
    return channels_of(shot.file("plate", number))["R"].astype(np.float32)


def test_frames_are_taken_again_and_shown_in_the_plate(host: Any, clip: Shot, daemon: Any) -> None:
    group = generate_tool(host, clip, daemon.address, 3, 4)
    assert press(host, group) == "done: v001, frames 3-4 (files 1004-1005)"
    (record,) = version(host).glob("*.voidbridge.json")
    told = json.loads(record.read_text())
    assert (told["settings"]["mode"], told["generated"]["frames"]) == ("retake", "1004-1005")
    assert not (version(host) / "plate.1004.exr").exists(), "what is made again is not looked at"
    assert not np.array_equal(shown(host, group, 3), own(clip, 1004))
    for frame in (2, 5):
        assert np.array_equal(shown(host, group, frame), own(clip, 1001 + frame))
    host.choose(group, motion="hold")
    assert host.status(group) == "out of date: motion changed since v001"


def test_a_clip_is_carried_on_beyond_its_end(host: Any, clip: Shot, daemon: Any) -> None:
    group = generate_tool(host, clip, daemon.address, 8, 9, mode="extend", motion="hold")
    assert press(host, group) == "done: v001, frames 8-9 (files 1009-1010)"
    for frame in (8, 9):
        assert np.array_equal(shown(host, group, frame), own(clip, 1008))


def test_two_clips_are_joined_where_they_lie_in_the_comp(
    host: Any, clip: Shot, daemon: Any, tmp_path: Path
) -> None:
    group = generate_tool(host, clip, daemon.address, 8, 10, mode="bridge")
    assert press(host, group).startswith("Nothing is connected to the input tail.")
    tail = make_shot(tmp_path / "B", range(7, 17), seed=6)
    loader = host.loader(group.comp, "tail", tail.file("plate", 7))
    for id, value in {
        "GlobalOut": 20,
        "GlobalIn": 11,
        "ClipTimeStart": 0,
        "HoldFirstFrame": 0,
    }.items():
        loader.set(id, value)
    tool, id = group.published["MainInput2"]
    tool.links[id] = loader
    assert press(host, group) == "done: v001, frames 8-10 (files 1009-1011)"
    assert len(list(version(host).glob("tail.*.exr"))) == 10
    told = json.loads(next(version(host).glob("*.voidbridge.json")).read_text())
    assert told["settings"]["mode"] == "bridge"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"first": 0, "last": 2},
            "retake looks at the frames before the new ones, and the comp 0-20 has none",
        ),
        ({"first": 18, "last": 20}, "retake looks at the frames behind the new ones"),
        ({"first": 0, "last": 1, "mode": "extend"}, "extend looks at the frames before"),
        (
            {"first": 19, "last": 20, "mode": "extend", "ahead": True},
            "extend looks at the frames behind",
        ),
    ],
)
def test_a_range_that_a_mode_cannot_make_is_refused_before_anything_is_rendered(
    host: Any, clip: Shot, values: dict[str, Any], said: str
) -> None:
    group = generate_tool(host, clip, "", 3, 4)
    host.choose(group, **values)
    assert said in press(host, group)
    assert group.comp.rendered == []


def test_a_frame_of_a_reference_stands_for_the_last_of_the_plate(host: Any, clip: Shot) -> None:
    group = generate_tool(
        host, clip, "", 8, 9, mode="from-frame", engine="ltx", reference_frame="2"
    )
    request, fusion = host.module("voidbridge.request"), host.module("voidbridge.host")

    def words() -> list[str]:
        inside = fusion.inside(host.proxy_of(group))
        found = request.resolve(fusion["values"](inside), fusion.scene(inside))
        return list(request.words(found).values())

    assert words()[:3] == ["generate", "from-frame", "plate.%04d.exr"]
    tool, id = group.published["MainInput3"]
    tool.links[id] = host.loader(group.comp, "still", clip.file("plate", FILES[0]))
    assert words()[:3] == ["generate", "from-frame", "reference.1003.exr"]
    assert {"--plate-start=1008", "--frames=1009-1010"} <= set(words())
    host.choose(group, mode="text", prompt="rain")
    assert words()[2] == "plate.%04d.exr"


def test_a_next_take_has_the_next_seed(host: Any, clip: Shot) -> None:
    group = generate_tool(host, clip, "tcp://127.0.0.1:9", 3, 4)
    host.press(group, "NextTake")
    assert host.status(group).startswith("morph has no seed, so it has no other take.")
    host.choose(group, engine="ltx")
    host.press(group, "NextTake")
    assert group.GetInput("VbSeed") == 1
    assert "127.0.0.1:9" in host.until(group, lambda s: s.startswith("failed"))
