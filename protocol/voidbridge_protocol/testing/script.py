"""The behavior of a scripted daemon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from voidbridge_protocol.errors import VoidbridgeError
from voidbridge_protocol.wire.messages import OLDEST, PROTOCOL, Limits, Message


@dataclass(frozen=True)
class Script:
    """Behavior of a fake daemon. By default, every job succeeds with its plates as results."""

    results: Mapping[int, bytes] = field(default_factory=dict)
    """Files to return instead of the plates, by frame."""
    steps: int = 2
    warnings: tuple[str, ...] = ()
    failure: VoidbridgeError | None = None
    """Error that ends every job."""
    holds: bool = False
    """Jobs run until they are cancelled."""
    versions: tuple[int, int] = (OLDEST, PROTOCOL)
    deaf_to: frozenset[type[Message]] = frozenset()
    """Messages that are never answered; {Message} means complete silence."""
    dies_at: tuple[int, ...] = ()
    """Counts of received payload bytes at which it dies and restarts at once."""
    dies_giving: tuple[int, ...] = ()
    """Counts of sent chunks at which it dies and restarts at once."""
    dies_of: frozenset[type[Message]] = frozenset()
    """Messages on which it dies and restarts at once."""
    spoilt_uploads: int = 0
    """Number of complete files that it rejects with a hash error."""
    spoilt_chunks: int = 0
    """Number of result chunks that it sends with wrong bytes."""
    limits: Limits = field(default_factory=Limits)
    shares: tuple[str, ...] = ()
    """Folders from which it imports files itself."""
    has_no_room: bool = False
    """It cannot write any received file."""
