"""The tool in a stand-in for Fusion, with real child processes, a real daemon and real OpenEXR files."""

from __future__ import annotations

import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voidbridge_shots import channels_of, echoed, make_shot, picture, same_bits, square
from voidbridge_stage import eventually

FILES = range(1001, 1004)
RGB = "RGB"


@pytest.fixture
def shot(tmp_path: Path) -> Any:
    """Other pictures for every test: the daemon, which they share, answers what it knows from its store."""
    seed = zlib.crc32(tmp_path.name.encode()) % 9000
    return make_shot(tmp_path / "plates of März", FILES, seed=seed)


def tool_of(host: Any, comp: Any, shot: Any, **values: Any) -> Any:
    """A tool behind Loaders of a shot. The comp begins at 0, the files at 1001."""
    sources = {
        role: host.loader(comp, role, shot.file(role, shot.frames[0]))
        for role in ("plate", "matte")
    }
    group = host.new_tool(comp, **sources)
    host.choose(
        group, **{"color_space": "Linear Rec.709 (sRGB)", "frame_offset": shot.frames[0], **values}
    )
    return group


def with_echo(host: Any, group: Any, daemon: Any, **values: Any) -> Any:
    """The engine that can be computed, with a hard edge, on the daemon of the tests."""
    choices = host.module("voidbridge.operations")["remove"]["by_name"]["engine"]["choices"]
    choices[3] = "echo"
    host.choose(
        group, **{"engine": "echo", "grow": 0, "soften": 0, "daemon": daemon.address, **values}
    )
    return group


def check_removed(host: Any, group: Any, shot: Any, comp_frames: range) -> None:
    """The engine's pixels in the hole, the plate's own bits outside."""
    for frame in comp_frames:
        number = frame + shot.frames[0]
        hole = channels_of(shot.file("matte", number))["A"] > 0
        shown = host.shown(group, frame)
        for name, own in channels_of(shot.file("plate", number)).items():
            wanted = echoed(own, hole).astype(np.float32)
            assert same_bits(shown[name], wanted), (frame, name)


def test_a_shot_is_removed_and_shown(host: Any, shot: Any, daemon: Any) -> None:
    comp = host.comp(0, 2)
    group = with_echo(host, tool_of(host, comp, shot), daemon)
    before = host.shown(group, 1)
    assert (
        before["R"].tobytes() == channels_of(shot.file("plate", 1002))["R"].astype("f4").tobytes()
    )
    host.press(group, "Remove")
    assert host.until(group, lambda s: "done" in s) == "done: v001, frames 0-2 (files 1001-1003)"
    check_removed(host, group, shot, range(3))


def test_no_file_of_the_artist_is_touched_where_plates_and_results_meet(
    host: Any, shot: Any, daemon: Any
) -> None:
    """The cache folder is the plates' own, and the first version's folder is there with files of the same names."""
    comp = host.comp(0, 2)
    group = with_echo(host, tool_of(host, comp, shot), daemon, cache=shot.folder.as_posix())
    host.press(group, "Remove")
    assert host.until(group, lambda s: "done" in s).startswith("done: v001")
    (first,) = shot.folder.glob("*/v001")
    for path in first.iterdir():
        if path.suffix == ".exr":
            path.write_bytes(b"the work of a week")
        elif path.is_file():
            path.unlink()
    before = {path: path.read_bytes() for path in shot.folder.rglob("*.exr")}
    host.choose(group, seed=5)
    host.press(group, "Remove")
    assert host.until(group, lambda s: "done" in s).startswith("done: v002")
    assert {path: path.read_bytes() for path in before} == before


def folders(host: Any) -> list[Path]:
    """Of all versions of all tools whose cache is the default."""
    return sorted(host.folder.glob("Voidbridge/*/v*"))


def test_the_artist_sees_what_happens(host: Any, shot: Any, daemon: Any) -> None:
    comp = host.comp(0, 2)
    group = with_echo(host, tool_of(host, comp, shot), daemon, steps=80)
    with daemon.held():
        host.press(group, "Remove")
        assert host.status(group) == "working; press Fetch"
        eventually(daemon.has_running_job, "the job to run")
        host.press(group, "Remove")
        assert host.status(group).startswith("This tool is already working.")
    host.until(group, lambda s: s.startswith("removing"))
    host.until(group, lambda s: s.startswith("done"))
    assert group.TileColor == {"R": 0.25, "G": 0.37, "B": 0.5}
    assert set(comp.undone) >= {
        "Voidbridge: render",
        "Voidbridge: status",
        "Voidbridge: show a result",
    }


