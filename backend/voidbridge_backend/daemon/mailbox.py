"""Brings calls from other threads to the thread of the poll loop."""

from __future__ import annotations

import queue
import socket
from collections.abc import Callable
from contextlib import suppress

import zmq


class Mailbox:
    """A queue of calls, with a socket pair that wakes the poll loop."""

    def __init__(self) -> None:
        self._wakeup, self._wake_end = socket.socketpair()
        self._wakeup.setblocking(False)
        self._wake_end.setblocking(False)
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def put(self, call: Callable[[], None]) -> None:
        """Runs a function on the daemon's own thread. Callable from any thread."""
        self._calls.put(call)
        with suppress(OSError):  # full: a wakeup is pending already; closed: no reader is left
            self._wakeup.send(b"!")

    def register(self, poller: zmq.Poller) -> None:
        poller.register(self._wake_end, zmq.POLLIN)

    def run_calls(self) -> None:
        """Runs the calls that came in. Call it on the daemon's own thread."""
        with suppress(BlockingIOError):
            while self._wake_end.recv(4096):
                pass
        while not self._calls.empty():
            self._calls.get()()
