"""How long `status` and `cancel` take to be answered while others send at full rate.

    python benchmarks/control.py [--clients 2] [--megabytes 1024] [--shared] [--work FOLDER] [--json]

Clients, each a process, send files of noise of 32 MB to one daemon. With `--shared` the daemon imports them.
Meanwhile another connection asks for the status of a job and cancels one, again and again. Each is timed from the
question to the answer. The same is timed before, while nobody sends. `cancel` ends a job that waits for its files.
It writes to the job table, and is answered when that is on disk. `commit` is the limit of that without a daemon:
one row into a table of SQLite, while another process writes files of noise, each fsynced.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
from served import Served, serving

from voidbridge_protocol.client import Client
from voidbridge_protocol.job_task import Listener
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.transfer.upload import hash_file
from voidbridge_protocol.wire.connection import ConnectionOptions, ServerConnection
from voidbridge_protocol.wire.messages import (
    OLDEST,
    PROTOCOL,
    Accepted,
    FrameFile,
    Hello,
    Request,
    Submit,
)

FILE = 32 << 20
PAUSE_S = 0.005
"""Between two questions: somebody who asks, not somebody who floods."""


def send(
    address: str, number: int, folder: Path, total: int, ready: Event, go: Event, done: Event
) -> None:
    """Sends `total` bytes of noise that nobody else has, as fast as they are taken."""
    found: list[tuple[FrameFile, Path]] = []
    for frame in range(max(total // FILE, 1)):
        path = folder / f"{number}.{frame}"
        path.write_bytes(os.urandom(FILE))
        found.append((hash_file(path, "plate", frame), path))
    sent = handed = 0

    def more() -> Sequence[tuple[FrameFile, Path]] | None:
        nonlocal found
        now, found = found, []
        return now or (() if sent + handed * FILE < total else None)

    def note(bytes_sent: int, _: int) -> None:
        nonlocal sent
        sent = bytes_sent

    def note_handed(files: int, _: int) -> None:
        nonlocal handed
        handed = files

    ready.set()
    go.wait()
    with Client(address, user=f"sender {number}", software="benchmark") as client:
        client.prefetch(more, Listener(sent=note, imported=note_handed))
    done.set()


def write(folder: Path, ready: Event, stop: Event) -> None:
    """Writes files and fsyncs each, as the daemon's thread does, until told to stop."""
    noise = os.urandom(FILE)
    ready.set()
    while not stop.is_set():
        with (folder / "noise").open("wb") as file:
            file.write(noise)
            file.flush()
            os.fsync(file.fileno())


def commits(folder: Path, rows: int) -> dict[str, float]:
    """Milliseconds that a row takes to be on disk beside `write`."""
    spawn = multiprocessing.get_context("spawn")
    ready, stop = spawn.Event(), spawn.Event()
    writer = spawn.Process(target=write, args=(folder, ready, stop))
    writer.start()
    table = sqlite3.connect(folder / "bare.db", isolation_level=None)
    table.execute("PRAGMA journal_mode = WAL")
    table.execute("PRAGMA synchronous = FULL")
    table.execute("CREATE TABLE jobs (number INTEGER)")
    ready.wait()
    took = []
    for number in range(rows):
        began = time.perf_counter()
        table.execute("INSERT INTO jobs VALUES (?)", (number,))
        took.append(time.perf_counter() - began)
        time.sleep(PAUSE_S)
    stop.set()
    writer.join()
    table.close()
    return shares("commit", took)


def shares(name: str, seconds: list[float]) -> dict[str, float]:
    """The median, the 99th percentile and the longest, in milliseconds."""
    return {
        f"{name}_{label}_ms": round(float(np.percentile(seconds, share)) * 1e3, 1)
        for label, share in (("p50", 50), ("p99", 99), ("most", 100))
    }


class Asker:
    """Somebody with jobs that lack their files."""

    def __init__(self, daemon: Served) -> None:
        hello = Hello(OLDEST, PROTOCOL, os.urandom(16).hex(), "asker", "benchmark")
        self._wire = ServerConnection(ConnectionOptions(daemon.address, hello, 10.0, 10.0))
        self._client = Client(daemon.address, user="asker", software="benchmark", patience=10.0)
        self._jobs = 0
        self.took: dict[str, list[float]] = {"status": [], "cancel": []}

    def ask(self) -> None:
        """Submits a job, asks for its status, cancels it."""
        job = self._submit()
        for name, question in (("status", self._client.status), ("cancel", self._client.cancel)):
            began = time.perf_counter()
            question(job)
            self.took[name].append(time.perf_counter() - began)
            time.sleep(PAUSE_S)

    def figures(self) -> dict[str, float]:
        """Milliseconds since the last time that this was asked for."""
        found: dict[str, float] = {"questions": len(self.took["status"])}
        for name, seconds in self.took.items():
            found |= shares(name, seconds)
        self.took = {name: [] for name in self.took}
        return found

    def _submit(self) -> str:
        self._jobs += 1
        files = tuple(
            FrameFile(role, 1, f"{index:064x}", FILE)
            for index, role in enumerate(("matte", "plate"))
        )
        request = Request(1, 1, RemoveSettings(engine="echo", seed=self._jobs), files)
        self._wire.send(Submit(), request.canonical())
        for message, _ in self._wire.answers():
            if isinstance(message, Accepted):
                return message.job
        raise AssertionError("answers() ends by raising")


def measure(
    work: Path, clients: int, megabytes: int, alone: int, shared: bool = False
) -> dict[str, Any]:
    bare = commits(work, alone)
    spawn = multiprocessing.get_context("spawn")
    with serving(work / "daemon", shares=str(work) if shared else "") as daemon:
        go, each = spawn.Event(), [(spawn.Event(), spawn.Event()) for _ in range(clients)]
        total = max((megabytes << 20) // FILE, 1) * FILE
        senders = [
            spawn.Process(target=send, args=(daemon.address, number, work, total, ready, go, done))
            for number, (ready, done) in enumerate(each)
        ]
        for sender in senders:
            sender.start()
        for ready, _ in each:
            ready.wait()
        asker = Asker(daemon)
        for _ in range(alone):
            asker.ask()
        quiet = asker.figures()
        go.set()
        began = time.perf_counter()
        while not any(done.is_set() for _, done in each):
            asker.ask()
        busy = asker.figures()
        for sender in senders:
            sender.join()
        rate = clients * total / (time.perf_counter() - began)
    return {
        "clients": clients,
        "sent_mb_s": round(rate / 2**20),
        "bare": bare,
        "quiet": quiet,
        "busy": busy,
    }


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--clients", type=int, default=2)
    options.add_argument("--megabytes", type=int, default=1024, help="that each of them sends")
    options.add_argument("--alone", type=int, default=200, help="questions before anybody sends")
    options.add_argument("--shared", action="store_true", help="import by path instead of sending")
    options.add_argument("--work", type=Path, default=None, help="on the disk to be measured")
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    if chosen.work:
        chosen.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=chosen.work) as folder:
        report = measure(
            Path(folder), chosen.clients, chosen.megabytes, chosen.alone, chosen.shared
        )
    if chosen.json:
        print(json.dumps(report))
        return
    print(f"{chosen.clients} clients send {report['sent_mb_s']} MB/s")
    for name in ("bare", "quiet", "busy"):
        print(f"{name:6}" + "  ".join(f"{key} {value}" for key, value in report[name].items()))


if __name__ == "__main__":
    main()