def test_a_changed_control_tells_how_the_job_stands_and_loads_nothing(
    host: Any, shot: Any, daemon: Any
) -> None:
    comp = host.comp(0, 2)
    group = with_echo(host, tool_of(host, comp, shot), daemon, steps=60)
    host.press(group, "Remove")
    seen = []
    deadline = time.monotonic() + 120
    while host.status(group) != "finished; press Fetch":
        assert time.monotonic() < deadline, seen[-3:]
        host.choose(group, grow=len(seen) % 2)
        seen.append(host.status(group))
    assert any(text.startswith("removing") for text in seen), seen[:3]
    assert same_bits(host.shown(group, 1)["R"], comp.tools[0].image(1)["R"].astype(np.float32))
    host.press(group, "Fetch")
    assert host.status(group).startswith(("done", "out of date"))


def test_the_render_is_of_the_saver_alone_and_everything_is_as_it_was(
    host: Any, shot: Any, daemon: Any
) -> None:
    comp = host.comp(0, 2)
    group = with_echo(host, tool_of(host, comp, shot), daemon)
    host.press(group, "Remove")
    assert [(r["Tool"].data["Voidbridge"], r["Start"], r["End"], r["Wait"]) for r in comp.rendered] == [
        ("save_plate", 0, 2, True), ("save_matte", 0, 2, True),
    ]  # fmt: skip
    savers = [tool for tool in comp.tools if tool.ID == "Saver"]
    assert all(saver.passed and saver.inputs["Clip"] == "" for saver in savers)
    host.until(group, lambda s: "done" in s)
    (version,) = folders(host)
    assert sorted(p.name for p in version.glob("*.exr")) == sorted(
        f"{role}.{number}.exr" for role in ("plate", "matte", "result") for number in FILES
    )
    assert set(channels_of(version / "matte.1001.exr")) == {"A"}
    assert channels_of(version / "plate.1001.exr")["R"].dtype == np.float16


def test_a_render_that_stops_is_said_and_leaves_nothing(host: Any, shot: Any, daemon: Any) -> None:
    comp = host.comp(0, 2)
    group = with_echo(host, tool_of(host, comp, shot), daemon)
    comp.stop_render_at = 1
    host.press(group, "Remove")
    assert "did not write frame 1 of the plate: it was stopped" in host.status(group)
    assert folders(host) == []
    assert all(tool.passed for tool in comp.tools if tool.ID == "Saver")
    comp.stop_render_at = None
    shot.remove("plate", [1002])
    host.press(group, "Remove")
    assert "did not write frame 1 of the plate" in host.status(group)
    assert "VoidbridgePlate" not in host.status(group)


def test_a_locked_comp_is_unlocked_for_it_and_locked_again(
    host: Any, shot: Any, daemon: Any
) -> None:
    comp = host.comp(0, 2)
    group = with_echo(host, tool_of(host, comp, shot), daemon)
    comp.locks = 2
    host.press(group, "Remove")
    assert comp.locks == 2
    comp.locks = 0
    assert host.until(group, lambda s: "done" in s).startswith("done: v001")


def test_a_comp_of_2398_frames_a_second_has_whole_frames(host: Any, shot: Any, daemon: Any) -> None:
    comp = host.comp(0, 2)
    comp.hair = 1e-7
    comp.render_range = (0.9999999, 2.0000001)
    group = with_echo(host, tool_of(host, comp, shot), daemon)
    host.press(group, "Remove")
    assert host.until(group, lambda s: "done" in s) == "done: v001, frames 1-2 (files 1002-1003)"
    check_removed(host, group, shot, range(1, 3))


def test_outside_of_the_range_the_plate_passes_and_handles_are_not_returned(
    host: Any, tmp_path: Path, daemon: Any
) -> None:
    shot = make_shot(tmp_path / "s", range(1001, 1009))
    comp = host.comp(0, 7)
    group = tool_of(host, comp, shot, frame_range="custom", first=3, last=4, handles=2)
    with_echo(host, group, daemon)
    host.press(group, "Remove")
    host.until(group, lambda s: "done" in s)
    (version,) = folders(host)
    assert sorted(p.name for p in version.glob("plate.*.exr"))[0] == "plate.1002.exr"
    assert len(list(version.glob("plate.*.exr"))) == 6
    assert [p.name for p in sorted(version.glob("result.*.exr"))] == [
        "result.1004.exr", "result.1005.exr",
    ]  # fmt: skip
    check_removed(host, group, shot, range(3, 5))
    for frame in (0, 1, 2, 5, 6, 7):
        own = channels_of(shot.file("plate", frame + 1001))["R"].astype(np.float32)
        assert same_bits(host.shown(group, frame)["R"], own)


