"""How the daemon does, in one value: what `health` answers, and what its HTTP port tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from voidbridge_backend.daemon.workers.supervisor import DeviceStatus
from voidbridge_protocol.errors import NoDevice, VoidbridgeError
from voidbridge_protocol.messages import Device, Health

STATES = ("starting", "ready", "busy", "stalled", "resting", "quarantined")
"""What a device can be."""
USABLE = frozenset({"ready", "busy"})


@dataclass(frozen=True)
class Metrics:
    """Everything that is counted, at one moment."""

    health: Health
    jobs: Mapping[str, int]
    """Jobs in the table by their state."""
    ended: Mapping[tuple[str, str], int]
    """Jobs that came to an end since the start, by state and code of the error."""
    spool: int
    """Bytes in the spool, when it was last gone through."""
    deleted: int
    """Bytes that were deleted from it since the start."""
    starts: int
    """Workers that were started since the start of the daemon."""
    clients: int


def health(
    posts: Sequence[DeviceStatus],
    obstacle: VoidbridgeError | None,
    queued: int,
    running: int,
    free: int,
) -> Health:
    """Ready is a daemon that would run a job: it has a device that works, and nothing stands in the way."""
    if obstacle is None and not any(post.state in USABLE for post in posts):
        states = ", ".join(f"{post.device} is {post.state}" for post in posts)
        obstacle = NoDevice(f"no device is ready: {states}", "A worker takes seconds to start.")
    devices = tuple(
        Device(post.device, post.state, post.stage, round(post.silence, 1), post.why)
        for post in posts
    )
    if obstacle is None:
        return Health(True, devices, queued, running, free)
    return Health(
        False, devices, queued, running, free, obstacle.code, obstacle.text, obstacle.hint
    )
