"""A connection to a Ray cluster, for child processes of the daemon. They alone import Ray.

Ray ends a process that is connected if Ray's own daemon on this machine dies, so the daemon itself never connects.
"""

from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from voidbridge_protocol.errors import ClusterUnusable

try:
    import ray
except (
    ModuleNotFoundError
) as error:  # pragma: no cover - `Cluster.of` refuses before a child is started
    raise SystemExit(f"{error}: pip install 'voidbridge[ray]'") from error

AUTH_MODE = "RAY_AUTH_MODE"
NAMESPACE = "voidbridge"
CHECK_S = 30.0
"""Seconds for the question if a cluster answers without a token."""
OPEN = 10
"""Exit code of that question's process: the cluster answered."""


def connect(address: str) -> str:
    """Connects this process to the cluster of this machine, and returns the address of its head.

    `address` is HOST:PORT, or "auto" for the one cluster that runs on this machine. Raises `ClusterUnusable`.
    """
    os.environ[AUTH_MODE] = "token"
    try:
        ray.init(
            address=address,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:  # Ray raises many kinds, none of which is about this code
        text = str(error).strip().split("\n")[0][:300]
        raise ClusterUnusable(f"no connection to the Ray cluster at {address}: {text}") from error
    return str(ray.get_runtime_context().gcs_address)


def is_open(head: str) -> bool:
    """Returns True if the cluster at HOST:PORT answers a program that shows no token.

    Ray reads its mode once in a process, so another process asks. Raises `ClusterUnusable` if it cannot.
    """
    environ = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH_")}
    code = subprocess.run(
        [sys.executable, "-m", __name__, head],
        env={**environ, AUTH_MODE: "disabled"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=CHECK_S,
        check=False,
    ).returncode
    if code not in (0, OPEN):
        raise ClusterUnusable(f"it is unknown if the Ray cluster at {head} requires a token")
    return code == OPEN


def open_cluster(head: str) -> ClusterUnusable:
    """Returns the error about a cluster that asks for no token."""
    return ClusterUnusable(
        f"the Ray cluster at {head} serves everybody who reaches it, without a token",
        "Start the head and every node with RAY_AUTH_MODE=token, as docs/farm.md shows.",
    )


def node_names() -> dict[str, Mapping[str, Any]]:
    """Returns the living nodes by their name. A name that several have is followed by a part of the node's id."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    names = [node["NodeName"] for node in alive]
    return {
        name if names.count(name) == 1 else f"{name}~{node['NodeID'][:8]}": node
        for name, node in zip(names, alive, strict=True)
    }


def _ask_without_token(head: str) -> int:
    raylet = importlib.import_module("ray._raylet")  # nothing public asks once, and soon
    try:
        raylet.GcsClient(address=head).get_all_node_info(timeout=CHECK_S / 2)
    except ray.exceptions.AuthenticationError:
        return 0
    return OPEN


if __name__ == "__main__":
    sys.exit(_ask_without_token(sys.argv[1]))
