"""Follows the devices of a Ray cluster, by a child process that is connected to it."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from voidbridge_backend.config import without_own
from voidbridge_protocol.errors import BadSetting, ClusterUnusable, from_code

log = logging.getLogger(__name__)

RETRY_S = 5.0
"""Seconds between attempts to connect."""
FIRST_S = 60.0
"""Seconds until the daemon starts without the cluster, which it then waits for."""


class Cluster:
    """The devices of the cluster at `address`, HOST:PORT or "auto": units of `resource`.

    `on_change` gets all that are there, and the reason if there are none, on a thread of this class. Use it as a
    context.
    """

    def __init__(
        self, address: str, resource: str, on_change: Callable[[Sequence[str], str], None]
    ) -> None:
        """Raises `BadSetting` without Ray, `ClusterUnusable` if the cluster is open to everybody."""
        if importlib.util.find_spec("ray") is None:
            raise BadSetting(
                "the setting ray needs the package ray, which is not installed",
                "Install it on this machine and on every node: pip install 'voidbridge[backend,ray]'",
            )
        self._words = [sys.executable, "-m", "voidbridge_backend.cluster.watch", address, resource]
        self._on_change = on_change
        self._stopped = threading.Event()
        self._first: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(
            target=self._follow, name="follows the cluster", daemon=True
        )

    def __enter__(self) -> Cluster:
        self._thread.start()
        with suppress(queue.Empty):
            fact = self._first.get(timeout=FIRST_S)
            if fact.get("is_open"):
                self.__exit__()
                raise from_code(fact["code"], fact["text"], fact["hint"])
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        with self._lock:
            if self._process:
                self._process.kill()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stopped.is_set():
            with self._lock:
                if self._stopped.is_set():
                    return
                self._process = subprocess.Popen(
                    self._words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    env={**without_own(os.environ), "RAY_AUTH_MODE": "token"},
                )
            why = self._listen(self._process)
            if not self._stopped.is_set():
                log.warning("the cluster is not there: %s", why)
                self._on_change((), why)
            self._stopped.wait(RETRY_S)

    def _listen(self, process: subprocess.Popen[bytes]) -> str:
        """Passes on what the child says until it ends. Returns the reason of its end."""
        why = "its connection ended"
        assert process.stdout
        with process.stdout as lines:
            for line in lines:
                fact = json.loads(line)
                self._first.put(fact)
                if "devices" in fact:
                    log.info("devices of the cluster: %s", ", ".join(fact["devices"]) or "none")
                    self._on_change(fact["devices"], "its node is not in the cluster")
                else:
                    why = fact["text"]
        process.wait()
        if why == "its connection ended":
            self._first.put({"code": ClusterUnusable.code, "text": why, "hint": ""})
        return why
