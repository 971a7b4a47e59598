"""A network that can be slow and can break, between clients and a daemon on one machine.

Loaded under the name `voidbridge_relay` by `conftest.py`.
"""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from voidbridge_stage import SECONDS, Daemon, daemon


class Relay:
    """The network between clients on 127.0.0.1 and a daemon on 127.0.0.2: it can be slow, and it can be cut."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._allowed = {"up": float("inf"), "down": float("inf")}
        self._open: set[socket.socket] = set()
        while True:
            self.port = random.randrange(20_000, 29_000)
            try:
                self._listeners = [_listener(self.port + i) for i in range(2)]
                break
            except OSError:
                continue
        for i, listener in enumerate(self._listeners):
            threading.Thread(target=self._accept, args=(listener, i == 1), daemon=True).start()

    def hold(self, way: str, after: int) -> None:
        """So many bytes more on the bulk socket, "up" to the daemon or "down" to the client."""
        with self._change:
            self._allowed[way] = after

    def wait_until_held(self, way: str) -> None:
        with self._change:
            assert self._change.wait_for(lambda: self._allowed[way] <= 0, SECONDS), "nothing came"

    def release(self) -> None:
        with self._change:
            self._allowed = {"up": float("inf"), "down": float("inf")}
            self._change.notify_all()

    def cut(self) -> None:
        """Every connection there is; new ones are let through."""
        with self._change:
            for end in self._open:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for listener in self._listeners:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()
        self.release()

    def _accept(self, listener: socket.socket, bulk: bool) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            daemon = socket.socket()
            try:
                daemon.connect(("127.0.0.2", listener.getsockname()[1]))
            except OSError:
                client.close()
                daemon.close()
                continue
            with self._change:
                self._open |= {client, daemon}
            left = [2]
            for source, to, way in ((client, daemon, "up"), (daemon, client, "down")):
                threading.Thread(
                    target=self._pump, args=(source, to, way if bulk else "", left), daemon=True
                ).start()

    def _pump(self, source: socket.socket, to: socket.socket, way: str, left: list[int]) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                with self._change:
                    if way:
                        self._change.wait_for(lambda: self._allowed[way] > 0)
                        self._allowed[way] -= len(piece)
                        self._change.notify_all()
                to.sendall(piece)
        with self._change:
            for end in (source, to):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            left[0] -= 1
            if not left[0]:  # both ways are over
                self._open -= {source, to}
                source.close()
                to.close()


def _listener(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(("127.0.0.1", port))
    except OSError:
        made.close()
        raise
    made.listen()
    return made


class Net(NamedTuple):
    """A daemon behind a relay, and the address that clients use."""

    daemon: Daemon
    relay: Relay
    address: str


@contextmanager
def relayed_daemon(*options: object) -> Iterator[Net]:
    relay = Relay()
    try:
        with daemon(*options, address=f"tcp://127.0.0.2:{relay.port}") as made:
            yield Net(made, relay, f"tcp://127.0.0.1:{relay.port}")
    finally:
        relay.close()
