"""A small shot of noise on disk and a client, for tests against a fake daemon.

Loaded under the name `voidbridge_artist` by `conftest.py`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from voidbridge_protocol.client import Client
from voidbridge_protocol.job_task import JobTask
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.testing.fake_daemon import FakeDaemon
from voidbridge_protocol.transfer.upload import hash_file
from voidbridge_protocol.wire.messages import Request


def client_of(daemon: FakeDaemon, patience: float = 60.0, reconnect: float = 60.0) -> Client:
    return Client(
        daemon.address, user="ana", software="tests", patience=patience, reconnect=reconnect
    )


def noise(seed: str, size: int) -> bytes:
    return hashlib.shake_128(seed.encode()).digest(size)


def shot(folder: Path, frames: int = 2, size: int = 2500) -> JobTask:
    """Plates and mattes of noise, frames from 1001; results go to `out`."""
    files, paths = [], []
    for role in ("matte", "plate"):
        for frame in range(1001, 1001 + frames):
            path = folder / f"{role}.{frame}.exr"
            path.write_bytes(noise(path.name, size))
            files.append(hash_file(path, role, frame))
            paths.append(path)
    request = Request(1001, 1000 + frames, RemoveSettings(engine="echo"), tuple(files))
    return JobTask(request, paths, lambda frame: folder / "out" / f"result.{frame}.exr")


def results(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "out").iterdir())}


def plates(folder: Path) -> dict[str, bytes]:
    return {
        path.name.replace("plate", "result"): path.read_bytes()
        for path in sorted(folder.glob("plate.*.exr"))
    }
