"""The daemon's state as one value, for `health` messages and the HTTP port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from voidbridge_backend.daemon.workers.supervisor import DeviceStatus
from voidbridge_protocol.errors import NoDevice, VoidbridgeError
from voidbridge_protocol.wire.messages import Device, Health

STATES = ("starting", "ready", "busy", "stalled", "resting", "away", "quarantined")
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
    statuses: Sequence[DeviceStatus],
    blocked_by: VoidbridgeError | None,
    queued: int,
    running: int,
    free: int,
    damaged: int = 0,
) -> Health:
    """A daemon is ready if it would run a job: it has a working device, and nothing blocks starts."""
    if blocked_by is None and not any(status.state in USABLE for status in statuses):
        states = ", ".join(f"{status.device} is {status.state}" for status in statuses)
        blocked_by = NoDevice(f"no device is ready: {states}", "A worker takes seconds to start.")
    devices = tuple(
        Device(status.device, status.state, status.stage, round(status.silence, 1), status.why)
        for status in statuses
    )
    if blocked_by is None:
        return Health(True, devices, queued, running, free, damaged=damaged)
    return Health(
        *(False, devices, queued, running, free),
        *(blocked_by.code, blocked_by.text, blocked_by.hint, damaged),
    )
