"""A disk is full, the daemon's or the artist's: the artist reads why, and no half files are left."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from voidbridge_scripts import node_of, remove, with_echo
from voidbridge_stage import daemon as daemon_of_ones_own

from voidbridge_protocol.errors import DiskFull, SpoolFull


def last_code(node: Any) -> str:
    from voidbridge_nuke import controller as conduct

    return str(conduct.LAST[node["node_id"].value()].status.code)


def test_a_daemon_without_room_is_said_with_what_is_there_and_what_to_do(
    host: Any, shot: Any
) -> None:
    with daemon_of_ones_own(extra={"VOIDBRIDGE_KEEP_FREE_MB": str(1 << 40)}) as full:
        node = with_echo(node_of(host, shot), full)
        text = remove(host, node)
    assert text.startswith("failed: ")
    assert last_code(node) == SpoolFull.code
    assert " GB" in text or " MB" in text
    assert "free space on the daemon's disk" in text
    assert node["state"].value() == "failed"
    assert not list(host.stage.folder.rglob("v001"))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    disk = tmp_path / "kleine Platte"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path, but: int) -> None:
    found = os.statvfs(disk)
    (disk / "ballast").write_bytes(bytes(max(found.f_bavail * found.f_frsize - but, 0)))


def test_a_disk_that_is_full_for_the_plate_is_said_and_nothing_is_sent(
    host: Any, shot: Any, daemon: Any, small: Path
) -> None:
    node = with_echo(node_of(host, shot), daemon, cache=small.as_posix())
    fill(small, but=30_000)
    host.stage.press("remove", node)
    (message,) = host.stage.messages
    assert "No space left on device" in message
    assert node["status"].value() == "not rendered"
    assert all(n["disable"].value() for n in node.nodes() if n.Class() == "Write")
    assert not list(small.rglob("*.exr"))


def test_a_disk_that_is_full_for_the_results_is_an_error_and_leaves_nothing_half(
    host: Any, shot: Any, daemon: Any, small: Path
) -> None:
    node = with_echo(node_of(host, shot), daemon, cache=small.as_posix())
    host.stage.before_frame = lambda frame: fill(small, but=60_000) if frame == 1003 else None
    text = remove(host, node)
    assert text.startswith("failed: ")
    assert last_code(node) == DiskFull.code
    assert "result.main" in text
    assert not list(small.rglob("*.tmp"))
    (small / "ballast").unlink()
    host.stage.before_frame = lambda frame: None
    assert remove(host, node).startswith("done: ")
