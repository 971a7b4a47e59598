"""A temporary daemon for one command: the same code and protocol, a private socket, a spool that is deleted.

It always ends with this process, because its standard input is a pipe that this process holds.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from voidbridge_backend.config import SPOOL_MARK, SPOOL_TEXT, Config, as_environment, without_own
from voidbridge_backend.measured import kept_job
from voidbridge_backend.temporary_folders import temporary_folder
from voidbridge_protocol.errors import DaemonUnavailable
from voidbridge_protocol.transfer.atomic_files import write_whole

START_S = 60.0
STOP_S = 15.0
MEASURED = "measured.jsonl"
"""File of a spool with a line for each job that was done."""
MOST_KEPT = 500
"""Lines of the temporary daemons that are read."""
LONGEST_SOCKET_PATH = 90
"""A Unix socket's path ends at 107 bytes on Linux and 103 on macOS; a suffix is added."""


@contextlib.contextmanager
def daemon(config: Config) -> Iterator[str]:
    """Yields its address. Raises `DaemonUnavailable` with the end of its log if it does not start."""
    config.spool.mkdir(parents=True, exist_ok=True)
    _sweep(config.spool)
    spool = Path(tempfile.mkdtemp(prefix=f"run-{os.getpid()}-", dir=config.spool))
    (spool / SPOOL_MARK).write_bytes(SPOOL_TEXT)
    with temporary_folder("sockets", _short_folder()) as sockets:
        yield from _served(config, spool, sockets)


def _served(config: Config, spool: Path, sockets: Path) -> Iterator[str]:
    """Yields the address of a daemon in these folders, and ends it afterwards."""
    address = f"ipc://{sockets}/ctl" if os.name == "posix" else _free_port()
    log = spool / "daemon.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "voidbridge_backend", "serve", "--until-stdin-closes"],
            env=_environment(config, address, spool),
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            start_new_session=True,  # this process handles Ctrl-C: it cancels the job, then ends the daemon
        )
    try:
        _wait(process, Path(f"{sockets}/ctl.bulk") if os.name == "posix" else None, log)
        yield address
    finally:
        assert process.stdin
        process.stdin.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _keep_measurements(spool, config.spool)
        shutil.rmtree(spool, ignore_errors=True)


def kept_measurements(config: Config, user: str, operation: str, engine: str) -> bytes:
    """Returns time and memory of this user's earlier jobs in temporary daemons, like `Client.measurements`."""
    jobs = map(kept_job, _lines(config.spool / MEASURED)[-MOST_KEPT:])
    wanted = user, operation, engine
    found = [
        job for job in jobs if job and (job["user"], job["operation"], job["engine"]) == wanted
    ]
    return json.dumps(found).encode()


def _keep_measurements(spool: Path, kept: Path) -> None:
    """Adds what a temporary daemon measured to the file of all of them. A file of somebody else stays as it is."""
    with contextlib.suppress(OSError):
        lines, before = _lines(spool / MEASURED), _lines(kept / MEASURED)
        is_ours = all(line.startswith('{"user": ') for line in before[:1])
        if not lines or not is_ours or (kept / MEASURED).is_symlink():
            return
        if len(before) > 2 * MOST_KEPT:
            write_whole(kept / MEASURED, "".join(before[-MOST_KEPT:]).encode())
        with (kept / MEASURED).open("a", encoding="utf-8") as file:
            file.write("".join(lines))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines(keepends=True)
    except OSError:
        return []


def overridden(address: str, spool: Path) -> dict[str, Any]:
    """The settings that a temporary daemon does not take from the config: it is private, and nobody monitors it."""
    return {
        "listen": address,
        "spool": spool,
        "http_port": 0,
        "require_keys": False,
        "ray": "",  # the units of the cluster are the lasting daemon's
    }


def _environment(config: Config, address: str, spool: Path) -> dict[str, str]:
    """The child's own, with the whole config in it. A setting there goes before the file of settings."""
    return {
        **without_own(os.environ),
        **as_environment(replace(config, **overridden(address, spool))),
    }


def _wait(process: subprocess.Popen[bytes], socket: Path | None, log: Path) -> None:
    """Waits for its sockets; if they are not files, the client's own patience covers the wait."""
    waited = 0.0
    while socket is not None and not socket.exists():
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            waited += 0.02
            if waited < START_S:
                continue
        tail = log.read_text(errors="replace").strip().splitlines()[-5:]
        raise DaemonUnavailable(
            "the local daemon did not start: " + " / ".join(tail),
            "`voidbridge doctor` shows missing parts.",
        )


def _short_folder() -> str | None:
    usual = tempfile.gettempdir()
    return usual if len(usual) < LONGEST_SOCKET_PATH - 40 or os.name != "posix" else "/tmp"


def _free_port() -> str:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def _sweep(folder: Path) -> None:
    """Deletes the spools of killed commands. A folder of such a name without their mark is somebody else's."""
    if os.name != "posix":
        return
    for spool in folder.glob("run-*-*"):
        if spool.is_symlink() or not (spool / SPOOL_MARK).is_file():
            continue
        pid = spool.name.split("-")[1]
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            shutil.rmtree(spool, ignore_errors=True)
        except (PermissionError, ValueError):
            continue
