"""Knob values become a checked request and the command line that `voidbridge run` takes."""

from __future__ import annotations

from typing import Any

import pytest

from voidbridge_backend import cli
from voidbridge_backend.cli import options as cli_options
from voidbridge_backend.cli.commands.key import key_submission
from voidbridge_nuke.knobs import BUTTON, CHOICE, TAB, with_values
from voidbridge_nuke.operations import KEY, REMOVE
from voidbridge_nuke.request import (
    NodeError,
    Scene,
    command,
    described,
    differences,
    files,
    pieces,
    resolve,
)
from voidbridge_protocol.operations.key import KeySettings
from voidbridge_protocol.operations.remove import RemoveSettings

KNOBS = REMOVE.knobs
CONNECTED = dict.fromkeys(("plate", "matte", "affected"), "")
SCENE = Scene((1001, 1100), CONNECTED, ("left", "right"), "scene_linear (ACES - ACEScg)")


CHANNELS = {
    "plate": [f"{n}.{c}" for n in ("rgba", "beauty") for c in ("red", "green", "blue")]
    + ["depth.Z"],
    "matte": ["rgba.alpha", "man.red"],
    "affected": ["rgba.alpha"],
}
"""Of the inputs, by role."""
PAINTED = Scene(**{**SCENE.__dict__, "sources": {**CONNECTED, "clean": ""}})


def values(**changes: Any) -> dict[str, Any]:
    return {knob.name: knob.default for knob in with_values(KNOBS)} | changes


def test_the_knobs_have_the_defaults_of_the_command() -> None:
    words = command(["voidbridge"], resolve(values(), SCENE), "/c", "left")[1:]
    settings = cli_options.removal(cli.parser().parse_args(words)).settings
    assert settings == RemoveSettings(color_space="scene_linear (ACES - ACEScg)")


def test_every_choice_of_a_knob_is_one_of_the_command() -> None:
    for knob in KNOBS:
        if knob.option and knob.kind == CHOICE:
            for choice in knob.choices:
                words = command(["v"], resolve(values(**{knob.name: choice}), SCENE), "/c", "left")
                cli.parser().parse_args(words[1:])


def test_what_the_artist_chose_reaches_the_command() -> None:
    chosen = values(
        engine="void", prompt="--an empty street", seed=7, passes="2", steps=12, region="track",
        matte_kind="quadmask", threshold=0.25, grow=3, soften=0, grain="off", grain_amount=0.5,
        allow_full_matte=True, half_rate=True, handles=8, priority=-4,
        daemon=" tcp://10.0.0.1:5577 ", color_space="ACEScct", frame_range="custom", first=1010, last=1020,
    )  # fmt: skip
    options = cli.parser().parse_args(command(["v"], resolve(chosen, SCENE), "/a b/ü", "right")[1:])
    shot = cli_options.removal(options)
    assert shot.settings == RemoveSettings(
        engine="void", prompt="--an empty street", seed=7, passes=2, steps=12, region="track",
        matte_kind="quadmask", threshold=0.25, grow=3, soften=0, grain="off", grain_amount=0.5,
        color_space="ACEScct", allow_full_matte=True, half_rate=True,
    )  # fmt: skip
    assert (str(shot.files["plate"]), str(shot.frames), shot.handles) == (
        "/a b/ü/plate.right.%04d.exr",
        "1010-1020",
        8,
    )
    assert (shot.priority, options.daemon) == (-4, "tcp://10.0.0.1:5577")
    assert options.output == "/a b/ü/result.right.%04d.exr"


@pytest.mark.parametrize(
    ("wanted", "handles", "rendered"),
    [
        ((1010, 1020), 8, (1002, 1028)),
        ((1003, 1098), 8, (1001, 1100)),
        ((1001, 1001), 0, (1001, 1001)),
    ],
    ids=["inside", "at both ends", "one frame"],
)
def test_handles_end_where_the_plate_ends(
    wanted: tuple[int, int], handles: int, rendered: tuple[int, int]
) -> None:
    asked = values(frame_range="custom", first=wanted[0], last=wanted[1], handles=handles)
    request = resolve(asked, SCENE)
    assert (request.wanted, request.rendered) == (wanted, rendered)


