"""The life of a job, as one table.

The daemon reads it to move a job, the client to know whether to keep waiting, `docs/protocol.md` draws its
diagram from it. Nothing else decides what may follow what.
"""

from __future__ import annotations

from enum import Enum

from .errors import IllegalTransition


class JobState(str, Enum):
    RECEIVING = "receiving"
    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Nothing more happens unless the job is submitted again."""
        return self in FINAL


FINAL = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})

NEXT: dict[JobState, frozenset[JobState]] = {
    # A job whose every frame is in the spool already, or that the spool can no longer take.
    JobState.RECEIVING: frozenset({JobState.QUEUED, JobState.CANCELLED, JobState.FAILED}),
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.FAILED}),
    # Back to the queue when its worker died, or the daemon did.
    JobState.RUNNING: frozenset(
        {JobState.DONE, JobState.FAILED, JobState.CANCELLING, JobState.QUEUED}
    ),
    # The engine looks for a cancel between steps only, so it may still get to the end first.
    JobState.CANCELLING: frozenset({JobState.CANCELLED, JobState.DONE, JobState.FAILED}),
    # The same request again is the same job: a done one is answered from the store, unless its
    # results were deleted meanwhile; the others get another try.
    JobState.DONE: frozenset({JobState.RECEIVING}),
    JobState.FAILED: frozenset({JobState.RECEIVING}),
    JobState.CANCELLED: frozenset({JobState.RECEIVING}),
}


def advance(state: JobState, to: JobState) -> JobState:
    """`to`, or `IllegalTransition` when the table has no such step."""
    if to not in NEXT[state]:
        raise IllegalTransition(f"a {state.value} job cannot become {to.value}")
    return to
