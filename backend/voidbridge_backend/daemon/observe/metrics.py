"""The daemon's state as one value, for `health` messages and the HTTP port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from voidbridge_backend.daemon.workers.supervisor import DeviceStatus
from voidbridge_protocol.errors import NoDevice, VoidbridgeError
from voidbridge_protocol.messages import Device, Health

STATES = ("starting", "ready", "busy", "stalled", "resting", "quarantined")
"""The states of a device."""
USABLE = frozenset({"ready", "busy"})


@dataclass(frozen=True)
class Metrics:
    """All counters at one moment."""

    health: Health
    jobs: Mapping[str, int]
    """Jobs in the table by state."""
    ended: Mapping[tuple[str, str], int]
    """Jobs ended since the start, by state and error code."""
    spool: int
    """Bytes in the spool at the last scan."""
    deleted: int
    """Bytes deleted from it since the start."""
    starts: int
    """Workers started since the daemon's start."""
    clients: int


def health(
    posts: Sequence[DeviceStatus],
    obstacle: VoidbridgeError | None,
    queued: int,
    running: int,
    free: int,
    damaged: int = 0,
) -> Health:
    """A daemon is ready if it would run a job: it has a working device, and no obstacle."""
    if obstacle is None and not any(post.state in USABLE for post in posts):
        states = ", ".join(f"{post.device} is {post.state}" for post in posts)
        obstacle = NoDevice(f"no device is ready: {states}", "A worker takes seconds to start.")
    devices = tuple(
        Device(post.device, post.state, post.stage, round(post.silence, 1), post.why)
        for post in posts
    )
    if obstacle is None:
        return Health(True, devices, queued, running, free, damaged=damaged)
    return Health(
        *(False, devices, queued, running, free),
        *(obstacle.code, obstacle.text, obstacle.hint, damaged),
    )
