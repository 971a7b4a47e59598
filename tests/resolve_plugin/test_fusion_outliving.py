"""A job outlives the Fusion that started it: another one finds it, follows it, and shows its result."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import voidbridge_stage as stage
from voidbridge_fusion_shots import is_removed, shot_of, tool_of

SCRIPT = Path(__file__).with_name("another_fusion.py")
STEPS = 50
"""Three seconds, in which the other program sees the stage."""


@pytest.fixture
def shot(tmp_path: Path) -> Any:
    return shot_of(tmp_path)


def another_fusion(host: Any, shot: Any, daemon: Any, when: str, how: str, steps: int = 15) -> None:
    """Presses Remove in a process of its own, and ends it."""
    given = {
        "plugin": str(host.plugin), "folder": str(host.folder), "shot": str(shot.folder),
        "daemon": daemon.address, "when": when, "how": how, "steps": steps,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps(given)], stderr=subprocess.PIPE, check=False
    )
    assert done.returncode == (-signal.SIGKILL if how == "crashes" else 0), done.stderr.decode()


def reopened(host: Any, shot: Any, daemon: Any, steps: int = 15) -> Any:
    """The comp as it was saved before the job."""
    group = tool_of(host, host.comp(), shot, daemon.address, steps=steps)
    group.children[0].data = json.loads((host.folder / "saved.json").read_text())
    return group


@pytest.mark.parametrize(
    ("when", "how"),
    [
        ("sending", "crashes"),
        ("sending", "quits"),
        ("removing", "crashes"),
        ("removing", "quits"),
        ("fetching", "crashes"),
        ("fetching", "quits"),
    ],
)
def test_a_fusion_that_is_opened_again_adopts_the_job_of_one_that_is_gone(
    host: Any, shot: Any, daemon: Any, full: bool, when: str, how: str
) -> None:
    if how == "quits" and when != "removing" and not full:
        pytest.skip("every way to end in every stage is for --full")
    another_fusion(host, shot, daemon, when, how, STEPS)
    group = reopened(host, shot, daemon, STEPS)
    assert host.until(group, lambda s: s.startswith("done")).startswith("done: v001, frames 0-2")
    assert is_removed(host, group, shot)


@pytest.mark.parametrize(
    ("when", "end", "code"), [("sending", "done", 0), ("removing", "cancelled", 5)]
)
def test_the_exit_code_of_a_child_whose_fusion_is_gone_tells_the_truth(
    host: Any, shot: Any, daemon: Any, when: str, end: str, code: int
) -> None:
    another_fusion(host, shot, daemon, when, "crashes", steps=1000 if end == "cancelled" else 1)
    if end == "cancelled":
        (path,) = host.folder.glob("Voidbridge/*/v001/status*.json")
        job = json.loads(path.read_text())["job"]
        assert stage.voidbridge("cancel", job, "--daemon", daemon.address).code == 0
    found = stage.eventually(lambda: list(host.folder.rglob("ended.txt")), "the end of the child")
    stage.eventually(lambda: found[0].read_text().endswith("\n"), "its exit code")
    assert int(found[0].read_text()) == code
    (path,) = host.folder.glob("Voidbridge/*/v001/status*.json")
    results = list(path.parent.glob("result.*.exr"))
    phase = json.loads(path.read_text())["phase"]
    assert (phase, len(results)) == (("done", 3) if code == 0 else ("cancelled", 0))


@pytest.mark.parametrize("how", ["crashes", "quits"])
def test_a_job_that_waits_behind_another_is_adopted_too(
    host: Any, shot: Any, daemon: Any, tmp_path: Path, how: str
) -> None:
    with daemon.held():
        blocker = daemon.submit(shot_of(tmp_path / f"other {how}"), steps=3)
        daemon.wait_for_state(blocker, "running")
        another_fusion(host, shot, daemon, "waiting", how)
    group = reopened(host, shot, daemon)
    assert host.until(group, lambda s: s.startswith("done")).startswith("done: v001")
    assert is_removed(host, group, shot)


@pytest.mark.parametrize("how", ["crashes", "quits"])
def test_a_fusion_that_ends_while_it_renders_leaves_no_job_and_the_next_one_renders_again(
    host: Any, shot: Any, daemon: Any, full: bool, how: str
) -> None:
    if how == "quits" and not full:
        pytest.skip("every way to end in every stage is for --full")
    another_fusion(host, shot, daemon, "rendering", how)
    group = reopened(host, shot, daemon)
    host.press(group, "Fetch")
    assert host.status(group) == "not rendered"
    host.press(group, "Remove")
    assert host.until(group, lambda s: s.startswith("done")).startswith("done: v002")
    for _ in range(2):
        host.press(group, "Purge")
    assert [path.name for path in host.folder.glob("Voidbridge/*/*")] == ["v002"]