@pytest.mark.parametrize(
    ("changes", "scene", "words"),
    [
        ({}, {"sources": {"matte": ""}}, "plate"),
        ({}, {"sources": {"plate": ""}}, "matte"),
        ({"frame_range": "custom", "first": 9, "last": 8}, {}, "9-8"),
        ({}, {"plate": (-4, 10)}, "-4"),
        ({"frame_range": "custom", "first": 1001, "last": 1101}, {}, "1001-1100"),
        ({"handles": -1}, {}, "-1"),
        ({"views_wanted": "left,middle"}, {}, "middle"),
        ({"layer": "specular"}, {}, "no layer specular .* Its layers are rgba, beauty"),
        ({"layer": "depth"}, {}, "no layer depth"),
        (
            {"matte_channel": "car.red"},
            {},
            "no channel car.red. Its channels are rgba.alpha, man.red",
        ),
        ({"affected_channel": "green"}, {}, "input affected has no channel rgba.green"),
        ({"matte_start": "first"}, {}, "'first' is not a number"),
        ({}, {"working_space": "scene_linear"}, "scene_linear is a role"),
        ({"color_space": "Compositing_Log"}, {}, "Compositing_Log is a role"),
    ],
    ids=[
        *("no plate", "no matte", "empty range", "negative", "outside", "handles", "view"),
        *("layer", "layer of one channel", "matte channel", "affected channel", "matte start"),
        *("role of the script", "role that is typed"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(
    changes: dict[str, Any], scene: dict[str, Any], words: str
) -> None:
    with pytest.raises(NodeError, match=words) as refused:
        resolve(values(**changes), Scene(**{**SCENE.__dict__, "channels": CHANNELS, **scene}))
    assert refused.value.hint


def test_views_keep_the_order_of_the_script() -> None:
    assert resolve(values(views_wanted="right, left"), SCENE).views == ("left", "right")
    assert resolve(values(views_wanted="right"), SCENE).views == ("right",)
    assert resolve(values(), SCENE).views == ("left", "right")


def test_mattes_that_count_from_0_are_moved_to_the_frames_of_the_plate() -> None:
    assert resolve(values(matte_start="0"), SCENE).matte_offset == 1001
    assert resolve(values(matte_start=" 1001"), SCENE).matte_offset == 0
    assert resolve(values(), SCENE).matte_offset == 0


def changed_value(knob: Any) -> Any:
    if knob.name == "matte_start":
        return "0"
    if knob.name == "views_wanted":
        return "left"
    if knob.kind == CHOICE:
        return next((choice for choice in knob.choices if choice != knob.default), "other")
    if isinstance(knob.default, str):
        return "other"
    return not knob.default if isinstance(knob.default, bool) else knob.default + 1


@pytest.mark.parametrize(
    "knob", [k for k in with_values(KNOBS) if k.name != "operation"], ids=lambda knob: knob.name
)
def test_exactly_what_makes_the_result_makes_a_difference(knob: Any) -> None:
    before, scene = described(resolve(values(), SCENE)), SCENE
    changes = {knob.name: changed_value(knob)}
    if knob.name == "clean_frames":
        changes, scene = {"clean_frames": "1009,1050-1052"}, PAINTED
    after = described(resolve(values(**changes), scene))
    alters = knob.makes_result or knob.name == "frame_range"
    if knob.name == "frame_range":
        after = described(resolve(values(frame_range="custom", last=1099), SCENE))
    assert (differences(before, after) != []) is alters


def test_an_affected_matte_that_is_connected_is_sent_and_counts() -> None:
    without = Scene(**{**SCENE.__dict__, "sources": {"plate": "", "matte": ""}})
    sent = "--affected=/c/affected.left.%04d.exr"
    assert sent in command(["v"], resolve(values(), SCENE), "/c", "left")
    assert sent not in command(["v"], resolve(values(), without), "/c", "left")
    before, after = (described(resolve(values(), scene)) for scene in (SCENE, without))
    assert differences(before, after) == ["affected"]


def test_clean_frames_reach_the_command_one_by_one() -> None:
    request = resolve(values(clean_frames="1050, 1009-1010"), PAINTED)
    options = cli.parser().parse_args(command(["v"], request, "/c", "left")[1:])
    assert options.clean == [f"{n}=/c/clean.left.{n}.exr" for n in (1009, 1010, 1050)]
    files_of = cli_options.removal(options).files["clean"]
    assert files_of.scan() == [1009, 1010, 1050]


@pytest.mark.parametrize(
    ("text", "scene", "said"),
    [
        ("1009;x", PAINTED, "cannot be read"),
        ("2000", PAINTED, "The clean frames 2000 are not within the frames 1001-1100"),
        ("1009-1005", PAINTED, "The clean frames 1009-1005 are not within"),
        ("1009", SCENE, "nothing is connected to the input clean"),
        ("", PAINTED, "The input clean is connected, but no clean frames are named"),
    ],
)
def test_clean_frames_that_do_not_fit_are_refused(text: str, scene: Scene, said: str) -> None:
    with pytest.raises(NodeError, match=said):
        resolve(values(clean_frames=text), scene)


def fed_by(text: str) -> dict[str, Any]:
    return described(resolve(values(), Scene(**{**SCENE.__dict__, "trees": {"plate": text}})))


def test_what_feeds_an_input_counts_where_it_can_be_compared() -> None:
    one, other = fed_by("17.0 aa"), fed_by("17.0 bb")
    assert differences(one, other) == ["upstream of plate"]
    assert differences(one, fed_by("17.0 aa")) == []
    assert (
        differences(one, fed_by("17.1 bb")) == []
    )  # another Nuke may spell the same tree otherwise
    assert (
        differences(one, described(resolve(values(), SCENE))) == []
    )  # made before it was looked at


@pytest.mark.parametrize(
    ("frames", "runs"),
    [
        ((1001, 1001), [(1001, 1001)]),
        ((1001, 1020), [(1001, 1020)]),
        ((1001, 1045), [(1001, 1020), (1021, 1040), (1041, 1045)]),
    ],
)
def test_a_plate_is_rendered_in_pieces(
    frames: tuple[int, int], runs: list[tuple[int, int]]
) -> None:
    assert pieces(frames) == runs


def test_windows_paths_become_slashes() -> None:
    assert files(r"Z:\shot one\v001", "plate") == "Z:/shot one/v001/plate.%V.%04d.exr"


def test_every_knob_that_an_artist_sees_has_a_tooltip() -> None:
    assert all(knob.tooltip for knob in KNOBS if knob.kind != TAB)
    assert len({knob.name for knob in KNOBS}) == len(KNOBS)
    assert any(knob.kind == BUTTON for knob in KNOBS)


SHOT = Scene((1001, 1100), dict.fromkeys(("plate", "hint", "screen"), ""), ("left",), "ACEScg")


def key_values(**changes: Any) -> dict[str, Any]:
    return {knob.name: knob.default for knob in with_values(KEY.knobs)} | changes


def key_job(values: dict[str, Any], scene: Scene = SHOT) -> Any:
    words = command(["voidbridge"], resolve(values, scene), "/c", "left")[1:]
    return key_submission(cli.parser().parse_args(words))


def test_the_knobs_of_a_key_have_the_defaults_of_its_command() -> None:
    job = key_job(key_values())
    assert job.settings == KeySettings(color_space="ACEScg")
    assert {role: str(files) for role, files in job.files.items()} == {
        role: f"/c/{role}.left.%04d.exr" for role in SHOT.sources
    }
    alone = Scene(**{**SHOT.__dict__, "sources": {"plate": ""}})
    assert set(key_job(key_values(), alone).files) == {"plate"}


def test_every_choice_of_a_keys_knob_is_one_of_the_command() -> None:
    for knob in KEY.knobs:
        for choice in knob.choices if knob.option else ():
            key_job(key_values(**{knob.name: choice}))


def test_a_picked_color_is_the_screens_and_counts_only_while_it_is_chosen() -> None:
    color = "0.1 0.5 0.2"
    picked = key_values(screen_color="picked", screen_rgb=color)
    assert key_job(picked).settings.screen_color == color
    before, after = (
        described(resolve(values, SHOT)) for values in (picked, {**picked, "screen_rgb": "0 1 0"})
    )
    assert differences(before, after) == ["screen_color"]
    unused = described(resolve(key_values(screen_rgb=color), SHOT))
    assert differences(unused, described(resolve(key_values(), SHOT))) == []


def test_the_frames_of_a_clean_screen_may_lie_anywhere() -> None:
    listed = resolve(key_values(screen_frames="7"), SHOT)
    assert listed.roles == ("plate", "hint")
    assert listed.listed == {"screen": (7,)}
    assert resolve(key_values(), SHOT).roles == ("plate", "hint", "screen")
    with pytest.raises(NodeError, match="nothing is connected to the input screen"):
        resolve(key_values(screen_frames="7"), Scene((1, 2), {"plate": ""}, ("left",), ""))
