"""What goes from the spool, and when. Pure: sizes and times come in, names of what goes come out.

What a job still needs is not asked about here: it is never offered. Of the rest goes first what has not been used
for `keep` seconds, then, as long as room is short, what was used longest ago.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from voidbridge_protocol.lifecycle import JobState

DAY_S = 86_400.0


@dataclass(frozen=True)
class Policy:
    """How the owner of the daemon wants it."""

    keep: float
    """Seconds without use after which something goes that nobody needs."""
    unfetched: float
    """Seconds after which results go that nobody has fetched; 0: never."""
    quota: int
    """Bytes that the spool may take; 0: as many as there are."""
    keep_free: int
    """Bytes of the disk that are left free."""


@dataclass(frozen=True)
class Item:
    """Something that could go: a file that no job needs, or a job that is over, with its results."""

    name: str
    size: int
    """Bytes."""
    used: float
    """When it was last used, in seconds since 1970."""


@dataclass(frozen=True)
class Survey:
    """What lies in the spool, by its place there."""

    objects: dict[str, tuple[int, float]]
    """DRAWER/SHA256: bytes, and when it came."""
    parts: dict[str, tuple[int, float]]
    """DRAWER.SHA256: the same of files that are not whole."""
    jobs: dict[str, int]
    """JOB: bytes of what it made."""
    free: int
    """Bytes that the disk has left."""

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        files = (*self.objects.values(), *self.parts.values())
        return sum(size for size, _ in files) + sum(self.jobs.values())


def is_over(state: JobState, fetched: bool, age: float, policy: Policy) -> bool:
    """Whether a job that was last used `age` seconds ago may go, with its results.

    Results that nobody has fetched stay; a job whose client never came back with its files is given up.
    """
    if state is JobState.DONE:
        return fetched or 0 < policy.unfetched < age
    return state.is_final or (state is JobState.RECEIVING and age > policy.keep)


def evictable(
    items: Iterable[Item], now: float, used: int, free: int, want: int, policy: Policy
) -> list[Item]:
    """What goes, oldest first, so that `want` more bytes fit into what the policy allows.

    `used` bytes lie in the spool, `free` are left on its disk. All of it may be too little.
    """
    goes = []
    for item in sorted(items, key=lambda item: (item.used, item.name)):
        over = policy.quota and used + want > policy.quota
        tight = free - want < policy.keep_free
        if not (over or tight or now - item.used > policy.keep):
            break  # all others are younger
        goes.append(item)
        used -= item.size
        free += item.size
    return goes
