"""A Ray cluster on this machine: a head and nodes with pretended cards, a folder and processes of their own each.

Loaded under the name `voidbridge_ray_cluster`. No process of it outlives `cluster`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from voidbridge_stage import environment, eventually, is_alive

MARK = "VOIDBRIDGE_TESTED_NODE"
"""A variable in the environment of each process of a node, from which it is known again."""
SPARE = '--resources={"spare": 1}'
"""A unit of each node that is no card, so that a daemon with all cards leaves it."""
STORE = 80_000_000
"""Bytes of each node's object store; Ray's least is 75 MB."""


@dataclass
class Cluster:
    """One head; nodes by their names."""

    folder: Path
    port: int
    token: bool = True
    nodes: list[str] = field(default_factory=list)
    _host: str = ""

    @property
    def address(self) -> str:
        return f"{self._host}:{self.port}"

    @property
    def access(self) -> dict[str, str]:
        """Variables with which a process may use the cluster."""
        return {
            "RAY_AUTH_MODE": "token" if self.token else "disabled",
            "RAY_AUTH_TOKEN_PATH": str(self.folder / "token"),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_timeout_ms": "2000",
            "RAY_health_check_failure_threshold": "3",
        }

    def start_head(self) -> None:
        more = (f"--port={self.port}", "--num-gpus=0")
        text = self._start("head", "--head", "--include-dashboard=false", *more)
        self._host = text.split("Local node IP: ")[1].split()[0]

    def start_nodes(self, *names: str, cards: int = 2) -> None:
        words = (f"--address={self.address}", f"--num-gpus={cards}", SPARE)
        threads = [threading.Thread(target=self._start, args=(name, *words)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _start(self, name: str, *words: str) -> str:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", *words),
                *(f"--node-name={name}", f"--temp-dir={folder}", "--num-cpus=1"),
                *(f"--object-store-memory={STORE}",),
                *("--min-worker-port=0", "--max-worker-port=0", "--disable-usage-stats"),
            ],
            env={**environment(), **self.access, MARK: f"{self.folder}:{name}"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode and "--head" in words:
            pytest.skip(f"Ray cannot start a head on this machine: {done.stdout}{done.stderr}")
        assert done.returncode == 0, done.stdout + done.stderr
        self.nodes.append(name)
        return done.stdout

    def pids(self, name: str, title: str = "") -> list[int]:
        """The living processes of a node whose command line holds `title`."""
        mark, found = f"{MARK}={self.folder}:{name}".encode(), []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            with suppress(OSError):
                is_its = mark in (entry / "environ").read_bytes().split(b"\0")
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if is_its and title in words and is_alive(int(entry.name)):
                    found.append(int(entry.name))
        return found

    def signal(self, name: str, number: int, title: str = "") -> list[int]:
        """Sends a signal to a node's processes, and returns them."""
        there = self.pids(name, title)
        for pid in there:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return there

    def kill(self, name: str) -> None:
        """kill -9 of everything on a node."""
        eventually(lambda: not self.signal(name, signal.SIGKILL), f"the end of {name}")


@contextmanager
def cluster(*names: str, token: bool = True) -> Iterator[Cluster]:
    """A head and nodes with two pretended cards each."""
    folder = Path(tempfile.mkdtemp(prefix="vbr-"))  # paths of sockets are short
    (folder / "token").write_text(secrets.token_hex(32))
    (folder / "token").chmod(0o600)
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    made = Cluster(folder, port, token)
    try:
        made.start_head()
        made.start_nodes(*names)
        yield made
    finally:
        for name in ("head", *names, *made.nodes):
            made.kill(name)
        shutil.rmtree(folder, ignore_errors=True)
