"""The tool Mask end to end: a real child process, a real daemon, and OpenEXR files of a ball over a wall."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from voidbridge_shots import Shot, ball_of_sample, channels_of

SERVER = Path(__file__).parents[1] / "backend/language_model_server.py"
SPACE = "Linear Rec.709 (sRGB)"
FILES = range(1001, 1006)
HEIGHT, WIDTH, RADIUS = 72, 128, 12


def center(frame: int) -> tuple[int, int]:
    """In pixels from the top left corner, at a frame of the comp."""
    return 40 + 8 * frame, 30


def truth(frame: int) -> Any:
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(drawn, center(frame), RADIUS, (1,), -1)
    return drawn > 0


@pytest.fixture(scope="module")
def ball(tmp_path_factory: pytest.TempPathFactory) -> Shot:
    shot = Shot(tmp_path_factory.mktemp("Bälle über Wand"), FILES)
    wall = np.random.default_rng(2).random((HEIGHT, WIDTH, 3)).astype(np.float32)
    wall = 0.5 * cv2.GaussianBlur(wall, (0, 0), 2)
    for frame, number in enumerate(FILES):
        light = np.where(truth(frame)[..., None], np.float32((1.5, 0.2, 0.1)), wall)
        shot.write("plate", number, {c: light[..., i].copy() for i, c in enumerate("RGB")})
        shot.write("seed", number, {"A": truth(frame).astype(np.float32)})
    return shot


def mask_tool(host: Any, shot: Shot, daemon: Any, *roles: str, **values: Any) -> Any:
    comp = host.comp(0, len(shot.frames) - 1)
    sources = {
        role: host.loader(comp, role, shot.file(role, shot.frames[0])) for role in ("plate", *roles)
    }
    group = host.new_tool(comp, "mask", **sources)
    host.choose(group, color_space=SPACE, frame_offset=shot.frames[0], depth="32 bit float",
                daemon=daemon.address, **values)  # fmt: skip
    return group


def share(x: float, y: float, height: int = HEIGHT, width: int = WIDTH) -> list[float]:
    """A place as Fusion has it, from one in pixels from the top left corner."""
    return [x / width, 1 - y / height, 0.0]


def drag(group: Any, control: str, place: list[float]) -> None:
    tool, id = group.published[f"Vb{control}"]
    tool.store(id, place)


def click(host: Any, group: Any, x: float, y: float, button: str = "AddPoint") -> None:
    drag(group, "Place", share(x, y))
    host.press(group, button)


def clicked(host: Any, group: Any) -> Any:
    x, y = center(0)
    for dx, dy, button in ((0, 0, "AddPoint"), (6, -4, "AddPoint"), (24, 0, "AddNot")):
        click(host, group, x + dx, y + dy, button)
    return group


def ended(host: Any, group: Any) -> str:
    return str(host.until(group, lambda s: s.startswith(("done", "failed", "cancelled"))))


def track(host: Any, group: Any, button: str = "Track") -> str:
    host.press(group, button)
    return ended(host, group)


def version(host: Any, name: str = "v001") -> Path:
    (found,) = host.folder.glob(f"Voidbridge/*/{name}")
    return Path(found)


def overlap(found: Any, frame: int) -> float:
    return float(((found > 0.5) & truth(frame)).sum() / ((found > 0.5) | truth(frame)).sum())


def test_clicks_on_the_screen_become_mattes_in_every_output(
    host: Any, ball: Shot, daemon: Any
) -> None:
    group = clicked(host, mask_tool(host, ball, daemon))
    assert group.GetInput("VbPrompts") == (
        "point 0:31.25,58.333; point 0:35.938,63.889; not 0:50,58.333"
    )
    assert track(host, group) == "done: v001, frames 0-4 (files 1001-1005)"
    for frame, number in enumerate(FILES):
        file = channels_of(version(host) / f"result.{number}.exr")
        file = {name: plane.astype(np.float32) for name, plane in file.items()}
        plate = channels_of(ball.file("plate", number))
        assert overlap(file["A"], frame) > 0.85
        mattes, overlay, quadmask = (host.shown(group, frame, output) for output in (1, 2, 3))
        assert np.array_equal(mattes["A"], file["A"])
        assert np.array_equal(mattes["R"], file["R"])
        assert np.allclose(overlay["R"], plate["R"] + np.float32(0.4) * file["A"])
        assert np.array_equal(quadmask["R"], file["G"])
    host.choose(group, engine="sam2")
    assert host.status(group) == "out of date: engine changed since v001"


def test_a_point_that_follows_a_tracker_is_taken_at_many_frames_and_a_box_between_two(
    host: Any, ball: Shot, daemon: Any
) -> None:
    group = mask_tool(host, ball, daemon, prompt_frames="0,3-4", object="ball")
    tool, id = group.published["VbPlace"]
    for frame in range(5):
        tool.animated[id, frame] = share(*center(frame))
    host.press(group, "AddPoint")
    tool.animated.clear()
    host.choose(group, prompt_frames="0", object_role="belonging")
    x, y = center(0)
    drag(group, "Place", share(x + 15, y - 15))
    drag(group, "Corner", share(x - 15, y + 15))
    host.press(group, "AddBox")
    assert group.GetInput("VbPrompts") == (
        "point 0:31.25,58.333:ball; point 3:50,58.333:ball; point 4:56.25,58.333:ball; "
        "box 0:19.531,37.5,42.969,79.167:ball; role ball=belonging"
    )
    host.press(group, "UndoPrompt")
    assert group.GetInput("VbPrompts").endswith("79.167:ball")
    for noun in ("a: b", " "):
        host.choose(group, noun=noun)
        host.press(group, "AddNoun")
        assert host.status(group).startswith(f'The noun "{noun}" cannot be read.')
    host.choose(group, noun="the red ball")
    host.press(group, "AddNoun")
    text = group.GetInput("VbPrompts")
    assert text.endswith("; noun the red ball:ball; role ball=belonging")
    options = list(host.module("voidbridge.prompts").options(text, 1001).values())
    assert "--noun=the red ball:ball" in options
    host.choose(group, prompts="box 0:19.531,37.5,42.969,79.167:ball")
    assert track(host, group).startswith("done")
    assert overlap(channels_of(version(host) / "result.1005.exr")["A"], 4) > 0.85


def test_a_matte_on_key_frames_seeds_the_track(host: Any, ball: Shot, daemon: Any) -> None:
    group = mask_tool(host, ball, daemon, "seed", key_frames="0,4")
    assert track(host, group).startswith("done")
    assert sorted(path.name for path in version(host).glob("seed.*.exr")) == [
        "seed.1001.exr",
        "seed.1005.exr",
    ]
    assert np.array_equal(channels_of(version(host) / "result.1005.exr")["A"] > 0.5, truth(4))


def test_tracking_again_keeps_the_frames_before_it(host: Any, ball: Shot, daemon: Any) -> None:
    group = clicked(host, mask_tool(host, ball, daemon))
    host.press(group, "Again")
    assert host.status(group) == "There is no result yet. Press Track, then Fetch."
    assert track(host, group).startswith("done: v001")
    group.comp.time = 3
    drag(group, "Place", share(100, 50))  # a correction that leads elsewhere
    drag(group, "Corner", share(120, 68))
    host.press(group, "AddBox")
    assert track(host, group, "Again").startswith("done: v002")
    for frame, number in enumerate(FILES):
        one, two = (version(host, v) / f"result.{number}.exr" for v in ("v001", "v002"))
        assert (one.read_bytes() == two.read_bytes()) == (frame < 3), frame


def test_prompts_that_say_nothing_are_told_before_anything_is_rendered(
    host: Any, ball: Shot, daemon: Any
) -> None:
    group = mask_tool(host, ball, daemon)
    host.press(group, "Track")
    assert host.status(group).startswith("Nothing says where the object is.")
    host.choose(group, prompts="point 0:4")
    host.press(group, "Track")
    assert host.status(group).startswith('The prompt "point 0:4" cannot be read.')
    host.choose(group, prompt_frames="soon")
    host.press(group, "AddPoint")
    assert host.status(group).startswith('The prompt frames "soon" cannot be read.')
    assert not list(host.folder.glob("Voidbridge/*/v001"))


def test_one_click_leads_to_a_clean_plate(host: Any, tmp_path: Path, daemon: Any) -> None:
    """On the sample `moving_ball`."""
    shot, masks, at = ball_of_sample(tmp_path / "shot", range(1001, 1007))
    group = mask_tool(host, shot, daemon)
    drag(group, "Place", share(*at, *masks[1001].shape))
    host.press(group, "AddPoint")
    assert track(host, group).startswith("done"), host.status(group)
    host.press(group, "Use")
    (removing,) = (
        tool
        for tool in group.comp.tools
        if tool.ID == "GroupOperator" and tool.Name == "Voidbridge"
    )
    host.press(removing, "Remove")
    assert ended(host, removing).startswith("done"), host.status(removing)
    for frame, number in enumerate(shot.frames):
        clean, before = host.shown(removing, frame), channels_of(shot.file("plate", number))
        hole = masks[number]
        changed = np.abs(clean["R"] - before["R"]) > 0.01
        assert changed[hole].mean() > 0.8, "the object is gone"
        far = cv2.dilate(hole.astype(np.uint8), np.ones((121, 121), np.uint8)) == 0
        assert far.any()
        assert not changed[far].any(), "the plate's own pixels stay"


def test_a_language_model_is_asked_only_after_its_pictures_could_be_seen(
    host: Any, ball: Shot, daemon: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VOIDBRIDGE_ASK_URL", raising=False)
    group = clicked(host, mask_tool(host, ball, daemon))
    host.press(group, "Ask")
    assert host.status(group) == "There is no result yet. Press Track, then Fetch."
    assert track(host, group).startswith("done")
    host.press(group, "Send")
    assert host.status(group).startswith("Nobody could look at the pictures of this result yet.")
    host.press(group, "Ask")
    assert "Look at them, then press Send" in host.status(group)
    folder = version(host).with_name("asked-v001")
    assert len(list(folder.iterdir())) > 1
    server = subprocess.Popen(
        [sys.executable, str(SERVER)], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert server.stdout
    try:
        port = server.stdout.readline().strip()
        host.press(group, "Send")
        assert "no address of a language model is named, so nothing is sent." in host.status(group)
        monkeypatch.setenv("VOIDBRIDGE_ASK_URL", f"http://127.0.0.1:{port}/v1")
        monkeypatch.setenv("VOIDBRIDGE_ASK_MODEL", "good")
        host.press(group, "Send")
        assert host.status(group).startswith("The answer is there."), host.status(group)
    finally:
        server.terminate()
        requests = server.communicate()[0].splitlines()
    assert len(requests) == 1
    assert track(host, group).startswith("done: v002")
    found = channels_of(version(host, "v002") / "result.1002.exr")
    assert np.array_equal(found["R"] > 0.5, channels_of(folder / "affected.1002.exr")["A"] > 0.5)
    assert (found["R"] > 0.5).any()
