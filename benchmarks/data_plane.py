"""How close frames come to the machine's own limits on their way to a daemon and back.

    python benchmarks/data_plane.py [--frames 24] [--size 3840x2160] [--json]

Everything is measured in one run, limits beside what is held against them:

* `upload_vs_limit`, `download_vs_limit`: bytes a second of a 4K half ZIP shot into and out of a daemon, over the
  slower of bare chunked ZeroMQ on loopback and bare fsynced writing of the same files.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zmq
from pixels import draw, task_of

from voidbridge_protocol.client import Client
from voidbridge_protocol.conversation import Listener, Task
from voidbridge_protocol.messages import MAX_CHUNK

WINDOW = 16 << 20


def _swallow(address: str, total: int) -> None:
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.rcvhwm = 256
    router.bind(address)
    taken = 0
    while taken < total:
        peer, piece = router.recv_multipart(copy=False)
        taken += len(piece.buffer)
        router.send_multipart([peer.bytes, str(len(piece.buffer)).encode()])
    time.sleep(0.2)
    context.destroy(linger=0)


def loopback_limit(total: int) -> float:
    """Bytes a second of 2 MiB chunks on 16 MiB of credit between two processes, and nothing else done."""
    with tempfile.TemporaryDirectory() as folder:
        address = f"ipc://{folder}/bare"
        other = multiprocessing.get_context("spawn").Process(target=_swallow, args=(address, total))
        other.start()
        while not Path(f"{folder}/bare").exists():
            time.sleep(0.01)
        context = zmq.Context()
        dealer = context.socket(zmq.DEALER)
        dealer.sndhwm = 256
        dealer.connect(address)
        piece = bytes(os.urandom(MAX_CHUNK))
        began, sent, back = time.perf_counter(), 0, 0
        while back < total:
            while sent < total and sent - back + len(piece) <= WINDOW:
                dealer.send(piece, copy=False)
                sent += len(piece)
            back += int(dealer.recv())
        seconds = time.perf_counter() - began
        other.join()
        context.destroy(linger=0)
    return total / seconds


def disk_limit(folder: Path, files: list[bytes]) -> float:
    """Bytes a second of writing these files, each fsynced."""
    target = folder / "bare"
    target.mkdir()
    began = time.perf_counter()
    for number, data in enumerate(files):
        with (target / str(number)).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    seconds = time.perf_counter() - began
    for path in target.iterdir():
        path.unlink()
    return sum(map(len, files)) / seconds


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A daemon with a worker that is ready."""
    address = f"ipc://{folder}/ctl"
    command = [sys.executable, "-m", "voidbridge_backend", "serve", "--listen", address]
    log = (folder / "log").open("w+")
    with subprocess.Popen([*command, "--spool", str(folder / "spool")], stderr=log) as daemon:
        while "worker ready" not in (folder / "log").read_text():
            time.sleep(0.05)
        yield address
        daemon.terminate()


class Stopwatch:
    """When bytes began and ended to move."""

    def __init__(self) -> None:
        self.began = self.ended = 0.0

    def tick(self, *_: object) -> None:
        self.ended = time.perf_counter()
        self.began = self.began or self.ended

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def transfers(work: Path, task: Task) -> tuple[float, float]:
    """(upload, download): bytes a second through a daemon."""
    with serving(work) as address:
        who = {"user": "benchmark", "software": "benchmark"}
        up = Stopwatch()
        with Client(address, **who) as client:
            listener = Listener(sent=up.tick)
            outcome = client.run(task, listener, wait=False)
            up.tick()
        with Client(address, **who) as client:
            client.fetch(outcome.job, lambda frame: work / "first" / f"{frame}.exr")
        down = time.perf_counter()
        with Client(address, **who) as client:
            client.fetch(outcome.job, lambda frame: work / "again" / f"{frame}.exr")
        down = time.perf_counter() - down
    total = sum(path.stat().st_size for path in (work / "again").iterdir())
    return outcome.uploaded / up.seconds, total / down


def measure(work: Path, frames: int, width: int, height: int) -> dict[str, Any]:
    source = work / "source"
    source.mkdir()
    draw(source, frames, width, height)
    task = task_of(source, "echo")
    files = [path.read_bytes() for path in sorted(source.glob("plate.*.exr"))]
    loopback = loopback_limit(sum(map(len, files)))
    disk = disk_limit(work, files)
    limit = min(loopback, disk)
    upload, download = transfers(work, task)
    return {
        "frames": frames,
        "frame_mb": round(len(files[0]) / 2**20, 1),
        "loopback_mb_s": round(loopback / 2**20),
        "disk_mb_s": round(disk / 2**20),
        "upload_mb_s": round(upload / 2**20),
        "download_mb_s": round(download / 2**20),
        "upload_vs_limit": round(upload / limit, 3),
        "download_vs_limit": round(download / limit, 3),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--frames", type=int, default=24)
    options.add_argument("--size", default="3840x2160")
    options.add_argument("--work", type=Path, default=None, help="on the disk to be measured")
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    width, height = (int(edge) for edge in chosen.size.split("x"))
    if chosen.work:
        chosen.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=chosen.work) as folder:
        report = measure(Path(folder), chosen.frames, width, height)
    if chosen.json:
        print(json.dumps(report))
    else:
        print("\n".join(f"{key:22} {value}" for key, value in report.items()))


if __name__ == "__main__":
    main()
