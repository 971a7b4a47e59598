"""Limits of the protocol, and plain values inside messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from voidbridge_protocol.request import check_file

PROTOCOL = 1
"""The version of the protocol that this package speaks (`docs/protocol.md`)."""
OLDEST = 1
"""The oldest protocol version that this package accepts."""
MAX_UNANSWERED = 32
"""Maximum number of unanswered `Put`s, and of unanswered `Get`s. All answers then fit into the sockets' queues."""
MAX_CHUNK = 2 * 1024 * 1024
"""Maximum payload in bytes. libzmq is fastest with 1 to 2 MiB; larger frames delay its heartbeats too long."""
MAX_IMPORTS = 4
"""Maximum number of unanswered `ImportFile`s. A daemon copies one file at a time."""
MAX_NAME = 256
"""Maximum characters of a name: of a user, a session, an engine, a program."""
MAX_PATH = 4096
"""Maximum characters of a path, as on Linux."""
MAX_OFFERED = 1000
"""Maximum number of files in one `Offer`, so that the header stays within its limit."""


@dataclass(frozen=True)
class Message:
    """Base of all messages, in either direction."""

    kind: ClassVar[str] = ""


@dataclass(frozen=True)
class ResultFile:
    """One finished frame that can be fetched."""

    frame: int
    sha256: str
    size: int

    def __post_init__(self) -> None:
        check_file(self.sha256, self.size)


@dataclass(frozen=True)
class Limits:
    """The daemon's limits for one client."""

    chunk: int = MAX_CHUNK
    """Maximum bytes of one payload."""
    window: int = 32 * 1024 * 1024
    """Maximum bytes in flight: the initial credit of an upload, and the most that a client requests at once."""
    file: int = 2 * 1024 * 1024 * 1024
    """Maximum bytes of one frame's file."""
    frames: int = 20_000
    """Maximum frames of one job."""


@dataclass(frozen=True)
class Device:
    """A device of the daemon.

    Its state is `starting`, `ready`, `busy`, `stalled` (engine silent for too long), `resting` (between two
    starts of its worker), `away` (its node is not in the cluster) or `quarantined`.
    """

    name: str
    state: str
    stage: str = ""
    silence: float = 0.0
    """Seconds since the engine's last sign of life, while it has work."""
    why: str = ""
