"""Measures the limits of this machine, one task at a time, for comparison with other benchmarks."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import zmq

from voidbridge_backend.worker import malloc
from voidbridge_protocol.wire import keys
from voidbridge_protocol.wire.keys import Pair
from voidbridge_protocol.wire.messages import MAX_CHUNK

WINDOW = 16 << 20
"""Bytes on their way at once."""


class Bare(NamedTuple):
    """One thing done and nothing else."""

    rate: float
    """Bytes a second."""
    cost: float
    """Seconds of processor time a byte, of all processes."""


def loopback(total: int) -> Bare:
    """2 MiB chunks on credit between two processes, over a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="voidbridge-") as folder:
        return _chunks(total, f"ipc://{folder}/bare", None)


def encrypted_loopback(total: int) -> Bare:
    """The same with CURVE, over TCP."""
    return _chunks(total, "tcp://127.0.0.1:*", keys.make())


def warm(folder: Path, total: int) -> None:
    """Has the system own `total` bytes of memory for files.

    A virtual machine may have to ask its host for each page that was not used lately, and gives what is free back
    after some two seconds. Writing a file can then take ten times as long. Call this just before each
    measurement.
    """
    path, piece = folder / "warm", bytes(MAX_CHUNK)
    with path.open("wb") as file:
        for _ in range(0, total, len(piece)):
            file.write(piece)
    path.unlink()


def stolen_seconds() -> float:
    """Processor time of all cores that the host of this virtual machine gave to others, since its start."""
    try:
        words = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    except OSError:  # not Linux
        return 0.0
    return int(words[8]) / os.sysconf("SC_CLK_TCK")


def disk(folder: Path, files: Iterable[Path]) -> Bare:
    """Writing copies of these files, each fsynced."""
    target = folder / "copies"
    target.mkdir()
    total, seconds, used = 0, 0.0, 0.0
    for number, source in enumerate(files):
        data = source.read_bytes()
        began, before = time.perf_counter(), time.process_time()
        with (target / str(number)).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        seconds += time.perf_counter() - began
        used += time.process_time() - before
        total += len(data)
    shutil.rmtree(target)
    return Bare(total / seconds, used / total)


def hashing(files: Iterable[Path]) -> Bare:
    """SHA-256 on one core, of files that the system has read before."""
    total, began, before = 0, time.perf_counter(), time.process_time()
    for source in files:
        digest = hashlib.sha256()
        with source.open("rb", buffering=0) as file:
            while piece := file.read(MAX_CHUNK):
                digest.update(piece)
                total += len(piece)
    return Bare(total / (time.perf_counter() - began), (time.process_time() - before) / total)


def _chunks(total: int, address: str, daemon: Pair | None) -> Bare:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    other = spawn.Process(target=_swallow, args=(address, daemon, total, theirs))
    other.start()
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.sndhwm = 256
    if daemon:
        own = keys.make()
        dealer.curve_serverkey = daemon.public.encode()
        dealer.curve_publickey, dealer.curve_secretkey = own.public.encode(), own.secret.encode()
    dealer.connect(ours.recv())
    piece = os.urandom(MAX_CHUNK)
    dealer.send(piece)  # once the answer is here, both sides know each other
    dealer.recv()
    began, before, sent, back = time.perf_counter(), time.process_time(), 0, 0
    while back < total:
        while sent < total and sent - back + len(piece) <= WINDOW:
            dealer.send(piece, copy=False)
            sent += len(piece)
        back += int(dealer.recv())
    seconds, used = time.perf_counter() - began, time.process_time() - before
    ours.send(None)
    used += ours.recv()
    other.join()
    context.destroy(linger=0)
    return Bare(total / seconds, used / total)


def _swallow(address: str, own: Pair | None, total: int, say: Connection) -> None:
    malloc.keep_large_blocks()  # as a daemon does
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.rcvhwm = 256
    if own:
        router.curve_server = True
        router.curve_secretkey = own.secret.encode()
    router.bind(address)
    say.send(router.last_endpoint.decode().rstrip("\0"))
    taken, before = -MAX_CHUNK, 0.0  # the first is the greeting
    while taken < total:
        peer, piece = router.recv_multipart(copy=False)
        taken += len(piece.buffer)
        before = before or time.process_time()
        router.send_multipart([peer.bytes, str(len(piece.buffer)).encode()])
    used = time.process_time() - before
    say.recv()
    say.send(used)
    context.destroy(linger=0)
