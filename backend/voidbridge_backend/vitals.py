"""How the daemon does, in one value: what `health` answers, what the readiness of its HTTP port is made of."""

from __future__ import annotations

from collections.abc import Sequence

from voidbridge_protocol.errors import NoDevice, VoidbridgeError
from voidbridge_protocol.messages import Device, Health

from .supervisor import Post

USABLE = frozenset({"ready", "busy"})


def health(
    posts: Sequence[Post],
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
