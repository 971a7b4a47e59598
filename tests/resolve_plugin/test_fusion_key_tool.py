"""The tool Key end to end: a real child process, a real daemon, and OpenEXR files of a drawn shot on a screen."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import voidbridge_stage as stage
from voidbridge_shots import channels_of, make_screen_shot

FILES = range(1001, 1004)


@pytest.fixture
def shot(tmp_path: Path) -> Any:
    return make_screen_shot(tmp_path / "Blätter vor Grün", FILES)


def key_tool(host: Any, shot: Any, address: str, *roles: str, **values: Any) -> Any:
    comp = host.comp(0, len(shot.frames) - 1)
    sources = {role: host.loader(comp, role, shot.file(role, FILES[0])) for role in roles}
    group = host.new_tool(comp, "key", **sources)
    host.choose(group, **{"color_space": "Linear Rec.709 (sRGB)", "frame_offset": FILES[0],
                          "depth": "32 bit float", "daemon": address, **values})  # fmt: skip
    return group


def key(host: Any, group: Any) -> str:
    host.press(group, "Key")
    return str(host.until(group, lambda s: s.startswith(("done", "failed", "cancelled"))))


def version(host: Any) -> Path:
    (found,) = host.folder.glob("Voidbridge/*/v001")
    return Path(found)


def test_a_press_gives_the_foreground_in_every_output(host: Any, shot: Any, daemon: Any) -> None:
    group = key_tool(host, shot, daemon.address, "plate", "hint", despill=0)
    plate = channels_of(shot.file("plate", 1002))
    assert np.array_equal(host.shown(group, 1)["G"], plate["G"])
    assert key(host, group) == "done: v001, frames 0-2 (files 1001-1003)"
    for frame, number in enumerate(FILES):
        file = channels_of(version(host) / f"result.{number}.exr")
        shown = {}
        for output in ("premultiplied", "straight", "alpha"):
            host.choose(group, output=output)
            shown[output] = host.shown(group, frame)
            assert np.array_equal(shown[output]["A"], file["alpha.A"])
        for c in "RGB":
            assert np.array_equal(shown["premultiplied"][c], file[c])
            assert np.array_equal(shown["straight"][c], file[f"fg.{c}"])
            assert np.array_equal(shown["alpha"][c], file["alpha.A"])
            assert np.array_equal(host.shown(group, frame, 2)[c], file[f"screen.{c}"])
        truth = channels_of(shot.file("truth", number))["A"]
        assert np.abs(file["A"] - truth).sum() < 0.05 * truth.size
    assert host.status(group) == "done: v001, frames 0-2 (files 1001-1003)"
    host.choose(group, core=2)
    assert host.status(group) == "out of date: core changed since v001"


def test_a_picked_color_a_clean_screen_and_an_inverted_hint_reach_the_engine(
    host: Any, shot: Any, daemon: Any
) -> None:
    group = key_tool(
        host, shot, daemon.address, "plate", "hint", "screen",
        screen_color="picked", screen_red=0.06, screen_green=0.42, screen_blue=0.1,
        screen_frames="1", hint_invert=True,
    )  # fmt: skip
    assert key(host, group).startswith("done")
    folder = version(host)
    assert [path.name for path in folder.glob("screen.*.exr")] == ["screen.1002.exr"]
    hint = channels_of(folder / "hint.1001.exr")["A"]
    assert np.array_equal(hint, 1 - channels_of(shot.file("hint", 1001))["A"])
    record = json.loads((folder / "result.1001-1003.voidbridge.json").read_text())
    assert record["settings"]["screen_color"] == "0.06 0.42 0.1"


def test_a_damaged_hint_is_named_by_its_frame_and_leaves_no_version(
    host: Any, shot: Any, daemon: Any
) -> None:
    hint = channels_of(shot.file("hint", 1001))["A"]
    shot.write("hint", 1001, {"A": hint * 255})
    group = key_tool(host, shot, daemon.address, "plate", "hint")
    text = key(host, group)
    assert text.startswith("failed: hint frame 1001 (hint.1001.exr), channel A, goes from 0 to 255")
    assert not list(host.folder.glob("Voidbridge/*/v001"))


def test_a_missing_hint_is_named_before_anything_is_sent(host: Any, shot: Any, daemon: Any) -> None:
    group = key_tool(host, shot, daemon.address, "plate", "hint")
    shot.file("hint", 1002).unlink()
    host.press(group, "Key")
    assert "Fusion did not write frame 1 of the hint" in host.status(group)
    assert not list(host.folder.glob("Voidbridge/*/v001"))


def test_nothing_at_the_plate_is_said_before_anything_is_rendered(
    host: Any, shot: Any, daemon: Any
) -> None:
    group = key_tool(host, shot, daemon.address, "hint")
    host.press(group, "Key")
    assert host.status(group) == "Nothing is connected to the input plate. Connect the plate."


def test_a_cancel_ends_the_job_and_leaves_nothing(host: Any, tmp_path: Path, daemon: Any) -> None:
    shot = make_screen_shot(tmp_path / "long", range(1001, 1041), grain=9)
    group = key_tool(host, shot, daemon.address, "plate", "hint")
    host.press(group, "Key")
    host.until(group, lambda s: "keying" in s)
    host.press(group, "Cancel")
    if "cancelled" not in host.status(group):
        host.until(group, lambda s: "cancelled" in s)
    assert host.status(group) == "cancelled; not rendered"
    assert not list(host.folder.glob("Voidbridge/*/v001/*.tmp"))


def test_a_key_survives_the_kill_of_its_worker(host: Any, tmp_path: Path) -> None:
    shot = make_screen_shot(tmp_path / "killed", range(1001, 1021))
    with stage.daemon() as daemon:
        daemon.wait_for_worker()
        group = key_tool(host, shot, daemon.address, "plate", "hint")
        with daemon.held():
            host.press(group, "Key")
            stage.eventually(daemon.has_running_job, "the job to run")
            os.kill(daemon.worker_pids()[0], signal.SIGKILL)
        text = host.until(group, lambda s: s.startswith(("done", "failed")))
    assert text == "done: v001, frames 0-19 (files 1001-1020)"


def test_the_script_for_a_selected_tool_adds_one_and_then_fetches(host: Any, shot: Any) -> None:
    comp = host.comp()
    plate = host.loader(comp, "plate", shot.file("plate", 1001))
    script = (host.plugin / "Scripts/Tool/Voidbridge Key.lua").read_text()
    host.run(script, plate)
    (group,) = (tool for tool in comp.tools if tool.ID == "GroupOperator")
    assert group.Name == "VoidbridgeKey"
    host.run(script, group)
    assert host.status(group) == "not rendered"