def test_float_plates_come_back_to_the_bit_outside_of_the_hole(
    host: Any, tmp_path: Path, daemon: Any
) -> None:
    """Half is exchanged; what the result does not change is the input itself."""
    shot = make_shot(tmp_path / "s", FILES)
    random = np.random.default_rng(7)
    for number in FILES:
        planes = {n: random.normal(1, 9, (48, 64)).astype(np.float32) for n in "RGBA"}
        planes["R"][0, 0], planes["G"][0, 1] = np.nan, np.inf
        shot.write("plate", number, planes)
    comp = host.comp(0, 2)
    group = with_echo(host, tool_of(host, comp, shot), daemon)
    host.press(group, "Remove")
    host.until(group, lambda s: "done" in s)
    for frame in range(3):
        own, shown = channels_of(shot.file("plate", 1001 + frame)), host.shown(group, frame)
        hole = channels_of(shot.file("matte", 1001 + frame))["A"] > 0
        outside = ~hole & np.isfinite(own["R"]) & np.isfinite(own["G"])
        for name in RGB:
            assert shown[name][outside].tobytes() == own[name][outside].tobytes()
            assert (shown[name] != own[name])[hole].all()
        assert np.isnan(shown["R"][0, 0])
        assert np.isinf(shown["G"][0, 1])
        assert shown["A"].tobytes() == own["A"].tobytes()


def test_every_output_is_what_its_name_says(host: Any, shot: Any, daemon: Any) -> None:
    comp = host.comp(0, 2)
    group = with_echo(host, tool_of(host, comp, shot), daemon)
    host.press(group, "Remove")
    host.until(group, lambda s: "done" in s)
    hole = channels_of(shot.file("matte", 1002))["A"] > 0
    own = channels_of(shot.file("plate", 1002))["B"].astype(np.float32)
    result, quadmask, layer, difference = (host.shown(group, 1, i) for i in (1, 2, 3, 4))
    assert np.array_equal(quadmask["R"] == 0, hole)
    assert set(np.unique(quadmask["G"])) == {0, 1}
    assert np.array_equal(layer["A"] > 0, hole)
    assert np.array_equal(layer["B"], np.where(hole, result["B"], 0).astype(np.float16))
    assert np.array_equal(difference["B"], abs(result["B"] - own))


def test_the_quadmask_shows_all_four_codes_and_affected_is_sent(
    host: Any, shot: Any, daemon: Any
) -> None:
    for number in FILES:
        matte = channels_of(shot.file("matte", number))["A"]
        shot.write("affected", number, {n: np.roll(matte, 5, 1) for n in RGB})
    comp = host.comp(0, 2)
    sources = {r: host.loader(comp, r, shot.file(r, 1001)) for r in ("plate", "matte", "affected")}
    group = host.new_tool(comp, **sources)
    host.choose(group, color_space="ACEScg", affected_channel="green")
    with_echo(host, group, daemon)
    matte = channels_of(shot.file("matte", 1001))["A"] > 0
    affected = channels_of(shot.file("affected", 1001))["G"] > 0
    codes = np.rint(host.shown(group, 0, 2)["R"].astype(np.float32) * 255)
    assert np.array_equal(codes, np.select([matte & affected, matte, affected], [63, 0, 127], 255))
    host.press(group, "Remove")
    assert host.until(group, lambda s: "done" in s or "failed" in s) == "done: v001, frames 0-2"
    (version,) = folders(host)
    assert len(list(version.glob("affected.000?.exr"))) == 3
    assert np.array_equal(channels_of(version / "affected.0000.exr")["A"] > 0, affected)


