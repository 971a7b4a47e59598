"""The language model's server as a process, for tests that ask it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

import pytest


class Server:
    """The process, and the requests that it printed."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("language_model_server.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/v1"
        self._lines: Queue[str] = Queue()
        Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()

    def _read(self, stream: Any) -> None:
        for line in stream:
            self._lines.put(line)

    def requests(self, count: int) -> list[dict[str, Any]]:
        """The next `count` requests; no more may be there."""
        found = [json.loads(self._lines.get(timeout=120)) for _ in range(count)]
        with pytest.raises(Empty):
            self._lines.get_nowait()
        return found


@contextmanager
def running() -> Iterator[Server]:
    """A server until the block ends."""
    made = Server()
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()
        assert made.process.stdout
        made.process.stdout.close()
