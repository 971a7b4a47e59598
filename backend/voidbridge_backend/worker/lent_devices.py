"""The devices that the daemon lends to the job of this worker.

Each has a worker of its own. Tasks and answers are files in the job's folder; the daemon passes on their numbers.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from voidbridge_backend.engines.base import LentAnswer

from .task_files import answer_path, task_path


class LentByDaemon:
    """The `LentDevices` of one job."""

    def __init__(
        self, send: Callable[..., None], job: str, folder: Path, operation: str, engine: str
    ) -> None:
        self._send, self._job, self._folder = send, job, folder
        self._names = {"operation": operation, "engine": engine}
        self._news: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
        self._tasks: dict[str, int | None] = {}
        """The task of each lent device, None for an idle one."""
        self._last = self._wanted = 0

    def tell(self, news: Mapping[str, Any]) -> None:
        """Takes news of the daemon, on any thread."""
        if news["job"] == self._job:
            self._news.put(news)

    def want(self, count: int) -> None:
        if count != self._wanted:
            self._wanted = count
            self._send("more devices", count=count)

    def idle(self) -> Sequence[str]:
        return [device for device, task in self._tasks.items() if task is None]

    def ask(self, device: str, task: bytes) -> None:
        self._last += 1
        task_path(self._folder, self._last).write_bytes(task)
        self._tasks[device] = self._last
        self._send("ask", device=device, task=self._last, **self._names)

    def answers(self, wait_s: float) -> Sequence[LentAnswer]:
        found: list[LentAnswer] = []
        try:
            while True:
                # Further news is there already, or comes with the next call.
                found += self._heard(self._news.get(timeout=0 if found else max(wait_s, 0)))
        except queue.Empty:
            return found

    def close(self) -> None:
        """Gives all devices back and deletes the files of tasks without an answer."""
        self.want(0)
        for number in self._tasks.values():
            self._delete(number)

    def _heard(self, news: Mapping[str, Any]) -> list[LentAnswer]:
        device, why = str(news["device"]), str(news.get("why", ""))
        if news["do"] == "lent":
            self._tasks[device] = None
            return []
        if news["do"] == "unlent":
            number = self._tasks.pop(device, None)
            self._delete(number)
            return [LentAnswer(device, None, why)] if why or number is not None else []
        number = self._tasks.get(device)
        if number is None or number != news["task"]:
            return []
        self._tasks[device] = None
        data = None if why else answer_path(self._folder, number).read_bytes()
        self._delete(number)
        return [LentAnswer(device, data, why)]

    def _delete(self, number: int | None) -> None:
        if number is not None:
            task_path(self._folder, number).unlink(missing_ok=True)
            answer_path(self._folder, number).unlink(missing_ok=True)
