"""Decides which files leave the spool, and when. Pure: sizes and times in, names out.

Files that a job still needs are never offered here. Of the others, first go those unused for `keep` seconds.
Then, as long as space is low, the least recently used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from voidbridge_protocol.lifecycle import JobState

DAY_S = 86_400.0


@dataclass(frozen=True)
class Policy:
    """The daemon owner's retention settings."""

    keep: float
    """Seconds without use after which an unneeded item goes."""
    unfetched: float
    """Seconds after which unfetched results go; 0: never."""
    quota: int
    """Maximum bytes of the spool; 0: no limit."""
    keep_free: int
    """Bytes of the disk that stay free."""


@dataclass(frozen=True)
class Item:
    """A deletable item: a file that no job needs, or an ended job with its results."""

    name: str
    size: int
    """Bytes."""
    used: float
    """Time of the last use, in seconds since 1970."""


@dataclass(frozen=True)
class Survey:
    """The content of the spool, by path."""

    objects: dict[str, tuple[int, float]]
    """USERDIR/SHA256: bytes, and time of arrival."""
    parts: dict[str, tuple[int, float]]
    """USERDIR.SHA256: the same of partial files."""
    jobs: dict[str, int]
    """JOB: bytes of its results."""
    free: int
    """Free bytes on the disk."""

    @property
    def size(self) -> int:
        """Total bytes."""
        files = (*self.objects.values(), *self.parts.values())
        return sum(size for size, _ in files) + sum(self.jobs.values())


def is_over(state: JobState, fetched: bool, age: float, policy: Policy) -> bool:
    """Returns True if a job last used `age` seconds ago may go, with its results.

    Unfetched results stay. A job whose client never returned with its files is dropped.
    """
    if state is JobState.DONE:
        return fetched or 0 < policy.unfetched < age
    return state.is_final or (state is JobState.RECEIVING and age > policy.keep)


def evictable(
    items: Iterable[Item], now: float, used: int, free: int, want: int, policy: Policy
) -> list[Item]:
    """Returns the items to delete, oldest first, so that `want` more bytes fit the policy.

    The spool has `used` bytes, its disk has `free` bytes left. All of them may be too few.
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
