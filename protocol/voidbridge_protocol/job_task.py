"""A job as a client runs it: its files, the callbacks on the way, and the outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .wire.messages import Request, Status


@dataclass
class Outcome:
    """The result of a client run."""

    job: str
    frames: list[int]
    provenance: bytes
    """A JSON object that records how the results were made."""
    from_store: bool
    """True if the daemon already had the results of exactly this request."""
    uploaded: int
    """Payload bytes that were sent."""
    warnings: tuple[str, ...] = ()
    imported: int = 0
    """Files that the daemon imported from a shared disk without an upload."""


@dataclass(frozen=True)
class JobTask:
    """A request with the paths of its files."""

    request: Request
    sources: Sequence[Path]
    """Paths, in the order of `request.files`."""
    target: Callable[[int], Path]
    """Returns the path for the result of a frame."""
    priority: int = 0
    force: bool = False


@dataclass
class Listener:
    """Callbacks of `Client.run`. Each is called on the thread that runs it."""

    status: Callable[[Status], None] = lambda status: None
    sent: Callable[[int, int], None] = lambda sent, total: None
    fetched: Callable[[int], None] = lambda frame: None
    trouble: Callable[[str], None] = lambda text: None
    accepted: Callable[[str], None] = lambda job: None
    should_cancel: Callable[[], bool] = lambda: False
    imported: Callable[[int, int], None] = lambda done, of: None
