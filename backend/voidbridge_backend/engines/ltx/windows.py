"""Cuts new frames into runs of the model. Pure arithmetic.

The model makes 8k + 1 frames at once. One of its latents holds frame 0 alone, each other eight frames: 1 to 8, 9 to
16 and so on. Known frames are locked as whole latents, so behind the new ones a lock begins at a frame of 8k + 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

CHUNK = 8
"""Frames of one latent, except the first."""
FRAMES = 121
"""Frames of one run at most, 8k + 1: the model's own default."""
LOCKED = CHUNK + 1
"""Known frames that are locked on each side, if there are as many; else one."""
SEEN = LOCKED + CHUNK - 1
"""Known frames on each side that a run can use."""
LEAST = 5 * CHUNK + 1
"""Fewest frames of a run that still joins two sides."""


@dataclass(frozen=True)
class GapWindow:
    """One run of the model. Its own frames count from 0; new frames of the job count from 0 too."""

    first: int
    """The first new frame that it makes."""
    picks: tuple[int, ...]
    """For each new frame, the frame of the run that becomes it."""
    head: int
    """Frames locked at the begin: the last known ones before `first`."""
    tail: int
    """Frames locked behind the new ones."""
    tail_at: int
    """The frame of the run at which the lock behind begins: 8k + 1."""
    skipped: int
    """Known frames behind the new ones that are made too, and dropped: the plate has them."""
    length: int
    """Frames of the run, 8k + 1."""
    speed: float = 1.0
    """Frames of the run for one of the plate: above 1 if frames between are left out."""

    @property
    def stop(self) -> int:
        return self.first + len(self.picks)

    @property
    def latent(self) -> int:
        """The latent at which the lock behind begins."""
        return (self.tail_at - 1) // CHUNK + 1


def padded(count: int) -> int:
    """The smallest 8k + 1 that is not below `count`."""
    return -(-max(count - 1, 0) // CHUNK) * CHUNK + 1


def windows(count: int, before: int, behind: int, most: int) -> list[GapWindow]:
    """The runs that make `count` frames, in the order of the work.

    `before` and `behind` are the known frames on both sides. A run has at most `most` frames, 8k + 1, at least
    `LEAST`. Without frames before, the runs go backwards from the known ones.
    """
    if before or not behind:
        return [*_forward(count, before, behind, most)]
    return [*_backward(count, behind, most)]


def _forward(count: int, before: int, behind: int, most: int) -> Iterator[GapWindow]:
    made = 0
    while made < count:
        head = locked(before + made)
        left = count - made
        room = most - head - (SEEN + 1 if behind else 0)
        if behind and left <= room:
            yield _between(made, left, head, behind)
            return
        if behind:
            # The rest of a bridge keeps a whole run, as the model has to see both sides.
            step = min(most - head, max(left - room, CHUNK))
        else:
            step = min(most - head, left)
        picks = tuple(range(head, head + step))
        yield GapWindow(made, picks, head, 0, 0, 0, padded(head + step))
        made += step


def _between(first: int, count: int, head: int, behind: int) -> GapWindow:
    """A run with known frames on both sides. The lock behind is the first that fits the model's latents.

    Known frames before that lock are made too, and dropped. If there are too few of them, the run makes more new
    frames than are wanted, and those nearest in time are taken.
    """
    more = -count % CHUNK
    if behind > more:
        tail = locked(behind - more)
        at = head + count + more
        picks = tuple(range(head, head + count))
        return GapWindow(first, picks, head, tail, at, more, padded(at + tail))
    head, made = 1, count + more
    speed = (made + 1) / (count + 1)
    picks = tuple(round((frame + 1) * speed) for frame in range(count))
    return GapWindow(first, picks, head, 1, head + made, 0, padded(head + made + 1), speed)


def _backward(count: int, behind: int, most: int) -> Iterator[GapWindow]:
    stop = count
    while stop > 0:
        tail = locked(behind + count - stop)
        step = min(stop, most - SEEN - 1)
        at = padded(step)
        picks = tuple(range(at - step, at))
        yield GapWindow(stop - step, picks, 0, tail, at, 0, padded(at + tail))
        stop -= step


def locked(known: int) -> int:
    """How many of the known frames on one side are locked."""
    return LOCKED if known >= LOCKED else min(known, 1)
