"""A child process that is fed, and a host that survives whatever becomes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from voidbridge_stage import eventually

from voidbridge_nuke import job

PACKAGE = Path(__file__).resolve().parents[2] / "nuke_plugin"
ECHOING = """
import json, sys
for line in iter(sys.stdin.readline, "end\\n"):
    print(json.dumps({"event": "heard", "line": line.strip()}), flush=True)
"""
DEAF = "import os, time; os.close(0); print('{}', flush=True); time.sleep(60)"


STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("{}", flush=True)
time.sleep(60)
"""


def python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_what_is_said_is_heard_and_what_is_answered_meanwhile_is_kept() -> None:
    child = job.Child(python(ECHOING), fed=True)
    for number in range(1000):
        assert child.write_line(f"{number}-{number + 1}")
    assert child.write_line("end")
    heard: list[str] = []
    code, errors = child.follow(lambda: False, lambda event: heard.append(event["line"]))
    assert (code, errors) == (0, "")
    assert heard == [f"{number}-{number + 1}" for number in range(1000)]


def test_nothing_can_be_said_to_a_child_that_has_ended_or_listens_to_nobody() -> None:
    child = job.Child(python("pass"), fed=True)
    eventually(lambda: not child.write_line("1001"), "the end of the child")
    child.stop()
    unfed = job.Child(python("pass"))
    assert not unfed.write_line("1001")
    unfed.stop()


@pytest.mark.skipif(os.name != "posix", reason="this system has no SIGPIPE")
def test_a_host_that_does_not_ignore_broken_pipes_lives_on() -> None:
    script = f"""
import signal, sys
sys.path.insert(0, {str(PACKAGE)!r})
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
from voidbridge_nuke import job
child = job.Child([sys.executable, "-c", {DEAF!r}], fed=True)
child._lines.get()
assert child.write_line("1001") is False
assert signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL
child.stop()
"""
    done = subprocess.run(python(script), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.name != "posix", reason="this system has no SIGTERM to ignore")
def test_a_child_that_does_not_want_to_end_is_ended() -> None:
    child = job.Child(python(STUBBORN), fed=True)
    assert child._lines.get(timeout=30)
    child.stop()
    assert child._process.returncode == -signal.SIGKILL
