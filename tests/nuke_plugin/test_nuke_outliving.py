"""A job outlives the Nuke that started it: another one finds it, follows it, and shows its result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from voidbridge_scripts import FRAMES, check_removed, node_of, with_echo
from voidbridge_shots import make_shot
from voidbridge_stage import SECONDS, called, eventually

SCRIPT = Path(__file__).with_name("another_nuke.py")
STEPS = 50
"""Three seconds, in which the other program sees the stage."""
ORPHANAGE = """
import ctypes, json, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: children of a process that is gone become ours
host, codes = subprocess.Popen(sys.argv[1:]), []
while True:
    try:
        pid, status = os.wait()
    except ChildProcessError:
        break
    if pid == host.pid:
        print("gone", flush=True)
    else:
        codes.append(os.waitstatus_to_exitcode(status))
print(json.dumps(codes))
"""
"""Starts a host, tells when it is gone, and prints the exit codes of the children that it left."""


@pytest.fixture
def shot(tmp_path: Path) -> Any:
    """Other pictures for every test: the daemon, which they share, answers what it knows from its store."""
    return make_shot(tmp_path / "s", FRAMES, seed=zlib.crc32(tmp_path.name.encode()) % 9000)


def another(host: Any, shot: Any, daemon: Any, when: str, **more: Any) -> list[str]:
    """The command of a process of its own that presses Remove, and ends."""
    given = {
        "plugin": str(host.stage.plugin), "folder": str(host.stage.folder), "shot": str(shot.folder),
        "daemon": daemon.address, "when": when, "how": "crashes", "steps": 15, "views": ["main"], **more,
    }  # fmt: skip
    return [sys.executable, str(SCRIPT), json.dumps(given)]


def another_nuke(host: Any, shot: Any, daemon: Any, when: str, **more: Any) -> int:
    """Presses Remove in a process of its own, and ends it. Returns its exit code."""
    words = another(host, shot, daemon, when, **more)
    done = subprocess.run(words, stderr=subprocess.PIPE, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode


def reopened(host: Any, shot: Any, daemon: Any, steps: int = 15) -> Any:
    """The same script in this Nuke, with a node that has not heard of the job yet."""
    node = node_of(host, shot)
    with_echo(node, daemon, cache=host.stage.folder.as_posix(), steps=steps)
    node["node_id"].setValue((host.stage.folder / "node_id").read_text())
    for call in host.stage.on_load:
        call()
    return node


def to_the_end(host: Any, node: Any) -> str:
    from voidbridge_nuke import controller as conduct

    host.stage.until(lambda: not conduct.RUNNING, "the job to end")
    return str(node["status"].value())


@pytest.mark.parametrize(
    ("when", "how"),
    [
        ("sent", "crashes"),
        ("sent", "quits"),
        ("removing", "crashes"),
        ("removing", "quits"),
        ("fetching", "crashes"),
        ("fetching", "quits"),
    ],
)
def test_a_nuke_that_is_opened_again_adopts_the_job_of_one_that_is_gone(
    host: Any, shot: Any, daemon: Any, full: bool, when: str, how: str
) -> None:
    if how == "quits" and when != "removing" and not full:
        pytest.skip("every way to end in every stage is for --full")
    code = another_nuke(host, shot, daemon, when, how=how, steps=STEPS)
    assert code == (0 if how == "quits" else -signal.SIGKILL)
    node = reopened(host, shot, daemon, STEPS)
    assert to_the_end(host, node) == "done: v001, frames 1001-1003"
    check_removed(host, node, shot, FRAMES)
    assert host.stage.messages == []
    assert not list(host.stage.folder.rglob("job.json"))


@pytest.mark.parametrize("how", ["crashes", "quits"])
def test_a_job_that_waits_behind_another_is_adopted_too(
    host: Any, shot: Any, daemon: Any, tmp_path: Path, how: str
) -> None:
    with daemon.held():
        blocker = daemon.submit(make_shot(tmp_path / "other", FRAMES, seed=len(how)), steps=3)
        daemon.wait_for_state(blocker, "running")
        another_nuke(host, shot, daemon, "waiting", how=how)
    node = reopened(host, shot, daemon)
    assert to_the_end(host, node) == "done: v001, frames 1001-1003"
    check_removed(host, node, shot, FRAMES)


@pytest.mark.parametrize("how", ["crashes", "quits"])
def test_a_nuke_that_ends_while_it_renders_leaves_no_job(
    host: Any, shot: Any, daemon: Any, full: bool, how: str
) -> None:
    if how == "quits" and not full:
        pytest.skip("every way to end in every stage is for --full")
    another_nuke(host, shot, daemon, "rendering", how=how)
    node = reopened(host, shot, daemon)
    assert to_the_end(host, node).endswith("not rendered")
    assert not list(host.stage.folder.rglob("v001"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a test adopt such children")
@pytest.mark.parametrize(
    ("when", "end", "code"),
    [("sent", "done", 0), ("rendering", "unfinished", 5), ("removing", "cancelled", 5)],
)
def test_the_exit_code_of_a_child_whose_nuke_is_gone_tells_the_truth(
    host: Any, shot: Any, daemon: Any, when: str, end: str, code: int
) -> None:
    words = another(host, shot, daemon, when, steps=1000 if end == "cancelled" else 1)
    with subprocess.Popen(
        [sys.executable, "-c", ORPHANAGE, *words], stdout=subprocess.PIPE, text=True
    ) as orphanage:
        try:
            assert orphanage.stdout is not None
            assert orphanage.stdout.readline() == "gone\n"
            if end == "cancelled":
                job = eventually(lambda: running(host.stage.folder), "a job that runs")
                assert called("cancel", job, "--daemon", daemon.address).code == 0
            codes, _ = orphanage.communicate(timeout=SECONDS)
        finally:
            orphanage.kill()
    assert json.loads(codes) == [code]
    (path,) = host.stage.folder.rglob("status.main.json")
    results = list(path.parent.glob("result.*.exr"))
    phase = json.loads(path.read_text())["phase"]
    assert (phase, len(results)) == (("done", 3) if code == 0 else ("cancelled", 0))


def running(folder: Path) -> str:
    """The id of the job, once the daemon works on it."""
    for path in folder.rglob("status.main.json"):
        status = json.loads(path.read_text())
        return str(status["job"]) if status["text"].startswith("removing") else ""
    return ""


def test_an_adopted_job_can_be_cancelled(host: Any, shot: Any, daemon: Any) -> None:
    another_nuke(host, shot, daemon, "removing", steps=1000)
    node = reopened(host, shot, daemon, steps=1000)
    host.stage.until(lambda: "removing" in node["status"].value(), "the job to be seen")
    host.stage.press("remove", node)
    assert "already working" in host.stage.messages[0]
    host.stage.press("cancel", node)
    assert to_the_end(host, node) == "cancelled; not rendered"
    assert not list(host.stage.folder.rglob("v001"))


def test_a_job_whose_child_died_too_is_lost_and_not_waited_for(
    host: Any, shot: Any, daemon: Any
) -> None:
    another_nuke(host, shot, daemon, "removing", steps=1000)
    (path,) = host.stage.folder.rglob("status.main.json")
    status = json.loads(path.read_text())
    os.kill(status["pid"], signal.SIGKILL)
    cancel = ("cancel", status["job"], "--daemon", daemon.address)
    assert called(*cancel).code == 0  # it would go on for a minute
    path.write_text(json.dumps({**status, "alive": status["alive"] - 100}))
    node = reopened(host, shot, daemon, steps=1000)
    assert to_the_end(host, node).startswith("lost: the last word of voidbridge is 10")


def test_views_that_were_not_begun_are_begun_by_the_next_nuke(
    host: Any, shot: Any, daemon: Any
) -> None:
    another_nuke(host, shot, daemon, "removing", views=["left", "right"], steps=STEPS)
    host.stage.views = ["left", "right"]
    node = reopened(host, shot, daemon, STEPS)
    assert to_the_end(host, node) == "done: v001, frames 1001-1003"
    assert len(list(host.stage.folder.rglob("result.right.*.exr"))) == 3


def test_a_render_node_follows_no_job(host: Any, shot: Any, daemon: Any) -> None:
    from voidbridge_nuke import controller as conduct

    another_nuke(host, shot, daemon, "sent")
    host.GUI = False
    node = reopened(host, shot, daemon)
    assert conduct.RUNNING == {}
    host.GUI = True
    for call in host.stage.on_load:
        call()
    assert to_the_end(host, node) == "done: v001, frames 1001-1003"
