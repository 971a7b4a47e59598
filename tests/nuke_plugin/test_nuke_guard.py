"""The guard before a render: its policy, mapped paths, and lost records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from voidbridge_scripts import FRAMES, check_removed, node_of, remove, with_echo

from voidbridge_nuke import operations


@pytest.fixture
def comp(host: Any, shot: Any, daemon: Any, tmp_path: Path) -> Any:
    """A node with a result, and a Write behind it."""
    node = with_echo(node_of(host, shot), daemon, cache=f"{tmp_path.as_posix()}/Z")
    assert remove(host, node) == "done: v001, frames 1001-1003"
    text = (
        f'push 0\nWrite {{\n file "{tmp_path.as_posix()}/out.%04d.exr"\n raw true\n name Comp\n}}'
    )
    write = host.stage.load(text)[-1]
    write.setInput(0, node)
    return node, write


def outdated(comp: Any) -> Any:
    node, write = comp
    node["seed"].setValue(9)
    return node, write


def test_an_artists_render_is_warned_and_not_stopped(host: Any, comp: Any) -> None:
    _, write = outdated(comp)
    host.execute(write, 1001, 1001)
    assert any("out of date: seed changed since v001" in text for text in host.stage.said)


@pytest.mark.parametrize(
    ("knob", "studio", "gui", "refused"),
    [
        ("the studio's", "", False, True),
        ("the studio's", "warn", False, False),
        ("the studio's", "refuse", True, True),
        ("off", "refuse", False, False),
        ("refuse", "off", True, True),
    ],
)
def test_the_nodes_policy_goes_before_the_studios(
    host: Any, comp: Any, monkeypatch: pytest.MonkeyPatch,
    knob: str, studio: str, gui: bool, refused: bool,
) -> None:  # fmt: skip
    node, write = outdated(comp)
    node["guard"].setValue(knob)
    monkeypatch.setenv("NUKE_VOIDBRIDGE_GUARD", studio)
    monkeypatch.setattr(host, "GUI", gui)
    if refused:
        with pytest.raises(RuntimeError, match="out of date"):
            host.execute(write, 1001, 1001)
    else:
        host.execute(write, 1001, 1001)
    warned = any("out of date" in text for text in host.stage.said)
    assert warned is (not refused and knob != "off")


def moved(host: Any, tmp_path: Path) -> None:
    """Mounts the cache elsewhere, with a filename filter."""
    (tmp_path / "Z").rename(tmp_path / "mnt")
    host.addFilenameFilter(
        lambda path: path.replace(f"{tmp_path.as_posix()}/Z", f"{tmp_path.as_posix()}/mnt")
    )


def test_mapped_paths_are_opened_where_this_machine_has_them(
    host: Any, shot: Any, comp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, write = comp
    moved(host, tmp_path)
    monkeypatch.setattr(host, "GUI", False)
    monkeypatch.setenv("NUKE_VOIDBRIDGE_GUARD", "refuse")  # the child must not stumble over it
    host.execute(write, 1001, 1003)
    check_removed(host, node, shot, FRAMES)
    node["steps"].setValue(2)
    assert remove(host, node) == "done: v002, frames 1001-1003"
    assert "/Z/" in node["result_files"].value(), "the script keeps its own spelling"
    assert not (tmp_path / "Z").exists()
    check_removed(host, node, shot, FRAMES)


def test_frames_without_their_records_are_used_with_a_warning(
    host: Any, shot: Any, comp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a farm: paths are mapped, and only the frames were shipped."""
    node, write = comp
    folder = Path(node["result_files"].value().replace("/Z/", "/mnt/")).parent
    moved(host, tmp_path)
    for record in folder.glob("*.json"):
        record.unlink()
    monkeypatch.setattr(host, "GUI", False)
    host.execute(write, 1001, 1003)
    check_removed(host, node, shot, FRAMES)
    assert any("not their record version.json" in text for text in host.stage.said)
    next(folder.glob("result.main.1002.exr")).unlink()
    with pytest.raises(RuntimeError, match="no longer at its place"):
        host.execute(write, 1001, 1003)


def test_the_records_are_named_by_knobs_that_collectors_of_assets_read(
    host: Any, comp: Any
) -> None:
    node, _ = comp
    files = [k.value() for n in [node] for k in n.knobs().values() if k.Class() == "File_Knob"]
    named = [Path(file.replace("%V", "main")) for file in files if file.endswith(".json")]
    assert sorted(path.name for path in named) == [
        "result.main.1001-1003.voidbridge.json",
        "version.json",
    ]
    assert all(path.is_file() for path in named)


def test_the_studios_choice_is_the_default() -> None:
    assert operations.REMOVE.by_name["guard"].default == "the studio's"
