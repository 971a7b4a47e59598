"""How close frames come to the machine's own limits on their way to a daemon, through it, and back.

    python benchmarks/data_plane.py [--frames 24] [--size 3840x2160] [--json]

Everything is measured in one run, limits beside what is held against them:

* `upload_vs_limit`, `download_vs_limit`: bytes a second of a 4K half ZIP shot into and out of a daemon, over the
  slower of bare chunked ZeroMQ on loopback and bare fsynced writing of the same files.
* `shot_echo_vs_codec`: frames a second of the whole shot with the engine `echo`, over decoding and encoding the
  same frames with OpenEXR and doing nothing else, one frame a thread on every core. The two take turns, and the
  best of each counts, so that what else the machine does matters less.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenEXR
import zmq

from voidbridge_backend import engine, shot
from voidbridge_backend.assignment import Assignment
from voidbridge_backend.plate.fresh import new_file
from voidbridge_backend.plate.sequence import Sequence
from voidbridge_protocol.client import Client
from voidbridge_protocol.conversation import Listener, Task
from voidbridge_protocol.messages import MAX_CHUNK, Settings

FIRST = 1001
WINDOW = 16 << 20
TURNS = 3


def draw(folder: Path, frames: int, width: int, height: int) -> None:
    """A grainy plate, of which ZIP takes off a third as of a real one, and a matte on a quarter of the rows."""
    rng = np.random.default_rng(5)
    base = cv2.resize(rng.random((height // 24, width // 24, 3), np.float32), (width, height)) ** 2
    mask = np.zeros((height, width), np.float16)
    mask[height * 3 // 8 : height * 5 // 8, width * 3 // 8 : width * 5 // 8] = 1
    for frame in range(FIRST, FIRST + frames):
        grain = rng.standard_normal((height, width, 3), np.float32)
        half = (base + grain * (0.0025 + 0.018 * np.sqrt(base))).astype(np.float16)
        planes = {name: half[..., i] for i, name in enumerate("RGB")}
        (folder / f"plate.{frame}.exr").write_bytes(new_file(planes))
        (folder / f"matte.{frame}.exr").write_bytes(new_file({"A": mask}))


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


class Quiet:
    """A watch that hears nothing."""

    def step(self, stage: str, done: int, of: int) -> None: ...

    def warn(self, text: str) -> None: ...


def shot_rate(folder: Path, task: Task) -> float:
    """Frames a second of the whole shot with `echo`; the results are in `folder`, which is made."""
    paths = {file.sha256: path for file, path in zip(task.request.files, task.sources, strict=True)}
    folder.mkdir()
    echo = engine.make("echo")
    order = shot.Order("benchmark", task.request, lambda sha256: paths[sha256], folder)
    began = time.perf_counter()
    shot.run(order, echo, Quiet(), lambda result: None)
    frames = task.request.last - task.request.first + 1
    return frames / (time.perf_counter() - began)


def codec_rate(plates: list[Path]) -> float:
    """Frames a second of OpenEXR's decoding and encoding, one frame a thread, and nothing else."""

    def through(path: Path) -> int:
        file = OpenEXR.File(str(path), separate_channels=True, num_threads=0)
        header = {
            "compression": OpenEXR.ZIP_COMPRESSION,
            "type": OpenEXR.scanlineimage,
        }
        planes = {name: channel.pixels for name, channel in file.channels().items()}
        out = io.BytesIO()
        OpenEXR.File(header, planes, num_threads=0).write(out)
        return len(out.getvalue())

    began = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(through, plates))
    return len(plates) / (time.perf_counter() - began)


def measure(work: Path, frames: int, width: int, height: int) -> dict[str, Any]:
    source = work / "source"
    source.mkdir()
    draw(source, frames, width, height)
    assignment = Assignment(
        plate=Sequence.parse(source / "plate.####.exr"),
        matte=Sequence.parse(source / "matte.####.exr"),
        affected=None,
        frames=None,
        handles=0,
        settings=Settings(engine="echo", color_space="ACEScg"),
    )
    task = assignment.task(lambda frame: Path(), lambda done, of: None, lambda: False)
    plates = sorted(source.glob("plate.*.exr"))
    files = [path.read_bytes() for path in plates]
    loopback = loopback_limit(sum(map(len, files)))
    disk = disk_limit(work, files)
    limit = min(loopback, disk)
    upload, download = transfers(work, task)
    codec = whole = 0.0
    for turn in range(TURNS):
        codec = max(codec, codec_rate(plates))
        whole = max(whole, shot_rate(work / f"shot{turn}", task))
    return {
        "frames": frames,
        "frame_mb": round(len(files[0]) / 2**20, 1),
        "loopback_mb_s": round(loopback / 2**20),
        "disk_mb_s": round(disk / 2**20),
        "upload_mb_s": round(upload / 2**20),
        "download_mb_s": round(download / 2**20),
        "codec_frames_s": round(codec, 2),
        "shot_echo_frames_s": round(whole, 2),
        "upload_vs_limit": round(upload / limit, 3),
        "download_vs_limit": round(download / limit, 3),
        "shot_echo_vs_codec": round(whole / codec, 3),
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
