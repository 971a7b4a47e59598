"""A worker opens its own files and nothing else, whatever a file from outside makes it do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from voidbridge_shots import make_shot
from voidbridge_stage import daemon, environment

from voidbridge_backend.tools.doctor import doctor
from voidbridge_backend.worker import sandbox

needs_sandbox = pytest.mark.skipif(bool(sandbox.missing()), reason="; ".join(sandbox.missing()))

ATTEMPTS = """
import json, os, socket, sys
from pathlib import Path
from voidbridge_backend.worker import sandbox

setup = json.loads(sys.argv[1])
spool, home, work = Path(setup["spool"]), Path(sys.argv[2]), Path(setup["work"])
attempts = {
    "read a received frame": lambda: (spool / "objects" / "frame").read_bytes(),
    "read its order": lambda: (spool / "orders" / "cpu.json").read_bytes(),
    "write a result": lambda: (work / "job" / "result").write_bytes(b"x"),
    "rename a result": lambda: os.rename(work / "job" / "result", work / "job" / "named"),
    "read another device's task": lambda: (spool / "work" / "other" / "task").read_bytes(),
    "use a temporary file": lambda: __import__("tempfile").TemporaryFile().write(b"x"),
    "import a module": lambda: __import__("wave"),
    "write a received frame": lambda: (spool / "objects" / "frame").write_bytes(b"x"),
    "delete a received frame": lambda: (spool / "objects" / "frame").unlink(),
    "plant a link": lambda: os.symlink(home, work / "job" / "link"),
    "plant a pipe": lambda: os.mkfifo(work / "job" / "pipe"),
    "plant a received frame": lambda: os.link(spool / "objects" / "frame", work / "job" / "own"),
    "read another job's result": lambda: (spool / "jobs" / "result").read_bytes(),
    "write another job's result": lambda: (spool / "jobs" / "result").write_bytes(b"x"),
    "delete another job's result": lambda: (spool / "jobs" / "result").unlink(),
    "write an order": lambda: (spool / "orders" / "cpu.json").write_bytes(b"x"),
    "write another device's task": lambda: (spool / "work" / "other" / "task").write_bytes(b"x"),
    "add to another device's job": lambda: (spool / "work" / "other" / "new").write_bytes(b"x"),
    "read the job table": lambda: (spool / "jobs.db").read_bytes(),
    "read a key": lambda: (home / "daemon.key").read_bytes(),
    "list the home folder": lambda: os.listdir(home),
    "write to the home folder": lambda: (home / "new").write_bytes(b"x"),
    "open an internet socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "open a Unix socket": lambda: socket.socket(socket.AF_UNIX),
    "signal the parent": lambda: os.kill(os.getppid(), 0),
    "read the parent's environment": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
}
said = sandbox.enter(setup["sandbox"], setup)
done = {}
for name, attempt in attempts.items():
    try:
        attempt()
        done[name] = True
    except OSError:
        done[name] = False
print(json.dumps([said, done]))
"""
OWN = {
    "read a received frame",
    "read its order",
    "read another device's task",
    "write a result",
    "rename a result",
    "use a temporary file",
    "import a module",
}


def attempted(tmp_path: Path, choice: str, device: str = "cpu") -> tuple[str, dict[str, bool]]:
    spool, home = tmp_path / "spool", tmp_path / "home"
    work, other = spool / "work" / "cpu", spool / "work" / "other"
    folders = [spool / name for name in ("objects", "jobs", "orders")]
    for folder in (*folders, work / "job", other, home):
        folder.mkdir(parents=True)
    files = ("objects/frame", "jobs/result", "orders/cpu.json", "work/other/task", "jobs.db")
    for file in (*(spool / name for name in files), home / "daemon.key"):
        file.write_bytes(b"secret")
    setup = {
        "sandbox": choice,
        "spool": str(spool),
        "work": str(work),
        "models": str(tmp_path / "m"),
        "device": device,
    }
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPTS, json.dumps(setup), str(home)],
        capture_output=True,
        env=environment() | {"HOME": str(home)},
        cwd=home,  # as for a service, whose folder holds its keys
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()
    said, found = json.loads(done.stdout)
    return said, found


@needs_sandbox
def test_a_worker_reaches_its_own_files_and_nothing_else(tmp_path: Path) -> None:
    said, done = attempted(tmp_path, "auto")
    assert {name for name, worked in done.items() if worked} == OWN
    assert "missing" not in said


@needs_sandbox
def test_a_worker_of_a_card_may_talk_to_its_driver_by_unix_sockets_only(tmp_path: Path) -> None:
    _, done = attempted(tmp_path, "required", "cuda:0")
    assert {name for name, worked in done.items() if worked} == {
        *OWN,
        "open a Unix socket",
        "read the parent's environment",
    }


def test_without_a_sandbox_a_worker_reaches_all_of_its_user(tmp_path: Path) -> None:
    said, done = attempted(tmp_path, "off")
    assert done["read a key"]
    assert "off" in said


def test_a_missing_sandbox_is_said_and_ends_a_worker_that_requires_it(tmp_path: Path) -> None:
    script = """
import sys
from voidbridge_protocol.errors import DeviceFailed
from voidbridge_backend.worker import sandbox
sys.modules["py_landlock"] = None
setup = {"spool": sys.argv[1], "work": sys.argv[1], "models": sys.argv[1], "device": "cpu"}
try:
    sandbox.enter("required", setup)
except DeviceFailed as error:
    print(error.text)
print(sandbox.enter("auto", setup))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        env=environment(),
        timeout=120,
    )
    required, auto = done.stdout.decode().splitlines()
    assert "the setting sandbox is 'required': the package py-landlock is not installed" in required
    assert "missing: the package py-landlock is not installed" in auto


@needs_sandbox
def test_a_job_runs_inside_it_and_the_log_says_so(tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003), seed=3)
    with daemon(extra={"VOIDBRIDGE_SANDBOX": "required"}) as box:
        box.wait_for_worker()
        job = box.submit(shot)
        box.fetch(job, tmp_path / "out")
        assert "sandbox: only its own files" in box.log
        assert [path.name for path in (box.spool / "work" / "cpu").iterdir()] == ["tmp"]


def test_the_doctor_says_what_there_is() -> None:
    check = doctor.worker_sandbox("auto")
    assert check.verdict == ("missing" if sandbox.missing() else "ok")
    assert doctor.worker_sandbox("off").verdict == "missing"
