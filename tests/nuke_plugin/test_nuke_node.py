"""The node in a stand-in for Nuke, with real child processes, a real daemon and real OpenEXR files."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voidbridge_stage import (
    channels_of,
    echoed,
    exr_bytes,
    header_of,
    make_shot,
    picture,
    same_bits,
    square,
)
from voidbridge_stage import daemon as daemon_of_ones_own

FRAMES = range(1001, 1004)


def script(shot: Any, frames: range = FRAMES, *, matte: bool = True, affected: bool = False) -> str:
    """Reads of a shot and a new node behind them, as a script has them."""
    from voidbridge_nuke import group

    reads = ""
    for role in ("plate", "matte", "affected"):
        reads += f"""Read {{
 inputs 0
 file "{shot.folder.as_posix()}/{role}.%04d.exr"
 first {frames[0]}
 last {frames[-1]}
 before black
 after black
 raw true
 name {role}_read
}}
set N{role} [stack 0]
"""
    fed = "push $Naffected\n" if affected else "push 0\n"
    fed += "push $Nmatte\n" if matte else "push 0\n"
    return reads + fed + "push $Nplate\n" + group.text()


def node_of(host: Any, shot: Any, frames: range = FRAMES, **more: Any) -> Any:
    return host.stage.load(script(shot, frames, **more))[-1]


@pytest.fixture
def shot(tmp_path: Path) -> Any:
    return make_shot(tmp_path / "plates of März", FRAMES)


def with_echo(node: Any, daemon: Any, **changes: Any) -> Any:
    """The engine that can be computed, with a hard edge, on the daemon of the tests."""
    node["engine"].setValues(["cleanplate", "void", "echo"])
    for name, value in {
        "engine": "echo", "grow": 0, "soften": 0, "daemon": daemon.address, **changes,
    }.items():  # fmt: skip
        node[name].setValue(value)
    return node


def remove(host: Any, node: Any) -> str:
    """Presses Remove and waits; the status line at the end."""
    from voidbridge_nuke import node as conduct

    host.stage.press("remove", node)
    host.stage.until(lambda: not conduct.RUNNING, "the job to end")
    return str(node["status"].value())


def given(host: Any, node: Any, frame: int, view: str = "main") -> dict[str, Any]:
    return host.picture(node, frame, view)


def plate(shot: Any, frame: int) -> dict[str, Any]:
    return {n: p.astype(np.float32) for n, p in channels_of(shot.file("plate", frame)).items()}


def check_removed(host: Any, node: Any, shot: Any, frames: range, channel: str = "R") -> None:
    """The engine's pixels in the hole, the plate's own bits outside."""
    for frame in frames:
        hole = channels_of(shot.file("matte", frame))["A"] > 0
        wanted = echoed(channels_of(shot.file("plate", frame))[channel], hole).astype(np.float32)
        assert same_bits(given(host, node, frame)[channel], wanted), frame


def test_a_shot_is_removed_and_shown_through_the_read(host: Any, shot: Any) -> None:
    """Nothing but the defaults: engine cleanplate, a daemon of its own, a script that was never saved."""
    node = node_of(host, shot)
    node["cache"].setValue(f"{host.stage.folder.as_posix()}/Zwischen ablage")
    assert given(host, node, 1002)["R"].tobytes() == plate(shot, 1002)["R"].tobytes()
    assert remove(host, node) == "done: v001, frames 1001-1003"
    assert host.stage.messages == []
    assert set(host.stage.reloads) == {"Voidbridge1.ReadResult", "Voidbridge1.ReadPlate"}
    for frame in FRAMES:
        matte = channels_of(shot.file("matte", frame))["A"] > 0
        rows, columns = np.nonzero(matte)
        near = np.zeros_like(matte)
        near[
            max(rows.min() - 17, 0) : rows.max() + 18,
            max(columns.min() - 17, 0) : columns.max() + 18,
        ] = True
        shown, own = given(host, node, frame), plate(shot, frame)
        for name in "RGB":
            assert shown[name][~near].tobytes() == own[name][~near].tobytes()
            assert (shown[name] != own[name])[matte].mean() > 0.5
    stages = " ".join(host.stage.said)
    assert "queued" in stages or "running" in stages or "fetched frame 1003" in stages


def test_the_artist_sees_what_happens_and_nothing_of_it_can_be_undone(
    host: Any, shot: Any, daemon: Any
) -> None:
    node = with_echo(node_of(host, shot), daemon, steps=3)
    host.stage.written.clear()
    remove(host, node)
    said = [value for name, value, _ in host.stage.written if name == "status"]
    assert said[0] == "rendering the plate, frames 1001-1003"
    assert any(re.search(r"removing \d of 9", line) for line in said)
    assert said[-1] == "done: v001, frames 1001-1003"
    assert all(level > 0 for _, _, level in host.stage.written)


def test_the_result_is_right_to_the_bit_and_the_rest_of_the_tree_is_untouched(
    host: Any, tmp_path: Path, daemon: Any
) -> None:
    """A float plate with a fourth channel: half is exchanged, and outside the hole the float bits stay."""
    folder = make_shot(tmp_path / "s", FRAMES)
    random = np.random.default_rng(5)
    for frame in FRAMES:
        planes = {
            n: random.normal(1, 9, (48, 64)).astype(np.float32) for n in ("R", "G", "B", "A", "Z")
        }
        planes["R"][0, 0], planes["G"][0, 1] = np.nan, np.inf
        folder.file("plate", frame).write_bytes(exr_bytes(planes))
    node = with_echo(node_of(host, folder), daemon)
    assert remove(host, node) == "done: v001, frames 1001-1003"
    for frame in FRAMES:
        own, shown = plate(folder, frame), given(host, node, frame)
        hole = channels_of(folder.file("matte", frame))["A"] > 0
        outside = ~hole & np.isfinite(own["R"]) & np.isfinite(own["G"])
        for name in "RGB":
            assert shown[name][outside].tobytes() == own[name][outside].tobytes()
            assert (shown[name] != own[name])[hole].all()
        assert np.isnan(shown["R"][0, 0])
        assert np.isinf(shown["G"][0, 1])
        for name in "AZ":
            assert shown[name].tobytes() == own[name].tobytes()


def test_every_output_is_what_its_name_says(host: Any, shot: Any, daemon: Any) -> None:
    node = with_echo(node_of(host, shot), daemon)
    remove(host, node)
    hole = channels_of(shot.file("matte", 1002))["A"] > 0
    result, own = given(host, node, 1002), plate(shot, 1002)
    node["output"].setValue("plate")
    assert same_bits(given(host, node, 1002)["G"], own["G"])
    node["output"].setValue("result layer only")
    layer = given(host, node, 1002)
    assert np.array_equal(layer["A"] > 0, hole)
    assert np.array_equal(layer["R"], np.where(hole, result["R"], 0))
    node["output"].setValue("difference")
    assert np.array_equal(given(host, node, 1002)["B"], abs(result["B"] - own["B"]))
    node["output"].setValue("quadmask")
    assert np.array_equal(given(host, node, 1002)["R"] == 0, hole)


def test_outside_of_the_range_and_when_disabled_the_plate_passes(
    host: Any, tmp_path: Path, daemon: Any
) -> None:
    shot = make_shot(tmp_path / "s", range(1001, 1008))
    node = with_echo(
        node_of(host, shot, range(1001, 1008)),
        daemon,
        frame_range="custom",
        first=1003,
        last=1004,
        handles=2,
    )
    assert remove(host, node) == "done: v001, frames 1003-1004"
    check_removed(host, node, shot, range(1003, 1005))
    version = Path(node["result_files"].value()).parent
    assert sorted(p.name for p in version.glob("plate.*")) == [
        f"plate.main.{f}.exr" for f in range(1001, 1007)
    ]
    assert sorted(p.name for p in version.glob("result.*.exr")) == [
        "result.main.1003.exr",
        "result.main.1004.exr",
    ]
    for frame in (1001, 1002, 1005, 1007):
        assert same_bits(given(host, node, frame)["R"], plate(shot, frame)["R"])
        node["output"].setValue("result layer only")
        assert not np.any(given(host, node, frame)["R"])
        node["output"].setValue("result")
    node["disable"].setValue(True)
    assert same_bits(given(host, node, 1003)["R"], plate(shot, 1003)["R"])


def test_the_quadmask_preview_shows_all_four_codes(host: Any, shot: Any, daemon: Any) -> None:
    for frame in FRAMES:
        shot.write("affected", frame, {"A": square(at=(10 + frame % 5, 25))})
    node = node_of(host, shot, affected=True)
    host.stage.press("preview", node)
    matte, affected = (channels_of(shot.file(r, 1001))["A"] > 0 for r in ("matte", "affected"))
    codes = np.rint(given(host, node, 1001)["R"] * 255)
    assert np.array_equal(codes, np.select([matte & affected, matte, affected], [63, 0, 127], 255))
    host.stage.press("preview", node)
    assert node["output"].value() == "result"


@pytest.mark.parametrize("channel", ["red", "green", "blue", "alpha"])
def test_the_matte_is_taken_from_the_chosen_channel_and_inverted_on_demand(
    host: Any, tmp_path: Path, channel: str
) -> None:
    shot = make_shot(tmp_path / "s", range(1, 2))
    planes = {n: np.full((48, 64), 0.5 + i / 8, np.float16) for i, n in enumerate("RGBA")}
    shot.write("matte", 1, planes)
    node = node_of(host, shot, range(1, 2))
    node["matte_channel"].setValue(channel)
    sent = host.picture(node.node("MatteAlpha"), 1)["A"]
    assert np.all(sent == planes[channel[0].upper()])
    node["matte_invert"].setValue(True)
    assert np.all(host.picture(node.node("MatteAlpha"), 1)["A"] == 1 - planes[channel[0].upper()])


def test_time_code_and_metadata_of_the_plate_are_in_the_result(
    host: Any, tmp_path: Path, daemon: Any
) -> None:
    shot = make_shot(tmp_path / "s", FRAMES, owner="the plate's")
    node = with_echo(node_of(host, shot), daemon)
    remove(host, node)
    assert (
        header_of(Path(node["result_files"].value().replace("%V", "main") % 1002))["owner"]
        == "the plate's"
    )


def test_proxies_are_switched_off_while_the_plate_is_rendered(
    host: Any, shot: Any, daemon: Any
) -> None:
    node = with_echo(node_of(host, shot), daemon)
    host.root()["proxy"].setValue(True)
    assert remove(host, node) == "done: v001, frames 1001-1003"
    assert host.root()["proxy"].value() is True
    check_removed(host, node, shot, FRAMES)


def test_each_view_is_a_job_of_its_own_and_exact(host: Any, tmp_path: Path, daemon: Any) -> None:
    shot = make_shot(tmp_path / "s", FRAMES)
    for i, view in enumerate(("left", "right")):
        for frame in FRAMES:
            shot.file(f"plate.{view}", frame).write_bytes(exr_bytes(picture(90 * i + frame)))
    host.stage.views = ["left", "right"]
    text = script(shot).replace("/plate.%04d.exr", "/plate.%V.%04d.exr")
    node = with_echo(host.stage.load(text)[-1], daemon)
    assert remove(host, node) == "done: v001, frames 1001-1003"
    for view in ("left", "right"):
        own = channels_of(shot.file(f"plate.{view}", 1002))["R"]
        hole = channels_of(shot.file("matte", 1002))["A"] > 0
        assert same_bits(given(host, node, 1002, view)["R"], echoed(own, hole).astype(np.float32))


@pytest.mark.parametrize(
    ("more", "changes", "words"),
    [
        ({"matte": False}, {}, "input matte"),
        ({}, {"frame_range": "custom", "first": 5, "last": 4}, "5-4"),
        ({}, {"views_wanted": "left"}, "no view left"),
        ({}, {"cache": "/dev/null/x"}, "/dev/null/x"),
    ],
    ids=["no matte", "range", "view", "cache folder"],
)
def test_what_cannot_be_done_is_one_message_and_nothing_is_rendered(
    host: Any, shot: Any, more: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    node = node_of(host, shot, **more)
    for name, value in changes.items():
        node[name].setValue(value)
    host.stage.press("remove", node)
    (message,) = host.stage.messages
    assert words in message
    assert node["status"].value() in ("", "not rendered")


def test_a_missing_daemon_is_said_within_seconds_with_address_and_command(
    host: Any, shot: Any
) -> None:
    node = with_echo(node_of(host, shot), type("Gone", (), {"address": "tcp://127.0.0.1:9"}))
    text = remove(host, node)
    assert text.startswith("failed: ")
    assert "127.0.0.1:9" in text
    assert "voidbridge serve" in text
    assert not list(host.stage.folder.rglob("v001"))


def test_a_cancelled_job_leaves_nothing_half_and_the_earlier_result(
    host: Any, shot: Any, daemon: Any
) -> None:
    from voidbridge_nuke import node as conduct

    node = with_echo(node_of(host, shot), daemon)
    node["cache"].setValue(host.stage.folder.as_posix())
    remove(host, node)
    node["steps"].setValue(1000)
    host.stage.press("remove", node)
    host.stage.until(lambda: "removing" in node["status"].value(), "the job to run")
    host.stage.press("cancel", node)
    host.stage.until(lambda: not conduct.RUNNING, "the cancel")
    assert node["status"].value() == "cancelled; stale: other than in v001: steps"
    assert not list(host.stage.folder.rglob("v002"))
    check_removed(host, node, shot, FRAMES)


def test_the_cancel_of_nukes_own_bar_stops_the_job(host: Any, shot: Any, daemon: Any) -> None:
    from voidbridge_nuke import node as conduct

    node = with_echo(node_of(host, shot), daemon, steps=1000)
    host.stage.press("remove", node)
    host.stage.until(lambda: "removing" in node["status"].value(), "the job to run")
    host.stage.cancel_progress = True
    host.stage.until(lambda: not conduct.RUNNING, "the cancel")
    assert node["status"].value() == "cancelled; not rendered"


def test_a_cancelled_plate_starts_nothing_and_the_writes_are_disabled_again(
    host: Any, shot: Any
) -> None:
    node = node_of(host, shot)
    host.stage.cancel_render_at = 1002
    assert remove(host, node) == "not rendered"
    assert host.stage.messages == []
    assert all(n["disable"].value() for n in node.nodes() if n.Class() == "Write")


def test_a_plate_frame_that_is_missing_is_named_and_nothing_is_sent(host: Any, shot: Any) -> None:
    shot.remove("plate", [1002])
    node = node_of(host, shot)
    host.stage.press("remove", node)
    (message,) = host.stage.messages
    assert "plate.1002.exr" in message


def test_a_daemon_that_is_killed_on_the_way_is_waited_for(host: Any, shot: Any) -> None:
    from voidbridge_nuke import node as conduct

    with daemon_of_ones_own() as daemon:
        node = with_echo(node_of(host, shot), daemon, steps=30)
        host.stage.press("remove", node)
        host.stage.until(lambda: "removing" in node["status"].value(), "the job to run")
        daemon.kill()
        daemon.start()
        host.stage.until(lambda: not conduct.RUNNING, "the job to end")
        assert node["status"].value() == "done: v001, frames 1001-1003"
    check_removed(host, node, shot, FRAMES)


@pytest.mark.parametrize("what", ["renamed", "deleted", "another script"])
def test_a_node_may_change_its_fate_while_it_is_at_work(
    host: Any, shot: Any, daemon: Any, what: str
) -> None:
    from voidbridge_nuke import cache
    from voidbridge_nuke import node as conduct

    node = with_echo(node_of(host, shot), daemon, steps=5)
    node["cache"].setValue(host.stage.folder.as_posix())
    host.stage.press("remove", node)
    if what == "renamed":
        node["name"].setValue("Elsewhere")
    elif what == "deleted":
        host.delete(node)
    else:
        host.stage.clear()
    host.stage.until(lambda: not conduct.RUNNING, "the job to end")
    assert host.stage.messages == []
    (version,) = cache.versions([f"{host.stage.folder.as_posix()}/{node['node_id'].value()}"])
    assert cache.is_complete(version)
    if what == "renamed":
        assert node["status"].value() == "done: v001, frames 1001-1003"


def duplicate(host: Any, node: Any) -> Any:
    """As copy and paste do: the same knobs, another name."""
    from voidbridge_nuke import group

    text = "\n".join(
        f" {line.split()[0]} {group.quoted(node[line.split()[0]].value())}"
        if line.startswith(" ") and line.split()[0] in node.knobs() and not line.startswith(" name")
        else line
        for line in group.text().splitlines()
    )
    (made,) = host.stage.load("push 0\npush 0\npush 0\n" + text)
    for i in range(3):
        made.setInput(i, node.input(i))
    return made


def test_a_copy_made_at_work_is_a_node_of_its_own(host: Any, shot: Any, daemon: Any) -> None:
    from voidbridge_nuke import node as conduct

    node = with_echo(node_of(host, shot), daemon, steps=5)
    host.stage.press("remove", node)
    copy = duplicate(host, node)
    assert copy["node_id"].value() != node["node_id"].value()
    assert copy["status"].value() == "not rendered"
    copy["engine"].setValues(["echo"])
    host.stage.press("remove", copy)
    assert len(conduct.RUNNING) == 2
    host.stage.until(lambda: not conduct.RUNNING, "both jobs")
    for made in (node, copy):
        assert made["status"].value() == "done: v001, frames 1001-1003"
        check_removed(host, made, shot, FRAMES)
    assert Path(node["result_files"].value()).parent != Path(copy["result_files"].value()).parent


def test_pressing_twice_says_so(host: Any, shot: Any, daemon: Any) -> None:
    from voidbridge_nuke import node as conduct

    node = with_echo(node_of(host, shot), daemon, steps=5)
    host.stage.press("remove", node)
    host.stage.press("remove", node)
    assert "at work already" in host.stage.messages[0]
    host.stage.until(lambda: not conduct.RUNNING, "the job to end")


def test_a_changed_setting_shows_as_stale_and_going_back_as_done(
    host: Any, shot: Any, daemon: Any
) -> None:
    node = with_echo(node_of(host, shot), daemon)
    remove(host, node)
    ready = node["tile_color"].value()
    node["grow"].setValue(3)
    assert node["status"].value() == "stale: other than in v001: grow"
    assert node["state"].value() == "stale v001"
    assert node["tile_color"].value() != ready
    node["grow"].setValue(0)
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
        assert node["status"].value() == f"stale: other than in v001: {role}"
        read["file"].setValue(old.replace("plates", "elsewhere"))  # another machine
        host.stage.call(node["knobChanged"].value(), node, host.Knob("showPanel"))
        assert node["status"].value() == "done: v001, frames 1001-1003"


def test_earlier_results_are_kept_and_can_be_shown_again(host: Any, shot: Any, daemon: Any) -> None:
    node = with_echo(node_of(host, shot), daemon)
    remove(host, node)
    node["seed"].setValue(3)
    assert remove(host, node) == "done: v002, frames 1001-1003"
    assert node["version_shown"].values() == ["none", "v001", "v002"]
    node["version_shown"].setValue("v001")
    assert node["status"].value() == "stale: other than in v001: seed"
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
    assert node["status"].value() == "v001 lacks 1 files, result.main.1002.exr first"
    shutil.rmtree(Path(node["result_files"].value()).parent)
    node["grow"].setValue(0)
    assert node["status"].value().startswith("the result is not where it was: ")


def test_check_connection_tells_what_it_found(host: Any, shot: Any, daemon: Any) -> None:
    node = with_echo(node_of(host, shot), daemon)
    host.stage.press("check", node)
    host.stage.until(lambda: host.stage.messages, "the answer")
    assert host.stage.messages == [
        "The connection is good: a tiny shot went there and came back right."
    ]


def test_the_report_has_the_knobs_and_the_last_job(host: Any, shot: Any, daemon: Any) -> None:
    node = with_echo(node_of(host, shot), daemon)
    remove(host, node)
    host.stage.press("report", node)  # this host has no Qt and so no clipboard
    (report,) = host.stage.messages
    for words in ("engine = echo", "last job: ", "13.2v8", daemon.address):
        assert words in report


def test_a_node_of_a_later_release_is_left_as_it_is(host: Any, shot: Any) -> None:
    text = script(shot).replace("\n node_version 1\n", "\n node_version 99\n")
    node = host.stage.load(text)[-1]
    assert (node["node_version"].value(), node["node_id"].value()) == (99, "")
    assert "later release" in node["status"].value()


def test_a_node_that_lacks_a_knob_gets_it_with_its_default(host: Any, shot: Any) -> None:
    text = re.sub(r" addUserKnob \{7 grain_amount .*\n grain_amount .*\n", "", script(shot))
    node = host.stage.load(text.replace("\n node_version 1\n", "\n node_version 0\n"))[-1]
    assert node["grain_amount"].value() == 1.0
    assert node["node_version"].value() == 1


def test_the_menu_makes_a_node(host: Any) -> None:
    exec(host.stage.commands["Voidbridge"], {})
    (node,) = host.allNodes("Group")
    assert node["node_id"].value()


def test_the_thread_of_a_job_that_touches_the_host_would_be_found(host: Any) -> None:
    import threading

    caught: list[BaseException] = []

    def touch() -> None:
        try:
            host.root()
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=touch)
    thread.start()
    thread.join()
    assert "outside of the main thread" in str(caught[0])
    with pytest.raises(RuntimeError, match="hang"):
        host.executeInMainThread(print)
    with pytest.raises(AttributeError):
        _ = host.no_such_function
    with pytest.raises(NotImplementedError):
        _ = host.selectedNode


def test_the_stand_in_has_only_functions_of_types_nuke(host: Any) -> None:
    functions = {
        name
        for name, value in vars(host).items()
        if callable(value) and name[0].islower() and hasattr(value, "__wrapped__")
    }
    own = {"checked"}
    assert len(functions) > 15
    assert functions - own <= host.NAMES
