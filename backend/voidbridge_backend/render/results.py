"""Encodes and writes finished frames on threads, a bounded number at once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from voidbridge_backend.exr.seal import sealed_pieces
from voidbridge_protocol.errors import VoidbridgeError
from voidbridge_protocol.transfer.atomic_files import write_whole
from voidbridge_protocol.wire.values import ResultFile

from .job import Announce, RenderJob

Stats = TypeVar("Stats")

ENCODERS = max(2, min(8, (os.cpu_count() or 2))) + 1
"""Frames encoded at once. Encoding costs as much as all other work together, and one waits for the disk."""


@dataclass(frozen=True)
class EncodedFrame(Generic[Stats]):
    """A result's file, and optionally how to measure it once it is announced."""

    data: bytes
    measure: Callable[[], Stats] | None = None


class ResultWriter(Generic[Stats]):
    """Writes FRAME.exr for each frame that is put, and announces it. Use it as a context.

    `on_stats` gets the measurements in the order of `put`, on the caller's thread.
    """

    def __init__(
        self,
        job: RenderJob,
        announce: Announce,
        on_stats: Callable[[Stats], object] = lambda _: None,
    ) -> None:
        self._job = job
        self._announce = announce
        self._on_stats = on_stats
        self._threads = ThreadPoolExecutor(ENCODERS, "encodes")
        self._pending: list[Future[Stats | None]] = []

    def __enter__(self) -> ResultWriter[Stats]:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self._collect(0)
        finally:
            self._threads.shutdown(wait=True, cancel_futures=True)

    def put(self, frame: int, encode: Callable[[], EncodedFrame[Stats]]) -> None:
        """Queues a frame. `encode` makes the file, on a thread. Blocks while too many are pending.

        Raises `JobCancelled`, and what an earlier frame failed of.
        """
        self._job.raise_if_cancelled()
        self._collect(ENCODERS)
        self._pending.append(self._threads.submit(self._finish, frame, encode))

    def _collect(self, most: int) -> None:
        while len(self._pending) > most:
            either: tuple[Future[Any], ...] = (self._pending[0], self._job.cancelled_future)
            wait(either, return_when=FIRST_COMPLETED)
            self._job.raise_if_cancelled()
            stats = self._pending.pop(0).result()
            if stats is not None:
                self._on_stats(stats)

    def _finish(self, frame: int, encode: Callable[[], EncodedFrame[Stats]]) -> Stats | None:
        with _about(frame):
            encoded = encode()
            pieces = sealed_pieces(encoded.data)
            self._job.raise_if_cancelled()
            write_whole(self._job.folder / f"{frame}.exr", *pieces)
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
        self._announce(ResultFile(frame, digest.hexdigest(), sum(map(len, pieces))))
        return encoded.measure() if encoded.measure else None


@contextmanager
def _about(frame: int) -> Iterator[None]:
    """Adds the frame number to an error, once."""
    try:
        yield
    except VoidbridgeError as error:
        if f"frame {frame}" in error.text:
            raise
        raise type(error)(f"frame {frame}: {error.text}", error.hint) from error
