"""Builds a job's status from its row and its live state. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from voidbridge_backend.daemon.store.job_table import Row
from voidbridge_protocol.errors import VoidbridgeError
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.wire.messages import Status


@dataclass(frozen=True)
class LiveStatus:
    """The current stage of a running job."""

    name: str = ""
    step: int = 0
    of: int = 0
    seconds_left: float = -1.0


NOWHERE = LiveStatus()


def status(
    row: Row, stage: LiveStatus, ahead: int, blocked_by: VoidbridgeError | None, device: str = ""
) -> Status:
    """`ahead` jobs run before this one; `blocked_by` is the reason why no job is started at the moment."""
    if row.state is JobState.RECEIVING:
        stage = LiveStatus("receiving frames")
    elif row.state is JobState.QUEUED:
        stage = LiveStatus("waiting")
        if blocked_by:
            row = replace(row, code=blocked_by.code, text=blocked_by.text, hint=blocked_by.hint)
    return Status(
        job=row.id,
        state=row.state,
        stage=stage.name,
        step=stage.step,
        of=stage.of,
        seconds_left=stage.seconds_left,
        ahead=ahead,
        ready=len(row.results),
        frames=row.frames,
        first=row.first,
        attempt=row.attempts,
        warnings=row.warnings,
        code=row.code,
        text=row.text,
        hint=row.hint,
        user=row.user,
        operation=row.operation,
        engine=row.engine,
        device=device,
    )
