"""Runs work on all cores and returns results in order.

OpenCV and NumPy release the GIL while they compute, so threads are enough.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import TypeVar

import cv2

Item = TypeVar("Item")
Made = TypeVar("Made")

THREADS = max(2, min(8, os.cpu_count() or 2))
"""At 4K a thread holds a few hundred MB."""
HEARTBEAT_S = 0.2
"""Seconds between two heartbeats while waiting for a result."""
STILL_S = 120.0
"""Stops heartbeats if nothing finished for this many seconds, so that hung work is detected."""


class Pool:
    """A context manager.

    Only a waiting thread from outside the pool calls `heartbeat`. Its exceptions end the work.

    After the first pool starts, OpenCV uses no threads of its own in this process.
    """

    def __init__(self, heartbeat: Callable[[], None] = lambda: None) -> None:
        self.heartbeat = heartbeat
        self._here = threading.local()
        self._moved = time.monotonic()
        self._threads = ThreadPoolExecutor(THREADS, "works", self._mark)
        self._leader = ThreadPoolExecutor(1, "leads", self._mark)

    def __enter__(self) -> Pool:
        # OpenCV's own threads would compete for the same cores, and each call would wait for the slowest.
        cv2.setNumThreads(1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._leader.shutdown(wait=True, cancel_futures=True)

    def each(self, work: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
        """Applies `work` to every item, as many at once as there are threads; `work` never calls `each`."""
        return self._in_order(self._threads, THREADS, work, items)

    def ahead(self, work: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
        """Like `each`, but one at a time and at most one item ahead of the consumer.

        `work` may call `each`: it runs on a separate thread.
        """
        return self._in_order(self._leader, 1, work, items)

    def _in_order(
        self,
        threads: ThreadPoolExecutor,
        most: int,
        work: Callable[[Item], Made],
        items: Iterable[Item],
    ) -> Iterator[Made]:
        begun: deque[Future[Made]] = deque()
        for item in items:
            begun.append(threads.submit(self._done, work, item))
            if len(begun) > most:
                yield self._taken(begun.popleft())
        while begun:
            yield self._taken(begun.popleft())

    def _done(self, work: Callable[[Item], Made], item: Item) -> Made:
        self._moved = time.monotonic()
        made = work(item)
        self._moved = time.monotonic()
        return made

    def _taken(self, future: Future[Made]) -> Made:
        while True:
            if not getattr(self._here, "ours", False) and time.monotonic() - self._moved < STILL_S:
                self.heartbeat()
            # Asks the future itself: `wait` never returns for one that a shutdown cancelled.
            if future.done():
                return future.result()
            wait([future], HEARTBEAT_S)

    def _mark(self) -> None:
        self._here.ours = True
