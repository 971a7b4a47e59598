"""The job states and their transitions, as one table.

The daemon uses it to move a job and the client to decide if it keeps waiting. `docs/protocol.md` draws its
diagram from it. No other code defines transitions.
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
        """Returns True if the job stays in this state until it is submitted again."""
        return self in FINAL


FINAL = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})

NEXT: dict[JobState, frozenset[JobState]] = {
    # Straight to the queue or an end: every file is in the spool already, or the spool has no space.
    JobState.RECEIVING: frozenset({JobState.QUEUED, JobState.CANCELLED, JobState.FAILED}),
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.FAILED}),
    # Back to the queue after the worker or the daemon died, or for a more urgent job.
    JobState.RUNNING: frozenset(
        {JobState.DONE, JobState.FAILED, JobState.CANCELLING, JobState.QUEUED}
    ),
    # The engine checks for a cancel between steps only, so it may finish first.
    JobState.CANCELLING: frozenset({JobState.CANCELLED, JobState.DONE, JobState.FAILED}),
    # Submitting the same request again resumes the same job. A done job is answered from the store, unless its
    # results were deleted; any other final job is tried again.
    JobState.DONE: frozenset({JobState.RECEIVING}),
    JobState.FAILED: frozenset({JobState.RECEIVING}),
    JobState.CANCELLED: frozenset({JobState.RECEIVING}),
}


def advance(state: JobState, target: JobState) -> JobState:
    """Returns `target`. Raises `IllegalTransition` if the table does not allow the step."""
    if target not in NEXT[state]:
        raise IllegalTransition(f"a {state.value} job cannot become {target.value}")
    return target
