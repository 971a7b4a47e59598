"""The node Key end to end: a real child process, a real daemon, and EXR files of a drawn shot on a screen."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voidbridge_scripts import FRAMES, given, key_script, plate
from voidbridge_shots import channels_of, make_screen_shot
from voidbridge_stage import daemon as daemon_of_ones_own

SPACE = "Linear Rec.709 (sRGB)"


@pytest.fixture
def screened(tmp_path: Path) -> Any:
    return make_screen_shot(tmp_path / "Blätter vor Grün", FRAMES)


def key_node(host: Any, shot: Any, daemon: Any, *roles: str, **changes: Any) -> Any:
    node = host.stage.load(key_script(shot, roles=roles))[-1]
    values = {"color_space": SPACE, "daemon": daemon.address, "depth": "32 bit float"}
    for name, value in {**values, **changes}.items():
        node[name].setValue(value)
    return node


def key(host: Any, node: Any) -> str:
    """Presses Key and waits; the status line at the end."""
    from voidbridge_nuke import controller

    host.stage.press("key", node)
    host.stage.until(lambda: not controller.RUNNING, "the job to end")
    return str(node["status"].value())


def result(node: Any, frame: int) -> dict[str, Any]:
    """The file of a result."""
    return channels_of(Path(str(node["result_files"].value()).replace("%V", "main") % frame))


def test_a_press_gives_the_foreground_in_every_output(
    host: Any, screened: Any, daemon: Any
) -> None:
    node = key_node(host, screened, daemon, "plate", "hint", despill=0.0)
    assert key(host, node) == "done: v001, frames 1001-1003"
    for frame in FRAMES:
        file = result(node, frame)
        shown = {}
        for output in node["output"].values():
            node["output"].setValue(output)
            shown[output] = given(host, node, frame)
        for c in "RGB":
            assert np.array_equal(shown["premultiplied"][c], file[c])
            assert np.array_equal(shown["straight"][c], file[f"fg.{c}"])
            assert np.array_equal(shown["alpha"][c], file["alpha.A"])
            assert np.array_equal(shown["clean screen"][c], file[f"screen.{c}"])
            assert np.array_equal(shown["plate"][c], plate(screened, frame)[c])
            back = file[c] + (1 - file["A"]) * file[f"screen.{c}"]
            assert np.abs(back - plate(screened, frame)[c])[file["A"] > 0.02].max() < 1 / 255
        for output in ("premultiplied", "straight", "alpha"):
            assert np.array_equal(shown[output]["A"], file["alpha.A"])
        assert set(shown["all layers"]) == set(file)
        truth = channels_of(screened.file("truth", frame))["A"]
        assert np.abs(file["A"] - truth).sum() < 0.05 * truth.size


def test_a_layer_that_is_named_is_keyed_in_place_of_red_green_and_blue(
    host: Any, screened: Any, daemon: Any
) -> None:
    node = key_node(host, screened, daemon, "plate", "hint", output="all layers")
    assert key(host, node) == "done: v001, frames 1001-1003"
    wanted = {frame: result(node, frame) for frame in FRAMES}
    for frame in FRAMES:
        light = channels_of(screened.file("plate", frame))
        gray = {name: np.full_like(plane, 0.5) for name, plane in light.items()}
        layer = {f"beauty.{name}": plane for name, plane in light.items()}
        screened.write("plate", frame, {**gray, **layer})
    node["layer"].setValue("beauty")
    assert key(host, node) == "done: v002, frames 1001-1003"
    for frame in FRAMES:
        assert all(
            np.array_equal(result(node, frame)[name], wanted[frame][name]) for name in "RGBA"
        )
    node["output"].setValue("plate")
    assert np.array_equal(given(host, node, 1002)["R"], plate(screened, 1002)["R"])
    node["layer"].setValue("")
    host.stage.settle()
    assert node["status"].value() == "out of date: layer changed since v002"


def test_a_layer_that_the_plate_lacks_is_one_message_that_lists_those_it_has(
    host: Any, screened: Any, daemon: Any
) -> None:
    node = key_node(host, screened, daemon, "plate", layer="specular")
    host.stage.press("key", node)
    (message,) = host.stage.messages
    assert "The plate has no layer specular with red, green and blue" in message


def test_outside_of_its_range_the_node_passes_the_plate(
    host: Any, screened: Any, daemon: Any
) -> None:
    node = key_node(host, screened, daemon, "plate", frame_range="custom", first=1002, last=1002)
    assert key(host, node) == "done: v001, frames 1002-1002"
    assert np.array_equal(given(host, node, 1001)["G"], plate(screened, 1001)["G"])
    assert not np.array_equal(given(host, node, 1002)["G"], plate(screened, 1002)["G"])


def test_a_picked_color_a_clean_screen_and_an_inverted_hint_reach_the_engine(
    host: Any, screened: Any, daemon: Any
) -> None:
    node = key_node(
        host, screened, daemon, "plate", "hint", "screen",
        screen_color="picked", screen_frames="1002", hint_invert=True,
    )  # fmt: skip
    node["screen_rgb"].setValue([0.06, 0.42, 0.1])
    assert key(host, node) == "done: v001, frames 1001-1003"
    folder = Path(str(node["result_files"].value())).parent
    assert [path.name for path in folder.glob("screen.*")] == ["screen.main.1002.exr"]
    hint = channels_of(folder / "hint.main.1001.exr")["A"]
    assert np.array_equal(hint, 1 - channels_of(screened.file("hint", 1001))["A"])
    record = json.loads((folder / "result.main.1001-1003.voidbridge.json").read_text())
    assert record["settings"]["screen_color"] == "0.06 0.42 0.1"
    node["screen_rgb"].setValue([0.05, 0.4, 0.1])
    host.stage.settle()
    assert node["status"].value() == "out of date: screen_color changed since v001"


def test_a_damaged_hint_is_named_by_its_frame_and_leaves_no_version(
    host: Any, screened: Any, daemon: Any
) -> None:
    node = key_node(host, screened, daemon, "plate", "hint")
    hint = channels_of(screened.file("hint", 1001))["A"]
    screened.write("hint", 1001, {"A": hint * 255})
    text = key(host, node)
    assert text.startswith(
        "failed: hint frame 1001 (hint.main.1001.exr), channel A, goes from 0 to 255"
    )
    assert "Bring the hint into the range from 0 to 1" in text
    assert not list(host.stage.folder.rglob("v001"))


def test_a_missing_hint_is_named_before_anything_is_sent(
    host: Any, screened: Any, daemon: Any
) -> None:
    screened.file("hint", 1002).unlink()
    node = key_node(host, screened, daemon, "plate", "hint")
    host.stage.press("key", node)
    (message,) = host.stage.messages
    assert "hint.1002.exr" in message
    assert node["status"].value() == "not rendered"


def test_nothing_at_the_plate_is_said_before_anything_is_rendered(
    host: Any, screened: Any, daemon: Any
) -> None:
    node = key_node(host, screened, daemon, "hint")
    host.stage.press("key", node)
    assert host.stage.messages == ["Nothing is connected to the input plate. Connect the plate."]


def test_a_cancel_ends_the_job_and_leaves_nothing(host: Any, tmp_path: Path, daemon: Any) -> None:
    from voidbridge_nuke import controller

    shot = make_screen_shot(tmp_path / "long", range(1001, 1041), grain=7)
    node = host.stage.load(key_script(shot, range(1001, 1041)))[-1]
    for name, value in {"color_space": SPACE, "daemon": daemon.address}.items():
        node[name].setValue(value)
    host.stage.press("key", node)
    host.stage.until(lambda: "keying" in node["status"].value(), "the job to run")
    host.stage.press("cancel", node)
    host.stage.until(lambda: not controller.RUNNING, "the cancel")
    assert node["status"].value() == "cancelled; not rendered"
    assert not list(host.stage.folder.rglob("v001/*.tmp"))


def test_a_key_survives_the_kill_of_its_worker(host: Any, tmp_path: Path) -> None:
    from voidbridge_nuke import controller

    frames = range(1001, 1021)
    shot = make_screen_shot(tmp_path / "killed", frames)
    with daemon_of_ones_own() as daemon:
        daemon.wait_for_worker()
        node = host.stage.load(key_script(shot, frames))[-1]
        for name, value in {"color_space": SPACE, "daemon": daemon.address}.items():
            node[name].setValue(value)
        with daemon.held():
            host.stage.press("key", node)
            host.stage.until(daemon.has_running_job, "the job to run")
            os.kill(daemon.worker_pids()[0], signal.SIGKILL)
        host.stage.until(lambda: not controller.RUNNING, "the job to end")
    assert node["status"].value() == "done: v001, frames 1001-1020"


def test_the_guard_knows_a_key_that_is_out_of_date(host: Any, screened: Any, daemon: Any) -> None:
    node = key_node(host, screened, daemon, "plate", guard="refuse")
    folder = host.stage.folder.as_posix()
    write = f'push 0\nWrite {{\n file "{folder}/out.%04d.exr"\n raw true\n name Comp\n}}'
    comp = host.stage.load(write)[-1]
    comp.setInput(0, node)
    with pytest.raises(RuntimeError, match="VoidbridgeKey1 is not rendered"):
        host.execute(comp, 1001, 1001)
    assert key(host, node).startswith("done")
    host.execute(comp, 1001, 1001)
    assert np.array_equal(
        channels_of(host.stage.folder / "out.1001.exr")["R"],
        result(node, 1001)["R"].astype(np.float16),
    )
    node["core"].setValue(3)
    with pytest.raises(RuntimeError, match="out of date: core changed"):
        host.execute(comp, 1001, 1001)
    node["output"].setValue("plate")
    host.execute(comp, 1001, 1001)


def test_the_menu_makes_a_node_of_each_operation(host: Any) -> None:
    for label in ("Voidbridge", "Voidbridge Key"):
        exec(host.stage.commands[label], {})
    names = {str(node["operation"].value()): node.name() for node in host.allNodes("Group")}
    assert names == {"remove": "Voidbridge1", "key": "VoidbridgeKey1"}
