"""A child process of the daemon that prints the units of the cluster, one JSON object a line, when they change.

{"devices": ["ray:NODE/0", ...]}      every unit of the resource on a living node
{"code": ..., "text": ..., "hint": ...}   the reason why the cluster cannot be used; then the process ends.
                                      "is_open" is true if the cluster asks for no token
"""

from __future__ import annotations

import json
import os
import sys
import threading

from voidbridge_backend.worker.daemon_pipes import die_with_parent
from voidbridge_protocol.errors import ClusterUnusable, VoidbridgeError

from . import session

LOOK_EVERY_S = 2.0
DEVICE = "ray:"
"""Prefix of a device of the cluster: `ray:NODE/UNIT`."""


def devices(resource: str) -> list[str]:
    """Returns a device for every unit of this resource."""
    return sorted(
        f"{DEVICE}{name}/{unit}"
        for name, node in session.node_names().items()
        for unit in range(int(node["Resources"].get(resource, 0)))
    )


def main() -> None:
    die_with_parent()
    address, resource = sys.argv[1:]
    sys.stdout = sys.stderr  # Ray prints there, but the daemon may read only facts
    try:
        head = session.connect(address)
        if session.is_open(head):
            _fail(session.open_cluster(head), is_open=True)
            return
        last: list[str] | None = None
        pause = threading.Event()
        while True:
            found = devices(resource)
            if found != last:
                _tell({"devices": found})
            last = found
            pause.wait(LOOK_EVERY_S)
    except VoidbridgeError as error:
        _fail(error)
    except Exception as error:  # the head is gone: Ray raises errors of many kinds
        _fail(ClusterUnusable(f"the Ray cluster is lost: {type(error).__name__}: {error}"[:300]))


def _fail(error: VoidbridgeError, is_open: bool = False) -> None:
    _tell({"code": error.code, "text": error.text, "hint": error.hint, "is_open": is_open})


def _tell(fact: object) -> None:
    os.write(1, json.dumps(fact).encode() + b"\n")


if __name__ == "__main__":
    main()
