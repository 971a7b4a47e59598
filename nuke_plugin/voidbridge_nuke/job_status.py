"""The state of a job, from its child's status file. Pure: values in, values out.

The child puts it in words, so that both hosts, the command line and the log say the same.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass

WORKING, DONE, FAILED, CANCELLED, LOST = "working", "done", "failed", "cancelled", "lost"
EXIT_CANCELLED = 5
LOST_S = 60.0
"""A child writes its status every two seconds. After this many seconds of silence it is dead."""


@dataclass(frozen=True)
class JobStatus:
    """The state of one job."""

    phase: str = WORKING
    text: str = "starting"
    fraction: float = 0.0
    """Progress in the present stage, 0 to 1."""
    job: str = ""
    """The daemon's id; empty before it is accepted."""
    warnings: tuple[str, ...] = ()
    code: str = ""
    """The error's code, as in docs/errors.md; empty if there is none."""
    hint: str = ""
    from_store: bool = False


@dataclass(frozen=True)
class ChildTrace:
    """Everything that a child leaves for others."""

    status: str = ""
    """The text of its status file; empty if there is none."""
    said: str = ""
    """The end of its output."""
    code: int | None = None
    """Its exit code; None while it runs, or if another process started it."""
    started: float = 0.0
    """Seconds since 1970 at its last output."""
    now: float = 0.0
    """Seconds since 1970."""


def judged(seen: ChildTrace) -> JobStatus:
    """Returns the state of the job. A child that has ended, or is silent for too long, is not at work."""
    try:
        found = json.loads(seen.status)
        status = JobStatus(
            phase=str(found["phase"]),
            text=str(found["text"]),
            fraction=min(max(float(found.get("fraction", 0.0)), 0.0), 1.0),
            job=str(found.get("job", "")),
            warnings=tuple(str(warning) for warning in found.get("warnings", ())),
            code=str(found.get("code", "")),
            hint=str(found.get("hint", "")),
            from_store=bool(found.get("from_store", False)),
        )
        silence = seen.now - float(found.get("alive", seen.now))
    except (ValueError, KeyError, TypeError, AttributeError):
        status, silence = JobStatus(), seen.now - seen.started
    if status.phase != WORKING:
        return status
    error = _error(seen.said) if seen.code is not None else None
    if error is not None:
        return error
    if seen.code is not None:
        last = seen.said.strip().splitlines()[-1:] or ["no output"]
        return _ended(
            status, f"voidbridge ended with {seen.code}: {last[0]}", "Copy report has the output."
        )
    if silence > LOST_S:
        said = f"the last word of voidbridge is {silence:.0f} s old: {status.text}"
        return _ended(status, said, "Start the job again; a daemon keeps finished work.", LOST)
    return status


def line(status: JobStatus) -> str:
    """Formats the status for the artist."""
    if status.phase in (FAILED, LOST):
        return (f"{status.phase}: {_sentence(status.text)} {status.hint}").strip()
    if status.phase in (CANCELLED, DONE):
        return status.phase
    return status.text


def _error(output: str) -> JobStatus | None:
    """Returns the error that a child printed before it had a status file."""
    for text in reversed(output.splitlines()):
        if text.startswith('{"event": "error"'):
            with contextlib.suppress(ValueError, KeyError):
                event = json.loads(text)
                phase = CANCELLED if event["exit"] == EXIT_CANCELLED else FAILED
                return JobStatus(phase, event["text"], code=event["code"], hint=event["hint"])
    return None


def _ended(status: JobStatus, text: str, hint: str, phase: str = FAILED) -> JobStatus:
    return JobStatus(phase, text, status.fraction, status.job, status.warnings, "", hint)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."
