"""A child process that is fed, its environment, and a host that survives whatever becomes of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from voidbridge_stage import eventually

from voidbridge_nuke import job
from voidbridge_nuke.child_environment import KEEP, child_environment, host_folder, rules

PACKAGE = Path(__file__).resolve().parents[2] / "nuke_plugin"
ECHOING = """
import sys
for line in iter(sys.stdin.readline, "end\\n"):
    print(line.strip(), flush=True)
"""
DEAF = "import os, time; os.close(0); print('deaf', flush=True); time.sleep(60)"
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("stubborn", flush=True)
time.sleep(60)
"""


def python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def files(folder: Path) -> job.ChildFiles:
    return job.ChildFiles(str(folder / "status.json"), str(folder / "output.txt"))


def child(folder: Path, text: str, fed: bool = True) -> job.Child:
    return job.Child(python(text), files(folder), os.environ, fed)


def said(folder: Path) -> str:
    return (folder / "output.txt").read_text()


def test_what_is_said_is_heard_in_order(tmp_path: Path) -> None:
    made = child(tmp_path, ECHOING)
    for number in range(1000):
        assert made.write_line(f"{number}-{number + 1}")
    assert made.write_line("end")
    eventually(lambda: made.exit_code() == 0, "the end of the child")
    made.end()
    assert said(tmp_path).split() == [f"{number}-{number + 1}" for number in range(1000)]


def test_nothing_can_be_said_to_a_child_that_has_ended_or_listens_to_nobody(tmp_path: Path) -> None:
    made = child(tmp_path, "pass")
    eventually(lambda: not made.write_line("1001"), "the end of the child")
    made.stop()
    (tmp_path / "output.txt").unlink()
    unfed = child(tmp_path, "pass", fed=False)
    assert not unfed.write_line("1001")
    unfed.stop()


def test_no_two_hosts_start_the_same_child(tmp_path: Path) -> None:
    made = child(tmp_path, "pass")
    assert files(tmp_path).has_started()
    with pytest.raises(FileExistsError):
        child(tmp_path, "pass")
    made.stop()


@pytest.mark.skipif(os.name != "posix", reason="this system has no SIGPIPE")
def test_a_host_that_does_not_ignore_broken_pipes_lives_on(tmp_path: Path) -> None:
    script = f"""
import os, signal, sys, time
sys.path.insert(0, {str(PACKAGE)!r})
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
from voidbridge_nuke import job
files = job.ChildFiles({str(tmp_path / "status.json")!r}, {str(tmp_path / "output.txt")!r})
child = job.Child([sys.executable, "-c", {DEAF!r}], files, os.environ, fed=True)
while "deaf" not in files.seen().said:
    time.sleep(0.02)
assert child.write_line("1001") is False
assert signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL
child.stop()
"""
    done = subprocess.run(python(script), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.name != "posix", reason="this system has no SIGTERM to ignore")
def test_a_child_that_does_not_want_to_end_is_ended(tmp_path: Path) -> None:
    made = child(tmp_path, STUBBORN)
    eventually(lambda: "stubborn" in said(tmp_path), "the child")
    made.stop()
    assert made.exit_code() == -signal.SIGKILL


def test_a_child_gets_the_hosts_environment_without_the_hosts_own_libraries() -> None:
    host = "/usr/local/Nuke17.0v3"
    given = {
        "PATH": "/bin", "OCIO": "/show/config.ocio", "VOIDBRIDGE_MODELS": "/m", "PYTHONHOME": host,
        "LD_LIBRARY_PATH": f"{host}:{host}/lib:/usr/lib/nvidia:{host}x", "LD_PRELOAD": f"{host}/lib/tcmalloc.so",
        "QT_PLUGIN_PATH": f"{host}/qt", "SSL_CERT_FILE": f"{host}/cacert.pem", "DYLD_LIBRARY_PATH": host,
    }  # fmt: skip
    assert child_environment(given, host, rules()) == {
        "PATH": "/bin", "OCIO": "/show/config.ocio", "VOIDBRIDGE_MODELS": "/m",
        "LD_LIBRARY_PATH": f"/usr/lib/nvidia:{host}x", "PYTHONIOENCODING": "utf-8", "PYTHONNOUSERSITE": "1",
    }  # fmt: skip
    kept = {**given, KEEP: "LD_PRELOAD, LD_LIBRARY_PATH"}
    found = child_environment(kept, host, rules())
    assert (found["LD_PRELOAD"], found["LD_LIBRARY_PATH"]) == (
        given["LD_PRELOAD"], given["LD_LIBRARY_PATH"],
    )  # fmt: skip
    assert child_environment(given, "", rules())["LD_LIBRARY_PATH"] == given["LD_LIBRARY_PATH"]


def test_the_folder_of_a_host_is_never_one_of_the_systems(tmp_path: Path) -> None:
    assert host_folder(str(tmp_path / "Nuke17.0v3/Nuke17.0")) == str(tmp_path / "Nuke17.0v3")
    assert host_folder(str(tmp_path / "resolve/bin/resolve")) == str(tmp_path / "resolve")
    assert [host_folder(path) for path in ("/usr/bin/x", "/usr/local/bin/x", "/x")] == ["", "", ""]


def test_both_hosts_have_the_same_rules() -> None:
    other = PACKAGE.parent / "resolve_plugin/voidbridge_resolve/Modules/Lua/voidbridge"
    assert json.loads((other / "child_environment.json").read_text()) == rules()
