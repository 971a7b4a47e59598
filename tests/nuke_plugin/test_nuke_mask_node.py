"""The node Mask end to end: a real child process, a real daemon, and OpenEXR files of a ball over a wall."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from voidbridge_scripts import given, plate, read_of, remove
from voidbridge_shots import Shot, ball_of_sample, channels_of

SPACE = "Linear Rec.709 (sRGB)"
FRAMES = range(1001, 1006)
SERVER = Path(__file__).parents[1] / "backend/language_model_server.py"
HEIGHT, WIDTH, RADIUS = 72, 128, 12


def center(frame: int) -> tuple[int, int]:
    return 40 + 8 * (frame - 1001), 30


def truth(frame: int) -> Any:
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(drawn, center(frame), RADIUS, (1,), -1)
    return drawn > 0


@pytest.fixture(scope="module")
def ball(tmp_path_factory: pytest.TempPathFactory) -> Shot:
    shot = Shot(tmp_path_factory.mktemp("Bälle über Wand"), FRAMES)
    wall = np.random.default_rng(2).random((HEIGHT, WIDTH, 3)).astype(np.float32)
    wall = 0.5 * cv2.GaussianBlur(wall, (0, 0), 2)
    for frame in FRAMES:
        light = np.where(truth(frame)[..., None], np.float32((1.5, 0.2, 0.1)), wall)
        shot.write("plate", frame, {c: light[..., i].copy() for i, c in enumerate("RGB")})
        shot.write("seed", frame, {"A": truth(frame).astype(np.float32)})
    return shot


def mask_node(host: Any, shot: Shot, daemon: Any, *, seed: bool = False, **changes: Any) -> Any:
    from voidbridge_nuke import group, operations

    reads = read_of(shot, "plate", shot.frames) + (read_of(shot, "seed", FRAMES) if seed else "")
    fed = ("push $Nseed\n" if seed else "push 0\n") + "push $Nplate\n"
    node = host.stage.load(reads + fed + group.text(operation=operations.MASK))[-1]
    values = {"color_space": SPACE, "daemon": daemon.address, "depth": "32 bit float"}
    for name, value in {**values, **changes}.items():
        node[name].setValue(value)
    return node


def press(host: Any, node: Any, button: str = "track") -> str:
    """Presses a button and waits; the status line at the end."""
    from voidbridge_nuke import controller

    host.stage.press(button, node)
    host.stage.until(lambda: not controller.RUNNING, "the job to end")
    return str(node["status"].value())


def click(host: Any, node: Any, frame: int, x: float, y: float, button: str = "add_point") -> None:
    """Moves the point there, as Nuke counts, and presses a button."""
    host.stage.frame = frame
    node["point"].setValue([x, HEIGHT - y])
    host.stage.press(button, node)


def clicked(host: Any, node: Any) -> Any:
    x, y = center(1001)
    for dx, dy, button in ((0, 0, "add_point"), (6, -4, "add_point"), (24, 0, "add_not")):
        click(host, node, 1001, x + dx, y + dy, button)
    return node


def overlap(found: Any, frame: int) -> float:
    return float(((found > 0.5) & truth(frame)).sum() / ((found > 0.5) | truth(frame)).sum())


def version(node: Any, frame: int) -> Path:
    return Path(str(node["result_files"].value()).replace("%V", "main") % frame)


def test_clicks_become_mattes_in_every_output(host: Any, ball: Shot, daemon: Any) -> None:
    node = clicked(host, mask_node(host, ball, daemon))
    assert node["prompts"].value() == "point 1001:40,42; point 1001:46,46; not 1001:64,42"
    assert press(host, node) == "done: v001, frames 1001-1005"
    for frame in FRAMES:
        file = channels_of(version(node, frame))
        assert overlap(file["A"], frame) > 0.85
        alpha, shown = file["A"].astype(np.float32), {}
        for output in node["output"].values():
            node["output"].setValue(output)
            shown[output] = given(host, node, frame)
        assert np.array_equal(shown["mattes"]["A"], file["A"])
        assert np.array_equal(shown["mattes"]["R"], file["R"])
        assert np.array_equal(shown["quadmask"]["G"], file["G"])
        assert np.array_equal(shown["plate"]["R"], plate(ball, frame)["R"])
        assert np.allclose(shown["overlay"]["R"], plate(ball, frame)["R"] + np.float32(0.4) * alpha)
    node["engine"].setValue("sam2")
    host.stage.settle()
    assert node["status"].value() == "out of date: engine changed since v001"


def test_a_point_that_follows_a_tracker_is_taken_at_many_frames(
    host: Any, ball: Shot, daemon: Any
) -> None:
    from voidbridge_nuke import prompts

    node = mask_node(host, ball, daemon, prompt_frames="1001,1004-1005", object="ball")
    for frame in FRAMES:
        for index, number in enumerate((center(frame)[0], HEIGHT - center(frame)[1])):
            node["point"].setValueAt(float(number), frame, index)
    host.stage.press("add_point", node)
    node["object_role"].setValue("belonging")
    node["box"].setValue([28.0, 30.0, 53.0, 55.0])
    node["prompt_frames"].setValue("1001")
    host.stage.press("add_box", node)
    assert node["prompts"].value() == (
        "point 1001:40,42:ball; point 1004:64,42:ball; point 1005:72,42:ball; "
        "box 1001:28,30,53,55:ball; role ball=belonging"
    )
    host.stage.press("undo_prompt", node)
    assert node["prompts"].value().endswith("box 1001:28,30,53,55:ball")
    for noun in ("a: b", " "):
        node["noun"].setValue(noun)
        host.stage.press("add_noun", node)
        assert host.stage.messages[-1].startswith(f"The noun {noun!r} cannot be read.")
    node["noun"].setValue("the red ball")
    host.stage.press("add_noun", node)
    assert node["prompts"].value().endswith("; noun the red ball:ball; role ball=belonging")
    assert "--noun=the red ball:ball" in prompts.options(node["prompts"].value())
    node["prompts"].setValue("box 1001:28,30,53,55:ball")
    assert press(host, node).startswith("done")
    assert overlap(channels_of(version(node, 1005))["A"], 1005) > 0.85


def test_a_matte_on_key_frames_seeds_the_track(host: Any, ball: Shot, daemon: Any) -> None:
    node = mask_node(host, ball, daemon, seed=True, key_frames="1001,1005")
    assert press(host, node) == "done: v001, frames 1001-1005"
    folder = version(node, 1001).parent
    assert sorted(path.name for path in folder.glob("seed.*")) == [
        "seed.main.1001.exr",
        "seed.main.1005.exr",
    ]
    assert np.array_equal(channels_of(version(node, 1005))["A"] > 0.5, truth(1005))
    assert overlap(channels_of(version(node, 1003))["A"], 1003) > 0.9


def test_tracking_again_keeps_the_frames_before_it(host: Any, ball: Shot, daemon: Any) -> None:
    node = clicked(host, mask_node(host, ball, daemon))
    host.stage.press("again", node)
    assert host.stage.messages == ["There is no result yet. Press Track."]
    assert press(host, node).startswith("done: v001")
    before = {frame: version(node, frame).read_bytes() for frame in FRAMES}
    host.stage.frame = 1004
    node["box"].setValue([100.0, 4.0, 120.0, 24.0])  # a correction that leads elsewhere
    host.stage.press("add_box", node)
    assert press(host, node, "again") == "done: v002, frames 1001-1005"
    for frame in FRAMES:
        assert (version(node, frame).read_bytes() == before[frame]) == (frame < 1004), frame


def test_prompts_that_say_nothing_are_told_before_anything_is_rendered(
    host: Any, ball: Shot, daemon: Any
) -> None:
    node = mask_node(host, ball, daemon)
    host.stage.press("track", node)
    node["prompts"].setValue("point 1001:4")
    host.stage.press("track", node)
    node["prompt_frames"].setValue("soon")
    host.stage.press("add_point", node)
    nothing, unread, frames = host.stage.messages
    assert nothing.startswith("Nothing says where the object is.")
    assert unread.startswith("The prompt 'point 1001:4' cannot be read.")
    assert frames.startswith("The prompt frames 'soon' cannot be read.")
    assert not list(host.stage.folder.rglob("v001"))


def test_one_click_leads_to_a_clean_plate(host: Any, tmp_path: Path, daemon: Any) -> None:
    """On the sample `moving_ball`."""
    shot, masks, at = ball_of_sample(tmp_path / "shot", range(1001, 1007))
    node = mask_node(host, shot, daemon)
    host.stage.frame = 1001
    node["point"].setValue([float(at[0]), float(masks[1001].shape[0] - at[1])])
    host.stage.press("add_point", node)
    assert press(host, node).startswith("done"), node["status"].value()
    host.stage.press("use", node)
    (removing,) = (n for n in host.allNodes("Group") if n["operation"].value() == "remove")
    assert [removing.input(i) for i in range(3)] == [node.input(0), node, node]
    for name, value in {"color_space": SPACE, "daemon": daemon.address}.items():
        removing[name].setValue(value)
    assert remove(host, removing).startswith("done"), host.stage.messages
    for frame in shot.frames:
        clean, before = given(host, removing, frame), plate(shot, frame)
        hole = masks[frame]
        changed = np.abs(clean["R"] - before["R"]) > 0.01
        assert changed[hole].mean() > 0.8, "the object is gone"
        far = cv2.dilate(hole.astype(np.uint8), np.ones((121, 121), np.uint8)) == 0
        assert far.any()
        assert not changed[far].any(), "the plate's own pixels stay"


def test_a_language_model_is_asked_only_after_a_yes_and_its_areas_are_taken(
    host: Any, ball: Shot, daemon: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VOIDBRIDGE_ASK_URL", raising=False)
    node = clicked(host, mask_node(host, ball, daemon))
    assert press(host, node).startswith("done")
    said = host.stage.messages

    def asked(count: int) -> str:
        host.stage.press("ask", node)
        host.stage.until(lambda: len(said) >= count, "a message")
        return str(said[-1])

    assert "No endpoint is configured, so nothing can be sent" in asked(1)
    server = subprocess.Popen(
        [sys.executable, str(SERVER)], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert server.stdout
    try:
        monkeypatch.setenv(
            "VOIDBRIDGE_ASK_URL", f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        )
        monkeypatch.setenv("VOIDBRIDGE_ASK_MODEL", "good")
        assert "Look at them first. Send them?" in asked(2)
        assert node["affected"].value() == ""
        host.stage.says_yes = True
        assert asked(4) == "The answer is there. Press Track to take its areas as affected."
    finally:
        server.terminate()
        requests = server.communicate()[0].splitlines()
    assert len(requests) == 1, "nothing was sent before the yes"
    folder = Path(str(node["affected"].value())).parent
    assert folder.name == "asked-v001"
    assert press(host, node) == "done: v002, frames 1001-1005"
    found = channels_of(version(node, 1002))
    assert np.array_equal(found["R"] > 0.5, channels_of(folder / "affected.1002.exr")["A"] > 0.5)
    assert (found["R"] > 0.5).any()
