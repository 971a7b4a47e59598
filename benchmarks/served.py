"""A daemon to be measured, as a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from voidbridge_backend.daemon.net import allowed_keys
from voidbridge_backend.daemon.net.allowed_keys import Identity
from voidbridge_protocol.client import Client
from voidbridge_protocol.wire import keys
from voidbridge_protocol.wire.keys import DAEMON, KEY_FILES, Keys

NAME = "benchmark"


@dataclass(frozen=True)
class Served:
    """Where a daemon listens, which process it is, and with which keys one comes in."""

    address: str
    pid: int
    keys: Keys | None

    def client(self, user: str = NAME) -> Client:
        return Client(self.address, user=user, software=NAME, keys=self.keys)

    def cpu_seconds(self) -> float:
        """Returns the usage of the daemon's own process so far, without its workers."""
        return cpu_seconds(self.pid)

    def cpu_seconds_of_workers(self) -> float:
        """Returns the usage of its workers so far."""
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return sum(cpu_seconds(int(word)) for word in listed.split())


@contextmanager
def serving(folder: Path, *, encrypted: bool = False, shares: str = "") -> Iterator[Served]:
    """A daemon with a worker that is ready: on a Unix socket, or `encrypted` on TCP. Its spool is in `folder`."""
    folder.mkdir(mode=0o700)
    # Not in `folder`: the path of a Unix socket has a hundred characters at most.
    sockets = tempfile.TemporaryDirectory(prefix="voidbridge-")
    address = f"tcp://127.0.0.1:{_two_free_ports()}" if encrypted else f"ipc://{sockets.name}/ctl"
    words = ["serve", "--listen", address, "--spool", str(folder / "spool"), "--shares", shares]
    known = _keys(folder / "keys") if encrypted else None
    if known:
        words += ["--keys", str(folder / "keys"), "--require-keys"]
    log = folder / "log"
    with (
        sockets,
        log.open("wb") as errors,
        subprocess.Popen([sys.executable, "-m", "voidbridge_backend", *words], stderr=errors) as it,
    ):
        try:
            while "worker ready" not in log.read_text():
                if it.poll() is not None:
                    raise SystemExit(log.read_text())
                time.sleep(0.05)
            yield Served(address, it.pid, known)
        finally:
            it.terminate()


def _keys(folder: Path) -> Keys:
    """New ones of a client and its daemon, which lets it in."""
    daemon, own = keys.make(), keys.make()
    keys.write(folder / KEY_FILES[DAEMON], daemon)
    allowed_keys.allow(folder / allowed_keys.FILE, Identity(NAME, own.public))
    return Keys(own, daemon.public)


def _two_free_ports() -> int:
    """The first of two: the bulk socket takes the next one. Below those that outgoing connections are given."""
    for port in range(20_000, 30_000, 2):
        with socket.socket() as one, socket.socket() as other, suppress(OSError):
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 1))
            return port
    raise SystemExit("no two ports in a row are free")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