@pytest.mark.parametrize("whole", [False, True])
def test_painted_frames_are_rendered_alone_and_fill_every_frame(
    host: Any, shot: Any, daemon: Any, whole: bool
) -> None:
    """Everything stands still; the paint has no alpha where it is a whole frame."""
    for number in FILES:
        light, matte = picture(1), square()
        shot.write("plate", number, light)
        shot.write("matte", number, {"A": matte})
        half = np.where(matte > 0, np.float16(0.25), light["R"])
        shot.write("clean", number, {**dict.fromkeys("RGB", half), "A": matte * (not whole)})
    comp = host.comp(0, 2)
    sources = {r: host.loader(comp, r, shot.file(r, 1001)) for r in ("plate", "matte", "clean")}
    group = host.new_tool(comp, **sources)
    with_echo(host, group, daemon)
    host.choose(
        group, engine="cleanplate", color_space="ACEScg", clean_frames="1", clean_whole=whole
    )
    host.press(group, "Remove")
    assert host.until(group, lambda s: "done" in s or "failed" in s) == "done: v001, frames 0-2"
    (version,) = folders(host)
    assert [path.name for path in version.glob("clean.*")] == ["clean.0001.exr"]
    for frame in range(3):
        inside = host.shown(group, frame)["R"][square() > 0]
        assert inside == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("here", 'The clean frames "here" cannot be read'),
        ("9", "The clean frame 9 is not within the frames 0-2"),
        ("", "The input clean is connected, but no clean frames are named"),
    ],
)
def test_clean_frames_that_do_not_fit_are_said(
    host: Any, shot: Any, daemon: Any, text: str, said: str
) -> None:
    comp = host.comp(0, 2)
    sources = {
        role: host.loader(comp, role, shot.file(kind, 1001))
        for role, kind in (("plate", "plate"), ("matte", "matte"), ("clean", "plate"))
    }
    group = host.new_tool(comp, **sources)
    with_echo(host, group, daemon)
    host.choose(group, color_space="ACEScg", clean_frames=text)
    host.press(group, "Remove")
    assert said in host.status(group)


@pytest.mark.parametrize("channel", ["red", "green", "blue", "alpha"])
def test_the_matte_is_taken_from_the_chosen_channel_and_inverted_on_demand(
    host: Any, tmp_path: Path, channel: str
) -> None:
    shot = make_shot(tmp_path / "s", range(1, 2))
    planes = {n: np.full((48, 64), 0.5 + i / 8, np.float16) for i, n in enumerate("RGBA")}
    shot.write("matte", 1, planes)
    comp = host.comp(0, 0)
    group = tool_of(host, comp, shot, matte_channel=channel)
    (matte,) = (tool for tool in group.children if tool.data["Voidbridge"] == "matte")
    assert np.all(matte.image(0)["A"] == planes[channel[0].upper()])
    host.choose(group, matte_invert=True)
    assert np.all(matte.image(0)["G"] == 1 - planes[channel[0].upper()])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"color_space": "not chosen yet"}, "The color space of the plate is not chosen"),
        ({"color_space": "another, named below"}, "another one, and has no name"),
        ({"frame_range": "custom", "first": 2, "last": 1}, "range 2-1 is empty"),
        ({"frame_range": "custom", "first": 0, "last": 9}, "0-9 are asked for, the comp has 0-2"),
        ({"frame_offset": -1}, "the files begin at -1"),
        ({"handles": -1}, "Handles are -1"),
        ({"cache": "/dev/null/x"}, "/dev/null/x"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_rendered(
    host: Any, shot: Any, values: dict[str, Any], words: str
) -> None:
    comp = host.comp(0, 2)
    group = tool_of(host, comp, shot, **values)
    host.press(group, "Remove")
    assert words in host.status(group)
    assert words in host.console[-1]
    assert "traceback" not in host.console[-1]
    assert comp.rendered == []
    assert folders(host) == []


def test_what_is_not_connected_is_named(host: Any, shot: Any) -> None:
    comp = host.comp(0, 2)
    group = host.new_tool(comp, plate=host.loader(comp, "p", shot.file("plate", 1001)))
    host.press(group, "Remove")
    assert "input matte" in host.status(group)
    host.press(host.new_tool(comp), "Remove")
    assert "input plate" in host.status(comp.tools[-1])


def test_a_comp_that_begins_below_zero_is_refused_with_what_to_do(host: Any, shot: Any) -> None:
    comp = host.comp(-2, 2)
    group = tool_of(host, comp, shot)
    host.press(group, "Remove")
    assert "-2-2 begin below 0" in host.status(group)


def test_with_nothing_but_the_defaults_a_daemon_of_its_own_does_it(
    host: Any, shot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Engine cleanplate, no address, and what a host sets for a Python of its own."""
    monkeypatch.setenv("PYTHONHOME", "/of/the/host")
    group = tool_of(host, host.comp(0, 2), shot)
    host.press(group, "Remove")
    text = host.until(group, lambda s: s.startswith(("done", "failed")))
    assert text == "done: v001, frames 0-2 (files 1001-1003)"
    matte = channels_of(shot.file("matte", 1002))["A"] > 0
    rows, columns = np.nonzero(matte)
    near = np.zeros_like(matte)
    near[
        max(rows.min() - 17, 0) : rows.max() + 18, max(columns.min() - 17, 0) : columns.max() + 18
    ] = True
    shown, own = host.shown(group, 1), channels_of(shot.file("plate", 1002))
    for name in RGB:
        assert same_bits(shown[name][~near], own[name].astype(np.float32)[~near])
        assert (shown[name] != own[name])[matte].mean() > 0.5
