"""How the worker of a device is started: as a process here, or through a proxy as an actor of Ray on a node.

Both are child processes that read commands and write events, one JSON object a line, and that end at the end of
their input. The supervisor knows no other difference than `Launch.is_remote`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from voidbridge_backend.config import allocator_settings, only_card, without_own
from voidbridge_backend.daemon.store.work_folders import work_folder

REMOTE = "ray:"
"""Prefix of a device of the cluster: `ray:NODE/UNIT`."""


@dataclass(frozen=True)
class Launch:
    """A child process, and the first command to it."""

    words: tuple[str, ...]
    environment: Mapping[str, str]
    setup: Mapping[str, Any]
    is_remote: bool = False
    """Its end proves nothing about its job, because the node or the network may have failed."""


class WorkerPlace(Protocol):
    """A kind of place where workers run."""

    def launch(self, device: str, setup: Mapping[str, Any]) -> Launch:
        """Returns how to start the worker of `device`. `setup` holds the settings of all workers."""


class LocalProcess:
    """A worker on the daemon's machine."""

    def launch(self, device: str, setup: Mapping[str, Any]) -> Launch:
        local_name, changed = only_card(device, os.environ)
        return Launch(
            (sys.executable, "-m", "voidbridge_backend.worker.process"),
            {**without_own(os.environ), **allocator_settings(os.environ), **changed},
            {
                **_without_cluster(setup),
                "device": device,
                "local_name": local_name,
                "work": str(work_folder(Path(setup["spool"]), device)),
            },
        )


class RayActor:
    """A worker on a node of the cluster, started by an actor that the proxy owns."""

    def launch(self, device: str, setup: Mapping[str, Any]) -> Launch:
        return Launch(
            (sys.executable, "-m", "voidbridge_backend.cluster.proxy"),
            {**without_own(os.environ), "RAY_AUTH_MODE": "token"},
            {**setup, "device": device},
            is_remote=True,
        )


def place_of(device: str) -> WorkerPlace:
    """Returns the kind of place that a device's name stands for."""
    return RayActor() if device.startswith(REMOTE) else LocalProcess()


def node_of(device: str) -> str:
    """Returns the node of a device of the cluster; empty for a local one."""
    return device.rpartition("/")[0] if device.startswith(REMOTE) else ""


def _without_cluster(setup: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in setup.items() if name != "cluster"}
