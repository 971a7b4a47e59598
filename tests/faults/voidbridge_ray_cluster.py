"""A Ray cluster on this machine: a head and nodes with pretended cards, a folder and processes of their own each.

Loaded under the name `voidbridge_ray_cluster`. No process of it outlives `cluster`. With `spaces` the head and each
node have a network of their own, which a bridge in the head's connects.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from voidbridge_machine import free_ports, short_folder
from voidbridge_stage import environment, eventually, is_alive

MARK = "TESTED_VOIDBRIDGE_NODE"
"""A variable in the environment of each process of a node, from which it is known again."""
SPARE = '--resources={"spare": 1}'
"""A unit of each node that is no card, so that a daemon with all cards leaves it."""
STORE = 80_000_000
"""Bytes of each node's object store; Ray's least is 75 MB."""


class Spaces:
    """Network namespaces: `head` with a bridge, and one for each node. Use it as a context."""

    def __init__(self, *nodes: str) -> None:
        self._name = f"vb{os.getpid()}"
        self._nodes = nodes

    def __enter__(self) -> Spaces:
        if os.geteuid() or not shutil.which("ip"):
            pytest.skip("network namespaces need root and the command ip")
        try:
            for node in ("head", *self._nodes):
                _ip("netns", "add", self._of(node))
                _ip("-n", self._of(node), "link", "set", "lo", "up")
            _ip("-n", self._of("head"), "link", "add", "bridge", "type", "bridge")
            _ip(
                "-n", self._of("head"), "addr", "add", f"{self.address('head')}/24", "dev", "bridge"
            )
            _ip("-n", self._of("head"), "link", "set", "bridge", "up")
            for node in self._nodes:
                self._connect(node)
        except subprocess.CalledProcessError as error:
            self.__exit__()
            pytest.skip(f"this machine makes no network namespaces: {error.stderr!r}")
        return self

    def __exit__(self, *_: object) -> None:
        for node in ("head", *self._nodes):
            subprocess.run(["ip", "netns", "del", self._of(node)], capture_output=True, check=False)

    def address(self, node: str) -> str:
        return f"10.77.0.{1 + ('head', *self._nodes).index(node)}"

    def inside(self, node: str) -> list[str]:
        """Words before a command that runs there."""
        return ["ip", "netns", "exec", self._of(node)]

    def plug(self, node: str, state: str) -> None:
        """Sets the cable of a node `down` or `up`."""
        _ip("-n", self._of("head"), "link", "set", f"to-{node}", state)

    def _connect(self, node: str) -> None:
        head, its = self._of("head"), self._of(node)
        _ip(
            "-n",
            head,
            "link",
            "add",
            f"to-{node}",
            "type",
            "veth",
            "peer",
            "name",
            "cable",
            "netns",
            its,
        )
        _ip("-n", head, "link", "set", f"to-{node}", "master", "bridge", "up")
        _ip("-n", its, "addr", "add", f"{self.address(node)}/24", "dev", "cable")
        _ip("-n", its, "link", "set", "cable", "up")

    def _of(self, node: str) -> str:
        return f"{self._name}{node}"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], capture_output=True, check=True)


@dataclass
class Cluster:
    """One head; nodes by their names."""

    folder: Path
    port: int
    token: bool = True
    tls: bool = False
    nodes: list[str] = field(default_factory=list)
    spaces: Spaces | None = None
    _host: str = ""
    _head: subprocess.Popen[bytes] | None = None

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
            **(_certificates(self.folder) if self.tls else {}),
        }

    def start_head(self) -> None:
        words = ("--head", "--include-dashboard=false", f"--port={self.port}", "--num-gpus=0")
        if self.spaces:
            self._start_blocked("head", *words)
            self._host = self.spaces.address("head")
            return
        text = self._start("head", *words)
        self._host = text.split("Local node IP: ")[1].split()[0]

    def _start_blocked(self, name: str, *words: str) -> None:
        """Starts a head that sees no process of the nodes, which it would take for a head at its address."""
        log, kept = self.folder / f"{name}.log", self.folder / "kept"
        kept.mkdir(exist_ok=True)
        stored = {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(kept)}
        alone = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
        with log.open("wb") as file:
            self._head = subprocess.Popen(
                [*alone, *self._words(name, *words, "--block")],
                env={**environment(), **self.access, **stored, MARK: f"{self.folder}:{name}"},
                stdout=file,
                stderr=file,
            )
        eventually(lambda: b"Ray runtime started" in log.read_bytes(), "a head")

    def _words(self, name: str, *words: str) -> list[str]:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        before = self.spaces.inside(name) if self.spaces else []
        host = [f"--node-ip-address={self.spaces.address(name)}"] if self.spaces else []
        return [
            *(*before, sys.executable, "-m", "ray.scripts.scripts", "start", *words, *host),
            *(f"--node-name={name}", f"--temp-dir={folder}", "--num-cpus=1"),
            *(f"--object-store-memory={STORE}",),
            *("--min-worker-port=0", "--max-worker-port=0", "--disable-usage-stats"),
        ]

    def start_nodes(self, *names: str, cards: int = 2) -> None:
        words = (f"--address={self.address}", f"--num-gpus={cards}", SPARE)
        threads = [threading.Thread(target=self._start, args=(name, *words)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _start(self, name: str, *words: str) -> str:
        done = subprocess.run(
            self._words(name, *words),
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
                words = (
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
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
        if name == "head" and self._head:
            self._head.wait()


def _certificates(folder: Path) -> dict[str, str]:
    """Variables for TLS, with a certificate of this machine that signs itself."""
    key, certificate = folder / "tls.key", folder / "tls.crt"
    if not certificate.exists():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside:
            outside.connect(("192.0.2.1", 9))  # sends nothing
            own = outside.getsockname()[0]
        words = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=ray")
        names = f"subjectAltName=DNS:localhost,IP:127.0.0.1,IP:{own}"
        files = ("-keyout", key, "-out", certificate, "-addext", names)
        subprocess.run(["openssl", *words, *files], capture_output=True, check=True)
    return {
        "RAY_USE_TLS": "1",
        "RAY_TLS_SERVER_CERT": str(certificate),
        "RAY_TLS_SERVER_KEY": str(key),
        "RAY_TLS_CA_CERT": str(certificate),
    }


@contextmanager
def cluster(
    *names: str,
    token: bool = True,
    tls: bool = False,
    spaces: Spaces | None = None,
    cards: int = 2,
) -> Iterator[Cluster]:
    """A head and nodes with `cards` pretended cards each."""
    with short_folder("vbc") as folder:
        (folder / "token").write_text(secrets.token_hex(32))
        (folder / "token").chmod(0o600)
        made = Cluster(folder, free_ports(), token, tls, spaces=spaces)
        try:
            made.start_head()
            made.start_nodes(*names, cards=cards)
            yield made
        finally:
            for name in ("head", *names, *made.nodes):
                made.kill(name)
