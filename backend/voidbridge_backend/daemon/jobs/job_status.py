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


NO_STAGE = LiveStatus()


def status(
    row: Row, stage: LiveStatus, ahead: int, waits_for: VoidbridgeError | None, device: str = ""
) -> Status:
    """`ahead` jobs run before this one; `waits_for` is the reason why it waits, if not only for these."""
    if row.state is JobState.RECEIVING:
        stage = LiveStatus("receiving frames")
    elif row.state is JobState.QUEUED:
        stage = LiveStatus("waiting")
        if waits_for:
            row = replace(row, code=waits_for.code, text=waits_for.text, hint=waits_for.hint)
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
