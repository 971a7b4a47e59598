"""The plate on its way out: in pieces, sent while the rest is rendered, and stopped when that helps nobody."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voidbridge_scripts import FRAMES, check_removed, given, node_of, plate, remove, with_echo
from voidbridge_shots import make_shot, picture, same_bits, square
from voidbridge_stage import eventually

from voidbridge_protocol.testing.fake_daemon import Script, fake_daemon
from voidbridge_protocol.wire.messages import PROTOCOL


def hashes(files: list[Path]) -> set[str]:
    return {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_1001_to_1100_with_handles_is_sent_while_it_is_rendered(
    host: Any, tmp_path: Path, daemon: Any
) -> None:
    """The second piece is not begun before the first one is with the daemon."""
    there = range(991, 1111)
    shot = make_shot(tmp_path / "s", there, height=24, width=32, seed=31)
    node = with_echo(
        node_of(host, shot, there), daemon,
        frame_range="custom", first=1001, last=1100, handles=5,
        cache=(tmp_path / "Ablage").as_posix(),
    )  # fmt: skip
    rendered: list[int] = []

    def look(frame: int) -> None:
        rendered.append(frame)
        if frame == 1016:
            files = list((tmp_path / "Ablage").rglob("plate.main.*.exr"))
            assert len(files) == 20
            spool = daemon.spool / "objects"
            eventually(
                lambda: hashes(files) <= {path.name for path in spool.glob("*/*")},
                "the first piece in the spool",
            )

    host.stage.before_frame = look
    assert remove(host, node) == "done: v001, frames 1001-1100"
    assert rendered == list(range(996, 1106))
    check_removed(host, node, shot, range(1001, 1101))
    for frame in (991, 1000, 1101, 1110):
        assert same_bits(given(host, node, frame)["R"], plate(shot, frame)["R"])
    version = Path(node["result_files"].value()).parent
    assert len(list(version.glob("result.*.exr"))) == 100


def test_a_daemon_of_another_version_is_said_with_both_and_ends_the_render(
    host: Any, tmp_path: Path
) -> None:
    from voidbridge_nuke import controller as conduct

    frames = range(1001, 1061)
    shot = make_shot(tmp_path / "s", frames, height=24, width=32)
    rendered: list[int] = []

    def look(frame: int) -> None:
        rendered.append(frame)
        if frame == 1021:
            (work,) = conduct.RUNNING.values()
            eventually(lambda: not work.rendered(1001, 1020), "the child to end")

    host.stage.before_frame = look
    with fake_daemon(Script(versions=(PROTOCOL + 6, PROTOCOL + 7))) as other:
        text = remove(host, with_echo(node_of(host, shot, frames), other))
    assert text.startswith("failed: ")
    assert f"protocol {PROTOCOL} to {PROTOCOL}" in text
    assert f"{PROTOCOL + 6} to {PROTOCOL + 7}" in text
    # The child may find out before the first piece of 20 frames is rendered or while the second one is.
    assert rendered[-1] in (1020, 1040)
    assert not list(host.stage.folder.rglob("v001"))


def test_a_render_that_is_cancelled_in_the_middle_has_asked_for_nothing(
    host: Any, tmp_path: Path, daemon: Any
) -> None:
    from voidbridge_nuke import controller as conduct

    frames = range(1001, 1031)
    shot = make_shot(tmp_path / "s", frames, height=24, width=32, seed=32)
    node = with_echo(node_of(host, shot, frames), daemon)
    host.stage.cancel_render_at = 1025
    before = daemon.jobs()
    assert remove(host, node) == "not rendered"
    assert conduct.RUNNING == {}
    assert daemon.jobs() == before
    assert not list(host.stage.folder.rglob("v001"))


def test_cancel_is_heard_between_two_pieces(host: Any, tmp_path: Path, daemon: Any) -> None:
    """Nuke may call us while it renders; the button stands for all of that."""
    frames = range(1001, 1041)
    shot = make_shot(tmp_path / "s", frames, height=24, width=32, seed=33)
    node = with_echo(node_of(host, shot, frames), daemon)
    rendered: list[int] = []

    def look(frame: int) -> None:
        rendered.append(frame)
        if frame == 1003:
            host.stage.press("remove", node)
            host.stage.press("cancel", node)

    host.stage.before_frame = look
    assert remove(host, node) == "not rendered"
    assert rendered[-1] == 1020
    assert len(host.stage.messages) == 1
    assert "already working" in host.stage.messages[0]


def test_a_command_that_is_gone_is_said_before_anything_is_rendered(host: Any, shot: Any) -> None:
    config = host.stage.plugin / "voidbridge.json"
    kept = config.read_text()
    config.write_text('{"command": ["/no/such/voidbridge"]}')
    rendered: list[int] = []
    host.stage.before_frame = rendered.append
    try:
        host.stage.press("remove", node_of(host, shot))
    finally:
        config.write_text(kept)
    (message,) = host.stage.messages
    assert "/no/such/voidbridge" in message
    assert "voidbridge install nuke" in message
    assert rendered == []


@pytest.mark.parametrize("views", [["left", "right"]])
def test_the_second_view_follows_when_the_first_is_done(
    host: Any, tmp_path: Path, daemon: Any, views: list[str]
) -> None:
    shot = make_shot(tmp_path / "s", FRAMES, seed=34)
    host.stage.views = views
    node = with_echo(node_of(host, shot), daemon)
    assert remove(host, node) == "done: v001, frames 1001-1003"
    for view in views:
        version = Path(node["result_files"].value()).parent
        assert len(list(version.glob(f"result.{view}.*.exr"))) == len(FRAMES)


@pytest.mark.parametrize("whole", [False, True])
def test_painted_frames_are_rendered_alone_and_fill_every_frame(
    host: Any, tmp_path: Path, daemon: Any, whole: bool
) -> None:
    """Everything stands still; the paint has no alpha where it is a whole frame."""
    shot = make_shot(tmp_path / "s", FRAMES)
    for frame in FRAMES:
        shot.write("plate", frame, picture(1))
        shot.write("matte", frame, {"A": square()})
        half = np.where(square() > 0, np.float16(0.25), picture(1)["R"])
        alpha = square() * np.float16(not whole)
        shot.write("clean", frame, {**dict.fromkeys("RGB", half), "A": alpha})
    node = with_echo(
        node_of(host, shot, clean=True), daemon,
        engine="cleanplate", clean_frames="1002", clean_whole=whole,
    )  # fmt: skip
    assert remove(host, node) == "done: v001, frames 1001-1003"
    for frame in FRAMES:
        inside = given(host, node, frame)["R"][square() > 0]
        assert inside == pytest.approx(0.25, abs=0.01)
    version = Path(node["result_files"].value()).parent
    assert [path.name for path in version.glob("clean.*")] == ["clean.main.1002.exr"]
    node["clean_frames"].setValue("1003")
    assert node["status"].value() == "out of date: clean_frames changed since v001"
