"""The node's picture is right to the bit, with a stand-in for Nuke and real processes, daemon and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voidbridge_scripts import (
    FRAMES,
    check_removed,
    given,
    node_of,
    plate,
    remove,
    script,
    with_echo,
)
from voidbridge_shots import (
    channels_of,
    echoed,
    exr_bytes,
    header_of,
    make_shot,
    picture,
    same_bits,
    square,
)

from voidbridge_backend.imaging.mattes import quadmask


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
    # Which stages are seen depends on how fast they pass between two looks at the status.
    assert host.stage.said[0] == "Voidbridge: Voidbridge1"
    assert len(host.stage.said) > 1


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


def test_no_file_of_the_artist_is_touched_where_plates_and_results_meet(
    host: Any, shot: Any, daemon: Any
) -> None:
    """The cache folder is the plates' own, and the next version's folder is there with files of the same names."""
    node = with_echo(node_of(host, shot), daemon, cache=shot.folder.as_posix())
    taken = shot.folder / str(node["node_id"].value()) / "v001"
    taken.mkdir(parents=True)
    for role in ("plate", "matte", "result"):
        for frame in FRAMES:
            (taken / f"{role}.main.{frame}.exr").write_bytes(b"the work of a week")
    before = {path: path.read_bytes() for path in shot.folder.rglob("*.exr")}
    assert remove(host, node) == "done: v002, frames 1001-1003"
    assert {path: path.read_bytes() for path in before} == before


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
    for reach in ("grow", "soften"):
        node[reach].setValue(0)
    host.stage.press("preview", node)
    matte, affected = (channels_of(shot.file(r, 1001))["A"] > 0 for r in ("matte", "affected"))
    codes = np.rint(given(host, node, 1001)["R"] * 255)
    assert np.array_equal(codes, np.select([matte & affected, matte, affected], [63, 0, 127], 255))
    host.stage.press("preview", node)
    assert node["output"].value() == "result"


@pytest.mark.parametrize(("grow", "soften"), [(8, 8), (3, 0), (20, 11)])
@pytest.mark.parametrize("kind", ["matte", "quadmask"])
def test_the_preview_reaches_as_far_as_the_engines_mask_does(
    host: Any, tmp_path: Path, kind: str, grow: int, soften: int
) -> None:
    """Where it is drawn otherwise, a circle of 8 % less or more and a pixel is drawn otherwise too."""
    shot = make_shot(tmp_path / "s", range(1, 2), height=120, width=160)
    matte, affected = square(120, 160, at=(50, 60)), square(120, 160, at=(54, 66))
    codes = quadmask.classes(matte > 0, affected > 0)
    shot.write("matte", 1, {"A": matte if kind == "matte" else (codes / 255).astype(np.float16)})
    shot.write("affected", 1, {"A": affected})
    node = node_of(host, shot, range(1, 2), affected=True)
    for name, value in {"matte_kind": kind, "grow": grow, "soften": soften}.items():
        node[name].setValue(value)
    host.stage.press("preview", node)
    shown = np.rint(given(host, node, 1)["R"] * 255)
    reach = grow + soften
    nearer, wanted, further = (
        quadmask.hole(codes, part, 0).codes for part in (0.92 * reach - 1, reach, 1.08 * reach + 1)
    )
    assert set(np.unique(shown)) <= {0, 63, 127, 255}
    assert (shown != wanted).mean() < 0.04
    assert (nearer != further)[shown != wanted].all()


@pytest.mark.parametrize("channel", ["red", "green", "blue", "alpha"])
def test_the_matte_is_taken_from_the_chosen_channel_and_inverted_on_demand(
    host: Any, tmp_path: Path, channel: str
) -> None:
    shot = make_shot(tmp_path / "s", range(1, 2))
    planes = {n: np.full((48, 64), 0.5 + i / 8, np.float16) for i, n in enumerate("RGBA")}
    shot.write("matte", 1, planes)
    node = node_of(host, shot, range(1, 2))
    node["matte_channel"].setValue(channel)
    host.stage.settle()
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
